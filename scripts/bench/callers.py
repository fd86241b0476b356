"""Simulated callers that cost next to nothing: raw sockets, frames made ahead, hardly any parsing.

Each caller speaks a question on a 20 ms clock, takes the answer's sound as a telephone would, and
into some answers it speaks. Times are its own: last voiced sample handed to the socket → first
audible sample received; first voiced sample of an interruption → `clear`.
"""

import asyncio
import base64
import json
import os
import random
import time
from collections import deque

import msgspec

from tron.calls.audio import level, mulaw_decode

FRAME_S = 0.02
FRAME = 160
SILENCE = base64.b64encode(b"\xff" * FRAME).decode()
VOICED_DB = -40.0
TURN_LIMIT_S = 5.0
MASK = b"\0\0\0\0"  # a mask of zeros leaves the payload as it is


class Seen(msgspec.Struct):
    """What one caller, or all of them, measured; ms."""

    turns: list[float] = msgspec.field(default_factory=list)
    barge_ins: list[float] = msgspec.field(default_factory=list)
    after_clear: int = 0
    """messages with sound that came after a `clear` and before the caller was done speaking"""
    failed: int = 0

    def add(self, other: "Seen") -> None:
        self.turns += other.turns
        self.barge_ins += other.barge_ins
        self.after_clear += other.after_clear
        self.failed += other.failed


class Question(msgspec.Struct, frozen=True):
    """What everybody says: µ-law frames in base64, the first and the last of them voiced."""

    frames: list[str]

    @classmethod
    def of(cls, mulaw: bytes) -> "Question":
        frames = [mulaw[at : at + FRAME] for at in range(0, len(mulaw) - FRAME + 1, FRAME)]
        voiced = [n for n, frame in enumerate(frames) if level(mulaw_decode(frame)) > VOICED_DB]
        cut = frames[voiced[0] : voiced[-1] + 1]
        return cls([base64.b64encode(frame).decode() for frame in cut])


class Caller(asyncio.Protocol):
    """One call."""

    def __init__(self, question: Question, *, number: int) -> None:
        self.seen = Seen()
        self.measuring = False
        self._question = question
        self._random = random.Random(number)
        self._number = number
        self._transport: asyncio.Transport | None = None
        self._read = b""
        self._upgraded = asyncio.Event()
        self._all_said = asyncio.Event()
        self._to_say: deque[str] = deque()
        self._voiced_left = 0
        self._chunk = 0
        self._plays_until = 0.0
        self._spoken_at = 0.0
        """when the last (first, of an interruption) voiced frame was handed over"""
        self._sounded: asyncio.Future[float] | None = None
        self._cleared: asyncio.Future[float] | None = None
        self._silenced = False
        self._tasks: list[asyncio.Future[None]] = []

    async def run(self, port: int, ticket: str, call_sid: str) -> None:
        """Connect and call; ends when `close` is called."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", port)
        assert self._transport is not None
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            "GET /twilio/media HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        self._transport.write("\r\n".join((*head, "", "")).encode())
        await self._upgraded.wait()
        self._send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        start = {
            "streamSid": f"MZ{self._number}",
            "callSid": call_sid,
            "tracks": ["inbound"],
            "customParameters": {"token": ticket},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        self._send(json.dumps({"event": "start", "streamSid": f"MZ{self._number}", "start": start}))
        self._tasks = [
            asyncio.ensure_future(self._clock()),
            asyncio.ensure_future(self._converse()),
        ]
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # What it does

    async def _converse(self) -> None:
        await asyncio.sleep(0.5 + self._random.random() * 2)
        turn = self._number
        while True:
            turn += 1
            began = self.measuring
            seen = Seen()
            try:
                async with asyncio.timeout(TURN_LIMIT_S):
                    await self._turn(seen, interrupt=turn % 2 == 0)
            except TimeoutError:
                seen.failed += 1
            if began and self.measuring:
                self.seen.add(seen)
            await asyncio.sleep(max(0.0, self._plays_until - time.perf_counter()))
            await asyncio.sleep(0.6 + self._random.random() * 0.8)

    async def _turn(self, seen: Seen, *, interrupt: bool) -> None:
        loop = asyncio.get_running_loop()
        self._sounded = loop.create_future()
        self._say()
        at = await self._sounded
        seen.turns.append((at - self._spoken_at) * 1000)
        if not interrupt:
            return
        await asyncio.sleep(0.4)
        self._cleared, self._sounded = loop.create_future(), loop.create_future()
        self._silenced = False
        begun = self._say()
        cleared = await self._cleared
        seen.barge_ins.append((cleared - await begun) * 1000)
        self._silenced = True
        await self._all_said.wait()
        self._silenced = False
        at = await self._sounded  # the answer to what it said
        seen.turns.append((at - self._spoken_at) * 1000)

    def _say(self) -> "asyncio.Future[float]":
        """Speak the question; the result is when its first frame went out."""
        self._all_said.clear()
        self._to_say.extend(self._question.frames)
        self._begun: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        return self._begun

    async def _clock(self) -> None:
        due = time.perf_counter() + self._random.random() * FRAME_S
        silence = f'","payload":"{SILENCE}"}}}}'
        head = f'{{"event":"media","streamSid":"MZ{self._number}","media":{{"track":"inbound",'
        while True:
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._chunk += 1
            chunk = f'"chunk":"{self._chunk}","timestamp":"{self._chunk * 20}'
            if not self._to_say:
                self._send(head + chunk + silence)
                continue
            frame = self._to_say.popleft()
            self._send(f'{head}{chunk}","payload":"{frame}"}}}}')
            now = time.perf_counter()
            if not self._begun.done():
                self._begun.set_result(now)
            if not self._to_say:
                self._spoken_at = now
                self._all_said.set()

    def _send(self, text: str) -> None:
        data = text.encode()
        size = len(data)
        head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        if self._transport is not None:
            self._transport.write(head + MASK + data)

    # What it hears

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.measuring:
            self.seen.failed += 1

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._upgraded.is_set():
            head, found, rest = self._read.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head[:20]:
                raise ConnectionError(head.decode(errors="replace"))
            self._read = rest
            self._upgraded.set()
        while (message := self._message()) is not None:
            self._take(message)

    def _message(self) -> bytes | None:
        read = self._read
        if len(read) < 2:
            return None
        size, begin = read[1], 2
        if size == 126:
            size, begin = int.from_bytes(read[2:4], "big"), 4
        elif size == 127:
            size, begin = int.from_bytes(read[2:10], "big"), 10
        if len(read) < begin + size or len(read) < begin:
            return None
        self._read = read[begin + size :]
        return read[begin : begin + size] if read[0] & 0x0F == 1 else b""

    def _take(self, message: bytes) -> None:
        now = time.perf_counter()
        head = message[:20]  # some write a blank after each colon
        if b'"media"' in head:
            payload = message.partition(b'"payload":')[2].strip(b' "}')
            self._plays_until = max(self._plays_until, now) + len(payload) * 3 / 4 / 8000
            if not payload.strip(b"/=78+"):
                return  # silence
            if self._silenced:
                self.seen.after_clear += 1
            if self._sounded is not None and not self._sounded.done() and not self._to_say:
                self._sounded.set_result(now)
        elif b'"mark"' in head:
            # It comes back when all before it has played.
            loop = asyncio.get_running_loop()
            loop.call_later(max(0.0, self._plays_until - now), self._send, message.decode())
        elif b'"clear"' in head:
            self._plays_until = now
            if self._cleared is not None and not self._cleared.done():
                self._cleared.set_result(now)
