"""What processes and sessions did: recorded from the bus, kept for a while, summed up.

Owns the `history` table. A listener only puts a row into a bounded buffer; rows are written in
bulk in the background, so a turn never waits for its own record. When the database is away the
buffer fills, the oldest rows go, and the log says how many. It records who, when and how it
ended, never what was said.
"""

import asyncio
from collections import deque
from collections.abc import Collection
from typing import Any

import msgspec
import structlog
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Select,
    cast,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from tron import events
from tron.clock import DAY_MS, Clock, iso
from tron.errors import TronError
from tron.events import Bus, Event
from tron.heartbeat import alive
from tron.storage.store import Store
from tron.storage.tables import history, hubs
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

GATHER_S = 0.25
WRITE_S = 2.0
PRUNE_EVERY_S = 3600.0
BUFFER_SIZE = 10_000
BATCH = 500
ENTRIES_SHOWN = 1000
PATTERNS_SHOWN = 10
LONGEST_ERROR = 500
HUB_DIED = "The hub that ran it was killed."


class History:
    """The record of one hub's processes and sessions."""

    def __init__(
        self, store: Store, clock: Clock, bus: Bus, *, keep_days: int, hub_id: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus
        self._keep_ms = keep_days * DAY_MS
        self._hub_id = hub_id
        self._settled: set[str] | None = None  # hubs whose processes have all ended, as recorded
        self._tasks = Tasks("history")
        self._buffer: deque[dict[str, Any]] = deque()
        self._dropped = 0
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._agents: dict[str, str] = {}  # of live processes, to name a parent's persona

    def start(self) -> None:
        """Listen to the bus and write in the background."""
        self._bus.add(self._heard)
        self._tasks.repeat(self._write, "writer", every_s=WRITE_S, soon=self._wake)
        self._tasks.repeat(self.prune, "pruning", every_s=PRUNE_EVERY_S)

    async def close(self) -> None:
        """Write what is buffered and stop."""
        self._bus.remove(self._heard)
        await self._tasks.close()
        try:
            await self.flush()
        except TronError:
            log.warning("history.lost", rows=len(self._buffer))

    def _heard(self, event: Event) -> None:
        row = self._row(event)
        if row is None:
            return
        if len(self._buffer) >= BUFFER_SIZE:
            self._buffer.popleft()
            self._dropped += 1
        self._buffer.append(row)
        self._wake.set()

    def _row(self, event: Event) -> dict[str, Any] | None:
        match event:
            case events.ProcessStarted():
                self._agents[event.process_id] = event.agent
                return _entry(
                    event,
                    event.agent,
                    "running",
                    process_id=event.process_id,
                    task=event.task,
                    parent_id=event.parent_id,
                    parent_agent=self._agents.get(event.parent_id or ""),
                    depth=event.depth,
                    hub=self._hub_id,
                )
            case events.ProcessEnded():
                self._agents.pop(event.process_id, None)
                return _entry(
                    event,
                    event.agent,
                    event.status,
                    process_id=event.process_id,
                    task=event.task,
                    duration_ms=event.duration_ms,
                    metrics=msgspec.json.encode(event.metrics).decode(),
                    error=event.error and event.error[:LONGEST_ERROR],
                )
            case events.SessionStarted():
                return _entry(event, event.agent, "running", process_id=event.process_id)
            case events.SessionEnded():
                return _entry(event, event.agent, event.cause)
            case events.Failure():
                return _entry(
                    event,
                    event.agent,
                    "failed",
                    process_id=event.process_id,
                    error=event.error[:LONGEST_ERROR],
                )
        return None

    async def _write(self) -> None:
        await asyncio.sleep(GATHER_S)  # what happens together is written together
        await self.flush()

    async def flush(self) -> None:
        """Write everything buffered so far. Raises StorageUnavailable; the rows are kept."""
        async with self._writing:
            while self._buffer:
                rows = [self._buffer[i] for i in range(min(BATCH, len(self._buffer)))]
                dropped_before = self._dropped
                await self._store.write(
                    lambda conn, rows=rows: conn.execute(insert(history), rows) and None  # type: ignore[misc]
                )
                # While the write ran, a full buffer may have let go of some of these already.
                for _ in range(max(0, len(rows) - (self._dropped - dropped_before))):
                    self._buffer.popleft()
            if self._dropped:
                log.warning("history.dropped", rows=self._dropped)
                self._dropped = 0

    async def prune(self) -> int:
        """Forget what is older than the hub keeps, of every tenant; returns how many rows."""
        oldest = self._clock.now_ms() - self._keep_ms
        return await self._store.write(
            lambda conn: conn.execute(delete(history).where(history.c.at < oldest)).rowcount
        )

    async def adopt(self) -> int:
        """Record the end of what hubs now dead were running; returns how many.

        The first time it looks at everything, then only at hubs that have died since.
        """
        query = select(hubs.c.id).where(hubs.c.id.not_in(alive(self._clock.now_ms())))
        async with self._store.read() as conn:
            dead = set(await conn.scalars(query)) - {self._hub_id}
        if self._settled is not None and dead <= self._settled:
            return 0
        ended = await self._store.write(self._end_of_the_dead)
        self._settled = dead
        return ended

    def _end_of_the_dead(self, conn: Connection) -> int:
        """In the writer's thread."""
        now = self._clock.now_ms()
        left = conn.execute(
            select(history).where(
                history.c.type == "process_start",
                history.c.hub != self._hub_id,
                history.c.hub.not_in(alive(now)),
                history.c.process_id.not_in(_ended()),
            )
        ).all()
        recorded = 0
        for row in left:
            mine = update(history).where(history.c.id == row.id, history.c.hub == row.hub)
            if conn.execute(mine.values(hub=None)).rowcount:  # no other hub was faster
                end = {"type": "process_end", "at": now, "status": "failed", "error": HUB_DIED}
                same = ("client_id", "agent", "process_id", "task")
                conn.execute(insert(history).values(end | {n: row._mapping[n] for n in same}))
                recorded += 1
        return recorded

    async def statuses(self, client_id: str, ids: Collection[str]) -> dict[str, str]:
        """The last recorded status of these processes, as far as there is one."""
        if not ids:
            return {}
        lines = (
            select(history.c.process_id, history.c.status)
            .where(
                history.c.client_id == client_id,
                history.c.process_id.in_(ids),
                history.c.type.in_(("process_start", "process_end")),
            )
            .order_by(history.c.id)
        )
        async with self._store.read() as conn:
            return {row.process_id: row.status for row in await conn.execute(lines)}

    async def entries(self, client_id: str, days: int) -> dict[str, Any]:
        """The newest entries of the last `days`, and a summary of all of them."""
        await self.flush()
        recent = self._recent(client_id, days)
        newest = select(history).where(*recent).order_by(history.c.at.desc(), history.c.id.desc())
        async with self._store.read() as conn:
            rows = (await conn.execute(newest.limit(ENTRIES_SHOWN))).all()
        return {
            "entries": [_shown(row) for row in rows],
            "summary": await self._summary(recent),
        }

    def _recent(self, client_id: str, days: int) -> tuple[ColumnElement[bool], ...]:
        since = self._clock.now_ms() - days * DAY_MS
        return history.c.client_id == client_id, history.c.at >= since

    async def _summary(self, recent: tuple[ColumnElement[bool], ...]) -> dict[str, Any]:
        day = history.c.at // DAY_MS
        ended = (*recent, history.c.type == "process_end")
        async with self._store.read() as conn:

            async def counts(column: ColumnElement[Any]) -> dict[Any, int]:
                query = select(column, func.count()).where(*recent).group_by(column)
                return {row[0]: row[1] for row in await conn.execute(query.order_by(column))}

            by_type = await counts(history.c.type)
            by_agent = await counts(history.c.agent)
            by_status = await self._statuses_now(conn, recent)
            by_day = await counts(day)
            cost = self._metric("estimated_cost")
            totals = select(func.avg(history.c.duration_ms), func.sum(cost)).where(*ended)
            average, total_cost = (await conn.execute(totals)).one()
        return {
            "total_entries": sum(by_type.values()),
            "total_processes": by_type.get("process_start", 0),
            "total_sessions": by_type.get("session_start", 0),
            "total_errors": by_type.get("error", 0),
            "by_agent": by_agent,
            "by_day": {iso(int(day) * DAY_MS)[:10]: count for day, count in by_day.items()},
            "by_status": by_status,
            "avg_duration_ms": None if average is None else round(float(average)),
            "total_cost": round(float(total_cost or 0.0), 6),
        }

    async def _statuses_now(
        self, conn: AsyncConnection, recent: tuple[ColumnElement[bool], ...]
    ) -> dict[str, int]:
        """What things came to, and how many of the processes are still running."""
        begins = history.c.type.in_(("process_start", "session_start"))
        came_to = select(history.c.status, func.count()).where(*recent, ~begins)
        found = {row[0]: row[1] for row in await conn.execute(came_to.group_by(history.c.status))}
        going_on = select(func.count()).where(
            *recent, history.c.type == "process_start", history.c.process_id.not_in(_ended())
        )
        if running := (await conn.execute(going_on)).scalar():
            found["running"] = running
        return dict(sorted(found.items()))

    def _metric(self, name: str) -> ColumnElement[float]:
        # The column is text: PostgreSQL needs it cast, SQLite's JSON functions read it as it is.
        metrics: Any = history.c.metrics
        metrics = type_coerce(metrics, JSON) if self._store.sqlite else cast(metrics, JSON)
        return metrics[name].as_float()  # type: ignore[no-any-return]

    async def patterns(self, client_id: str, days: int) -> dict[str, Any]:
        """Who asked whom to work, in the last `days`."""
        await self.flush()
        started = (*self._recent(client_id, days), history.c.type == "process_start")
        pair = (history.c.parent_agent, history.c.agent)
        spawns = (
            select(*pair, func.count(), func.max(history.c.depth))
            .where(*started, history.c.parent_agent.is_not(None))
            .group_by(*pair)
            .order_by(func.count().desc(), *pair)
        )
        async with self._store.read() as conn:
            rows = (await conn.execute(spawns)).all()
        by_parent: dict[str, int] = {}
        by_child: dict[str, int] = {}
        for parent, child, count, _ in rows:
            by_parent[parent] = by_parent.get(parent, 0) + count
            by_child[child] = by_child.get(child, 0) + count
        return {
            "total_spawns": sum(by_parent.values()),
            "max_depth": max((depth or 0 for *_, depth in rows), default=0),
            "spawns_by_agent": by_parent,
            "spawned_by_agent": by_child,
            "common_patterns": [
                {"parent": parent, "child": child, "count": count}
                for parent, child, count, _ in rows[:PATTERNS_SHOWN]
            ],
        }


def _ended() -> Select[tuple[str]]:
    """The ids of all processes whose end is recorded."""
    return select(history.c.process_id).where(history.c.type == "process_end")


def _entry(event: Event, agent: str, status: str, **more: Any) -> dict[str, Any]:
    # Every row has every column: rows of one insert must look alike.
    unsaid = ("duration_ms", "metrics", "error", "parent_id", "parent_agent", "depth", "hub")
    return {
        **dict.fromkeys(unsaid),
        "client_id": event.client_id,
        "type": type(event).__struct_config__.tag,
        "at": event.at,
        "agent": agent,
        "process_id": "",
        "task": "",
        "status": status,
        **more,
    }


def _shown(row: Any) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "type": row.type,
        "timestamp": iso(row.at),
        "agent": row.agent,
        "process_id": row.process_id,
        "task": row.task,
        "status": row.status,
        "duration_ms": row.duration_ms,
        "metrics": None if row.metrics is None else msgspec.json.decode(row.metrics),
        "error": row.error,
    }
