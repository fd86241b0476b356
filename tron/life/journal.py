"""The journal: what each persona did, noticed or was told, in its own words.

Owns the table `journal`. An entry's kind is the life activity that wrote it, `note` for what a
persona wrote down by itself, or `message` for what a caller left for it. Entries are never
changed; the oldest are pruned.

Callers: the life activities, the tools, the briefing.
"""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select

from tron.agents.persona import Activity
from tron.clock import DAY_MS, Clock
from tron.storage.store import Store
from tron.storage.tables import journal

NOTE = "note"
MESSAGE = "message"
OWN = (*get_args(Activity), NOTE)
"""kinds that may be told to whoever asks, and that texts for others are made from: never what a
caller left for the persona alone"""


class JournalEntry(msgspec.Struct, kw_only=True, frozen=True):
    """One entry; `created_at` in ms since the epoch."""

    id: int
    agent: str
    kind: str
    text: str
    created_at: int


class Journal:
    """See the module."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.changed = 0
        """counts this process's writes, so that a cache knows when to ask again"""

    async def write(self, client_id: str, agent: str, kind: str, text: str) -> JournalEntry:
        """Add an entry to the journal of `agent`."""
        statement = (
            insert(journal)
            .values(
                client_id=client_id,
                agent=agent,
                kind=kind,
                text=text,
                created_at=self._clock.now_ms(),
            )
            .returning(journal)
        )

        def unit(connection: Connection) -> Row[Any]:
            return connection.execute(statement).one()

        row = await self._store.write(unit)
        self.changed += 1
        return _entry(row)

    async def entries(
        self,
        client_id: str,
        *,
        agent: str | None = None,
        kinds: Sequence[str] | None = None,
        since_ms: int = 0,
        limit: int = 100,
    ) -> list[JournalEntry]:
        """Newest first: of `agent` or of everyone, of these `kinds` or of all, written at
        `since_ms` (ms since the epoch) or later."""
        statement = select(journal).where(
            journal.c.client_id == client_id, journal.c.created_at >= since_ms
        )
        if agent is not None:
            statement = statement.where(journal.c.agent == agent)
        if kinds is not None:
            statement = statement.where(journal.c.kind.in_(kinds))
        statement = statement.order_by(journal.c.created_at.desc(), journal.c.id.desc())
        async with self._store.read() as connection:
            return [_entry(row) for row in await connection.execute(statement.limit(limit))]

    async def prune(self, days: int) -> int:
        """Drop what is older than `days`, of every tenant. Returns how many entries went."""
        oldest = self._clock.now_ms() - days * DAY_MS
        statement = delete(journal).where(journal.c.created_at < oldest)
        gone = await self._store.write(lambda connection: connection.execute(statement).rowcount)
        self.changed += 1
        return gone


def _entry(row: Row[Any]) -> JournalEntry:
    return JournalEntry(
        id=row.id, agent=row.agent, kind=row.kind, text=row.text, created_at=row.created_at
    )
