"""The call machine: a whole conversation by voice, without I/O.

It is told what happens (`signals.py`) and at what time, and answers what is to be done. Sockets,
engines and the persona are somebody else's, so a call runs in a unit test in milliseconds, a
recorded one can be run again, and the order of things is decided in one place.

Barge-in. When the caller starts to speak while the persona does, the same step stops the
synthesiser, clears what the wire holds, and works out which words were heard. If it turns out to
be a cough or "mm-hm", the persona takes up again where it was; else the turn is dropped with what
was heard of it, and the caller's words begin the next one. Who speaks into the goodbye is not hung
up on, and who speaks into "I am putting you through" is not put through.

What clients may show is told by `Tell`: `listening`, `speech_began`, `partial`, `committed`,
`asleep`, `wake_word`, `turn`, `working`, `text`, `first_audio`, `answer_over` (no more text comes),
`heard` (of a turn that was cut off), `not_spoken` (a piece that no voice could say), `failed`
(text: the error's type), `turn_end` (text: its reason).
"""

import re
from collections import deque

import msgspec

from tron.calls import signals as s
from tron.calls.gate import Gate
from tron.calls.listening import Listening, Waits
from tron.calls.playback import Playback
from tron.calls.sentences import Sentences
from tron.calls.signals import Action, Signal

BACKCHANNEL = frozenset(
    (
        "mm mmm hm hmm mhm mmhm mm-hm mm-hmm uh-huh uhuh uh um ah oh right yeah yep yes ok "
        "okay sure i see got it go on"
    ).split()
)
_WORDS = re.compile(r"[a-z'-]+")
LONG_SPEECH_MS = 900  # longer than any "mm-hm": the persona has lost the floor for good
NOT_TRANSFERRED = "I'm sorry, I could not put you through. What else can I do for you?"
NEWS_AFTER_MS = 700  # of quiet, before something is said that nobody asked for
RESULT_WAIT_MS = 4_000  # a recogniser that says nothing for this long has heard nothing


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How a call is held. Times in ms; 0 turns a thing off."""

    waits: Waits = Waits()
    marks: bool = True
    """the wire reports what it has played"""
    greeting: str = ""
    fillers: tuple[str, ...] = ("One moment.", "Let me check.", "Just a second.")
    filler_after_ms: int = 900
    silence_prompts: tuple[str, ...] = ()
    """said one after the other when the caller stays silent; then the call ends"""
    silence_ms: int = 0
    digits_wait_ms: int = 2_000
    wake_words: tuple[str, ...] = ()
    push_to_talk: bool = False
    """every utterance ends when the client says so, none by silence"""
    apology: str = "I'm sorry, something went wrong on my side. Could you say that again?"


class _Turn(msgspec.Struct):
    """The persona's turn that is under way."""

    id: int
    began_at: int
    sentences: Sentences = msgspec.field(default_factory=Sentences)
    heard: str = ""
    """the text of the segments that have played"""
    generating: bool = True
    spoke: bool = False
    audible: bool = False
    """its first audio was sent"""
    working_since: int | None = None
    filled: bool = False
    """a filler was said while a tool ran"""
    worded: bool = False
    """its first text has come"""
    failed: bool = False
    made_at: int = 0
    """when the last of its text and sound was there"""


