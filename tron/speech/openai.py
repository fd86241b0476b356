"""Speech at OpenAI, or at any server with the same two routes."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp

from tron.calls.audio import duration_ms, wav
from tron.errors import Invalid
from tron.speech.contract import (
    Piece,
    RecogniserFacts,
    SpeechFailed,
    SynthesiserFacts,
    Transcript,
    Voice,
)
from tron.speech.remote import Remote
from tron.speech.results import Results
from tron.supervise import Tasks

BASE_URL = "https://api.openai.com/v1"
HEAR, SPEAK = "gpt-4o-mini-transcribe", "gpt-4o-mini-tts"
HEAR_RATE, SPEAK_RATE = 16_000, 24_000
LONGEST_S = 120.0
"""of one utterance; of a longer one the beginning is sent and the call goes on"""
SHORTEST_MS = 100

VOICES = {
    "alloy": "neutral, even",
    "ash": "man, clear",
    "ballad": "man, warm",
    "coral": "woman, friendly",
    "echo": "man, calm",
    "fable": "British, lively",
    "nova": "woman, bright",
    "onyx": "man, deep",
    "sage": "woman, calm",
    "shimmer": "woman, soft",
    "verse": "man, expressive",
}


def remote(base_url: str, key: str, *, silence_s: float) -> Remote:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return Remote("openai", base_url or BASE_URL, headers, silence_s=silence_s)


class OpenAIRecogniser:
    """Each utterance is sent as a recording when it is over: no partials."""

    facts = RecogniserFacts(
        name="openai", local=False, partials=False, sample_rate=HEAR_RATE, languages=("*",)
    )

    def __init__(self, api: Remote, *, model: str = "") -> None:
        self._api = api
        self._model = model or HEAR

    async def listen(self) -> "OpenAIHearing":
        return OpenAIHearing(self)

    async def transcribe(self, pcm: bytes) -> Transcript:
        form = aiohttp.FormData()
        form.add_field("file", wav(pcm, HEAR_RATE), filename="a.wav", content_type="audio/wav")
        form.add_field("model", self._model)
        form.add_field("response_format", "json")
        answer = await self._api.json("POST", "/audio/transcriptions", patience=10, data=form)
        text = answer.get("text") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise self._api.failed("an answer that can't be read")
        text = text.strip()
        whole = Piece(start_ms=0, end_ms=int(duration_ms(pcm, HEAR_RATE)), text=text)
        return Transcript(text=text, final=True, pieces=(whole,) if text else ())

    async def close(self) -> None:
        await self._api.close()


class OpenAIHearing:
    """One caller."""

    def __init__(self, engine: OpenAIRecogniser) -> None:
        self._engine = engine
        self._audio = bytearray()
        self._results = Results(engine.facts.name)
        self._tasks = Tasks("openai-hearing")
        self._in_order = asyncio.Lock()

    def feed(self, pcm: bytes) -> None:
        if len(self._audio) < LONGEST_S * HEAR_RATE * 2:
            self._audio += pcm

    def commit(self) -> None:
        pcm = bytes(self._audio)
        self._audio.clear()
        self._tasks.start(self._recognise(pcm), "recognise")

    def results(self) -> AsyncIterator[Transcript]:
        return self._results.read()

    async def close(self) -> None:
        self._results.close()
        await self._tasks.close()

    async def _recognise(self, pcm: bytes) -> None:
        async with self._in_order:
            try:
                if duration_ms(pcm, HEAR_RATE) < SHORTEST_MS:  # it refuses those
                    heard = Transcript(text="", final=True)
                else:
                    heard = await self._engine.transcribe(pcm)
                self._results.add(heard)
            except SpeechFailed as error:
                self._results.fail(error)


class OpenAISynthesiser:
    """Streamed PCM."""

    facts = SynthesiserFacts(name="openai", local=False, sample_rate=SPEAK_RATE)

    def __init__(self, api: Remote, *, model: str = "") -> None:
        self._api = api
        self._model = model or SPEAK

    async def voices(self) -> list[Voice]:
        return [
            Voice(id=name, name=name.title(), language="*", engine="openai", description=what)
            for name, what in VOICES.items()
        ]

    async def speak(
        self, text: str, *, voice: str, rate: float = 1.0
    ) -> AsyncGenerator[bytes, None]:
        if voice and voice not in VOICES:
            raise Invalid(f"There is no voice {voice!r}.", param="voice", code="unknown_voice")
        body = {
            "model": self._model,
            "input": text,
            "voice": voice or "alloy",
            "response_format": "pcm",
            "speed": min(4.0, max(0.25, rate)),
        }
        async with contextlib.aclosing(self._api.pcm("/audio/speech", json=body)) as audio:
            async for chunk in audio:
                yield chunk

    async def close(self) -> None:
        await self._api.close()
