"""The ledger of life: which run was due, who claimed it, what came of it.

A scheduled run is claimed by inserting its row; the table's unique key (tenant, persona, activity,
slot) lets one hub win however many fire. A run that a killed hub left behind is recognised by the
heartbeats (see `tron/heartbeat.py`) and taken over by a conditional update, again by one hub only.

The row with slot `planned` says since when an activity has been on a persona's schedule: only what
became due after that can have been missed, so a newcomer's first start catches nothing up.
"""

import secrets
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, and_, delete, or_, select, update

from tron.clock import Clock
from tron.heartbeat import alive
from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import life_runs

PLANNED = "planned"
MANUAL = "manual-"
STALE_MS = 10 * 60_000
"""no run takes this long (see `life.RUN_LIMIT_S`), so its hub must be gone"""
AGAIN = "started again after an interruption"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger."""

    id: int
    agent: str
    activity: str
    slot: str
    hub: str
    result: str
    started_at: int

    @property
    def manual(self) -> bool:
        return self.slot.startswith(MANUAL)


class Runs:
    """The ledger of one tenant, as one hub writes it."""

    def __init__(self, store: Store, clock: Clock, hub_id: str, client_id: str) -> None:
        self._store = store
        self._clock = clock
        self._hub_id = hub_id
        self._client_id = client_id

    async def planned(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Note that these (persona id, activity) are on the schedule, if that is new."""

        def unit(conn: Connection) -> None:
            for agent, activity in pairs:
                self._insert(conn, agent, activity, PLANNED, "skipped", "first scheduled")

        await self._store.write(unit)

    async def claim(self, agent: str, activity: str, slot: str) -> bool:
        """Whether this hub is the one to run `slot`."""
        return await self._store.write(
            lambda conn: self._insert(conn, agent, activity, slot, "running", "")
        )

    async def claim_manual(self, agent: str, activity: str) -> str:
        """Open a run that somebody asked for; returns its slot."""
        slot = f"{MANUAL}{self._clock.now_ms()}-{secrets.token_hex(3)}"
        await self.claim(agent, activity, slot)
        return slot

    async def skip(self, agent: str, activity: str, slot: str, why: str) -> bool:
        """Record that `slot` is not run. False if it was claimed or recorded already."""
        return await self._store.write(
            lambda conn: self._insert(conn, agent, activity, slot, "skipped", why)
        )

    def _insert(
        self, conn: Connection, agent: str, activity: str, slot: str, status: str, result: str
    ) -> bool:
        return insert_new(
            conn,
            life_runs,
            client_id=self._client_id,
            agent=agent,
            activity=activity,
            slot=slot,
            hub=self._hub_id,
            status=status,
            result=result,
            started_at=self._clock.now_ms(),
        )

    async def finish(self, agent: str, activity: str, slot: str, status: str, result: str) -> None:
        """Write down what came of a run that this hub holds."""
        await self._store.write(
            lambda conn: conn.execute(
                update(life_runs)
                .where(
                    life_runs.c.client_id == self._client_id,
                    life_runs.c.agent == agent,
                    life_runs.c.activity == activity,
                    life_runs.c.slot == slot,
                    life_runs.c.hub == self._hub_id,
                )
                .values(status=status, result=result)
            )
        )

    async def first_planned(self) -> dict[tuple[str, str], int]:
        """Since when (ms) each (persona id, activity) has been scheduled."""
        query = select(life_runs.c.agent, life_runs.c.activity, life_runs.c.started_at).where(
            life_runs.c.client_id == self._client_id, life_runs.c.slot == PLANNED
        )
        async with self._store.read() as conn:
            return {(row.agent, row.activity): row.started_at for row in await conn.execute(query)}

    async def slots_since(self, since_ms: int) -> set[tuple[str, str, str]]:
        """(persona id, activity, slot) of every run claimed or recorded since `since_ms`."""
        query = select(life_runs.c.agent, life_runs.c.activity, life_runs.c.slot).where(
            life_runs.c.client_id == self._client_id, life_runs.c.started_at >= since_ms
        )
        async with self._store.read() as conn:
            return {(row.agent, row.activity, row.slot) for row in await conn.execute(query)}

    async def interrupted(self) -> list[Run]:
        """Runs still open although nobody is working on them any more.

        A manual run may belong to a command line that sends no heartbeat, so only age tells.
        """
        now = self._clock.now_ms()
        columns = [life_runs.c[name] for name in Run.__struct_fields__]
        query = select(*columns).where(
            life_runs.c.client_id == self._client_id,
            life_runs.c.status == "running",
            or_(
                life_runs.c.started_at < now - STALE_MS,
                and_(life_runs.c.hub.not_in(alive(now)), life_runs.c.slot.not_like(f"{MANUAL}%")),
            ),
        )
        async with self._store.read() as conn:
            return [Run(**row) for row in (await conn.execute(query)).mappings()]

    async def take_over(self, run: Run, status: str, result: str) -> bool:
        """Make an interrupted run this hub's own; False if another hub was first."""
        now = self._clock.now_ms()

        def unit(conn: Connection) -> bool:
            changed = conn.execute(
                update(life_runs)
                .where(
                    life_runs.c.client_id == self._client_id,
                    life_runs.c.id == run.id,
                    life_runs.c.status == "running",
                    life_runs.c.hub == run.hub,
                    life_runs.c.started_at == run.started_at,
                )
                .values(hub=self._hub_id, status=status, result=result, started_at=now)
            )
            return changed.rowcount == 1

        return await self._store.write(unit)

    async def prune(self, before_ms: int) -> None:
        """Forget runs that began before `before_ms`."""
        await self._store.write(
            lambda conn: conn.execute(
                delete(life_runs).where(
                    life_runs.c.client_id == self._client_id,
                    life_runs.c.started_at < before_ms,
                    life_runs.c.slot != PLANNED,
                )
            )
        )
