"""Sessions and their messages in the store: the statements, and nothing else.

A unit here is handed to `Store.write`; a query runs on a connection from `Store.read`. What a
session means (who may use it, when it ends) is decided by `Sessions` and its parts.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tron.conversation.thinking import ToolRecord
from tron.conversation.turns import Message, ToolCall
from tron.storage.tables import messages, sessions


class Extra(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a stored message has besides its text."""

    parts: list[dict[str, Any]] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    tools: list[ToolRecord] = []
    """hub tools used for this answer"""
    interrupted: bool = False
    """the caller went away, or the answer broke off, before it was complete"""
    follows: bool = False
    """the caller sent the whole talk before it"""


class Entry(msgspec.Struct, kw_only=True):
    """A message at its place in a session."""

    seq: int
    message: Message
    created_at: int
    tools: list[ToolRecord] = []
    interrupted: bool = False
    follows: bool = False


_encode = msgspec.json.Encoder().encode
_decode_extra = msgspec.json.Decoder(Extra).decode
_NOTHING = b"{}"


def _row(client_id: str, session_key: str, entry: Entry) -> dict[str, Any]:
    message = entry.message
    extra = _encode(
        Extra(
            parts=message.parts,
            tool_calls=message.tool_calls,
            tool_call_id=message.tool_call_id,
            name=message.name,
            tools=entry.tools,
            interrupted=entry.interrupted,
            follows=entry.follows,
        )
    )
    return {
        "session_key": session_key,
        "seq": entry.seq,
        "client_id": client_id,
        "role": message.role,
        "content": message.content,
        "extra": None if extra == _NOTHING else extra.decode(),
        "created_at": entry.created_at,
    }


def entry_of(row: Row[Any]) -> Entry:
    extra = _decode_extra(row.extra) if row.extra else Extra()
    return Entry(
        seq=row.seq,
        created_at=row.created_at,
        tools=extra.tools,
        interrupted=extra.interrupted,
        follows=extra.follows,
        message=Message(
            role=row.role,
            content=row.content,
            parts=extra.parts,
            tool_calls=extra.tool_calls,
            tool_call_id=extra.tool_call_id,
            name=extra.name,
        ),
    )


TOUCHED = ("digest", "updated_at", "agent", "process_id")
"""what a message changes in its session's row"""
SESSION = ("key", "client_id", "created_at")
"""what tells a session from all others"""

_insert_session = insert(sessions)
_insert_messages = insert(messages)
# Built once: it runs for every message, and building it costs more than running it.
_touch = (
    update(sessions)
    .where(
        sessions.c.key == bindparam("of_key"),
        sessions.c.client_id == bindparam("of_client_id"),
        sessions.c.created_at == bindparam("of_created_at"),  # not one begun under its key since
    )
    .values({name: bindparam(name) for name in TOUCHED})
)
_TOUCH = {
    "whatever": _touch,
    "reopened": _touch.values({"ended_at": None, "end_cause": None}),
    "open": _touch.where(sessions.c.ended_at.is_(None)),
}


class Closed(Exception):
    """There is no session to add to: it was deleted or, where it had to be open, has ended."""


def create(connection: Connection, row: dict[str, Any], entries: Sequence[Entry]) -> None:
    connection.execute(_insert_session, row)
    _add(connection, row, entries)


def append(
    connection: Connection,
    row: dict[str, Any],
    entries: Sequence[Entry],
    *,
    session: Literal["whatever", "reopened", "open"],
) -> None:
    """Add `entries` and bring the session's row up to date; `row` is what it is to be.

    `session`: whether it has ended is left as it is, it is open from now on, or it must be open.
    Raises Closed.
    """
    _add(connection, row, entries)
    this = {f"of_{name}": row[name] for name in SESSION}
    touched = {name: row[name] for name in TOUCHED}
    if connection.execute(_TOUCH[session], this | touched).rowcount == 0:
        raise Closed


