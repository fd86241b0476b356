"""A talking stand-in for VAPI, over real HTTP: its API, and the calls it carries.

    async with FakeVapi(secret="s3cret") as vapi:       # VAPI_API_URL=vapi.url, VAPI_SECRET=s3cret
        call = await vapi.ring(hub_url, "+14155550123", ["What time is it?", "Thanks, bye."])
        assert call.said[0].startswith("Hello")

`ring` does what VAPI does when a phone rings: it asks the hub for an assistant, takes its first
message, sends every sentence of the caller to the assistant's model (a streamed chat completion
with VAPI's extras and the assistant's tools), has the hub run the tools it calls, tells of each
change, and reports at the end. A call that is put through by its control URL ends there. It holds
the hub to VAPI's limits: an assistant within 7.5 s, first words within the model's timeout, single
lines as tool results. What breaks a limit raises `BrokenPromise`.

Its API answers `POST /call` and `GET /call` with `key` as the bearer token. Run it for a demo call
to a hub on this machine: `python -m integrations.vapi.fake http://127.0.0.1:3000`.
"""

import asyncio
import sys
import time
import uuid
from collections import deque
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from integrations.vapi.proof import Hmac, key_of, sign

Json = dict[str, Any]

ASSISTANT_S = 7.5
TOOL_S = 20.0
MOST_ROUNDS = 5
REQUESTS_KEPT = 1_000
NUMBER = {
    "id": "4a5a04dc-dcbe-45b1-8f64-fd32a253d136",
    "orgId": "379a13ec-f40d-4055-8959-797c4ee16940",
    "number": "+14155550100",
    "provider": "twilio",
}


class BrokenPromise(AssertionError):
    """The hub did what VAPI would not put up with."""


class PhoneCall(msgspec.Struct, kw_only=True):
    """One call, as VAPI sees it."""

    id: str
    assistant: Json = {}
    said: list[str] = []
    """what the assistant said, its first message first"""
    tool_results: list[Json] = []
    messages: list[Json] = []
    """OpenAI form, as sent to the model"""
    slowest_first_words_s: float = 0.0
    put_through_to: str = ""
    """the number, once its control URL was told so"""


