"""The indexes that texts are searched by, word by word: FTS5 on SQLite, GIN on PostgreSQL.

What SQLAlchemy can't describe beside the tables, as a new database gets it. A migration keeps its
own copy of what it makes, since it must not change; a test compares the two. Callers: the
creation of a new database; `tron/memory/search.py` queries what is made here.
"""

from collections.abc import Iterator

SEARCHED = (("memories", "id", ("key", "content")), ("knowledge", "seq", ("title", "content")))
"""(table, its integer key, the columns searched)"""


def statements(dialect: str) -> Iterator[str]:
    """The SQL that makes the indexes in a database that has the tables."""
    for table, id, columns in SEARCHED:
        yield from _sqlite(table, id, columns) if dialect == "sqlite" else _gin(table, columns)


def _sqlite(table: str, id: str, columns: tuple[str, ...]) -> Iterator[str]:
    """FTS5 beside a table, kept in step by triggers; English word stems."""
    names = ", ".join(columns)
    new = ", ".join(f"new.{column}" for column in columns)
    yield (
        f"CREATE VIRTUAL TABLE {table}_fts "
        f"USING fts5({names}, tokenize='porter unicode61 remove_diacritics 2')"
    )
    insert = f"INSERT INTO {table}_fts(rowid, {names}) VALUES (new.{id}, {new});"
    delete = f"DELETE FROM {table}_fts WHERE rowid = old.{id};"
    for event, body in (("INSERT", insert), ("DELETE", delete), ("UPDATE", delete + insert)):
        yield (
            f"CREATE TRIGGER {table}_fts_{event.lower()} AFTER {event} ON {table} BEGIN {body} END"
        )


def _gin(table: str, columns: tuple[str, ...]) -> Iterator[str]:
    words = " || ' ' || ".join(columns)
    yield f"CREATE INDEX {table}_fts ON {table} USING gin (to_tsvector('english', {words}))"
