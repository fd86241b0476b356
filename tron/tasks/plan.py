"""Plans: checked before anything is done, and filled with results while they are done. Pure.

A plan is a list of steps, each a call of one tool. `checked` refuses what can't be carried out;
`fill` puts the results of earlier steps into the arguments of a later one, once and as text, so a
result is never read as a reference of its own; `prompt` asks a person about exactly one step.

`{{n1}}` stands for the result of step n1, `{{n1:300}}` for its first 300 characters.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from tron.errors import Invalid
from tron.storage.text import storable
from tron.tasks.contract import Effect, PlannedStep, Step

MOST_STEPS = 12
TITLE_CHARS = 200
ARGUMENTS_CHARS = 64_000
"""of one step, as JSON"""
DEEPEST = 16
RESULT_CHARS = 8_000
"""of one result, where it is put into arguments"""
FILLED_CHARS = 32_000
"""of all results put into the arguments of one step"""

_NODE = re.compile(r"n[1-9][0-9]{0,2}")
_REFERENCE = re.compile(r"\{\{ ?(n[1-9][0-9]{0,2})(?: ?: ?([1-9][0-9]{0,4}))? ?\}\}")


def checked(
    steps: Sequence[PlannedStep],
    effects: Callable[[str], Effect | None],
    *,
    done: Collection[str] = (),
) -> tuple[PlannedStep, ...]:
    """The plan in an order in which it can be done, with every need written down.

    `effects` knows the tools: None for one that isn't there. `done`: nodes of steps before these,
    whose results may be used. Raises Invalid.
    """
    if not 1 <= len(steps) <= MOST_STEPS:
        raise Invalid(f"A plan has 1 to {MOST_STEPS} steps; this one has {len(steps)}.")
    known = set(done)
    for step in steps:
        if not _NODE.fullmatch(step.node):
            raise Invalid(f"Steps are called n1, n2 and so on; {step.node[:16]!r} is no such name.")
        if step.node in known:
            raise Invalid(f"Two steps are called {step.node}.")
        known.add(step.node)
    complete = [_complete(step, effects, known) for step in steps]
    return _ordered(complete, set(done))


def _complete(
    step: PlannedStep, effects: Callable[[str], Effect | None], known: set[str]
) -> PlannedStep:
    """The step with all its needs. Raises Invalid."""
    if effects(step.tool) is None:
        raise Invalid(f"Step {step.node} wants the tool {step.tool[:64]!r}, which is not there.")
    _check_arguments(step)
    needs = tuple(dict.fromkeys((*step.needs, *references(step.arguments))))
    for need in needs:
        if need not in known:
            raise Invalid(f"Step {step.node} needs {need[:16]!r}, which is no step of the plan.")
        if need == step.node:
            raise Invalid(f"Step {step.node} needs itself.")
    title = " ".join(storable(step.title).split()) or step.tool.replace("_", " ")
    if len(title) > TITLE_CHARS:
        title = f"{title[: TITLE_CHARS - 1]}…"
    return msgspec.structs.replace(step, title=title, needs=needs)


def _check_arguments(step: PlannedStep) -> None:
    if _depth(step.arguments) > DEEPEST:
        raise Invalid(f"The arguments of step {step.node} are nested too deep.")
    try:
        size = len(_canonical(step.arguments))
        msgspec.json.encode(step.arguments)
    except (TypeError, ValueError) as error:
        raise Invalid(f"The arguments of step {step.node} are no JSON: {error}") from None
    if size > ARGUMENTS_CHARS:
        raise Invalid(f"The arguments of step {step.node} are longer than {ARGUMENTS_CHARS}.")


def _depth(value: Any) -> int:
    """How deep `value` is nested; just over the limit for anything deeper."""
    depth, level = 0, [value]
    while level and depth <= DEEPEST:
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list | tuple):
                inner += item
        depth, level = depth + 1, inner
    return depth


def _ordered(steps: list[PlannedStep], done: set[str]) -> tuple[PlannedStep, ...]:
    """Each step behind those it needs, else as given. Raises Invalid for a cycle."""
    ordered: list[PlannedStep] = []
    waiting = list(steps)
    while waiting:
        ready = next((step for step in waiting if done.issuperset(step.needs)), None)
        if ready is None:
            names = ", ".join(step.node for step in waiting)
            raise Invalid(f"The steps {names} wait for each other.")
        waiting.remove(ready)
        ordered.append(ready)
        done = done | {ready.node}
    return tuple(ordered)


def references(value: Any) -> list[str]:
    """The nodes whose results `value` wants, in order, each once."""
    found: dict[str, None] = {}
    for text in _texts(value):
        found.update(dict.fromkeys(node for node, _ in _REFERENCE.findall(text)))
    return list(found)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return []


def fill(arguments: Mapping[str, Any], results: Mapping[str, str]) -> dict[str, Any]:
    """`arguments` with results in the place of their references; too long ones are cut and say
    so. Raises Invalid for a reference whose result isn't there."""
    filling = _Filling(results)
    return {key: filling.filled(value) for key, value in arguments.items()}


