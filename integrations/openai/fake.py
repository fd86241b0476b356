"""A talking stand-in for an OpenAI-compatible provider, over real HTTP.

For tests, demos, drills and load. Run it (`python -m integrations.openai.fake --port 9000`) or use
it inside a test:

    async with FakeProvider() as fake:
        fake.script(Status(429, retry_after=1), Reply("Good morning."))
        ... # OPENAI_BASE_URL=fake.base_url
        assert fake.requests[0].body["model"] == "gpt-4.1-mini"

Scripted behaviours are used up one per chat request, in order; then comes `always` if it is set,
and otherwise what the model's name asks for:

    echo          repeats the last user message
    tool:<name>   calls that tool (arguments: the last user message if it is a JSON object), and
                  once the result is there, says it
    anything else `tokens` numbered words

The shapes are OpenAI's own. It asks for no key; it keeps the headers so that a test can look.
"""

import argparse
import asyncio
import contextlib
from collections import deque
from typing import Any

import msgspec
from aiohttp import web

from integrations.openai import wire
from integrations.openai.behaviours import (
    Behaviour,
    BrokenAfter,
    DisconnectAfter,
    Garbage,
    Hang,
    HangAfter,
    NonJson,
    Reply,
    Slow,
    Status,
    ToolCalls,
    Truncated,
    WrongContentType,
)

MODELS = ("gpt-4.1-mini", "echo")
REQUESTS_KEPT = 1_000
PAGE = "<!doctype html><title>Welcome</title><p>Please log in to the network."


