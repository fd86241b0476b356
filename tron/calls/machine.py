"""The call machine: a whole conversation by voice, without I/O.

It is told what happens (`signals.py`) and at what time, and answers what is to be done. Sockets,
engines and the persona are somebody else's, so a call runs in a unit test in milliseconds, a
recorded one can be run again, and the order of things is decided in one place.

Barge-in. When the caller starts to speak while the persona does, the same step stops the
synthesiser, clears what the wire holds, and works out which words were heard. If it turns out to
be a cough or "mm-hm", the persona takes up again where it was; else the turn is dropped with what
was heard of it, and the caller's words begin the next one. An answer that would begin while the
caller speaks, or before it is known what they said, waits in the same way. Who speaks into the
goodbye is not hung up on, and who speaks into "I am putting you through" is not put through. What
nobody asked for (the greeting, "Are you still there?") takes up again and is cut off in the same
way; but to the question whether somebody is there even "mm-hm" is an answer.

What clients may show is told by `Tell`: `listening`, `speech_began`, `partial`, `committed`,
`asleep`, `wake_word`, `turn`, `working`, `text`, `first_audio`, `answer_over` (no more text comes),
`heard` (of a turn that was cut off; 0: of what nobody asked for), `not_spoken` (a piece that no
voice could say), `failed` (text: the error's type), `turn_end` (text: its reason).
"""

from collections import deque
from collections.abc import Iterable

from tron.calls import signals as s
from tron.calls.backchannel import answers, backchannel
from tron.calls.gate import Gate
from tron.calls.keys import Keys
from tron.calls.limits import Limits
from tron.calls.listening import Listening
from tron.calls.manner import Manner
from tron.calls.playback import Playback
from tron.calls.sentences import Piece
from tron.calls.signals import Action, Signal
from tron.calls.turn import Turn

LONG_SPEECH_MS = 900  # longer than any "mm-hm": the persona has lost the floor for good
NOT_TRANSFERRED = "I'm sorry, I could not put you through. What else can I do for you?"
NEWS_AFTER_MS = 700  # of quiet, before something is said that nobody asked for
RESULT_WAIT_MS = 4_000  # a recogniser that says nothing for this long has heard nothing