class _Filling:
    """One step's arguments being filled."""

    def __init__(self, results: Mapping[str, str]) -> None:
        self._results = results
        self._left = FILLED_CHARS

    def filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return _REFERENCE.sub(self._result, value)
        if isinstance(value, dict):
            return {key: self.filled(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.filled(item) for item in value]
        return value

    def _result(self, found: re.Match[str]) -> str:
        node, limit = found.groups()
        if node not in self._results:
            raise Invalid(f"There is no result of {node}.")
        text = self._results[node]
        if limit is not None and len(text) > int(limit):
            text = f"{text[: int(limit) - 1]}…"
        kept = text[: min(RESULT_CHARS, self._left)]
        self._left -= len(kept)
        if len(kept) == len(text):
            return text
        return f"{kept}… (cut, {len(text) - len(kept)} more characters)"


def graph(steps: Sequence[Step]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """(nodes, edges) of `task_plan_graph`; an edge leads from what is needed."""
    nodes = [
        {
            "id": step.node,
            "title": step.title,
            "tool": step.tool,
            "effect": step.effect,
            "status": step.status,
        }
        for step in steps
    ]
    edges = [{"from": need, "to": step.node} for step in steps for need in step.needs]
    return nodes, edges


def digest(tool: str, arguments: Mapping[str, Any]) -> str:
    """SHA-256 of one action, the same whatever the order of its arguments."""
    return hashlib.sha256(_canonical([tool, arguments]).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


# What a person is asked

SHOWN_CHARS = 600
"""of one argument, in a question; the rest is left out in its middle, and it says how much"""

_ASKED = {
    "send_sms": "send a text message to {to}, saying {text}",
    "send_slack_message": "write to {channel} in Slack: {text}",
    "place_call": "call {to} and say {message}",
    "run_command": "run the command {command}",
    "write_file": "write the file {path}, holding {content}",
    "ask_persona": "ask {persona}: {question}",
    "delegate_task": "give {persona} this to do: {task}",
    "take_message": "leave {to} the message {message}",
    "remember": "remember {fact}",
    "forget": "forget {key}",
    "web_search": "search the web for {query}",
    "fetch_page": "fetch the page {url}",
}
_FIELD = re.compile(r"\{(\w+)\}")
_SECRET_NAME = re.compile(
    r"passw|secret|token|api_?key|authori[sz]ation|credential|private_?key", re.IGNORECASE
)
_SECRET = re.compile(
    r"(?:(?<=bearer )|(?<=password=)|(?<=token=)|(?<=secret=)|(?<=key=))[^\s\"'&]{6,}"
    r"|\b(?:sk|pk|rk|xox[abprs]|xapp|gh[pousr]|glpat|AKIA)[-_A-Z0-9][A-Za-z0-9_-]{8,}"
    r"|\b(?=[A-Za-z0-9_+=-]*[0-9])(?=[A-Za-z0-9_+=-]*[A-Za-z])[A-Za-z0-9_+=-]{40,}",
    re.IGNORECASE,
)
_LINES = re.compile(r"\s*\n\s*")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def prompt(tool: str, arguments: Mapping[str, Any]) -> str:
    """What a person is asked before this is done: a sentence to be spoken or read, which says
    everything that would be done. What looks like a secret is hidden, and long text shortened so
    that it shows."""
    shown = {name: _shown(name, value) for name, value in arguments.items() if _says(value)}
    wanted = _FIELD.findall(_ASKED.get(tool, ""))
    if wanted and all(name in shown for name in wanted):
        said = _FIELD.sub(lambda field: shown.pop(field[1]), _ASKED[tool])
    else:
        said = f"use {tool.replace('_', ' ')}"
    rest = [f"{name.replace('_', ' ')} {value}" for name, value in shown.items()]
    with_rest = f"{said}, with {' and '.join(rest)}" if rest else said
    return f"May I {' '.join(_UNSEEN.sub('', with_rest).split())}?"


def _says(value: Any) -> bool:
    """Whether an argument says anything; what was left out need not be read to anybody."""
    return value is not None and value is not False and value not in ("", [], {})


def _shown(name: str, value: Any) -> str:
    if _SECRET_NAME.search(name):
        return "(hidden)"
    if isinstance(value, str):
        return f"“{_short(_SECRET.sub(_masked, _UNSEEN.sub('', value).strip()))}”"
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return " ".join(_shown(name, item) for item in value[:MOST_STEPS]) + (
            f" and {len(value) - MOST_STEPS} more" if len(value) > MOST_STEPS else ""
        )
    if isinstance(value, dict):
        inner = {key: _shown(str(key), item) for key, item in value.items()}
        return _short(", ".join(f"{key} {item}" for key, item in inner.items()))
    return _short(_SECRET.sub(_masked, json.dumps(value, ensure_ascii=False, default=str)))


def _masked(secret: re.Match[str]) -> str:
    return f"{secret.group()[:4]}… (hidden)"


def _short(text: str) -> str:
    """One line; of what is too long the beginning and the end."""
    line = " ".join(_LINES.sub(" (new line) ", text).split())
    if len(line) <= SHOWN_CHARS:
        return line
    head, tail = SHOWN_CHARS * 3 // 4, SHOWN_CHARS // 4
    left_out = len(line) - head - tail
    return f"{line[:head]}… ({left_out} characters left out) …{line[-tail:]}"
