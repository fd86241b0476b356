"""What a hub does for tasks by itself, once a second.

Queues what is ready, wakes what waited for its time, ends what took too long or was never
answered, stops steps whose task is over, plans what a hub that died had not planned, takes up the
work of hubs that died, and lets go of what ended long ago. Every move is one transaction on a
locked row, so hubs that share a database do each of them once.
"""

import asyncio
import secrets
import shutil
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, and_, or_, select, tuple_, update

from tron.clock import DAY_MS, Clock, iso
from tron.errors import NotFound, TronError
from tron.heartbeat import alive
from tron.storage.store import Store
from tron.storage.tables import approvals, tasks
from tron.supervise import Tasks
from tron.tasks import records
from tron.tasks.contract import ENDED, Task
from tron.tasks.engine import Engine
from tron.tasks.feed import Feed
from tron.tasks.records import Change
from tron.tasks.running import Runner

log = structlog.get_logger(__name__)

ROUND_S = 1.0
UNPLANNED_MS = 60_000
"""a task that has no plan by then was left by a hub that died"""
QUEUE_AGAIN_MS = 60_000
PRUNE_MS = 3_600_000
NOWHERE = (-(2**63), "")
"""in front of the first place in the queue"""
AT_ONCE = 200
"""tasks seen to in one round, of each kind"""

_LIVE = select(tasks.c.status).where(tasks.c.status.not_in(ENDED)).distinct()

Plan = Callable[[Task], Coroutine[Any, Any, None]]


