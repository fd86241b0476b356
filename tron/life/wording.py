"""Small rules of text that several activities share: fit to store, fit to length, whole words."""

import re
import unicodedata
from collections.abc import Iterable

SENTENCE_CHARS = 200


def plain(text: str) -> str:
    """`text` on one line, without control characters or halves of characters.

    What comes from feeds and models goes on to other services: a lone surrogate can't be sent at
    all, and a control character means something else there.
    """
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    return " ".join(kept.split())


def lines(text: str) -> str:
    """`text` cleaned as by `plain`, line by line; blank lines go."""
    return "\n".join(line for raw in text.splitlines() if (line := plain(raw)))


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters, ending at a word and with an ellipsis if shortened."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    word_end = head.rfind(" ")
    if word_end > limit // 2:
        head = head[:word_end]
    return head.rstrip(" ,;:.–—-") + "…"


def first_sentence(text: str) -> str:
    """The first sentence of `text`, in at most `SENTENCE_CHARS` characters."""
    return cut(re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0], SENTENCE_CHARS)


def whole_words(words: Iterable[str], text: str) -> list[str]:
    """Those of `words` (or phrases) that stand in `text` as whole words, in any case."""
    return [
        word for word in words if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
    ]


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 article`, `3 articles`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last
