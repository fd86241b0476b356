"""Markdown, as models write it, turned into Slack's own form; and cutting what is too long.

Code is sacred: what stands in a fence or between backticks passes through with nothing but
Slack's three escapes (`&`, `<`, `>`), whatever it looks like. Pure functions over text.
"""

import re
from collections.abc import Callable

MESSAGE_CHARS = 3_800
"""of Markdown in one message; Slack advises 4,000 of its own"""

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)[^`\n]*$")
_CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(
    r"!?\[([^\[\]\n]*)\]\(((?:https?://|mailto:)[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)\)"
)
_BARE = re.compile(r"<?\b(https?://[^\s<>|]*[^\s<>|.,;:!?)'\"])>?")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_BULLET = re.compile(r"^(\s*)[-*+]\s+(?=\S)")
_TASK = re.compile(r"^\[([ xX])\]\s+")
_RULE = re.compile(r"^ {0,3}([-*_])(?:\s*\1){2,}\s*$")
_ROW = re.compile(r"^\s*\|.*\|\s*$")
_DIVIDER = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_BOTH = re.compile(r"\*\*\*(?=[^\s*])(.+?)(?<=[^\s*])\*\*\*")
_BOLD = re.compile(r"(\*\*|(?<!\w)__)(?=\S)(.+?)(?<=\S)\1(?!(?<=_)\w)")
_ITALIC = re.compile(r"(?<![\\*\w])\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*(?![*\w])")
_STRUCK = re.compile(r"~~(?=\S)(.+?)(?<=\S)~~")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!~>|])")
_HELD = re.compile("\ue000(\\d+)\ue001")


def mrkdwn(text: str) -> str:
    """`text` as Slack shows it."""
    out: list[str] = []
    prose: list[str] = []
    code: list[str] | None = None
    fence = ""

    def flush() -> None:
        if prose:
            out.append(_prose("\n".join(prose)))
            prose.clear()

    for line in text.split("\n"):
        opening = _FENCE.match(line)
        if code is None and opening:
            flush()
            code, fence = [], opening[1]
        elif code is not None and opening and _closes(line, fence):
            out.append(_block(code))
            code = None
        elif code is not None:
            code.append(line)
        else:
            prose.append(line)
    flush()
    if code is not None:  # still open: it is being written, or the model forgot
        out.append(_block(code))
    return "\n".join(out)


def escape(text: str) -> str:
    """Slack's three special characters, made plain."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    return mark[0] == fence[0] and len(mark) >= len(fence) and set(mark) == {fence[0]}


def _block(lines: list[str]) -> str:
    # Three backticks inside would end Slack's block early; a zero-width space keeps them apart.
    body = escape("\n".join(lines)).replace("```", "`\u200b``")
    return f"```\n{body}\n```"


def _prose(text: str) -> str:
    """Everything outside fences. What must not be touched again is held aside meanwhile."""
    held: list[str] = []

    def hold(shown: str) -> str:
        held.append(shown)
        return f"\ue000{len(held) - 1}\ue001"

    text = text.replace("\ue000", "").replace("\ue001", "")
    text = _CODE.sub(lambda found: hold(f"`{escape(found[2].strip())}`"), text)
    text = _ESCAPED.sub(lambda found: hold(escape(found[1])), text)
    text = _LINK.sub(lambda found: hold(_link(found[2], found[1])), text)
    text = _BARE.sub(lambda found: hold(f"<{escape(found[1])}>"), text)
    lines = _tables(text.split("\n"), hold)
    text = "\n".join(_line(line, hold) for line in lines)
    while _HELD.search(text):  # held things can lie in held things (code in a link)
        text = _HELD.sub(lambda found: held[int(found[1])], text)
    return text


def _link(url: str, label: str) -> str:
    label = escape(label.strip()).replace("|", "/")
    return f"<{escape(url)}|{label}>" if label and label != url else f"<{escape(url)}>"


def _line(line: str, hold: Callable[[str], str]) -> str:
    quote = ""
    while (stripped := line.lstrip()).startswith(">") and line[: len(line) - len(stripped)] in (
        "",
        " ",
    ):
        quote, line = "> ", stripped[1:].removeprefix(" ")
    if _RULE.match(line):
        return quote + "———"
    line = escape(line)
    if heading := _HEADING.match(line):
        return quote + f"*{_BOLD.sub(lambda found: found[2], heading[1])}*"
    if bullet := _BULLET.match(line):
        rest = _TASK.sub(lambda found: "☐ " if found[1] == " " else "☑ ", line[bullet.end() :])
        line = f"{bullet[1]}• {rest}"
    return quote + _inline(line, hold)


def _inline(line: str, hold: Callable[[str], str]) -> str:
    line = _BOTH.sub(lambda found: hold(f"*_{found[1]}_*"), line)
    line = _BOLD.sub(lambda found: hold("*" + _slanted(found[2]) + "*"), line)
    return _STRUCK.sub(lambda found: f"~{found[1]}~", _slanted(line))


def _slanted(text: str) -> str:
    return _ITALIC.sub(lambda found: f"_{found[1]}_", text)


def _tables(lines: list[str], hold: Callable[[str], str]) -> list[str]:
    """A Markdown table has no Slack form; as a block of code its columns at least line up."""
    out: list[str] = []
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and _ROW.match(lines[end]):
            end += 1
        if end - at >= 2 and _DIVIDER.match(lines[at + 1]):
            out.append(hold(_aligned(lines[at:end])))
            at = end
        else:
            out.append(lines[at])
            at += 1
    return out


def _aligned(rows: list[str]) -> str:
    cells = [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows]
    del cells[1]
    width = max(map(len, cells))
    columns = [max(len(row[i]) if i < len(row) else 0 for row in cells) for i in range(width)]
    lines = [
        "  ".join(cell.ljust(columns[i]) for i, cell in enumerate(row)).rstrip() for row in cells
    ]
    return "```\n" + escape("\n".join(lines)) + "\n```"


def split(text: str, limit: int = MESSAGE_CHARS) -> list[str]:
    """`text` in parts of at most `limit` characters or so, cut where a reader would.

    A part never changes once text beyond it is there, so an answer can be cut while it grows. A
    fence that is cut is closed and opened again in the next part.
    """
    parts: list[str] = []
    while len(text) > limit:
        cut = cut_at(text, limit, limit // 2)
        part, lead = part_at(text, cut)
        parts.append(part.rstrip())
        text = lead + text[cut:].lstrip("\n")
    if text.strip() or not parts:
        parts.append(text)
    return parts


def cut_at(text: str, limit: int, least: int) -> int:
    """Where to cut: after a paragraph, a line, a sentence or a word, as late as possible."""
    return line_end(text, limit, least) or _after((". ", " "), text, limit, least) or limit


def line_end(text: str, limit: int, least: int) -> int | None:
    """The end of the last paragraph or line within the limit; None if none is late enough."""
    return _after(("\n\n", "\n"), text, limit, least)


def _after(marks: tuple[str, ...], text: str, limit: int, least: int) -> int | None:
    for mark in marks:
        at = text.rfind(mark, 0, limit)
        if at > 0 and at + len(mark) >= least:
            return at + len(mark)
    return None


def part_at(text: str, cut: int) -> tuple[str, str]:
    """(`text` up to `cut`, what the next part begins with): a fence that is cut goes on there."""
    part = text[:cut]
    if not (fence := _open_fence(part)):
        return part, ""
    mark = _FENCE.match(fence)
    assert mark is not None
    return part + ("" if part.endswith("\n") else "\n") + mark[1], f"{fence}\n"


def _open_fence(text: str) -> str:
    """The line that opened the fence that is still open at the end; empty if none is."""
    opened = mark = ""
    for line in text.split("\n"):
        if found := _FENCE.match(line):
            if not opened:
                opened, mark = line.strip(), found[1]
            elif _closes(line, mark):
                opened = ""
    return opened
