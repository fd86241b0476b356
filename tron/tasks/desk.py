"""The desk: where tasks are handed in, looked at, answered and stopped.

The one front of this package: the REST routes, the voice socket, the command line, Slack, the
persona's own tools and the conversation call it, and nothing else here. It checks what is asked
and by whom; what then happens is written by `records` and done by the engine. Everything it raises
is an error of the tree in `tron.errors`: NotFound for a task (or an approval) that is not there
or not this tenant's, Conflict (`wrong_state`) for what can't follow now, Invalid for the rest.
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
import structlog
from sqlalchemy import ColumnElement, Connection, func, select
from sqlalchemy.exc import IntegrityError

from tron.clock import Clock
from tron.errors import Conflict, Invalid, Overloaded, TronError
from tron.storage.store import Store
from tron.storage.tables import approvals, task_events, tasks
from tron.storage.text import storable
from tron.supervise import Tasks
from tron.tasks import plan as plans
from tron.tasks import records
from tron.tasks.contract import (
    ENDED,
    INTENT_CHARS,
    Approval,
    Artifact,
    NewTask,
    PlannedStep,
    Task,
    TaskEvent,
)
from tron.tasks.feed import Feed
from tron.tasks.records import Change
from tron.tasks.running import Runner
from tron.tasks.work import Work
from tron.tasks.workspace import FILE_BYTES, Workspace

if TYPE_CHECKING:
    from tron.tasks.planner import Planner

log = structlog.get_logger(__name__)

T = TypeVar("T")

MOST_LIVE = 10_000
"""tasks of one tenant that have not ended"""
SAME_MS = 10_000
"""the same words in the same session within this are the same task, while that is live"""
PLAN_WAIT_S = 3.0
PLANNING_AT_ONCE = 8

Through = Literal["api", "socket", "voice", "chat", "slack", "panel", "cli"]


class Created(msgspec.Struct, frozen=True):
    """A task, and whether it was there already (`deduped`)."""

    task: Task
    deduped: bool


class Desk:
    """See the module."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        planner: "Planner",
        runner: Runner,
        work: Work,
        feed: Feed,
        timeout_s: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._planner = planner
        self._runner = runner
        self._work = work
        self._feed = feed
        self._timeout_ms = round(timeout_s * 1000)
        self._tasks = Tasks("task desk")
        self._planning = asyncio.Semaphore(PLANNING_AT_ONCE)
        self._being_planned: set[str] = set()

    async def create(self, new: NewTask) -> Created:
        """Hand in a task; it is stored before anything else happens, planned, and queued.

        The same `key`, or the same words in the same session within 10 s while the first is
        live, give the first task again. Waits a few seconds at most for the plan, so that the
        task returned says whether something needs approval. Raises Invalid (empty or longer than
        4,000 characters, a plan that can't be), Conflict (a `key` used for something else),
        Overloaded (too many live tasks).
        """
        new = msgspec.structs.replace(new, intent=storable(new.intent))
        intent = " ".join(new.intent.split())
        if not intent or len(new.intent) > INTENT_CHARS:
            raise Invalid(
                f"intent_text must have 1 to {INTENT_CHARS} characters.", param="intent_text"
            )
        if new.plan is not None:
            new = msgspec.structs.replace(new, plan=plans.checked(new.plan, self._runner.effect))
        plan = msgspec.json.encode(new.plan).decode()  # the same words may be about another deed
        words = f"{new.session}\n{new.owner}\n{new.agent}\n{intent.lower()}\n{plan}"
        digest = hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()
        try:
            task, deduped = await self._store.write(lambda c: self._store_new(c, new, digest))
        except IntegrityError:  # the same key at the same moment
            task, deduped = await self._store.write(lambda c: self._store_new(c, new, digest))
        self._feed.written()
        if deduped:
            return Created(task, True)
        if new.plan is None:
            planning = self._tasks.start(self.plan(task), "plan")
            await asyncio.wait({planning}, timeout=PLAN_WAIT_S)
            task = await self.get(task.client_id, task.id)
        else:
            await self._work.queue(task)
        return Created(task, False)

    def _store_new(self, conn: Connection, new: NewTask, digest: str) -> tuple[Task, bool]:
        now, mine = self._clock.now_ms(), tasks.c.client_id == new.client_id
        if new.key is not None:
            for known in records.fetch(conn, mine, tasks.c.client_key == new.key):
                if known.intent != new.intent:
                    raise Conflict("That key was used for another task.", code="key_reused")
                return known, True
        same = (tasks.c.digest == digest, tasks.c.created_at > now - SAME_MS, _live())
        if new.key is None and (found := records.fetch(conn, mine, *same, limit=1)):
            return found[0], True
        live = conn.scalar(select(func.count()).select_from(tasks).where(mine, _live())) or 0
        if live >= MOST_LIVE:
            raise Overloaded("Too many tasks have not ended yet.", retry_after=30)
        timeout_ms = self._timeout_ms if new.timeout_s is None else round(new.timeout_s * 1000)
        id = records.create(conn, new, digest=digest, timeout_ms=timeout_ms, now=now)
        with records.opened(conn, new.client_id, id, now) as change:
            change.tell("task_created", summary=change.task.summary, status="planned")
            if new.plan is not None:
                self._planned(change, new.plan)
        return change.task, False

    async def plan(self, task: Task) -> None:
        """Have the persona plan `task`, and queue it. Planned already: nothing happens."""
        if task.id in self._being_planned:
            return
        self._being_planned.add(task.id)
        try:
            await self._plan(task)
        finally:
            self._being_planned.discard(task.id)

    async def _plan(self, task: Task) -> None:
        async with self._planning:
            try:
                steps = await self._planner.plan(task)
                steps = plans.checked(steps, self._runner.effect)
            except Exception as error:  # noqa: BLE001 - border: one task's fault is its own
                reason = error.message if isinstance(error, TronError) else _broke(task)
                await self._change(task.client_id, task.id, lambda c: _unplanned(c, reason))
                return
        await self._change(task.client_id, task.id, lambda c: self._planned(c, steps))

    def _planned(self, change: Change, steps: tuple[PlannedStep, ...]) -> None:
        if change.task.steps or change.task.status != "planned":
            return
        self._runner.plan(change, steps, "This is the plan.")
        if change.task.mode == "plan_only":
            change.tell(
                "task_plan_delta", status="planned", text_delta="Planned; resume begins it."
            )
        else:
            self._ready(change)

    def _ready(self, change: Change) -> None:
        """To the queue, unless a person has to be asked first."""
        if self._runner.look(change) is not None:
            change.queue()
            change.tell(
                "task_plan_delta",
                status="planned",
                text_delta="Queued.",
                queued_position=_ahead(change),
            )

    # Looking

    async def get(self, client_id: str, task_id: str) -> Task:
        return await self._read(lambda c: records.one(c, client_id, task_id))

    async def listing(
        self,
        client_id: str,
        *,
        session: str | None = None,
        owner: str | None = None,
        live: bool = False,
        limit: int = 20,
    ) -> list[Task]:
        """Latest first, with their steps. `live`: only those that have not ended."""
        where = [tasks.c.client_id == client_id]
        if session is not None:
            where.append(tasks.c.session_key == session)
        if owner is not None:
            where.append(tasks.c.owner == owner)
        if live:
            where.append(_live())
        return await self._read(lambda c: records.fetch(c, *where, limit=limit))

    async def events(
        self, client_id: str, task_id: str, *, after: int = 0, limit: int = 100
    ) -> list[TaskEvent]:
        """Oldest to newest: the latest `limit` of those with a `seq` over `after`."""
        where = (
            task_events.c.client_id == client_id,
            task_events.c.task_id == task_id,
            task_events.c.seq > after,
        )

        def look(conn: Connection) -> list[TaskEvent]:
            records.one(conn, client_id, task_id)
            return records.log_of(conn, *where, limit=limit)

        return await self._read(look)

    async def waiting(self, client_id: str, session: str | None = None) -> list[Approval]:
        """Approvals that wait for an answer, oldest first."""
        where = [
            approvals.c.client_id == client_id,
            approvals.c.status == "waiting",
            approvals.c.expires_at > self._clock.now_ms(),
        ]
        if session is not None:
            where.append(
                approvals.c.task_id.in_(select(tasks.c.id).where(tasks.c.session_key == session))
            )
        return await self._read(lambda c: records.questions(c, *where))

    async def _read(self, look: Callable[[Connection], T]) -> T:
        async with self._store.read() as connection:
            return await connection.run_sync(look)

    # Steering

    async def answer(
        self,
        client_id: str,
        task_id: str,
        *,
        approved: bool,
        by: str,
        through: Through,
        approval_id: str | None = None,
        session: str | None = None,
    ) -> Task:
        """Say yes or no to what `task_id` waits for. The first answer wins.

        `approval_id`: this very question and no later one. `session`: only if the task belongs to
        it. Raises NotFound, Conflict (`not_waiting`, `approval_expired`).
        """

        def unit(change: Change) -> bool:
            asked = change.task.approval
            if asked is None or approval_id not in (None, asked.id):
                raise Conflict("That task waits for no such approval.", code="not_waiting")
            if asked.expires_at <= change.now:
                change.expire()
                return False
            step = next(one for one in change.task.steps if one.id == asked.step_id)
            change.answered(asked, "approved" if approved else "denied", by, through)
            if approved:
                change.step(step, status="planned")
                change.move("approve")
                change.tell(
                    "task_plan_delta", status="planned", text_delta=f"Approved: {step.title}"
                )
                self._ready(change)
            else:
                change.deny("approval_denied", f"Not approved: {step.title}", step)
            return True

        in_time, task = await self._change(client_id, task_id, unit, session)
        if not in_time:
            raise Conflict("The time to answer is over.", code="approval_expired")
        return task

    async def cancel(
        self, client_id: str, task_id: str, *, reason: str = "", session: str | None = None
    ) -> Task:
        """Stop it for good, in the middle of a step if need be. One that has ended: Conflict."""
        detail = storable(reason).strip()[:500] or "Cancelled."
        _, task = await self._change(client_id, task_id, lambda c: c.cancel(detail), session)
        await self._runner.stop_task(task_id)
        return task

    async def pause(self, client_id: str, task_id: str, *, session: str | None = None) -> Task:
        """No further step begins; the one under way ends by itself."""
        _, task = await self._change(client_id, task_id, _pause, session)
        return task

    async def resume(self, client_id: str, task_id: str, *, session: str | None = None) -> Task:
        """Go on after a pause, or begin what was only planned."""

        def unit(change: Change) -> None:
            task = change.task
            if task.status == "planned" and not (task.mode == "plan_only" and task.stretch == 0):
                raise Conflict("That task waits for its turn already.", code="wrong_state")
            if change.fence:  # the step that was under way still is
                change.move("unpause")
                change.tell("task_plan_delta", status=task.status, text_delta="Resumed.")
                return
            change.move("resume")
            change.tell("task_plan_delta", status=task.status, text_delta="Resumed.")
            if task.steps:
                self._ready(change)

        _, task = await self._change(client_id, task_id, unit, session)
        if not task.steps:
            self._tasks.start(self.plan(task), "plan")
        return task

    async def retry(self, client_id: str, task_id: str) -> Task:
        """Again from the step that failed; what was done stays done."""

        def unit(change: Change) -> None:
            # Not one that failed before and was planned around: the one the task ended with.
            ended = change.task.ended_at
            over = [s for s in change.task.steps if s.status in ("failed", "cancelled")]
            step = next((s for s in reversed(over) if s.ended_at == ended), None)
            change.move("retry", code=None, detail=None, ended_at=None, reported=False)
            change.set(expires_at=change.now + change.timeout_ms)
            if step is not None:
                change.step(
                    step,
                    status="planned",
                    attempt=step.attempt + 1,
                    error=None,
                    started_at=None,
                    ended_at=None,
                )
            change.tell("task_plan_delta", status="planned", text_delta="Tried again.")
            if change.task.steps:
                self._ready(change)

        _, task = await self._change(client_id, task_id, unit)
        if not task.steps:
            self._tasks.start(self.plan(task), "plan")
        return task

    async def replan(self, client_id: str, task_id: str, steps: list[PlannedStep]) -> Task:
        """Put `steps` in the place of those not begun. Raises Invalid, Conflict (a step runs)."""

        def unit(change: Change) -> None:
            task = change.task
            if task.status in ENDED or change.running is not None:
                raise Conflict("The plan can't be changed now.", code="wrong_state")
            begun = [step.node for step in task.steps if step.started_at is not None]
            checked = plans.checked(steps, self._runner.effect, done=begun)
            was_waiting = task.status == "awaiting_approval"
            if was_waiting:
                _pause(change)
            self._runner.plan(change, checked, "The plan was changed.")
            if was_waiting:
                change.move("resume")
                self._ready(change)
            elif task.status == "planned" and task.stretch == 0 and task.mode != "plan_only":
                self._ready(change)  # it came before the persona's own plan

        _, task = await self._change(client_id, task_id, unit)
        return task

    async def _change(
        self,
        client_id: str,
        task_id: str,
        do: Callable[[Change], T],
        session: str | None = None,
    ) -> tuple[T, Task]:
        """Change a task in one transaction, then see to what follows from it."""

        def unit(conn: Connection) -> tuple[T, Task]:
            with records.opened(conn, client_id, task_id, self._clock.now_ms()) as change:
                if session is not None and change.task.session != session:
                    raise records.no_such(task_id)
                return do(change), change.task

        done, task = await self._store.write(unit)
        self._feed.written()
        await self._work.queue(task)
        return done, task

    # What it made

    async def artifacts(self, client_id: str, task_id: str) -> list[Artifact]:
        await self.get(client_id, task_id)
        return await asyncio.to_thread(self._workspace(task_id).artifacts)

    async def artifact(self, client_id: str, task_id: str, path: str) -> bytes:
        """What is in an artifact, never in a file outside the workspace. Raises NotFound."""
        await self.get(client_id, task_id)
        workspace = self._workspace(task_id)

        def read() -> bytes:
            with workspace.open(path) as file:
                return file.read(FILE_BYTES)

        return await asyncio.to_thread(read)

    def _workspace(self, task_id: str) -> Workspace:
        return Workspace(self._runner.workspace(task_id))

    def follow(
        self,
        client_id: str,
        *,
        session: str | None = None,
        task_id: str | None = None,
        after: int | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[TaskEvent]]:
        """The log as it grows, over all hubs of the database, in order and without gaps.

        Begins behind the event with the id `after`; None: with what happens from now on. A
        follower that reads too slowly loses nothing.
        """
        return self._feed.follow(client_id, session=session, task_id=task_id, after=after)

    async def close(self) -> None:
        await self._tasks.close()


def _live() -> ColumnElement[bool]:
    return tasks.c.status.not_in(ENDED)


def _broke(task: Task) -> str:
    id = secrets.token_hex(4)
    log.exception("task.planning_broke", task_id=task.id, id=id)
    return f"Planning it failed unexpectedly. The log has it as {id}."


def _unplanned(change: Change, why: str) -> None:
    if not change.task.steps and change.task.status == "planned":
        change.fail("planning_failed", why)


def _pause(change: Change) -> None:
    """Whoever was asked need not answer; after the pause the question comes again."""
    if change.task.approval is not None:
        step = next(s for s in change.task.steps if s.id == change.task.approval.step_id)
        change.withdraw()
        change.step(step, status="planned")
    change.move("pause", wake_at=None)
    change.tell("task_plan_delta", status="paused", text_delta="Paused.")


def _ahead(change: Change) -> int:
    """How many wait in front of it."""
    query = (
        select(func.count())
        .select_from(tasks)
        .where(
            tasks.c.client_id == change.task.client_id,
            tasks.c.status == "planned",
            tasks.c.stretch > 0,
            tasks.c.place < change.place,
        )
    )
    return (change.connection.scalar(query) or 0) + 1
