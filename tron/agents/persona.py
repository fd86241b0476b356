"""One persona and the file it comes from.

Owns what a persona file may say (`Persona`) and reading one (`parse`): Markdown with YAML front
matter, from bytes to a validated persona or to every fault in it, each with its line. It refuses
to guess: a file with one fault yields no persona. Nothing here touches the disk; the registry
does that and decides what happens to a persona whose file broke.

Front matter is read as plain text, not with YAML's own types: `12:00` is not the number 720 and
`no` is not False. What a value must be is said once, by the model below.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from tron.agents.tool_names import TOOL_NAMES

Activity = Literal["news", "goals", "team_check", "reflection", "journal", "post"]

MAX_BYTES = 64 * 1024
MAX_DEPTH = 8
"""how deep front matter may nest; the model needs three levels"""

ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
NAME = re.compile(r"[^\W_][\w .'-]{0,39}")
TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
FENCE = "---"
NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, order=True)
class PersonaFault:
    """What is wrong with a persona file, and where. Line 0: the folder, not a line of a file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


def _text(value: str) -> str:
    if not (stripped := value.strip()):
        raise ValueError("should not be empty")
    return stripped


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("should start with a letter or digit and be at most 40 characters long")
    return value


def _time(value: str) -> str:
    if not TIME.fullmatch(value):
        raise ValueError('should be a time from "00:00" to "23:59"')
    return value


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("should name each time once")
    return values


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", value):
        raise ValueError("should be an http or https address")
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # unknown, malformed, a folder of the zone database
        raise ValueError("should be an IANA time zone, such as Europe/London") from None
    return value


Text = Annotated[str, AfterValidator(_text)]
Times = Annotated[
    tuple[Annotated[str, AfterValidator(_time)], ...], Field(min_length=1), AfterValidator(_once)
]


class Feed(BaseModel):
    """Where a persona reads the news."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    url: Annotated[str, AfterValidator(_web_address)]
    kind: Literal["rss", "hackernews"] = "rss"
    """`rss`: RSS or Atom; `hackernews`: base URL of the Hacker News Firebase API"""
    limit: int = Field(default=15, ge=1, le=100)
    """newest entries looked at in one reading"""


class Persona(BaseModel):
    """Who answers. `docs/personas.md` describes each field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """stem of the file name"""
    name: Annotated[Text, AfterValidator(_name)]
    title: Text
    order: int = 100
    """place in every list; equal ones go by id"""
    focus: tuple[Text, ...] = Field(min_length=1)
    tone: Text
    voice: str = ""
    """voice id for the speech engine; empty: the engine's own"""
    emoji: str = ""
    model: Text | None = None
    """None: the hub's model"""
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    """None: the provider's own"""
    tools: tuple[Text, ...] | None = None
    """names of the tools it may use; None: every tool"""
    timezone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    life: dict[Activity, Times] = {}
    """local times of each activity, in `timezone`"""
    feeds: tuple[Feed, ...] = ()
    avoid: tuple[Text, ...] = ()
    """topics not read, matched as whole words"""
    goals: tuple[Text, ...] = ()
    """what it works towards at the start"""
    prompt: str
    """the Markdown below the front matter"""


class Parsed(NamedTuple):
    """What one file says: a persona, or the faults that keep it from being one."""

    persona: Persona | None
    faults: tuple[PersonaFault, ...]
    name_line: int = 1
    """where the file claims its name"""


