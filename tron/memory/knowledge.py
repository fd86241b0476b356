"""What the company knows: entries that personas share with each other, kept for 30 days.

Owns the table `knowledge`. Entries are never changed; a better insight is a new entry. The feed
is the last day in a size that fits a prompt.

Callers: the tools, the briefing, the life activities, and whoever clears up once a day (`prune`).
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec
from sqlalchemy import Connection, Row, delete, insert, or_, select

from tron.clock import DAY_MS, Clock
from tron.errors import Invalid
from tron.memory import search
from tron.storage.store import Store
from tron.storage.tables import knowledge
from tron.storage.text import storable

EntryType = Literal["discovery", "insight", "decision", "task_result", "resource"]
Domain = Literal["tech", "marketing", "finance", "ops", "product", "general"]

KEPT_MS = 30 * DAY_MS
FEED_PER_DOMAIN = 3
FEED_CHARACTERS = 2_000
"""about 500 tokens of English"""
FEED_ENTRY_CHARACTERS = 300


class KnowledgeEntry(msgspec.Struct, kw_only=True, frozen=True):
    """One thing a persona found worth sharing."""

    id: str
    type: str
    domain: str
    author: str
    title: str
    content: str
    tags: list[str]
    source: dict[str, str]
    """where it came from: `process_id`, `task_id`, `url`, as far as known"""
    created_at: int
    """ms since the epoch"""


class Knowledge:
    """See the module."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.changed = 0
        """counts this process's writes, so that a cache knows when to ask again"""

    async def share(
        self,
        client_id: str,
        *,
        author: str,
        type: str,
        title: str,
        content: str,
        domain: str = "general",
        tags: Sequence[str] = (),
        source: dict[str, str] | None = None,
    ) -> KnowledgeEntry:
        """Add an entry. Raises Invalid for a type or domain that does not exist."""
        _check("type", type, get_args(EntryType))
        _check("domain", domain, get_args(Domain))
        entry = KnowledgeEntry(
            id="",
            type=type,
            domain=domain,
            author=author,
            title=storable(title),
            content=storable(content),
            tags=[_tag(tag) for tag in tags],
            source=source or {},
            created_at=self._clock.now_ms(),
        )

        def unit(connection: Connection) -> str:
            id = _free_id(connection)
            values = msgspec.structs.asdict(entry) | {
                "id": id,
                "client_id": client_id,
                "tags": msgspec.json.encode(entry.tags).decode(),
                "source": msgspec.json.encode(entry.source).decode(),
            }
            connection.execute(insert(knowledge).values(**values))
            return id

        id = await self._store.write(unit)
        self.changed += 1
        return msgspec.structs.replace(entry, id=id)

    async def query(
        self,
        client_id: str,
        *,
        text: str = "",
        domain: str = "",
        author: str = "",
        type: str = "",
        tags: Sequence[str] = (),
        limit: int = 10,
    ) -> list[KnowledgeEntry]:
        """Entries that fit everything given (of `tags`, any): best first with a text that has
        content words, else newest first."""
        statement = select(knowledge).where(knowledge.c.client_id == client_id)
        for column, value in (
            (knowledge.c.domain, domain),
            (knowledge.c.author, author),
            (knowledge.c.type, type),
        ):
            if value:
                statement = statement.where(column == value)
        if tags:
            quoted = [msgspec.json.encode(_tag(tag)).decode() for tag in tags]
            statement = statement.where(
                or_(*(knowledge.c.tags.contains(tag, autoescape=True) for tag in quoted))
            )
        if asked := search.words(text):
            hits = search.hits(knowledge, asked, sqlite=self._store.sqlite)
            statement = statement.join(hits, hits.c.ref == knowledge.c.seq)
            statement = statement.order_by(hits.c.score.desc())
        newest = statement.order_by(knowledge.c.created_at.desc(), knowledge.c.seq.desc())
        async with self._store.read() as connection:
            return [_entry(row) for row in await connection.execute(newest.limit(limit))]

    async def feed(self, client_id: str) -> list[KnowledgeEntry]:
        """The last 24 hours, newest first: at most 3 entries a domain, about 500 tokens in all.

        A long content is cut, with an ellipsis.
        """
        statement = (
            select(knowledge)
            .where(
                knowledge.c.client_id == client_id,
                knowledge.c.created_at >= self._clock.now_ms() - DAY_MS,
            )
            .order_by(knowledge.c.created_at.desc(), knowledge.c.seq.desc())
            .limit(200)
        )
        async with self._store.read() as connection:
            recent = [_entry(row) for row in await connection.execute(statement)]
        shown: list[KnowledgeEntry] = []
        per_domain: Counter[str] = Counter()
        left = FEED_CHARACTERS
        for entry in recent:
            if per_domain[entry.domain] >= FEED_PER_DOMAIN:
                continue
            brief = msgspec.structs.replace(
                entry,
                title=_cut(entry.title),
                content=_cut(entry.content),
            )
            size = len(brief.title) + len(brief.content)
            if size > left:
                break
            left -= size
            per_domain[entry.domain] += 1
            shown.append(brief)
        return shown

    async def prune(self) -> int:
        """Drop what is older than 30 days, of every tenant. Returns how many entries went."""
        statement = delete(knowledge).where(knowledge.c.created_at < self._clock.now_ms() - KEPT_MS)
        gone = await self._store.write(lambda connection: connection.execute(statement).rowcount)
        if gone:
            self.changed += 1
        return gone


def _check(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise Invalid(f"{field} must be one of {', '.join(allowed)}.", param=field)


def _free_id(connection: Connection) -> str:
    while True:
        id = secrets.token_hex(4)
        if connection.execute(select(knowledge.c.seq).where(knowledge.c.id == id)).first() is None:
            return id


def _tag(tag: str) -> str:
    return storable(tag).strip().lower()


def _cut(text: str) -> str:
    if len(text) <= FEED_ENTRY_CHARACTERS:
        return text
    return text[: FEED_ENTRY_CHARACTERS - 1].rstrip() + "…"


def _entry(row: Row[Any]) -> KnowledgeEntry:
    return KnowledgeEntry(
        id=row.id,
        type=row.type,
        domain=row.domain,
        author=row.author,
        title=row.title,
        content=row.content,
        tags=msgspec.json.decode(row.tags, type=list[str]),
        source=msgspec.json.decode(row.source, type=dict[str, str]),
        created_at=row.created_at,
    )
