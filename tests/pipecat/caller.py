"""A caller made of Pipecat's own Twilio serializer, unmodified.

Runs in an environment of its own, which has Pipecat and nothing of the hub's:

    python tests/pipecat/caller.py ws://127.0.0.1:3000/twilio/media ask.wav out.wav

It waits until the greeting is over, says the WAV (16-bit, mono), listens until the answer is over,
writes all it heard, and prints what it counted as JSON. `connected` and `start` are sent by hand,
for Pipecat only reads those; every frame of sound is built and taken apart by its serializer.
"""

import asyncio
import json
import sys
import time
import wave
from pathlib import Path
from typing import Any

from loguru import logger
from pipecat.clocks.system_clock import SystemClock
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.serializers.twilio import TwilioFrameSerializer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

RATE = 16_000
FRAME_MS = 40
QUIET_S = 3.0
"""more than the hub waits for marks, which Pipecat's serializer does not send back"""
PATIENCE_S = 60.0


class Caller:
    """One call."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._serializer = TwilioFrameSerializer(
            stream_sid="MZ00000000000000000000000000000001",
            params=TwilioFrameSerializer.InputParams(sample_rate=RATE, auto_hang_up=False),
        )
        self._to_say = b""
        self._heard_at = 0.0
        self.heard = bytearray()
        self.sent = self.received = 0
        self.other: dict[str, int] = {}

    async def begin(self) -> None:
        # All the serializer asks of it is the rate, which its own parameters say.
        setup: Any = FrameProcessorSetup(
            clock=SystemClock(), task_manager=None, pipeline_worker=None
        )
        await self._serializer.setup(setup)
        await self._socket.send(
            json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        )
        start = {
            "streamSid": "MZ00000000000000000000000000000001",
            "callSid": "CA00000000000000000000000000000001",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        await self._socket.send(json.dumps({"event": "start", "start": start}))

    async def talk(self) -> None:
        """A frame every 40 ms, silence where nothing is to be said."""
        size = RATE * FRAME_MS // 1000 * 2
        due = time.monotonic()
        while True:
            frame, self._to_say = self._to_say[:size].ljust(size, b"\0"), self._to_say[size:]
            sound = OutputAudioRawFrame(audio=frame, sample_rate=RATE, num_channels=1)
            message = await self._serializer.serialize(sound)
            if message is not None:
                await self._socket.send(message)
                self.sent += 1
            due += FRAME_MS / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def listen(self) -> None:
        async for raw in self._socket:
            frame = await self._serializer.deserialize(raw)
            if isinstance(frame, InputAudioRawFrame):
                self.received += 1
                self.heard += frame.audio
                self._heard_at = time.monotonic()
            else:
                kind = str(json.loads(raw).get("event"))
                self.other[kind] = self.other.get(kind, 0) + 1

    async def say(self, pcm: bytes) -> None:
        self._to_say += pcm
        await asyncio.sleep(len(pcm) / 2 / RATE)

    async def until_quiet(self) -> None:
        """Wait until something more was heard, and then nothing for a while."""
        before = self.received
        async with asyncio.timeout(PATIENCE_S):
            while self.received == before or time.monotonic() - self._heard_at < QUIET_S:
                if self._socket.close_code is not None:
                    raise SystemExit(f"The hub closed the call: {self._socket.close_reason}")
                await asyncio.sleep(FRAME_MS / 1000)


async def call(url: str, question: bytes) -> tuple[Caller, int]:
    """The whole call; and how many bytes of what was heard are the greeting."""
    async with connect(url) as socket:
        caller = Caller(socket)
        await caller.begin()
        tasks = [asyncio.create_task(caller.talk()), asyncio.create_task(caller.listen())]
        try:
            await caller.until_quiet()
            greeting = len(caller.heard)
            await caller.say(question)
            await caller.until_quiet()
            await socket.send(json.dumps({"event": "stop", "stop": {}}))
        finally:
            for task in tasks:
                task.cancel()
            for done in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(done, Exception) and not isinstance(done, ConnectionClosed):
                    raise done
        return caller, greeting


def main() -> None:
    url, ask, out = sys.argv[1:]
    logger.remove()
    with wave.open(ask) as file:
        if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (RATE, 2, 1):
            raise SystemExit(f"{ask} must be 16-bit mono at {RATE} Hz")
        question = file.readframes(file.getnframes())
    caller, greeting = asyncio.run(call(url, question))
    with wave.open(str(Path(out)), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        file.writeframes(bytes(caller.heard))
    print(
        json.dumps(
            {
                "frames_sent": caller.sent,
                "frames_received": caller.received,
                "other_events": caller.other,
                "greeting_bytes": greeting,
                "heard_s": round(len(caller.heard) / 2 / RATE, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
