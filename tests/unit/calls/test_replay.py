"""Calls run again: the same with the same code, and where a change shows."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.calls.simulator import Phone
from tests.unit.calls.test_machine import ANSWER, ask, manners, step, steps
from tron.calls import machine as machine_module
from tron.calls import signals as s
from tron.calls.comparison import Pair, compare, verdict
from tron.calls.ledger import Line
from tron.calls.listening import Waits
from tron.calls.machine import CallMachine
from tron.calls.manner import Manner
from tron.calls.replay import Outcome, Replay
from tron.calls.signals import Action, Signal
from tron.calls.tape import Entry, Head, Step, Tape, read


class TapedMachine(CallMachine):
    """The machine as a call drives it."""

    def __init__(self, manner: Manner) -> None:
        super().__init__(manner)
        self.tape = Tape(Head(heard_rate=8_000, manner=manner))
        self.parts: list[bytes] = []
        self.lines: list[Line] = []

    def start(self, at: int = 0) -> list[Action]:
        self._keep(Step("start"), at)
        return self._asked(super().start(at), at)

    def handle(self, signal: Signal, at: int) -> list[Action]:
        if self.ended is None:
            self._keep(signal, at)
        return self._asked(super().handle(signal, at), at)

    def _keep(self, what: Signal | Step, at: int) -> None:
        if (part := self.tape.add(what, at)) is not None:
            self.parts.append(part)

    def _asked(self, actions: list[Action], at: int) -> list[Action]:
        parts = [self.tape.asked(action, at) for action in actions]
        self.parts += [part for part in parts if part is not None]
        for note in (action for action in actions if isinstance(action, s.Note)):
            self.lines.append(
                Line(
                    seq=len(self.lines) + 1,
                    at=at,
                    kind=note.kind,
                    turn=note.turn,
                    text=note.text,
                    value=note.value,
                )
            )
        return actions


def tape_of(phone: Phone) -> list[Entry]:
    machine = phone.machine
    assert isinstance(machine, TapedMachine)
    machine.parts.append(machine.tape.rest())
    return read(machine.parts)[1]


def ledger_of(phone: Phone) -> list[Line]:
    assert isinstance(phone.machine, TapedMachine)
    return phone.machine.lines


async def again(phone: Phone, manner: Manner) -> tuple[list[Pair], Outcome]:
    outcome = await Replay(tape_of(phone), manner).run()
    return compare(ledger_of(phone), outcome.lines), outcome


def conversation(manner: Manner) -> Phone:
    """Two questions; into the second answer the caller speaks."""
    phone = Phone(manner, answer=ANSWER, machine=TapedMachine)
    phone.quiet(2_000)
    ask(phone)
    phone.quiet(9_000)
    ask(phone)
    phone.quiet(1_500)
    phone.final = "stop that please"
    phone.speak(1_200)
    phone.quiet(9_000)
    phone.hang_up()
    return phone


async def test_the_same_code_gives_the_same_call() -> None:
    manner = Manner(greeting="Hello, this is Tony.")
    pairs, outcome = await again(conversation(manner), manner)
    assert len([pair for pair in pairs if pair.then and pair.then.kind == "turn_began"]) == 3
    assert verdict(pairs) == ""
    assert outcome.made_up == []


async def test_a_longer_wait_shows_where_it_begins_to_matter() -> None:
    manner = Manner()
    phone = conversation(manner)
    pairs, outcome = await again(phone, Manner(waits=Waits(wait_ms=500)))
    first = next(pair for pair in pairs if pair.mark != "same")
    assert first.then is not None
    assert first.now is not None
    assert (first.then.kind, first.now.at - first.then.at) == ("commit", 300)
    assert "`commit` comes 300 ms later" in verdict(pairs)
    # What was answered then is answered now, as much later as it was asked later.
    moved = {p.then.kind: p.now.at - p.then.at for p in pairs[:12] if p.then and p.now}
    assert moved["speech_stopped"] == 0
    assert moved["committed"] == moved["turn_began"] == moved["answer_over"] == 300
    assert outcome.made_up == []


async def test_a_machine_broken_on_purpose_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    manner = Manner()
    phone = conversation(manner)
    interrupted_at = next(line.at for line in ledger_of(phone) if line.kind == "turn_dropped")
    monkeypatch.setattr(machine_module, "LONG_SPEECH_MS", 100_000)  # talking on wins no floor
    pairs, _ = await again(phone, manner)
    first = next(pair for pair in pairs if pair.mark != "same")
    assert first.at == interrupted_at
    assert f"from {interrupted_at / 1000:.2f} s on" in verdict(pairs)


async def test_what_nobody_answered_then_is_made_up_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manner = Manner()
    phone = Phone(manner, answer=ANSWER, final="mm-hm", machine=TapedMachine)
    phone.quiet(300)
    phone.tell(s.Typed("tell me"))
    phone.quiet(1_500)
    phone.speak(400)
    phone.quiet(20_000)
    phone.hang_up()
    monkeypatch.setattr(machine_module, "backchannel", lambda text: False)
    pairs, outcome = await again(phone, manner)
    assert any(p.now and p.now.kind == "turn_began" and p.mark == "new" for p in pairs)
    assert [what for _, what in outcome.made_up] == ["turn 2"]


async def test_a_call_the_persona_ends_ends_by_itself_and_not_by_the_tape() -> None:
    manner = Manner()
    phone = Phone(manner, answer=None, machine=TapedMachine)
    phone.quiet(300)
    ask(phone)
    phone.tell(s.AnswerText(1, "Goodbye then."))
    phone.tell(s.HangUpAfter("persona-ended-call"))
    phone.tell(s.AnswerOver(1))
    phone.quiet(5_000)
    assert phone.endings == ["persona-ended-call"]
    assert verdict((await again(phone, manner))[0]) == ""
    pairs, _ = await again(phone, Manner(waits=Waits(wait_ms=700)))
    then, now = pairs[-1].then, pairs[-1].now
    assert then is not None
    assert now is not None
    assert (now.text, now.at - then.at) == ("persona-ended-call", 500)


async def test_what_was_heard_of_words_the_end_cut_off_is_told_with_the_end() -> None:
    phone = conversation(Manner())
    machine = TapedMachine(Manner())
    machine.start(0)
    for at in range(20, 1_600, 20):
        machine.handle(s.Heard(b"", 0.9 if at < 800 or at > 1_300 else 0.0), at)
        if at == 1_300:
            machine.handle(s.FinalText("hello"), at)
            machine.handle(s.Remark("recognised", 0, "1"), at)
    machine.handle(s.Remark("recognised", 0, "2"), 1_600)
    machine.handle(s.Ended("caller-hung-up"), 1_600)
    phone.machine = machine
    pairs, outcome = await again(phone, Manner())
    assert verdict(pairs) == ""
    pairs, outcome = await again(phone, Manner(waits=Waits(wait_ms=300)))
    assert [(line.at, line.text) for line in outcome.lines if line.kind == "recognised"] == [
        (1_400, "1"),
        (1_600, "2"),
    ]


async def test_two_transfers_that_failed_are_told_apart() -> None:
    phone = Phone(Manner(), answer=None, machine=TapedMachine)
    for _ in range(2):
        phone.tell(s.TransferAfter("+14155550188"))
        phone.quiet(200)
        phone.tell(s.NotTransferred())
        phone.quiet(200)
    phone.hang_up()
    pairs, outcome = await again(phone, Manner())
    assert verdict(pairs) == ""
    assert outcome.made_up == []


@settings(deadline=None, max_examples=100)
@given(
    manners,
    st.lists(steps, max_size=40),
    st.booleans(),
    st.booleans(),
    st.sampled_from((None, "hello there", "")),
    st.sampled_from((None, ANSWER)),
)
async def test_any_call_at_all_is_the_same_again(
    manner: Manner,
    script: list[tuple[object, ...]],
    speaks: bool,
    marks: bool,
    final: str | None,
    answer: str | None,
) -> None:
    phone = Phone(
        manner, answer=answer, final=final, speaks=speaks, marks=marks, machine=TapedMachine
    )
    for what in script:
        step(phone, what)
    phone.hang_up()
    pairs, outcome = await again(phone, manner)
    assert verdict(pairs) == ""
    assert outcome.made_up == []


@settings(deadline=None, max_examples=100)
@given(st.lists(steps, max_size=30), st.integers(0, 900), st.integers(60, 600))
async def test_no_change_of_the_waits_stops_a_replay(
    script: list[tuple[object, ...]], wait_ms: int, stop_ms: int
) -> None:
    phone = Phone(Manner(), answer=ANSWER, machine=TapedMachine)
    for what in script:
        step(phone, what)
    phone.hang_up()
    waits = Waits(wait_ms=wait_ms, stop_ms=stop_ms)
    _, outcome = await again(phone, msgspec.structs.replace(Manner(), waits=waits))
    assert outcome.lines[-1].kind == "ended"
