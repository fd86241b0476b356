"""Sessions: the conversations of this hub, as everybody else meets them.

A session is one conversation of one caller with one persona, kept in the store. Owns listing,
ending and deleting, by operators or by time. The rest it has from its parts: `Finding` knows whose
conversation a turn belongs to, `Held` has those in use in memory, `Keeping` adds to them. The
door, the summaries, the routes and the integrations call it.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import Row, and_, or_

from tron import events
from tron.clock import Clock
from tron.conversation import transcript
from tron.conversation.finding import Finding, call_key
from tron.conversation.held import Held
from tron.conversation.keeping import Keeping
from tron.conversation.session import INTERNAL_CHANNELS, Session
from tron.conversation.thinking import ToolRecord
from tron.conversation.transcript import Entry
from tron.conversation.turns import Message, TurnInput
from tron.errors import NotFound, StorageUnavailable
from tron.events import Bus
from tron.storage.store import Store
from tron.storage.tables import sessions as table

__all__ = ["Sessions", "call_key"]

log = structlog.get_logger(__name__)


class Sessions:
    """Finds, keeps and ends conversations."""

    def __init__(self, *, store: Store, clock: Clock, bus: Bus, expire_s: float) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus
        self._held = Held()
        self._finding = Finding(store=store, clock=clock, held=self._held, expire_s=expire_s)
        self._keeping = Keeping(store=store, clock=clock, bus=bus, held=self._held)

    # For turns

    async def open(self, turn: TurnInput, agent: str) -> Session:
        """The session `turn` belongs to, found or made. Raises NotFound for a named one."""
        return await self._finding.open(turn, agent)

    async def named(self, client_id: str, key: str) -> Session:
        """A session by its key. Raises NotFound."""
        return await self._finding.named(client_id, key)

    @property
    def live(self) -> list[Session]:
        """Sessions held in memory."""
        return self._held.all

    def get(self, client_id: str, key: str) -> Session | None:
        """A session that is held in memory."""
        return self._held.get(client_id, key)

    def hold(self, session: Session) -> None:
        """Keep `session` in memory, where later turns find it."""
        self._held.hold(session)

    def hand_over(self, session: Session, agent: str) -> None:
        """Another persona takes the conversation over, with all that was said."""
        self._held.hand_over(session, agent)

    def release(self, session: Session) -> None:
        """The session's process has ended: let go of the copy in memory."""
        self._held.release(session)

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
        """Store `messages` behind what is held. `keep`: how many held messages still stand;
        `follows`: see `Reconciled`; `turn`: the one that says them, where it is not the persona's
        own doing.

        True if another hub had added to the session in the meantime; its messages are held now.
        Raises StorageUnavailable, and Stale if the turn belongs elsewhere; then nothing was added.
        """
        return await self._keeping.append(
            session,
            messages,
            tools=tools,
            interrupted=interrupted,
            keep=keep,
            follows=follows,
            turn=turn,
        )

    async def answer(
        self,
        session: Session,
        message: Message,
        tools: list[ToolRecord],
        *,
        interrupted: bool = False,
    ) -> None:
        """Store an answer. If the store is away it is held in memory: it has been given."""
        await self._keeping.answer(session, message, tools, interrupted=interrupted)

    def unanswered(self, session: Session) -> None:
        """The turn in it came to nothing: who says the same again is to find it."""
        self._held.offer(session)

    async def summarised(self, session: Session, summary: str, upto_seq: int) -> None:
        """What was said up to `upto_seq` is now told by `summary`."""
        await self._keeping.summarised(session, summary, upto_seq)

    # What operators do with sessions

    async def listing(
        self, client_id: str, limit: int = 200, after: tuple[int, str] | None = None
    ) -> list[Row[Any]]:
        """Callers' sessions that have not ended, latest first.

        `after`: those that come behind the one last used at that time (ms) with that key.
        """
        conditions = self._callers_open()
        if after is not None:
            updated_at, key = after
            same = and_(table.c.updated_at == updated_at, table.c.key > key)
            conditions.append(or_(table.c.updated_at < updated_at, same))
        async with self._store.read() as connection:
            return await transcript.listing(connection, client_id, limit, *conditions)

    def _callers_open(self) -> list[Any]:
        return [
            table.c.ended_at.is_(None),
            table.c.updated_at > self._finding.oldest(),
            table.c.channel.not_in(INTERNAL_CHANNELS),
        ]

    async def count(self, client_id: str) -> int:
        """How many sessions `listing` would show if it had no limit."""
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
        session = self._finding.make(turn, agent)
        await self._keeping.append(session, [])
        return session

    async def delete(self, client_id: str, key: str) -> None:
        """Remove a session for good. Raises NotFound. Its process must have been stopped."""
        if session := self._held.get(client_id, key):
            session.deleted = True
        try:
            agent = await self._store.write(lambda c: transcript.remove(c, client_id, key))
        except StorageUnavailable:
            if session is not None:
                session.deleted = False
            raise
        if session is not None:
            self._held.drop(session)
        if agent is None:
            raise NotFound(f"There is no session {key!r}.", param="key")
        self._ended(client_id, key, agent, "deleted")

    async def expire(self) -> int:
        """End every session that was silent for too long; returns how many."""
        await self._keeping.save()
        oldest, now = self._finding.oldest(), self._clock.now_ms()
        ended = await self._store.write(
            lambda c: transcript.end(c, "expired", now, table.c.updated_at <= oldest)
        )
        for session in self._held.all:
            at_rest = session.process is None or not session.process.live
            if at_rest and self._finding.expired(session.updated_at):
                self._held.release(session)  # its caller left before the first turn began
        for client_id, key, agent in ended:
            if held := self._held.get(client_id, key):
                held.ended = True  # the next message opens it again
            self._ended(client_id, key, agent, "expired")
        return len(ended)

    async def clear(self, client_id: str) -> int:
        """End all sessions of a tenant; returns how many. Transcripts are kept."""
        now = self._clock.now_ms()
        ended = await self._store.write(
            lambda c: transcript.end(c, "cleared", now, table.c.client_id == client_id)
        )
        for session in [s for s in self._held.all if s.client_id == client_id]:
            self._held.end(session)
        for _, key, agent in ended:
            self._ended(client_id, key, agent, "cleared")
        return len(ended)

    async def end(self, client_id: str, key: str) -> bool:
        """A conversation is over: its caller hung up. The transcript is kept, an answer that is
        being given is added to it, and another message would open it again. False if there is no
        such session, or it had ended."""
        this = (table.c.client_id == client_id, table.c.key == key)
        now = self._clock.now_ms()
        ended = await self._store.write(lambda c: transcript.end(c, "ended", now, *this))
        if session := self._held.get(client_id, key):
            self._held.end(session)
        for _, _, agent in ended:
            self._ended(client_id, key, agent, "ended")
        return bool(ended)

    async def close(self) -> None:
        await self._finding.close()
        try:
            await self._keeping.save()
        except StorageUnavailable as error:
            log.error("answer.lost", error=str(error))

    def _ended(self, client_id: str, key: str, agent: str, cause: str) -> None:
        self._bus.publish(
            events.SessionEnded(
                at=self._clock.now_ms(), client_id=client_id, session=key, agent=agent, cause=cause
            )
        )
