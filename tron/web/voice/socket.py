"""`GET /v1/voice/session/ws`: the socket of a voice session.

One connection carries one call. A second connection to a session takes its place: a client whose
network changed must not wait for the old socket to be noticed dead. It then gets the messages it
missed (`last_seq` says which it has). A turn ends with its connection; the conversation goes on.
Closing codes: 1000 the session or call is over, 1008 too many bad messages, 1009 a message over
2 MiB, 1011 speech recognition is gone, 1012 the hub stops, 1013 the client reads too slowly,
4001 another connection took over.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import msgspec
import structlog
from quart import Blueprint, request, websocket
from quart.wrappers import Websocket
from werkzeug.datastructures import MultiDict

from tron.calls.call import Call
from tron.calls.manner import Manner
from tron.calls.signals import Arm, Interrupt, StartTalking, StopTalking, WakeWord
from tron.conversation.turns import Caller
from tron.errors import Conflict, Invalid
from tron.supervise import Tasks
from tron.web.contract import VoiceErrorAnswer, promises
from tron.web.voice.latency import Latency
from tron.web.voice.messages import (
    MAX_MESSAGE_BYTES,
    RATE,
    TASK_ACTIONS,
    AudioChunk,
    Control,
    Ear,
    ErrorEvent,
    SystemEvent,
    parse,
    refusal,
)
from tron.web.voice.outbox import Stalled
from tron.web.voice.session_tasks import SessionTasks
from tron.web.voice.sessions import VoiceSession, VoiceSessions
from tron.web.voice.wire import VoiceWire

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

BAD_MESSAGES = 100
"""so many in one connection end it"""
CLOSE_S = 2.0
SLICE = RATE * 2 // 5
"""bytes of sound, 200 ms, handed over before others get their turn"""
BURST_S, FASTER = 60.0, 4.0
"""sound may come this much ahead, and this many times as fast as it was spoken"""
ENDINGS = {
    "hub-recogniser-failed": (1011, "speech recognition failed"),
    "hub-stopping": (1012, "the hub is stopping"),
    "persona-ended-call": (1000, "the persona ended the call"),
}


def routes(hub: "Hub", sessions: VoiceSessions, latency: Latency) -> Blueprint:
    blueprint = Blueprint("socket", __name__)

    def asked_for(args: MultiDict[str, str]) -> tuple[VoiceSession, int | None]:
        """The session, and what of it was seen. Raises Invalid, NotFound, Conflict."""
        session_id = args.get("session_id", "")
        if not session_id:
            raise Invalid("session_id is missing.", code="missing_session_id")
        session, seen = sessions.find(session_id), _seen(args.get("last_seq"))
        _check_open(session)
        return session, seen

    @blueprint.get("/v1/voice/session/ws", endpoint="not_talk")
    @promises("public", error=VoiceErrorAnswer, fails=(400, 404, 409))
    async def refuse() -> None:
        """Talk in a voice session, over a WebSocket; its id is the key."""
        asked_for(request.args)
        raise Invalid("This is a WebSocket: the request must ask for an upgrade.")

    @blueprint.websocket("/v1/voice/session/ws")
    @promises("public", error=VoiceErrorAnswer, fails=(400, 404, 409))
    async def talk() -> None:
        """Talk in a voice session, over a WebSocket; its id is the key."""
        session, seen = asked_for(websocket.args)
        socket = cast("Websocket", websocket._get_current_object())  # type: ignore[attr-defined]
        await Connection(hub, session, latency, socket).run(seen)

    return blueprint


def _seen(last_seq: str | None) -> int | None:
    if last_seq is None:
        return None
    if not (last_seq.isascii() and last_seq.isdigit() and len(last_seq) <= 15):
        raise Invalid("last_seq must be the event_seq of a message.", param="last_seq")
    return int(last_seq)


def _check_open(session: VoiceSession) -> None:
    if session.ended_at is not None:
        raise Conflict("This voice session has ended.", code="session_ended")


class Connection:
    """One socket of a session, and its call."""

    def __init__(
        self, hub: "Hub", session: VoiceSession, latency: Latency, socket: Websocket
    ) -> None:
        self._hub = hub
        self._session = session
        self._outbox = session.outbox
        self._latency = latency
        self._socket = socket
        self._tasks = Tasks("voice socket")
        self._durable = SessionTasks(hub.desk, session)
        self._left: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self._call: Call | None = None
        self._began = hub.clock.monotonic()
        self._heard_s = 0.0
        self._muted = False

    def leave(self, code: int, reason: str) -> None:
        """Close it, soon; the first reason stands."""
        if not self._left.done():
            self._left.set_result((code, reason))

    async def run(self, seen: int | None) -> None:
        """Serve it. What keeps it from beginning is raised before the socket is accepted."""
        session = self._session
        previous, session.connection = session.connection, self
        try:
            if isinstance(previous, Connection):
                previous.leave(4001, "another connection took over")
                await previous._gone.wait()
            _check_open(session)
            self._call = await self._begin()
            await self._serve(self._call, seen)
        finally:
            if session.connection is self:
                session.connection = None
            session.last_activity_at = self._hub.clock.now_ms()
            self._gone.set()

    async def _begin(self) -> Call:
        session, settings = self._session, self._hub.settings
        words = ("samantha", self._hub.agents.name_of(session.agent))
        wire = VoiceWire(
            session,
            self._hub.clock,
            wait_ms=settings.turn_wait_ms,
            wake_words=words,
            over=self._call_over,
            working=self._told_working,
        )
        named = session.user_id not in ("", "anonymous")
        call = await self._hub.switchboard.begin(
            wire,
            caller=Caller(
                id=session.user_id if named else f"anonymous-{session.call_id}",
                known=named,
                call_id=session.call_id,
            ),
            agent=session.agent,
            client_id=session.client_id,
            voice=session.voice or None,
            # The client greets and fills pauses by itself, if it likes.
            adjust=lambda manner: manner_of(manner, words),
        )
        call.instructions, call.pace = session.style.instructions, session.style.pace
        return call

    def _call_over(self, cause: str) -> None:
        if cause == "hub-recogniser-failed":
            self._error("local_stt_failed", "stt", "Speech recognition failed.", retryable=True)
        if cause == "persona-ended-call":
            self._session.end(self._hub.clock.now_ms())
        self.leave(*ENDINGS.get(cause, (1000, cause)))

    def _told_working(self) -> None:
        if self._call is not None:
            self._latency.working(self._call.record.id, self._call.now)

    async def _serve(self, call: Call, seen: int | None) -> None:
        cause = "hub-failed"
        try:
            await self._socket.accept()
            self._outbox.attach(seen)
            self._durable.follow(self._tasks)
            await self._durable.shown()
            self._outbox.put(SystemEvent(code="session_ready", detail=call.record.id))
            code, reason, cause = await self._carry(call)
            call.ended(cause)  # its last messages are still sent
            await self._close(code, reason)
        except asyncio.CancelledError:
            cause = "client-left"
            raise
        finally:
            call.ended(cause)
            self._outbox.detach()
            await self._hub.switchboard.put_away(call, self._tasks.close)

    async def _carry(self, call: Call) -> tuple[int, str, str]:
        """Both directions until something ends them: (code, reason, cause of the call's end)."""
        reader = self._tasks.start(self._read(call), "reader")
        self._writer = self._tasks.start(self._outbox.run(self._socket.send), "writer")
        ends: set[asyncio.Future[Any]] = {reader, self._writer, self._left}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._left.done():
            code, reason = self._left.result()
            return code, reason, call.cause or reason.replace(" ", "-")
        if self._writer.done():
            try:
                self._writer.result()
            except Stalled:
                return 1013, "the client reads too slowly", "client-stalled"
        return *reader.result(), "bad-messages"

    async def _close(self, code: int, reason: str) -> None:
        """Send what is left, then close; a client that does not read is not waited for."""
        self._outbox.finish()
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.wait({self._writer})
                await self._socket.close(code, reason)
        except TimeoutError:
            log.warning("voice.not_closed")

    # What the client sends

    async def _read(self, call: Call) -> tuple[int, str]:
        """Take in what comes; returns only to close the socket."""
        ear, bad = Ear(), 0
        while True:
            raw = await self._socket.receive()
            self._session.last_activity_at = self._hub.clock.now_ms()
            if _size(raw) > MAX_MESSAGE_BYTES:
                return 1009, "a message is over 2 MiB"
            try:
                message = parse(raw, self._session.id)
                if isinstance(message, AudioChunk):
                    await self._hear(call, ear, message)
                else:
                    self._control(call, message)
            except Invalid as error:
                self._outbox.put(refusal(error))
                bad += 1
                if bad >= BAD_MESSAGES:
                    return 1008, "too many bad messages"

    async def _hear(self, call: Call, ear: Ear, chunk: AudioChunk) -> None:
        pcm, fault = ear.take(chunk)
        if fault:
            self._error("audio_gap", "gateway", fault)
        self._heard_s += len(pcm) / 2 / RATE
        passed_s = self._hub.clock.monotonic() - self._began
        if self._heard_s > BURST_S + FASTER * passed_s:
            raise Invalid("Audio comes much faster than it can be spoken; it was left out.")
        if self._muted:
            return
        for at in range(0, len(pcm), SLICE):
            call.audio(pcm[at : at + SLICE])
            if len(pcm) > SLICE:
                await asyncio.sleep(0)

    def _control(self, call: Call, message: Control) -> None:
        match message.action:
            case "stop":
                call.signal(StopTalking())
            case "interrupt":
                if self._session.active_turn_id is None:
                    self._session.interruption_count += 1
                call.signal(Interrupt())
            case "wakeword_on" | "wakeword_off":
                call.signal(WakeWord(on=message.action == "wakeword_on"))
            case "manual_arm":
                call.signal(Arm())
            case "start":
                # A button that is held: pauses don't end the utterance, `stop` does. Any other
                # start changes nothing, for sound is heard whenever it comes.
                if message.reason == "push_to_talk":
                    call.signal(StartTalking())
            case "mute" | "unmute":
                self._muted = message.action == "mute"
            case action if action in TASK_ACTIONS:
                self._tasks.start(self._durable.act(message), action)
            case action:
                raise Invalid(f"There is no action {action[:40]!r}.")

    def _error(self, code: str, source: str, detail: str, *, retryable: bool = False) -> None:
        self._outbox.put(ErrorEvent(code=code, source=source, retryable=retryable, detail=detail))


def _size(raw: str | bytes) -> int:
    if isinstance(raw, bytes) or raw.isascii() or len(raw) > MAX_MESSAGE_BYTES:
        return len(raw)
    return len(raw.encode())


def manner_of(manner: Manner, wake_words: tuple[str, ...]) -> Manner:
    return msgspec.structs.replace(manner, greeting="", fillers=(), wake_words=wake_words)
