"""Messages that come without queues are those that Hypercorn and wsproto would have given."""

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import RawData
from hypercorn.protocol import h11
from hypercorn.protocol.events import Data, Request
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.typing import ConnectionState
from hypothesis import given
from hypothesis import strategies as st

from tron.web.frames import MOST, FrameStream, Inbox, install

HEADERS = [
    (b"host", b"hub"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]
KEY = b"\x37\xfa\x21\x3d"


class Connection:
    """One accepted socket of `kind`, fed with bytes: what the application and the client got."""

    def __init__(self, kind: type[WSStream]) -> None:
        self.messages: list[str | bytes] = []
        self.sent: list[bytes] = []
        self.fault: type[BaseException] | None = None
        config = Config()
        config.websocket_max_message_size = 70_000
        self.scope: dict[str, Any] = {}
        self.stream = kind(
            None,  # type: ignore[arg-type] # the application: nobody runs it
            config,
            SimpleNamespace(),  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            False,
            None,
            None,
            self._send,
            1,
        )

    async def spawn_app(self, app: Any, config: Any, scope: Any, send: Any) -> Any:
        self.scope = scope

        async def put(message: Any) -> None:
            if message["type"] == "websocket.receive":
                text = message["text"]
                self.messages.append(message["bytes"] if text is None else text)

        return put

    async def _send(self, event: Any) -> None:
        if isinstance(event, Data):
            self.sent.append(event.data)

    async def open(self) -> "Connection":
        state = ConnectionState({})
        await self.stream.handle(Request(1, HEADERS, "1.1", "GET", b"/", state))
        if isinstance(self.stream, FrameStream):
            self.stream.divert(self.messages.append)
        await self.stream.app_send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        return self

    async def feed(self, data: bytes, pieces: list[int]) -> "Connection":
        """`data`, cut at `pieces`."""
        cuts = sorted({0, *(cut % (len(data) + 1) for cut in pieces), len(data)})
        try:
            for begin, end in itertools.pairwise(cuts):
                await self.stream.handle(Data(1, data[begin:end]))
        except Exception as error:
            self.fault = type(error)
        return self


def frame(kind: int, payload: bytes, *, masked: bool = True, length: bytes | None = None) -> bytes:
    """A client's frame; `kind`: the whole first byte."""
    size = len(payload)
    if length is None:
        if size < 126:
            length = bytes([size])
        elif size < 65536:
            length = b"\x7e" + size.to_bytes(2)
        else:
            length = b"\x7f" + size.to_bytes(8)
    if not masked:
        return bytes([kind]) + length + payload
    body = bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))
    return bytes([kind, length[0] | 0x80]) + length[1:] + KEY + body


words = st.text(max_size=40).map(str.encode)
longer = st.integers(100, 400).map(lambda size: b"x" * size)
plain = st.builds(lambda payload: frame(0x81, payload), words | longer)
frames = st.one_of(
    plain,
    st.builds(lambda payload: frame(0x82, payload), words),
    st.builds(lambda a, b: frame(0x01, a) + frame(0x80, b), words, words),
    st.builds(lambda payload: frame(0x89, payload[:125]), words),
    st.builds(lambda payload: frame(0x8A, payload[:125]), words),
)
faults = st.sampled_from(
    [
        frame(0x81, b"\xff\xfe"),
        frame(0x81, b"clear", masked=False),
        frame(0x81, b"x" * 80_000),
        frame(0x81, b"x" * 66_000),
        frame(0x81, b"short", length=b"\x7e\x00\x05"),
        frame(0x81, b"short", length=b"\x7f" + (5).to_bytes(8)),
        frame(0xC1, b"compressed"),
        frame(0x83, b"no such kind"),
        frame(0x89, b"x" * 200),
        frame(0x88, (1000).to_bytes(2) + b"bye"),
        frame(0x88, b"\x03"),
        frame(0x80, b"the rest of nothing"),
    ]
)
cut = st.lists(st.integers(0, 2000), max_size=12)


