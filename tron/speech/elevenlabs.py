"""Speech at ElevenLabs: Scribe over its realtime socket, voices over streamed HTTP."""

import base64
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import msgspec

from tron.calls.audio import wav
from tron.errors import Invalid
from tron.speech.contract import RecogniserFacts, SynthesiserFacts, Transcript, Voice
from tron.speech.remote import Remote
from tron.speech.socket_hearing import Heard, SocketHearing

HEAR, HEAR_FILE, SPEAK = "scribe_v2_realtime", "scribe_v2", "eleven_flash_v2_5"
HEAR_RATE, SPEAK_RATE = 16_000, 24_000
SLOWEST, FASTEST = 0.7, 1.2

_FAULTS = frozenset(
    "error auth_error quota_exceeded rate_limited queue_overflow resource_exhausted "
    "session_time_limit_exceeded input_error chunk_size_exceeded transcriber_error "
    "unaccepted_terms".split()
)
_NOTHING_TO_SAY = frozenset(("commit_throttled", "insufficient_audio_activity"))
"""a commit it finds too early or too quiet: heard as silence"""


def remote(base_url: str, key: str, *, silence_s: float) -> Remote:
    return Remote("elevenlabs", base_url, {"xi-api-key": key}, silence_s=silence_s)


class _Scribe:
    """The realtime socket's dialect."""

    keep_alive = ""
    flush_s = 0.0

    def audio(self, pcm: bytes) -> str:
        return self._chunk(pcm, commit=False)

    def commit(self) -> str:
        return self._chunk(b"", commit=True)

    def heard(self, message: Any) -> Heard | None:
        kind = message["message_type"]
        if kind == "partial_transcript":
            return Heard(text=message["text"], partial=True)
        if kind == "committed_transcript":
            return Heard(text=message["text"].strip(), answers=True)
        if kind in _NOTHING_TO_SAY:
            return Heard(answers=True)
        return Heard(fault=kind) if kind in _FAULTS else None

    def _chunk(self, pcm: bytes, *, commit: bool) -> str:
        return msgspec.json.encode(
            {
                "message_type": "input_audio_chunk",
                "audio_base_64": base64.b64encode(pcm).decode(),
                "commit": commit,
                "sample_rate": HEAR_RATE,
            }
        ).decode()


class ElevenLabsRecogniser:
    """Scribe, in realtime."""

    facts = RecogniserFacts(
        name="elevenlabs", local=False, partials=True, sample_rate=HEAR_RATE, languages=("*",)
    )

    def __init__(self, api: Remote, *, model: str = "") -> None:
        self._api = api
        self._model = model or HEAR

    async def listen(self) -> SocketHearing:
        socket = await self._api.socket(
            "/v1/speech-to-text/realtime",
            {
                "model_id": self._model,
                "audio_format": f"pcm_{HEAR_RATE}",
                "commit_strategy": "manual",
            },
        )
        return SocketHearing(self._api, socket, _Scribe())

    async def transcribe(self, pcm: bytes) -> Transcript:
        form = aiohttp.FormData()
        form.add_field("model_id", HEAR_FILE)
        form.add_field("file", wav(pcm, HEAR_RATE), filename="a.wav", content_type="audio/wav")
        answer = await self._api.json("POST", "/v1/speech-to-text", patience=10, data=form)
        text = answer.get("text") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise self._api.failed("an answer that can't be read")
        return Transcript(text=text.strip(), final=True)

    async def close(self) -> None:
        await self._api.close()


class ElevenLabsSynthesiser:
    """Streamed PCM in a voice of the account."""

    facts = SynthesiserFacts(name="elevenlabs", local=False, sample_rate=SPEAK_RATE)

    def __init__(self, api: Remote, *, model: str = "") -> None:
        self._api = api
        self._model = model or SPEAK
        self._voices: list[Voice] = []

    async def voices(self) -> list[Voice]:
        """Asked for once; again when somebody names a voice that was not in the list."""
        if not self._voices:
            self._voices = await self._ask()
        return self._voices

    async def speak(
        self, text: str, *, voice: str, rate: float = 1.0
    ) -> AsyncGenerator[bytes, None]:
        body: dict[str, Any] = {"text": text, "model_id": self._model}
        if rate != 1.0:
            body["voice_settings"] = {"speed": min(FASTEST, max(SLOWEST, rate))}
        path = f"/v1/text-to-speech/{await self._known(voice)}/stream"
        spoken = self._api.pcm(path, params={"output_format": f"pcm_{SPEAK_RATE}"}, json=body)
        async with contextlib.aclosing(spoken) as audio:
            async for chunk in audio:
                yield chunk

    async def close(self) -> None:
        await self._api.close()

    async def _known(self, voice: str) -> str:
        listed = [known.id for known in await self.voices()]
        if not voice and listed:
            return listed[0]
        if voice not in listed:
            self._voices = await self._ask()
            if voice not in [known.id for known in self._voices]:
                raise Invalid(f"There is no voice {voice!r}.", param="voice", code="unknown_voice")
        return voice

    async def _ask(self) -> list[Voice]:
        answer = await self._api.json("GET", "/v1/voices")
        try:
            return [_voice(found) for found in answer["voices"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise self._api.failed("an answer that can't be read") from error


def _voice(found: Any) -> Voice:
    labels = found.get("labels") or {}
    about = [found.get("category"), *(labels.get(key) for key in ("gender", "age", "accent"))]
    return Voice(
        id=str(found["voice_id"]),
        name=str(found.get("name") or found["voice_id"]),
        language=str(labels.get("language") or "*"),
        engine="elevenlabs",
        description=", ".join(str(part) for part in about if part),
    )
