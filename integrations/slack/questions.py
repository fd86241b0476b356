"""Where in Slack people were asked: one row a question, shared by all hubs of the database.

A row is written before its message is posted and closed when the message shows what became of the
question, so a hub that dies in between leaves nothing undone: its lease runs out and another hub
goes on. Owns the table `slack_questions` and changes nothing of tasks.
"""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, delete, exists, or_, select, update

from tron.clock import DAY_MS, Clock
from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import HOUSE, approvals, sessions, tasks
from tron.storage.tables import slack_questions as table
from tron.tasks import records
from tron.tasks.contract import Approval

LEASE_MS = 90_000
"""longer than one message takes; also how long one that failed rests"""
LOST_MS = 60_000
"""a question taken over by reporting and not written down within this is asked again"""
KEPT_MS = 30 * DAY_MS
AT_ONCE = 20


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """A place in Slack, and the app that is there."""

    app: str
    team: str
    channel: str
    thread: str
    """ts; empty: not in a thread"""
    lane: str = ""
    """whose answers come first"""
    caller: str = ""
    """who began it"""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A row."""

    approval_id: str
    where: Where
    ts: str
    """of the message; empty: not posted yet"""


class Questions:
    """See the module."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def add(self, approval_id: str, where: Where) -> Question | None:
        """Write down that it is to be asked there; None if it was before."""
        row = {
            "approval_id": approval_id,
            "client_id": HOUSE,
            "app": where.app,
            "team_id": where.team,
            "channel": where.channel,
            "thread_ts": where.thread,
            "lease_until": self._clock.now_ms() + LEASE_MS,
        }
        if not await self._store.write(lambda conn: insert_new(conn, table, **row)):
            return None
        return Question(approval_id=approval_id, where=where, ts="")

    async def take(self) -> list[Question]:
        """What is to be posted, or to be changed because it was answered; ours for a while."""
        now = self._clock.now_ms()
        settled = exists().where(
            approvals.c.id == table.c.approval_id, approvals.c.status != "waiting"
        )
        due = and_(
            table.c.client_id == HOUSE,
            table.c.closed.is_(False),
            table.c.lease_until <= now,
            or_(table.c.ts == "", settled),
        )
        anything = select(table.c.approval_id).where(due).limit(1)
        async with self._store.read() as conn:
            if (await conn.execute(anything)).first() is None:
                return []

        def unit(conn: Connection) -> list[Question]:
            rows = conn.execute(select(table).where(due).limit(AT_ONCE)).all()
            return [_question(row) for row in rows if _claimed(conn, row, now)]

        return await self._store.write(unit)

    async def posted(self, question: Question, channel: str, ts: str) -> None:
        """Its message is there."""
        await self._change(question, channel=channel, ts=ts, lease_until=0)

    async def move(self, question: Question, where: Where) -> None:
        """It is to be asked there instead."""
        place = {"app": where.app, "channel": where.channel, "thread_ts": where.thread}
        await self._change(question, **place, lease_until=0)

    async def close(self, question: Question) -> None:
        """There is nothing left to do about it."""
        await self._change(question, closed=True)

    async def find(self, approval_id: str) -> tuple[Approval | None, Question | None]:
        """A question of a task, and where it was asked."""

        def look(conn: Connection) -> tuple[Approval | None, Question | None]:
            mine = (approvals.c.client_id == HOUSE, approvals.c.id == approval_id)
            found = records.questions(conn, *mine)
            row = conn.execute(select(table).where(table.c.approval_id == approval_id)).first()
            return (found[0] if found else None, None if row is None else _question(row))

        async with self._store.read() as conn:
            return await conn.run_sync(look)

    async def lost(self) -> list[str]:
        """Tasks of Slack whose question somebody took over and never wrote down."""
        query = (
            select(approvals.c.task_id)
            .join(tasks, tasks.c.id == approvals.c.task_id)
            .join(sessions, sessions.c.key == tasks.c.session_key)
            .where(
                approvals.c.client_id == HOUSE,
                approvals.c.status == "waiting",
                approvals.c.reported.is_(True),
                approvals.c.asked_at < self._clock.now_ms() - LOST_MS,
                sessions.c.channel == "slack",
                approvals.c.id.not_in(select(table.c.approval_id)),
            )
            .limit(AT_ONCE)
        )
        async with self._store.read() as conn:
            return list((await conn.execute(query)).scalars())

    async def prune(self) -> None:
        """Forget what was settled long ago."""
        old = self._clock.now_ms() - KEPT_MS
        gone = delete(table).where(table.c.closed.is_(True), table.c.lease_until < old)
        await self._store.write(lambda conn: conn.execute(gone))

    async def _change(self, question: Question, **values: Any) -> None:
        values.setdefault("lease_until", self._clock.now_ms())
        change = update(table).where(table.c.approval_id == question.approval_id).values(values)
        await self._store.write(lambda conn: conn.execute(change))


def _claimed(conn: Connection, row: Row[Any], now: int) -> bool:
    claim = (
        update(table)
        .where(table.c.approval_id == row.approval_id, table.c.lease_until == row.lease_until)
        .values(lease_until=now + LEASE_MS)
    )
    return conn.execute(claim).rowcount == 1


def _question(row: Row[Any]) -> Question:
    return Question(
        approval_id=row.approval_id,
        where=Where(app=row.app, team=row.team_id, channel=row.channel, thread=row.thread_ts),
        ts=row.ts,
    )
