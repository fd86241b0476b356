"""The heartbeat: a row per hub that says it is alive.

Hubs that share a database tell from it which work was left behind by one that was killed. A hub
that closes in good order takes its row away; one whose row is older than `DEAD_AFTER_MS` is dead.
"""

from sqlalchemy import Connection, delete, update

from tron.clock import Clock
from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import hubs

BEAT_S = 2.0
DEAD_AFTER_MS = 10_000
FORGET_MS = 86_400_000


class Heartbeat:
    """This hub's own row, and the sweeping away of rows long dead."""

    def __init__(self, store: Store, clock: Clock, hub_id: str) -> None:
        self._store = store
        self._clock = clock
        self.hub_id = hub_id
        self._started_at = clock.now_ms()

    async def beat(self) -> None:
        """Say that this hub is alive. Raises StorageUnavailable."""
        now = self._clock.now_ms()

        def unit(conn: Connection) -> None:
            mine = update(hubs).where(hubs.c.id == self.hub_id).values(seen_at=now)
            if conn.execute(mine).rowcount == 0:
                insert_new(conn, hubs, id=self.hub_id, started_at=self._started_at, seen_at=now)
                conn.execute(delete(hubs).where(hubs.c.seen_at < now - FORGET_MS))

        await self._store.write(unit)

    async def stop(self) -> None:
        """Say that this hub is gone, so that nobody waits for it."""
        await self._store.write(
            lambda conn: conn.execute(delete(hubs).where(hubs.c.id == self.hub_id))
        )
