"""The ask, read: who speaks, what was just said, what came before, what tools there are.

Everything the offline brain knows about a turn is here; it is built once a turn and passed on.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tron.brain.contract import Ask
from tron.brain.offline.chores import task_in
from tron.brain.offline.clauses import requests
from tron.brain.offline.followups import followed
from tron.brain.offline.intents import Intent, Known, key_of
from tron.brain.offline.voices import Speaker, name_of
from tron.brain.offline.words import as_fact, choose, content_words
from tron.conversation.turns import ToolCall

LOOK_BACK = 40
"""messages of the person that are searched for what they told earlier"""
FOLLOWED_BACK = 4
"""messages of the person that a follow-up may go back"""
RECENT = 10
"""messages whose wording is not used again while there is other"""
REPORTS = "Results of work you gave to colleagues; tell the caller:\n"
"""how conversation/delegation.py announces them"""
CAN_FOLLOW = frozenset("unknown question time no_weather foreign recall again".split())
LONGEST_LOOKED_AT = 1_000
"""characters; longer earlier messages are not searched"""
TELLING = ("told", "told_name", "remember", "remember_to")
_MADE_KEY = re.compile(r"-[0-9a-f]{6}$")
"""the end of a key that the tool `remember` made from the words of the fact"""


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
        """What tools answered since the person spoke, each with its call, if that came last."""
        messages = self.ask.messages
        if not messages or messages[-1].role != "tool":
            return []
        at = len(messages)
        while at and messages[at - 1].role != "user":
            at -= 1
        found: list[tuple[ToolCall, str]] = []
        calls: dict[str, ToolCall] = {}
        for message in messages[at:]:
            calls.update({call.id: call for call in message.tool_calls or ()})
            if message.role == "tool":
                unnamed = ToolCall(id="", name=message.name or "", arguments="{}")
                found.append((calls.get(message.tool_call_id or "", unnamed), message.content))
        return found

    @cached_property
    def intents(self) -> list[Intent]:
        """What the person asks for now, in order; what goes on from before is filled in."""
        if self.has("start_task") and (wish := task_in(self.said, self.known)):
            return [wish]
        found = requests(self.said, self.known)
        if len(found) > 1 or found[0].name not in CAN_FOLLOW:
            return found
        said = [m.content for m in self.ask.messages if m.role == "user"][-FOLLOWED_BACK - 1 : -1]
        earlier: list[Intent] = []
        earlier_text = ""
        for text in (text for text in said if len(text) <= LONGEST_LOOKED_AT):
            earlier = self._going_on(text, requests(text, self.known), earlier, earlier_text)
            earlier_text = text
        return self._going_on(self.said, found, earlier, earlier_text)

    def _going_on(
        self, text: str, found: list[Intent], earlier: list[Intent], earlier_text: str
    ) -> list[Intent]:
        if len(found) > 1 or found[0].name not in CAN_FOLLOW:
            return found
        meanings = (followed(text, old, earlier_text, self.known) for old in reversed(earlier))
        return next(([meaning] for meaning in meanings if meaning), found)

    @property
    def intent(self) -> Intent:
        """The first of `intents`."""
        return self.intents[0]

    @cached_property
    def told(self) -> list[Intent]:
        """Facts the person told in this conversation, newest first, without those that were to be
        forgotten later on."""
        texts = [m.content for m in self.ask.messages if m.role == "user"][-LOOK_BACK:]
        facts: list[Intent] = []
        forgotten: list[set[str]] = []
        for text in reversed(texts):
            found = requests(text, self.known) if len(text) <= LONGEST_LOOKED_AT else []
            for intent in reversed(found):
                if intent.name == "forget":
                    named = key_of(_MADE_KEY.sub("", intent.slots["text"])).split()
                    forgotten += [set(named)] if named else []
                elif intent.name in TELLING:
                    about = _words_of(intent)
                    facts += [] if any(named <= about for named in forgotten) else [intent]
        return facts

    @cached_property
    def explained(self) -> bool:
        """Whether it was already said in this conversation that there is no model."""
        return any(
            m.role == "assistant" and "language model" in m.content for m in self.ask.messages
        )

    @cached_property
    def colleague_asks(self) -> bool:
        """Whether another persona asks, not a person (conversation/delegation.py says so)."""
        return any(
            m.role == "system" and ", your colleague, asks you." in m.content
            for m in self.ask.messages
        )

    @cached_property
    def reports(self) -> str:
        """What came back from work given to colleagues, to be told to the person; "" if nothing."""
        for message in self.ask.messages:
            if message.role == "system" and REPORTS in message.content:
                return message.content.partition(REPORTS)[2].split("\n\n")[0].strip()
        return ""

    @cached_property
    def before(self) -> tuple[str, str]:
        """What the person said one turn earlier, and what was answered."""
        spoken = [m for m in self.ask.messages if m.role in ("user", "assistant") and m.content]
        if len(spoken) < 3 or spoken[-1].role != "user" or spoken[-2].role != "assistant":
            return "", ""
        answer = spoken[-2].content
        return next((m.content for m in reversed(spoken[:-2]) if m.role == "user"), ""), answer

    def pick(self, options: tuple[str, ...]) -> str:
        """One of `options`, always the same in this turn, if possible none said lately."""
        said = [m.content for m in self.ask.messages[-RECENT:] if m.role == "assistant"]
        fresh = tuple(o for o in options if not any(o in answer for answer in said))
        fresh = fresh or tuple(o for o in options if o not in self.before[1])
        return choose(fresh or options, self.number, self.said[:200])

    def called(self, who: str) -> str:
        """A persona's name for its id; anybody else as they were named."""
        for persona in self.colleagues:
            if persona.id == who:
                return name_of(persona)
        return who


def _words_of(fact: Intent) -> set[str]:
    """The words that a fact can be named by."""
    text = fact.slots["text"]
    return {*content_words(f"{text} {as_fact(text)}"), *fact.slots.get("key", "").split()}


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
