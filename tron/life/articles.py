"""What the personas have read: one row per article, with the persona's take on it."""

import msgspec
from sqlalchemy import Connection, delete, func, select

from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import articles as table

KEPT = 100
"""articles kept per persona; older ones are forgotten, and may be read again"""


class Article(msgspec.Struct, frozen=True, kw_only=True):
    """An article that `agent` (persona id) has read."""

    id: int
    agent: str
    url: str
    title: str
    source: str
    score: float
    take: str
    read_at: int


async def read_articles(
    store: Store,
    client_id: str,
    *,
    agent: str | None = None,
    since_ms: int = 0,
    limit: int = KEPT,
) -> list[Article]:
    """What was read at or after `since_ms`, newest first."""
    columns = [table.c[name] for name in Article.__struct_fields__]
    query = (
        select(*columns)
        .where(table.c.client_id == client_id, table.c.read_at >= since_ms)
        .order_by(table.c.read_at.desc(), table.c.id.desc())
        .limit(limit)
    )
    if agent is not None:
        query = query.where(table.c.agent == agent)
    async with store.read() as conn:
        return [Article(**row) for row in (await conn.execute(query)).mappings()]


async def known_urls(store: Store, client_id: str, agent: str) -> set[str]:
    """Addresses this persona has read."""
    query = select(table.c.url).where(table.c.client_id == client_id, table.c.agent == agent)
    async with store.read() as conn:
        return set((await conn.execute(query)).scalars())


async def keep_article(
    store: Store,
    client_id: str,
    *,
    agent: str,
    url: str,
    title: str,
    source: str,
    score: float,
    take: str,
    read_at: int,
) -> bool:
    """Save an article that was read, and forget the oldest. False if it was read already."""

    def unit(conn: Connection) -> bool:
        new = insert_new(
            conn,
            table,
            client_id=client_id,
            agent=agent,
            url=url,
            title=title,
            source=source,
            score=score,
            take=take,
            read_at=read_at,
        )
        mine = (table.c.client_id == client_id) & (table.c.agent == agent)
        count = conn.execute(select(func.count()).where(mine)).scalar_one()
        if count > KEPT:
            newest = (
                select(table.c.id)
                .where(mine)
                .order_by(table.c.read_at.desc(), table.c.id.desc())
                .limit(KEPT)
            )
            kept = list(conn.execute(newest).scalars())
            conn.execute(delete(table).where(mine, table.c.id.not_in(kept)))
        return new

    return await store.write(unit)
