"""The calls that VAPI carries: one row each, from the first event to the summary.

Owns the table `vapi_calls`. Events come late, twice, in any order and to any of several hubs on
one database, so every change is one transaction that looks at the row first: a call that has
ended stays ended, a report is kept once, a tool runs once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, or_, select, update

from integrations.vapi.wire import Event, Line, Report
from tron.clock import Clock
from tron.heartbeat import alive
from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.storage.tables import vapi_calls as table

LINES_KEPT = 500
TOOLS_KEPT = 200
REPORT_WAIT_MS = 30_000
"""how long after the end of a call its report may still come before it is summed up without"""
RETRY_MS = 30_000
ATTEMPTS = 5
LISTED = 200

ToolState = dict[str, Any]
"""{"ok", "result"}; empty while the tool runs"""


class Call(msgspec.Struct, kw_only=True, frozen=True):
    """One call. Times are ms since the epoch."""

    id: int
    call_id: str
    client_id: str
    direction: str
    status: str
    agent: str
    caller: str | None
    name: str | None
    lines: list[Line]
    report: Report | None
    ended_reason: str | None
    summary: str | None
    summary_state: str
    attempts: int
    started_at: int
    ended_at: int | None


class Ledger:
    """See the module."""

    def __init__(self, store: Store, clock: Clock, hub_id: str) -> None:
        self._store = store
        self._clock = clock
        self._hub_id = hub_id

    # What events say

    async def seen(
        self, event: Event, agent: str, *, status: str = "", line: Line | None = None
    ) -> None:
        """A call exists; what the event knows of it is kept, what was known stays."""
        now = self._clock.now_ms()

        def unit(conn: Connection) -> None:
            row = _row(conn, event, agent, now)
            changes: dict[str, Any] = {}
            if status and row.ended_at is None:
                changes["status"] = status
            if line is not None:
                changes["lines"] = _json([*msgspec.json.decode(row.lines), line][-LINES_KEPT:])
            if changes:
                _change(conn, row.id, now, changes)

        if event.call_id:
            await self._store.write(unit)

    async def placed(self, event: Event, agent: str, status: str) -> None:
        """A call of ours is on its way; its events may have come first."""
        now = self._clock.now_ms()

        def unit(conn: Connection) -> None:
            row = _row(conn, event, agent, now)
            changes = {"agent": agent, "direction": "outbound"}
            if row.status == "":
                changes["status"] = status
            _change(conn, row.id, now, changes)

        await self._store.write(unit)

    async def ended(
        self, event: Event, agent: str, reason: str, report: Report | None = None
    ) -> bool:
        """A call is over. True if this was news: its end, or its one report.

        With a report the summary is due at once, otherwise after a while in which one may come.
        """
        now = self._clock.now_ms()

        def unit(conn: Connection) -> bool:
            row = _row(conn, event, agent, now)
            changes: dict[str, Any] = {}
            if row.ended_at is None:
                changes |= {"ended_at": now, "status": "ended"}
            if reason and not row.ended_reason:
                changes["ended_reason"] = reason
            if report is not None and row.report is None:
                changes["report"] = _json(report)
            if row.summary_state in ("none", "waiting") and (report or row.ended_at is None):
                due = now if report is not None or row.report else now + REPORT_WAIT_MS
                changes |= {"summary_state": "waiting", "due_at": due}
            if changes:
                _change(conn, row.id, now, changes)
            return "ended_at" in changes or "report" in changes

        return await self._store.write(unit)

    # Tools run once

    async def begin_tool(self, event: Event, agent: str, id: str) -> ToolState | None:
        """None: run it. Else what another request for the same call has of it so far."""
        now = self._clock.now_ms()

        def unit(conn: Connection) -> ToolState | None:
            row = _row(conn, event, agent, now)
            tools: dict[str, ToolState] = msgspec.json.decode(row.tools)
            if id in tools:
                return tools[id]
            tools[id] = {}
            kept = dict(list(tools.items())[-TOOLS_KEPT:])
            _change(conn, row.id, now, {"tools": _json(kept)})
            return None

        return await self._store.write(unit)

    async def finish_tools(self, event: Event, agent: str, done: Mapping[str, ToolState]) -> None:
        """Keep results, so that a repeated request gets them again."""
        now = self._clock.now_ms()

        def unit(conn: Connection) -> None:
            row = _row(conn, event, agent, now)
            tools = msgspec.json.decode(row.tools) | done
            _change(conn, row.id, now, {"tools": _json(tools)})

        await self._store.write(unit)

    async def tool(self, call_id: str, id: str) -> ToolState:
        """What is known of a tool call now."""
        async with self._store.read() as conn:
            found = await conn.scalar(select(table.c.tools).where(*_is(call_id)))
        state: ToolState = msgspec.json.decode(found).get(id, {}) if found else {}
        return state

    # Summaries

    def _takeable(self, now: int, mine: Sequence[int]) -> ColumnElement[bool]:
        """Due, or left behind: by a hub that died, or by this one when the store was away."""
        return and_(
            table.c.client_id == HOUSE,
            or_(
                and_(table.c.summary_state == "waiting", table.c.due_at <= now),
                and_(
                    table.c.summary_state == "working",
                    table.c.hub != self._hub_id,
                    table.c.hub.not_in(alive(now)),
                ),
                and_(
                    table.c.summary_state == "working",
                    table.c.hub == self._hub_id,
                    table.c.id.not_in(mine),
                ),
            ),
        )

    async def take(self, mine: Sequence[int], limit: int) -> list[Call]:
        """At most `limit` calls to sum up that now are this hub's; `mine` it has already."""
        now = self._clock.now_ms()
        free = self._takeable(now, mine)
        due = select(table.c.id).where(free).order_by(table.c.due_at).limit(limit)

        def unit(conn: Connection) -> list[Row[Any]]:
            taken: list[Row[Any]] = []
            for (id,) in conn.execute(due).all():
                take = update(table).where(table.c.id == id, free).returning(table)
                change = {
                    "summary_state": "working",
                    "hub": self._hub_id,
                    "attempts": table.c.attempts + 1,
                }
                taken += conn.execute(take.values(change)).all()
            return taken

        async with self._store.read() as conn:  # mostly there is nothing: no need to write
            if (await conn.execute(due.limit(1))).first() is None:
                return []
        return [_call(row) for row in await self._store.write(unit)]

    async def summed_up(self, call: Call, summary: str) -> None:
        await self._set(call, {"summary_state": "done", "summary": summary})

    async def failed(self, call: Call) -> None:
        """Try again later, a few times."""
        if call.attempts >= ATTEMPTS:
            await self._set(call, {"summary_state": "failed"})
        else:
            due = self._clock.now_ms() + RETRY_MS * call.attempts
            await self._set(call, {"summary_state": "waiting", "due_at": due})

    async def put_back(self, call: Call) -> None:
        """Not tried after all: the hub is closing."""
        await self._set(call, {"summary_state": "waiting", "attempts": call.attempts - 1})

    async def _set(self, call: Call, changes: dict[str, Any]) -> None:
        now = self._clock.now_ms()
        await self._store.write(lambda conn: _change(conn, call.id, now, changes))

    # Looking and forgetting

    async def get(self, call_id: str) -> Call | None:
        async with self._store.read() as conn:
            row = (await conn.execute(select(table).where(*_is(call_id)))).first()
        return _call(row) if row else None

    async def latest(self, client_id: str, limit: int) -> list[Call]:
        """Newest first."""
        query = select(table).where(table.c.client_id == client_id)
        query = query.order_by(table.c.started_at.desc(), table.c.id.desc()).limit(limit)
        async with self._store.read() as conn:
            return [_call(row) for row in await conn.execute(query)]

    async def prune(self, keep_ms: int) -> int:
        """Forget calls older than this; returns how many."""
        old = table.c.started_at < self._clock.now_ms() - keep_ms
        return await self._store.write(lambda conn: conn.execute(delete(table).where(old)).rowcount)


