"""A conversation in a few lines, by picking sentences: used when no model can be reached.

Keeps what matters for going on: facts told, wishes, promises, in the order they were said. A
summary that this module wrote earlier is taken in again, so a window can be folded repeatedly.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tron.brain.offline.words import content_words, tidy
from tron.conversation.turns import Message

_LONGEST_MESSAGE = 8_000
_LONGEST_LINE = 300
_MOST_CANDIDATES = 2_000

_FACT = re.compile(
    r"\b(?:my [\w' -]{1,30} (?:is|are|was)|i(?:'m| am) (?!not sure)|i (?:live|work|prefer|"
    r"have|was)|"
    r"call me|we (?:are|have|decided|agreed)|remember)\b",
    re.IGNORECASE,
)
_WISH = re.compile(
    r"\b(?:i (?:want|need|would like|'d like|wish|hope)|please|can you|could you|tell \w{1,30} |"
    r"ask \w{1,30} |make sure|let's|should we)\b|\?$",
    re.IGNORECASE,
)
_PROMISE = re.compile(r"\b(?:i'll|i will|i've|we'll|i have (?:taken|noted|kept|asked))\b", re.I)
_END = re.compile(r"(?<=[.!?…]) +|\n+")
_OWN = re.compile(r"^(Told|Wanted|Said|Promised|Answered): ", re.MULTILINE)

_WEIGHTS = {"Told": 5.0, "Promised": 4.0, "Wanted": 3.0, "Said": 1.0, "Answered": 0.5}


class _Line(NamedTuple):
    at: int
    kind: str
    text: str
    weight: float


def summarise(messages: Sequence[Message], limit_chars: int) -> str:
    """The telling sentences of `messages`, in order, in at most `limit_chars` characters.

    Each line starts with what it is: Told, Wanted, Said (by the person), Promised, Answered.
    """
    lines = _candidates(messages)
    chosen: list[_Line] = []
    seen: set[str] = set()
    left = limit_chars
    for line in sorted(lines, key=lambda line: (-line.weight, -line.at)):
        cost = len(line.kind) + 2 + len(line.text) + 1
        if line.text.lower() in seen or cost > left + 1:
            continue
        seen.add(line.text.lower())
        chosen.append(line)
        left -= cost
    chosen.sort(key=lambda line: line.at)
    return "\n".join(f"{line.kind}: {line.text}" for line in chosen)


def _candidates(messages: Sequence[Message]) -> list[_Line]:
    found: list[_Line] = []
    for place, message in enumerate(messages):
        for kind, text in _sentences(message):
            at = len(found)
            newer = place / max(1, len(messages))
            found.append(_Line(at, kind, text, _WEIGHTS[kind] + newer))
    return found[-_MOST_CANDIDATES:]


def _sentences(message: Message) -> list[tuple[str, str]]:
    text = message.content[:_LONGEST_MESSAGE]
    if _OWN.search(text) and message.role in ("system", "assistant"):
        return [
            (kind, line[:_LONGEST_LINE])
            for kind, _, line in (row.partition(": ") for row in text.splitlines())
            if kind in _WEIGHTS and line
        ]
    if message.role not in ("user", "assistant"):
        return []
    found = []
    for part in _END.split(text):
        line = tidy(part)
        if len(content_words(line)) < 1:
            continue
        if len(line) > _LONGEST_LINE:
            line = line[: _LONGEST_LINE - 1].rstrip() + "…"
        found.append((_kind(message.role, line), line))
    return found


def _kind(role: str, line: str) -> str:
    if role == "assistant":
        return "Promised" if _PROMISE.search(line) else "Answered"
    if line.endswith("?"):
        return "Wanted"
    if _FACT.search(line):
        return "Told"
    return "Wanted" if _WISH.search(line) else "Said"
