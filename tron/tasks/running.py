"""Doing a task, one step at a time.

`advance` is one unit of work of the durable engine: it takes the step that is next, does it, and
writes down what came of it; the engine calls it again while it says so. Everything it knows it
reads from the rows, so after a crash the same call goes on where the work stopped. A step that was
under way when its hub died is done again if its tool may be repeated; otherwise a person is asked,
because it may have happened. Callers: the engine, and the desk to see what a task needs first.
"""

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection

from tron.agents.registry import Registry
from tron.clock import Clock
from tron.conversation.caller import withheld
from tron.conversation.turns import ToolCall
from tron.errors import Invalid, Overloaded, StorageUnavailable, TronError
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process
from tron.storage.store import Store
from tron.storage.text import storable
from tron.supervise import Tasks
from tron.tasks import plan as plans
from tron.tasks import policy, records
from tron.tasks.contract import Effect, PlannedStep, Step, Task
from tron.tasks.records import Change
from tron.tools.contract import StepScope, Tool, ToolContext, TryLater
from tron.tools.toolbox import Outcome, Toolbox

if TYPE_CHECKING:
    from tron.tasks.planner import Planner

log = structlog.get_logger(__name__)

T = TypeVar("T")

FLUSH_S = 0.25
"""lines that a step says about itself are stored this often"""
LOG_CHARS = 8_000
REVISIONS = 2
"""times a persona may change its plan after a step failed"""
BUSY_MS = 5_000
SAVE_AGAIN_S = 1.0
STOPPED = Outcome("It was stopped.", "failed")


class Ready(NamedTuple):
    """A step that may be done now, with exactly these arguments."""

    step: Step
    tool: Tool[Any]
    arguments: dict[str, Any]
    digest: str


class Begun(NamedTuple):
    """A step that was begun; `fence` proves that it is still ours when it ends."""

    task: Task
    ready: Ready
    fence: str


class Later(NamedTuple):
    """What a step came to that has to wait."""

    at: int
    why: str