@given(st.lists(frames, max_size=8), cut)
async def test_every_message_is_the_one_hypercorn_gives(parts: list[bytes], at: list[int]) -> None:
    data = b"".join(parts)
    mine = await (await Connection(FrameStream).open()).feed(data, at)
    its = await (await Connection(WSStream).open()).feed(data, at)
    assert mine.messages == its.messages
    assert mine.sent == its.sent


@given(st.lists(plain, max_size=3), faults, st.lists(plain, max_size=2), cut)
async def test_what_is_wrong_ends_as_with_hypercorn(
    before: list[bytes], fault: bytes, after: list[bytes], at: list[int]
) -> None:
    data = b"".join([*before, fault, *after])
    mine = await (await Connection(FrameStream).open()).feed(data, at)
    its = await (await Connection(WSStream).open()).feed(data, at)
    assert mine.messages == its.messages
    assert mine.sent == its.sent
    assert mine.fault == its.fault


class Socket:
    """A socket as Quart has it."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self.queue: asyncio.Queue[str] = asyncio.Queue()
        self.receive = self.queue.get


async def inbox() -> tuple[Inbox, Connection]:
    connection = Connection(FrameStream)
    state = ConnectionState({})
    await connection.stream.handle(Request(1, HEADERS, "1.1", "GET", b"/", state))
    found = Inbox(Socket(connection.scope))  # type: ignore[arg-type]
    await connection.stream.app_send(
        {"type": "websocket.accept", "subprotocol": None, "headers": []}
    )
    return found, connection


async def test_messages_wait_for_their_route_and_then_come_at_once() -> None:
    box, connection = await inbox()
    await connection.feed(frame(0x81, b"start") + frame(0x81, b"one"), [])
    assert await box.receive() == "start"
    heard: list[Any] = []

    def take(message: str | bytes) -> str | None:
        heard.append(message)
        return "over" if message == "stop" else None

    until = asyncio.ensure_future(box.until(take))
    await asyncio.sleep(0)
    assert heard == ["one"]
    await connection.feed(frame(0x81, b"two"), [])
    assert heard == ["one", "two"]  # before anybody else had a turn
    await connection.feed(frame(0x81, b"stop") + frame(0x81, b"late"), [])
    assert await until == "over"
    assert heard[-1] == "stop"


async def test_a_route_that_breaks_does_not_break_the_connection() -> None:
    box, connection = await inbox()

    def take(_: str | bytes) -> None:
        raise KeyError("mine")

    until: asyncio.Future[None] = asyncio.ensure_future(box.until(take))
    await asyncio.sleep(0)
    await connection.feed(frame(0x81, b"one"), [])
    assert connection.fault is None
    with pytest.raises(KeyError):
        await until


async def test_what_waits_is_bounded() -> None:
    box, connection = await inbox()
    for number in range(MOST + 5):
        await connection.feed(frame(0x81, b"%d" % number), [])
    got = [await box.receive() for _ in range(MOST)]
    assert got[-1] == str(MOST - 1)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(box.receive(), 0)


async def test_without_the_stream_messages_come_as_ever() -> None:
    socket = Socket({"type": "websocket"})
    box = Inbox(socket)  # type: ignore[arg-type]
    for word in ("start", "one", "stop"):
        socket.queue.put_nowait(word)
    assert await box.receive() == "start"
    assert await box.until(lambda m: "over" if m == "stop" else None) == "over"


async def test_hypercorn_makes_such_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h11, "WSStream", WSStream)  # put back afterwards
    install()

    async def send(_: Any) -> None:
        pass

    server = h11.H11Protocol(
        None,  # type: ignore[arg-type]
        Config(),
        WorkerContext(None),
        Connection(WSStream),  # type: ignore[arg-type]
        ConnectionState({}),
        False,
        None,
        None,
        send,
    )
    head = b"".join(name + b": " + value + b"\r\n" for name, value in HEADERS)
    await server.handle(RawData(b"GET /twilio/media HTTP/1.1\r\n" + head + b"\r\n"))
    assert isinstance(server.stream, FrameStream)
