"""Latency read from a ledger."""

from tron.calls.latency import TurnLatency, turns
from tron.calls.ledger import Line


def ledger(*entries: tuple[int, str, int, str, int]) -> list[Line]:
    return [
        Line(seq=seq, at=at, kind=kind, turn=turn, text=text, value=value)
        for seq, (at, kind, turn, text, value) in enumerate(entries)
    ]


def test_a_turn_and_its_stages() -> None:
    found = turns(
        ledger(
            (0, "started", 0, "", 0),
            (10, "say", 0, "Hello.", 0),
            (2_400, "commit", 0, "", 2_000),
            (2_460, "committed", 0, "hi", 0),
            (2_461, "turn_began", 1, "hi", 0),
            (2_600, "say", 1, "Well.", 0),
            (2_640, "first_audio", 1, "", 0),
            (2_700, "say", 1, "More.", 0),
            (5_000, "turn_over", 1, "", 0),
        )
    )
    assert found == [
        TurnLatency(
            turn=1,
            at=2_461,
            said="hi",
            ending="completed",
            waited_ms=400,
            recognised_ms=60,
            answered_ms=139,
            spoken_ms=40,
            total_ms=640,
        )
    ]


def test_what_a_turn_does_not_have_is_unknown() -> None:
    typed, failed = turns(
        ledger(
            (5, "turn_began", 1, "typed", 0),
            (6, "turn_dropped", 1, "", 0),
            (10, "commit", 0, "", 5),
            (11, "not_a_turn", 0, "", 0),
            (20, "turn_began", 2, "typed too", 0),
            (30, "answer_failed", 2, "overloaded", 0),
            (40, "turn_over", 2, "", 0),
        )
    )
    assert (typed.ending, typed.total_ms, typed.waited_ms) == ("interrupted", None, None)
    assert failed.ending == "failed"
    assert failed.waited_ms is None, "the commit before was of something that was no turn"
