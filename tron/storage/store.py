"""The store: how the hub reads and writes its database.

Reads go through SQLAlchemy's asynchronous engine (aiosqlite or psycopg). Writes go through one
writer: a unit of work is a plain function over a connection, units that are waiting together are
committed together (group commit), and a whole group costs one hop to the writer's thread. SQLite
allows one writer anyway; a statement-by-statement asynchronous write costs some five thread hops
a statement, which `scripts/bench/storage.py` measures on the chat path.

A unit either commits or raises, alone: if one of a group fails, the group is rolled back and its
units run again one by one, so a unit must be safe to run twice until it has committed. A database
that is locked, full or away raises `StorageUnavailable`, and the next write tries afresh.

Callers: every domain module; nothing else opens a connection.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tron.errors import Overloaded, StorageUnavailable
from tron.storage import migrations
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

T = TypeVar("T")
Unit = Callable[[Connection], T]

WAITING_LIMIT = 10_000
GROUP_LIMIT = 200
LOCK_WAIT_MS = 5_000
_POSTGRES = (  # a hub that stands still in the middle of a transaction does not hold up the others
    f"-c lock_timeout={LOCK_WAIT_MS} -c idle_in_transaction_session_timeout={2 * LOCK_WAIT_MS}"
)


class Store:
    """One database. `await Store.open(url)`, then `read()` and `write(unit)`, then `close()`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite:")
        # Parameters are what people said: no error text may hold them.
        self._writer: Engine = create_engine(
            _driver(url, "writer"),
            pool_pre_ping=not self.sqlite,
            hide_parameters=True,
            connect_args={} if self.sqlite else {"options": _POSTGRES},
        )
        self._readers: AsyncEngine = create_async_engine(
            _driver(url, "readers"),
            pool_pre_ping=not self.sqlite,
            pool_size=5,
            max_overflow=10,
            hide_parameters=True,
        )
        if self.sqlite:
            for engine in (self._writer, self._readers.sync_engine):
                event.listen(engine, "connect", _sqlite_connect)
            event.listen(self._writer, "begin", _sqlite_begin)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._tasks = Tasks("store")
        self._waiting: list[tuple[Unit[Any], asyncio.Future[Any]]] = []
        self._wake = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, url: str) -> "Store":
        """Connect and bring the schema up to date. Raises StorageUnavailable."""
        if url.startswith("sqlite:///"):
            folder = Path(url.removeprefix("sqlite:///")).parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageUnavailable(f"{folder} can't be used ({error.strerror}).") from error
        store = cls(url)
        try:
            await store._in_thread(lambda: migrations.upgrade(store._writer))
        except BaseException as error:
            await store.close()
            if isinstance(error, DBAPIError):
                raise _unavailable(error) from error
            raise
        store._writing = store._tasks.start(store._write_groups(), "writer")
        return store

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading. Raises StorageUnavailable if the database can't answer."""
        try:
            async with self._readers.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise _unavailable(error) from error
        except NoConnection as error:
            raise StorageUnavailable("Too many reads are waiting.", retry_after=1) from error

    async def write(self, unit: Unit[T]) -> T:
        """Run `unit` in a transaction and return its value once it is committed.

        Raises StorageUnavailable (locked, full, away), Overloaded (too many writes waiting),
        IntegrityError (a constraint said no), or what the unit raised; nothing of it is kept.
        """
        if self._closed:
            raise StorageUnavailable("The database is closed: the hub is shutting down.")
        if len(self._waiting) >= WAITING_LIMIT:
            raise Overloaded("Too many writes are waiting for the database.", retry_after=1)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((unit, done))
        self._wake.set()
        return await done

    async def close(self) -> None:
        """Finish the writes already accepted, then let go of the database."""
        self._closed = True
        self._wake.set()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._readers.dispose()
        await self._in_thread(self._writer.dispose)
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _write_groups(self) -> None:
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = self._waiting[:GROUP_LIMIT]
                units = [unit for unit, _ in group]
                outcomes = await self._in_thread(lambda units=units: self._commit(units))  # type: ignore[misc]
                del self._waiting[: len(group)]
                for (_, done), outcome in zip(group, outcomes, strict=True):
                    if done.done():  # its caller was cancelled; the write stands
                        continue
                    if isinstance(outcome, _Failed):
                        done.set_exception(outcome.error)
                    else:
                        done.set_result(outcome)

    def _commit(self, units: list[Unit[Any]]) -> list[Any]:
        """In the writer's thread: all in one transaction, or one by one if one of them fails."""
        running_units = False
        try:
            with self._writer.begin() as connection:
                running_units = True
                outcomes = [unit(connection) for unit in units]
                running_units = False
        except Exception as error:  # noqa: BLE001 - border: one unit's fault is its own
            if not running_units or len(units) == 1:  # no begin or no commit: true for all
                if _sick(error):
                    log.error("store.write_failed", error=_kind(error), units=len(units))
                return [_Failed(error) for _ in units]
        else:
            return outcomes
        return [self._commit([unit])[0] for unit in units]


class _Failed:
    def __init__(self, error: Exception) -> None:
        if _sick(error):
            self.error: Exception = _unavailable(error)
        elif isinstance(error, StopIteration):  # which a future can't carry
            self.error = RuntimeError("a unit of work raised StopIteration")
        else:
            self.error = error


def _sick(error: Exception) -> TypeGuard[DBAPIError]:
    """Whether the database failed, not the unit or a constraint."""
    return isinstance(error, DBAPIError) and not isinstance(error, IntegrityError)


def _unavailable(error: DBAPIError) -> StorageUnavailable:
    # The driver's text names tables and values; its code does not.
    unavailable = StorageUnavailable(
        f"The database could not do that ({_kind(error)}). Nothing was changed.",
        retry_after=1,
    )
    unavailable.__cause__ = error
    return unavailable


def _kind(error: Exception) -> str:
    """`SQLITE_FULL`, a PostgreSQL code such as `57P01`, or else the name of the error."""
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return str(code or type(cause).__name__)


def _driver(url: str, side: str) -> str:
    if url.startswith("sqlite:"):
        return url.replace("sqlite:", "sqlite+aiosqlite:" if side == "readers" else "sqlite:", 1)
    return url.replace("postgresql:", "postgresql+psycopg:", 1)


def _sqlite_connect(connection: Any, _: object) -> None:
    # NORMAL with WAL survives a killed process; only a power cut may lose the last commits.
    connection.isolation_level = None  # transactions are ours, DDL included; see _sqlite_begin
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"busy_timeout={LOCK_WAIT_MS}",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    # Take the write lock at once: upgrading from a read lock later fails instead of waiting.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
