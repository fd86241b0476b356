"""A stand-in for ElevenLabs' platform, over real HTTP and sockets.

For tests, demos and drills. It keeps agents and secrets behind the REST API that the hub calls,
and does what the platform does with them: asks a hub who is ringing, lets the hub's custom LLM
think for an agent, opens a Speech Engine socket, and tells afterwards.

    async with FakeElevenLabs() as eleven:
        ... # ELEVENLABS_API_URL=eleven.base_url, ELEVENLABS_API_KEY=eleven.api_key
        answer = await eleven.think("agent_1", "What time is it?", user_id="+14155551234")

The shapes are ElevenLabs' own. It checks the key as they do.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from integrations.elevenlabs.proof import mint_speech_engine, sign_webhook

BODY_BYTES = 1_000_000
WAIT_S = 60.0


class SpeechEngineCall:
    """The platform's end of one Speech Engine conversation."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []
        """everything the hub sent"""

    async def send(self, type: str, **fields: Any) -> None:
        await self.socket.send_json({"type": type, **fields})

    async def say(self, event_id: int, *talk: tuple[str, str]) -> None:
        """The caller has said something; `talk` is all of (role, words) so far."""
        lines = [{"role": role, "content": content} for role, content in talk]
        await self.send("user_transcript", event_id=event_id, user_transcript=lines)

    async def receive(self) -> dict[str, Any]:
        """The next frame. Raises ConnectionError at the end of the socket."""
        async with asyncio.timeout(WAIT_S):
            message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(f"closed with {self.socket.close_code}")
        frame: dict[str, Any] = msgspec.json.decode(message.data)
        self.frames.append(frame)
        return frame

    async def answer(self, event_id: int) -> str:
        """The whole answer to an event; those to other events are passed over."""
        said = ""
        while True:
            frame = await self.receive()
            if frame.get("event_id") == event_id:
                said += str(frame["content"])
                if frame["is_final"]:
                    return said


class FakeElevenLabs:
    """See the module."""

    def __init__(self, *, api_key: str = "sk_fake") -> None:
        self.api_key = api_key
        self.port = 0
        self.agents: dict[str, dict[str, Any]] = {"agent_1": {}}
        """what each agent was set to"""
        self.secrets: dict[str, str] = {}
        self.refuse_with: int | None = None
        """a status that every request gets"""
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "FakeElevenLabs":
        app = web.Application(client_max_size=BODY_BYTES, middlewares=[self._guard])
        app.router.add_get("/v1/convai/agents", self._list)
        app.router.add_patch("/v1/convai/agents/{id}", self._patch)
        app.router.add_post("/v1/convai/secrets", self._keep)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def http(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("use it as a context manager")
        return self._http

    # What the platform does with a hub

    async def ring(self, agent_id: str, *, caller: str, call_sid: str = "CA1") -> dict[str, Any]:
        """A call comes in for an agent: ask its hub who that is."""
        settings = self.agents[agent_id]["platform_settings"]
        webhook = settings["workspace_overrides"]["conversation_initiation_client_data_webhook"]
        headers = {
            name: self.secrets[value["secret_id"]]
            for name, value in webhook["request_headers"].items()
        }
        body = {
            "caller_id": caller,
            "agent_id": agent_id,
            "called_number": "+14155550000",
            "call_sid": call_sid,
        }
        async with self.http.post(webhook["url"], json=body, headers=headers) as answer:
            answer.raise_for_status()
            data: dict[str, Any] = await answer.json()
            return data

    async def think(
        self, agent_id: str, *said: str, extra_body: dict[str, Any] | None = None, **more: Any
    ) -> str:
        """Have an agent's custom LLM answer; `said` is user and agent in turn. The request is the
        platform's: always streamed, the path joined, the client's extra body beside the messages.
        """
        llm = self.agents[agent_id]["conversation_config"]["agent"]["prompt"]["custom_llm"]
        talk = [
            {"role": "assistant" if at % 2 else "user", "content": text}
            for at, text in enumerate(said)
        ]
        body = {
            "model": llm["model_id"],
            "messages": [{"role": "system", "content": "Be brief."}, *talk],
            "temperature": 0.0,
            "max_tokens": 500,
            "stream": True,
            "tools": [END_CALL],
            "elevenlabs_extra_body": extra_body or {},
            **more,
        }
        headers = {"Authorization": f"Bearer {self.secrets[llm['api_key']['secret_id']]}"}
        url = f"{llm['url']}/chat/completions"
        async with self.http.post(url, json=body, headers=headers) as answer:
            answer.raise_for_status()
            return _text_of((await answer.read()).decode())

    async def tell(self, hub_url: str, secret: str, event: dict[str, Any], now_ms: int) -> int:
        """Send a post-call webhook, in pieces as large ones come; returns the status."""
        raw = msgspec.json.encode(event)

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(raw), 65_536):
                yield raw[start : start + 65_536]

        headers = {
            "ElevenLabs-Signature": sign_webhook(raw, secret, now_ms),
            "Content-Type": "application/json",
        }
        url = f"{hub_url}/elevenlabs/webhook"
        async with self.http.post(url, data=pieces(), headers=headers) as answer:
            return answer.status

    @asynccontextmanager
    async def speech_engine(
        self, hub_url: str, now_ms: Callable[[], int], *, agent: str = "", token: str | None = None
    ) -> AsyncIterator[SpeechEngineCall]:
        """Open a Speech Engine socket to a hub, with the token they would mint."""
        minted = mint_speech_engine(self.api_key, now_ms()) if token is None else token
        url = f"{hub_url}/elevenlabs/speech-engine" + (f"?agent={agent}" if agent else "")
        headers = {"X-Elevenlabs-Speech-Engine-Authorization": minted}
        async with self.http.ws_connect(url, headers=headers) as socket:
            yield SpeechEngineCall(socket)

    # The API that a hub calls

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.refuse_with is not None:
            return _fault(self.refuse_with, "The fake was told to refuse.")
        if request.headers.get("xi-api-key") != self.api_key:
            return _fault(401, "Invalid API key")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"agents": [], "has_more": False, "next_cursor": None})

    async def _patch(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        if id not in self.agents:
            return _fault(404, f"Agent {id} not found")
        self.agents[id] |= await request.json()
        return web.json_response(
            {
                "agent_id": id,
                "name": "an agent",
                "conversation_config": {},
                "metadata": {"created_at_unix_secs": 0, "updated_at_unix_secs": 0},
            }
        )

    async def _keep(self, request: web.Request) -> web.Response:
        given = await request.json()
        id = f"secret_{len(self.secrets) + 1}"
        self.secrets[id] = given["value"]
        return web.json_response({"type": "stored", "secret_id": id, "name": given["name"]})


def _fault(status: int, message: str) -> web.Response:
    return web.json_response({"detail": {"status": "error", "message": message}}, status=status)


def _text_of(stream: str) -> str:
    """The words of a stream of chunks. Raises ValueError if it did not end as it should."""
    frames = [line[6:] for line in stream.splitlines() if line.startswith("data: ")]
    if not frames or frames[-1] != "[DONE]":
        raise ValueError(f"the stream did not end with [DONE]: {stream[-300:]}")
    words = []
    for frame in frames[:-1]:
        for choice in msgspec.json.decode(frame)["choices"]:
            words.append(choice["delta"].get("content") or "")
    return "".join(words)


END_CALL = {
    "type": "function",
    "function": {
        "name": "end_call",
        "description": "End the call.",
        "parameters": {
            "type": "object",
            "properties": {"reason": {"type": "string"}, "message": {"type": "string"}},
            "required": ["reason"],
        },
    },
}
