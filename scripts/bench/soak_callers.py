"""Callers with a voice: short calls by three kinds of wire; they interrupt, vanish and misbehave.

What a caller does follows from its number and the seed. Each returns how it left.
"""

import asyncio
import base64
import contextlib
import random
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import aiohttp
import msgspec

from integrations.twilio.fake import FakeTwilio
from integrations.vapi.fake import FakeVapi
from scripts.bench.callers import Caller, Question

RATE = 16_000
PIECE_S = 0.04
PIECE = int(RATE * PIECE_S) * 2
NUMBERS = 200
"""people who call, again and again"""
NONSENSE = (
    "{",
    '{"event":7}',
    '{"type":"what?"}',
    "[]",
    '{"event":"media","media":{"payload":"%"}}',
)


class Speech(msgspec.Struct, frozen=True):
    """What everybody says."""

    phone: Question
    """in the telephone's frames"""
    pieces: list[str]
    """PCM16 at 16 kHz in base64, with silence behind it"""

    @classmethod
    def of(cls, phone: Question, pcm: bytes) -> "Speech":
        pcm += bytes(RATE * 2)
        cut = [pcm[at : at + PIECE] for at in range(0, len(pcm), PIECE)]
        return cls(phone, [base64.b64encode(piece).decode() for piece in cut])


class World(msgspec.Struct, frozen=True):
    """What callers have in common."""

    port: int
    http: aiohttp.ClientSession
    twilio: FakeTwilio
    vapi: FakeVapi
    said: Speech
    seed: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


# By telephone


class Phone(Caller):
    """A telephone whose call is short; drives the raw socket of the load test's callers."""

    def __init__(self, said: Question, *, number: int, chance: random.Random) -> None:
        super().__init__(said, number=number)
        self._chance = chance

    async def _converse(self) -> None:
        chance = self._chance
        await asyncio.sleep(chance.uniform(0.0, 1.5))
        for _ in range(chance.randint(0, 3)):
            what = chance.random()
            if what < 0.85:
                self._say()
                await self._all_said.wait()
            elif what < 0.95:
                self._send('{"event":"dtmf","dtmf":{"track":"inbound_track","digit":"5"}}')
            else:
                self._send(chance.choice(NONSENSE))
            # Short, and the next is said into the answer; long, and it is heard.
            await asyncio.sleep(chance.choice((0.7, 1.2, 2.5, 5.0)) * chance.uniform(0.8, 1.2))

    async def leave(self) -> str:
        """Hang up, or be gone in one of the ways in which people are."""
        how = self._chance.random()
        if self._transport is None:
            return "the hub ended it"
        if how < 0.5:
            self._send('{"event":"stop","stop":{}}')
            await asyncio.sleep(0.2)
            self.close()
            return "hung up"
        if how < 0.9:
            self.close()
            return "socket died"
        self._transport.pause_reading()
        await asyncio.sleep(3)
        self.close()
        return "stopped reading"


async def twilio(world: World, number: int, chance: random.Random) -> str:
    sid = f"CA{world.seed}-{number}"
    form = {
        "CallSid": sid,
        "From": f"+1415555{chance.randrange(NUMBERS):04}",
        "To": "+15005550006",
    }
    async with world.http.post(f"{world.url}/twilio/voice", data=form) as answer:
        document = ElementTree.fromstring(await answer.text())
    parameter = document.find(".//Parameter")
    if parameter is None:
        return "refused"
    if chance.random() < 0.03:
        return "never connected"
    phone = Phone(world.said.phone, number=number, chance=chance)
    try:
        await phone.run(world.port, parameter.get("value", ""), sid)
        return await phone.leave()
    finally:
        phone.close()


# By sockets of JSON


async def _read(
    socket: aiohttp.ClientWebSocketResponse, answer: Callable[[dict[str, Any]], Any]
) -> None:
    """Take in what comes, and send what `answer` makes of it."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            reply = answer(msgspec.json.decode(message.data))
            if reply is not None:
                await socket.send_json(reply)


async def _talk(
    socket: aiohttp.ClientWebSocketResponse,
    chance: random.Random,
    pieces: Callable[[], list[dict[str, Any]]],
    others: tuple[dict[str, Any], ...],
    answer: Callable[[dict[str, Any]], Any],
) -> str:
    """A conversation on an open socket, and its end, unless it is ended from the other side."""
    reading = asyncio.create_task(_read(socket, answer))
    try:
        with contextlib.suppress(ConnectionError):
            for _ in range(chance.randint(0, 3)):
                what = chance.random()
                if what < 0.75:
                    for piece in pieces():
                        await socket.send_json(piece)
                        await asyncio.sleep(PIECE_S)
                elif what < 0.95:
                    await socket.send_json(chance.choice(others))
                else:
                    await socket.send_str(chance.choice(NONSENSE))
                await asyncio.sleep(chance.choice((0.3, 0.8, 2.0, 5.0)) * chance.uniform(0.8, 1.2))
        if socket.closed or reading.done():
            return "the hub ended it"
        if chance.random() < 0.5:
            await socket.close()
            return "closed"
        connection = socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        return "socket died"
    finally:
        reading.cancel()
        await asyncio.wait([reading])


async def samantha(world: World, number: int, chance: random.Random) -> str:
    body = {"user_id": f"person-{chance.randrange(NUMBERS)}"}
    async with world.http.post(f"{world.url}/v1/voice/session", json=body) as answer:
        session = (await answer.json())["session_id"]
    if chance.random() < 0.05:
        return "never connected"
    counted = iter(range(1, 1_000_000))

    def control(action: str) -> dict[str, Any]:
        return {"type": "client_control", "session_id": session, "action": action}

    def pieces() -> list[dict[str, Any]]:
        return [
            {
                "type": "client_audio_chunk",
                "session_id": session,
                "seq": next(counted),
                "pcm16_base64": piece,
                "sample_rate": RATE,
                "ts_ms": 0,
            }
            for piece in world.said.pieces
        ]

    others = tuple(map(control, ("interrupt", "stop", "wakeword_on", "manual_arm", "mute")))
    left = ""
    for _ in range(chance.choice((1, 1, 2))):  # some come back
        url = f"{world.url}/v1/voice/session/ws?session_id={session}"
        try:
            async with world.http.ws_connect(url) as socket:
                left = await _talk(socket, chance, pieces, others, lambda _: None)
        except aiohttp.WSServerHandshakeError as refused:
            return f"refused with {refused.status}"
    if chance.random() < 0.5:
        async with world.http.post(f"{world.url}/v1/voice/session/{session}/end"):
            pass
    return left


async def elevenlabs(world: World, number: int, chance: random.Random) -> str:
    def pong(message: dict[str, Any]) -> dict[str, Any] | None:
        if message["type"] != "ping":
            return None
        return {"type": "pong", "event_id": message["ping_event"]["event_id"]}

    others = (
        {"type": "user_message", "text": "What can you do for me?"},
        {"type": "user_activity"},
        {"type": "contextual_update", "text": "the page was scrolled"},
    )
    url = f"{world.url}/v1/convai/conversation?agent_id=tony"
    try:
        async with world.http.ws_connect(url) as socket:
            if chance.random() < 0.9:
                await socket.send_json({"type": "conversation_initiation_client_data"})
            pieces = [{"user_audio_chunk": piece} for piece in world.said.pieces]
            return await _talk(socket, chance, lambda: pieces, others, pong)
    except aiohttp.WSServerHandshakeError as refused:
        return f"refused with {refused.status}"
