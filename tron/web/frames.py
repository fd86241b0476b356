"""WebSocket messages without queues, for sockets that get fifty of them a second.

Hypercorn takes a connection's bytes apart with wsproto and hands every message to the route's task
through a queue of its own and one of Quart's: with phone calls that is half of a core. A route
that reads by an `Inbox` gets its messages at once, in the task that read them, and those that came
as one plain frame each are taken apart here. Everything else (handshake, control frames,
fragments, faults, sending, closing) stays with wsproto and Quart.

`install()` puts the stream in its place in Hypercorn's HTTP/1.1. Where it is not (another server,
HTTP/2), an `Inbox` gets its messages as any route does.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from hypercorn.protocol import h11
from hypercorn.protocol.events import Data, Event, Request
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.typing import ConnectionState
from quart.wrappers import Websocket

log = structlog.get_logger(__name__)

T = TypeVar("T")
Take = Callable[[str | bytes], None]

KEY = "tron.frames"
MOST = 1_000
"""messages that wait for a route which has not come to them yet; 20 s of a call"""

# RFC 6455 §5.2: the first two bytes of a frame from a client.
TEXT, PING, PONG = 0x81, 0x89, 0x8A  # with FIN, and no bits of extensions
MASKED, SIXTEEN_BITS = 0x80, 126


class FrameStream(WSStream):
    """Hypercorn's stream for one WebSocket, which a route may have its messages from directly."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._take: Take | None = None
        self._rest = b""
        """the beginning of a frame whose end has not come yet"""
        self._plain = True
        """so far; once a message came in pieces, wsproto alone knows where a frame begins"""

    async def handle(self, event: Event) -> None:
        if isinstance(event, Request):
            event = replace(event, state=ConnectionState({**event.state, KEY: self}))
        take = self._take
        if take and self._plain and isinstance(event, Data) and self.handshake.accepted:
            if not self.closed:
                await self._read(self._rest + event.data if self._rest else event.data, take)
        else:
            await super().handle(event)

    def divert(self, take: Take) -> None:
        """From now on each message goes to `take` at once, and none to `receive()`."""
        put, self._take = self.app_put, take

        async def app_put(message: Any) -> None:
            if message["type"] == "websocket.receive":
                text = message["text"]
                take(message["bytes"] if text is None else text)
            elif put is not None:
                await put(message)

        self.app_put = app_put

    async def _read(self, data: bytes, take: Take) -> None:
        """Whole frames of `data`; what is left of it is kept for the next time."""
        at, size = 0, len(data)
        while size - at >= 2:
            kind, length, head = data[at], data[at + 1] - MASKED, at + 6
            if length == SIXTEEN_BITS:
                if size - at < 4:
                    break
                length, head = int.from_bytes(data[at + 2 : at + 4]), at + 8
                plain = SIXTEEN_BITS <= length <= self.buffer.max_length
            else:  # not masked, or as long as 64 bits tell: not plain
                plain = 0 <= length < SIXTEEN_BITS
            end = head + length
            text = None
            if plain and kind == TEXT:
                if end > size:
                    break
                text = _text(data[head - 4 : head], data[head:end])
            if text is not None:
                take(text)
            elif kind in (PING, PONG) and head == at + 6 and plain and end <= size:
                await super().handle(Data(self.stream_id, data[at:end]))
            else:
                self._plain, self._rest = False, b""
                await super().handle(Data(self.stream_id, data[at:]))
                return
            at = end
        self._rest = data[at:]


def _text(mask: bytes, data: bytes) -> str | None:
    """What was masked, or None if it is no UTF-8, which wsproto knows how to answer."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    plain = int.from_bytes(data, "little") ^ int.from_bytes(key, "little")
    try:
        return plain.to_bytes(size, "little").decode()
    except UnicodeDecodeError:
        return None


class Inbox:
    """The messages of one socket. Made before the socket is accepted."""

    def __init__(self, socket: Websocket) -> None:
        self._socket = socket
        self._waiting: deque[str | bytes] = deque()
        self._arrived = asyncio.Event()
        self._take: Take | None = None
        self._context = contextvars.copy_context()
        stream = socket.scope.get("state", {}).get(KEY)
        self._direct = isinstance(stream, FrameStream)
        if isinstance(stream, FrameStream):
            stream.divert(self._put)

    def _put(self, message: str | bytes) -> None:
        if self._take is not None:
            self._context.run(self._take, message)
        elif len(self._waiting) < MOST:
            self._waiting.append(message)
            self._arrived.set()
        else:
            log.warning("socket.message_dropped", waiting=MOST)

    async def receive(self) -> str | bytes:
        """The next message."""
        if not self._direct:
            return await self._socket.receive()
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    async def until(self, take: Callable[[str | bytes], T | None]) -> T:
        """Hand each message to `take` as it comes, until it returns something: that.

        `take` must be quick: nothing else happens meanwhile. Raises what it raises. Messages that
        come afterwards are forgotten.
        """
        if not self._direct:
            while True:
                if (found := take(await self._socket.receive())) is not None:
                    return found
        over: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def at_once(message: str | bytes) -> None:
            if over.done():
                return
            try:
                found = take(message)
            except Exception as error:  # noqa: BLE001 - border: it is not the connection's fault
                over.set_exception(error)
            else:
                if found is not None:
                    over.set_result(found)

        while self._waiting:
            at_once(self._waiting.popleft())
        self._take = at_once
        return await over


def install() -> None:
    """Let Hypercorn make such streams. Its parts have no other way to be told so."""
    h11.WSStream = FrameStream  # type: ignore[assignment,attr-defined]
