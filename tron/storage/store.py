"""The store: how the hub reads and writes its database.

Reads go through SQLAlchemy's asynchronous engine (aiosqlite or psycopg), writes through one writer
(`writer.py`): a statement-by-statement asynchronous write would cost some five thread hops a
statement. A database that is locked, full or away raises `StorageUnavailable`, and the next write
tries afresh.

Callers: every domain module; nothing else opens a connection.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tron.errors import StorageUnavailable
from tron.storage import migrations
from tron.storage.failures import not_opened, unavailable
from tron.storage.writer import T, Unit, Writer

LOCK_WAIT_MS = 5_000
PRIVATE = 0o600
_POSTGRES = (  # a hub that stands still in the middle of a transaction does not hold up the others
    f"-c lock_timeout={LOCK_WAIT_MS} -c idle_in_transaction_session_timeout={2 * LOCK_WAIT_MS}"
)


class Store:
    """One database. `await Store.open(url)`, then `read()` and `write(unit)`, then `close()`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite:")
        # Parameters are what people said: no error text may hold them.
        self._writing: Engine = create_engine(
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
            for engine in (self._writing, self._readers.sync_engine):
                event.listen(engine, "connect", _sqlite_connect)
            event.listen(self._writing, "begin", _sqlite_begin)
        self._writer = Writer(self._writing)
        self._closed = False

    @classmethod
    async def open(cls, url: str) -> "Store":
        """Connect and bring the schema up to date. Raises StorageUnavailable."""
        keep_private(url)
        store = cls(url)
        try:
            await asyncio.to_thread(migrations.upgrade, store._writing)
        except BaseException as error:
            await store.close()
            if isinstance(error, DBAPIError):
                raise not_opened(url, error) from error
            raise
        return store

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading. Raises StorageUnavailable if the database can't answer."""
        try:
            async with self._readers.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise unavailable(error) from error
        except NoConnection as error:
            raise StorageUnavailable("Too many reads are waiting.", retry_after=1) from error

    async def write(self, unit: Unit[T]) -> T:
        """Run `unit` in a transaction and return its value once it is committed.

        Raises StorageUnavailable (locked, full, away), Overloaded (too many writes waiting),
        IntegrityError (a constraint said no), or what the unit raised; nothing of it is kept.
        """
        if self._closed:
            raise StorageUnavailable("The database is closed: the hub is shutting down.")
        return await self._writer.write(unit)

    async def close(self) -> None:
        """Finish the writes already accepted, then let go of the database."""
        self._closed = True
        await self._writer.close()
        await self._readers.dispose()
        await asyncio.to_thread(self._writing.dispose)


def keep_private(url: str) -> None:
    """Make an SQLite database its owner's alone before anything is in it; one that is there
    already becomes so. Raises StorageUnavailable."""
    at = make_url(url)
    if at.get_backend_name() != "sqlite" or not at.database:
        return
    file = Path(at.database)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=PRIVATE)  # SQLite gives its further files the mode of this one
        for one in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
            if one.is_file() and one.stat().st_mode & 0o077 and one.stat().st_uid == os.geteuid():
                one.chmod(PRIVATE)
    except OSError as error:
        raise StorageUnavailable(f"{file.parent} can't be used ({error.strerror}).") from error


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