class CallMachine:
    """One call, from its first frame to its ending."""

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._listening = Listening(manner.waits)
        self._playback = Playback()
        self._gate = Gate(manner.wake_words)
        self._turn: Turn | None = None
        self._turns = 0
        self._segments = 0
        self._fillers = 0
        self._limits = Limits(
            silence_ms=manner.silence_ms,
            prompts=manner.silence_prompts,
            longest_ms=manner.longest_ms,
        )
        self._quiet_since = 0
        self._keys = Keys(manner.digits_wait_ms)
        self._awaiting: deque[int] = deque()
        """when each utterance was over whose final text has not come"""
        self._parting: s.HangUp | s.Transfer | None = None
        """what comes when the persona has finished speaking"""
        self._news: deque[str] = deque()
        """what is to be said when neither side talks"""
        self.ended: str | None = None

    def handle(self, signal: Signal, at: int) -> list[Action]:
        """What is to be done now that `signal` happened at `at`."""
        if self.ended is not None:
            return []
        out: list[Action] = []
        match signal:
            case s.Heard():
                self._heard(signal, at, out)
            case s.PartialText():
                self._partial(signal, at, out)
            case s.FinalText():
                if self._awaiting:
                    self._awaiting.popleft()
                self._said(signal.text, at, out)
            case s.Typed():
                self._begin(signal.text, at, out, reason="interrupted")
            case s.Digit():
                self._keys.press(signal.key, at)
                out.append(s.Note("digit"))
            case s.StartTalking():
                self._listening.held = True
            case s.StopTalking():
                out.append(s.Note("stop"))
                self._listening.held = False
                self._commit_if(self._listening.end() == "over", at, out)
            case s.Interrupt():
                self._drop(at, out, "interrupted")
            case s.AnswerText():
                self._answer(signal, out)
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
                self._playback.played(signal.mark, at)
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
            self._volunteer(self._manner.greeting, at, out)
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
                if self._turn is not None and self._playback.active:
                    self._pause(self._turn, self._hush(self._turn, at, out), out)
            case "stopped" | "resumed":
                out.append(s.Note(f"speech_{change}"))
            case "over":
                self._commit_if(True, at, out)
        if self._listening.voiced_ms >= LONG_SPEECH_MS:
            self._take_floor(at, out)

    def _partial(self, heard: s.PartialText, at: int, out: list[Action]) -> None:
        text = self._listening.partial = heard.text
        told = s.Tell("partial", text=text, confidence=heard.confidence)
        out += [s.Note("partial", text=text), told]
        if not backchannel(text):
            self._take_floor(at, out)

    def _commit_if(self, over: bool, at: int, out: list[Action]) -> None:
        if over:
            self._awaiting.append(at)
            out += [s.Note("commit", value=self._listening.last_voiced_at), s.Commit()]

    def _said(self, text: str, at: int, out: list[Action]) -> None:
        """The recogniser's final text."""
        self._quiet_since = at
        text = text.strip()
        asked = bool(text) and self._limits.answered()
        if not text or (not asked and self._only_listens(text)):
            out.append(s.Note("not_a_turn", text=text))
            self._resume(out)
            return
        out += [s.Note("committed", text=text), s.Tell("committed", text=text)]
        if asked:  # whoever is meant, there is somebody
            self._drop(at, out, "barge_in")
        query, woken = self._gate.admit(text, at)
        if woken:
            out.append(s.Tell("wake_word"))
        if not query:
            if query is None:
                out.append(s.Tell("asleep", text=text))
            self._resume(out)
            return
        self._begin(query, at, out, reason="barge_in")

    def _only_listens(self, text: str) -> bool:
        """Whether `text` was said into the persona's speech without wanting the floor."""
        turn = self._turn
        if turn is None or turn.paused is None or not backchannel(text):
            return False
        return turn.generating or not answers(text, turn.heard, turn.paused + turn.sentences.held)

    def _begin(self, text: str, at: int, out: list[Action], *, reason: str) -> None:
        self._drop(at, out, reason)
        self._limits.answered()
        self._turns += 1
        self._turn = Turn(id=self._turns)
        out += [
            s.Note("turn_began", self._turns, text),
            s.BeginTurn(self._turns, text),
            s.Tell("turn", self._turns, text),
        ]

    # The persona

    def _answering(self, turn: int) -> Turn | None:
        """The turn under way, if it is `turn` and its answer is not complete."""
        now = self._turn
        return now if now is not None and now.id == turn and now.generating else None

    def _answer(self, signal: s.AnswerText, out: list[Action]) -> None:
        if (turn := self._answering(signal.turn)) is None:
            return
        turn.working_since = None
        if not turn.worded:
            turn.worded = True
            out.append(s.Note("first_text", turn.id))
        out.append(s.Tell("text", turn.id, signal.text))
        turn.sentences.hold(signal.text)
        self._say_on(turn, out)

    def _working(self, signal: s.AnswerWorking, at: int, out: list[Action]) -> None:
        turn = self._answering(signal.turn)
        if turn is not None and turn.working_since is None:
            turn.working_since = at
            out += [s.Note("working", turn.id), s.Tell("working", turn.id)]

    def _answer_over(self, signal: s.AnswerOver, at: int, out: list[Action]) -> None:
        if (turn := self._answering(signal.turn)) is None:
            return
        turn.generating = False
        turn.made_at = at
        out += [s.Note("answer_over", turn.id), s.Tell("answer_over", turn.id)]
        if signal.error is not None:
            turn.failed = True
            out += [
                s.Note("answer_failed", turn.id, signal.error),
                s.Tell("failed", turn.id, signal.error),
            ]
        self._say_on(turn, out)

    def _say_on(self, turn: Turn, out: list[Action]) -> None:
        """Say what of its answer there is, once it is known that the persona has the floor."""
        left = turn.sentences.held or turn.failed
        if left and turn.paused is None and self._spoken_to:
            self._pause(turn, "", out)
        if turn.paused is not None:
            return
        self._say_all(turn, turn.sentences.add(""), out)
        if not turn.generating:
            self._say_all(turn, turn.sentences.end(), out)
            if turn.failed:
                self._say(self._manner.apology, turn=turn.id, text="", out=out)

    def _volunteer(self, text: str, at: int, out: list[Action]) -> None:
        """Say something that nobody asked for, at once; no turn may be under way."""
        turn = self._turn = Turn(id=0, generating=False, made_at=at)
        self._say_all(turn, [*turn.sentences.add(text), *turn.sentences.end()], out)

    def _say_all(self, turn: Turn, pieces: Iterable[Piece], out: list[Action]) -> None:
        for piece in pieces:
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

    @property
    def _spoken_to(self) -> bool:
        """Whether the caller speaks, or what they said is not known yet."""
        return self._listening.speaking or bool(self._awaiting)

    def _pause(self, turn: Turn, unheard: str, out: list[Action]) -> None:
        """The caller speaks: say no more until it is known what, and remember where we were."""
        turn.paused = unheard
        out.append(s.Note("paused", turn.id))

    def _take_floor(self, at: int, out: list[Action]) -> None:
        """It is more than "mm-hm": what was paused is over, if it is us whom the caller means."""
        turn = self._turn
        if turn and turn.paused is not None and self._gate.open(self._listening.partial, at):
            self._drop(at, out, "barge_in")

    def _resume(self, out: list[Action]) -> None:
        """It was nothing: go on from the word where we stopped, unless there is more to come."""
        turn = self._turn
        if turn is None or turn.paused is None or self._spoken_to:
            return
        rest, turn.paused = turn.paused, None
        out.append(s.Note("resumed", turn.id))
        self._say_all(turn, turn.sentences.take_back(rest), out)
        self._say_on(turn, out)

    def _drop(self, at: int, out: list[Action], reason: str) -> None:
        """End the persona's turn here; the transcript keeps what was heard."""
        turn, self._turn, self._parting = self._turn, None, None
        if turn is not None:
            if self._playback.active:
                self._hush(turn, at, out)
            out += turn.dropped(reason)

    def _hush(self, turn: Turn, at: int, out: list[Action]) -> str:
        """Be silent at once; what was not heard of what was to be said."""
        heard, unheard = self._playback.cut(at)
        turn.heard += heard
        out += [s.Hush(), s.Clear()]
        return unheard

    # Time

    def _go_on(self, at: int, out: list[Action]) -> None:
        """What time alone brings: audio to send, turns that end, prompts that are due."""
        frames, marks = self._playback.due(at)
        if frames:
            if self._turn is not None:
                out += self._turn.sounds()
            out.append(s.Send(frames))
        out += [s.Mark(mark) for mark in marks]
        for segment in self._playback.finished(at, marks=self._manner.marks):
            if self._turn is not None and segment.turn == self._turn.id:
                self._turn.heard += segment.text
        if self._turn is not None:
            self._quiet_since = at
        self._end_turn_if_over(out)
        self._tell_news(at, out)
        self._fill(at, out)
        if self._keys and (keys := self._keys.due(at)):
            self._begin(keys, at, out, reason="barge_in")
        self._give_up_waiting(at, out)
        self._keep_limits(at, out)

    def _end_turn_if_over(self, out: list[Action]) -> None:
        turn = self._turn
        if turn is not None:
            if turn.generating or self._playback.active or turn.paused is not None:
                return
            self._turn = None
            out += turn.over()
        if self._parting is not None and not (self._spoken_to or self._keys):
            if isinstance(self._parting, s.Transfer):
                out.append(s.Note("transferring", text=self._parting.number))
            out.append(self._parting)
            self._parting = None

    def _tell_news(self, at: int, out: list[Action]) -> None:
        """What was announced becomes a turn of its own, once nobody would be spoken over."""
        busy = self._turn or self._spoken_to or self._keys or self._parting
        if not self._news or busy or at - self._quiet_since < NEWS_AFTER_MS:
            return
        text = self._news.popleft()
        self._turns += 1
        self._turn = Turn(id=self._turns)
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
        if not (manner.fillers and manner.filler_after_ms) or self._spoken_to:
            return
        if at - turn.working_since >= manner.filler_after_ms:
            turn.filled = True
            filler = manner.fillers[self._fillers % len(manner.fillers)]
            self._fillers += 1
            self._say(filler, turn=turn.id, text="", out=out)

    def _give_up_waiting(self, at: int, out: list[Action]) -> None:
        if self._awaiting and at - self._awaiting[0] >= RESULT_WAIT_MS:
            self._awaiting.popleft()
            out.append(s.Note("no_final"))
            self._resume(out)

    def _keep_limits(self, at: int, out: list[Action]) -> None:
        busy = self._turn or self._spoken_to
        due = self._limits.due(at, 0 if busy else at - self._quiet_since)
        if due is None:
            return
        self._quiet_since = at
        if due.at_once:
            self._drop(at, out, "interrupted")
        if due.words:
            self._volunteer(due.words, at, out)
        if due.cause:
            out.append(s.Note("limit", text=due.cause))
            parting = s.HangUp(due.cause)
            if due.at_once and not due.words:  # it has waited long enough for who speaks
                out.append(parting)
            else:
                self._parting = parting

    def _end(self, cause: str, at: int, out: list[Action]) -> None:
        self._drop(at, out, "connection_closed")
        self.ended = cause
        out.append(s.Note("ended", text=cause))
