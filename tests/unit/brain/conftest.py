"""A brain in front of fake providers over real HTTP, and a server that sends what it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from integrations.openai.fake import FakeProvider
from tests.harness.waiting import PATIENCE_S
from tron.brain.brain import Brain
from tron.brain.contract import Ask, Part, Provider, Text
from tron.brain.openai import OpenAIProvider
from tron.clock import ManualClock
from tron.conversation.turns import Message
from tron.events import Bus, ProviderFailed
from tron.settings import Settings

KEY = "sk-very-secret-0123456789"
HELLO = Ask(messages=[Message(role="user", content="Hello")])

Make = Callable[..., Brain]


class RawServer:
    """Answers each connection's request with the next script: bytes, written one by one.

    After the last piece the connection is closed, or stays open if the piece is None.
    """

    def __init__(self) -> None:
        self.scripts: list[list[bytes | None]] = []
        self.base_url = ""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for piece in self.scripts.pop(0):
                if piece is None:
                    await reader.read()  # the body, then the end of a client that gave up
                    await reader.read()
                    break
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.005)  # so that each piece is a read of its own
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def said(text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % text.encode()


@pytest.fixture
async def raw() -> AsyncIterator[RawServer]:
    server = RawServer()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def second() -> AsyncIterator[FakeProvider]:
    """Another provider, to fall back to."""
    async with FakeProvider(tokens=2) as provider:
        yield provider


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def failures() -> list[ProviderFailed]:
    """What the brain says on the bus."""
    return []


def provider(base_url: str, **given: Any) -> OpenAIProvider:
    fields: dict[str, Any] = {
        "name": "first",
        "base_url": base_url,
        "api_key": KEY,
        "model": "own-model",
        "first_token_timeout_s": PATIENCE_S,
        "token_timeout_s": PATIENCE_S,
    }
    return OpenAIProvider(**(fields | given))


@pytest.fixture
async def make(clock: ManualClock, failures: list[ProviderFailed]) -> AsyncIterator[Make]:
    """`make(provider(url), …, retries=1)`: a brain that asks these in order."""
    made: list[Brain] = []
    bus = Bus()
    bus.add(lambda event: failures.append(event) if isinstance(event, ProviderFailed) else None)

    def make(*providers: Provider, retries: int = 0) -> Brain:
        settings = Settings(provider_retries=retries)
        made.append(Brain(list(providers), settings=settings, clock=clock, bus=bus))
        return made[-1]

    yield make
    for brain in made:
        await brain.close()


async def parts(asked: Brain | Provider, ask: Ask = HELLO) -> list[Part]:
    """A whole answer."""
    async with aclosing(asked.stream(ask)) as batches:
        return [part async for batch in batches for part in batch]


async def answer(asked: Brain | Provider, ask: Ask = HELLO) -> str:
    """Its text alone."""
    return "".join(part.text for part in await parts(asked, ask) if isinstance(part, Text))
