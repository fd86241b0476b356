"""A web page as text: what a reader sees of it, without what only a browser needs. Pure.

Headings, list items and links stay recognisable; scripts, styles and the like are left out. It
reads whatever it is given and never fails, because pages are seldom what they should be.
"""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

SKIPPED = frozenset(
    ("script", "style", "noscript", "template", "svg", "math", "iframe", "object", "canvas")
)
BLOCKS = frozenset(
    (
        *("p", "div", "section", "article", "main", "header", "footer", "nav", "aside", "ul", "ol"),
        *("table", "tr", "form", "fieldset", "blockquote", "pre", "figure", "figcaption", "dl"),
        *("dt", "dd", "address", "details", "summary", "hr", "li"),
    )
)
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
LINK_CHARS = 300

_SPACE = re.compile(r"[ \t\r\f\v\u00a0]+")
_LINES = re.compile(r"\s*\n\s*\n\s*")


def page_text(markup: str, base: str) -> tuple[str, str]:
    """(title, text) of a page; its links are completed with `base`."""
    reader = _Reader(base)
    reader.feed(markup)
    reader.close()
    return reader.title, tidy("".join(reader.pieces))


def tidy(text: str) -> str:
    """Without runs of spaces and empty lines."""
    lines = (_SPACE.sub(" ", line).strip() for line in text.splitlines())
    return _LINES.sub("\n\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._title: list[str] = []
        self._in_title = False
        self._skipped = 0
        self._pre = 0
        self._base = base
        self._links: list[str] = []

    @property
    def title(self) -> str:
        return " ".join("".join(self._title).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._in_title = not self._title
        elif tag == "body":
            self._skipped = 0  # whatever was left open before it
        elif tag in SKIPPED:
            self._skipped += 1
        elif self._skipped:
            return
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in HEADINGS:
            self.pieces.append(f"\n\n{HEADINGS[tag]} ")
        elif tag == "li":
            self.pieces.append("\n- ")
        elif tag in ("td", "th"):
            self.pieces.append(" | ")
        elif tag == "img":
            self._picture(dict(attrs))
        elif tag == "a":
            self._links.append(self._target(dict(attrs).get("href") or ""))
        elif tag in BLOCKS:
            self.pieces.append("\n\n" if tag not in ("tr", "dt", "dd") else "\n")
        self._pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in SKIPPED:
            self._skipped = max(0, self._skipped - 1)
        elif self._skipped:
            return
        elif tag == "a" and self._links:
            target = self._links.pop()
            self.pieces.append(f" ({target})" if target else "")
        elif tag in HEADINGS or (tag in BLOCKS and tag not in ("li", "tr", "dt", "dd")):
            self.pieces.append("\n\n")
        self._pre = max(0, self._pre - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self._title.append(data)
        elif not self._skipped:
            self.pieces.append(data if self._pre else " ".join(_words(data)))

    def _picture(self, attrs: dict[str, str | None]) -> None:
        if text := " ".join((attrs.get("alt") or "").split()):
            self.pieces.append(f"[{text}]")

    def _target(self, href: str) -> str:
        """Where a link leads, in full; empty where it is no address of a page."""
        try:
            target = urljoin(self._base, href.strip())
        except ValueError:
            return ""
        page = target.partition("#")[0] == self._base.partition("#")[0]
        fits = target.startswith(("http://", "https://")) and len(target) <= LINK_CHARS
        return target if fits and not page else ""


def _words(data: str) -> list[str]:
    """Split at white space, with an empty word at an end that had some."""
    words = data.split()
    if not words:
        return ["", ""] if data else []
    return [*([""] if data[0].isspace() else []), *words, *([""] if data[-1].isspace() else [])]
