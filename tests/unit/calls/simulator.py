"""A whole call on a virtual clock: a caller, a line, engines and a persona around the call machine.

The line plays what it is sent at the pace of speech and knows to the frame what the caller heard,
whatever the machine believes. `check` holds every rule a call must keep, at any moment.
"""

from collections import deque

from tron.calls import signals as s
from tron.calls.limits import SILENT, TOO_LONG, TOO_LONG_WORDS
from tron.calls.listening import VOICED
from tron.calls.machine import RESULT_WAIT_MS, CallMachine
from tron.calls.manner import Manner
from tron.calls.playback import LEAD_MS
from tron.calls.signals import FRAME_MS, Action, Signal

FRAMES_PER_CHARACTER = 3
"""60 ms, near what a voice takes"""


class Phone:
    """One simulated call. `answer`: what the persona says to each turn; None: the test says it."""

    def __init__(
        self,
        manner: Manner,
        *,
        answer: str
        | None = "This is the first sentence. And here is a second one, somewhat longer.",
        final: str | None = "hello there",
        speaks: bool = True,
        marks: bool = True,
        machine: type[CallMachine] = CallMachine,
    ) -> None:
        """`final`: what is understood of each utterance; None: the test says it. `speaks`: the
        synthesiser delivers at once. `marks`: the line answers them."""
        self.machine = machine(manner)
        self.now = 0
        self.log: list[tuple[int, Action]] = []
        self.answer, self.final = answer, final
        self.heard: list[tuple[int, int]] = []
        """(segment, frame) in the order in which they were played to the caller"""
        self.texts: dict[int, str] = {}
        """what each segment says"""
        self.turn_of: dict[int, int] = {}
        self.said: dict[int, list[int]] = {}
        """the segments of each turn"""
        self.made: dict[int, int] = {}
        """frames made of each segment"""
        self.over: list[tuple[int, str]] = []
        """(turn, how) in the order in which they ended"""
        self.begun: list[int] = []
        self.endings: list[str] = []
        self.unasked: list[str] = []
        """what was heard of what nobody asked for"""
        self._speaks, self._marks = speaks, marks
        self._manner = manner
        self._voiced = 0
        """ms, so far, that the caller speaks without a pause"""
        self._unanswered: deque[int] = deque()
        """when utterances were committed whose final text was not told"""
        self._worded_at = 0
        """when the caller last said something in words, or with keys"""
        self._line: deque[tuple[int, int] | int] = deque()
        self._hushed: set[int] = set()
        self._before_turn: set[int] = set()
        self._inbox: deque[Signal] = deque()
        self._busy = True
        self._do(self.machine.start(0))
        self._busy = False
        self._take()

    # What the caller and the world do

    def speak(self, ms: int, likely: float = 0.9) -> None:
        for _ in range(ms // FRAME_MS):
            self._pass()
            self._voiced = self._voiced + FRAME_MS if likely >= VOICED else 0
            self.tell(s.Heard(f"{self.now}|".encode(), likely))

    def quiet(self, ms: int) -> None:
        self.speak(ms, 0.0)

    def nothing(self, ms: int) -> None:
        """Time passes and not even silence arrives."""
        self._voiced = 0
        for _ in range(ms // FRAME_MS):
            self._pass()
            if self.now % 40 == 0:
                self.tell(s.Tick())

    def tell(self, signal: Signal) -> None:
        """In order, as a call does: what follows from an action waits for the others."""
        self._inbox.append(signal)
        if not self._busy:
            self._take()

    def _take(self) -> None:
        self._busy = True
        while self._inbox:
            signal = self._inbox.popleft()
            self._expect(signal)
            if self.machine.ended is None:
                self._do(self.machine.handle(signal, self.now))
        self._busy = False

    def _expect(self, signal: Signal) -> None:
        """What the caller may expect from now on."""
        match signal:
            case s.StopTalking():
                self._voiced = 0
            case s.FinalText():
                if self._unanswered:
                    self._unanswered.popleft()
                if signal.text:
                    self._worded_at = self.now
            case s.Typed() | s.Digit():
                self._worded_at = self.now

    def hang_up(self) -> None:
        self.tell(s.Ended("caller-hung-up"))

    def make(self, segment: int, frames: int) -> None:
        """The synthesiser delivers more of a segment (also of one that nobody wants any more)."""
        begin = self.made.get(segment, 0)
        self.made[segment] = begin + frames
        self.tell(
            s.SpeechFrames(
                segment, [f"{segment}:{n}".encode() for n in range(begin, begin + frames)]
            )
        )

    # What can be seen

    def actions(self, kind: type[Action]) -> list[Action]:
        return [action for _, action in self.log if isinstance(action, kind)]

    def notes(self, kind: str) -> list[tuple[int, s.Note]]:
        return [(at, a) for at, a in self.log if isinstance(a, s.Note) and a.kind == kind]

    @property
    def audible(self) -> bool:
        return any(isinstance(entry, tuple) for entry in self._line)

    @property
    def speaking(self) -> bool:
        """Whether the caller has spoken for as long as it takes to notice."""
        return self._voiced >= max(self._manner.waits.start_ms, FRAME_MS)

    # The line

    def _pass(self) -> None:
        self.now += FRAME_MS
        self._return_marks()
        if self._line:
            entry = self._line.popleft()
            assert isinstance(entry, tuple)
            self.heard.append(entry)
            assert not self.speaking or self.texts[entry[0]] in TOO_LONG_WORDS, "spoken over"
        self._return_marks()

    def _return_marks(self) -> None:
        while self._line and isinstance(self._line[0], int):
            mark = self._line.popleft()
            assert isinstance(mark, int)
            if self._marks:
                self.tell(s.Played(mark))

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            assert self.endings == [] or self.machine.ended is not None
            self.log.append((self.now, action))
            match action:
                case s.Commit():
                    self._unanswered.append(self.now)
                    if self.final is not None:
                        self.tell(s.FinalText(self.final))
                case s.BeginTurn():
                    self._begun(action)
                case s.DropTurn():
                    self._ended(action.turn, "dropped")
                    self._check_heard(action)
                case s.Unasked():
                    self._check_unasked(action)
                case s.Say():
                    self.texts[action.segment] = action.text
                    if self._speaks:
                        self.make(action.segment, len(action.text) * FRAMES_PER_CHARACTER)
                        self.tell(s.SpeechOver(action.segment))
                case s.Hush():
                    self._hushed |= set(self.texts)
                case s.Send():
                    self._sent(action)
                case s.Mark():
                    self._line.append(action.mark)
                case s.Clear():
                    self._line.clear()
                case s.Transfer():
                    self._check_parting("")
                case s.HangUp():
                    self._check_parting(action.cause)
                    self.tell(s.Ended(action.cause))
                case s.Note(kind="turn_over"):
                    self._ended(action.turn, "completed")
                case s.Note(kind="ended"):
                    self.endings.append(action.text)

    def _begun(self, action: s.BeginTurn) -> None:
        assert len(self.over) == len(self.begun), "the turn before has not ended"
        assert action.text.strip()
        self.begun.append(action.turn)
        self._before_turn = set(self.texts)
        if action.news:
            self.tell(s.AnswerText(action.turn, action.text))
            self.tell(s.AnswerOver(action.turn))
        elif self.answer is not None:
            for word in self.answer.split(" "):
                self.tell(s.AnswerText(action.turn, word + " "))
            self.tell(s.AnswerOver(action.turn))

    def _ended(self, turn: int, how: str) -> None:
        assert turn in self.begun
        assert turn not in [ended for ended, _ in self.over], "ended twice"
        self.over.append((turn, how))

    def _sent(self, action: s.Send) -> None:
        for frame in action.frames:
            segment, _, number = frame.decode().partition(":")
            assert int(segment) not in self._hushed, "spoken although it was to be silent"
            self._line.append((int(segment), int(number)))
        ahead = sum(isinstance(entry, tuple) for entry in self._line) * FRAME_MS
        assert ahead <= LEAD_MS + FRAME_MS, "too far ahead of the caller's ear"

    def _check_heard(self, drop: s.DropTurn) -> None:
        """Nothing counts as heard of which no sound was played."""
        words = [word.strip("*_`#") for word in drop.heard.split() if any(map(str.isalnum, word))]
        if not words:
            return
        if self._speaks:  # every character takes its time, but for those of markup
            mine = [frame for frame in self.heard if frame[0] not in self._before_turn]
            assert (len(" ".join(words)) - len(self.texts)) * FRAMES_PER_CHARACTER <= len(mine)
        played = {segment for segment, _ in self.heard}
        spoken = " ".join(text for id, text in self.texts.items() if id in played)
        for word in words:
            assert word in spoken, (word, spoken)

    def _check_unasked(self, told: s.Unasked) -> None:
        """Likewise for what nobody asked for, which is all of what was said since it began."""
        self.unasked.append(told.text)
        played = {segment for segment, _ in self.heard}
        spoken = " ".join(text for id, text in self.texts.items() if id in played)
        for word in told.text.split():
            assert word in spoken, (word, spoken)
        if self._speaks:
            mine = [frame for frame in self.heard if frame[0] not in self._before_turn]
            characters = len(" ".join(told.text.split())) - len(self.texts)
            assert characters * FRAMES_PER_CHARACTER <= len(mine)
        self._before_turn = set(self.texts)

    def _check_parting(self, cause: str) -> None:
        """Nobody who speaks is hung up on, or before it is known what they said."""
        if cause == TOO_LONG:
            return
        assert not self.speaking, "hung up on somebody who speaks"
        while self._unanswered and self.now - self._unanswered[0] >= RESULT_WAIT_MS:
            self._unanswered.popleft()
        assert not self._unanswered, "hung up before it is known what was said"
        if cause == SILENT:
            assert self.now - self._worded_at >= self._manner.silence_ms, "they are there"

    def check_over(self) -> None:
        """The call has ended: everything that began has ended, once."""
        assert self.machine.ended is not None
        assert len(self.endings) == 1
        assert [turn for turn, _ in self.over] == self.begun
        assert self.begun == sorted(set(self.begun))
        assert self.machine.handle(s.Heard(b"", 1.0), self.now + 20) == []


def heard_of(phone: Phone, turn: int) -> str:
    """What the transcript keeps of a dropped turn."""
    drops = [a for _, a in phone.log if isinstance(a, s.DropTurn) and a.turn == turn]
    assert len(drops) == 1
    return drops[0].heard
