"""From text as a model writes it to pieces a voice can speak, the first one early.

Cuts at the ends of sentences, at clauses when a piece grows long, and never inside a word. What
can't be spoken (markdown, addresses, emoji, code) is turned into what a person would say. Each
piece keeps the very text it came from, so that what was heard can be told to the word.
"""

import re

import msgspec

from tron.calls.tables import BEGINS, Table, is_row
from tron.calls.writing import COMMAS, STOPS, WIDE_COMMAS, WIDE_STOPS

FIRST_CHARS = 24
NEXT_CHARS = 60
CLAUSE_CHARS = 90
LONGEST_CHARS = 240

_SYLLABLES = re.compile("[\u3040-\u9fff\uac00-\ud7af]")
LETTERS = 3  # that take as long to say as one character of Chinese, Japanese or Korean

_END = re.compile(
    rf"[{STOPS}…]+[\"')\]]*(?=\s)|[{WIDE_STOPS}]+[”’」』）\"')\]]*|[:;؛](?=\s)|[：；]|\n"
)
_CLAUSE = re.compile(rf"[{COMMAS}–—](?=\s)|[{WIDE_COMMAS}]")
_ABBREVIATION = re.compile(r"(?:^|\s)(?:Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e|No|[A-Z])\.$")


class Piece(msgspec.Struct, frozen=True):
    """A part of an answer: as it was written, and as it is spoken (may be empty)."""

    text: str
    spoken: str


class Sentences:
    """Cuts one answer, as it arrives."""

    def __init__(self) -> None:
        self._rest = ""
        self._first = True
        self._table = Table()

    @property
    def held(self) -> str:
        """What of the answer was not cut yet."""
        return self._rest

    def add(self, text: str) -> list[Piece]:
        """More of the answer; the pieces that are complete now."""
        self._rest += text
        pieces = []
        while (cut := self._cut()) is not None:
            pieces.append(self._take(cut))
        return pieces

    def hold(self, text: str) -> None:
        """More of the answer, not to be cut yet."""
        self._rest += text

    def take_back(self, text: str) -> list[Piece]:
        """`text` was cut but not said: it comes before what is still held."""
        self._table.take_back(text)
        self._rest = text + self._rest
        return self.add("")

    def end(self) -> list[Piece]:
        """The answer is over; what is left of it."""
        return [self._take(len(self._rest))] if self._rest else []

    def _take(self, cut: int) -> Piece:
        text, self._rest = self._rest[:cut], self._rest[cut:]
        spoken = speakable(self._table.spoken(text))
        self._first = self._first and not spoken
        return Piece(text, spoken)

    def _cut(self) -> int | None:
        """Where the next piece ends, or None if it must wait for more."""
        if self._rest.count("```") % 2:  # inside code: wait for its end
            return None
        if is_row(self._rest) and len(self._rest) < LONGEST_CHARS:
            return self._rest.find("\n") + 1 or None  # a row is read as a whole
        length = LETTERS if _SYLLABLES.search(self._rest) else 1
        least = (FIRST_CHARS if self._first else NEXT_CHARS) // length
        table = BEGINS.search(self._rest)
        for match in _END.finditer(self._rest):
            end = match.end()
            if table is not None and end > table.end():
                break
            if _ABBREVIATION.search(self._rest[: match.end()].rstrip("\"')]")):
                continue
            if end >= least or (self._first and match.group() != "\n"):
                return end
        if table is not None:
            return table.end()
        if len(self._rest) * length >= CLAUSE_CHARS:
            for match in _CLAUSE.finditer(self._rest, least):
                return match.end()
        if len(self._rest) >= LONGEST_CHARS:
            space = self._rest.rfind(" ", least, LONGEST_CHARS)
            return space + 1 if space > 0 else LONGEST_CHARS
        return None


_CODE = re.compile(r"```.*?(?:```|$)", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]{0,300})\]\([^)\s]{0,2000}\)")
_ADDRESS = re.compile(r"(?:https?://|\bwww\.)(?:www\.)?([^\s/)>\]]{1,200})[^\s)>\]]*")
_MARKS = re.compile(r"(?m)^\s{0,3}(?:#{1,6}|>|[-*+]|\d{1,3}[.)])\s+|[*_`~|]+")
_PICTURES = re.compile(
    "[\U0001f000-\U0001faff\U00002600-\U000027bf\U0001f1e6-\U0001f1ff\u2190-\u21ff\ufe0f\u200d]+"
)
_SPACE = re.compile(r"\s+")


def speakable(text: str) -> str:
    """`text` as it is said aloud; empty if there is nothing to say."""
    text = _CODE.sub(" (there is code on the screen) ", text)
    text = _LINK.sub(r"\1", text)
    text = _ADDRESS.sub(r"\1", text)
    text = _MARKS.sub(" ", text)
    text = _PICTURES.sub(" ", text)
    text = _SPACE.sub(" ", text).strip()
    return text if any(char.isalnum() for char in text) else ""
