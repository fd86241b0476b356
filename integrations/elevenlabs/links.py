"""Signed addresses: one socket each, for a quarter of an hour.

Owns the table `elevenlabs_links`. The signature is 32 random bytes of which only the SHA-256 is
kept, so the address can be minted by one hub process and used at another, and whoever reads the
database can open nothing.
"""

import hashlib
import re
import secrets

from sqlalchemy import Connection, delete, insert, select

from tron.clock import Clock
from tron.storage.store import Store
from tron.storage.tables import elevenlabs_links as table

GOOD_MS = 15 * 60 * 1000
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{43}")


class Links:
    """See the module."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def mint(self, client_id: str, agent: str) -> str:
        """A new signature for one conversation with `agent`. Raises StorageUnavailable."""
        signature, now = secrets.token_urlsafe(32), self._clock.now_ms()
        row = {
            "sha256": _digest(signature),
            "client_id": client_id,
            "agent": agent,
            "expires_at": now + GOOD_MS,
        }

        def unit(conn: Connection) -> None:
            conn.execute(delete(table).where(table.c.expires_at <= now))
            conn.execute(insert(table), row)

        await self._store.write(unit)
        return signature

    async def redeem(self, signature: str) -> tuple[str, str] | None:
        """(client, agent) it was minted for, once; None if it is unknown, used or too old."""
        if not _SIGNATURE.fullmatch(signature):
            return None
        digest, now = _digest(signature), self._clock.now_ms()
        async with self._store.read() as connection:  # guesses must not keep the writer busy
            known = await connection.execute(select(table.c.agent).where(table.c.sha256 == digest))
            if known.first() is None:
                return None

        def unit(conn: Connection) -> tuple[str, str, int] | None:
            taken = delete(table).where(table.c.sha256 == digest)
            row = conn.execute(
                taken.returning(table.c.client_id, table.c.agent, table.c.expires_at)
            ).first()
            return None if row is None else (row.client_id, row.agent, row.expires_at)

        found = await self._store.write(unit)
        return None if found is None or found[2] <= now else found[:2]


def _digest(signature: str) -> str:
    return hashlib.sha256(signature.encode()).hexdigest()
