"""Tables of markdown as they are read aloud: row by row, each value with the name of its column.

A table arrives in pieces, so what its columns are called is remembered between them. The line of
dashes is never spoken. No I/O; callers: the sentence cutter.
"""

import re

BEGINS = re.compile(r"\n(?=[ \t]*\|)")
"""the end of the line before a row"""
_RULE = re.compile(r"[ \t|:]*-{2,}[-:| \t]*")
_CELL = re.compile(r"(?<!\\)\|")


def is_row(text: str) -> bool:
    """Whether `text` begins a row of a table."""
    return text.lstrip(" \t").startswith("|")


class Table:
    """The table that is being read, if there is one."""

    def __init__(self) -> None:
        self._columns: list[str] = []
        self._head = ""
        """the line that names the columns"""
        self._ruled = False

    def spoken(self, text: str) -> str:
        """A piece of an answer with its rows as sentences; the rest as it is."""
        if "|" not in text:
            if text.strip():
                self._over()
            return text
        return "\n".join(self._line(line) for line in text.split("\n"))

    def take_back(self, text: str) -> None:
        """`text` was not said after all and will come again."""
        if self._head and self._head in text:
            self._over()

    def _over(self) -> None:
        self._columns, self._head, self._ruled = [], "", False

    def _line(self, line: str) -> str:
        if not is_row(line):
            if line.strip():
                self._over()
            return "" if "|" in line and _RULE.fullmatch(line) else line.replace(" | ", ", ")
        if _RULE.fullmatch(line):
            self._ruled = True
            return ""
        cells = [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip())]
        cells = cells[1:-1] if not cells[-1] else cells[1:]
        if not self._head:
            self._columns, self._head = cells, line
            return ""
        names, self._columns = self._columns, self._columns if self._ruled else []
        if not self._ruled:  # no names, but a row like the others
            return f"{_listed(names)} {_listed(cells)}" if names else _listed(cells)
        named = [*names, *[""] * len(cells)]
        pairs = zip(named, cells, strict=False)
        return _listed([f"{name}: {cell}" if name and cell else cell for name, cell in pairs])


def _listed(cells: list[str]) -> str:
    text = ", ".join(filter(None, cells))
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
