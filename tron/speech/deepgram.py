"""Speech at Deepgram: Nova over its live socket, Aura over streamed HTTP."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from tron.calls.audio import wav
from tron.errors import Invalid
from tron.speech.contract import RecogniserFacts, SynthesiserFacts, Transcript, Voice
from tron.speech.pieces import portions
from tron.speech.remote import Remote
from tron.speech.socket_hearing import Heard, SocketHearing

HEAR, SPEAK = "nova-3", "aura-2-thalia-en"
HEAR_RATE, SPEAK_RATE = 16_000, 24_000
LONGEST = 1900
"""characters in one request; it takes 2000"""


def remote(base_url: str, key: str, *, silence_s: float) -> Remote:
    headers = {"Authorization": f"Token {key}"}
    return Remote("deepgram", base_url, headers, silence_s=silence_s)


class _Live:
    """The live socket's dialect. It settles an utterance in parts, and leaves a `Finalize` with
    nothing new to say unanswered."""

    keep_alive = '{"type":"KeepAlive"}'  # without, it hangs up after 10 s of silence
    flush_s = 1.0

    def audio(self, pcm: bytes) -> bytes:
        return pcm

    def commit(self) -> str:
        return '{"type":"Finalize"}'

    def heard(self, message: Any) -> Heard | None:
        if message["type"] == "Error":
            return Heard(fault=str(message.get("description") or "error"))
        if message["type"] != "Results":
            return None
        best = message["channel"]["alternatives"][0]
        text, sure = best["transcript"].strip(), best.get("confidence")
        if not message.get("is_final"):
            confidence = float(sure) if isinstance(sure, int | float) else None
            return Heard(text=text, confidence=confidence, partial=True)
        return Heard(text=text, answers=bool(message.get("from_finalize")))


class DeepgramRecogniser:
    """Nova, live."""

    facts = RecogniserFacts(name="deepgram", local=False, partials=True, sample_rate=HEAR_RATE)

    def __init__(self, api: Remote, *, model: str = "") -> None:
        self._api = api
        self._model = model or HEAR

    async def listen(self) -> SocketHearing:
        socket = await self._api.socket(
            "/v1/listen",
            {
                "model": self._model,
                "encoding": "linear16",
                "sample_rate": str(HEAR_RATE),
                "channels": "1",
                "interim_results": "true",
                "smart_format": "true",
            },
        )
        return SocketHearing(self._api, socket, _Live())

    async def transcribe(self, pcm: bytes) -> Transcript:
        answer = await self._api.json(
            "POST",
            "/v1/listen",
            patience=10,
            params={"model": self._model, "smart_format": "true"},
            data=wav(pcm, HEAR_RATE),
            headers={"Content-Type": "audio/wav"},
        )
        try:
            best = answer["results"]["channels"][0]["alternatives"][0]
            confidence = best.get("confidence")
            return Transcript(text=best["transcript"].strip(), final=True, confidence=confidence)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise self._api.failed("an answer that can't be read") from error

    async def close(self) -> None:
        await self._api.close()


class DeepgramSynthesiser:
    """Streamed PCM. A voice is a model of theirs."""

    facts = SynthesiserFacts(name="deepgram", local=False, sample_rate=SPEAK_RATE)

    def __init__(self, api: Remote, *, model: str = "") -> None:
        self._api = api
        self._default = model or SPEAK
        self._voices: list[Voice] = []

    async def voices(self) -> list[Voice]:
        """Asked for once."""
        if not self._voices:
            answer = await self._api.json("GET", "/v1/models")
            try:
                found = [_voice(model) for model in answer["tts"]]
            except (KeyError, IndexError, TypeError, AttributeError) as error:
                raise self._api.failed("an answer that can't be read") from error
            self._voices = sorted(found, key=lambda voice: voice.id != self._default)
        return self._voices

    async def speak(
        self, text: str, *, voice: str, rate: float = 1.0
    ) -> AsyncGenerator[bytes, None]:
        if voice and voice not in [known.id for known in await self.voices()]:
            raise Invalid(f"There is no voice {voice!r}.", param="voice", code="unknown_voice")
        params = {
            "model": voice or self._default,
            "encoding": "linear16",
            "container": "none",
            "sample_rate": str(SPEAK_RATE),
        }
        if rate != 1.0:
            params["speed"] = f"{min(1.5, max(0.7, rate)):.2f}"
        for portion in portions(text, longest=LONGEST):
            spoken = self._api.pcm("/v1/speak", params=params, json={"text": portion})
            async with contextlib.aclosing(spoken) as audio:
                async for chunk in audio:
                    yield chunk

    async def close(self) -> None:
        await self._api.close()


def _voice(model: Any) -> Voice:
    about = model.get("metadata") or {}
    parts = [about.get("accent"), *(about.get("tags") or [])]
    return Voice(
        id=str(model["canonical_name"]),
        name=str(model.get("name") or model["canonical_name"]).title(),
        language=str((model.get("languages") or ["en"])[0]),
        engine="deepgram",
        description=", ".join(str(part) for part in parts if part),
    )
