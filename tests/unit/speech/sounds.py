"""Sounds for tests of hearing and speaking."""

import math
import struct
from collections.abc import AsyncGenerator

from tron.speech.contract import Synthesiser


def sine(hz: float, seconds: float, rate: int, *, size: int = 10_000) -> bytes:
    turn = 2 * math.pi * hz / rate
    count = int(seconds * rate)
    return b"".join(struct.pack("<h", round(size * math.sin(turn * at))) for at in range(count))


async def gathered(audio: AsyncGenerator[bytes, None]) -> bytes:
    return b"".join([chunk async for chunk in audio])


async def said(engine: Synthesiser, text: str, voice: str = "") -> bytes:
    return await gathered(engine.speak(text, voice=voice))
