"""The log of all tasks as it grows, for whoever follows it.

One reader for the whole hub reads what is new and hands it to those whom it concerns: woken at
once by what is written here, and once a second for what other hubs of the database write. Lines
are committed in the order of their ids (`records.opened` sees to that), so "behind the last one"
misses none. A follower that reads too slowly is not waited for: it reads on from the database.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import structlog
from sqlalchemy import func, select

from tron.errors import StorageUnavailable
from tron.storage.store import Store
from tron.storage.tables import task_events as table
from tron.supervise import Tasks
from tron.tasks import records
from tron.tasks.contract import TaskEvent

log = structlog.get_logger(__name__)

LOOK_S = 1.0
GATHER_S = 0.02
"""what is written within this is read together"""
PAGE = 500
WAITING = 1_000
"""lines kept for a follower; with more it reads on from the database"""


class Feed:
    """See the module."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._followers: set[_Follower] = set()
        self._written = asyncio.Event()
        self._tasks = Tasks("task feed")
        self._watching: asyncio.Task[None] | None = None
        self._last = 0

    def written(self) -> None:
        """Something was written here."""
        self._written.set()

    @asynccontextmanager
    async def follow(
        self,
        client_id: str,
        *,
        session: str | None = None,
        task_id: str | None = None,
        after: int | None = None,
    ) -> AsyncIterator[AsyncIterator[TaskEvent]]:
        """A tenant's lines, of one session or task, behind the id `after`; None: from now on."""
        if after is None:
            after = await self._latest()
        follower = _Follower(client_id, session, task_id, after)
        self._followers.add(follower)
        if self._watching is None or self._watching.done():
            self._last = await self._latest()
            if self._watching is None or self._watching.done():
                self._watching = self._tasks.start(self._watch(), "watch")
        try:
            async with aclosing(self._read(follower)) as lines:
                yield lines
        finally:
            self._followers.discard(follower)

    async def _read(self, follower: "_Follower") -> AsyncGenerator[TaskEvent, None]:
        while True:
            while follower.behind:
                follower.catch_up()
                page = await self._page(follower.last, follower)
                for line in page:
                    follower.last = line.id
                    yield line
                follower.behind = follower.behind or len(page) == PAGE
            line_ = follower.next()
            if line_ is not None:
                yield line_
            elif not follower.behind:
                await follower.wake.wait()

    async def _watch(self) -> None:
        """Until nobody follows any more."""
        while self._followers:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._written.wait()
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass
            self._written.clear()
            try:
                while page := await self._page(self._last):
                    self._last = page[-1].id
                    for follower in self._followers:
                        follower.take(page)
            except StorageUnavailable as error:
                log.warning("task_feed.unread", error=error.type)

    async def _page(self, after: int, follower: "_Follower | None" = None) -> list[TaskEvent]:
        query = select(table).where(table.c.id > after).order_by(table.c.id).limit(PAGE)
        if follower is not None:
            query = query.where(table.c.client_id == follower.client_id)
            if follower.session is not None:
                query = query.where(table.c.session_key == follower.session)
            if follower.task_id is not None:
                query = query.where(table.c.task_id == follower.task_id)
        async with self._store.read() as connection:
            return [records.event(row) for row in await connection.execute(query)]

    async def _latest(self) -> int:
        async with self._store.read() as connection:
            return await connection.scalar(select(func.max(table.c.id))) or 0

    async def close(self) -> None:
        await self._tasks.close()


class _Follower:
    """One who follows, and what is there for them."""

    def __init__(
        self, client_id: str, session: str | None, task_id: str | None, after: int
    ) -> None:
        self.client_id = client_id
        self.session = session
        self.task_id = task_id
        self.last = after
        self.behind = True
        """there is more in the database than here"""
        self.wake = asyncio.Event()
        self._lines: deque[TaskEvent] = deque()

    def take(self, page: list[TaskEvent]) -> None:
        for line in page:
            if (
                line.client_id == self.client_id
                and self.session in (None, line.session)
                and self.task_id in (None, line.task_id)
            ):
                self._lines.append(line)
        if len(self._lines) > WAITING:
            self._lines.clear()
            self.behind = True
        if self._lines or self.behind:
            self.wake.set()

    def catch_up(self) -> None:
        """From here on lines are kept again; those before are read."""
        self._lines.clear()
        self.behind = False

    def next(self) -> TaskEvent | None:
        while self._lines:
            line = self._lines.popleft()
            if line.id > self.last:
                self.last = line.id
                return line
        self.wake.clear()
        return None