def _add(connection: Connection, row: dict[str, Any], entries: Sequence[Entry]) -> None:
    if entries:
        place = (row["client_id"], row["key"])
        connection.execute(_insert_messages, [_row(*place, entry) for entry in entries])


def change(
    connection: Connection, client_id: str, session_key: str, changes: dict[str, Any]
) -> None:
    connection.execute(
        update(sessions)
        .where(sessions.c.key == session_key, sessions.c.client_id == client_id)
        .values(changes)
    )


def supersede(
    connection: Connection, client_id: str, session_key: str, first: int, last: int
) -> None:
    """The messages from `first` to `last` were replaced by the caller's own version."""
    connection.execute(
        update(messages)
        .where(
            messages.c.session_key == session_key,
            messages.c.client_id == client_id,
            messages.c.seq.between(first, last),
        )
        .values(superseded=True)
    )


def remove(connection: Connection, client_id: str, session_key: str) -> str | None:
    """Delete a session with its messages; returns its agent, None if there is no such session."""
    this = (sessions.c.key == session_key, sessions.c.client_id == client_id)
    agent: str | None = connection.execute(select(sessions.c.agent).where(*this)).scalar()
    connection.execute(delete(sessions).where(*this))
    connection.execute(
        delete(messages).where(
            messages.c.session_key == session_key, messages.c.client_id == client_id
        )
    )
    return agent


def end(
    connection: Connection, cause: str, now_ms: int, *conditions: Any
) -> list[tuple[str, str, str]]:
    """Mark the sessions that meet `conditions` as ended; returns their (client, key, agent)."""
    found = connection.execute(
        select(sessions.c.client_id, sessions.c.key, sessions.c.agent).where(
            sessions.c.ended_at.is_(None), *conditions
        )
    ).all()
    for client_id, key, _ in found:
        change(connection, client_id, key, {"ended_at": now_ms, "end_cause": cause})
    return [(row.client_id, row.key, row.agent) for row in found]


async def find(connection: AsyncConnection, client_id: str, *conditions: Any) -> Row[Any] | None:
    """The session most recently used among those that meet `conditions`."""
    return (
        await connection.execute(
            select(sessions)
            .where(sessions.c.client_id == client_id, *conditions)
            .order_by(sessions.c.updated_at.desc(), sessions.c.key)
            .limit(1)
        )
    ).first()


async def load(
    connection: AsyncConnection, client_id: str, session_key: str, after_seq: int = 0
) -> list[Entry]:
    """The messages that still hold, oldest first."""
    rows = await connection.execute(
        select(messages)
        .where(
            messages.c.session_key == session_key,
            messages.c.client_id == client_id,
            messages.c.seq > after_seq,
            messages.c.superseded.is_(False),
        )
        .order_by(messages.c.seq)
    )
    return [entry_of(row) for row in rows]


async def last_seq(connection: AsyncConnection, client_id: str, session_key: str) -> int:
    """The highest place taken in a session, superseded messages included; 0 if none."""
    mine = (messages.c.client_id == client_id, messages.c.session_key == session_key)
    return (await connection.execute(select(func.max(messages.c.seq)).where(*mine))).scalar() or 0


async def listing(
    connection: AsyncConnection, client_id: str, limit: int, *conditions: Any
) -> list[Row[Any]]:
    """Sessions with their `message_count`, latest first."""
    count = (
        select(func.count())
        .where(
            messages.c.session_key == sessions.c.key,
            messages.c.client_id == client_id,
            messages.c.superseded.is_(False),
        )
        .scalar_subquery()
    )
    rows = await connection.execute(
        select(sessions, count.label("message_count"))
        .where(sessions.c.client_id == client_id, *conditions)
        .order_by(sessions.c.updated_at.desc(), sessions.c.key)
        .limit(limit)
    )
    return list(rows.all())


async def count(connection: AsyncConnection, client_id: str, *conditions: Any) -> int:
    """How many sessions meet `conditions`."""
    counted = select(func.count()).select_from(sessions)
    where = (sessions.c.client_id == client_id, *conditions)
    return (await connection.execute(counted.where(*where))).scalar() or 0
