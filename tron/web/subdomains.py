"""The proxy to project servers: `Host` is a registered label under the base domain.

An ASGI application around the hub's own. It streams both ways without gathering anything, passes
no hop-by-hop header on, follows no redirect, and reaches loopback ports that `tron.subdomains`
registered and nothing else. Whatever is not a project server's passes to the hub untouched;
without a base domain it is not installed at all.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import aiohttp
import structlog
from quart import Quart
from yarl import URL

from tron.errors import ProviderUnavailable
from tron.subdomains import Subdomains
from tron.supervise import Tasks
from tron.web.errors import render

log = structlog.get_logger(__name__)

CONNECT_S = 5.0
SILENCE_S = 300.0
"""longest pause within a project server's answer"""

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
REWRITTEN = frozenset((b"host", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-for"))
OUR_OWN = frozenset((b"date", b"server"))  # Hypercorn adds these to every answer

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def install(app: Quart, subdomains: Subdomains) -> "SubdomainProxy | None":
    """Put the proxy around `app` if there is a base domain; it must be closed at the end."""
    if not subdomains.base:
        return None
    proxy = SubdomainProxy(app.asgi_app, subdomains)
    app.asgi_app = proxy  # type: ignore[method-assign]
    return proxy


class SubdomainProxy:
    """See the module."""

    def __init__(self, app: Application, subdomains: Subdomains) -> None:
        self._app = app
        self._subdomains = subdomains
        self._tasks = Tasks("subdomains")
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        host = next((v.decode("latin1") for n, v in scope["headers"] if n.lower() == b"host"), "")
        port = await self._subdomains.port_of(host)
        if port is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send, port, host)
        else:
            await self._websocket(scope, receive, send, port, host)

    async def close(self) -> None:
        """Cut what is still streaming."""
        await self._tasks.close()
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S
                ),
                connector=aiohttp.TCPConnector(limit=0),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    async def _http(self, scope: Scope, receive: Receive, send: Send, port: int, host: str) -> None:
        body = _Body(receive, scope)
        relay = self._tasks.start(self._relay(scope, body, send, port, host), "relay")
        gone = self._tasks.start(body.until_gone(), "watch")
        try:
            await asyncio.wait((relay, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            relay.cancel()
            gone.cancel()
            await asyncio.wait((relay, gone))

    async def _relay(self, scope: Scope, body: "_Body", send: Send, port: int, host: str) -> None:
        started = False
        try:
            async with self._client().request(
                scope["method"],
                _url("http", port, scope),
                headers=_forwarded(scope, host),
                data=body.chunks() if body.expected else None,
                allow_redirects=False,
            ) as answer:
                headers = _passed_on(answer.raw_headers, OUR_OWN)
                started = True
                await send(
                    {"type": "http.response.start", "status": answer.status, "headers": headers}
                )
                async for chunk in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError) as error:
            log.warning("subdomain.failed", port=port, error=type(error).__name__, started=started)
            if not started:
                await _refuse(send, "http.response")
            # Else there is no clean end: the visitor must see that the answer is not whole.

    async def _websocket(
        self, scope: Scope, receive: Receive, send: Send, port: int, host: str
    ) -> None:
        await receive()  # websocket.connect
        try:
            socket = await self._client().ws_connect(
                _url("ws", port, scope),
                headers=[
                    (name, value)
                    for name, value in _forwarded(scope, host)
                    if not name.lower().startswith("sec-websocket-")
                ],
                protocols=scope.get("subprotocols", ()),
                autoclose=True,
            )
        except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError) as error:
            log.warning("subdomain.failed", port=port, error=type(error).__name__, started=False)
            await _refuse(send, "websocket.http.response")
            return
        await send({"type": "websocket.accept", "subprotocol": socket.protocol, "headers": []})
        inward = self._tasks.start(_inward(receive, socket), "inward")
        outward = self._tasks.start(_outward(socket, send), "outward")
        try:
            await asyncio.wait((inward, outward), return_when=asyncio.FIRST_COMPLETED)
        finally:
            inward.cancel()
            outward.cancel()
            await asyncio.wait((inward, outward))
            await socket.close()


class _Body:
    """A request's body, and after it whether its sender is still there: both come from the same
    `receive`, so the watch begins when the body is whole."""

    def __init__(self, receive: Receive, scope: Scope) -> None:
        self._receive = receive
        self._whole = asyncio.Event()
        names = {name.lower() for name, _ in scope["headers"]}
        self.expected = not names.isdisjoint((b"content-length", b"transfer-encoding"))
        if not self.expected:
            self._whole.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        while not self._whole.is_set():
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ConnectionError("the visitor left")
            if not event.get("more_body", False):
                self._whole.set()
            if event.get("body"):
                yield event["body"]

    async def until_gone(self) -> None:
        await self._whole.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _inward(receive: Receive, socket: aiohttp.ClientWebSocketResponse) -> None:
    """Visitor to server, until the visitor leaves."""
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") is not None:
            await socket.send_str(event["text"])
        else:
            await socket.send_bytes(event["bytes"])


async def _outward(socket: aiohttp.ClientWebSocketResponse, send: Send) -> None:
    """Server to visitor, until the server closes."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await send({"type": "websocket.send", "text": message.data, "bytes": None})
        elif message.type is aiohttp.WSMsgType.BINARY:
            await send({"type": "websocket.send", "text": None, "bytes": message.data})
    await send({"type": "websocket.close", "code": socket.close_code or 1000, "reason": ""})


def _url(scheme: str, port: int, scope: Scope) -> URL:
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    target = path + (b"?" + query if query else b"")
    return URL(f"{scheme}://127.0.0.1:{port}{target.decode('latin1')}", encoded=True)


def _forwarded(scope: Scope, host: str) -> list[tuple[str, str]]:
    """The visitor's headers without those of the hop, and who the visitor is."""
    given = {name.lower(): value.decode("latin1") for name, value in scope["headers"]}
    client = (scope.get("client") or ("",))[0]
    before = given.get(b"x-forwarded-for")
    scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
    kept = _passed_on(scope["headers"], REWRITTEN)
    return [
        *((name.decode("latin1"), value.decode("latin1")) for name, value in kept),
        ("X-Forwarded-Host", host),
        ("X-Forwarded-Proto", given.get(b"x-forwarded-proto", scheme)),
        ("X-Forwarded-For", f"{before}, {client}" if before else client),
    ]


def _passed_on(
    headers: Iterable[tuple[bytes, bytes]], without: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    """What an intermediary passes on (RFC 9110, 7.6.1), lower-cased."""
    headers = [(name.lower(), value) for name, value in headers]
    named = {
        part.strip().lower()
        for name, value in headers
        if name == b"connection"
        for part in value.split(b",")
    }
    left_out = HOP_BY_HOP | without | named
    return [(name, value) for name, value in headers if name not in left_out]


async def _refuse(send: Send, kind: str) -> None:
    """502 in the hub's error envelope: the project's server did not answer."""
    answer = render(ProviderUnavailable("The project's server does not answer."))
    headers = [(n.lower().encode(), v.encode()) for n, v in answer.headers.items()]
    body = await answer.get_data(as_text=False)
    await send({"type": f"{kind}.start", "status": answer.status_code, "headers": headers})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})
