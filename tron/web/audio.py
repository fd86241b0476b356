"""OpenAI's audio routes on the hub's own engines: speech from text, text from recordings.

`model` is accepted and ignored, for the engine is the hub's setting. A `voice` is one of the
engine's, a persona's name (it speaks as that persona does), or one of OpenAI's own names, which
every client sends; anything else is refused. Nothing is sent before the first sound is known, so
a failure before it has its real status.
"""

import base64
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from quart import Blueprint, Response, request
from quart_schema import DataSource, document_request

from tron.errors import Invalid
from tron.speech import files
from tron.speech.contract import Transcript
from tron.speech.openai import VOICES
from tron.speech.streams import at_rate, begun
from tron.web.contract import promises

if TYPE_CHECKING:
    from tron.hub import Hub

PCM_RATE = 24_000
"""what OpenAI calls `pcm`, and what its clients play"""
LIKE_OPENAI = {
    "alloy": "en-us+f1",
    "ash": "en-us+m1",
    "ballad": "en-gb+m2",
    "coral": "en-us+f2",
    "echo": "en-us+m3",
    "fable": "en-gb+m7",
    "nova": "en-us+f4",
    "onyx": "en-us+m4",
    "sage": "en-gb+f3",
    "shimmer": "en-us+f5",
    "verse": "en-us+m6",
}
"""OpenAI's names among the local voices"""

SpeechFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
TextFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]


class SpeechRequest(BaseModel):
    """As OpenAI's; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    input: str = Field(min_length=1, max_length=4096, description="what to say")
    model: str = Field(default="", description="ignored")
    voice: str | dict[str, Any] = Field(
        default="", description="a voice of the engine, a persona, or one of OpenAI's names"
    )
    response_format: SpeechFormat = "mp3"
    speed: float = Field(default=1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"


class TranscriptionRequest(BaseModel):
    """As OpenAI's, a form with a `file`; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    file: Any = Field(default=None, description="the recording")
    model: str = Field(default="", description="ignored")
    language: str | None = None
    response_format: TextFormat = "json"
    stream: bool = False


class Transcription(BaseModel):
    """What was heard."""

    text: str


def routes(hub: "Hub") -> Blueprint:
    """The audio surface of one hub."""
    blueprint = Blueprint("audio", __name__)

    @blueprint.post("/v1/audio/speech", endpoint="speech")
    @promises("chat", body=SpeechRequest, fails=(502,))
    async def speech(data: SpeechRequest) -> Response:
        """Say a text: `mp3`, `opus`, `aac`, `flac` (with ffmpeg), `wav` or `pcm`, streamed."""
        files.check_writable(data.response_format)
        audio = await begun(await _spoken(hub, data))
        rate = (
            PCM_RATE if data.response_format == "pcm" else hub.speech.synthesiser.facts.sample_rate
        )
        if data.response_format == "pcm":
            audio = at_rate(PCM_RATE, audio, hub.speech.synthesiser.facts.sample_rate)
        body = files.write(audio, data.response_format, rate=rate)
        content_type = files.FORMATS[data.response_format]
        if data.stream_format == "sse":
            body, content_type = _events(body), "text/event-stream"
        response = Response(body, content_type=content_type)
        response.timeout = None  # Quart would cut the body after 60 s
        return response

    @blueprint.post("/v1/audio/transcriptions", endpoint="transcriptions")
    @promises("chat", gives=Transcription, fails=(400, 413, 502))
    @document_request(TranscriptionRequest, source=DataSource.FORM_MULTIPART)
    async def transcriptions() -> Response:
        """Understand a recording: `json`, `text`, `verbose_json`, `srt` or `vtt`."""
        asked, raw = await _form()
        rate = hub.speech.recogniser.facts.sample_rate
        pcm = await files.read(raw, rate=rate)
        heard = await hub.speech.recogniser.transcribe(pcm)
        return _written(heard, asked, seconds=len(pcm) / 2 / rate)

    return blueprint


