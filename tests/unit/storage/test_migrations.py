"""One schema, whoever brings the database to it, and no surprise in a database from elsewhere."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text

from tests.harness.databases import Postgres
from tron.clock import ManualClock
from tron.errors import StorageUnavailable
from tron.memory.memory import Memory
from tron.storage import migrations
from tron.storage.store import Store
from tron.storage.tables import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / 'tron.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create(migrated=False)
    yield url
    server.drop(url)


async def revision(store: Store) -> list[str]:
    async with store.read() as conn:
        return list((await conn.execute(text("SELECT version_num FROM alembic_version"))).scalars())


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "tron.storage:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_the_migrations_make_the_schema_that_a_new_database_gets(empty_url: str) -> None:
    def differences(conn: Connection) -> list[object]:
        def ours(name: str | None, kind: str, _: object) -> bool:
            return not (kind in ("table", "index") and name is not None and "_fts" in name)

        context = MigrationContext.configure(
            conn,
            opts={
                "compare_type": True,
                # Alembic takes SQLite's empty text for no default; PostgreSQL's it reads well.
                "compare_server_default": conn.dialect.name == "postgresql",
                "include_name": ours,
                "include_object": lambda o, name, kind, *_: ours(name, kind, o),
            },
        )
        return list(compare_metadata(context, metadata))

    engine = engine_of(empty_url)
    with engine.connect() as conn:
        migrations._run(conn)
        assert differences(conn) == []
        migrated = word_indexes(conn)
        conn.rollback()
    migrations.upgrade(engine)
    with engine.connect() as conn:
        assert differences(conn) == []
        assert word_indexes(conn) == migrated != []
        assert migrations.current(conn) == migrations.HEAD
    engine.dispose()


async def test_what_is_remembered_outlives_the_move_to_a_newer_schema(empty_url: str) -> None:
    engine = engine_of(empty_url)
    with engine.begin() as conn:
        migrations._run(conn, "0003")
        for person in ("ann", "bob"):
            conn.execute(
                text(
                    "INSERT INTO memories (client_id, person, key, content, author, created_at,"
                    " updated_at) VALUES ('house', :person, 'dog', 'Rex barks.', 'tony', 1, 1)"
                ),
                {"person": person},
            )
    engine.dispose()
    store = await Store.open(empty_url)
    memory = Memory(store, ManualClock())
    for person in ("ann", "bob"):  # found by its words, as before
        [found] = await memory.recall("house", person=person, query="barking")
        assert (found.key, found.content) == ("dog", "Rex barks.")
    await memory.remember("house", person="ann", key="dog", content="Fido naps.", author="tony")
    [found] = await memory.recall("house", person="ann", query="napping")
    assert found.content == "Fido naps."
    assert await memory.recall("house", person="ann", query="barking") == []
    await store.close()


def engine_of(url: str) -> Engine:
    """An engine whose transactions hold what makes tables too, as the hub's do."""
    if url.startswith("sqlite:"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def ours(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def word_indexes(conn: Connection) -> list[str]:
    """What texts are searched by, in the database's own words."""
    sql = (
        "SELECT sql FROM sqlite_master WHERE name LIKE '%_fts%'"
        if conn.dialect.name == "sqlite"
        else "SELECT indexdef FROM pg_indexes WHERE indexname LIKE '%_fts%'"
    )
    return sorted(str(found) for found in conn.execute(text(sql)).scalars())


async def test_every_tenant_owned_table_names_its_tenant(store: Store) -> None:
    shared = {"feeds", "owner", "hubs"}
    for table in metadata.sorted_tables:
        assert ("client_id" in table.c) is (table.name not in shared), table.name


async def test_stores_opening_one_empty_database_at_once(empty_url: str) -> None:
    stores = await asyncio.gather(*(Store.open(empty_url) for _ in range(4)))
    for store in stores:
        assert await revision(store) == [migrations.HEAD]
        await store.close()


async def test_a_database_of_today_is_left_as_it_is(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(_: Connection) -> None:
        raise AssertionError("migrated again")

    monkeypatch.setattr(migrations, "_run", unwanted)
    monkeypatch.setattr(migrations, "_create", unwanted)
    store = await Store.open(database_url)
    assert await revision(store) == [migrations.HEAD]
    await store.close()


async def test_a_database_from_the_future_is_refused_and_left_alone(database_url: str) -> None:
    store = await Store.open(database_url)
    await store.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num='9999'")))
    await store.close()
    with pytest.raises(StorageUnavailable, match=r"9999.*newer"):
        await Store.open(database_url)
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:", 1))
    with engine.connect() as conn:
        assert migrations.current(conn) == "9999"
        assert inspect(conn).has_table("sessions")
    engine.dispose()


async def test_a_creation_that_fails_leaves_nothing(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = migrations._create

    def breaks(conn: Connection) -> None:
        whole(conn)
        raise OSError("the power went")

    monkeypatch.setattr(migrations, "_create", breaks)
    with pytest.raises(OSError, match="power"):
        await Store.open(empty_url)
    engine = create_engine(empty_url.replace("postgresql:", "postgresql+psycopg:", 1))
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    monkeypatch.undo()
    store = await Store.open(empty_url)
    assert await revision(store) == [migrations.HEAD]
    await store.close()
