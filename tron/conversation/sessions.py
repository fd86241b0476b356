"""Sessions: whose conversation is this, and what has been said in it.

A session is one conversation of one caller with one persona, kept in the store. The ones in use
are also held in memory while their process lives; that copy is only a cache of the transcript.
Owns finding, opening, listing, ending and deleting sessions, and adding to them. Two hubs on one
database may hold the same session: the store refuses a place in the transcript that is taken, and
the loser reads what the other wrote and takes the next place.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Coroutine, Sequence
from hashlib import sha256
from typing import Any

import structlog
from sqlalchemy import Row, or_
from sqlalchemy.exc import IntegrityError

from tron import events
from tron.clock import Clock
from tron.conversation import transcript
from tron.conversation.reconcile import EMPTY_DIGEST, digest, split
from tron.conversation.thinking import ToolRecord
from tron.conversation.transcript import Entry
from tron.conversation.turns import Message, TurnInput
from tron.errors import NotFound, StorageUnavailable
from tron.events import Bus
from tron.orchestrator.process import Process
from tron.storage.store import Store
from tron.storage.tables import sessions as table
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

INTERNAL_CHANNELS = ("delegation",)
"""conversations among personas; not listed among callers' sessions"""

MADE_UP = ("anonymous-", "req-")
"""caller ids that name a request rather than a person: only their talks are found by history"""

_SAFE = re.compile(r"[A-Za-z0-9_.-]{1,128}")
APPEND_TRIES = 5


