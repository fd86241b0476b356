"""The ask, read: who speaks, what was just said, what came before, what tools there are.

Everything the offline brain knows about a turn is here; it is built once a turn and passed on.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tron.brain.contract import Ask
from tron.brain.offline.intents import Intent, Known, understand
from tron.brain.offline.voices import Speaker, name_of
from tron.brain.offline.words import choose
from tron.conversation.turns import ToolCall

LOOK_BACK = 40
"""messages of the person that are searched for what they told earlier"""
LONGEST_LOOKED_AT = 1_000
"""characters; longer earlier messages are not searched"""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation, as the offline brain sees it."""

    ask: Ask
    speaker: Speaker | None
    colleagues: list[Speaker]
    known: Known
    model_configured: bool

    @cached_property
    def said(self) -> str:
        """The last thing the person said."""
        return next((m.content for m in reversed(self.ask.messages) if m.role == "user"), "")

    @cached_property
    def number(self) -> int:
        """How many times the person has spoken, this one included."""
        return sum(message.role == "user" for message in self.ask.messages)

    @cached_property
    def tools(self) -> dict[str, dict[str, Any]]:
        """The functions offered: name → its JSON schema."""
        found = {}
        for tool in self.ask.tools:
            function = tool.get("function") if isinstance(tool, dict) else None
            if isinstance(function, dict) and isinstance(function.get("name"), str):
                schema = function.get("parameters")
                found[function["name"]] = schema if isinstance(schema, dict) else {}
        return found

    @cached_property
    def may_call(self) -> bool:
        return bool(self.tools) and self.ask.params.get("tool_choice") != "none"

    def has(self, tool: str) -> bool:
        return self.may_call and tool in self.tools

    @cached_property
    def results(self) -> list[tuple[ToolCall, str]]:
        """The tool results at the end of the messages, each with the call it answers."""
        messages = self.ask.messages
        at = len(messages)
        while at and messages[at - 1].role == "tool":
            at -= 1
        calls = {
            call.id: call
            for message in messages[max(0, at - 1) : at]
            for call in message.tool_calls or ()
        }
        return [
            (
                calls.get(message.tool_call_id or "")
                or ToolCall(id="", name=message.name or "", arguments="{}"),
                message.content,
            )
            for message in messages[at:]
        ]

    @cached_property
    def intent(self) -> Intent:
        return understand(self.said, self.known)

    @cached_property
    def told(self) -> list[Intent]:
        """Facts the person told earlier in this conversation, newest first."""
        earlier = [m.content for m in self.ask.messages[:-1] if m.role == "user"][-LOOK_BACK:]
        facts = [
            understand(text, self.known)
            for text in reversed(earlier)
            if len(text) <= LONGEST_LOOKED_AT
        ]
        return [f for f in facts if f.name in ("told", "told_name", "remember", "remember_to")]

    @cached_property
    def before(self) -> tuple[str, str]:
        """What the person said one turn earlier, and what was answered."""
        spoken = [m for m in self.ask.messages if m.role in ("user", "assistant") and m.content]
        if len(spoken) < 3 or spoken[-1].role != "user" or spoken[-2].role != "assistant":
            return "", ""
        answer = spoken[-2].content
        return next((m.content for m in reversed(spoken[:-2]) if m.role == "user"), ""), answer

    def pick(self, options: tuple[str, ...]) -> str:
        return choose(options, self.number, self.said[:200])

    def called(self, who: str) -> str:
        """A persona's name for its id; anybody else as they were named."""
        for persona in self.colleagues:
            if persona.id == who:
                return name_of(persona)
        return who


def read(
    ask: Ask,
    personas: Callable[[str], Speaker | None],
    roster: Callable[[], list[str]],
    model_configured: bool,
) -> Turn:
    """Look at `ask` once."""
    speaker = personas(ask.agent) if ask.agent else None
    everyone = [p for p in map(personas, roster()) if p is not None]
    names: dict[str, str] = {}
    for persona in everyone:
        for spoken in {persona.id, persona.name, persona.name.split(" ")[0]}:
            names.setdefault(spoken.lower(), persona.id)
    me = {spoken for spoken, persona_id in names.items() if persona_id == ask.agent}
    return Turn(
        ask=ask,
        speaker=speaker,
        colleagues=everyone,
        known=Known(names=names, me=frozenset(me)),
        model_configured=model_configured,
    )


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """The arguments of a call, `{}` if they are no JSON object."""
    try:
        found = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
