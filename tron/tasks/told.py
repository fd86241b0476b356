"""Who has told what: each ended task and each question is told once, whichever hub does it.

Owns the `reported` columns of tasks and approvals and nothing else of them. Telling is claimed
first, in one statement that only one hub can win, and given back where it came to nothing.
"""

from typing import NamedTuple

from sqlalchemy import select, update

from tron.clock import DAY_MS, Clock
from tron.storage.store import Store
from tron.storage.tables import approvals, sessions, tasks
from tron.tasks.contract import ENDED

LOOK_BACK_MS = 7 * DAY_MS
"""older ends are no news"""
MOST = 1_000


class Untold(NamedTuple):
    """A task that has something to be told."""

    client_id: str
    session: str
    owner: str
    task_id: str


class Told:
    """See the module."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def claim_end(self, client_id: str, task_id: str) -> bool:
        """True: the end of this task is yours to tell."""
        unit = (
            update(tasks)
            .where(
                tasks.c.client_id == client_id,
                tasks.c.id == task_id,
                tasks.c.status.in_(ENDED),
                tasks.c.reported.is_(False),
            )
            .values(reported=True)
        )
        return await self._store.write(lambda c: c.execute(unit).rowcount == 1)

    async def claim_question(self, client_id: str, approval_id: str) -> bool:
        """True: this question is yours to ask."""
        unit = (
            update(approvals)
            .where(
                approvals.c.client_id == client_id,
                approvals.c.id == approval_id,
                approvals.c.status == "waiting",
                approvals.c.reported.is_(False),
            )
            .values(reported=True)
        )
        return await self._store.write(lambda c: c.execute(unit).rowcount == 1)

    async def give_back_end(self, client_id: str, task_id: str) -> None:
        """It was not told after all."""
        unit = update(tasks).where(tasks.c.client_id == client_id, tasks.c.id == task_id)
        await self._store.write(lambda c: c.execute(unit.values(reported=False)))

    async def give_back_question(self, client_id: str, approval_id: str) -> None:
        """It was not asked after all."""
        unit = update(approvals).where(
            approvals.c.client_id == client_id, approvals.c.id == approval_id
        )
        await self._store.write(lambda c: c.execute(unit.values(reported=False)))

    async def untold(self, client_id: str, session: str | None = None) -> list[Untold]:
        """Tasks of conversations with an end or a question not told yet, oldest first."""
        since = self._clock.now_ms() - LOOK_BACK_MS
        asking = select(approvals.c.task_id).where(
            approvals.c.client_id == client_id,
            approvals.c.status == "waiting",
            approvals.c.reported.is_(False),
        )
        ended = tasks.c.status.in_(ENDED) & tasks.c.reported.is_(False)
        query = select(tasks.c.client_id, tasks.c.session_key, tasks.c.owner, tasks.c.id).where(
            tasks.c.client_id == client_id,
            tasks.c.session_key != "",
            tasks.c.updated_at > since,
            ended | tasks.c.id.in_(asking),
        )
        if session is not None:
            query = query.where(tasks.c.session_key == session)
        async with self._store.read() as connection:
            rows = await connection.execute(query.order_by(tasks.c.updated_at).limit(MOST))
            return [Untold(*row) for row in rows]

    async def channel(self, client_id: str, session: str) -> str:
        """By which way a conversation is held; "" for one that is gone."""
        query = select(sessions.c.channel).where(
            sessions.c.client_id == client_id, sessions.c.key == session
        )
        async with self._store.read() as connection:
            return await connection.scalar(query) or ""
