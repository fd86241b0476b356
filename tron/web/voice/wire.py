"""One call as the client of a voice session sees it: what the call machine says, as messages.

Knows no socket: messages go to the session's outbox, and the end of the call to `over`.
"""

import asyncio
import base64
from collections.abc import Callable

from tron.calls.audio import wav
from tron.calls.listening import turn_wait_ms
from tron.calls.signals import Tell
from tron.calls.wire import WireFacts
from tron.clock import Clock
from tron.web.voice.messages import (
    RATE,
    EndpointHint,
    ErrorEvent,
    SpeechChunk,
    SttCommitted,
    SttPartial,
    SystemEvent,
    TextDelta,
    TurnEnd,
)
from tron.web.voice.sessions import VoiceSession

PLAYED_RATE = 24_000
FORMAT = f"wav_{PLAYED_RATE}"
WORKING_AFTER_S = 0.5
HINT_CHANGE_MS = 80
HINT_AGAIN_MS = 1_200


class VoiceWire:
    """See the module."""

    facts = WireFacts(
        name="samantha",
        heard_as="pcm16",
        heard_rate=RATE,
        played_as="pcm16",
        played_rate=PLAYED_RATE,
        marks=False,
    )

    def __init__(
        self,
        session: VoiceSession,
        clock: Clock,
        *,
        wait_ms: int,
        wake_words: tuple[str, ...],
        over: Callable[[str], None],
        working: Callable[[], None],
    ) -> None:
        """`wait_ms`: the declared wait for the end of a turn. `working` is called when the client
        is told that the persona is at work."""
        self._session = session
        self._outbox = session.outbox
        self._clock = clock
        self._wait_ms = wait_ms
        self._wake_words = wake_words
        self._over = over
        self._tell_working = working
        self._turn_id = ""
        self._chunks = 0
        self._worded = False
        self._cue: asyncio.TimerHandle | None = None
        self._hint: EndpointHint | None = None
        self._committed = ""

    def play(self, audio: bytes) -> None:
        self._chunks += 1
        self._outbox.put(
            SpeechChunk(
                turn_id=self._turn_id,
                seq=self._chunks,
                format=FORMAT,
                audio_base64=base64.b64encode(wav(audio, PLAYED_RATE)).decode(),
            )
        )

    def mark(self, mark: int) -> None:
        pass  # the clock says what was heard

    def clear(self) -> None:
        self._outbox.forget_audio()
        self._outbox.put(SystemEvent(code="audio_clear", detail=self._turn_id))

    def hang_up(self, cause: str) -> None:
        self._over(cause)

    def tell(self, told: Tell) -> None:
        match told.what:
            case "partial":
                self._partial(told.text, told.confidence)
            case "committed":
                self._committed, self._hint = told.text, None
                self._outbox.put(SttCommitted(text=told.text, ts_ms=self._clock.now_ms()))
            case "wake_word":
                self._outbox.put(SystemEvent(code="wake_word", detail=self._woken_by()))
            case "turn":
                self._turn()
            case "working":
                self._working()
            case "text":
                self._text(told.text)
            case "first_audio":
                self._outbox.put(SystemEvent(code="assistant_first_audio"))
            case "not_spoken":
                self._error("local_tts_failed", "tts", "A part of the answer could not be spoken.")
            case "failed":
                detail = f"The answer failed: {told.text}."
                self._error("assistant_turn_failed", "orchestrator", detail)
            case "turn_end":
                self._turn_end(told.text)

    def _partial(self, text: str, confidence: float | None) -> None:
        now = self._clock.now_ms()
        hint = endpoint_hint(text, confidence, self._wait_ms, now)
        last = self._hint
        if (
            last is None
            or hint.reason != last.reason
            or abs(hint.hold_ms - last.hold_ms) >= HINT_CHANGE_MS
            or now - last.ts_ms >= HINT_AGAIN_MS
        ):
            self._hint = hint
            self._outbox.put(hint)
        self._outbox.put(SttPartial(text=text, confidence=confidence, ts_ms=now))

    def _woken_by(self) -> str:
        said = self._committed.lower()
        return next((word for word in self._wake_words if word.lower() in said), "")

    def _turn(self) -> None:
        session = self._session
        session.turns += 1
        self._turn_id = session.active_turn_id = f"turn_{session.turns}"
        session.last_activity_at = self._clock.now_ms()
        self._chunks, self._worded = 0, False
        self._cue = asyncio.get_running_loop().call_later(WORKING_AFTER_S, self._working)

    def _working(self) -> None:
        """Once a turn, and not after its first words: the persona is at work."""
        if self._cue is not None:
            self._drop_cue()
            self._outbox.put(SystemEvent(code="assistant_working"))
            self._tell_working()

    def _drop_cue(self) -> None:
        if self._cue is not None:
            self._cue.cancel()
            self._cue = None

    def _text(self, text: str) -> None:
        self._drop_cue()
        if not self._worded:
            self._worded = True
            self._outbox.put(SystemEvent(code="assistant_first_text"))
        self._outbox.put(TextDelta(turn_id=self._turn_id, text_delta=text))

    def _turn_end(self, reason: str) -> None:
        self._drop_cue()
        if reason in ("interrupted", "barge_in"):
            self._session.interruption_count += 1
        self._session.active_turn_id = None
        self._outbox.put(TurnEnd(turn_id=self._turn_id, reason=reason))

    def _error(self, code: str, source: str, detail: str) -> None:
        self._outbox.put(ErrorEvent(code=code, source=source, retryable=True, detail=detail))


def endpoint_hint(partial: str, confidence: float | None, wait_ms: int, now: int) -> EndpointHint:
    """What the hub itself will do about the end of the turn, should silence follow `partial`."""
    hold_ms = turn_wait_ms(partial, wait_ms)
    terminal = hold_ms < wait_ms
    return EndpointHint(
        reason="terminal" if terminal else "continuation" if hold_ms > wait_ms else "neutral",
        confidence=confidence,
        hold_ms=hold_ms,
        should_commit=terminal,
        ts_ms=now,
    )
