"""The heartbeat: a row per hub that says it is alive.

Hubs that share a database tell from it which work was left behind by one that was killed. A hub
that closes in good order takes its row away; one whose row is older than `DEAD_AFTER_MS` is dead.
The hub beats as long as it serves, by nothing else's leave; whoever cleans up after the dead asks
`alive`.
"""

import structlog
from sqlalchemy import Connection, Select, delete, select, update

from tron.clock import DAY_MS, Clock
from tron.errors import TronError
from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import hubs
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

BEAT_S = 2.0
DEAD_AFTER_MS = 10_000
FORGET_MS = DAY_MS


def alive(now_ms: int) -> Select[tuple[str]]:
    """The ids of the hubs that live at `now_ms`."""
    return select(hubs.c.id).where(hubs.c.seen_at > now_ms - DEAD_AFTER_MS)


class Heartbeat:
    """This hub's own row, and the sweeping away of rows long dead."""

    def __init__(self, store: Store, clock: Clock, hub_id: str) -> None:
        self._store = store
        self._clock = clock
        self.hub_id = hub_id
        self._tasks = Tasks("heartbeat")

    async def start(self) -> None:
        """Beat from now on. Raises StorageUnavailable if the first one fails."""
        await self.beat()
        self._tasks.repeat(self.beat, "beat", every_s=BEAT_S)

    async def beat(self) -> None:
        """Say that this hub is alive. Raises StorageUnavailable."""
        now = self._clock.now_ms()

        def unit(conn: Connection) -> None:
            mine = update(hubs).where(hubs.c.id == self.hub_id).values(seen_at=now)
            if conn.execute(mine).rowcount == 0:
                insert_new(conn, hubs, id=self.hub_id, seen_at=now)
                conn.execute(delete(hubs).where(hubs.c.seen_at < now - FORGET_MS))

        await self._store.write(unit)

    async def close(self) -> None:
        """Say that this hub is gone, so that nobody waits for it."""
        await self._tasks.close()
        try:
            await self._store.write(
                lambda conn: conn.execute(delete(hubs).where(hubs.c.id == self.hub_id))
            )
        except TronError as error:  # then the row grows old, which says the same
            log.warning("heartbeat.left", error=error.type)
