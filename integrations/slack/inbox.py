"""The inbox: what Slack told us, kept in the database until it is answered.

An event is stored before it is acknowledged. Its unique keys (app, team and event id; app, team,
channel and time) make every further delivery of it a no-op: retries, a mention that also comes as
a message, a second hub on the same database. It belongs to the hub that stored it, for as long as
that hub renews its lease; another takes over what a dead hub left. Every statement that acts on
an event says whose it must be, so a hub that was only slow finds out and lets go.
"""

from typing import Any, Literal

import msgspec
from sqlalchemy import (
    Connection,
    Row,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from integrations.slack.threads import session_key
from integrations.slack.wire import Command, Said, Stored
from tron.clock import DAY_MS, Clock
from tron.errors import Overloaded
from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import HOUSE, hubs
from tron.storage.tables import slack_events as table
from tron.storage.tables import slack_threads as threads

LEASE_MS = 12_000
RENEW_S = 3.0
BACKLOG_LIMIT = 10_000
"""unanswered events; beyond that Slack is told to come again (503)"""
KEPT_MS = 7 * DAY_MS
TAKEN_AT_ONCE = 100
OPEN = ("waiting", "working")

Began = Literal["yes", "busy", "not ours"]


class Letter(msgspec.Struct, kw_only=True):
    """One stored event."""

    id: int
    app: str
    lane: str
    event: Stored
    attempts: int = 0
    session_key: str | None = None
    replies: list[str] = []
    """ts of what was already written in answer"""

    @property
    def order(self) -> tuple[str, int]:
        """Its place in its lane: Slack's own time, which deliveries may not follow."""
        return (self.event.ts if isinstance(self.event, Said) else "", self.id)


class Inbox:
    """The table, as one hub uses it."""

    def __init__(self, store: Store, clock: Clock, hub_id: str) -> None:
        self._store = store
        self._clock = clock
        self.hub_id = hub_id

    async def accept(self, app: str, event: Stored) -> Letter | None:
        """Store an event; None if it is known already. Raises Overloaded, StorageUnavailable."""
        now = self._clock.now_ms()
        row = {
            "client_id": HOUSE,
            "app": app,
            "team_id": event.team,
            "event_id": event.event_id,
            "kind": event.__struct_config__.tag,
            "channel": event.channel,
            "ts": event.ts if isinstance(event, Said) else None,
            "lane": lane_of(event),
            "payload": msgspec.json.encode(event).decode(),
            "status": "waiting",
            "hub": self.hub_id,
            "lease_until": now + LEASE_MS,
            "accepted_at": now,
        }

        def unit(conn: Connection) -> int | None:
            if not insert_new(conn, table, **row):
                return None
            if isinstance(event, Said):
                _touch_thread(conn, app, event, now)
            waiting = select(func.count()).where(table.c.status == "waiting")
            if conn.execute(waiting).scalar_one() > BACKLOG_LIMIT:
                raise Overloaded("Too many Slack messages are waiting.", retry_after=60)
            stored = conn.execute(
                select(table.c.id).where(
                    table.c.app == app,
                    table.c.team_id == event.team,
                    table.c.event_id == event.event_id,
                )
            )
            return int(stored.scalar_one())

        id = await self._store.write(unit)
        if id is None:
            return None
        return Letter(id=id, app=app, lane=lane_of(event), event=event)

    async def follows(self, app: str, event: Said) -> bool:
        """Whether a message without a mention continues a talk that this app has."""
        if event.thread_ts is None:
            return False
        async with self._store.read() as conn:
            found = await conn.execute(
                select(threads.c.app).where(
                    threads.c.client_id == HOUSE,
                    threads.c.team_id == event.team,
                    threads.c.channel == event.channel,
                    threads.c.thread_ts == event.thread_ts,
                )
            )
        return found.scalar() == app

    async def begin(self, letter: Letter) -> Began:
        """Take an event up, unless its lane is at work on an earlier one, here or elsewhere."""
        other = table.alias("other")
        before = other.c.id < letter.id
        if isinstance(letter.event, Said):  # by Slack's own time, which deliveries may not follow
            before = other.c.ts < letter.event.ts
        earlier = exists().where(
            other.c.lane == letter.lane,
            other.c.id != letter.id,
            or_(other.c.status == "working", and_(other.c.status == "waiting", before)),
        )
        mine = and_(table.c.id == letter.id, table.c.hub == self.hub_id)

        def unit(conn: Connection) -> tuple[Began, int]:
            row = conn.execute(select(table.c.status, table.c.attempts).where(mine)).first()
            if row is None or row.status != "waiting":
                return "not ours", 0
            begun = (
                update(table)
                .where(mine, table.c.status == "waiting", ~earlier)
                .values(status="working", attempts=table.c.attempts + 1)
            )
            done = conn.execute(begun).rowcount
            return ("yes" if done else "busy"), row.attempts + 1

        began, attempts = await self._store.write(unit)
        if began == "yes":
            letter.attempts = attempts
        return began

    async def note(self, letter: Letter, **changes: Any) -> None:
        """Write down how far its answer has come (`session_key`, `replies`)."""
        for name, value in changes.items():
            setattr(letter, name, value)
        if "replies" in changes:
            changes["replies"] = msgspec.json.encode(changes["replies"]).decode()
        await self._change(letter, changes)

    async def finish(self, letter: Letter, status: str) -> None:
        """It is answered (`done`), or failed for good and its sender knows (`failed`)."""
        await self._change(letter, {"status": status})

    async def put_back(self, letter: Letter) -> None:
        """This hub is stopping: whoever comes next may have it at once, with all its tries."""
        begun = case((table.c.status == "working", 1), else_=0)
        back = (
            update(table)
            .where(table.c.id == letter.id, table.c.hub == self.hub_id, table.c.status.in_(OPEN))
            .values(status="waiting", lease_until=0, attempts=table.c.attempts - begun)
        )
        await self._store.write(lambda conn: conn.execute(back))

    async def again(self, id: int, team: str) -> Letter | None:
        """A failed event, waiting once more; None if it is not there or did not fail."""
        now = self._clock.now_ms()

        def unit(conn: Connection) -> Row[Any] | None:
            changed = conn.execute(
                update(table)
                .where(table.c.client_id == HOUSE, table.c.id == id, table.c.team_id == team)
                .where(table.c.status == "failed")
                .values(
                    status="waiting",
                    attempts=0,
                    hub=self.hub_id,
                    lease_until=now + LEASE_MS,
                )
            )
            if not changed.rowcount:
                return None
            return conn.execute(select(table).where(table.c.id == id)).one()

        row = await self._store.write(unit)
        return None if row is None else _letter(row)

    async def renew(self) -> set[int]:
        """Keep the lease on everything open of this hub; the ids that are still its own."""
        until = self._clock.now_ms() + LEASE_MS
        mine = and_(table.c.hub == self.hub_id, table.c.status.in_(OPEN))

        def unit(conn: Connection) -> set[int]:
            conn.execute(update(table).where(mine).values(lease_until=until))
            return set(conn.execute(select(table.c.id).where(mine)).scalars())

        return await self._store.write(unit)

    async def take_over(self) -> list[Letter]:
        """What hubs now gone left behind becomes ours; `working` means: broken off midway."""
        now = self._clock.now_ms()
        left = and_(
            table.c.status.in_(OPEN),
            table.c.hub != self.hub_id,
            or_(table.c.lease_until < now, table.c.hub.not_in(select(hubs.c.id))),
        )
        async with self._store.read() as conn:
            if (await conn.execute(select(table.c.id).where(left).limit(1))).first() is None:
                return []

        def unit(conn: Connection) -> list[Row[Any]]:
            rows = conn.execute(
                select(table).where(left).order_by(table.c.id).limit(TAKEN_AT_ONCE)
            ).all()
            taken = []
            for row in rows:
                claim = (
                    update(table)
                    .where(table.c.id == row.id, table.c.hub == row.hub)
                    .where(table.c.lease_until == row.lease_until, table.c.status.in_(OPEN))
                    .values(hub=self.hub_id, lease_until=now + LEASE_MS, status="waiting")
                )
                if conn.execute(claim).rowcount:
                    taken.append(row)
            return taken

        return [_letter(row) for row in await self._store.write(unit)]

    async def waiting(self, limit: int) -> list[Letter]:
        """Events of this hub that wait, oldest first."""
        query = (
            select(table)
            .where(table.c.hub == self.hub_id, table.c.status == "waiting")
            .order_by(table.c.id)
            .limit(limit)
        )
        async with self._store.read() as conn:
            return [_letter(row) for row in (await conn.execute(query)).all()]

    async def answering(self, lane: str) -> bool:
        """Whether something in that lane is being answered just now, here or elsewhere."""
        query = select(table.c.id).where(
            table.c.lane == lane,
            table.c.status == "working",
            table.c.lease_until > self._clock.now_ms(),
        )
        async with self._store.read() as conn:
            return (await conn.execute(query.limit(1))).first() is not None

    async def prune(self) -> None:
        """Forget what was settled long ago."""
        old = self._clock.now_ms() - KEPT_MS
        await self._store.write(
            lambda conn: conn.execute(
                delete(table).where(table.c.accepted_at < old, table.c.status.not_in(OPEN))
            )
        )

    async def _change(self, letter: Letter, changes: dict[str, Any]) -> None:
        mine = and_(table.c.id == letter.id, table.c.hub == self.hub_id)
        await self._store.write(
            lambda conn: conn.execute(update(table).where(mine).values(changes))
        )


def lane_of(event: Stored) -> str:
    """Events of one lane are answered one after another: a thread, a direct message."""
    if isinstance(event, Said):
        return f"{event.team}:{event.channel}:{event.thread}"[:200]
    if isinstance(event, Command):
        return f"{event.team}:command:{event.user}"[:200]
    return f"{event.team}:{event.channel}:{event.thread}:opened"[:200]


def _touch_thread(conn: Connection, app: str, event: Said, now: int) -> None:
    place = {"team_id": event.team, "channel": event.channel, "thread_ts": event.thread}
    known = update(threads).where(*(threads.c[name] == value for name, value in place.items()))
    key = session_key(event)
    opened = func.coalesce(threads.c.session_key, key)
    if conn.execute(known.values(app=app, last_at=now, session_key=opened)).rowcount == 0:
        begun = {"app": app, "caller": f"slack:{event.team}:{event.user}", "session_key": key}
        conn.execute(insert(threads).values(client_id=HOUSE, last_at=now, **place, **begun))


def _letter(row: Row[Any]) -> Letter:
    event = msgspec.json.decode(row.payload, type=Stored)
    return Letter(
        id=row.id,
        app=row.app,
        lane=row.lane,
        event=event,
        attempts=row.attempts,
        session_key=row.session_key,
        replies=msgspec.json.decode(row.replies, type=list[str]),
    )
