"""How quickly a call's turns were answered: a view of its ledger.

Measured from the audio: from the end of the last voiced frame of the caller to the persona's first
audio on its way. The stages say where the time went. What a turn does not have (typed, cut off
before it spoke) is None.
"""

from collections.abc import Iterable

import msgspec

from tron.calls.ledger import Line


class TurnLatency(msgspec.Struct, kw_only=True):
    """One turn; durations in ms, `at` on the call's media clock."""

    turn: int
    at: int
    said: str
    ending: str | None = None
    """`completed`, `interrupted`, `failed`; None: the call ended first, or it goes on"""
    waited_ms: int | None = None
    """after the caller's last sound, until the utterance was taken to be over"""
    recognised_ms: int | None = None
    answered_ms: int | None = None
    """until the persona's first words"""
    spoken_ms: int | None = None
    """from there to the first audio"""
    total_ms: int | None = None


def turns(lines: Iterable[Line]) -> list[TurnLatency]:
    """Every turn of a call, from its ledger in order."""
    found: dict[int, TurnLatency] = {}
    commit: Line | None = None
    committed: Line | None = None
    last_voiced: dict[int, int] = {}
    first_words: dict[int, int] = {}
    for line in lines:
        turn = found.get(line.turn)
        match line.kind:
            case "commit":
                commit, committed = line, None
            case "committed":
                committed = line
            case "turn_began":
                turn = found[line.turn] = TurnLatency(turn=line.turn, at=line.at, said=line.text)
                if commit is not None and committed is not None:
                    last_voiced[line.turn] = commit.value
                    turn.waited_ms = commit.at - commit.value
                    turn.recognised_ms = committed.at - commit.at
                commit = committed = None
            case "say" if turn is not None and line.turn not in first_words:
                first_words[line.turn] = line.at
                turn.answered_ms = line.at - turn.at
            case "first_audio" if turn is not None:
                if line.turn in first_words:
                    turn.spoken_ms = line.at - first_words[line.turn]
                if line.turn in last_voiced:
                    turn.total_ms = line.at - last_voiced[line.turn]
            case "turn_over" if turn is not None:
                turn.ending = turn.ending or "completed"
            case "turn_dropped" if turn is not None:
                turn.ending = turn.ending or "interrupted"
            case "answer_failed" if turn is not None:
                turn.ending = "failed"
    return list(found.values())
