"""The parts of the call machine that a page with a button relies on."""

from tron.calls import signals as s
from tron.calls.listening import Waits
from tron.calls.machine import CallMachine
from tron.calls.manner import Manner

MANNER = Manner(waits=Waits(start_ms=100, stop_ms=100, wait_ms=100), marks=False)


class Caller:
    def __init__(self, manner: Manner = MANNER) -> None:
        self.machine = CallMachine(manner)
        self.at = 0
        self.out: list[s.Action] = []

    def tell(self, signal: s.Signal) -> None:
        self.out += self.machine.handle(signal, self.at)

    def speaks(self, ms: int, *, voiced: bool = True) -> None:
        for _ in range(ms // s.FRAME_MS):
            self.at += s.FRAME_MS
            self.tell(s.Heard(bytes(640), 1.0 if voiced else 0.0))

    def waits(self, ms: int) -> None:
        for _ in range(ms // s.FRAME_MS):
            self.at += s.FRAME_MS
            self.tell(s.Tick())

    @property
    def commits(self) -> int:
        return sum(isinstance(action, s.Commit) for action in self.out)

    @property
    def fed_ms(self) -> int:
        return sum(len(action.pcm) for action in self.out if isinstance(action, s.Feed)) // 32


def test_while_the_button_is_held_no_pause_ends_the_utterance() -> None:
    caller = Caller()
    caller.tell(s.StartTalking())
    caller.speaks(400)
    caller.speaks(1000, voiced=False)
    caller.waits(1000)  # the client sends nothing in silence
    caller.speaks(400)
    caller.speaks(600, voiced=False)
    assert caller.commits == 0
    caller.tell(s.StopTalking())
    assert caller.commits == 1
    assert caller.fed_ms == 2400  # pauses and all


def test_a_word_too_short_to_be_noticed_is_understood_while_the_button_is_held() -> None:
    caller = Caller(Manner(marks=False))
    caller.tell(s.StartTalking())
    caller.speaks(300, voiced=False)
    caller.speaks(160)
    caller.speaks(100, voiced=False)
    caller.tell(s.StopTalking())
    assert caller.commits == 1
    assert caller.fed_ms >= 560
    caller.speaks(160)  # not held: a click
    caller.speaks(600, voiced=False)
    assert caller.commits == 1


def test_let_go_it_listens_by_itself_again() -> None:
    caller = Caller()
    caller.tell(s.StartTalking())
    caller.speaks(400)
    caller.tell(s.StopTalking())
    caller.speaks(400)
    caller.speaks(300, voiced=False)
    assert caller.commits == 2


def test_while_it_is_held_an_utterance_ends_only_by_hand() -> None:
    caller = Caller(Manner(waits=MANNER.waits, marks=False))
    for expected in (1, 2):
        caller.tell(s.StartTalking())
        caller.speaks(400)
        caller.speaks(1000, voiced=False)
        caller.waits(1000)
        assert caller.commits == expected - 1
        caller.tell(s.StopTalking())
        assert caller.commits == expected


def told(caller: Caller, what: str) -> list[s.Tell]:
    return [action for action in caller.out if isinstance(action, s.Tell) and action.what == what]


def test_an_answer_that_failed_does_not_end_as_completed() -> None:
    caller = Caller(Manner(waits=MANNER.waits, marks=False, apology=""))
    caller.tell(s.Typed("hello"))
    caller.tell(s.AnswerOver(1, error="provider_unavailable"))
    caller.waits(100)
    assert [tell.text for tell in told(caller, "failed")] == ["provider_unavailable"]
    assert [tell.text for tell in told(caller, "turn_end")] == ["failed"]


def test_a_piece_nobody_could_speak_is_told() -> None:
    caller = Caller()
    caller.tell(s.Typed("hello"))
    caller.tell(s.AnswerText(1, "Hello there, you. "))
    caller.tell(s.AnswerOver(1))
    segment = next(action.segment for action in caller.out if isinstance(action, s.Say))
    caller.tell(s.SpeechOver(segment, failed=True))
    assert len(told(caller, "not_spoken")) == 1
    assert [tell.text for tell in told(caller, "turn_end")] == ["completed"]
