"""The offline brain as a provider of answers; see the package.

Decides whether a turn is answered in words or by a tool, shapes the answer as the caller asked
(`response_format`, `tool_choice`, `stop`, token limits) and streams it. Callers: the brain's list
of providers, always last.
"""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from tron.brain.contract import Answering, Ask, Finish, Part, Parts, Text, ToolFragment, Used
from tron.brain.offline.actions import Action
from tron.brain.offline.fallback import NO_VIEW
from tron.brain.offline.plan import Plan
from tron.brain.offline.reading import Turn, read
from tron.brain.offline.schema import instance, written
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
        forced = _forced(turn)
        actions, text = ([forced], "") if forced else _decide(turn)
        spoken, reason = 0, "tool_calls" if actions else "stop"
        fragments: list[Part] = []
        for index, action in enumerate(actions):
            arguments = written(action.arguments)
            fragments.append(
                ToolFragment(
                    index=index,
                    id=_call_id(turn, index),
                    name=action.tool,
                    arguments=arguments,
                )
            )
            spoken += estimate(action.tool + arguments)
        if fragments:
            yield fragments
        limit = limit_of(ask.params)
        for piece in pieces("" if actions else _worded(turn, text)):
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


def _decide(turn: Turn) -> tuple[list[Action], str]:
    """Tool calls, or words."""
    if turn.ask.offline is not None and not turn.results:
        return [], turn.ask.offline
    plan = Plan(turn)
    calls = plan.calls()
    if calls:
        return calls, ""
    text = plan.text()
    reports = turn.reports.replace(NO_VIEW, "nothing, for want of a language model.")
    return [], f"{text}\nMeanwhile:\n{reports}" if reports else text


def _forced(turn: Turn) -> Action | None:
    """The call that `tool_choice` demands, unless its result is already there."""
    choice = turn.ask.params.get("tool_choice")
    if turn.results or not turn.may_call:
        return None
    if isinstance(choice, dict) and isinstance(allowed := choice.get("allowed_tools"), dict):
        choice = allowed.get("mode")
    name = ""
    if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        name = str(choice["function"].get("name", ""))
    elif choice == "required":
        meant = (action.tool for action in Plan(turn).calls() if action.tool in turn.tools)
        name = next(meant, next(iter(turn.tools)))
    if name not in turn.tools:
        return None
    schema = turn.tools[name]
    for wanted in Plan(turn).calls():
        if wanted.tool == name:
            return wanted
    made = instance({"type": "object", **schema}, turn.said.strip(), brief=True)
    return Action(name, made if isinstance(made, dict) else {})


def _call_id(turn: Turn, index: int) -> str:
    """The same for the same words at the same place, another anywhere else."""
    seed = f"{len(turn.ask.messages)}\n{turn.ask.agent}\n{index}\n{turn.said}"
    return f"call_{sha256(seed.encode('utf-8', 'replace')).hexdigest()[:24]}"


def _worded(turn: Turn, text: str) -> str:
    """`text` in the form and as far as the caller asked for it."""
    return until_stop(_shaped(turn, text), turn.ask.params.get("stop"))


def _shaped(turn: Turn, text: str) -> str:
    """`text` in the form the caller asked for; what it was handed to say is in its form."""
    if turn.ask.offline is not None and not turn.results:
        return text
    form: Any = turn.ask.params.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_object":
        return written({"reply": text})
    if kind == "json_schema":
        described = form.get("json_schema")
        schema = described.get("schema", {}) if isinstance(described, dict) else {}
        return written(instance(schema, text))
    return text
