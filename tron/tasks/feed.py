"""The log of all tasks as it grows, for whoever follows it.

What is written on this hub wakes the followers at once; what other hubs of the database write is
looked for once a second, while somebody follows. A follower is only told that there is something
new and reads it from the rows, so a slow one loses nothing and holds nothing up.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import structlog
from sqlalchemy import ColumnElement, func, select

from tron.errors import StorageUnavailable
from tron.storage.store import Store
from tron.storage.tables import task_events as table
from tron.supervise import Tasks
from tron.tasks import records
from tron.tasks.contract import TaskEvent

log = structlog.get_logger(__name__)

LOOK_S = 1.0
READ_AT_ONCE = 200
OVERLAP = 200
"""ids read again, because of two hubs' lines the one with the lower id may be seen later"""


class Feed:
    """See the module."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._followers: set[asyncio.Event] = set()
        self._written = asyncio.Event()
        self._tasks = Tasks("task feed")
        self._last = 0

    def written(self) -> None:
        """Something was written here."""
        self._written.set()

    @asynccontextmanager
    async def follow(
        self, *where: ColumnElement[bool], after: int | None = None
    ) -> AsyncIterator[AsyncIterator[TaskEvent]]:
        """Lines that fit `where`, from behind the id `after`; None: from now on."""
        start = await self._latest() if after is None else after
        wake = asyncio.Event()
        self._followers.add(wake)
        if not len(self._tasks):
            self._tasks.start(self._watch(), "watch")
        try:
            async with aclosing(self._read(where, start, wake)) as lines:
                yield lines
        finally:
            self._followers.discard(wake)

    async def _read(
        self, where: tuple[ColumnElement[bool], ...], after: int, wake: asyncio.Event
    ) -> AsyncGenerator[TaskEvent, None]:
        seen: dict[str, int] = {}
        last = after
        while True:
            wake.clear()
            fresh = 0
            # Within a task lines come in order; `seen` tells which of those read again are new.
            for line in await self._lines(where, max(after, last - OVERLAP)):
                if line.seq > seen.get(line.task_id, 0):
                    seen.pop(line.task_id, None)  # the latest last
                    seen[line.task_id] = line.seq
                    last = max(last, line.id)
                    fresh += 1
                    yield line
            while len(seen) > 2 * OVERLAP:
                del seen[next(iter(seen))]
            if fresh < READ_AT_ONCE:
                await wake.wait()

    async def _lines(self, where: tuple[ColumnElement[bool], ...], after: int) -> list[TaskEvent]:
        limit = READ_AT_ONCE + OVERLAP
        query = select(table).where(table.c.id > after, *where).order_by(table.c.id).limit(limit)
        async with self._store.read() as connection:
            return [records.event(row) for row in await connection.execute(query)]

    async def _latest(self) -> int:
        async with self._store.read() as connection:
            return await connection.scalar(select(func.max(table.c.id))) or 0

    async def _watch(self) -> None:
        """Until nobody follows any more."""
        while self._followers:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._written.wait()
                changed = True
            except TimeoutError:
                changed = await self._changed()
            self._written.clear()
            if changed:
                for wake in self._followers:
                    wake.set()

    async def _changed(self) -> bool:
        try:
            last = await self._latest()
        except StorageUnavailable as error:
            log.warning("task_feed.unread", error=error.type)
            return False
        changed, self._last = last != self._last, last
        return changed

    async def close(self) -> None:
        await self._tasks.close()
