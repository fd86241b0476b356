"""The rows of tasks: the one truth about them.

Plain functions over a sync Connection, each part of one transaction of the store (which may run
it twice). Whoever changes a task opens it with `opened`, which locks its row, and says through the
`Change` what happens to it: status, steps, questions, and the lines of its log, which are numbered
without gaps because the row is locked. Nothing outside this module writes these tables.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from tron.errors import NotFound
from tron.storage.tables import approvals, task_events, task_steps, tasks
from tron.tasks.contract import (
    ENDED,
    RISKS,
    Approval,
    Effect,
    NewTask,
    PlannedStep,
    Priority,
    Step,
    Task,
    TaskEvent,
)
from tron.tasks.states import Happening, after

EARLIER_MS: dict[Priority, int] = {"high": 600_000, "normal": 0, "low": -600_000}
SUMMARY_CHARS = 120
EVENTS_KEPT = 512
"""lines of one task's log; past that, what steps say and that it waits, rests and goes on is left
out, never what was done and how it ended"""


def fetch(
    conn: Connection,
    *where: ColumnElement[bool],
    limit: int | None = None,
    newest_first: bool = True,
) -> list[Task]:
    """Tasks with their steps and the approval each waits for."""
    order = tasks.c.created_at.desc() if newest_first else tasks.c.place
    rows = conn.execute(select(tasks).where(*where).order_by(order, tasks.c.id).limit(limit)).all()
    return _assembled(conn, rows)


def one(conn: Connection, client_id: str, task_id: str) -> Task:
    """Raises NotFound."""
    found = fetch(conn, tasks.c.client_id == client_id, tasks.c.id == task_id)
    if not found:
        raise no_such(task_id)
    return found[0]


def no_such(task_id: str) -> NotFound:
    return NotFound(f"There is no task {task_id[:64]!r}.", code="task_not_found")


def log_of(conn: Connection, *where: ColumnElement[bool], limit: int) -> list[TaskEvent]:
    """The latest `limit` lines, oldest first."""
    query = select(task_events).where(*where).order_by(task_events.c.id.desc()).limit(limit)
    return [event(row) for row in reversed(conn.execute(query).all())]


def event(row: Row[Any]) -> TaskEvent:
    return TaskEvent(
        id=row.id,
        client_id=row.client_id,
        task_id=row.task_id,
        session=row.session_key,
        seq=row.seq,
        at=row.at,
        kind=row.kind,
        body=msgspec.json.decode(row.body),
    )


def questions(conn: Connection, *where: ColumnElement[bool]) -> list[Approval]:
    """Approvals, oldest first."""
    rows = conn.execute(select(approvals).where(*where).order_by(approvals.c.asked_at))
    return [_approval(row) for row in rows]


def place(created_at: int, priority: Priority) -> int:
    """Where a task stands in the queue: the lower, the sooner."""
    return created_at - EARLIER_MS[priority]


def create(conn: Connection, new: NewTask, *, digest: str, timeout_ms: int, now: int) -> str:
    """A new task, not planned yet; returns its id. A key used before breaks a constraint."""
    task_id = "task_" + secrets.token_hex(12)
    intent = " ".join(new.intent.split())
    conn.execute(
        insert(tasks).values(
            id=task_id,
            client_id=new.client_id,
            session_key=new.session,
            owner=new.owner,
            user_id=new.user_id,
            channel=new.channel,
            agent=new.agent,
            intent=new.intent,
            summary=_short(intent),
            mode=new.mode,
            priority=new.priority,
            status="planned",
            stretch=0,
            fence="",
            place=place(now, new.priority),
            expires_at=now + timeout_ms,
            timeout_ms=timeout_ms,
            client_key=new.key,
            digest=digest,
            last_event=0,
            created_at=now,
            updated_at=now,
        )
    )
    return task_id


def remove(conn: Connection, ids: list[str]) -> None:
    """Everything about these tasks, of those that have ended."""
    ended = select(tasks.c.id).where(tasks.c.id.in_(ids), tasks.c.status.in_(ENDED))
    ids = list(conn.scalars(ended.with_for_update()))  # one may have been tried again just now
    for table in (task_events, task_steps, approvals):
        conn.execute(delete(table).where(table.c.task_id.in_(ids)))
    conn.execute(delete(tasks).where(tasks.c.id.in_(ids)))


@contextmanager
def opened(conn: Connection, client_id: str, task_id: str, now: int) -> Iterator["Change"]:
    """The task, locked until the transaction ends; what is changed is written on leaving.

    Raises NotFound.
    """
    if conn.dialect.name == "postgresql":  # several hubs: one after the other, so that their
        conn.execute(_IN_TURN)  # lines of the log are committed in the order of their ids
    row = conn.execute(_LOCKED, {"client": client_id, "task": task_id}).first()
    if row is None:
        raise no_such(task_id)
    change = Change(conn, row, _assembled(conn, [row])[0], now)
    yield change
    change.write()


class Change:
    """One task inside a transaction; `task` is as it stands after what was done so far."""

    def __init__(self, conn: Connection, row: Row[Any], task: Task, now: int) -> None:
        self.connection = conn
        self.task = task
        self.now = now
        self.fence: str = row.fence
        """of the step under way; empty: none"""
        self.timeout_ms: int = row.timeout_ms
        self.place: int = row.place
        self._last_event: int = row.last_event
        self._ran: bool = row.status == "running"
        self._columns: dict[str, Any] = {}
        self._steps: dict[int, dict[str, Any]] = {}
        self._lines: list[dict[str, Any]] = []

    # The task

    def move(self, happening: Happening, **columns: Any) -> None:
        """Change the status as `states` says, and `columns` with it. Raises Conflict."""
        self.task.status = after(self.task.status, happening)
        if self.task.status in ENDED:
            columns.update(ended_at=self.now, wake_at=None, fence="")
        self.set(status=self.task.status, **columns)

    def set(self, **columns: Any) -> None:
        """Write `columns`. Only the time in which it runs counts towards its limit."""
        if not self._ran:
            rested = self.now - self.task.updated_at
            columns.setdefault("expires_at", self.task.expires_at + rested)
        self._ran = self.task.status == "running"
        self.fence = columns.get("fence", self.fence)
        for name, value in columns.items():
            if name in Task.__struct_fields__:
                setattr(self.task, name, value)
        columns["updated_at"] = self.task.updated_at = self.now
        self._columns.update(columns)

    def queue(self) -> int:
        """It is to be worked on (again): the number of the stretch to queue."""
        self.set(stretch=self.task.stretch + 1, wake_at=None)
        return self.task.stretch

    def fail(self, code: str, detail: str, step: Step | None = None) -> None:
        self._end("fail", code, detail, step)

    def cancel(self, detail: str) -> None:
        self._end("cancel", "cancelled", detail, self.running)

    def deny(self, code: str, detail: str, step: Step | None) -> None:
        self._end("deny", code, detail, step)

    def expire(self) -> None:
        """Nobody answered in time, if anybody was asked."""
        asked = self.task.approval
        if asked is not None and asked.expires_at <= self.now:
            step = next((one for one in self.task.steps if one.id == asked.step_id), None)
            self.answered(asked, "expired", "", "")
            self.deny("approval_expired", "Nobody approved it in time.", step)

    def _end(self, happening: Happening, code: str, detail: str, step: Step | None) -> None:
        self.move(happening, code=code, detail=detail)
        self.withdraw()
        ending = "cancelled" if self.task.status == "cancelled" else "failed"
        if step is not None and step.status not in ENDED:
            self.step(step, status=ending, error=detail, ended_at=self.now)
        self.tell(
            "task_failed",
            step_id=step.id if step else None,
            status=ending,
            code=code,
            detail=detail,
        )

    def complete(self, result: str) -> None:
        self.move("complete", result=result)
        self.tell("task_completed", status="completed", result=result)

    # Its steps

    @property
    def running(self) -> Step | None:
        """The step under way, here or on a hub that died."""
        return next((step for step in self.task.steps if step.status == "running"), None)

    @property
    def next(self) -> Step | None:
        """The first step that is not over."""
        return next((step for step in self.task.steps if step.status not in ENDED), None)

    def step(self, step: Step, **columns: Any) -> None:
        for name, value in columns.items():
            setattr(step, name, value)
        self._steps.setdefault(step.seq, {}).update(columns)

    def plan(self, steps: Iterable[PlannedStep], effects: Mapping[str, Effect]) -> None:
        """Put `steps` in the place of those not begun. `effects`: of each tool they name."""
        self.write()
        kept = [step for step in self.task.steps if step.started_at is not None]
        left = task_steps.c.seq > max((step.seq for step in kept), default=0)
        self.connection.execute(
            delete(task_steps).where(task_steps.c.task_id == self.task.id, left)
        )
        first = max((step.seq for step in kept), default=0) + 1
        agreed = self._agreed()
        rows = [
            {
                "task_id": self.task.id,
                "seq": seq,
                "client_id": self.task.client_id,
                "node": planned.node,
                "title": planned.title,
                "tool": planned.tool,
                "arguments": msgspec.json.encode(planned.arguments).decode(),
                "needs": msgspec.json.encode(planned.needs).decode(),
                "effect": effects[planned.tool],
                "status": "planned",
                "attempt": agreed.get(planned.node, 0) + 1,  # no yes so far was about this one
            }
            for seq, planned in enumerate(steps, first)
        ]
        self.connection.execute(insert(task_steps), rows)
        self.task.steps = _steps(self.connection, [self.task.id]).get(self.task.id, [])

    # Questions to people

    def ask(
        self, step: Step, arguments: Mapping[str, Any], digest: str, prompt: str, expires_at: int
    ) -> Approval:
        """Whether `step` may be done with exactly these arguments."""
        id = "appr_" + secrets.token_hex(12)
        self.connection.execute(
            insert(approvals).values(
                id=id,
                client_id=self.task.client_id,
                task_id=self.task.id,
                node=step.node,
                attempt=step.attempt,
                digest=digest,
                tool=step.tool,
                arguments=msgspec.json.encode(arguments).decode(),
                prompt=prompt,
                risk=RISKS[step.effect],
                status="waiting",
                asked_at=self.now,
                expires_at=expires_at,
            )
        )
        self.move("ask", fence="")
        self.step(step, status="awaiting_approval")
        (self.task.approval,) = questions(self.connection, approvals.c.id == id)
        self.tell(
            "task_waiting_approval",
            step_id=step.id,
            risk_level=RISKS[step.effect],
            prompt=prompt,
            requires_approval=True,
            approval_id=id,
            expires_at=expires_at,
        )
        return self.task.approval

    def answered(self, approval: Approval, status: str, by: str, through: str) -> None:
        self.connection.execute(
            update(approvals)
            .where(approvals.c.id == approval.id)
            .values(status=status, answered_at=self.now, answered_by=by, through=through)
        )
        self.task.approval = None

    def approved(self, step: Step, digest: str) -> bool:
        """Whether somebody said yes to exactly this, for this attempt."""
        query = select(approvals.c.id).where(
            approvals.c.task_id == self.task.id,
            approvals.c.node == step.node,
            approvals.c.attempt == step.attempt,
            approvals.c.digest == digest,
            approvals.c.status == "approved",
        )
        return self.connection.execute(query).first() is not None

    def _agreed(self) -> dict[str, int]:
        """The latest attempt of each step that somebody said yes to."""
        query = (
            select(approvals.c.node, func.max(approvals.c.attempt))
            .where(approvals.c.task_id == self.task.id, approvals.c.status == "approved")
            .group_by(approvals.c.node)
        )
        return {row.node: row[1] for row in self.connection.execute(query)}

    def withdraw(self) -> None:
        """Nobody needs to answer any more."""
        waiting = (approvals.c.task_id == self.task.id, approvals.c.status == "waiting")
        self.connection.execute(
            update(approvals).where(*waiting).values(status="withdrawn", answered_at=self.now)
        )
        self.task.approval = None

    # Its log

    def tell(self, kind: str, **body: Any) -> None:
        """A line of the log; followers see it once the transaction is through."""
        if kind in ("task_step_log", "task_plan_delta") and self._last_event >= EVENTS_KEPT:
            return
        self._last_event += 1
        self._columns["last_event"] = self._last_event
        self._lines.append(
            {
                "client_id": self.task.client_id,
                "task_id": self.task.id,
                "session_key": self.task.session,
                "seq": self._last_event,
                "at": self.now,
                "kind": kind,
                "body": msgspec.json.encode(body).decode(),
            }
        )

    def write(self) -> None:
        """Into the tables, what was only noted so far."""
        columns, self._columns = self._columns, {}
        if columns:
            self.connection.execute(_TASK, {"task": self.task.id, **columns})
        steps, self._steps = self._steps, {}
        for seq, changes in steps.items():
            self.connection.execute(_STEP, {"task": self.task.id, "number": seq, **changes})
        lines, self._lines = self._lines, []
        if lines:
            self.connection.execute(insert(task_events), lines)


_IN_TURN = select(func.pg_advisory_xact_lock(0x7461736B73))  # "tasks"
_LOCKED = (
    select(tasks)
    .where(tasks.c.client_id == bindparam("client"), tasks.c.id == bindparam("task"))
    .with_for_update()
)
_TASK = update(tasks).where(tasks.c.id == bindparam("task"))
_STEP = update(task_steps).where(
    task_steps.c.task_id == bindparam("task"), task_steps.c.seq == bindparam("number")
)


def _assembled(conn: Connection, rows: Sequence[Row[Any]]) -> list[Task]:
    ids = [row.id for row in rows]
    steps = _steps(conn, ids)
    asking = [row.id for row in rows if row.status == "awaiting_approval"]
    waiting = {}
    if asking:
        mine = approvals.c.task_id.in_(asking)
        for found in questions(conn, mine, approvals.c.status == "waiting"):
            waiting[found.task_id] = found
    return [_task(row, steps.get(row.id, []), waiting.get(row.id)) for row in rows]


def _task(row: Row[Any], steps: list[Step], approval: Approval | None) -> Task:
    return Task(
        id=row.id,
        client_id=row.client_id,
        session=row.session_key,
        owner=row.owner,
        user_id=row.user_id,
        channel=row.channel,
        agent=row.agent,
        intent=row.intent,
        summary=row.summary,
        mode=row.mode,
        priority=row.priority,
        status=row.status,
        stretch=row.stretch,
        wake_at=row.wake_at,
        expires_at=row.expires_at,
        result=row.result,
        code=row.code,
        detail=row.detail,
        created_at=row.created_at,
        updated_at=row.updated_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        steps=steps,
        approval=approval,
    )


def _steps(conn: Connection, ids: list[str]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for row in conn.execute(_STEPS, {"ids": ids}):
        found.setdefault(row.task_id, []).append(
            Step(
                id=f"{row.task_id}.{row.node}",
                seq=row.seq,
                node=row.node,
                title=row.title,
                tool=row.tool,
                arguments=msgspec.json.decode(row.arguments),
                needs=tuple(msgspec.json.decode(row.needs)),
                effect=row.effect,
                status=row.status,
                attempt=row.attempt,
                result=row.result,
                error=row.error,
                started_at=row.started_at,
                ended_at=row.ended_at,
            )
        )
    return found


_STEPS = (
    select(task_steps)
    .where(task_steps.c.task_id.in_(bindparam("ids", expanding=True)))
    .order_by(task_steps.c.task_id, task_steps.c.seq)
)


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        id=row.id,
        client_id=row.client_id,
        task_id=row.task_id,
        step_id=f"{row.task_id}.{row.node}",
        digest=row.digest,
        tool=row.tool,
        arguments=msgspec.json.decode(row.arguments),
        prompt=row.prompt,
        risk=row.risk,
        status=row.status,
        asked_at=row.asked_at,
        expires_at=row.expires_at,
        answered_at=row.answered_at,
        answered_by=row.answered_by,
        through=row.through,
    )


def _short(text: str) -> str:
    return text if len(text) <= SUMMARY_CHARS else text[: SUMMARY_CHARS - 1].rstrip() + "…"
