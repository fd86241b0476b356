"""One live call: binds the call machine to a wire, to hearing and speaking, and to the door.

The machine decides; this does. Signals reach it from the wire, the recogniser, the persona's
answer, the synthesiser and the clock, one at a time and in order, and its actions are carried out
at once or handed to a task the call owns. Whatever ends the call, it ends once, with one cause.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import structlog

from tron.calls import cost
from tron.calls import signals as s
from tron.calls.audio import Resampler, alaw_decode, mulaw_decode
from tron.calls.ending import end_tool
from tron.calls.ledger import Ledger, Record
from tron.calls.machine import NOT_TRANSFERRED, CallMachine
from tron.calls.manner import Manner
from tron.calls.news import News
from tron.calls.recording import Recording
from tron.calls.signals import FRAME_MS, Action, Signal
from tron.calls.speaking import Speaking
from tron.calls.tape import Head, Step, Tape
from tron.calls.transfer import TRANSFERRED, Destination, transfer_tool, when_spoken
from tron.calls.wire import CallWire
from tron.clock import Clock
from tron.conversation.door import Door
from tron.conversation.turns import (
    Caller,
    Done,
    Message,
    Opened,
    TextDelta,
    ToolStarted,
    TurnInput,
)
from tron.errors import TronError
from tron.memory.contacts import Contacts
from tron.speech.contract import (
    Hearing,
    Recogniser,
    SpeechFailed,
    Synthesiser,
    VoiceActivity,
)
from tron.supervise import Tasks
from tron.tools.contract import Tool

log = structlog.get_logger(__name__)

_DECODE: dict[str, Callable[[bytes], bytes]] = {
    "mulaw": mulaw_decode,
    "alaw": alaw_decode,
    "pcm16": bytes,
}
QUIET_MS = 2 * FRAME_MS  # a call that got no frame for this long gets a tick


class Voices(msgspec.Struct, frozen=True, kw_only=True):
    """The engines of one call."""

    recogniser: Recogniser
    synthesiser: Synthesiser
    activity: VoiceActivity
    voice: str


Transfer = Callable[[str], Awaitable[None]]
"""Have the carrier put a call through to a number, upon which it closes the call's wire. Raises
TronError if it does not."""


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
        contacts: Contacts,
        transfer: Transfer | None = None,
        recording: Recording | None = None,
    ) -> None:
        """`transfer`: how the wire's carrier does it, if it can."""
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
        self._contacts = contacts
        self._transfer = transfer
        self._transferring = False
        self._recording = recording
        self._unasked = ""
        """what was heard since the latest turn that nobody asked for; the persona is to know it"""
        manner = msgspec.structs.replace(manner, marks=wire.facts.marks)
        self._machine = CallMachine(manner)
        self._tape = Tape(Head(heard_rate=wire.facts.heard_rate, manner=manner))
        self._parts = 0  # of the tape, that the ledger has
        self._tasks = Tasks(f"call {record.id}")
        self._began = clock.monotonic()
        self._seq = 0
        self._inbox: deque[Signal] = deque()
        self._busy = False
        self._hearing: Hearing | None = None
        self._fed = 0  # bytes it got since its last final
        self._ear = voices.recogniser.facts.name  # who heard the last of them
        self._turn_task: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._speaker: asyncio.Task[None] | None = None
        self._speaking = Speaking(
            voices.synthesiser,
            voice=voices.voice,
            facts=wire.facts,
            signal=self.signal,
            call=record.id,
        )
        self._to_say: asyncio.Queue[s.Say] = asyncio.Queue()  # bounded by the answer's length
        self._opened = 0  # the latest turn that is in the transcript
        self._news = News()
        self.heard_at = 0
        """media clock of the last signal"""
        facts = wire.facts
        width = 2 if facts.heard_as == "pcm16" else 1
        self._chunk = facts.heard_rate * FRAME_MS // 1000 * width
        self._partial_chunk = b""
        self._decode = _DECODE[facts.heard_as]
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

    async def start(self) -> None:
        """Begin to listen, and greet. Raises SpeechFailed if nothing can hear."""
        self._hearing = await self._voices.recogniser.listen()
        self._tasks.start(self._listen(self._hearing), "hearing")
        at = self.now
        self._keep(self._tape.add(Step("start"), at))
        self._carry_out(self._machine.start(at), at)

    # What the wire brings

    def audio(self, data: bytes) -> None:
        """Sound from the caller, in the wire's encoding, any length."""
        data = self._partial_chunk + data
        end = len(data) - len(data) % self._chunk
        self._partial_chunk = data[end:]
        for start in range(0, end, self._chunk):
            pcm = self._decode(data[start : start + self._chunk])
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
                signal, at = self._inbox.popleft(), self.now
                self.heard_at = at
                if self._machine.ended is None:
                    self._keep(self._tape.add(signal, at))
                if self._recording is not None and isinstance(signal, s.Heard):
                    self._recording.heard(signal.pcm, at)
                self._carry_out(self._machine.handle(signal, at), at)
        finally:
            self._busy = False

    def ended(self, cause: str) -> None:
        """The wire is gone, or somebody ends the call; the first cause stands."""
        if self.cause is None:
            # The carrier takes the call away before it answers that it will.
            self.cause = TRANSFERRED if self._transferring else cause
            if self._fed:  # into an utterance that the end of the call cut off
                self._note_recognised()
            self.signal(s.Ended(self.cause))

    def hang_up(self, cause: str) -> None:
        """End the call from this side."""
        if self.cause is None:
            self._transferring = False
            self._wire.hang_up(cause)
            self.ended(cause)

    def tick(self) -> None:
        """A frame's time has passed. A call whose wire is silent is told so."""
        if self.cause is None and self.now - self.heard_at >= QUIET_MS:
            self.signal(s.Tick())

    # What the machine wants

    def _carry_out(self, actions: list[Action], at: int) -> None:
        for action in actions:
            self._keep(self._tape.asked(action, at))
            match action:
                case s.Feed():
                    if self._hearing is not None:
                        pcm = self._to_recogniser.feed(action.pcm)
                        self._fed += len(pcm)
                        self._hearing.feed(pcm)
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
                    brought = self._converse
                    if action.news:
                        self._news.begin(action.turn)
                        brought = self._tell_news
                    self._turn_task = self._tasks.start(
                        brought(action.turn, action.text), f"turn {action.turn}"
                    )
                case s.DropTurn():
                    self._settling = self._tasks.start(
                        self._settle(action, self._turn_task, self._settling), "settling"
                    )
                    self._turn_task = None
                case s.Unasked():
                    self._unasked = f"{self._unasked} {action.text}".strip()
                case s.Tell():
                    self._wire.tell(action)
                    if action.what == "heard":
                        self._news.over(action.turn, action.text)
                    elif action.what == "turn_end":
                        self._news.over(action.turn)
                case s.Note():
                    self._seq += 1
                    self._ledger.note(self.record, self._seq, at, action)
                case s.HangUp():
                    self.hang_up(action.cause)
                case s.Transfer():
                    self._tasks.start(self._put_through(action.number), "transfer")

    def _keep(self, part: bytes | None) -> None:
        """A part of the tape is complete."""
        if part is not None:
            self._ledger.keep(self.record, self._parts, part)
            self._parts += 1

    async def _listen(self, hearing: Hearing) -> None:
        try:
            async for heard in hearing.results():
                if not heard.final:
                    self.signal(s.PartialText(heard.text, heard.confidence))
                else:
                    self.signal(s.FinalText(heard.text))
                    self._ear = heard.engine or self._ear
                    self._note_recognised()
        except SpeechFailed as error:
            log.error("call.deaf", call=self.record.id, error=error.message)
            self.hang_up("hub-recogniser-failed")

    def _note_recognised(self) -> None:
        """What the recogniser was given since the last time, for the call's cost."""
        fed, self._fed = self._fed, 0
        self.signal(cost.recognised(self._ear, fed, self._voices.recogniser.facts.sample_rate))

    async def _converse(self, turn: int, text: str) -> None:
        """One turn at the door, its answer told to the machine as it comes."""
        if self._settling is not None:  # what was heard of the last answer is stored first
            await asyncio.shield(self._settling)
        messages = [Message(role="user", content=text)]
        if self._unasked:  # part of what was said, so part of what the persona remembers
            messages.insert(0, Message(role="assistant", content=self._unasked))
            self._unasked = ""
        asked = TurnInput(
            caller=self._caller,
            channel=self._wire.facts.name,
            agent=self.record.agent,
            messages=messages,
            spoken=True,
            in_call=True,
            client_id=self.record.client_id,
            instructions=self.instructions,
            wire_tools=(*self.tools, *self._own_tools()),
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
                        elif isinstance(event, Done):
                            self.signal(cost.used(turn, event))
        except TronError as error:
            self.signal(s.AnswerOver(turn, error=error.type))
        else:
            self.signal(s.AnswerOver(turn))

    def announce(self, text: str) -> "asyncio.Future[str]":
        """Have `text` said once neither side is talking, and kept in the transcript.

        Gives what the caller heard of it: all, the part before they spoke into it, or "" if the
        call ended first.
        """
        told = None if self.cause else self._news.add(text)
        if told is None:
            told = asyncio.get_running_loop().create_future()
            told.set_result("")
        else:
            self.signal(s.Announce(text))
        return told

    async def _tell_news(self, turn: int, text: str) -> None:
        """A turn that nobody asked for: first in the transcript, then said."""
        if self._settling is not None:
            await asyncio.shield(self._settling)
        key, client_id = self.session_key, self.record.client_id
        stored = self._tasks.start(self._door.remark(client_id, key, text), "keeping news")
        try:
            await asyncio.shield(stored)
        except asyncio.CancelledError:
            await asyncio.wait([stored])  # so that what was not heard is taken out again
            if not stored.cancelled() and stored.exception() is None:
                self._opened = turn
            raise
        except TronError as error:
            log.warning("call.news_unsaid", call=self.record.id, error=error.type)
            self._news.over(turn, "")
        else:
            self._opened = turn
            self.signal(s.AnswerText(turn, text))
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
        """Say what is asked for, piece after piece."""
        while True:
            await self._speaking.say(await self._to_say.get(), self.pace)

    async def _put_through(self, number: str) -> None:
        """Have the carrier do it. If it does not the call goes on, and the caller is told."""
        assert self._transfer is not None  # else the tool refused
        self._transferring = True
        try:
            await self._transfer(number)
        except TronError as error:
            self._transferring = False
            log.warning("call.not_transferred", call=self.record.id, error=error.type)
            self.signal(s.NotTransferred())
            self.announce(NOT_TRANSFERRED)
        else:
            self.hang_up(TRANSFERRED)

    def _own_tools(self) -> list[Tool[Any]]:
        """Those of every call; what a client has under the same name takes their place."""

        def end() -> None:
            self.signal(s.HangUpAfter("persona-ended-call"))

        async def transfer(to: Destination) -> str:
            self.signal(s.TransferAfter(to.number))
            return when_spoken(to)

        taken = {tool.name for tool in self.tools}
        put_through = transfer if self._transfer else None
        tools = (
            end_tool(end),
            transfer_tool(self._contacts, put_through, line=self.record.called),
        )
        return [tool for tool in tools if tool.name not in taken]

    # The end

    async def close(self) -> None:
        """Let go of everything; the ledger gets its last lines. The call must have ended."""
        if self._settling is not None:
            await asyncio.wait([self._settling], timeout=5)
        await self._tasks.close()
        self._news.close()
        if self._hearing is not None:
            await self._hearing.close()
        if self._recording is not None:
            await self._recording.close()
        self._keep(self._tape.rest())
        try:
            await self._ledger.end(self.record, self.cause or "unknown", self.session_key)
        except TronError as error:
            log.error("call.end_unwritten", call=self.record.id, error=error.type)
