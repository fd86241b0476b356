"""What personas remember: facts under keys, each belonging to one person or to everyone.

Owns the table `memories`. A fact with a person is that person's alone: only a search in that
person's name finds it. A fact without one is shared. Anonymous callers are persons too; what one
of them said is never told to the next. Nothing here judges what may be remembered.

Callers: the tools, the briefing, the memory routes.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, select

from tron.clock import Clock
from tron.errors import Invalid
from tron.memory import search
from tron.storage.rows import insert_into
from tron.storage.store import Store
from tron.storage.tables import memories
from tron.storage.text import storable

KEY_LIMIT = 256


class MemoryEntry(msgspec.Struct, kw_only=True, frozen=True):
    """One fact. Times are ms since the epoch."""

    id: int
    person: str
    """caller id it belongs to; empty: shared by everyone"""
    key: str
    content: str
    author: str
    tags: list[str]
    created_at: int
    updated_at: int
    similarity: float = 0.0
    """0..1, how well it answers the search; 0 outside one"""


class Memory:
    """See the module."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.changed = 0
        """counts this process's writes, so that a cache knows when to ask again"""

    async def remember(
        self,
        client_id: str,
        *,
        person: str,
        key: str,
        content: str,
        author: str,
        tags: Sequence[str] = (),
    ) -> MemoryEntry:
        """Keep `content` under `key`; what was there is replaced.

        Raises Invalid for a key that is empty or longer than 256 characters.
        """
        if not key or len(key) > KEY_LIMIT:
            raise Invalid(f"A key has 1 to {KEY_LIMIT} characters.", param="key")
        now = self._clock.now_ms()
        fresh = {
            "content": content,
            "author": author,
            "tags": msgspec.json.encode([storable(tag) for tag in tags]).decode(),
            "updated_at": now,
        }
        identity = {"client_id": client_id, "person": person, "key": key}
        upsert = (
            insert_into(memories, on_sqlite=self._store.sqlite)
            .values(**identity, **fresh, created_at=now)
            .on_conflict_do_update(index_elements=list(identity), set_=fresh)
            .returning(memories)
        )

        def unit(connection: Connection) -> Row[Any]:
            return connection.execute(upsert).one()

        row = await self._store.write(unit)
        self.changed += 1
        return _entry(row)

    async def recall(
        self, client_id: str, *, person: str, query: str, limit: int = 5
    ) -> list[MemoryEntry]:
        """What `person` may hear that answers `query`: theirs and the shared ones, best first.

        A query without a content word ("what do you know about me?") gets the newest.
        """
        allowed = (memories.c.client_id == client_id) & memories.c.person.in_(("", person))
        asked = search.words(query)
        if not asked:
            return await self._newest(allowed, limit)
        hits = search.hits(memories, asked, sqlite=self._store.sqlite)
        statement = (
            select(memories, hits.c.score, hits.c.found)
            .join(hits, hits.c.ref == memories.c.id)
            .where(allowed)
            .order_by(hits.c.score.desc(), memories.c.updated_at.desc(), memories.c.id.desc())
            .limit(limit)
        )
        async with self._store.read() as connection:
            rows = (await connection.execute(statement)).all()
        shares = search.similarities((row.found for row in rows), len(asked))
        return [_entry(row, share) for row, share in zip(rows, shares, strict=True)]

    async def about(self, client_id: str, person: str, limit: int = 20) -> list[MemoryEntry]:
        """What is remembered of `person` (empty: the shared facts), newest first."""
        return await self._newest(
            (memories.c.client_id == client_id) & (memories.c.person == person), limit
        )

    async def forget(self, client_id: str, *, person: str, key: str) -> bool:
        """Drop the fact under `key`. False if there was none."""
        statement = delete(memories).where(
            memories.c.client_id == client_id,
            memories.c.person == person,
            memories.c.key == key,
        )
        gone = await self._store.write(lambda connection: connection.execute(statement).rowcount)
        self.changed += 1
        return gone > 0

    async def _newest(self, allowed: ColumnElement[bool], limit: int) -> list[MemoryEntry]:
        statement = (
            select(memories)
            .where(allowed)
            .order_by(memories.c.updated_at.desc(), memories.c.id.desc())
            .limit(limit)
        )
        async with self._store.read() as connection:
            return [_entry(row) for row in await connection.execute(statement)]


def _entry(row: Row[Any], similarity: float = 0.0) -> MemoryEntry:
    return MemoryEntry(
        id=row.id,
        person=row.person,
        key=row.key,
        content=row.content,
        author=row.author,
        tags=msgspec.json.decode(row.tags, type=list[str]),
        created_at=row.created_at,
        updated_at=row.updated_at,
        similarity=similarity,
    )