async def _spoken(hub: "Hub", asked: SpeechRequest) -> AsyncGenerator[bytes, None]:
    wanted = asked.voice if isinstance(asked.voice, str) else str(asked.voice.get("id", ""))
    persona = hub.agents.get(wanted) if wanted else None
    if persona is not None:
        voice = await hub.speech.choose_voice(None, persona.voice)
    elif wanted in VOICES and not await hub.speech.has_voice(wanted):
        voice = await hub.speech.choose_voice(None, LIKE_OPENAI[wanted])
    else:
        voice = await hub.speech.choose_voice(wanted)
    return hub.speech.synthesiser.speak(asked.input, voice=voice, rate=asked.speed)


async def _events(body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(body):
        async for chunk in body:
            if chunk:
                yield _event("speech.audio.delta", audio=base64.b64encode(chunk).decode())
    yield _event("speech.audio.done")


def _event(type: str, **fields: Any) -> bytes:
    return b"data: " + msgspec.json.encode({"type": type, **fields}) + b"\n\n"


async def _form() -> tuple[TranscriptionRequest, bytes]:
    form, uploaded = await request.form, (await request.files).get("file")
    try:
        asked = TranscriptionRequest.model_validate(form.to_dict())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{param}: {first['msg']}.", param=param, code=first["type"]) from None
    if uploaded is None:
        raise Invalid("file: a recording is missing.", param="file", code="missing")
    return asked, uploaded.read()


def _written(heard: Transcript, asked: TranscriptionRequest, *, seconds: float) -> Response:
    usage = {"type": "duration", "seconds": round(seconds)}
    if asked.stream:
        return Response(_told(heard.text, usage), content_type="text/event-stream")
    match asked.response_format:
        case "text":
            return Response(heard.text + "\n", content_type="text/plain; charset=utf-8")
        case "srt":
            cues = [
                f"{number}\n{_stamp(start, ',')} --> {_stamp(end, ',')}\n{text}\n"
                for number, (start, end, text) in enumerate(_cues(heard, seconds), 1)
            ]
            return Response("\n".join(cues), content_type="text/plain; charset=utf-8")
        case "vtt":
            cues = [
                f"{_stamp(start, '.')} --> {_stamp(end, '.')}\n{text}\n"
                for start, end, text in _cues(heard, seconds)
            ]
            whole = "\n".join(["WEBVTT\n", *cues])
            return Response(whole, content_type="text/vtt; charset=utf-8")
        case "verbose_json":
            return _json(_verbose(heard, asked, seconds) | {"usage": usage})
    return _json({"text": heard.text, "usage": usage})


async def _told(text: str, usage: dict[str, Any]) -> AsyncIterator[bytes]:
    yield _event("transcript.text.delta", delta=text)
    yield _event("transcript.text.done", text=text)


def _json(answer: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(answer), content_type="application/json")


def _cues(heard: Transcript, seconds: float) -> list[tuple[int, int, str]]:
    """(start, end, text) in ms; one for all of it where the engine gives no times."""
    if heard.pieces:
        return [(piece.start_ms, piece.end_ms, piece.text) for piece in heard.pieces]
    return [(0, int(seconds * 1000), heard.text)] if heard.text else []


def _verbose(heard: Transcript, asked: TranscriptionRequest, seconds: float) -> dict[str, Any]:
    """What the engine does not measure is null."""
    return {
        "task": "transcribe",
        "language": asked.language,
        "duration": round(seconds, 2),
        "text": heard.text,
        "segments": [
            {
                "id": number,
                "seek": 0,
                "start": start / 1000,
                "end": end / 1000,
                "text": text,
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": None,
                "compression_ratio": None,
                "no_speech_prob": None,
            }
            for number, (start, end, text) in enumerate(_cues(heard, seconds))
        ],
    }


def _stamp(ms: int, point: str) -> str:
    minutes, rest = divmod(ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"
