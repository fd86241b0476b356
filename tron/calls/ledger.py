"""The ledger of calls: what happened when, append-only, on each call's own media clock.

Transcript, latency and the cause of the ending are views of it. Lines are collected in memory and
written together a few times a second; a call's row is written when it begins and when it ends.
Beside the lines lies the call's tape (`tape.py`), from which it can be run again.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, Row, delete, insert, select, update

from tron.calls import recording
from tron.calls.signals import Note
from tron.clock import Clock
from tron.errors import NotFound, TronError
from tron.heartbeat import alive
from tron.storage.rows import insert_into
from tron.storage.store import Store
from tron.storage.tables import call_events, call_tapes, calls

log = structlog.get_logger(__name__)

UNWRITTEN_LIMIT = 20_000
"""lines kept while the store is away, for all calls together; then the oldest go"""
TAPES_UNWRITTEN_LIMIT = 2_000
"""parts of tapes, likewise; a few hundred bytes each"""
PRUNED_AT_ONCE = 50
"""calls; each may have thousands of lines"""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a call's ledger; `at` and `value` in ms on its media clock."""

    seq: int
    at: int
    kind: str
    turn: int
    text: str
    value: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it is listed; times in ms since the epoch."""

    id: str
    client_id: str
    wire: str
    direction: str
    caller: str
    called: str
    external_id: str | None
    agent: str
    session_key: str
    started_at: int
    ended_at: int | None = None
    cause: str | None = None
    recording: str | None = None


class Ledger:
    """Writes and reads calls."""

    def __init__(self, store: Store, clock: Clock, hub_id: str) -> None:
        self._store = store
        self._hub_id = hub_id
        self._clock = clock
        self._unwritten: list[dict[str, Any]] = []
        self._unwritten_tapes: list[dict[str, Any]] = []
        self._writing = asyncio.Lock()
        self._watchers: list[Callable[[Record, int, Note], None]] = []

    def watch(self, watcher: Callable[[Record, int, Note], None]) -> None:
        """Be told every line of every call as it is noted, with its time; must not fail or wait."""
        self._watchers.append(watcher)

    async def begin(self, record: Record) -> None:
        """Raises StorageUnavailable."""
        row = msgspec.structs.asdict(record) | {"hub": self._hub_id}
        await self._store.write(lambda c: c.execute(insert(calls), row))

    def note(self, record: Record, seq: int, at: int, note: Note) -> None:
        """Add a line. Never fails; `flush` writes it."""
        for watcher in self._watchers:
            watcher(record, at, note)
        self._unwritten.append(
            {
                "call_id": record.id,
                "seq": seq,
                "client_id": record.client_id,
                "at": at,
                "kind": note.kind,
                "turn": note.turn,
                "text": note.text,
                "value": note.value,
            }
        )
        if len(self._unwritten) > UNWRITTEN_LIMIT:
            log.error("ledger.lines_lost", lines=UNWRITTEN_LIMIT // 10)
            del self._unwritten[: UNWRITTEN_LIMIT // 10]

    def keep(self, record: Record, part: int, data: bytes) -> None:
        """Add part `part` of a call's tape. Never fails; `flush` writes it."""
        self._unwritten_tapes.append(
            {"call_id": record.id, "part": part, "client_id": record.client_id, "data": data}
        )
        if len(self._unwritten_tapes) > TAPES_UNWRITTEN_LIMIT:
            log.error("ledger.tapes_lost", parts=TAPES_UNWRITTEN_LIMIT // 10)
            del self._unwritten_tapes[: TAPES_UNWRITTEN_LIMIT // 10]

    async def flush(self) -> None:
        """Write what was noted so far. What the store can't take now is kept for the next time."""
        async with self._writing:  # so that whoever reads after this finds what is being written
            lines, self._unwritten = self._unwritten, []
            tapes, self._unwritten_tapes = self._unwritten_tapes, []
            if not lines and not tapes:
                return

            def write(connection: Connection) -> None:
                # What is there already is of a batch that was written, and the answer got lost.
                on_sqlite = connection.dialect.name == "sqlite"
                for table, rows in ((call_events, lines), (call_tapes, tapes)):
                    if rows:
                        new = insert_into(table, on_sqlite=on_sqlite).on_conflict_do_nothing()
                        connection.execute(new, rows)

            try:
                await self._store.write(write)
            except TronError as error:
                log.warning("ledger.unwritten", lines=len(lines), error=error.type)
                self._unwritten = lines + self._unwritten
                self._unwritten_tapes = tapes + self._unwritten_tapes

    async def end(self, record: Record, cause: str, session_key: str) -> None:
        """Close a call's row; exactly one cause, the first. Raises StorageUnavailable."""
        await self.flush()
        now = self._clock.now_ms()
        await self._store.write(
            lambda c: c.execute(
                update(calls)
                .where(
                    calls.c.id == record.id,
                    calls.c.client_id == record.client_id,
                    calls.c.ended_at.is_(None),
                )
                .values(ended_at=now, cause=cause, session_key=session_key)
            )
        )

    async def adopt(self) -> int:
        """Close the calls that hubs now dead left open; returns how many."""
        now = self._clock.now_ms()
        left = update(calls).where(
            calls.c.ended_at.is_(None), calls.c.hub != self._hub_id, calls.c.hub.not_in(alive(now))
        )
        return await self._store.write(
            lambda c: c.execute(left.values(ended_at=now, cause="hub-died")).rowcount
        )

    async def prune(self, keep_ms: int) -> int:
        """Forget calls that ended longer ago than this, of every tenant, with all that was kept
        of them: lines, tapes, recordings. Returns how many."""
        old = calls.c.ended_at < self._clock.now_ms() - keep_ms
        some = select(calls.c.id, calls.c.recording).where(old).limit(PRUNED_AT_ONCE)
        forgotten = 0
        while True:
            async with self._store.read() as connection:
                found = (await connection.execute(some)).all()
            if not found:
                return forgotten
            for row in found:
                if row.recording:
                    await recording.remove(row.recording)
            await self._store.write(partial(_remove, [row.id for row in found]))
            forgotten += len(found)

    async def listing(self, client_id: str, limit: int = 100) -> list[Record]:
        """The latest calls, newest first."""
        async with self._store.read() as connection:
            rows = await connection.execute(
                select(calls)
                .where(calls.c.client_id == client_id)
                .order_by(calls.c.started_at.desc(), calls.c.id)
                .limit(limit)
            )
            return [_record(row) for row in rows]

    async def find(self, client_id: str, id: str) -> Record:
        """One call. Raises NotFound."""
        async with self._store.read() as connection:
            rows = await connection.execute(
                select(calls).where(calls.c.id == id, calls.c.client_id == client_id)
            )
            if (row := rows.first()) is None:
                raise NotFound(f"There is no call {id!r}.", param="id")
            return _record(row)

    async def read(self, client_id: str, id: str) -> tuple[Record, list[Line]]:
        """One call with its lines in order. Raises NotFound."""
        await self.flush()
        record = await self.find(client_id, id)
        async with self._store.read() as connection:
            lines = await connection.execute(
                select(
                    call_events.c.seq,
                    call_events.c.at,
                    call_events.c.kind,
                    call_events.c.turn,
                    call_events.c.text,
                    call_events.c.value,
                )
                .where(call_events.c.call_id == id, call_events.c.client_id == client_id)
                .order_by(call_events.c.seq)
            )
            return record, [Line(**line._mapping) for line in lines]

    async def tape(self, client_id: str, id: str) -> list[bytes]:
        """The parts of a call's tape in order, up to the first that was lost."""
        await self.flush()
        async with self._store.read() as connection:
            rows = await connection.execute(
                select(call_tapes.c.part, call_tapes.c.data)
                .where(call_tapes.c.call_id == id, call_tapes.c.client_id == client_id)
                .order_by(call_tapes.c.part)
            )
            return [row.data for place, row in enumerate(rows) if row.part == place]


def _remove(ids: list[str], connection: Connection) -> None:
    for column in (call_events.c.call_id, call_tapes.c.call_id, calls.c.id):
        connection.execute(delete(column.table).where(column.in_(ids)))


def _record(row: Row[Any]) -> Record:
    return Record(**{name: row._mapping[name] for name in Record.__struct_fields__})
