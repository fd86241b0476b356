"""Engines for load tests: no model, no network, and waits that are set.

The recogniser answers each commit with one fixed transcript; the synthesiser says every sentence
as a tone of 1.2 s. What remains to be measured is the hub.
"""

import asyncio
import math
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from functools import cache

from tron.errors import Invalid
from tron.speech.contract import RecogniserFacts, SynthesiserFacts, Transcript, Voice
from tron.speech.pieces import sentences
from tron.speech.results import Results

RATE = 8_000
TONE_S = 1.2
TONE_HZ = 440
CHUNK_S = 0.2
TRANSCRIPT = "What time is it?"
VOICE = Voice(id="tone", name="Tone", language="en", engine="fake", description="440 Hz")


class FakeRecogniser:
    """See the module."""

    facts = RecogniserFacts(name="fake", local=True, partials=False, sample_rate=RATE)

    def __init__(self, *, text: str = TRANSCRIPT, delay_s: float = 0.0) -> None:
        self._text = text
        self._delay_s = delay_s

    async def listen(self) -> "FakeHearing":
        return FakeHearing(self._text, self._delay_s)

    async def transcribe(self, pcm: bytes) -> Transcript:
        await asyncio.sleep(self._delay_s)
        return Transcript(text=self._text if pcm else "", final=True)

    async def close(self) -> None:
        pass


class FakeHearing:
    """One caller."""

    def __init__(self, text: str, delay_s: float) -> None:
        self._text = text
        self._delay_s = delay_s
        self._results = Results(FakeRecogniser.facts.name)
        self._heard = False

    def feed(self, pcm: bytes) -> None:
        self._heard = self._heard or bool(pcm)

    def commit(self) -> None:
        said = Transcript(text=self._text if self._heard else "", final=True)
        self._heard = False
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._results.add, said)
        else:
            self._results.add(said)

    def results(self) -> AsyncIterator[Transcript]:
        return self._results.read()

    async def close(self) -> None:
        self._results.close()


class FakeSynthesiser:
    """See the module."""

    facts = SynthesiserFacts(name="fake", local=True, sample_rate=RATE)

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s

    async def voices(self) -> list[Voice]:
        return [VOICE]

    async def speak(
        self, text: str, *, voice: str, rate: float = 1.0
    ) -> AsyncGenerator[bytes, None]:
        if voice not in ("", VOICE.id):
            raise Invalid(f"There is no voice {voice!r}.", param="voice", code="unknown_voice")
        await asyncio.sleep(self._delay_s)
        tone, size = _tone(), int(RATE * CHUNK_S) * 2
        for _ in sentences(text, longest=1_000_000):
            for at in range(0, len(tone), size):
                yield tone[at : at + size]

    async def close(self) -> None:
        pass


@cache
def _tone() -> bytes:
    turn = 2 * math.pi * TONE_HZ / RATE
    samples = (round(8000 * math.sin(turn * at)) for at in range(int(RATE * TONE_S)))
    return b"".join(struct.pack("<h", sample) for sample in samples)
