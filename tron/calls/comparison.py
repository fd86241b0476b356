"""Two ledgers of one call side by side: then and now, and where they part.

Lines belong together if they say the same thing in the same order; of those only times may differ.
"""

from difflib import SequenceMatcher
from typing import Literal

import msgspec

from tron.calls.ledger import Line

Mark = Literal["same", "moved", "gone", "new"]


class Pair(msgspec.Struct, frozen=True):
    """One row: a line of then, a line of now, or both."""

    mark: Mark
    then: Line | None
    now: Line | None

    @property
    def at(self) -> int:
        """ms on the media clock, of then where it was there."""
        line = self.then or self.now
        return line.at if line is not None else 0


def compare(then: list[Line], now: list[Line]) -> list[Pair]:
    """Every line of both, in order."""
    pairs: list[Pair] = []
    matcher = SequenceMatcher(None, [_said(a) for a in then], [_said(b) for b in now], False)
    for how, a, a_end, b, b_end in matcher.get_opcodes():
        if how == "equal":
            for old, new in zip(then[a:a_end], now[b:b_end], strict=True):
                same = (old.at, old.value) == (new.at, new.value)
                pairs.append(Pair("same" if same else "moved", old, new))
        else:
            pairs += [Pair("gone", line, None) for line in then[a:a_end]]
            pairs += [Pair("new", None, line) for line in now[b:b_end]]
    return pairs


def verdict(pairs: list[Pair]) -> str:
    """The first difference, in words; empty if there is none."""
    first = next((pair for pair in pairs if pair.mark != "same"), None)
    if first is None:
        return ""
    count = sum(pair.mark != "same" for pair in pairs)
    return f"from {first.at / 1000:.2f} s on, {count} of {len(pairs)} lines: {_first(first)}"


def _first(pair: Pair) -> str:
    then, now = pair.then, pair.now
    if then is None:
        return f"`{now.kind if now else ''}` was not there"
    if now is None:
        return f"`{then.kind}` does not come any more"
    if moved := now.at - then.at:
        return f"`{then.kind}` comes {abs(moved)} ms {'later' if moved > 0 else 'earlier'}"
    return f"`{then.kind}` measures {now.value} ms instead of {then.value}"


def _said(line: Line) -> tuple[str, int, str]:
    return line.kind, line.turn, line.text
