"""A call run again: its tape through today's machine, on the tape's own time.

What callers and clocks did comes when it came. What the machine had asked for (the final text of
an utterance, the answer of a turn, the sound of a segment, a mark) comes as long after it was asked
as it did then, so a machine that asks later is answered later. With the machine and the manner of
then the result is that call's ledger, to the millisecond. Where today's machine asks for something
that nobody answered then, the least that lets the call go on is made up, and `made_up` says so.
"""

import heapq
from collections.abc import Awaitable, Callable

import msgspec

from tron.calls import signals as s
from tron.calls.ledger import Line
from tron.calls.machine import CallMachine
from tron.calls.manner import Manner
from tron.calls.signals import FRAME_MS, Action, Signal
from tron.calls.tape import Entry, Step
from tron.calls.writing import usual_ms
from tron.storage.text import storable

OVERTIME_MS = 10_000
"""how long a call that the hub ended may go on longer than it did"""

Transcribe = Callable[[bytes], Awaitable[str]]
"""what is said in the caller's sound, as the machine feeds it to a recogniser"""


class Outcome(msgspec.Struct):
    """What today's machine made of it."""

    lines: list[Line] = msgspec.field(default_factory=list)
    made_up: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """(when, what there was no answer to)"""


class _Answer(msgspec.Struct):
    """What came because of one step."""

    asked_at: int
    parts: list[tuple[int, int, Signal]] = msgspec.field(default_factory=list)
    """(ms after it was asked, place on the tape, signal)"""
    complete: bool = False
    gone_at: int | None = None
    """then nobody wanted it any more"""


class _Due(msgspec.Struct, frozen=True, order=True):
    """Something that will be told; in the order of time, then of the tape."""

    at: int
    place: int
    what: Signal | Step
    answers: Step | None = None
    made_up: bool = False