class Work:
    """See the module."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        runner: Runner,
        engine: Engine,
        feed: Feed,
        hub_id: str,
        keep_days: int,
    ) -> None:
        """`keep_days`: how long tasks that have ended are kept, with their files."""
        self._store = store
        self._clock = clock
        self._runner = runner
        self._engine = engine
        self._feed = feed
        self._hub_id = hub_id
        self._keep_ms = keep_days * DAY_MS
        self._pruned_at = self._queued_at = 0
        self._queued_to = NOWHERE
        self._tasks = Tasks("task work")
        self._unqueued: dict[str, Task] = {}
        self._wake_up = asyncio.Event()

    def start(self, plan: Plan) -> None:
        """Begin the rounds. `plan` plans a task and queues it, unless it is being planned."""
        self._tasks.repeat(lambda: self._round(plan), "rounds", every_s=ROUND_S, soon=self._wake_up)

    async def queue(self, task: Task) -> None:
        """Have a task worked on, if it is ready for that. Saying it twice changes nothing."""
        if task.status != "planned" or task.stretch == 0 or task.wake_at is not None:
            return
        if not self._engine.running:  # nobody waits for that: the next round queues it
            self._unqueued[task.id] = task
            self._wake_up.set()
            return
        try:
            place = records.place(task.created_at, task.priority)
            await self._engine.enqueue(task.client_id, task.id, task.stretch, place)
        except TronError as error:  # it is stored: the next round tries again
            log.warning("task.not_queued_yet", task_id=task.id, error=error.type)
            self._unqueued[task.id] = task

    async def _advance(self, client_id: str, task_id: str, stretch: int) -> bool:
        try:
            return await self._runner.advance(client_id, task_id, stretch)
        except NotFound:
            return False
        except Exception:  # border: one task's fault is its own
            id = secrets.token_hex(4)
            log.exception("task.broke", task_id=task_id, id=id)
            await self._broke(
                client_id, task_id, f"It failed unexpectedly. The log has it as {id}."
            )
            return False
        finally:
            self._feed.written()

    async def _broke(self, client_id: str, task_id: str, detail: str) -> None:
        def unit(conn: Connection) -> None:
            with records.opened(conn, client_id, task_id, self._clock.now_ms()) as change:
                if change.task.status not in ENDED:
                    change.fail("step_failed", detail, change.running)

        await self._runner.saved(unit)

    async def _round(self, plan: Plan) -> None:
        now = self._clock.now_ms()
        async with self._store.read() as connection:
            live = {row.status for row in await connection.execute(_LIVE)}
        if "running" in live:
            await self._end_late(now)
        await self._stop_ended()
        if "awaiting_approval" in live:
            await self._expire(now)
        if live & {"planned", "running"} and not self.stopping:
            await self._engine.start(self._advance)
            await self._adopt(now)
            unqueued, self._unqueued = self._unqueued, {}
            for task in unqueued.values():
                await self.queue(task)
            await self._wake(now)
            await self._queue_again(now)
            await self._plan(plan, now)
        if now - self._pruned_at >= PRUNE_MS:
            await self._prune(now)

    async def _queue_again(self, now: int) -> None:
        """What was stored, and not queued because its hub died, or that the queue has lost: some
        each round, then a rest."""
        if now - self._queued_at < QUEUE_AGAIN_MS:
            return
        ready = and_(tasks.c.status == "planned", tasks.c.wake_at.is_(None), tasks.c.stretch > 0)
        between_steps = and_(tasks.c.status == "running", tasks.c.fence == "")
        lying = between_steps & (tasks.c.updated_at <= now - QUEUE_AGAIN_MS)
        behind = tuple_(tasks.c.place, tasks.c.id) > self._queued_to
        found = await self._find(or_(ready, lying), behind)
        over = await self._engine.over([f"{task.id}.{task.stretch}" for task in found])
        for task in found:
            if task.status == "running" or f"{task.id}.{task.stretch}" in over:
                log.warning("task.begun_again", task_id=task.id, stretch=task.stretch)
                task = await self._change(task, partial(_anew, task.stretch))
            await self.queue(task)
        if len(found) < AT_ONCE:
            self._queued_at, self._queued_to = now, NOWHERE
        else:
            last = found[-1]
            self._queued_to = (records.place(last.created_at, last.priority), last.id)

    async def _wake(self, now: int) -> None:
        def wake(change: Change) -> None:
            due = change.task.wake_at
            if change.task.status == "planned" and due is not None and due <= now:
                change.queue()

        for task in await self._find(tasks.c.status == "planned", tasks.c.wake_at <= now):
            await self.queue(await self._change(task, wake))

    async def _end_late(self, now: int) -> None:
        def end(change: Change) -> None:
            if change.task.status == "running" and change.task.expires_at <= now:
                change.fail("task_timeout", "It took longer than it may.", change.running)

        for task in await self._find(tasks.c.status == "running", tasks.c.expires_at <= now):
            await self._change(task, end)

    async def _expire(self, now: int) -> None:
        late = (approvals.c.status == "waiting", approvals.c.expires_at <= now)
        ids = select(approvals.c.task_id).where(*late)
        for task in await self._find(tasks.c.id.in_(ids)):
            await self._change(task, lambda change: change.expire())

    async def _plan(self, plan: Plan, now: int) -> None:
        old = (tasks.c.status == "planned", tasks.c.stretch == 0)
        for task in await self._find(*old, tasks.c.updated_at <= now - UNPLANNED_MS):
            if not task.steps:
                self._tasks.start(plan(task), "plan")

    async def _stop_ended(self) -> None:
        """Steps that run here although their task was ended, or taken up, elsewhere."""
        here = self._runner.working_on
        if here:
            query = select(tasks.c.fence).where(tasks.c.id.in_(here.values()), tasks.c.fence != "")
            async with self._store.read() as connection:
                wanted = set(await connection.scalars(query))
            for fence in here.keys() - wanted:
                await self._runner.stop(fence)

    async def _adopt(self, now: int) -> None:
        """Take up what hubs had begun that are dead now."""
        async with self._store.read() as connection:
            living = {self._hub_id, *(await connection.scalars(alive(now)))}
        for workflow_id, executor in await self._engine.left_behind(living):
            claim = self._claim(workflow_id, executor, living)
            if await self._store.write(claim):
                log.info("task.taken_up", workflow=workflow_id, left_by=executor)
                await self._engine.resume(workflow_id)

    def _claim(
        self, workflow_id: str, executor: str, alive: set[str]
    ) -> Callable[[Connection], bool]:
        """Whether this hub is the one to take it up."""
        mark = f"{workflow_id}@{executor}"
        others = alive - {self._hub_id}  # what this hub claimed and could not resume is free
        free = or_(tasks.c.adopted != mark, tasks.c.adopter.not_in(others))
        this = tasks.c.id == workflow_id.rpartition(".")[0]
        claim = update(tasks).where(this, free).values(adopted=mark, adopter=self._hub_id)
        return lambda conn: conn.execute(claim).rowcount == 1

    async def _prune(self, now: int) -> None:
        """Let go of what ended long ago, the files it made included."""
        old = await self._find(tasks.c.ended_at <= now - self._keep_ms)
        for task in old:
            workspace = self._runner.workspace(task.id)
            await asyncio.to_thread(shutil.rmtree, workspace, ignore_errors=True)
        ids = [task.id for task in old]
        await self._store.write(lambda conn: records.remove(conn, ids))
        if len(old) < AT_ONCE:
            self._pruned_at = now
        if self._engine.running:
            await self._engine.forget(iso(now - DAY_MS))

    async def _find(self, *where: ColumnElement[bool]) -> list[Task]:
        """The first of those in the queue, of all tenants."""
        async with self._store.read() as connection:
            return await connection.run_sync(
                lambda c: records.fetch(c, *where, limit=AT_ONCE, newest_first=False)
            )

    async def _change(self, task: Task, do: Callable[[Change], None]) -> Task:
        def unit(conn: Connection) -> Task:
            with records.opened(conn, task.client_id, task.id, self._clock.now_ms()) as change:
                do(change)
            return change.task

        changed = await self._store.write(unit)
        self._feed.written()
        return changed

    def shut(self) -> None:
        """Begin nothing any more; steps under way may end."""
        self._runner.shut()
        self._engine.shut()

    @property
    def stopping(self) -> bool:
        """Whether the hub is about to end: whoever follows a task should come back to the next."""
        return self._runner.stopping

    async def close(self) -> None:
        """Leave what is still under way to whoever comes next."""
        self.shut()
        await self._tasks.close()
        await self._engine.close()


def _anew(stretch: int, change: Change) -> None:
    """Nobody works on this stretch any more: another one."""
    task = change.task
    if task.stretch != stretch or change.fence or task.wake_at is not None:
        return
    if task.status == "running":
        change.move("wait")
    if task.status == "planned":
        change.queue()