def _is(call_id: str) -> tuple[ColumnElement[bool], ...]:
    return table.c.client_id == HOUSE, table.c.call_id == call_id


def _row(conn: Connection, event: Event, agent: str, now: int) -> Row[Any]:
    """The call's row, made if need be, locked, with what the event says of the person filled in."""
    call_id = event.call_id or ""
    insert_new(
        conn,
        table,
        client_id=HOUSE,
        call_id=call_id,
        direction="",
        status="",
        agent=agent,
        summary_state="none",
        started_at=now,
        updated_at=now,
    )
    mine = select(table).where(*_is(call_id)).with_for_update()
    row = conn.execute(mine).one()
    known = {
        "caller": event.caller.id if event.caller.known and not row.caller else None,
        "name": event.caller.name if not row.name else None,
        "direction": event.direction if not row.direction else None,
    }
    changes = {name: value for name, value in known.items() if value}
    if changes:
        _change(conn, row.id, now, changes)
        row = conn.execute(mine).one()
    return row


def _change(conn: Connection, id: int, now: int, changes: Mapping[str, Any]) -> None:
    values = {**changes, "updated_at": now}
    conn.execute(update(table).where(table.c.client_id == HOUSE, table.c.id == id).values(values))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _call(row: Row[Any]) -> Call:
    return Call(
        id=row.id,
        call_id=row.call_id,
        client_id=row.client_id,
        direction=row.direction,
        status=row.status,
        agent=row.agent,
        caller=row.caller,
        name=row.name,
        lines=msgspec.json.decode(row.lines, type=list[Line]),
        report=msgspec.json.decode(row.report, type=Report) if row.report else None,
        ended_reason=row.ended_reason,
        summary=row.summary,
        summary_state=row.summary_state,
        attempts=row.attempts,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
