"""One live call: binds the call machine to a wire, to hearing and speaking, and to the door.

The machine decides; this does. Signals reach it from the wire, the recogniser, the persona's
answer, the synthesiser and the clock, one at a time and in order, and its actions are carried out
at once or handed to a task the call owns. Whatever ends the call, it ends once, with one cause.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Annotated, Any

import msgspec
import structlog

from tron.calls import signals as s
from tron.calls.audio import Resampler, alaw_decode, alaw_encode, mulaw_decode, mulaw_encode
from tron.calls.gate import Gate
from tron.calls.ledger import Ledger, Record
from tron.calls.machine import CallMachine, Manner
from tron.calls.recording import Recording
from tron.calls.signals import FRAME_MS, Action, Signal
from tron.calls.wire import CallWire
from tron.clock import Clock
from tron.conversation.door import Door
from tron.conversation.turns import Caller, Message, Opened, TextDelta, ToolStarted, TurnInput
from tron.errors import TronError
from tron.speech.contract import Hearing, Recogniser, SpeechFailed, Synthesiser, VoiceActivity
from tron.supervise import Tasks
from tron.tools.contract import Tool, ToolContext

log = structlog.get_logger(__name__)

_DECODE: dict[str, Callable[[bytes], bytes]] = {
    "mulaw": mulaw_decode,
    "alaw": alaw_decode,
    "pcm16": bytes,
}
_ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "mulaw": mulaw_encode,
    "alaw": alaw_encode,
    "pcm16": bytes,
}
_SILENCE = {"mulaw": b"\xff", "alaw": b"\xd5", "pcm16": b"\0"}


class Voices(msgspec.Struct, frozen=True, kw_only=True):
    """The engines of one call."""

    recogniser: Recogniser
    synthesiser: Synthesiser
    activity: VoiceActivity
    voice: str


class EndCall(msgspec.Struct):
    reason: Annotated[str, msgspec.Meta(description="why, in a few words")] = ""


class Call:
    """See the module."""

    def __init__(
        self,
        record: Record,
        *,
        wire: CallWire,
        caller: Caller,
        manner: Manner,
        voices: Voices,
        door: Door,
        ledger: Ledger,
        clock: Clock,
        recording: Recording | None = None,
    ) -> None:
        self.record = record
        self.session_key = ""
        self.cause: str | None = None
        self.pace = 1.0
        """of the persona's speech, as a part of the voice's own; may be changed at any time"""
        self.instructions = ""
        """what the wire's client adds to the persona's own, from the next turn on"""
        self.tools: tuple[Tool[Any], ...] = ()
        """tools that only this wire's client has"""
        self._wire = wire
        self._caller = caller
        self._voices = voices
        self._door = door
        self._ledger = ledger
        self._clock = clock
        self._recording = recording
        self._greeting = manner.greeting
        self._machine = CallMachine(msgspec.structs.replace(manner, marks=wire.facts.marks))
        self._tasks = Tasks(f"call {record.id}")
        self._began = clock.monotonic()
        self._seq = 0
        self._inbox: deque[Signal] = deque()
        self._busy = False
        self._hearing: Hearing | None = None
        self._turn_task: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._speaker: asyncio.Task[None] | None = None
        self._to_say: asyncio.Queue[s.Say] = asyncio.Queue()  # bounded by the answer's length
        self._opened = 0  # the latest turn that is in the transcript
        self._over = asyncio.Event()
        self.heard_at = 0
        """media clock of the last signal"""
        facts = wire.facts
        width = 2 if facts.heard_as == "pcm16" else 1
        self._chunk = facts.heard_rate * FRAME_MS // 1000 * width
        self._partial_chunk = b""
        self._decode, self._encode = _DECODE[facts.heard_as], _ENCODE[facts.played_as]
        self._to_recogniser = Resampler(facts.heard_rate, voices.recogniser.facts.sample_rate)
        self._to_activity = (
            None
            if facts.heard_rate == voices.activity.sample_rate
            else Resampler(facts.heard_rate, voices.activity.sample_rate)
        )

    @property
    def now(self) -> int:
        """The media clock: ms since the call began."""
        return round((self._clock.monotonic() - self._began) * 1000)

    @property
    def gate(self) -> Gate:
        """The wake word gate, for a wire whose client switches it."""
        return self._machine.gate

    async def start(self) -> None:
        """Begin to listen, and greet. Raises SpeechFailed if nothing can hear."""
        self._hearing = await self._voices.recogniser.listen()
        self._tasks.start(self._listen(self._hearing), "hearing")
        self._carry_out(self._machine.start(self.now))

    # What the wire brings

    def audio(self, data: bytes) -> None:
        """Sound from the caller, in the wire's encoding, any length."""
        data = self._partial_chunk + data
        end = len(data) - len(data) % self._chunk
        self._partial_chunk = data[end:]
        for start in range(0, end, self._chunk):
            pcm = self._decode(data[start : start + self._chunk])
            if self._recording is not None:
                self._recording.heard(pcm, self.now)
            frame = pcm if self._to_activity is None else self._to_activity.feed(pcm)
            self.signal(s.Heard(pcm, self._voices.activity.speech(frame)))

    def signal(self, signal: Signal) -> None:
        """Something happened. Order is kept, also for what follows from its own actions."""
        self._inbox.append(signal)
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox:
                self.heard_at = self.now
                self._carry_out(self._machine.handle(self._inbox.popleft(), self.heard_at))
        finally:
            self._busy = False

    def ended(self, cause: str) -> None:
        """The wire is gone, or somebody ends the call; the first cause stands."""
        if self.cause is None:
            self.cause = cause
            self.signal(s.Ended(cause))
            self._over.set()

    def hang_up(self, cause: str) -> None:
        """End the call from this side."""
        if self.cause is None:
            self._wire.hang_up(cause)
            self.ended(cause)

    def note(self, kind: str, *, turn: int = 0, text: str = "") -> None:
        """Add a line of the wire's own to the ledger."""
        self._carry_out([s.Note(kind, turn, text)])

    # What the machine wants

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case s.Feed():
                    if self._hearing is not None:
                        self._hearing.feed(self._to_recogniser.feed(action.pcm))
                case s.Commit():
                    if self._hearing is not None:
                        self._hearing.commit()
                case s.Send():
                    audio = b"".join(action.frames)
                    if self._recording is not None:
                        self._recording.played(audio, self.now)
                    self._wire.play(audio)
                case s.Mark():
                    self._wire.mark(action.mark)
                case s.Clear():
                    if self._recording is not None:
                        self._recording.cleared(self.now)
                    self._wire.clear()
                case s.Say():
                    self._to_say.put_nowait(action)
                    if self._speaker is None or self._speaker.done():
                        self._speaker = self._tasks.start(self._speak(), "speaking")
                case s.Hush():
                    if self._speaker is not None:
                        self._speaker.cancel()
                        self._speaker = None
                    self._to_say = asyncio.Queue()
                case s.BeginTurn():
                    self._turn_task = self._tasks.start(
                        self._converse(action.turn, action.text), f"turn {action.turn}"
                    )
                case s.DropTurn():
                    self._settling = self._tasks.start(
                        self._settle(action, self._turn_task, self._settling), "settling"
                    )
                    self._turn_task = None
                case s.Tell():
                    self._wire.tell(action)
                case s.Note():
                    self._seq += 1
                    self._ledger.note(self.record, self._seq, self.now, action)
                case s.HangUp():
                    self.hang_up(action.cause)

    async def _listen(self, hearing: Hearing) -> None:
        try:
            async for heard in hearing.results():
                self.signal(s.FinalText(heard.text) if heard.final else s.PartialText(heard.text))
        except SpeechFailed as error:
            log.error("call.deaf", call=self.record.id, error=error.message)
            self.hang_up("hub-recogniser-failed")

    async def _converse(self, turn: int, text: str) -> None:
        """One turn at the door, its answer told to the machine as it comes."""
        if self._settling is not None:  # what was heard of the last answer is stored first
            await asyncio.shield(self._settling)
        messages = [Message(role="user", content=text)]
        if self._greeting:  # part of what was said, so part of what the persona remembers
            messages.insert(0, Message(role="assistant", content=self._greeting))
            self._greeting = ""
        asked = TurnInput(
            caller=self._caller,
            channel=self._wire.facts.name,
            agent=self.record.agent,
            messages=messages,
            spoken=True,
            in_call=True,
            client_id=self.record.client_id,
            instructions=self.instructions,
            wire_tools=(self._end_tool(), *self.tools),
        )
        try:
            async with aclosing(self._door.converse(asked)) as batches:
                async for batch in batches:
                    for event in batch:
                        if isinstance(event, TextDelta):
                            self.signal(s.AnswerText(turn, event.text))
                        elif isinstance(event, ToolStarted):
                            self.signal(s.AnswerWorking(turn))
                        elif isinstance(event, Opened):
                            self.session_key, self._opened = event.session, turn
        except TronError as error:
            self.signal(s.AnswerOver(turn, error=error.type))
        else:
            self.signal(s.AnswerOver(turn))

    async def _settle(
        self,
        drop: s.DropTurn,
        turn: asyncio.Task[None] | None,
        before: asyncio.Task[None] | None,
    ) -> None:
        """Stop a turn and leave in the transcript only what the caller heard of it."""
        if before is not None:
            await asyncio.shield(before)
        if turn is not None:
            turn.cancel()
            with suppress(asyncio.CancelledError):
                await turn
        if self._opened == drop.turn:  # else nothing of it is in the transcript
            try:
                await self._door.heard(self.record.client_id, self.session_key, drop.heard)
            except TronError as error:
                log.error("call.unsettled", call=self.record.id, error=error.type)

    async def _speak(self) -> None:
        """Synthesise what is asked for, piece after piece, into frames of the wire."""
        facts, synthesiser = self._wire.facts, self._voices.synthesiser
        width = 2 if facts.played_as == "pcm16" else 1
        chunk = facts.played_rate * FRAME_MS // 1000 * width
        while True:
            say = await self._to_say.get()
            resampler = Resampler(synthesiser.facts.sample_rate, facts.played_rate)
            rest, failed = b"", False
            try:
                async with aclosing(
                    synthesiser.speak(say.text, voice=self._voices.voice, rate=self.pace)
                ) as speech:
                    async for pcm in speech:
                        rest += self._encode(resampler.feed(pcm))
                        whole = len(rest) - len(rest) % chunk
                        frames = [rest[i : i + chunk] for i in range(0, whole, chunk)]
                        rest = rest[whole:]
                        if frames:
                            self.signal(s.SpeechFrames(say.segment, frames))
                rest += self._encode(resampler.flush())
            except TronError as error:
                log.error("call.mute", call=self.record.id, error=error.type)
                failed = True
            if rest:
                filled = rest.ljust(-(-len(rest) // chunk) * chunk, _SILENCE[facts.played_as])
                frames = [filled[i : i + chunk] for i in range(0, len(filled), chunk)]
                self.signal(s.SpeechFrames(say.segment, frames))
            self.signal(s.SpeechOver(say.segment, failed=failed))

    def _end_tool(self) -> Tool[EndCall]:
        async def end(_: ToolContext, args: EndCall) -> str:
            self.signal(s.HangUpAfter("persona-ended-call"))
            return "The call ends when you have finished speaking. Say goodbye."

        return Tool("end_call", "End this phone call, after saying goodbye.", EndCall, end)

    # The end

    async def wait(self) -> str:
        """Wait until the call is over; returns the cause."""
        await self._over.wait()
        return self.cause or "unknown"

    async def close(self) -> None:
        """Let go of everything; the ledger gets its last lines. The call must have ended."""
        if self._settling is not None:
            await asyncio.wait([self._settling], timeout=5)
        await self._tasks.close()
        if self._hearing is not None:
            await self._hearing.close()
        if self._recording is not None:
            await self._recording.close()
        try:
            await self._ledger.end(self.record, self.cause or "unknown", self.session_key)
        except TronError as error:
            log.error("call.end_unwritten", call=self.record.id, error=error.type)
