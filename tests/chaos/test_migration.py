"""A hub killed while it makes its tables leaves a database that the next one can use."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, select, text

from tests.harness.databases import Postgres
from tron.storage import migrations
from tron.storage.store import Store
from tron.storage.tables import sessions

# The hook lives here, not in the hub: its making stops after a few tables and waits to be shot.
MIGRATE = """
import asyncio, sys, time
from sqlalchemy import Table, event
from tron.storage.store import Store

made = []

@event.listens_for(Table, "after_create")
def slowly(table, connection, **more):
    made.append(table)
    if len(made) == 8:
        print("in the middle", flush=True)
        time.sleep(60)

asyncio.run(Store.open(sys.argv[1]))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tron.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create(migrated=False)
    yield url
    server.drop(url)


async def check(url: str) -> None:
    """Open it as the next hub does, and find today's schema."""
    store = await Store.open(url)
    async with store.read() as conn:
        found = await conn.execute(text("SELECT version_num FROM alembic_version"))
        assert found.scalar_one() == migrations.HEAD
        assert list((await conn.execute(select(sessions.c.key))).scalars()) == []
    await store.close()


def test_a_kill_in_the_middle_of_a_migration_is_mended_by_the_next_start(
    empty_url: str,
) -> None:
    migrating = subprocess.Popen(
        [sys.executable, "-c", MIGRATE, empty_url], stdout=subprocess.PIPE, text=True
    )
    with migrating:
        assert migrating.stdout is not None
        assert migrating.stdout.readline() == "in the middle\n"
        migrating.kill()
    engine = create_engine(empty_url.replace("postgresql:", "postgresql+psycopg:", 1))
    assert inspect(engine).get_table_names() == []  # all or nothing
    engine.dispose()
    asyncio.run(check(empty_url))


def test_programs_starting_together_on_an_empty_database_all_get_it(empty_url: str) -> None:
    opens = (
        "import asyncio, sys\n"
        "from tron.storage.store import Store\n"
        "async def main():\n"
        "    store = await Store.open(sys.argv[1])\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    starting = [subprocess.Popen([sys.executable, "-c", opens, empty_url]) for _ in range(3)]
    assert [process.wait(60) for process in starting] == [0, 0, 0]
    asyncio.run(check(empty_url))
