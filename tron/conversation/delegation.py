"""Delegation: a persona asks a colleague, now or in the background.

A question waits for its answer; a task runs on and its result comes back to the conversation that
gave it, at its next turn, also after a restart. Both are conversations of their own between the
two personas, spawned under the one that asks, so depth, cycles and budgets hold. The caller in
them is the person it is done for: what the colleague knows and keeps is theirs, as if they had
asked themselves. Every task is a row in `delegations`: a result or a failure is never lost, and
one whose hub died is reported as interrupted.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import structlog
from sqlalchemy import delete, insert, select, update

from tron.agents.registry import Registry
from tron.brain.offline.fallback import NO_VIEW
from tron.clock import Clock
from tron.conversation.session import nobody_else
from tron.conversation.turns import Caller, Message, TurnInput
from tron.errors import StorageUnavailable, TronError
from tron.heartbeat import alive
from tron.storage.store import Store
from tron.storage.tables import delegations as table
from tron.supervise import Tasks
from tron.tools.contract import Tool, ToolContext, ToolFailed

if TYPE_CHECKING:
    from tron.conversation.reply import Reply

log = structlog.get_logger(__name__)

Ask = Callable[[TurnInput], Awaitable["Reply"]]

ASK_TIMEOUT_S = 120.0
RUNNING_LIMIT = 100
SAVE_AGAIN_S = 2.0
REPORTED_CHARS = 4_000
INTERRUPTED = "It was interrupted when the hub stopped."

Colleague = Annotated[str, msgspec.Meta(description="name of the colleague, for example Maya")]
Background = Annotated[str, msgspec.Meta(description="what the colleague needs to know first")]


class AskPersona(msgspec.Struct):
    persona: Colleague
    question: Annotated[str, msgspec.Meta(description="the question, complete in itself")]
    context: Background = ""


class DelegateTask(msgspec.Struct):
    persona: Colleague
    task: Annotated[str, msgspec.Meta(description="what is to be done, complete in itself")]
    context: Background = ""


class Delegations:
    """Asks colleagues and brings their results back."""

    def __init__(
        self, *, store: Store, clock: Clock, agents: Registry, hub_id: str, ask: Ask
    ) -> None:
        self._store = store
        self._clock = clock
        self._agents = agents
        self._name = agents.name_of
        self._hub_id = hub_id
        self._ask = ask
        self._tasks = Tasks("delegations")
        self._news: dict[tuple[str, str], list[str]] = {}  # (client, session) -> delegation ids

    def tools(self) -> list[Tool[Any]]:
        return [
            Tool(
                "ask_persona",
                "Ask a colleague a question and wait for the answer. Use it when their field "
                "decides the answer.",
                AskPersona,
                self._ask_persona,
                timeout_s=ASK_TIMEOUT_S,
                effect="read",
            ),
            Tool(
                "delegate_task",
                "Give a colleague something to do in the background. You go on at once; the "
                "result reaches you later in this conversation.",
                DelegateTask,
                self._delegate_task,
                effect="write",
            ),
        ]

    async def start(self) -> None:
        """Find the results nobody was told of yet, whichever hub they came to."""
        found: dict[tuple[str, str], list[str]] = {}
        async with self._store.read() as connection:
            rows = await connection.execute(
                select(table.c.client_id, table.c.session_key, table.c.id).where(
                    table.c.status != "running", table.c.reported.is_(False)
                )
            )
            for client_id, session, id in rows:
                found.setdefault((client_id, session), []).append(id)
        self._news = found

    async def adopt(self) -> None:
        """Close the tasks that hubs now dead left behind, so that their givers are told."""
        now = self._clock.now_ms()
        left = (
            table.c.status == "running",
            table.c.hub != self._hub_id,
            table.c.hub.not_in(alive(now)),
        )

        failed = {"status": "failed", "result": INTERRUPTED, "completed_at": now}
        await self._store.write(lambda c: c.execute(update(table).where(*left).values(failed)))
        await self.start()

    async def prune(self, keep_ms: int) -> int:
        """Forget tasks that ended longer ago than this, of every tenant; returns how many."""
        old = delete(table).where(table.c.completed_at < self._clock.now_ms() - keep_ms)
        return await self._store.write(lambda connection: connection.execute(old).rowcount)

    async def report(self, client_id: str, session: str) -> tuple[str, list[str]]:
        """What came back for this conversation, for the persona's prompt, and the ids of it.

        It comes again until it is known to have been told.
        """
        ids = self._news.get((client_id, session))
        if not ids:
            return "", []
        chosen = table.c.id.in_(ids) & (table.c.client_id == client_id) & ~table.c.reported
        async with self._store.read() as connection:
            rows = (
                await connection.execute(select(table).where(chosen).order_by(table.c.completed_at))
            ).all()
        if not rows:  # another hub was faster
            return "", ids
        lines = [
            f"- {self._name(row.agent)} {_outcome(row.status)} ({row.task}): {row.result}"
            for row in rows
        ]
        news = "Results of work you gave to colleagues; tell the caller:\n" + "\n".join(lines)
        return news, ids

    async def told(self, client_id: str, session: str, ids: list[str]) -> None:
        """The caller has heard of these. Raises StorageUnavailable."""
        chosen = table.c.id.in_(ids) & (table.c.client_id == client_id)
        await self._store.write(
            lambda c: c.execute(update(table).where(chosen).values(reported=True))
        )
        left = [id for id in self._news.pop((client_id, session), []) if id not in ids]
        if left:
            self._news[client_id, session] = left

    async def _ask_persona(self, context: ToolContext, args: AskPersona) -> str:
        agent = self._colleague(args.persona, context)
        answer = await self._answer(context, agent, _with_context(args.question, args.context))
        if context.step is not None and NO_VIEW in answer:  # nothing to go on with
            raise ToolFailed(f"{self._name(agent)} has no language model to think about that with.")
        return answer

    async def _delegate_task(self, context: ToolContext, args: DelegateTask) -> str:
        agent = self._colleague(args.persona, context)
        if len(self._tasks) >= RUNNING_LIMIT:
            raise ToolFailed("Too many delegated tasks are running; try again later.")
        row = {
            "id": secrets.token_hex(8),
            "client_id": context.client_id,
            "session_key": context.session,
            "process_id": context.process.id,
            "from_agent": context.process.agent,
            "agent": agent,
            "task": args.task,
            "status": "running",
            "hub": self._hub_id,
            "started_at": self._clock.now_ms(),
        }
        await self._store.write(lambda c: c.execute(insert(table), row))
        request = _with_context(args.task, args.context)
        self._tasks.start(self._work(context, row, request), agent)
        return f"{self._name(agent)} has taken it on. The result will come to this conversation."

    async def _work(self, context: ToolContext, row: dict[str, Any], request: str) -> None:
        try:
            status, result = "completed", await self._answer(context, row["agent"], request)
        except ToolFailed as error:
            status, result = "failed", str(error)
        except Exception:  # border: whoever gave the task hears of its end, whatever it was
            log.exception("delegation.broke", id=row["id"])
            status, result = "failed", f"It failed unexpectedly. The log has it as {row['id']}."
        changes = {
            "status": status,
            "result": result[:REPORTED_CHARS],
            "completed_at": self._clock.now_ms(),
        }
        while True:
            try:
                await self._store.write(
                    lambda c: c.execute(
                        update(table)
                        .where(table.c.id == row["id"], table.c.client_id == row["client_id"])
                        .values(changes)
                    )
                )
                break
            except StorageUnavailable as error:
                log.warning("delegation.unsaved", id=row["id"], error=str(error))
                await asyncio.sleep(SAVE_AGAIN_S)
        self._news.setdefault((row["client_id"], row["session_key"]), []).append(row["id"])

    async def _answer(self, context: ToolContext, agent: str, request: str) -> str:
        """One turn between the two personas."""
        asker = context.process
        turn = TurnInput(
            # Whoever it is for: what the colleague knows and keeps is about them, not the asker.
            caller=Caller(
                id=context.caller or nobody_else(),
                known=bool(context.caller),
                call_id=f"{context.session or asker.id}~{agent}",
                name=context.caller_name or None,
            ),
            channel="delegation",
            agent=agent,
            client_id=context.client_id,
            messages=[Message(role="user", content=request)],
            instructions=f"{self._name(asker.agent)}, your colleague, asks you. Answer them "
            "directly and briefly; they will use your answer. The caller is whom they ask for.",
            parent=asker.id,
            reason=f"asked by {asker.agent}",
        )
        try:
            reply = await self._ask(turn)
        except TronError as error:
            raise ToolFailed(f"{self._name(agent)} could not answer: {error.message}") from error
        return reply.text

    def _colleague(self, name: str, context: ToolContext) -> str:
        persona = self._agents.get(name)
        if persona is None:
            names = ", ".join(persona.name for persona in self._agents.personas)
            raise ToolFailed(f"There is no colleague named {name}. There are: {names}.")
        if persona.id == context.process.agent:
            raise ToolFailed("That is yourself.")
        return persona.id

    async def close(self) -> None:
        await self._tasks.close()


def _with_context(request: str, context: str) -> str:
    return f"{request}\n\nBackground: {context}" if context else request


def _outcome(status: str) -> str:
    return "finished" if status == "completed" else "could not finish"
