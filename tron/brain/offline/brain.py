"""The offline brain as a provider of answers; see the package.

Decides whether a turn is answered in words or by a tool, shapes the answer as the caller asked
(`response_format`, `tool_choice`, `stop`, token limits) and streams it. Callers: the brain's list
of providers, always last.
"""

import asyncio
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

from tron.brain.contract import Answering, Ask, Finish, Parts, Text, ToolFragment, Used
from tron.brain.offline.actions import Action, action_for, follow_up
from tron.brain.offline.intents import Intent
from tron.brain.offline.phrasing import (
    OFFER_ASK,
    OFFER_MESSAGE,
    OFFER_REMEMBER,
    answer,
    not_possible,
    without_tool,
)
from tron.brain.offline.reading import Turn, read
from tron.brain.offline.results import phrase
from tron.brain.offline.schema import fitted, instance, written
from tron.brain.offline.speaking import limit_of, pieces, until_stop
from tron.brain.offline.voices import Speaker
from tron.brain.tokens import estimate, estimate_messages
from tron.conversation.turns import Usage


class OfflineBrain:
    """Deterministic, never fails, needs nothing. See the package."""

    name = "offline"

    def __init__(
        self,
        personas: Callable[[str], Speaker | None],
        roster: Callable[[], list[str]],
        *,
        model_configured: bool = False,
    ) -> None:
        """`personas` finds one by id, `roster` lists the ids in order; both are asked each turn.

        `model_configured`: there is a model that failed, so the advice to set one would be wrong.
        """
        self._personas = personas
        self._roster = roster
        self._model_configured = model_configured

    async def stream(self, ask: Ask) -> Parts:
        """Never raises."""
        yield [Answering(provider=self.name, model="offline")]
        turn = read(ask, self._personas, self._roster, self._model_configured)
        spoken = 0
        action = _forced(turn)
        text = ""
        if action is None:
            action, text = _decide(turn)
        if action is not None:
            arguments = written(action.arguments)
            yield [ToolFragment(index=0, id=_call_id(turn), name=action.tool, arguments=arguments)]
            spoken, reason = estimate(action.tool + arguments), "tool_calls"
        else:
            reason = "stop"
            limit = limit_of(ask.params)
            for piece in pieces(until_stop(_shaped(turn, text), ask.params.get("stop"))):
                if spoken == limit:
                    reason = "length"
                    break
                spoken += 1
                yield [Text(piece)]
                await asyncio.sleep(0)  # others have work to do while a long answer is read out
        usage = Usage(
            input_tokens=estimate_messages(ask.messages), output_tokens=spoken, estimated=True
        )
        yield [Finish(reason), Used(usage=usage)]

    async def close(self) -> None:
        pass


class _Decision(NamedTuple):
    action: Action | None
    text: str = ""


def _decide(turn: Turn) -> _Decision:
    """A tool call, or words."""
    if turn.results:
        action = follow_up(turn) if turn.may_call else None
        return _Decision(action, "" if action else phrase(turn))
    if turn.ask.offline is not None:
        return _Decision(None, turn.ask.offline)
    intent = _meant(turn)
    action = action_for(turn, intent)
    if action is None:
        return _Decision(None, not_possible(turn, intent) or answer(turn, intent))
    if not turn.has(action.tool):
        return _Decision(None, without_tool(turn, intent, action.tool))
    arguments = fitted(action.arguments, turn.tools[action.tool], turn.said)
    return _Decision(Action(action.tool, arguments))


_OFFERED = tuple(
    (name, re.compile(re.escape(offer).replace(re.escape("{name}"), r"(?P<who>[^?]{1,40})")))
    for name, offer in (
        ("message", OFFER_MESSAGE),
        ("ask", OFFER_ASK),
        ("remember", OFFER_REMEMBER),
    )
)


def _meant(turn: Turn) -> Intent:
    """The intent; a bare yes takes up what was offered one turn earlier."""
    if turn.intent.name != "yes":
        return turn.intent
    earlier, offer = turn.before
    for name, pattern in _OFFERED:
        found = pattern.search(offer[-2_000:])
        if found and earlier:
            slots = {"text": earlier}
            if who := found.groupdict().get("who"):
                slots["who"] = turn.known.names.get(who.lower(), who)
            return Intent(name, slots)
    return turn.intent


def _forced(turn: Turn) -> Action | None:
    """The call that `tool_choice` demands, unless its result is already there."""
    choice = turn.ask.params.get("tool_choice")
    if turn.results or not turn.may_call:
        return None
    name = ""
    if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        name = str(choice["function"].get("name", ""))
    elif choice == "required":
        wanted = action_for(turn, _meant(turn))
        name = wanted.tool if wanted and turn.has(wanted.tool) else next(iter(turn.tools))
    if name not in turn.tools:
        return None
    schema = turn.tools[name]
    wanted = action_for(turn, _meant(turn))
    if wanted and wanted.tool == name:
        return Action(name, fitted(wanted.arguments, schema, turn.said))
    made = instance({"type": "object", **schema}, turn.said.strip(), brief=True)
    return Action(name, made if isinstance(made, dict) else {})


def _call_id(turn: Turn) -> str:
    """The same for the same words at the same place, another anywhere else."""
    seed = f"{len(turn.ask.messages)}\n{turn.ask.agent}\n{turn.said}"
    return f"call_{sha256(seed.encode('utf-8', 'replace')).hexdigest()[:24]}"


def _shaped(turn: Turn, text: str) -> str:
    """`text` in the form the caller asked for."""
    form: Any = turn.ask.params.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_object":
        return written({"reply": text})
    if kind == "json_schema":
        described = form.get("json_schema")
        schema = described.get("schema", {}) if isinstance(described, dict) else {}
        return written(instance(schema, text))
    return text
