"""What is remembered of each Slack thread: who answers there, and when it was last used.

A thread's conversation is found by a call id made of its place, so its session's key is known
before it is opened, and the thread of a session can be found again.
"""

from typing import Any

import msgspec
from sqlalchemy import Row, and_, select, update

from integrations.slack.wire import Said
from tron.clock import Clock
from tron.conversation.finding import call_key
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.storage.tables import slack_threads as table


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """One row. Times are ms since the epoch."""

    id: int
    app: str
    """the one that was last spoken to"""
    team: str
    channel: str
    thread_ts: str
    agent: str | None
    caller: str
    session_key: str | None
    last_at: int
    summarised_at: int


class Threads:
    """The table, for the hub's own tenant."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def agent(self, event: Said) -> str | None:
        """Who answers in the thread of `event`, if that was settled."""
        async with self._store.read() as conn:
            found = await conn.execute(select(table.c.agent).where(_place(event)))
        agent: str | None = found.scalar()
        return agent

    async def settle(self, event: Said, agent: str) -> None:
        """From now on `agent` answers there."""
        await self._change(event, agent=agent)

    async def answered(self, event: Said, session_key: str) -> None:
        """The conversation has moved on, in this session."""
        await self._change(event, session_key=session_key, last_at=self._clock.now_ms())

    async def of_session(self, key: str) -> Thread | None:
        """The thread in which that conversation is held."""
        query = select(table).where(table.c.client_id == HOUSE, table.c.session_key == key)
        async with self._store.read() as conn:
            row = (await conn.execute(query.order_by(table.c.last_at.desc()).limit(1))).first()
        return None if row is None else _thread(row)

    async def idle(self, *, since_ms: int, limit: int) -> list[Thread]:
        """Threads silent since then whose talk is not summarised yet, oldest first."""
        query = (
            select(table)
            .where(table.c.client_id == HOUSE, table.c.session_key.is_not(None))
            .where(table.c.last_at <= since_ms, table.c.summarised_at < table.c.last_at)
            .order_by(table.c.last_at)
            .limit(limit)
        )
        async with self._store.read() as conn:
            return [_thread(row) for row in (await conn.execute(query)).all()]

    async def claim_summary(self, thread: Thread) -> bool:
        """Whether this hub is the one to summarise `thread` as it stands."""
        claim = (
            update(table)
            .where(table.c.id == thread.id, table.c.last_at == thread.last_at)
            .where(table.c.summarised_at == thread.summarised_at)
            .values(summarised_at=self._clock.now_ms())
        )
        return await self._store.write(lambda conn: conn.execute(claim).rowcount == 1)

    async def _change(self, event: Said, **changes: Any) -> None:
        change = update(table).where(_place(event)).values(changes)
        await self._store.write(lambda conn: conn.execute(change))


def call_id(event: Said) -> str:
    """Of the conversation that `event` belongs to."""
    return f"slack:{event.team}:{event.channel}:{event.thread or f'dm-{event.channel}'}"


def session_key(event: Said) -> str:
    """Of the same, whether it was opened or not."""
    return call_key(HOUSE, call_id(event))


def _place(event: Said) -> Any:
    return and_(
        table.c.client_id == HOUSE,
        table.c.team_id == event.team,
        table.c.channel == event.channel,
        table.c.thread_ts == event.thread,
    )


def _thread(row: Row[Any]) -> Thread:
    return Thread(
        id=row.id,
        app=row.app,
        team=row.team_id,
        channel=row.channel,
        thread_ts=row.thread_ts,
        agent=row.agent,
        caller=row.caller,
        session_key=row.session_key,
        last_at=row.last_at,
        summarised_at=row.summarised_at,
    )
