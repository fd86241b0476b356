"""Inserting a row unless it is there already, in the one way that both databases know."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


def insert_into(table: Table, *, on_sqlite: bool) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that can say what to do with a row that is there.

    The two dialects spell this the same way, but SQLAlchemy has a class for each. Only the one in
    use is imported: PostgreSQL's is large.
    """
    if on_sqlite:
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def insert_new(conn: Connection, table: Table, **values: Any) -> bool:
    """Insert the row; False if a unique key says that it exists. The row there is left alone."""
    insert = insert_into(table, on_sqlite=conn.dialect.name == "sqlite")
    statement = insert.values(**values).on_conflict_do_nothing()
    # RETURNING, because the count of inserted rows is not known for every table and driver.
    return conn.execute(statement.returning(*table.primary_key)).first() is not None
