"""Finding text by its words: FTS5 on SQLite, tsvector on PostgreSQL.

A question becomes a list of content words; what contains any of them is found, words count as
found from their stem or their beginning, and the database ranks (BM25 or ts_rank). What people
type never reaches the query language: only letters and digits of a word do, each word quoted.

Callers: `Memory` and `Knowledge`, which join the hits with their own table and filters.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Subquery,
    Table,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    union_all,
)
from sqlalchemy import table as named_table

WORDS_LIMIT = 16
"""words of a question that are looked up; the rest adds cost, hardly ever a hit"""
PREFIX_LENGTH = 3
"""shorter words must match whole: `c` would find half the language"""

_WORD = re.compile(r"[^\W_]+")

# English function words, and the words of asking itself ("do you remember what … is called?").
_EMPTY = frozenset(
    """
    a about above after again against all am an and any are as at be because been before being
    below between both but by can could did do does doing don down during each few for from
    further had has have having he her here hers herself him himself his how i if in into is it
    its itself just ll m me more most my myself no nor not now of off on once only or other our
    ours ourselves out over own re s same she should so some such t than that the their theirs
    them themselves then there these they this those through to too under until up ve very was
    we were what when where which while who whom why will with would you your yours yourself
    yourselves
    called caller d know knows mine named please recall remember tell thing things us whose
    """.split()
)


def words(text: str) -> list[str]:
    """The content words of `text`, lower case, each once, at most WORDS_LIMIT."""
    found = (word.lower() for word in _WORD.findall(text))
    return list(dict.fromkeys(word for word in found if word not in _EMPTY))[:WORDS_LIMIT]


def folded(text: str) -> str:
    """`text` without case and accents, to compare names: `Zoë` and `ZOE` are one."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in apart if not unicodedata.combining(char))


def hits(table: Table, asked: list[str], *, sqlite: bool) -> Subquery:
    """Rows of `table` that contain any of the words `asked` (at least one).

    Columns: `ref` (the row's integer key), `score` (more is better), `found` (words contained).
    """
    return _sqlite(table, asked) if sqlite else _postgresql(table, asked)


def similarities(found: Iterable[int], asked: int) -> list[float]:
    """0..1 for each hit, best first: its share of the words asked for.

    A hit that is ranked below another gets no more than that one: a rare word counts for more
    than several that are everywhere, and the figures must not contradict the order.
    """
    return list(accumulate((round(count / asked, 4) for count in found), min))


def _sqlite(table: Table, asked: list[str]) -> Subquery:
    # One MATCH a word: BM25 of several words is the sum over them, and this counts them too.
    index = named_table(f"{table.name}_fts", column("rowid"), column("rank"))
    each = union_all(
        *(
            select(index.c.rowid.label("ref"), (-index.c.rank).label("score")).where(
                literal_column(index.name).op("MATCH")(f'"{word}"{_prefix(word)}')
            )
            for word in asked
        )
    ).subquery()
    return (
        select(
            each.c.ref,
            func.sum(each.c.score).label("score"),
            func.count().label("found"),
        )
        .group_by(each.c.ref)
        .subquery()
    )


def _postgresql(table: Table, asked: list[str]) -> Subquery:
    title, key = ("key", "id") if table.name == "memories" else ("title", "seq")
    # Word for word the expression of the index, or the planner would not use it.
    vector: ColumnElement[Any] = literal_column(
        f"to_tsvector('english', {title} || ' ' || content)"
    )
    english: ColumnElement[Any] = literal_column("'english'")
    queries = [f"'{word}'{':' + _prefix(word) if _prefix(word) else ''}" for word in asked]
    any_of = func.to_tsquery(english, " | ".join(queries))
    found: ColumnElement[int] = sum(
        (cast(vector.op("@@")(func.to_tsquery(english, query)), Integer) for query in queries),
        start=literal(0),
    )
    return (
        select(
            table.c[key].label("ref"),
            func.ts_rank(vector, any_of).label("score"),
            found.label("found"),
        )
        .where(vector.op("@@")(any_of))
        .subquery()
    )


def _prefix(word: str) -> str:
    return "*" if len(word) >= PREFIX_LENGTH else ""
