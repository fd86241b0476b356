"""What ElevenLabs tells of the conversations it held, kept once each.

Owns the table `elevenlabs_conversations`. Webhooks come twice and in any order, so each adds to
the row what it knows. The sound of a call is kept only where the hub records calls.
"""

import asyncio
import base64
import binascii
import re
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, select, update

from tron.calls import recording
from tron.clock import Clock
from tron.errors import Invalid
from tron.given import mapping, short
from tron.settings import Settings
from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.storage.tables import elevenlabs_conversations as table

LINES_KEPT = 2_000
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing said."""

    role: str
    """`user` or `agent`"""
    text: str
    at_s: int | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation. Times in ms since the epoch."""

    conversation_id: str
    agent_id: str
    status: str
    caller: str | None
    lines: list[Line]
    summary: str | None
    duration_s: int | None
    audio: str | None
    error: str | None
    received_at: int


class Conversations:
    """See the module."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._recordings = settings.home / "recordings" if settings.record_calls else None
        self._store = store
        self._clock = clock

    async def tell(self, event: dict[str, Any]) -> str:
        """Keep what a post-call webhook says; returns its type. Raises Invalid for one that can't
        be read; one of an unknown type is nothing."""
        type, data = str(event.get("type"))[:64], mapping(event.get("data"))
        match type:
            case "post_call_transcription":
                await self._keep(data, _transcription(data))
            case "call_initiation_failure":
                reason = short(data.get("failure_reason"), 500)
                await self._keep(data, {"status": "failed", "error": reason or "not said"})
            case "post_call_audio":
                await self._sound(data)
        return type

    async def latest(self, client_id: str, limit: int) -> list[Told]:
        """The latest, newest first."""
        query = (
            select(table)
            .where(table.c.client_id == client_id)
            .order_by(table.c.received_at.desc(), table.c.conversation_id)
            .limit(limit)
        )
        async with self._store.read() as connection:
            rows = (await connection.execute(query)).all()
        return [_told(dict(row._mapping)) for row in rows]

    async def prune(self, keep_ms: int) -> int:
        """Forget conversations told of longer ago than this, with their recordings; how many."""
        old = table.c.received_at < self._clock.now_ms() - keep_ms
        async with self._store.read() as connection:
            sounds = await connection.scalars(
                select(table.c.audio).where(old, table.c.audio.is_not(None))
            )
        for sound in sounds:
            await recording.remove(sound)
        return await self._store.write(lambda c: c.execute(delete(table).where(old)).rowcount)

    async def _sound(self, data: dict[str, Any]) -> None:
        if self._recordings is None:
            return
        id = _id(data)
        path = self._recordings / f"elevenlabs-{id}.mp3"
        try:
            await asyncio.to_thread(_write, path, data.get("full_audio"))
        except (binascii.Error, ValueError, TypeError):
            raise Invalid("full_audio must be base64.", param="data.full_audio") from None
        await self._keep(data, {"audio": str(path)})

    async def _keep(self, data: dict[str, Any], known: dict[str, Any]) -> None:
        id, now = _id(data), self._clock.now_ms()
        agent_id = short(data.get("agent_id"), 128)
        filled = {name: value for name, value in known.items() if value is not None}

        def unit(conn: Connection) -> None:
            insert_new(
                conn,
                table,
                conversation_id=id,
                client_id=HOUSE,
                agent_id=agent_id,
                status="unknown",
                received_at=now,
            )
            if filled:
                conn.execute(
                    update(table)
                    .where(table.c.conversation_id == id, table.c.client_id == HOUSE)
                    .values(**filled)
                )

        await self._store.write(unit)


def _transcription(data: dict[str, Any]) -> dict[str, Any]:
    about = mapping(data.get("metadata"))
    variables = mapping(
        mapping(data.get("conversation_initiation_client_data")).get("dynamic_variables")
    )
    caller = (
        data.get("user_id")
        or mapping(about.get("phone_call")).get("external_number")
        or variables.get("system__caller_id")
    )
    duration = about.get("call_duration_secs")
    lines = [
        {
            "role": "user" if line.get("role") == "user" else "agent",
            "text": line["message"],
            "at_s": at if isinstance(at := line.get("time_in_call_secs"), int) else None,
        }
        for line in _list(data.get("transcript"))[:LINES_KEPT]
        if isinstance(line, dict) and isinstance(line.get("message"), str) and line["message"]
    ]
    return {
        "status": short(data.get("status"), 32) or "done",
        "caller": short(caller, 256) or None,
        "lines": msgspec.json.encode(lines).decode(),
        "summary": short(mapping(data.get("analysis")).get("transcript_summary"), 10_000) or None,
        "duration_s": duration if isinstance(duration, int) and 0 <= duration < 10**6 else None,
    }


def _told(row: dict[str, Any]) -> Told:
    del row["client_id"]
    row["lines"] = msgspec.json.decode(row["lines"], type=list[Line])
    return Told(**row)


def _id(data: dict[str, Any]) -> str:
    id = data.get("conversation_id")
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise Invalid("A conversation_id is missing.", param="data.conversation_id")
    return id


def _write(path: Path, given: Any) -> None:
    sound = base64.b64decode(given, validate=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sound)


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else []