class Runner:
    """See the module."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        agents: Registry,
        orchestrator: Orchestrator,
        toolbox: Toolbox,
        planner: "Planner",
        workspaces: Path,
        approval_s: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._agents = agents
        self._orchestrator = orchestrator
        self._toolbox = toolbox
        self._planner = planner
        self._workspaces = workspaces
        self._approval_ms = round(approval_s * 1000)
        self._running: dict[str, tuple[str, Process]] = {}
        """by its fence, each step under way here: its task's id, and the process that does it"""
        self._stopping = False

    @property
    def working_on(self) -> dict[str, str]:
        """The steps that run here: the fence of each, and its task's id."""
        return {fence: task_id for fence, (task_id, _) in self._running.items()}

    @property
    def stopping(self) -> bool:
        """Whether the hub is about to end."""
        return self._stopping

    def workspace(self, task_id: str) -> Path:
        return self._workspaces / task_id

    async def advance(self, client_id: str, task_id: str, stretch: int) -> bool:
        """Do the next step of `task_id`, if this stretch of work is still wanted.

        True: there is more to do now. Raises CancelledError when the hub stops: the engine then
        leaves the stretch for whoever comes next.
        """
        if self._stopping:
            raise asyncio.CancelledError
        begun = await self.saved(lambda c: self._begin(c, client_id, task_id, stretch))
        if begun is None:
            return False
        outcome = await self._do(begun)
        tail = await self._revised(begun, outcome)
        return await self.saved(lambda c: self._finish(c, begun, outcome, tail))

    async def saved(self, unit: Callable[[Connection], T]) -> T:
        """A unit of work that must be written: as long as the database is away, wait for it.

        Raises CancelledError when the hub stops meanwhile.
        """
        while True:
            try:
                return await self._store.write(unit)
            except (StorageUnavailable, Overloaded) as error:
                if self._stopping:
                    raise asyncio.CancelledError from error
                log.warning("task.unsaved", error=error.type)
                await asyncio.sleep(SAVE_AGAIN_S)

    # What is next

    def look(self, change: Change) -> Ready | None:
        """The step to do now; None, and why is written: it asks, failed or completed."""
        step = change.running or change.next
        if step is None:
            change.complete(_result(change.task))
            return None
        tool = self._toolbox.find(step.tool)
        if tool is None:
            change.fail("refused", f"There is no tool named {step.tool!r} here.", step)
            return None
        task = change.task
        persona = self._agents.get(task.agent)
        if persona is not None and persona.tools is not None and step.tool not in persona.tools:
            change.fail("refused", f"{persona.name} does not have the tool {step.tool}.", step)
            return None
        decision = policy.decide(change.connection, task.client_id, task.agent, tool.effect)
        if decision == "deny":
            change.fail(
                "refused",
                f"{step.tool} is not allowed here: it would {policy.DOES[tool.effect]}.",
                step,
            )
            return None
        interrupted = step.status == "running" and not tool.repeatable
        if interrupted:
            change.step(step, attempt=step.attempt + 1, started_at=None)
        try:
            arguments = plans.fill(step.arguments, _results(task))
        except Invalid as error:
            change.fail("refused", error.message, step)
            return None
        ready = Ready(step, tool, arguments, plans.digest(step.tool, arguments))
        begun_before = step.started_at is not None  # woken up, or repeated: it was allowed
        must_ask = interrupted or decision == "ask" or task.mode == "confirm_each"
        if begun_before or not must_ask or change.approved(step, ready.digest):
            return ready
        prompt = plans.prompt(step.tool, arguments)
        if interrupted:
            prompt = f"This was interrupted and may have happened already. Again? {prompt}"
        change.ask(step, arguments, ready.digest, prompt, change.now + self._approval_ms)
        return None

    def _begin(self, conn: Connection, client_id: str, task_id: str, stretch: int) -> Begun | None:
        with records.opened(conn, client_id, task_id, self._clock.now_ms()) as change:
            return self._begun(change, stretch)

    def _begun(self, change: Change, stretch: int) -> Begun | None:
        task = change.task
        if task.stretch != stretch:
            return None
        if task.status == "paused" and change.running is not None:  # its hub died in the pause
            change.set(fence="")  # the step stays as it is: it may have happened
        if task.status not in ("planned", "running"):
            return None
        ready = self.look(change)
        if ready is None:
            return None
        step, fence = ready.step, secrets.token_hex(8)
        if step.started_at is None:
            change.tell(
                "task_step_started",
                step_id=step.id,
                step_seq=step.seq,
                title=step.title,
                risk_level=step.risk,
            )
        started_at = task.started_at or change.now
        change.move("begin", fence=fence, started_at=started_at, wake_at=None)
        change.step(step, status="running", started_at=step.started_at or change.now)
        return Begun(task, ready, fence)

    # Doing it

    async def _do(self, begun: Begun) -> Outcome | Later:
        """Run the tool as a process of the persona, which operators see and can stop."""
        task, step = begun.task, begun.ready.step
        lines = _Lines(self._store, lambda text: self._said(begun, text))
        came: list[Outcome | Later] = []

        async def behaviour(process: Process) -> str:
            call = ToolCall(
                id=step.id[-40:],
                name=step.tool,
                arguments=msgspec.json.encode(begun.ready.arguments).decode(),
            )
            try:
                outcome = await self._toolbox.perform(self._context(begun, process, lines), call)
            except TryLater as later:
                came.append(Later(later.at, later.why))
                return later.why
            came.append(outcome)
            return outcome.status

        try:
            process = self._orchestrator.spawn(
                task.agent,
                behaviour,
                task=step.title,
                reason=f"task {task.id}",
                client_id=task.client_id,
                restarts=0,
            )
        except TronError as error:  # no room for it now
            return Later(self._clock.now_ms() + BUSY_MS, error.message)
        self._running[begun.fence] = (task.id, process)
        try:
            await process.wait()
        finally:
            await self._orchestrator.kill(process.id)
            del self._running[begun.fence]
            await lines.close()
        if self._stopping and not came:
            raise asyncio.CancelledError
        return came[0] if came else STOPPED

    def _context(self, begun: Begun, process: Process, lines: "_Lines") -> ToolContext:
        task, step = begun.task, begun.ready.step
        persona = self._agents.get(task.agent)
        return ToolContext(
            client_id=task.client_id,
            process=process,
            session=task.session,
            caller=_person(task),
            tools=persona.tools if persona else (),
            step=StepScope(
                task_id=task.id,
                step_id=step.id,
                key=f"{step.id}.{begun.ready.digest[:12]}",
                begun_at=step.started_at or self._clock.now_ms(),
                workspace=self.workspace(task.id),
                log=lines.add,
            ),
        )

    async def _revised(
        self, begun: Begun, outcome: Outcome | Later
    ) -> tuple[PlannedStep, ...] | None:
        """What the persona will do instead, after a step that failed. None: nothing."""
        task, step = begun.task, begun.ready.step
        failed = sum(one.status == "failed" for one in task.steps)
        if isinstance(outcome, Later) or outcome.status == "ok" or failed >= REVISIONS:
            return None
        if outcome is STOPPED:  # somebody wanted that
            return None
        if task.mode != "auto" or self._stopping:
            return None
        step.error = outcome.text
        try:
            return await self._planner.revise(task, step)
        except TronError as error:
            log.warning("task.not_revised", task_id=task.id, error=error.type)
            return None

    # What came of it

    def _finish(
        self,
        conn: Connection,
        begun: Begun,
        outcome: Outcome | Later,
        tail: tuple[PlannedStep, ...] | None,
    ) -> bool:
        task = begun.task
        with records.opened(conn, task.client_id, task.id, self._clock.now_ms()) as change:
            return self._finished(change, begun.fence, outcome, tail)

    def _finished(
        self,
        change: Change,
        fence: str,
        outcome: Outcome | Later,
        tail: tuple[PlannedStep, ...] | None,
    ) -> bool:
        now, step = change.now, change.running
        if change.fence != fence or step is None:
            # Cancelled, or somebody else's by now; or written before, and the answer got lost.
            return change.task.status == "running" and not change.fence
        change.set(fence="")
        if isinstance(outcome, Later):
            change.step(step, status="planned")
            change.move("wait", wake_at=max(outcome.at, now))
            change.tell("task_plan_delta", status=change.task.status, text_delta=outcome.why)
            return False
        if outcome.status == "ok":
            change.step(step, status="completed", result=outcome.text, ended_at=now)
            change.tell("task_step_completed", step_id=step.id, status=change.task.status)
            if change.next is None:
                change.complete(_result(change.task))
        elif tail:
            change.step(step, status="failed", error=outcome.text, ended_at=now)
            self.plan(change, tail, f"{step.title}: {outcome.text} The plan has changed.")
        else:
            code = {"timeout": "step_timeout", "refused": "refused"}
            change.fail(code.get(outcome.status, "step_failed"), outcome.text, step)
        return change.task.status == "running"

    def plan(self, change: Change, steps: tuple[PlannedStep, ...], why: str) -> None:
        """Put `steps` in the place of those not begun, and tell."""
        change.plan(steps, {step.tool: self.effect(step.tool) or "execute" for step in steps})
        status = change.task.status
        nodes, edges = plans.graph(change.task.steps)
        change.tell("task_plan_graph", status=status, detail=why, nodes=nodes, edges=edges)

    def effect(self, name: str) -> Effect | None:
        """What the tool `name` does; None: there is none."""
        tool = self._toolbox.find(name)
        return tool.effect if tool else None

    def _said(self, begun: Begun, text: str) -> Callable[[Connection], None]:
        task, step = begun.task, begun.ready.step

        def unit(conn: Connection) -> None:
            with records.opened(conn, task.client_id, task.id, self._clock.now_ms()) as change:
                if change.fence == begun.fence:
                    change.tell("task_step_log", step_id=step.id, text_delta=text)

        return unit

    # Ending

    async def stop(self, fence: str) -> None:
        """Stop the step with this fence, if it runs here."""
        if fence in self._running:
            await self._orchestrator.kill(self._running[fence][1].id)

    async def stop_task(self, task_id: str) -> None:
        """Stop what runs here of `task_id`."""
        for fence, id in self.working_on.items():
            if id == task_id:
                await self.stop(fence)

    def shut(self) -> None:
        """No step begins any more; one that is interrupted is left for whoever comes next."""
        self._stopping = True