class CallMachine:
    """One call, from its first frame to its ending."""

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._listening = Listening(manner.waits)
        self._listening.held = manner.push_to_talk
        self._playback = Playback()
        self._gate = Gate(manner.wake_words)
        self._turn: _Turn | None = None
        self._turns = 0
        self._segments = 0
        self._fillers = 0
        self._prompts = 0
        self._quiet_since = 0
        self._digits = ""
        self._digit_at = 0
        self._awaiting_final: int | None = None
        self._paused: str | None = None
        """text not heard of an answer the caller spoke into; None while nothing is paused"""
        self._parting: s.HangUp | s.Transfer | None = None
        """what comes when the persona has finished speaking"""
        self._news: deque[str] = deque()
        """what is to be said when neither side talks"""
        self.ended: str | None = None

    @property
    def speaking(self) -> bool:
        """Whether the persona's voice is on its way or being heard."""
        return self._playback.active

    def handle(self, signal: Signal, at: int) -> list[Action]:
        """What is to be done now that `signal` happened at `at`."""
        if self.ended is not None:
            return []
        out: list[Action] = []
        match signal:
            case s.Heard():
                self._heard(signal, at, out)
            case s.PartialText():
                self._partial(signal.text, at, out)
            case s.FinalText():
                self._awaiting_final = None
                self._said(signal.text, at, out)
            case s.Typed():
                self._begin(signal.text, at, out, reason="interrupted")
            case s.Digit():
                self._digits += signal.key
                self._digit_at = at
                out.append(s.Note("digit"))
            case s.StartTalking():
                self._listening.held = True
            case s.StopTalking():
                out.append(s.Note("stop"))
                self._listening.held = self._manner.push_to_talk
                self._commit_if(self._listening.end() == "over", at, out)
            case s.Interrupt():
                self._drop(at, out, "interrupted")
            case s.AnswerText():
                self._answer(signal, at, out)
            case s.AnswerWorking():
                self._working(signal, at, out)
            case s.AnswerOver():
                self._answer_over(signal, at, out)
            case s.SpeechFrames():
                self._playback.fill(signal.segment, signal.frames)
            case s.SpeechOver():
                self._playback.complete(signal.segment, failed=signal.failed)
                if self._turn is not None:
                    self._turn.made_at = at
                if signal.failed:
                    out += [s.Note("not_spoken"), s.Tell("not_spoken")]
            case s.Played():
                self._playback.played(signal.mark)
            case s.WakeWord():
                self._gate.on = signal.on
            case s.Arm():
                self._gate.arm(at)
            case s.Remark():
                out.append(s.Note(signal.kind, signal.turn, signal.text))
            case s.Announce():
                self._news.append(signal.text)
            case s.HangUpAfter():
                self._parting = s.HangUp(signal.cause)
            case s.TransferAfter():
                self._parting = s.Transfer(signal.number)
            case s.NotTransferred():
                out.append(s.Note("not_transferred"))
                self._say(NOT_TRANSFERRED, turn=0, text="", out=out)
            case s.Ended():
                self._end(signal.cause, at, out)
                return out
            case s.Tick():
                self._commit_if(self._listening.lapse(at) == "over", at, out)
        self._go_on(at, out)
        return out

    def start(self, at: int = 0) -> list[Action]:
        """The call begins: greet, if there is a greeting."""
        out: list[Action] = [s.Note("started"), s.Tell("listening")]
        self._quiet_since = at
        if self._manner.greeting:
            self._say(self._manner.greeting, turn=0, text="", out=out)
        return out

    # The caller

    def _heard(self, signal: s.Heard, at: int, out: list[Action]) -> None:
        audio, change = self._listening.hear(signal.pcm, signal.speech, at)
        if audio:
            out.append(s.Feed(audio))
        if self._listening.speaking:
            self._quiet_since = at
        match change:
            case "began":
                out += [s.Note("speech_began"), s.Tell("speech_began")]
                if self._playback.active:
                    self._pause(at, out)
            case "stopped" | "resumed":
                out.append(s.Note(f"speech_{change}"))
            case "over":
                self._commit_if(True, at, out)
        spoken_ms = at - self._listening.began_at if self._listening.speaking else 0
        if self._paused is not None and spoken_ms >= LONG_SPEECH_MS:
            self._drop(at, out, "barge_in")

    def _partial(self, text: str, at: int, out: list[Action]) -> None:
        self._listening.partial = text
        out += [s.Note("partial", text=text), s.Tell("partial", text=text)]
        if self._paused is not None and not backchannel(text):
            self._drop(at, out, "barge_in")

    def _commit_if(self, over: bool, at: int, out: list[Action]) -> None:
        if over:
            self._awaiting_final = at
            out += [s.Note("commit", value=self._listening.last_voiced_at), s.Commit()]

    def _said(self, text: str, at: int, out: list[Action]) -> None:
        """The recogniser's final text."""
        self._quiet_since = at
        text = text.strip()
        if not text or (self._paused is not None and backchannel(text)):
            out.append(s.Note("not_a_turn", text=text))
            self._resume(at, out)
            return
        out += [s.Note("committed", text=text), s.Tell("committed", text=text)]
        query, woken = self._gate.admit(text, at)
        if woken:
            out.append(s.Tell("wake_word"))
        if not query:
            if query is None:
                out.append(s.Tell("asleep", text=text))
            self._resume(at, out)
            return
        self._begin(query, at, out, reason="barge_in")

    def _begin(self, text: str, at: int, out: list[Action], *, reason: str) -> None:
        self._drop(at, out, reason)
        self._prompts = 0
        self._turns += 1
        self._turn = _Turn(id=self._turns, began_at=at)
        out += [
            s.Note("turn_began", self._turns, text),
            s.BeginTurn(self._turns, text),
            s.Tell("turn", self._turns, text),
        ]

    # The persona

    def _answer(self, signal: s.AnswerText, at: int, out: list[Action]) -> None:
        turn = self._turn
        if turn is None or turn.id != signal.turn:
            return
        turn.working_since = None
        if not turn.worded:
            turn.worded = True
            out.append(s.Note("first_text", turn.id))
        out.append(s.Tell("text", turn.id, signal.text))
        if self._paused is not None:  # not spoken until it is known who has the floor
            turn.sentences.hold(signal.text)
            return
        for piece in turn.sentences.add(signal.text):
            self._say(piece.spoken, turn=turn.id, text=piece.text, out=out)

    def _working(self, signal: s.AnswerWorking, at: int, out: list[Action]) -> None:
        turn = self._turn
        if turn is not None and turn.id == signal.turn and turn.working_since is None:
            turn.working_since = at
            out += [s.Note("working", turn.id), s.Tell("working", turn.id)]

    def _answer_over(self, signal: s.AnswerOver, at: int, out: list[Action]) -> None:
        turn = self._turn
        if turn is None or turn.id != signal.turn:
            return
        turn.generating = False
        turn.made_at = at
        out += [s.Note("answer_over", turn.id), s.Tell("answer_over", turn.id)]
        if self._paused is None:
            self._flush(turn, out)
        if signal.error is not None:
            turn.failed = True
            out += [
                s.Note("answer_failed", turn.id, signal.error),
                s.Tell("failed", turn.id, signal.error),
            ]
            self._say(self._manner.apology, turn=turn.id, text="", out=out)

    def _flush(self, turn: _Turn, out: list[Action]) -> None:
        for piece in turn.sentences.end():
            self._say(piece.spoken, turn=turn.id, text=piece.text, out=out)

    def _say(self, spoken: str, *, turn: int, text: str, out: list[Action]) -> None:
        """Have `spoken` said; `text` is what of the answer it stands for."""
        self._segments += 1
        self._playback.add(self._segments, turn, text)
        if self._turn is not None and text:
            self._turn.spoke = True
        if spoken:
            out += [s.Note("say", turn, spoken), s.Say(self._segments, spoken)]
        else:  # nothing of it can be spoken, but it has been "heard" in its place
            self._playback.complete(self._segments)

    # Who has the floor

    def _pause(self, at: int, out: list[Action]) -> None:
        """The caller speaks: be silent at once, and remember where we were."""
        heard, unheard = self._playback.cut(at)
        if self._turn is not None:
            self._turn.heard += heard
        self._paused = unheard
        out += [s.Hush(), s.Clear(), s.Note("paused", self._turn.id if self._turn else 0)]

    def _resume(self, at: int, out: list[Action]) -> None:
        """It was nothing: go on from the word where we stopped."""
        if self._paused is None:
            return
        rest, self._paused = self._paused, None
        turn = self._turn
        if turn is None:
            return
        out.append(s.Note("resumed", turn.id))
        for piece in turn.sentences.take_back(rest):
            self._say(piece.spoken, turn=turn.id, text=piece.text, out=out)
        if not turn.generating:
            self._flush(turn, out)

    def _drop(self, at: int, out: list[Action], reason: str) -> None:
        """End the persona's turn here; the transcript keeps what was heard."""
        turn, self._turn = self._turn, None
        self._paused = self._parting = None
        if self._playback.active:  # also if the turn is paused: something else may be said then
            heard, _ = self._playback.cut(at)
            if turn is not None:
                turn.heard += heard
            out += [s.Hush(), s.Clear()]
        if turn is not None:
            out += [
                s.DropTurn(turn.id, turn.heard),
                s.Note("turn_dropped", turn.id, turn.heard),
                s.Tell("heard", turn.id, turn.heard),
                s.Tell("turn_end", turn.id, reason),
            ]

    # Time

    def _go_on(self, at: int, out: list[Action]) -> None:
        """What time alone brings: audio to send, turns that end, prompts that are due."""
        frames, marks = self._playback.due(at)
        if frames:
            if self._turn is not None and not self._turn.audible:
                self._turn.audible = True
                out += [s.Note("first_audio", self._turn.id), s.Tell("first_audio", self._turn.id)]
            out.append(s.Send(frames))
        out += [s.Mark(mark) for mark in marks]
        for segment in self._playback.finished(at, marks=self._manner.marks):
            if self._turn is not None and segment.turn == self._turn.id:
                self._turn.heard += segment.text
        if self._playback.active:
            self._quiet_since = at
        self._end_turn_if_over(out)
        self._tell_news(at, out)
        self._fill(at, out)
        self._collect_digits(at, out)
        self._give_up_waiting(at, out)
        self._end_if_silent(at, out)

    def _end_turn_if_over(self, out: list[Action]) -> None:
        turn = self._turn
        if turn and not turn.generating and not self._playback.active and self._paused is None:
            self._turn = None
            reason = "failed" if turn.failed else "completed"
            out += [
                s.Note("turn_over", turn.id, reason, turn.made_at),
                s.Tell("turn_end", turn.id, reason),
            ]
        if self._turn is None and not self._playback.active and self._parting is not None:
            if isinstance(self._parting, s.Transfer):
                out.append(s.Note("transferring", text=self._parting.number))
            out.append(self._parting)
            self._parting = None

    def _tell_news(self, at: int, out: list[Action]) -> None:
        """What was announced becomes a turn of its own, once nobody would be spoken over."""
        talking = self._turn or self._playback.active or self._listening.speaking
        waiting = self._awaiting_final is not None or self._digits or self._parting
        if not self._news or talking or waiting or at - self._quiet_since < NEWS_AFTER_MS:
            return
        text = self._news.popleft()
        self._turns += 1
        self._turn = _Turn(id=self._turns, began_at=at)
        out += [
            s.Note("news_began", self._turns, text),
            s.BeginTurn(self._turns, text, news=True),
            s.Tell("turn", self._turns),
        ]

    def _fill(self, at: int, out: list[Action]) -> None:
        """A tool takes its time: say something, once, so that nobody thinks the line is dead."""
        turn, manner = self._turn, self._manner
        if turn is None or turn.working_since is None or turn.spoke or turn.filled:
            return
        if not (manner.fillers and manner.filler_after_ms) or self._listening.speaking:
            return
        if at - turn.working_since >= manner.filler_after_ms:
            turn.filled = True
            filler = manner.fillers[self._fillers % len(manner.fillers)]
            self._fillers += 1
            self._say(filler, turn=turn.id, text="", out=out)

    def _collect_digits(self, at: int, out: list[Action]) -> None:
        if not self._digits:
            return
        if self._digits.endswith("#") or at - self._digit_at >= self._manner.digits_wait_ms:
            keys, self._digits = self._digits.rstrip("#"), ""
            if keys:
                self._begin(f"(pressed the keys {keys})", at, out, reason="barge_in")

    def _give_up_waiting(self, at: int, out: list[Action]) -> None:
        if self._awaiting_final is not None and at - self._awaiting_final >= RESULT_WAIT_MS:
            self._awaiting_final = None
            out.append(s.Note("no_final"))
            self._resume(at, out)

    def _end_if_silent(self, at: int, out: list[Action]) -> None:
        manner = self._manner
        busy = self._turn or self._playback.active or self._listening.speaking
        if not manner.silence_ms or busy or self._awaiting_final is not None:
            return
        if at - self._quiet_since < manner.silence_ms:
            return
        self._quiet_since = at
        if self._prompts < len(manner.silence_prompts):
            self._say(manner.silence_prompts[self._prompts], turn=0, text="", out=out)
            self._prompts += 1
        else:
            out += [s.Note("silence"), s.HangUp("caller-silent")]

    def _end(self, cause: str, at: int, out: list[Action]) -> None:
        self._drop(at, out, "connection_closed")
        self.ended = cause
        out.append(s.Note("ended", text=cause))


def backchannel(text: str) -> bool:
    """Whether `text` only says "I'm listening"."""
    words = _WORDS.findall(text.lower())
    return len(words) <= 3 and (" ".join(words) in BACKCHANNEL or set(words) <= BACKCHANNEL)
