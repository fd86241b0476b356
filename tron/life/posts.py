"""What the personas have said in public: the local feed, and where else each post went."""

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from tron.storage.store import Store
from tron.storage.tables import posts as table

LOOKED_AT = 500
"""posts of a persona that a new one is compared with"""

_IN_TURN = select(func.pg_advisory_xact_lock(0x706F737473))  # "posts"


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
    async with store.read() as conn:
        return await conn.run_sync(
            lambda c: _read(c, client_id, agent=agent, since_ms=since_ms, limit=limit)
        )


def _read(
    conn: Connection, client_id: str, *, agent: str | None, since_ms: int = 0, limit: int
) -> list[Post]:
    columns = [table.c[name] for name in Post.__struct_fields__]
    query = (
        select(*columns)
        .where(table.c.client_id == client_id, table.c.created_at >= since_ms)
        .order_by(table.c.created_at.desc(), table.c.id.desc())
        .limit(limit)
    )
    if agent is not None:
        query = query.where(table.c.agent == agent)
    return [_post(dict(row)) for row in conn.execute(query).mappings()]


def _post(row: dict[str, Any]) -> Post:
    delivered = msgspec.json.decode(row.pop("delivered"), type=list[Delivery])
    return Post(**row, delivered=delivered)


async def publish(
    store: Store,
    client_id: str,
    agent: str,
    text: str,
    article_url: str | None,
    now_ms: int,
    *,
    unless: Callable[[list[Post]], str],
) -> int | str:
    """Put a post into the local feed; returns its id, or why it was not put there.

    `unless` is shown the posts of `agent` as they stand at that moment, the latest `LOOKED_AT`,
    and says what speaks against one more; "" if nothing does.
    """
    new = insert(table).values(
        client_id=client_id,
        agent=agent,
        text=text,
        article_url=article_url,
        created_at=now_ms,
    )

    def unit(conn: Connection) -> int | str:
        if conn.dialect.name == "postgresql":  # which would let two of them look at once
            conn.execute(_IN_TURN)
        if why_not := unless(_read(conn, client_id, agent=agent, limit=LOOKED_AT)):
            return why_not
        return int(conn.execute(new.returning(table.c.id)).scalar_one())

    return await store.write(unit)


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
