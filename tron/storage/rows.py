"""Inserting a row unless it is there already, in the one way that both databases know."""

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(conn: Connection, table: Table, **values: Any) -> bool:
    """Insert the row; False if a unique key says that it exists. The row there is left alone."""
    dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).values(**values).on_conflict_do_nothing()
    # RETURNING, because the count of inserted rows is not known for every table and driver.
    return conn.execute(statement.returning(*table.primary_key)).first() is not None
