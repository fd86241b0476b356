"""A caller's parameters, as they change from one round of thinking to the next.

OpenAI's parameters are about one answer of a model; a turn of the hub may take several. Owns what
that means for the choice of tools, the form of the answer and its limit. No I/O; `Thinking` calls
it.
"""

from typing import Any

from tron.brain.contract import LIMITS

Params = dict[str, Any]


def tool_name(definition: dict[str, Any]) -> str:
    """The name in a tool's definition, or in a choice of one; empty if there is none."""
    body = definition.get(str(definition.get("type", "function")))
    return str(body.get("name", "")) if isinstance(body, dict) else ""


def demanded(params: Params, theirs: set[str]) -> bool:
    """Whether the caller demands a call of one of its own tools, whose names are `theirs`."""
    choice = params.get("tool_choice")
    if isinstance(choice, dict) and isinstance(allowed := choice.get("allowed_tools"), dict):
        choice = allowed.get("mode")
    if isinstance(choice, dict):
        return tool_name(choice) in theirs
    return choice == "required" and bool(theirs)


def free_choice(params: Params) -> Params:
    """After a first round of tools a forced choice has been served; keeping it would loop."""
    if isinstance(params.get("tool_choice"), dict) or params.get("tool_choice") == "required":
        return {k: v for k, v in params.items() if k != "tool_choice"}
    return params


def without_tools(params: Params) -> Params:
    """For a round in which no tools are offered."""
    return {k: v for k, v in params.items() if k not in ("tool_choice", "parallel_tool_calls")}


def has_form(params: Params) -> bool:
    """Whether the answer is to be JSON."""
    form = params.get("response_format")
    return isinstance(form, dict) and form.get("type") in ("json_object", "json_schema")


def with_less(params: Params, said: int) -> Params:
    """After `said` tokens of the answer: its limit is of the whole, so the next rounds get less."""
    limits = {name: params[name] for name in LIMITS if isinstance(params.get(name), int)}
    return params | {name: max(limit - said, 0) for name, limit in limits.items()}


def all_said(params: Params) -> bool:
    """Whether nothing is left of the limit."""
    return any(params.get(name) == 0 for name in LIMITS)
