"""The toolbox: runs what a model asks for, within limits, and writes down that it did.

Owns the way from a model's tool call to text for the model: checks, the time limit, the size
limit, and one audit line a call (an event in the log, a row in `tool_calls`; of the arguments
only their SHA-256). A tool's failure is an answer to the model and never an exception for the
turn. It does not decide who may use which tool: a turn offers `definitions` and runs what it
offered. Nor does it decide what needs a person's approval: outside a task the gate it was given
is asked before each call; in a task that was decided before the step began.

Callers: the turn (`Thinking`); everything it needs is handed in.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import structlog
from sqlalchemy import Connection, delete, insert

from tron.clock import Clock
from tron.conversation.turns import ToolCall
from tron.errors import TronError
from tron.storage.store import Store
from tron.storage.tables import tool_calls
from tron.storage.text import storable
from tron.supervise import Tasks
from tron.tools.contract import Tool, ToolContext, ToolFailed, ToolRefused, TryLater

log = structlog.get_logger(__name__)

RESULT_BYTES = 64 * 1024
AUDIT_DRAIN_S = 10.0
NAME_LIMIT = 64
"""characters of a tool's name or a call's id that the audit keeps"""


Status = Literal["ok", "failed", "refused", "timeout", "later", "asked"]
"""`later`: a step that waits; `asked`: a person has to approve it first"""

Gate = Callable[[ToolContext, Tool[Any], str], Awaitable[str | None]]
"""Whether a tool may run now with these arguments. A text: it was handed in to be approved, and
this is what the model is told. Raises ToolRefused where it may not run at all."""


class Outcome(NamedTuple):
    """What a tool came to."""

    text: str
    status: Status


class Toolbox:
    """See the module."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        tools: Iterable[Tool[Any]],
        gate: Gate,
    ) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._tools: dict[str, Tool[Any]] = {}
        self._definitions: dict[str, dict[str, Any]] = {}
        self._tasks = Tasks("toolbox")
        self.add(tools)

    def add(self, tools: Iterable[Tool[Any]]) -> None:
        """More tools, of an integration that was attached. Raises ValueError for a name taken."""
        for tool in tools:
            if tool.name in self._tools:
                raise ValueError(f"there is a tool named {tool.name!r} already")
            self._tools[tool.name] = tool
            self._definitions[tool.name] = tool.definition

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    def definitions(
        self, names: Sequence[str] | None, *, in_task: bool = False
    ) -> list[dict[str, Any]]:
        """OpenAI `tools` entries of the tools named, in that order; None: of every tool.

        Those that work in tasks alone are among them only where that is what is asked for. Names
        of tools that do not exist are left out. The entries are shared: do not change them.
        """
        return [
            self._definitions[name]
            for name in (self._tools if names is None else names)
            if name in self._tools and (in_task or not self._tools[name].task_only)
        ]

    def find(self, name: str) -> Tool[Any] | None:
        return self._tools.get(name)

    async def run(self, context: ToolContext, call: ToolCall) -> tuple[str, bool]:
        """Run `call` and return what the model is told, and whether the tool did its work.

        Raises nothing but CancelledError.
        """
        outcome = await self.perform(context, call)
        return outcome.text, outcome.status == "ok"

    async def perform(self, context: ToolContext, call: ToolCall) -> Outcome:
        """The same, with how it ended. Raises CancelledError and, in a task, TryLater."""
        context.process.metrics.tool_calls += 1
        started = self._clock.monotonic()
        status: Status
        status, error = "failed", "CancelledError"  # what stands if it is cancelled
        try:
            text, status, error = await self._outcome(context, call)
        except TryLater:
            status, error = "later", ""
            raise
        finally:
            duration_ms = round((self._clock.monotonic() - started) * 1000)
            self._audit(context, call, status, error, duration_ms)
        return Outcome(_within_limit(storable(text)), status)

    async def _outcome(self, context: ToolContext, call: ToolCall) -> tuple[str, Status, str]:
        """(what the model is told, status, kind of error)"""
        tool: Tool[Any] | None = next((t for t in context.wire_tools if t.name == call.name), None)
        if tool is None and context.may_use(call.name):
            tool = self._tools.get(call.name)
        if tool is None:
            return f"There is no tool named {call.name[:NAME_LIMIT]!r}.", "refused", "unknown tool"
        limit = asyncio.timeout(tool.timeout_s)
        try:
            if context.step is None and (held := await self._held(context, tool, call.arguments)):
                return held, "asked", ""
            async with limit:
                return await tool.call(context, call.arguments), "ok", ""
        except ToolFailed as failed:
            refused = isinstance(failed, ToolRefused)
            return str(failed), "refused" if refused else "failed", type(failed).__name__
        except TronError as error:  # its message is made to be shown
            return error.message, "failed", type(error).__name__
        except TryLater:
            if context.step is None:
                return f"{tool.name} works in tasks only.", "refused", "TryLater"
            raise
        except Exception as error:
            if limit.expired():
                text = f"{tool.name} took longer than {tool.timeout_s:g} seconds and was stopped."
                return text, "timeout", "TimeoutError"
            log.exception("tool.broke", tool=tool.name, call_id=call.id)
            text = f"{tool.name} failed unexpectedly. The log has it under call {call.id}."
            return text, "failed", type(error).__name__

    async def _held(self, context: ToolContext, tool: Tool[Any], arguments: str) -> str | None:
        """What the model is told of a call that waits for approval; None: it may run.

        Raises ToolRefused, and what the gate raises: a call that can't be judged does not run.
        """
        if tool.task_only:
            raise ToolRefused(f"{tool.name} works in tasks only.")
        return await self._gate(context, tool, arguments)

    def _audit(
        self, context: ToolContext, call: ToolCall, status: str, error: str, duration_ms: int
    ) -> None:
        process = context.process
        line = {
            "process_id": process.id,
            "agent": process.agent,
            "tool": storable(call.name)[:NAME_LIMIT],
            "call_id": storable(call.id)[:NAME_LIMIT],
            "status": status,
            "error": error or None,
            "duration_ms": duration_ms,
        }
        log.info("tool.called", client_id=context.client_id, **line)
        digest = hashlib.sha256(call.arguments.encode(errors="surrogatepass")).hexdigest()
        row = {
            "client_id": context.client_id,
            "session_key": context.session,
            "arguments_sha256": digest,
            "at": self._clock.now_ms(),
            **line,
        }
        try:  # the answer does not wait for the row; `close` does
            self._tasks.start(self._write(row, call.id), "audit")
        except RuntimeError:
            log.error("tool.audit_lost", call_id=call.id, error="closed")

    async def _write(self, row: dict[str, Any], call_id: str) -> None:
        def unit(connection: Connection) -> None:
            connection.execute(insert(tool_calls), row)

        try:
            await self._store.write(unit)
        except TronError as error:
            log.error("tool.audit_lost", call_id=call_id, error=type(error).__name__)

    async def prune(self, keep_ms: int) -> int:
        """Forget audit lines older than this, of every tenant; returns how many."""
        old = delete(tool_calls).where(tool_calls.c.at < self._clock.now_ms() - keep_ms)
        return await self._store.write(lambda connection: connection.execute(old).rowcount)

    async def close(self) -> None:
        """Wait until every audit line is written. No call may be running any more."""
        await self._tasks.drain(AUDIT_DRAIN_S)
        await self._tasks.close()


def _within_limit(text: str) -> str:
    raw = text.encode(errors="replace")
    if len(raw) <= RESULT_BYTES:
        return text
    notice = f"\n… (cut: {len(raw)} bytes in all)"
    kept = raw[: RESULT_BYTES - len(notice.encode())].decode(errors="ignore")
    return kept + notice