def parse(file: str, raw: bytes, tools: Collection[str] = TOOL_NAMES) -> Parsed:
    """Read the persona file called `file` (`tony.md`). Never raises; reports every fault.

    `tools`: the names of those there are.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return Parsed(None, (PersonaFault(file, line, "is not UTF-8 text"),))
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    faults: list[PersonaFault] = []
    _check_file(file, raw, faults)
    end = _closing_fence(file, lines, faults)
    if faults:
        return Parsed(None, tuple(faults))
    front = _FrontMatter(file, "\n".join(lines[1:end]) + "\n")
    prompt = "\n".join(lines[end + 1 :]).strip()
    persona = front.persona(file.removesuffix(".md"), prompt)
    if persona is not None:
        front.check_tools(persona.tools or (), tools)
    if not prompt:
        front.fault(end + 1, "the prompt is missing: write it below the second `---`")
    if front.faults:
        return Parsed(None, tuple(sorted(front.faults)))
    return Parsed(persona, (), front.lines.get(("name",), 1))


def _check_file(file: str, raw: bytes, faults: list[PersonaFault]) -> None:
    if len(raw) > MAX_BYTES:
        faults.append(PersonaFault(file, 1, f"is longer than {MAX_BYTES // 1024} KiB"))
    if not ID.fullmatch(file.removesuffix(".md")):
        message = "the file name should be lower-case letters, digits, `-` and `_`, then `.md`"
        faults.append(PersonaFault(file, 1, message))


def _closing_fence(file: str, lines: list[str], faults: list[PersonaFault]) -> int:
    """Index of the line that ends the front matter; a fault if there is none."""
    if lines[0].rstrip() != FENCE:
        faults.append(PersonaFault(file, 1, "front matter is missing: line 1 should be `---`"))
        return 0
    for index, line in enumerate(lines[1:], start=1):
        if line.rstrip() == FENCE:
            return index
    faults.append(PersonaFault(file, 1, "front matter is not closed by a second `---` line"))
    return 0


Path = tuple[str | int, ...]


class _FrontMatter:
    """The YAML between the fences, with the line of every key and item."""

    def __init__(self, file: str, text: str) -> None:
        self.faults: list[PersonaFault] = []
        self.lines: dict[Path, int] = {}
        self._file = file
        self._text = text

    def fault(self, line: int, message: str) -> None:
        self.faults.append(PersonaFault(self._file, line, message))

    def persona(self, id: str, prompt: str) -> Persona | None:
        """The validated persona, or None with `faults` filled."""
        fields = self._fields()
        if fields is None:
            return None
        for key, source in (("id", "the file name"), ("prompt", "the text below")):
            if fields.pop(key, None) is not None:
                self.fault(self.lines[(key,)], f"`{key}` is given by {source}, not here")
        try:
            return Persona.model_validate({**fields, "id": id, "prompt": prompt})
        except ValidationError as error:
            for found in error.errors(include_url=False, include_input=False):
                self.fault(self._line_of(found["loc"]), _explain(found))
            return None

    def check_tools(self, named: tuple[str, ...], known: Collection[str]) -> None:
        """A fault for each tool that there is not."""
        for place, name in enumerate(named):
            if name not in known:
                close = get_close_matches(name, sorted(known), n=1)
                meant = f"; did you mean `{close[0]}`?" if close else ""
                self.fault(
                    self._line_of(("tools", place)), f"`tools[{place}]` is no tool: {name!r}{meant}"
                )

    def _fields(self) -> dict[str, Any] | None:
        """What is written, as text, lists and tables; None if it is not YAML."""
        try:
            loader = _PlainLoader(self._text)
        except yaml.reader.ReaderError as error:
            self.fault(self._line_at(error.position), "holds a character YAML does not allow")
            return None
        try:
            root = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            self._syntax_fault(error)
            return None
        except (ValueError, OverflowError):  # an escape such as "\UFFFFFFFF" is no character
            self.fault(self._line_at(loader.index), "holds an escape that is no character")
            return None
        if root is None:
            return {}
        if not isinstance(root, yaml.MappingNode):
            self.fault(self._line_at(root.start_mark.index), "should be `key: value` lines")
            return None
        fields: dict[str, Any] = self._value(root, ())
        return fields

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self.lines.setdefault(path, self._line_at(node.start_mark.index))
        if isinstance(node, yaml.MappingNode):
            return self._table(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)  # YAML has three kinds of nodes
        return self._scalar(node)

    def _table(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = self._line_at(key_node.start_mark.index)
            if not isinstance(key_node, yaml.ScalarNode):
                self.fault(line, "a key should be a word")
                continue
            if (key := self._scalar(key_node)) in table:
                self.fault(line, f"`{key}` is here twice")
            else:
                self.lines[(*path, key)] = line
                table[key] = self._value(value_node, (*path, key))
        return table

    def _scalar(self, node: yaml.ScalarNode) -> str:
        if node.style is None and node.value in NULLS:
            return ""  # to YAML nothing, here an empty value: no field takes it for its default
        value = str(node.value)
        if re.search("[\ud800-\udfff]", value):  # from an escape; it can't be written as UTF-8
            self.fault(self._line_at(node.start_mark.index), "holds half of a character pair")
            return "?"
        return value

    def _syntax_fault(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        message = f"is not YAML: {error.problem or error.context}"
        if error.context and error.context_mark:
            message += f", {error.context} from line {self._line_at(error.context_mark.index)}"
        self.fault(self._line_at(mark.index) if mark else 1, message)

    def _line_of(self, loc: tuple[int | str, ...]) -> int:
        """Line of the key or item at fault, or of the nearest thing around it."""
        path: Path = loc
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return 1

    def _line_at(self, index: int) -> int:
        # Counted here because YAML also ends lines where editors don't (U+0085, U+2028).
        # Front matter starts on line 2; what is missed at its very end belongs to its last line.
        return min(2 + self._text[:index].count("\n"), 1 + max(1, self._text.count("\n")))


class _PlainLoader(yaml.BaseLoader):
    """YAML where every scalar is text, with nothing that can grow: no aliases, a depth limit."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        if self._depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _explain(found: ErrorDetails) -> str:
    """One of pydantic's errors in the words of a persona file."""
    where = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}"
        for part in found["loc"]
        if part != "[key]"
    ).removeprefix(".")
    explain = _EXPLAIN.get(found["type"])
    problem = explain(found) if explain else found["msg"].replace("Input should", "should", 1)
    return f"`{where}` {problem}"


_EXPLAIN: dict[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda _: "is missing",
    "extra_forbidden": lambda _: "is not a known field",
    "value_error": lambda found: str(found["ctx"]["error"]),
    "tuple_type": lambda _: "should be a list",
    "too_short": lambda _: "should have at least one item",
    "string_type": lambda _: "should be text",
    "model_type": lambda _: "should be a table of `key: value` lines",
    "dict_type": lambda _: "should be a table of `key: value` lines",
}
