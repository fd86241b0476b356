"""The REST side of the voice API: sessions, voices, what is set up, latency.

Thin: each route checks what came, asks the part that knows, and answers in the voice API's shape.
Failures are `{"error","code"}` (see `tron.web.errors`).
"""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint, Response, request

from tron.calls.audio import wav
from tron.calls.sentences import speakable
from tron.clock import iso, iso_or_none
from tron.errors import Invalid, NotFound, ProviderError
from tron.speech.contract import SpeechFailed
from tron.web.contract import PRINTABLE, VoiceErrorAnswer, promises
from tron.web.security import principal
from tron.web.voice import voices
from tron.web.voice.latency import WINDOW, Latency
from tron.web.voice.onboarding import Onboarding, Trials
from tron.web.voice.sessions import VoiceSession, VoiceSessions
from tron.web.voice.styles import style

if TYPE_CHECKING:
    from tron.hub import Hub

PREVIEW_S = 12.0
GREETING = "Hi. I'm here with you."


class SessionRequest(BaseModel):
    """Every field may be left out."""

    model_config = ConfigDict(extra="ignore")

    user_id: str | None = Field(default=None, max_length=200, pattern=PRINTABLE)
    persona_id: str | None = Field(
        default=None, max_length=80, description="a style; unknown ones are spoken warmly"
    )
    voice_id: str | None = Field(default=None, max_length=120, description="else the agent's own")
    agent: str | None = Field(
        default=None, max_length=80, description="who to talk to; else the hub's default agent"
    )


class SessionAnswer(BaseModel):
    """A voice session."""

    session_id: str
    user_id: str
    status: Literal["active", "ended"]
    persona_id: str
    voice_id: str
    agent: str
    started_at: str
    last_activity_at: str
    ended_at: str | None
    inactivity_ttl_ms: int
    active_turn_id: str | None
    interruption_count: int


class PreviewRequest(BaseModel):
    """What to say, and how."""

    model_config = ConfigDict(extra="ignore")

    voice_id: str = Field(default="", max_length=120)
    persona_id: str = Field(default="warm", max_length=80)
    text: str = Field(default=GREETING, max_length=500)


class VoiceEntry(BaseModel):
    """A voice that can be asked for."""

    voice_id: str
    name: str
    category: str
    labels: dict[str, str]


class VoiceList(BaseModel):
    """The voices of the engine in use."""

    default_voice_id: str
    recommended: list[str]
    voices: list[VoiceEntry]


class Stage(BaseModel):
    """How long one stage of a turn took, in ms; without a target there is none.

    Null where there are no samples: the stage is one that this hub can't measure.
    """

    stage: str
    samples: int
    last_ms: int | None
    avg_ms: float | None
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None
    target_p95_ms: int | None = None


class Indicator(BaseModel):
    """How often something happened."""

    name: str
    count: int


class LatencyAnswer(BaseModel):
    """The latest turns."""

    generated_at: str
    window_size: int
    stages: list[Stage]
    indicators: list[Indicator]


class Done(BaseModel):
    """It is done."""

    status: Literal["ok"] = "ok"


class UiSettings(BaseModel):
    """What a page that talks may need to know; ms."""

    sample_rate: int
    chunk_ms: int
    endpointing: Literal["hub"]
    vad_start_ms: int
    vad_stop_ms: int
    turn_wait_ms: int
    barge_in: bool
    fillers_enabled: bool
    silence_breaker_enabled: bool
    overlap_enabled: bool
    inactivity_ttl_ms: int