def _person(task: Task) -> str:
    """Whom its steps work for: what they remember is that person's, and nobody else's."""
    if task.user_id and withheld(task.user_id):
        return f"anonymous-{task.session or task.id}"
    return task.user_id or task.owner


class _Lines:
    """What a step says while it runs, stored a few times a second."""

    def __init__(self, store: Store, write: Callable[[str], Callable[[Connection], None]]) -> None:
        self._store = store
        self._write = write
        self._said: list[str] = []
        self._chars = 0
        self._tasks = Tasks("step log")

    def add(self, line: str) -> None:
        if self._chars >= LOG_CHARS:
            return
        kept = storable(line)[: LOG_CHARS - self._chars]
        self._chars += len(kept)
        self._said.append(kept if self._chars < LOG_CHARS else f"{kept}\n… (the rest is left out)")
        if not len(self._tasks):
            self._tasks.start(self._later(), "flush")

    async def _later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        await self._flush()

    async def _flush(self) -> None:
        said, self._said = self._said, []
        if not said:
            return
        try:
            await self._store.write(self._write("\n".join(said)))
        except TronError as error:
            log.warning("task.log_lost", error=error.type)

    async def close(self) -> None:
        await self._tasks.close()
        await self._flush()


def _results(task: Task) -> dict[str, str]:
    return {step.node: step.result or "" for step in task.steps if step.status == "completed"}


def _result(task: Task) -> str:
    """Of a task that is done: what its last step came to."""
    done = [step.result for step in task.steps if step.status == "completed"]
    return (done[-1] if done else None) or ""
