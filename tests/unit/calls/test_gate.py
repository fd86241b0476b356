"""Whether an utterance is meant for the persona."""

import pytest

from tron.calls.gate import ARMED_MS, WINDOW_MS, Gate


def test_off_everything_is() -> None:
    assert Gate(("tony",)).admit("hello", 0) == ("hello", False)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Tony, what time is it?", "what time is it?"),
        ("hey Tony what time is it", "what time is it"),
        ("Okay, TONY! Stop.", "Stop."),
        ("tony", ""),
        ("Tonya is here", None),
        ("I met Tony", None),
        ("hello", None),
    ],
)
def test_it_begins_with_the_word(said: str, meant: str | None) -> None:
    assert Gate(("tony",), on=True).admit(said, 0) == (meant, meant is not None)


def test_the_window_and_its_renewal() -> None:
    gate = Gate(("tony",), on=True)
    gate.admit("Tony", 0)
    assert gate.admit("more", WINDOW_MS) == ("more", False)
    assert gate.admit("more", 2 * WINDOW_MS) == ("more", False)
    assert gate.admit("more", 3 * WINDOW_MS + 1) == (None, False)


def test_armed_for_one_utterance_and_then_the_window() -> None:
    gate = Gate(("tony",), on=True)
    gate.arm(0)
    assert gate.admit("late", ARMED_MS + 1) == (None, False)
    gate.arm(0)
    assert gate.admit("now", ARMED_MS) == ("now", False)
    assert gate.admit("and on", ARMED_MS + WINDOW_MS) == ("and on", False)


def test_whether_it_is_open_is_seen_without_changing_it() -> None:
    gate = Gate(("tony",))
    assert gate.open("hello", 0)
    gate.on = True
    assert not gate.open("hello", 0)
    assert gate.open("Tony, he", 0)
    assert gate.admit("hello", 0) == (None, False), "the window was not opened by looking"
    gate.arm(0)
    assert gate.open("", ARMED_MS)
    assert not gate.open("", ARMED_MS + 1)
    assert gate.admit("hello", ARMED_MS) == ("hello", False), "nor was it used up"
    assert gate.open("and", ARMED_MS + WINDOW_MS)
    assert not gate.open("and", ARMED_MS + WINDOW_MS + 1)


def test_words_are_words_not_patterns() -> None:
    gate = Gate(("t.ny", ""), on=True)
    assert gate.admit("tony hello", 0) == (None, False)
    assert gate.admit("t.ny hello", 0) == ("hello", True)
