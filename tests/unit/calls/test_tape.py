"""What goes on a tape comes off it."""

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tron.calls import signals as s
from tron.calls import tape as tape_module
from tron.calls.listening import Waits
from tron.calls.manner import Manner
from tron.calls.signals import FRAME_MS, Signal
from tron.calls.tape import PART_MS, Entry, Head, Step, Tape, Untold, read

HEAD = Head(heard_rate=8_000, manner=Manner(greeting="Hello — it's Tony", waits=Waits(wait_ms=7)))

others = st.one_of(
    st.builds(Step, st.sampled_from(("start", "final", "turn", "mark")), st.integers(0, 9_999)),
    st.builds(s.PartialText, st.text()),
    st.builds(s.FinalText, st.text()),
    st.builds(s.Typed, st.text()),
    st.builds(s.Digit, st.sampled_from("12#")),
    st.builds(s.StartTalking),
    st.builds(s.StopTalking),
    st.builds(s.Interrupt),
    st.builds(s.AnswerText, st.integers(0, 500), st.text()),
    st.builds(s.AnswerWorking, st.integers(0, 500)),
    st.builds(s.AnswerOver, st.integers(0, 500), st.none() | st.text()),
    st.builds(s.SpeechFrames, st.integers(0, 500), st.just([b"", b""])),
    st.builds(s.SpeechOver, st.integers(0, 500), st.booleans()),
    st.builds(s.Played, st.integers(0, 500)),
    st.builds(s.WakeWord, st.booleans()),
    st.builds(s.Arm),
    st.builds(s.Remark, st.text(), st.integers(0, 500), st.text()),
    st.builds(s.HangUpAfter, st.text()),
    st.builds(s.Ended, st.text()),
    st.builds(s.Announce, st.text()),
    st.builds(s.TransferAfter, st.text()),
    st.builds(s.NotTransferred),
    st.builds(s.Tick),
    st.builds(s.Heard, st.just(b""), st.sampled_from((0.0, 1.0))),
)


def taped(entries: list[Entry]) -> list[bytes]:
    tape = Tape(HEAD)
    parts = [part for entry in entries if (part := tape.add(entry.what, entry.at)) is not None]
    return [*parts, tape.rest()]


@given(st.lists(st.tuples(st.integers(0, 200_000), others)))
def test_everything_comes_back_at_its_time(passed: list[tuple[int, Signal | Step]]) -> None:
    at, entries = 0, []
    for ms, what in passed:
        at += ms
        entries.append(Entry(at, what))
    head, found = read(taped(entries))
    assert head == HEAD
    # Neither half a character nor NUL can be stored, and neither is in the ledger.
    plain = [msgspec.json.decode(msgspec.json.encode(e).replace(b"\\u0000", b"")) for e in entries]
    assert [msgspec.json.decode(msgspec.json.encode(e)) for e in found] == plain
    assert [type(e.what) for e in found] == [type(e.what) for e in entries]


def test_there_is_no_signal_that_no_tape_takes() -> None:
    kinds = {*tape_module._KINDS, s.Heard, s.Tick}
    assert set(get_args(s.Signal)) == kinds - {Step}


def test_of_sound_only_remains_whether_somebody_spoke() -> None:
    sound = [Entry(20, s.Heard(b"loud", 0.7)), Entry(40, s.Heard(b"soft", 0.3))]
    _, found = read(taped(sound))
    assert [entry.what for entry in found] == [s.Heard(b"", 1.0), s.Heard(b"", 0.0)]


def test_it_is_small_and_hardly_anything_is_lost_with_a_hub() -> None:
    frames = [Entry(at + at % 3, s.Heard(b"", 0.9)) for at in range(0, 600_000, FRAME_MS)]
    parts = taped(frames)
    assert sum(map(len, parts)) < 50 * 600, "under 50 bytes a second"
    _, found = read(parts[:-1])
    assert found[-1].at > 600_000 - PART_MS - 2 * FRAME_MS


@pytest.mark.parametrize("parts", [[b"nonsense"], [], [taped([])[0][:-9]]])
def test_what_is_no_tape_is_said_to_be_none(parts: list[bytes]) -> None:
    with pytest.raises(Untold, match="can't be read"):
        read(parts)


def test_a_tape_of_another_version_is_not_guessed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = taped([])
    monkeypatch.setattr("tron.calls.tape.VERSION", 2)
    with pytest.raises(Untold, match="version 1, this program reads 2"):
        read(parts)
