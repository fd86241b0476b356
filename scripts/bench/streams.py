"""A cheap, precise client of streamed chat completions: raw sockets, next to no parsing.

It says of itself how late its own loop was, because a late client measures itself.
"""

import asyncio
import time
from typing import Any

import msgspec

FIRST = b"word1 "
WORD = b"word"
END = b"0\r\n\r\n"
TICK_S = 0.005
LIMIT_S = 60.0


class Stream(msgspec.Struct):
    """One answered request, in seconds since it was sent."""

    first_s: float
    words: int


class Load(msgspec.Struct):
    """What a run of many requests saw."""

    streams: list[Stream]
    failures: list[str]
    wall_s: float
    late_s: list[float]


class Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[Stream] | None = None
        self._parts: list[bytes] = []
        self._sent = self._first = 0.0
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(f"connection lost: {exc}")

    @property
    def open(self) -> bool:
        return self._transport is not None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def ask(self, request: bytes) -> asyncio.Future[Stream]:
        assert self._transport is not None
        self._done = asyncio.get_running_loop().create_future()
        self._parts, self._tail, self._first = [], b"", 0.0
        self._sent = time.perf_counter()
        self._transport.write(request)
        return self._done

    def data_received(self, data: bytes) -> None:
        if not self._parts and not data.startswith(b"HTTP/1.1 200"):
            self._fail(data[:300].decode(errors="replace"))
            self.close()
            return
        self._parts.append(data)
        if not self._first and FIRST in data:
            self._first = time.perf_counter()
        self._tail = (self._tail + data[-5:])[-5:]
        if self._tail == END and self._done is not None and not self._done.done():
            words = b"".join(self._parts).count(WORD)
            self._done.set_result(Stream(self._first - self._sent, words))

    def _fail(self, why: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError(why))


class Client:
    """Asks one server. Every request is an anonymous conversation of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._asked = 0

    async def one(self, words: int) -> Stream:
        """One request on a new connection. Raises ConnectionError, or TimeoutError."""
        connection = await self._connect()
        try:
            return await self._ask(connection, words)
        finally:
            connection.close()

    async def load(self, *, requests: int, at_once: int, spread_s: float, words: int) -> Load:
        """`requests` in all, `at_once` at a time, the first ones spread over `spread_s`."""
        seen = Load([], [], 0.0, [])
        watch = asyncio.ensure_future(_watch(seen.late_s))
        left = iter(range(requests))
        started = time.perf_counter()

        async def work(place: int) -> None:
            await asyncio.sleep(spread_s * place / at_once)
            connection = await self._connect()
            for _ in left:
                try:
                    if not connection.open:
                        connection = await self._connect()
                    seen.streams.append(await self._ask(connection, words))
                except (OSError, TimeoutError) as error:
                    seen.failures.append(str(error) or type(error).__name__)
                    connection.close()
            connection.close()

        await asyncio.gather(*(work(place) for place in range(at_once)))
        seen.wall_s = time.perf_counter() - started
        watch.cancel()
        return seen

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        return connection

    async def _ask(self, connection: Connection, words: int) -> Stream:
        async with asyncio.timeout(LIMIT_S):
            stream = await connection.ask(self._request())
        if stream.words != words:
            raise ConnectionError(f"{stream.words} words instead of {words}")
        return stream

    def _request(self) -> bytes:
        self._asked += 1
        said = f"Hello, this is caller {self._asked} of port {self._port}. What is new?"
        asked: dict[str, Any] = {
            "model": "tony",
            "stream": True,
            "messages": [{"role": "user", "content": said}],
        }
        body = msgspec.json.encode(asked)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def _watch(late_s: list[float]) -> None:
    """How much later than asked this process's own loop wakes up."""
    while True:
        due = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        late_s.append(time.perf_counter() - due)