class FakeVapi:
    """See the module. `secret` and `hmac` are how it proves itself to the hub."""

    def __init__(self, *, key: str = "", secret: str = "", hmac: Hmac | None = None) -> None:
        self.key = key
        self.secret = secret
        self.hmac = hmac
        self.url = ""
        self.placed: deque[Json] = deque(maxlen=REQUESTS_KEPT)
        """bodies of `POST /call` that were accepted"""
        self.refusals: deque[tuple[int, Json]] = deque()
        """(status, body) for the next API requests, one each"""
        self._calls: dict[str, PhoneCall] = {}
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "FakeVapi":
        app = web.Application()
        app.router.add_post("/call", self._place)
        app.router.add_get("/call", self._list)
        app.router.add_post("/{id}/control", self._control)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        # A connection each: one that is kept alive outlives the call it was for at the hub.
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=60),
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # Its API

    def _refused(self, request: web.Request) -> web.Response | None:
        if self.refusals:
            status, body = self.refusals.popleft()
            return web.json_response(body, status=status)
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            fault = {"message": "Invalid Key. Hot tip, you may be using the public key."}
            return web.json_response(fault | {"statusCode": 401}, status=401)
        return None

    async def _place(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        body = await request.json()
        number = body.get("customer", {}).get("number", "")
        if not number.startswith("+"):
            return web.json_response(
                {"message": [f"customer.number {number} must be E.164"], "statusCode": 400},
                status=400,
            )
        self.placed.append(body)
        made = {"id": str(uuid.uuid4()), "status": "queued", "createdAt": "2026-08-20T10:00:00Z"}
        return web.json_response(made, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        return self._refused(request) or web.json_response([])

    async def _control(self, request: web.Request) -> web.Response:
        """A call's control URL, which nobody has to prove anything to."""
        if self.refusals:
            status, fault = self.refusals.popleft()
            return web.json_response(fault, status=status)
        call, body = self._calls.get(request.match_info["id"]), await request.json()
        if call is None or body.get("type") != "transfer":
            return web.json_response({"message": "Not found."}, status=404)
        self._speak(call, body["content"])
        call.put_through_to = body["destination"]["number"]
        return web.json_response({})

    # Webhooks

    async def tell(
        self, hub_url: str, message: Json, *, headers: dict[str, str] | None = None
    ) -> tuple[int, Json]:
        """Send one server message, proven; (status, answer). `headers` replace the proof's."""
        return await self.post(hub_url, msgspec.json.encode({"message": message}), headers=headers)

    async def post(
        self, hub_url: str, raw: bytes, *, headers: dict[str, str] | None = None
    ) -> tuple[int, Json]:
        """Send a body as it is."""
        assert self._http is not None, "use it as a context manager"
        proof = self.proof(raw) if headers is None else headers
        sent = {"Content-Type": "application/json", **proof}
        url = hub_url if "/vapi/events" in hub_url else f"{hub_url}/vapi/events"
        async with self._http.post(url, data=raw, headers=sent) as answer:
            body = await answer.read()
            return answer.status, msgspec.json.decode(body) if body else {}

    def proof(self, raw: bytes, *, at_ms: int | None = None) -> dict[str, str]:
        """The headers by which the hub knows us."""
        headers = {"X-Vapi-Secret": self.secret} if self.secret else {}
        if self.hmac is not None:
            stamp = str(int(time.time() * 1000) if at_ms is None else at_ms)
            values = {"body": raw, "timestamp": stamp.encode(), "method": b"POST"}
            signature = self.hmac.prefix + sign(self.hmac, key_of(self.hmac), values)
            headers |= {self.hmac.signature_header: signature, self.hmac.timestamp_header: stamp}
        return headers

    # Calls

    async def ring(
        self,
        hub_url: str,
        caller: str,
        says: list[str],
        *,
        name: str = "",
        tools: list[Json] | None = None,
        report: bool = True,
        call_id: str = "",
    ) -> PhoneCall:
        """A whole inbound call. `tools` are `toolCallList` entries run before the last sentence.

        Raises BrokenPromise.
        """
        call = PhoneCall(id=call_id or str(uuid.uuid4()))
        self._calls[call.id] = call
        common = self._common(call, caller, name)
        answer = await self._asked(
            hub_url, {"type": "assistant-request", **common}, within_s=ASSISTANT_S
        )
        if "error" in answer:
            call.said.append(answer["error"])
            return call
        call.assistant = answer["assistant"]
        self._speak(call, call.assistant["firstMessage"])
        await self._asked(hub_url, {"type": "status-update", "status": "in-progress", **common})
        for place, sentence in enumerate(says):
            if tools and place == len(says) - 1:
                await self._use_tools(hub_url, call, common, tools)
            call.messages.append({"role": "user", "content": sentence})
            await self._answer(hub_url, call, common)
            if call.put_through_to:
                break
        reason = "assistant-forwarded-call" if call.put_through_to else "customer-ended-call"
        ended = {"type": "status-update", "status": "ended", "endedReason": reason}
        await self._asked(hub_url, {**ended, **common})
        if report:
            await self._asked(hub_url, self.report(call, caller, name))
        return call

    def report(self, call: PhoneCall, caller: str, name: str = "") -> Json:
        """The end-of-call report of a call."""
        spoken = [
            {"role": "bot" if m["role"] == "assistant" else m["role"], "message": m["content"]}
            for m in call.messages
        ]
        return {
            "type": "end-of-call-report",
            "endedReason": "customer-ended-call",
            "artifact": {"messages": spoken, "messagesOpenAIFormatted": call.messages},
            "analysis": {"summary": "They talked.", "successEvaluation": "true"},
            "cost": 0.0421,
            "startedAt": "2026-08-20T10:00:00.000Z",
            "endedAt": "2026-08-20T10:01:00.000Z",
            **self._common(call, caller, name),
        }

    def _common(self, call: PhoneCall, caller: str, name: str) -> Json:
        customer = {"number": caller} | ({"name": name} if name else {})
        return {
            "timestamp": int(time.time() * 1000),
            "call": {
                "id": call.id,
                "orgId": NUMBER["orgId"],
                "type": "inboundPhoneCall",
                "status": "ringing",
                "phoneCallProvider": "twilio",
                "phoneNumberId": NUMBER["id"],
                "customer": customer,
                "monitor": {"controlUrl": f"{self.url}/{call.id}/control"},
            },
            "phoneNumber": NUMBER,
            "customer": customer,
        }

    def _speak(self, call: PhoneCall, words: str) -> None:
        call.said.append(words)
        call.messages.append({"role": "assistant", "content": words})

    async def _asked(self, hub_url: str, message: Json, within_s: float = TOOL_S) -> Json:
        try:
            async with asyncio.timeout(within_s):
                status, answer = await self.tell(hub_url, message)
        except TimeoutError:
            raise BrokenPromise(f"{message['type']}: no answer within {within_s} s") from None
        if status // 100 != 2:
            raise BrokenPromise(f"{message['type']}: HTTP {status} {answer}")
        return answer

    async def _use_tools(
        self, hub_url: str, call: PhoneCall, common: Json, tools: list[Json]
    ) -> None:
        asked = {"type": "tool-calls", "toolCallList": tools, "toolCalls": tools, **common}
        answer = await self._asked(hub_url, asked)
        for result in answer["results"]:
            words = result.get("result", result.get("error"))
            if not isinstance(words, str) or "\n" in words:
                raise BrokenPromise("a tool's result must be text in a single line")
        call.tool_results += answer["results"]

    async def _answer(self, hub_url: str, call: PhoneCall, common: Json) -> None:
        """Let the model answer, and run the tools it calls, until it has said something."""
        for _ in range(MOST_ROUNDS):
            words, calls = await self._think(call, common)
            if words:
                self._speak(call, words)
            if not calls:
                return
            call.messages.append({"role": "assistant", "content": "", "tool_calls": calls})
            before = len(call.tool_results)
            await self._use_tools(hub_url, call, common, calls)
            call.messages += [
                {
                    "role": "tool",
                    "tool_call_id": result["toolCallId"],
                    "content": result.get("result", result.get("error")),
                }
                for result in call.tool_results[before:]
            ]
            if call.put_through_to:
                return
        raise BrokenPromise("the model calls tools for ever")

    async def _think(self, call: PhoneCall, common: Json) -> tuple[str, list[Json]]:
        """One request to the assistant's model: what it says, and the tools it calls."""
        assert self._http is not None, "use it as a context manager"
        model = call.assistant["model"]
        url = model["url"].removesuffix("/chat/completions") + "/chat/completions"
        body = {
            "model": model["model"],
            "messages": [*model.get("messages", []), *call.messages],
            "tools": model.get("tools", []),
            "stream": True,
            "max_tokens": 250,
            "temperature": 0,
            "metadata": {},
            "call": common["call"],
            "phoneNumber": common["phoneNumber"],
            "customer": common["customer"],
        }
        keys = [c["apiKey"] for c in call.assistant.get("credentials", [])]
        headers = {"Authorization": f"Bearer {keys[0]}"} if keys else {}
        pieces: list[str] = []
        calls: dict[int, Json] = {}
        began = time.monotonic()
        first_s = 0.0
        async with self._http.post(url, json=body, headers=headers) as answer:
            if answer.status != 200:
                raise BrokenPromise(f"the model answered HTTP {answer.status}")
            async for line in answer.content:
                data = line.decode().strip().removeprefix("data: ")
                if not line.startswith(b"data: ") or data == "[DONE]":
                    continue
                frame = msgspec.json.decode(data)
                if "error" in frame:
                    raise BrokenPromise(f"the model broke off: {frame['error']}")
                delta = frame["choices"][0]["delta"] if frame["choices"] else {}
                for part in delta.get("tool_calls") or ():
                    first_s = first_s or time.monotonic() - began
                    _add(calls, part)
                if delta.get("content"):
                    first_s = first_s or time.monotonic() - began
                    pieces.append(delta["content"])
        if not (pieces or calls) or first_s > model.get("timeoutSeconds", 20):
            raise BrokenPromise("no first words in time")
        call.slowest_first_words_s = max(call.slowest_first_words_s, first_s)
        return "".join(pieces), list(calls.values())


def _add(calls: dict[int, Json], part: Json) -> None:
    """A part of a streamed tool call to what came of it before."""
    function = part.get("function", {})
    call = calls.setdefault(
        part["index"], {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
    )
    call["id"] = part.get("id") or call["id"]
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


async def _demo(hub_url: str) -> None:
    says = ["Hello, what time is it?", "Please remember that my dog is called Rex.", "Goodbye."]
    async with FakeVapi() as vapi:
        call = await vapi.ring(hub_url, "+14155550123", says, name="Ada")
    print(f"{call.assistant['name']}: {call.said[0]}")
    for asked, answered in zip(says, call.said[1:], strict=True):
        print(f"Ada: {asked}\n{call.assistant['name']}: {answered}")


if __name__ == "__main__":
    asyncio.run(_demo(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000"))