class Received(msgspec.Struct, frozen=True):
    """One request as it arrived; header names in lower case."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


class FakeProvider:
    """See the module. `tokens` words at `delay_ms` before each, where nothing else is asked."""

    def __init__(self, *, tokens: int = 50, delay_ms: float = 0, port: int = 0) -> None:
        self.tokens = tokens
        self.delay_ms = delay_ms
        self.port = port
        self.requests: deque[Received] = deque(maxlen=REQUESTS_KEPT)
        self.always: Behaviour | None = None
        self.renamed: dict[str, str] = {}
        """parameters that are refused, each with the one to use instead"""
        self.hold: asyncio.Event | None = None
        """set: what follows an answer's first word waits for it"""
        self.active = 0
        """chat requests being answered now"""
        self.disconnected = 0
        """chat requests whose client left before the end"""
        self._script: deque[Behaviour] = deque()
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def unused(self) -> list[Behaviour]:
        """Scripted behaviours that no request has met yet."""
        return list(self._script)

    def script(self, *behaviours: Behaviour) -> None:
        """Queue what the next chat requests meet, one each."""
        self._script.extend(behaviours)

    async def __aenter__(self) -> "FakeProvider":
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{id:.+}", self._model)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        # `reuse_address` lets a test end the fake and start another on the same port.
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, backlog=512, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [wire.model_card(id) for id in MODELS]})

    async def _model(self, request: web.Request) -> web.Response:
        model = request.match_info["id"]
        if model not in MODELS:
            message = f"The model '{model}' does not exist"
            return _refusal(
                Status(404, message, type="invalid_request_error", code="model_not_found")
            )
        return web.json_response(wire.model_card(model))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.active += 1
        try:
            return await self._answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.disconnected += 1
            raise
        finally:
            self.active -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            body = msgspec.json.decode(await request.read(), type=dict[str, Any])
        except msgspec.MsgspecError:
            body = {}
        if not (messages := body.get("messages")):
            message = "We could not find any messages in your request."
            return _refusal(Status(400, message, type="invalid_request_error"))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Received(request.path, body, headers))
        if refused := next((name for name in body if name in self.renamed), None):
            return _refusal(_unsupported(refused, self.renamed[refused]))
        todo = self._script.popleft() if self._script else self.always
        streams = bool(body.get("stream"))
        match todo:
            case Status():
                return _refusal(todo)
            case Hang():
                await _for_ever()
            case DisconnectAfter(after=0):
                return _cut(request)
            case WrongContentType():
                return web.Response(text=PAGE, content_type="text/html")
            case NonJson():
                kind = "text/event-stream" if streams else "application/json"
                return web.Response(text=PAGE, content_type=kind)
        said = self._words(todo, body, messages)
        if streams:
            return await self._stream(request, body, todo, said)
        return await self._whole(request, body, todo, said)

    def _words(
        self, todo: Behaviour | None, body: dict[str, Any], messages: list[Any]
    ) -> wire.Answer:
        model = str(body.get("model", ""))
        match todo:
            case Reply(text=text, finish=finish):
                return wire.limited(wire.pieces_of(text), body, finish)
            case Slow(text=str(text)):
                return wire.limited(wire.pieces_of(text), body)
            case ToolCalls(calls=calls, text=text):
                return wire.calling(calls, text)
            case None if model.startswith("tool:") and messages[-1].get("role") != "tool":
                return wire.calling(
                    [(model.removeprefix("tool:"), wire.arguments_in(wire.last_said(messages)))]
                )
            case None if model.startswith("tool:"):
                return wire.limited(
                    wire.pieces_of(f"The tool said: {wire.text_of(messages[-1])}"), body
                )
            case None if model == "echo":
                return wire.limited(wire.pieces_of(wire.last_said(messages)), body)
            case _:
                return wire.limited(wire.numbered(self.tokens), body)

    async def _stream(
        self, request: web.Request, body: dict[str, Any], todo: Behaviour | None, said: wire.Answer
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                "content-type": "text/event-stream; charset=utf-8",
                "x-request-id": wire.new_id("req"),
            }
        )
        first_ms, token_ms = self._pace(todo)
        events = list(wire.events(body, said, todo))
        await response.prepare(request)
        # events[0] holds the role and goes out with the first word.
        events = [b"".join(events[:2]), *events[2:]]
        if not token_ms:
            events = [events[0], b"".join(events[1:])] if self.hold else [b"".join(events)]
        await _write_paced(response, events, first_ms, token_ms, self.hold)
        if isinstance(todo, HangAfter):
            await _for_ever()
        if isinstance(todo, DisconnectAfter):
            _abort(request)
            return response
        await response.write_eof()
        return response

    async def _whole(
        self, request: web.Request, body: dict[str, Any], todo: Behaviour | None, said: wire.Answer
    ) -> web.StreamResponse:
        first_ms, token_ms = self._pace(todo)
        await asyncio.sleep((first_ms + token_ms * len(said.pieces)) / 1000)
        match todo:  # a fault in mid-stream has only this shape where nothing streams
            case BrokenAfter():
                return _refusal(Status(500, type="server_error"))
            case HangAfter():
                await _for_ever()
            case DisconnectAfter():
                return _cut(request)
        whole = msgspec.json.encode(wire.completion(body, said))
        if isinstance(todo, Garbage | Truncated):
            whole = whole[: len(whole) // 2]
        headers = {"x-request-id": wire.new_id("req")}
        return web.Response(body=whole, content_type="application/json", headers=headers)

    def _pace(self, todo: Behaviour | None) -> tuple[float, float]:
        if isinstance(todo, Slow):
            return todo.first_ms, todo.token_ms
        return 0, self.delay_ms


async def _write_paced(
    response: web.StreamResponse,
    events: list[bytes],
    first_ms: float,
    token_ms: float,
    hold: asyncio.Event | None,
) -> None:
    # By the clock, not by sleeping in a row: a late write does not delay the ones after it.
    loop = asyncio.get_running_loop()
    due = loop.time() + first_ms / 1000
    for event in events:
        due += token_ms / 1000
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        await response.write(event)
        if hold is not None:
            await hold.wait()


def _refusal(status: Status) -> web.Response:
    error = {
        "message": status.message,
        "type": status.type,
        "param": status.param,
        "code": status.code,
    }
    headers = {"x-request-id": wire.new_id("req")}
    if status.retry_after is not None:
        headers["retry-after"] = str(round(status.retry_after))
        headers["retry-after-ms"] = str(round(status.retry_after * 1000))
    return web.json_response({"error": error}, status=status.status, headers=headers)


def _unsupported(name: str, instead: str) -> Status:
    return Status(
        400,
        f"Unsupported parameter: '{name}' is not supported with this model. "
        f"Use '{instead}' instead.",
        type="invalid_request_error",
        code="unsupported_parameter",
        param=name,
    )


def _cut(request: web.Request) -> web.Response:
    _abort(request)
    return web.Response()


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _serve(port: int, tokens: int, delay_ms: float) -> None:
    async with FakeProvider(tokens=tokens, delay_ms=delay_ms, port=port) as fake:
        print(f"OPENAI_BASE_URL={fake.base_url}", flush=True)
        await _for_ever()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake OpenAI-compatible provider.")
    parser.add_argument("--port", type=int, default=0, help="0: any free port, which is printed")
    parser.add_argument("--tokens", type=int, default=50, help="words in a reply")
    parser.add_argument("--delay-ms", type=float, default=0, help="pause before each word")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(given.port, given.tokens, given.delay_ms))


if __name__ == "__main__":
    main()
