"""Keeping what was said: adding to a session, in the store and in memory at once.

Two hubs on one database may hold the same session: the store refuses a place in the transcript
that is taken, and the loser reads what the other wrote and takes the next place. An answer that
was given while the store was away is held in memory and saved with the next message, or by
`save`. Owns the order of a session's entries; which session a turn belongs to is decided in
`sessions.py`, the statements are in `transcript.py`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import structlog
from sqlalchemy.exc import IntegrityError

from tron import events
from tron.clock import Clock
from tron.conversation import transcript
from tron.conversation.held import Held
from tron.conversation.reconcile import digest
from tron.conversation.session import Session, Stale
from tron.conversation.thinking import ToolRecord
from tron.conversation.transcript import Entry
from tron.conversation.turns import Message, TurnInput
from tron.errors import Overloaded, StorageUnavailable
from tron.events import Bus
from tron.storage.store import Store
from tron.storage.tables import sessions as table

log = structlog.get_logger(__name__)

APPEND_TRIES = 5


class Keeping:
    """Adds to transcripts."""

    def __init__(self, *, store: Store, clock: Clock, bus: Bus, held: Held) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus
        self._held = held

    async def append(
        self,
        session: Session,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolRecord] = (),
        interrupted: bool = False,
        keep: int | None = None,
        follows: int | None = None,
        turn: TurnInput | None = None,
    ) -> bool:
        """See `Sessions.append`."""
        if session.deleted:
            return self._closed(session, turn)
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
                    follows=place == follows,
                )
                for place, message in enumerate(messages)
            ]
            try:
                await self._write(session, [*session.unsaved, *fresh], superseded, now, turn)
            except transcript.Closed:
                return self._closed(session, turn)
            except IntegrityError:  # another hub took the place: read on from there
                if turn is not None and not (turn.caller.known or turn.keyed):
                    self._held.end(session)  # its history tells of another talk than this is now
                    raise Stale from None
                if not await self._catch_up(session):
                    return self._closed(session, turn)
            except asyncio.CancelledError:  # whoever waited has gone; the write stands
                self._added(session, fresh, superseded, now)
                raise
            else:
                self._added(session, fresh, superseded, now)
                if turn is not None:
                    session.ended = False
                return tries > 0
        raise StorageUnavailable("Other hubs keep writing to this session.", retry_after=1)

    async def _write(
        self,
        session: Session,
        entries: list[Entry],
        superseded: list[Entry] | None,
        now: int,
        turn: TurnInput | None,
    ) -> None:
        client_id, key = session.client_id, session.key
        mark = _mark(session, entries, superseded)
        row = session.row() | {"digest": mark or None, "updated_at": now}
        first = not session.stored
        # An answer that was on its way does not open it again.
        state: Literal["whatever", "reopened", "open"] = (
            "whatever" if turn is None else "reopened" if turn.keyed else "open"
        )

        def unit(connection: Any) -> None:
            if first:
                transcript.create(connection, row, entries)
                return
            if superseded:
                transcript.supersede(
                    connection, client_id, key, superseded[0].seq, superseded[-1].seq
                )
            transcript.append(connection, row, entries, session=state)

        await self._store.write(unit)

    def _closed(self, session: Session, turn: TurnInput | None) -> bool:
        """It was deleted, perhaps on another hub, or has ended there. Raises Stale for a turn."""
        if turn is None or turn.keyed:
            self._held.drop(session)
        else:
            self._held.end(session)
        if turn is not None:
            raise Stale
        return False

    def _added(
        self, session: Session, fresh: list[Entry], superseded: list[Entry] | None, now: int
    ) -> None:
        entries = [*session.unsaved, *fresh]
        # Only once an answer is part of it.
        answered = bool(entries) and entries[-1].message.role == "assistant"
        self._held.said(
            session,
            _mark(session, entries, superseded),
            findable=answered and session.by_history,
        )
        if superseded:
            gone = range(superseded[0].seq, superseded[-1].seq + 1)
            session.entries = [entry for entry in session.entries if entry.seq not in gone]
        session.entries += fresh
        session.next_seq += len(entries)
        session.unsaved = []
        session.updated_at = now
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

    async def _catch_up(self, session: Session) -> bool:
        """Read what another hub has added. False if it has deleted the session meanwhile."""
        place = (session.client_id, session.key)
        async with self._store.read() as connection:
            row = await transcript.find(connection, place[0], table.c.key == place[1])
            if session.stored and (row is None or row.created_at != session.created_at):
                return False
            entries = await transcript.load(connection, *place, session.summary_seq)
            session.entries = [*entries, *session.unsaved]
            session.next_seq = await transcript.last_seq(connection, *place) + 1
        session.stored = row is not None
        session.digest = None
        if row is not None:
            session.created_at = row.created_at
            session.ended = row.ended_at is not None
            if row.agent != session.agent:
                self._held.hand_over(session, row.agent)
        return True

    async def answer(
        self, session: Session, message: Message, tools: list[ToolRecord], *, interrupted: bool
    ) -> None:
        """Store an answer. If the store is away it is held in memory: it has been given."""
        try:
            await self.append(session, [message], tools=tools, interrupted=interrupted)
        except (StorageUnavailable, Overloaded):
            log.error("answer.unsaved", session=session.key)
            self._hold_unsaved(session, message, tools, interrupted)

    def _hold_unsaved(
        self, session: Session, message: Message, tools: list[ToolRecord], interrupted: bool
    ) -> None:
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
        for session in self._held.all:
            if session.unsaved:
                await self.append(session, [])
                if session.process is None:
                    self._held.release(session)

    async def summarised(self, session: Session, summary: str, upto_seq: int) -> None:
        """What was said up to `upto_seq` is now told by `summary`."""
        changes = {"summary": summary, "summary_seq": upto_seq}
        await self._store.write(
            lambda c: transcript.change(c, session.client_id, session.key, changes)
        )
        session.summary, session.summary_seq = summary, upto_seq
        session.entries = [entry for entry in session.entries if entry.seq > upto_seq]


def _mark(session: Session, entries: list[Entry], superseded: list[Entry] | None) -> str | None:
    """The digest of the talk with `entries` added."""
    if superseded or session.digest is None:
        return None
    return digest(session.digest, [entry.message for entry in entries])