class Replay:
    """One run of one tape."""

    def __init__(
        self, entries: list[Entry], manner: Manner, *, transcribe: Transcribe | None = None
    ) -> None:
        """`transcribe`: hear the sound in the entries again instead of the words of then."""
        self._machine = CallMachine(manner)
        self._transcribe = transcribe
        self._fed = bytearray()
        self._partial = ""
        self._finals = self._transfers = 0
        self._due: list[_Due] = []
        self._answers: dict[Step, _Answer] = {}
        self._place = len(entries)
        self._end = entries[-1].at if entries else 0
        self._outcome = Outcome()
        self._sort(entries)

    async def run(self) -> Outcome:
        """The whole tape, or as much of it as there is."""
        while self._due and self._machine.ended is None:
            due = heapq.heappop(self._due)
            what = due.what
            if due.made_up and due.answers is not None:
                self._outcome.made_up.append((due.at, _named(due.answers)))
            if isinstance(what, Step):
                self._follow(self._machine.start(due.at), due.at)
                continue
            if isinstance(what, s.PartialText):
                self._partial = what.text
            elif isinstance(what, s.FinalText):
                what = await self._final(what)
            self._follow(self._machine.handle(what, due.at), due.at)
        return self._outcome

    async def _final(self, then: s.FinalText) -> s.FinalText:
        """What was understood of an utterance then, or what is understood now."""
        self._partial = ""
        if self._transcribe is None:
            return then
        fed = bytes(self._fed)
        self._fed.clear()
        return s.FinalText(await self._transcribe(fed) if fed else "")

    # What is on the tape

    def _sort(self, entries: list[Entry]) -> None:
        """Take apart what came by itself and what was an answer."""
        asked = answered = counted = turn = segment = transfers = 0
        hung_up = False
        for place, entry in enumerate(entries):
            match entry.what:
                case Step(what="start"):
                    self._push(_Due(entry.at, place, entry.what))
                case Step(what="drop", id=dropped):
                    self._gone(entry.at, Step("turn", dropped))
                case Step(what="hush"):
                    spoken = [step for step in self._answers if step.what in ("segment", "mark")]
                    self._gone(entry.at, *spoken)
                case Step(what=what, id=id):
                    asked += what == "final"
                    transfers += what == "transfer"
                    turn = id if what == "turn" else turn
                    hung_up = hung_up or what == "end"
                    step = Step(what, {"final": asked, "transfer": transfers}.get(what, id))
                    self._answers[step] = _Answer(entry.at)
                case signal:
                    answered += isinstance(signal, s.FinalText) and answered < asked
                    segment = signal.segment if isinstance(signal, s.SpeechFrames) else segment
                    cause = _cause(signal, answered, turn, segment, transfers)
                    if isinstance(signal, s.Remark) and signal.kind == "recognised":
                        # Of an utterance that the call's end cut off it answers nothing.
                        cause, counted = (None if counted == answered else cause), answered
                    self._sort_signal(entry.at, place, signal, cause)
        if hung_up:  # no caller's end will end it, should today's machine take longer
            for at in range(self._end, self._end + OVERTIME_MS, FRAME_MS):
                self._tell(at, s.Tick())

    def _sort_signal(self, at: int, place: int, signal: Signal, cause: Step | None) -> None:
        answer = self._answers.get(cause) if cause is not None else None
        if answer is None:
            self._push(_Due(at, place, signal))
            return
        answer.parts.append((at - answer.asked_at, place, signal))
        if isinstance(signal, s.FinalText | s.AnswerOver | s.SpeechOver | s.Played | s.Ended):
            answer.complete = True

    def _gone(self, at: int, *steps: Step) -> None:
        for step in steps:
            answer = self._answers.get(step)
            if answer is not None and answer.gone_at is None:
                answer.gone_at = at

    # What today's machine does

    def _follow(self, actions: list[Action], at: int) -> None:
        for action in actions:
            match action:
                case s.Note():
                    self._note(action, at)
                case s.Feed() if self._transcribe is not None:
                    self._fed += action.pcm
                case s.Commit():
                    self._finals += 1
                    self._ask(at, Step("final", self._finals), s.FinalText(self._partial))
                case s.BeginTurn():
                    self._ask(at, Step("turn", action.turn), s.AnswerOver(action.turn))
                case s.DropTurn():
                    self._forget("turn")
                case s.Say():
                    self._speak(at, action)
                case s.Hush():
                    self._forget("segment", "mark")
                case s.Mark():
                    self._ask(at, Step("mark", action.mark), s.Played(action.mark))
                case s.Transfer():
                    self._transfers += 1
                    self._ask(at, Step("transfer", self._transfers))
                case s.HangUp():
                    self._ask(at, Step("end"), s.Ended(action.cause))

    def _note(self, note: s.Note, at: int) -> None:
        self._outcome.lines.append(
            Line(
                seq=len(self._outcome.lines) + 1,
                at=at,
                kind=note.kind,
                turn=note.turn,
                text=storable(note.text),  # as the ledger gives it back
                value=note.value,
            )
        )

    def _speak(self, at: int, say: s.Say) -> None:
        """Sound as it was made then; what was not made is as long as a voice usually takes."""
        step = Step("segment", say.segment)
        answer = self._answers.get(step)
        parts = answer.parts if answer is not None else []
        made = sum(len(p.frames) for _, _, p in parts if isinstance(p, s.SpeechFrames))
        missing = max(0, usual_ms(say.text) // FRAME_MS - made)
        frames = s.SpeechFrames(say.segment, [b""] * missing)
        self._ask(at, step, frames, s.SpeechOver(say.segment))

    def _ask(self, at: int, step: Step, *otherwise: Signal) -> None:
        """Answer as then, and with `otherwise` where then nothing or not all of it came."""
        answer = self._answers.pop(step, None)
        if answer is None:
            answer = _Answer(at, gone_at=at - 1)
        for after, place, signal in answer.parts:
            self._push(_Due(at + after, place, signal, step))
        if not answer.complete:
            gone_at = self._end if answer.gone_at is None else answer.gone_at
            late = at + max(0, gone_at + 1 - answer.asked_at)
            for signal in otherwise:
                self._tell(late, signal, step)

    def _tell(self, at: int, signal: Signal, answers: Step | None = None) -> None:
        """Something that is on no tape."""
        self._place += 1
        self._push(_Due(at, self._place, signal, answers, made_up=True))

    def _push(self, due: _Due) -> None:
        heapq.heappush(self._due, due)

    def _forget(self, *what: str) -> None:
        """What was made up for the persona's turn or speech is wanted no more."""
        self._due = [
            due
            for due in self._due
            if not (due.made_up and due.answers is not None and due.answers.what in what)
        ]
        heapq.heapify(self._due)


def _cause(signal: Signal, answered: int, turn: int, segment: int, transfers: int) -> Step | None:
    """The step that `signal` answers, if it is an answer. `answered`: finals so far, with it;
    `segment`: the one of which sound came last; `transfers`: asked for so far."""
    match signal:
        case s.Remark(kind="recognised"):
            return Step("final", answered)
        case s.Remark(kind="used"):
            return Step("turn", signal.turn)
        case s.Remark(kind="synthesised"):
            return Step("segment", segment)
        case s.FinalText():
            return Step("final", answered)
        case s.AnswerText() | s.AnswerWorking() | s.AnswerOver():
            return Step("turn", signal.turn)
        case s.HangUpAfter() | s.TransferAfter():
            return Step("turn", turn)
        case s.NotTransferred():
            return Step("transfer", transfers)
        case s.SpeechFrames() | s.SpeechOver():
            return Step("segment", signal.segment)
        case s.Played():
            return Step("mark", signal.mark)
        case s.Ended():
            return Step("end")
    return None


def _named(step: Step) -> str:
    match step.what:
        case "final":
            return f"utterance {step.id}"
        case "turn" | "segment" | "mark":
            return f"{step.what} {step.id}"
    return "the hang-up"