class Session:
    """A conversation in use. Only the turn that has the floor changes it."""

    def __init__(self, row: dict[str, Any], *, stored: bool) -> None:
        self.key: str = row["key"]
        self.client_id: str = row["client_id"]
        self.caller: str = row["caller"]
        self.channel: str = row["channel"]
        self.agent: str = row["agent"]
        self.created_at: int = row["created_at"]
        self.updated_at: int = row["updated_at"]
        self.summary: str | None = row.get("summary")
        self.summary_seq: int = row.get("summary_seq") or 0
        self.digest: str | None = row.get("digest") if stored else EMPTY_DIGEST
        """None: rewritten by its caller, so not to be found by its history"""
        self.ended: bool = row.get("ended_at") is not None
        self.deleted = False
        self.process: Process | None = None
        self.entries: list[Entry] = []
        self.next_seq = 1
        self.stored = stored
        self.unsaved: list[Entry] = []
        """said, but the store was away; saved with the next message"""

    @property
    def messages(self) -> list[Message]:
        return [entry.message for entry in self.entries]

    def row(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "client_id": self.client_id,
            "caller": self.caller,
            "channel": self.channel,
            "agent": self.agent,
            "process_id": self.process.id if self.process else "",
            "digest": self.digest or None,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


class Sessions:
    """Finds and keeps conversations."""

    def __init__(self, *, store: Store, clock: Clock, bus: Bus, expire_s: float) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus
        self._expire_ms = round(expire_s * 1000)
        self._live: dict[tuple[str, str], Session] = {}  # (client, key)
        self._by_caller: dict[tuple[str, str, str], Session] = {}  # (client, caller, agent)
        self._by_digest: dict[tuple[str, str], Session] = {}  # (client, digest)
        self._opening: dict[tuple[str, ...], asyncio.Task[Session]] = {}
        self._tasks = Tasks("sessions")

    # Finding and opening

    async def open(self, turn: TurnInput, agent: str) -> Session:
        """The session `turn` belongs to, found or made. Raises NotFound for a named one."""
        client_id, caller = turn.client_id, turn.caller
        if turn.session is not None:
            session = await self.named(client_id, turn.session)
        elif caller.call_id:
            key = call_key(client_id, caller.call_id)
            session = await self._once(
                ("key", client_id, key), lambda: self._call(turn, agent, key)
            )
        elif caller.known:
            session = await self._once(
                ("caller", client_id, caller.id, agent), lambda: self._caller(turn, agent)
            )
        else:
            session = await self._anonymous(turn, agent)
        return session

    async def _once(
        self, identity: tuple[str, ...], find: Callable[[], Coroutine[Any, Any, Session]]
    ) -> Session:
        """Two first messages of one caller at the same moment open one session."""
        opening = self._opening.get(identity)
        if opening is None:
            opening = self._tasks.start(find(), "open")
            self._opening[identity] = opening
            opening.add_done_callback(lambda _: self._opening.pop(identity, None))
        return await asyncio.shield(opening)

    async def named(self, client_id: str, key: str) -> Session:
        """A session by its key. Raises NotFound."""
        session = await self._by_key(client_id, key)
        if session is None:
            raise NotFound(f"There is no session {key!r}.", param="session")
        return session

    async def _by_key(self, client_id: str, key: str) -> Session | None:
        if session := self._live.get((client_id, key)):
            return session
        async with self._store.read() as connection:
            row = await transcript.find(connection, client_id, table.c.key == key)
        return await self._revive(row) if row is not None else None

    async def _call(self, turn: TurnInput, agent: str, key: str) -> Session:
        return await self._by_key(turn.client_id, key) or self._make(turn, agent, key)

    async def _caller(self, turn: TurnInput, agent: str) -> Session:
        known = self._by_caller.get((turn.client_id, turn.caller.id, agent))
        if known is not None and not self._expired(known.updated_at):
            return known
        async with self._store.read() as connection:
            row = await transcript.find(
                connection,
                turn.client_id,
                table.c.caller == turn.caller.id,
                table.c.agent == agent,
                table.c.channel.not_in(INTERNAL_CHANNELS),
                table.c.ended_at.is_(None),
                table.c.updated_at > self._oldest(),
            )
        if row is not None:
            return await self._revive(row)
        # Some gateways stamp every request with an id of its own; the history still tells.
        by_history = turn.caller.id.startswith(MADE_UP)
        return await self._anonymous(turn, agent) if by_history else self._make(turn, agent)

    async def _anonymous(self, turn: TurnInput, agent: str) -> Session:
        """By the history that was sent along: only the talk it came from has exactly that."""
        history, _ = split(turn.messages)
        if not history:
            return self._make(turn, agent)
        mark = digest(EMPTY_DIGEST, history)
        session = self._by_digest.get((turn.client_id, mark))
        if session is not None and session.agent == agent:
            # Taken out, so that two who said the same things so far don't end up in one session.
            del self._by_digest[turn.client_id, mark]
            return session
        async with self._store.read() as connection:
            row = await transcript.find(
                connection,
                turn.client_id,
                table.c.digest == mark,
                or_(*(table.c.caller.startswith(prefix) for prefix in MADE_UP)),
                table.c.agent == agent,
                table.c.ended_at.is_(None),
                table.c.updated_at > self._oldest(),
            )
        if row is None or (turn.client_id, row.key) in self._live:
            return self._make(turn, agent)
        return await self._revive(row)

    async def _revive(self, row: Row[Any]) -> Session:
        """Bring a stored session back into memory."""
        place = (row.client_id, row.key)
        async with self._store.read() as connection:
            entries = await transcript.load(connection, *place, row.summary_seq)
            last = await transcript.last_seq(connection, row.key)
        if session := self._live.get(place):  # another turn was faster
            return session
        session = Session(dict(row._mapping), stored=True)
        session.entries = entries
        session.next_seq = last + 1
        self.hold(session)
        return session

    def _make(self, turn: TurnInput, agent: str, key: str | None = None) -> Session:
        now = self._clock.now_ms()
        session = Session(
            {
                "key": key or f"{turn.channel}-{secrets.token_hex(8)}",
                "client_id": turn.client_id,
                "caller": turn.caller.id[:256],
                "channel": turn.channel,
                "agent": agent,
                "created_at": now,
                "updated_at": now,
            },
            stored=False,
        )
        self.hold(session)
        return session

    def hold(self, session: Session) -> None:
        """Keep `session` in memory, where later turns find it."""
        self._live[session.client_id, session.key] = session
        if session.channel not in INTERNAL_CHANNELS:
            self._by_caller[session.client_id, session.caller, session.agent] = session

    def hand_over(self, session: Session, agent: str) -> None:
        """Another persona takes the conversation over, with all that was said."""
        self._forget_caller(session)
        session.agent = agent
        self.hold(session)
        if session.process is not None:  # the same one goes on, so turns keep their order
            session.process.agent = agent

    def release(self, session: Session) -> None:
        """The session's process has ended: let go of the copy in memory."""
        if session.unsaved:  # the only copy there is
            return
        self._live.pop((session.client_id, session.key), None)
        self._forget_caller(session)
        mark = (session.client_id, session.digest or "")
        if self._by_digest.get(mark) is session:
            del self._by_digest[mark]

    def _forget_caller(self, session: Session) -> None:
        owner = (session.client_id, session.caller, session.agent)
        if self._by_caller.get(owner) is session:
            del self._by_caller[owner]

    # Adding to a session

    async def append(
        self,
        session: Session,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolRecord] = (),
        interrupted: bool = False,
        keep: int | None = None,
    ) -> bool:
        """Store `messages` behind what is held. `keep`: how many held messages still stand.

        True if another hub had added to the session in the meantime; its messages are held now.
        Raises StorageUnavailable; then nothing was added.
        """
        if session.deleted:  # in the middle of a turn; it stays deleted
            return False
        superseded = None if keep is None else session.entries[keep:]
        now = self._clock.now_ms()
        for tries in range(APPEND_TRIES):
            for place, entry in enumerate(session.unsaved):
                entry.seq = session.next_seq + place
            fresh = [
                Entry(
                    seq=session.next_seq + len(session.unsaved) + place,
                    message=message,
                    created_at=now,
                    tools=list(tools) if message.role == "assistant" else [],
                    interrupted=interrupted and message.role == "assistant",
                )
                for place, message in enumerate(messages)
            ]
            try:
                await self._write(session, [*session.unsaved, *fresh], superseded, now)
            except IntegrityError:  # another hub took the place: read on from there
                await self._catch_up(session)
            except asyncio.CancelledError:  # whoever waited has gone; the write stands
                self._added(session, fresh, superseded, now)
                raise
            else:
                self._added(session, fresh, superseded, now)
                return tries > 0
        raise StorageUnavailable("Other hubs keep writing to this session.", retry_after=1)

    async def _write(
        self, session: Session, entries: list[Entry], superseded: list[Entry] | None, now: int
    ) -> None:
        client_id, key = session.client_id, session.key
        mark = self._mark(session, entries, superseded)
        row = session.row() | {"digest": mark or None, "updated_at": now}
        changes = {name: row[name] for name in ("digest", "updated_at", "agent", "process_id")}
        if session.ended:
            changes |= {"ended_at": None, "end_cause": None}
        first = not session.stored

        def unit(connection: Any) -> None:
            if first:
                transcript.create(connection, row)
            if superseded:
                transcript.supersede(
                    connection, client_id, key, superseded[0].seq, superseded[-1].seq
                )
            transcript.append(connection, client_id, key, entries, {} if first else changes)

        await self._store.write(unit)

    def _mark(
        self, session: Session, entries: list[Entry], superseded: list[Entry] | None
    ) -> str | None:
        if superseded or session.digest is None:
            return None
        return digest(session.digest, [entry.message for entry in entries])

    def _added(
        self, session: Session, fresh: list[Entry], superseded: list[Entry] | None, now: int
    ) -> None:
        entries = [*session.unsaved, *fresh]
        mark = self._mark(session, entries, superseded)
        self._by_digest.pop((session.client_id, session.digest or ""), None)
        session.digest = mark
        # Found by history only once an answer is part of it, and never a named person's talk.
        answered = bool(entries) and entries[-1].message.role == "assistant"
        if mark and answered and session.caller.startswith(MADE_UP):
            self._by_digest[session.client_id, mark] = session
        if superseded:
            gone = range(superseded[0].seq, superseded[-1].seq + 1)
            session.entries = [entry for entry in session.entries if entry.seq not in gone]
        session.entries += fresh
        session.next_seq += len(entries)
        session.unsaved = []
        session.updated_at = now
        session.ended = False
        if not session.stored:
            session.stored = True
            self._bus.publish(
                events.SessionStarted(
                    at=now,
                    client_id=session.client_id,
                    session=session.key,
                    agent=session.agent,
                    channel=session.channel,
                    process_id=session.process.id if session.process else "",
                )
            )

    async def _catch_up(self, session: Session) -> None:
        place = (session.client_id, session.key)
        async with self._store.read() as connection:
            row = await transcript.find(connection, place[0], table.c.key == place[1])
            entries = await transcript.load(connection, *place, session.summary_seq)
            session.entries = [*entries, *session.unsaved]
            session.next_seq = await transcript.last_seq(connection, session.key) + 1
        session.stored = row is not None
        session.digest = None

    def keep_unsaved(
        self, session: Session, message: Message, tools: list[ToolRecord], *, interrupted: bool
    ) -> None:
        """An answer was given that the store could not take: hold it until it can."""
        if session.deleted:
            return
        entry = Entry(
            seq=session.next_seq + len(session.unsaved),
            message=message,
            created_at=self._clock.now_ms(),
            tools=tools,
            interrupted=interrupted,
        )
        session.unsaved.append(entry)
        session.entries.append(entry)

    async def save(self) -> None:
        """Try again to store what the store could not take. Raises StorageUnavailable."""
        for session in self.live:
            if session.unsaved:
                await self.append(session, [])
                if session.process is None:
                    self.release(session)

    async def summarised(self, session: Session, summary: str, upto_seq: int) -> None:
        """What was said up to `upto_seq` is now told by `summary`."""
        changes = {"summary": summary, "summary_seq": upto_seq}
        await self._store.write(
            lambda c: transcript.change(c, session.client_id, session.key, changes)
        )
        session.summary, session.summary_seq = summary, upto_seq
        session.entries = [entry for entry in session.entries if entry.seq > upto_seq]

    # What operators do with sessions

    def _oldest(self) -> int:
        return self._clock.now_ms() - self._expire_ms

    def _expired(self, updated_at: int) -> bool:
        return updated_at <= self._oldest()

    @property
    def live(self) -> list[Session]:
        """Sessions held in memory."""
        return list(self._live.values())

    def get(self, client_id: str, key: str) -> Session | None:
        """A session that is held in memory."""
        return self._live.get((client_id, key))

    async def listing(self, client_id: str, limit: int = 200) -> list[Row[Any]]:
        """Callers' sessions that have not ended, latest first."""
        async with self._store.read() as connection:
            return await transcript.listing(connection, client_id, limit, *self._callers_open())

    def _callers_open(self) -> list[Any]:
        return [
            table.c.ended_at.is_(None),
            table.c.updated_at > self._oldest(),
            table.c.channel.not_in(INTERNAL_CHANNELS),
        ]

    async def count(self, client_id: str) -> int:
        """How many sessions `list` would show if it had no limit."""
        async with self._store.read() as connection:
            return await transcript.count(connection, client_id, *self._callers_open())

    async def detail(self, client_id: str, key: str) -> tuple[Row[Any], list[Entry]]:
        """A session's row and every message that holds. Raises NotFound."""
        async with self._store.read() as connection:
            rows = await transcript.listing(connection, client_id, 1, table.c.key == key)
            if not rows:
                raise NotFound(f"There is no session {key!r}.", param="key")
            return rows[0], await transcript.load(connection, client_id, key)

    async def create(self, turn: TurnInput, agent: str) -> Session:
        """An empty session, stored at once."""
        session = self._make(turn, agent)
        await self.append(session, [])
        return session

    async def delete(self, client_id: str, key: str) -> None:
        """Remove a session for good. Raises NotFound. Its process must have been stopped."""
        if session := self._live.get((client_id, key)):
            session.deleted = True
        try:
            gone = await self._store.write(lambda c: transcript.remove(c, client_id, key))
        except StorageUnavailable:
            if session is not None:
                session.deleted = False
            raise
        if session is not None:
            session.unsaved = []
            self.release(session)
        if not gone:
            raise NotFound(f"There is no session {key!r}.", param="key")
        self._ended(client_id, key, "", "deleted")

    async def expire(self) -> int:
        """End every session that was silent for too long; returns how many."""
        await self.save()
        oldest, now = self._oldest(), self._clock.now_ms()
        ended = await self._store.write(
            lambda c: transcript.end(c, "expired", now, table.c.updated_at <= oldest)
        )
        for session in self.live:
            if session.process is None and self._expired(session.updated_at):
                self.release(session)  # its caller left before the first turn began
        for client_id, key, agent in ended:
            if held := self._live.get((client_id, key)):
                held.ended = True  # the next message opens it again
            self._ended(client_id, key, agent, "expired")
        return len(ended)

    async def clear(self, client_id: str) -> int:
        """End all sessions of a tenant; returns how many. Transcripts are kept."""
        now = self._clock.now_ms()
        ended = await self._store.write(
            lambda c: transcript.end(c, "cleared", now, table.c.client_id == client_id)
        )
        for session in [s for s in self.live if s.client_id == client_id]:
            if session.process is not None:
                session.process.retire()
            self.release(session)
        for _, key, agent in ended:
            self._ended(client_id, key, agent, "cleared")
        return len(ended)

    async def end(self, client_id: str, key: str) -> bool:
        """A conversation is over: its caller hung up. The transcript is kept, and another message
        would open it again. False if there is no such session, or it had ended."""
        this = (table.c.client_id == client_id, table.c.key == key)
        now = self._clock.now_ms()
        ended = await self._store.write(lambda c: transcript.end(c, "ended", now, *this))
        if session := self._live.get((client_id, key)):
            session.ended = True
            if session.process is not None:
                session.process.retire()
            else:
                self.release(session)
        for _, _, agent in ended:
            self._ended(client_id, key, agent, "ended")
        return bool(ended)

    async def close(self) -> None:
        await self._tasks.close()
        try:
            await self.save()
        except StorageUnavailable as error:
            log.error("answer.lost", error=str(error))

    def _ended(self, client_id: str, key: str, agent: str, cause: str) -> None:
        self._bus.publish(
            events.SessionEnded(
                at=self._clock.now_ms(), client_id=client_id, session=key, agent=agent, cause=cause
            )
        )


def call_key(client_id: str, call_id: str) -> str:
    """A carrier's call id as a session key; ids that make no good key are hashed."""
    safe = call_id if _SAFE.fullmatch(call_id) else sha256(call_id.encode()).hexdigest()[:32]
    owner = sha256(client_id.encode()).hexdigest()[:8]
    return f"call-{owner}-{safe}"
