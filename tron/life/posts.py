"""What the personas have said in public: the local feed, and where else each post went."""

from typing import Any

import msgspec
from sqlalchemy import insert, select, update

from tron.storage.store import Store
from tron.storage.tables import posts as table


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One outside place a post was sent to."""

    to: str
    """`social` or `slack`"""
    ok: bool
    error: str | None = None


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """A post of `agent` (persona id), published at `created_at`."""

    id: int
    agent: str
    text: str
    article_url: str | None
    delivered: list[Delivery]
    created_at: int


async def read_posts(
    store: Store,
    client_id: str,
    *,
    agent: str | None = None,
    since_ms: int = 0,
    limit: int = 100,
) -> list[Post]:
    """What was posted at or after `since_ms`, newest first."""
    columns = [table.c[name] for name in Post.__struct_fields__]
    query = (
        select(*columns)
        .where(table.c.client_id == client_id, table.c.created_at >= since_ms)
        .order_by(table.c.created_at.desc(), table.c.id.desc())
        .limit(limit)
    )
    if agent is not None:
        query = query.where(table.c.agent == agent)
    async with store.read() as conn:
        return [_post(dict(row)) for row in (await conn.execute(query)).mappings()]


def _post(row: dict[str, Any]) -> Post:
    delivered = msgspec.json.decode(row.pop("delivered"), type=list[Delivery])
    return Post(**row, delivered=delivered)


async def publish(
    store: Store, client_id: str, agent: str, text: str, article_url: str | None, now_ms: int
) -> int:
    """Put a post into the local feed; returns its id."""
    new = insert(table).values(
        client_id=client_id,
        agent=agent,
        text=text,
        article_url=article_url,
        created_at=now_ms,
    )
    return await store.write(lambda conn: int(conn.execute(new.returning(table.c.id)).scalar_one()))


async def record(store: Store, client_id: str, post: int, delivered: list[Delivery]) -> None:
    """Write down where a post went."""
    told = msgspec.json.encode(delivered).decode()
    await store.write(
        lambda conn: conn.execute(
            update(table)
            .where(table.c.client_id == client_id, table.c.id == post)
            .values(delivered=told)
        )
    )