def routes(hub: "Hub", sessions: VoiceSessions, latency: Latency) -> Blueprint:
    """Everything but the socket."""
    blueprint = Blueprint("rest", __name__)
    blueprint.before_request(_only_json)
    trials = Trials(hub)

    def answer(session: VoiceSession) -> dict[str, Any]:
        return _answer(session, sessions.ttl_ms).model_dump()

    @blueprint.post("/v1/voice/session", endpoint="create")
    @promises(
        "chat",
        body=SessionRequest,
        also_gives={201: SessionAnswer},
        fails=(404, 502),
        error=VoiceErrorAnswer,
    )
    async def create(data: SessionRequest) -> tuple[dict[str, Any], int]:
        """Open a voice session; its id is the key to the socket."""
        agent = hub.agents.wanted(data.agent, code="agent_not_found")
        voice = await voices.resolve(hub.speech, data.voice_id) if data.voice_id else ""
        shown = data.voice_id or await hub.speech.choose_voice(None, agent.voice)
        who = principal()
        session = VoiceSession(
            now=hub.clock.now_ms(),
            user_id=data.user_id or "anonymous",
            owner=who.name,
            client_id=who.client_id,
            agent=agent.id,
            style=style(data.persona_id),
            voice_id=shown or (await hub.speech.voices())[0].id,
            voice=voice,
        )
        sessions.add(session)
        return answer(session), 201

    @blueprint.post("/v1/voice/session/<session_id>/end", endpoint="end")
    @promises("chat", gives=SessionAnswer, fails=(404,), error=VoiceErrorAnswer)
    async def end(session_id: str) -> dict[str, Any]:
        """End a voice session; its socket is closed."""
        session, who = sessions.find(session_id), principal()
        if (session.client_id, session.owner) != (who.client_id, who.name):
            raise NotFound("There is no such voice session.", code="session_not_found")
        session.end(hub.clock.now_ms())
        return answer(session)

    @blueprint.get("/v1/voice/voices", endpoint="voices")
    @promises("chat", gives=VoiceList, fails=(502,), error=VoiceErrorAnswer)
    async def list_voices() -> dict[str, Any]:
        """The voices that can be asked for."""
        liked = [persona.voice for persona in hub.agents.personas]
        return await voices.listing(hub.speech, liked)

    @blueprint.post("/v1/voice/tts/preview", endpoint="preview")
    @promises("chat", body=PreviewRequest, fails=(502,), error=VoiceErrorAnswer)
    async def preview(data: PreviewRequest) -> Response:
        """Hear a voice: a short WAV."""
        voice = await voices.resolve(hub.speech, data.voice_id) if data.voice_id else ""
        text = speakable(data.text) or GREETING
        rate = hub.speech.synthesiser.facts.sample_rate
        try:
            async with asyncio.timeout(PREVIEW_S):
                pcm = await _spoken(hub, text, voice, style(data.persona_id).pace)
        except (TimeoutError, SpeechFailed) as error:
            raise ProviderError(
                str(error) or f"No speech within {PREVIEW_S:g} s.", code="tts_preview_failed"
            ) from None
        headers = {"X-Audio-Format": f"wav_{rate}", "Cache-Control": "no-store"}
        return Response(wav(pcm, rate), content_type="audio/wav", headers=headers)

    @blueprint.get("/v1/onboarding/status", endpoint="onboarding")
    @promises("read", gives=Onboarding, error=VoiceErrorAnswer)
    async def onboarding() -> dict[str, Any]:
        """What is set up for talking, tried for real."""
        return (await trials.status()).model_dump(exclude_none=True)

    @blueprint.get("/v1/perf/latency", endpoint="latency")
    @promises("read", gives=LatencyAnswer, error=VoiceErrorAnswer)
    async def show_latency() -> dict[str, Any]:
        """How long the stages of the latest spoken turns took."""
        now = datetime.fromtimestamp(hub.clock.now_ms() / 1000, UTC)
        return {
            "generated_at": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "window_size": WINDOW,
            "stages": latency.stages(),
            "indicators": latency.indicators(),
        }

    @blueprint.post("/v1/perf/latency/reset", endpoint="reset")
    @promises("write", gives=Done, error=VoiceErrorAnswer)
    async def reset() -> dict[str, Any]:
        """Forget every sample of latency."""
        latency.reset()
        return Done().model_dump()

    @blueprint.get("/v1/ui/settings", endpoint="ui_settings")
    @promises("read", gives=UiSettings, error=VoiceErrorAnswer)
    async def ui_settings() -> dict[str, Any]:
        """What a page that talks may need to know."""
        return _ui_settings(hub, sessions.ttl_ms).model_dump()

    return blueprint


async def _only_json() -> None:
    """A body is JSON, and says so. Raises Invalid."""
    sent = request.content_length or "Transfer-Encoding" in request.headers
    if sent and not request.is_json:
        raise Invalid("The body must be JSON, with Content-Type: application/json.")


def _answer(session: VoiceSession, ttl_ms: int) -> SessionAnswer:
    return SessionAnswer(
        session_id=session.id,
        user_id=session.user_id,
        status="active" if session.ended_at is None else "ended",
        persona_id=session.style.id,
        voice_id=session.voice_id,
        agent=session.agent,
        started_at=iso(session.started_at),
        last_activity_at=iso(session.last_activity_at),
        ended_at=iso_or_none(session.ended_at),
        inactivity_ttl_ms=ttl_ms,
        active_turn_id=session.active_turn_id,
        interruption_count=session.interruption_count,
    )


async def _spoken(hub: "Hub", text: str, voice: str, pace: float) -> bytes:
    async with aclosing(hub.speech.synthesiser.speak(text, voice=voice, rate=pace)) as audio:
        return b"".join([pcm async for pcm in audio])


def _ui_settings(hub: "Hub", ttl_ms: int) -> UiSettings:
    settings = hub.settings
    return UiSettings(
        sample_rate=16_000,
        chunk_ms=40,
        endpointing="hub",
        vad_start_ms=settings.vad_start_ms,
        vad_stop_ms=settings.vad_stop_ms,
        turn_wait_ms=settings.turn_wait_ms,
        barge_in=True,
        fillers_enabled=False,
        silence_breaker_enabled=False,
        overlap_enabled=False,
        inactivity_ttl_ms=ttl_ms,
    )
