"""The gate: what a persona wants to do in the middle of a conversation, judged before it is done.

A tool that the policy allows runs at once; one that needs asking becomes a task of that single
step, which waits for a person's approval like every other; one that is denied is refused. The
tools of the wire itself (ending the call, the client's own) are the caller's line and need no
approval, but what is denied is denied there too. Callers: the toolbox, outside tasks.
"""

import hashlib
from collections import OrderedDict
from typing import Any, Protocol

import msgspec

from tron.errors import StorageUnavailable
from tron.tasks.contract import Decision, NewTask, PlannedStep, Status
from tron.tasks.desk import Created
from tron.tasks.policy import DOES, Policies
from tron.tools.contract import Tool, ToolContext, ToolRefused

INTENT_CHARS = 3_500
CHANNEL = "conversation"
KNOWN = 1_000
"""decisions kept for when the database is away"""


class TakesTasks(Protocol):
    """The part of the desk that is needed here."""

    async def create(self, new: NewTask) -> Created: ...


class Gate:
    """See the module. Called as `tron.tools.toolbox.Gate`."""

    def __init__(self, policies: Policies, desk: TakesTasks) -> None:
        self._policies = policies
        self._desk = desk
        self._known: OrderedDict[tuple[str, str, str], Decision] = OrderedDict()

    async def __call__(self, context: ToolContext, tool: Tool[Any], arguments: str) -> str | None:
        """None: it may run. A text: it waits for approval, and how to say so.

        Raises ToolRefused, StorageUnavailable (the policy was never read, so nothing is done) and
        what the desk raises.
        """
        agent = context.process.agent
        decision = await self._decision(context.client_id, agent, tool.effect)
        if decision == "deny":
            raise ToolRefused(
                f"{tool.name} is not allowed here: it would {DOES[tool.effect]}. Nothing was done."
            )
        if decision == "allow" or tool in context.wire_tools:
            return None
        # Nobody is asked about what can't be done: what does not fit is refused before.
        given = msgspec.to_builtins(tool.checked(arguments))
        created = await self._desk.create(
            NewTask(
                client_id=context.client_id,
                intent=_intent(tool.name, given),
                agent=agent,
                owner=context.caller,
                session=context.session,
                user_id=context.caller,
                channel=CHANNEL,
                plan=(
                    PlannedStep(
                        node="n1",
                        title=tool.name.replace("_", " ").capitalize(),
                        tool=tool.name,
                        arguments=given,
                    ),
                ),
            )
        )
        return _told(created, tool.name, given)

    async def _decision(self, client_id: str, agent: str, effect: str) -> Decision:
        """While the database can't answer, what only looks or writes goes by what held last."""
        key = (client_id, agent, effect)
        try:
            decision = await self._policies.decide(client_id, agent, effect)
        except StorageUnavailable:
            if key not in self._known or effect not in ("read", "write"):
                raise
            return self._known[key]
        self._known[key] = decision
        self._known.move_to_end(key)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return decision


_STANDS: dict[Status, str] = {
    "awaiting_approval": "It is not done yet: it waits for a person's approval",
    "planned": "It is not done yet: it waits for its turn",
    "paused": "It is not done yet: it is paused",
    "running": "It is being done just now",
    "completed": "It is done",
    "failed": "It was not done",
    "cancelled": "It was cancelled",
}


def _intent(name: str, given: dict[str, Any]) -> str:
    """The action in full: the same words are the same task, so others must not look like it."""
    text = f"{name} {_shown(given)}"
    if len(text) <= INTENT_CHARS:
        return text
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
    return f"{text[:INTENT_CHARS]}… ({len(text)} characters, {digest})"


def _told(created: Created, name: str, given: dict[str, Any]) -> str:
    task = created.task
    again = " (it was asked for a moment ago already)" if created.deduped else ""
    asked = task.approval.prompt if task.approval is not None else f"{name} {_shown(given)}"
    lines = [
        f"{_STANDS[task.status]}, as task {task.id}{again}.",
        f"What exactly: {asked}",
    ]
    if task.detail:
        lines.append(f"Why: {task.detail}")
    if task.status in ("awaiting_approval", "planned", "paused", "running"):
        lines.append(
            "Say in a few words that it has not happened and waits for approval. The hub itself "
            "puts the question to them and tells them what became of it; do not try again."
        )
    return "\n".join(lines)


def _shown(given: dict[str, Any]) -> str:
    return msgspec.json.encode(given).decode()
