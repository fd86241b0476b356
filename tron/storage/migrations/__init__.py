"""Brings a database to today's schema, once, whoever starts first.

`HEAD` is the newest revision in `versions/` (a test holds the two together): comparing it with the
database's own mark needs no Alembic, whose import would be a tenth of the hub's start. An empty
database gets the tables of today as they are; Alembic is for those that have older ones, and a
test compares what the two make. The whole of it is one transaction on both databases, so a hub
that is killed in the middle leaves the old schema, and two hubs starting together wait for each
other.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from tron.errors import StorageUnavailable
from tron.storage import word_index
from tron.storage.tables import metadata

HEAD = "0004"
_LOCK = 7_472_111  # any number, the same for every hub on a PostgreSQL server
_VERSIONS = Path(__file__).parent / "versions"


def upgrade(engine: Engine) -> None:
    """Apply every migration that is missing. Runs in a thread; blocks.

    Raises StorageUnavailable for a database that a newer hub has migrated further.
    """
    with engine.connect() as connection:
        if current(connection) == HEAD:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        at = current(connection)
        if at is not None and not any(_VERSIONS.glob(f"{at}_*.py")):
            raise StorageUnavailable(
                f"The database is at revision {at}, made by a newer version of Tron; "
                f"this one knows {HEAD} and leaves it alone."
            )
        if at is None:
            _create(connection)
        elif at != HEAD:
            _run(connection)


def current(connection: Connection) -> str | None:
    """The revision the database is at, or None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _create(connection: Connection) -> None:
    """Make today's schema in an empty database, and mark it as Alembic would."""
    metadata.create_all(connection, checkfirst=False)
    for statement in word_index.statements(connection.dialect.name):
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _run(connection: Connection, to: str = HEAD) -> None:
    """Apply the migrations from where the database is to those of the revision `to`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "tron.storage:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, to)
