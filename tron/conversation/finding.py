"""Finding the session that a turn belongs to.

By the key the caller names, by the carrier's call, by who the caller is, or by the history that
was sent along; otherwise a new one is opened. Looks among the `Held` ones first, then in the
store, from where a session comes back with its transcript. Writes nothing: what is new is stored
with its first message. `Sessions` calls it.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, or_

from tron.clock import Clock
from tron.conversation import transcript
from tron.conversation.held import Held
from tron.conversation.reconcile import EMPTY_DIGEST, digest, split
from tron.conversation.session import INTERNAL_CHANNELS, MADE_UP, Session
from tron.conversation.turns import TurnInput
from tron.errors import NotFound
from tron.storage.store import Store
from tron.storage.tables import sessions as table
from tron.supervise import Tasks

RESENT = 8
"""of so many new messages it is asked whether they were said before"""

_SAFE = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class Finding:
    """Finds and opens."""

    def __init__(self, *, store: Store, clock: Clock, held: Held, expire_s: float) -> None:
        self._store = store
        self._clock = clock
        self._held = held
        self._expire_ms = round(expire_s * 1000)
        self._opening: dict[tuple[str, ...], asyncio.Task[Session]] = {}
        self._tasks = Tasks("sessions")

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
        if opening is None or opening.done():  # which would let it overtake those who waited
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
        if session := self._held.get(client_id, key):
            return session
        async with self._store.read() as connection:
            row = await transcript.find(connection, client_id, table.c.key == key)
        return await self._revive(row) if row is not None else None

    async def _call(self, turn: TurnInput, agent: str, key: str) -> Session:
        return await self._by_key(turn.client_id, key) or self.make(turn, agent, key)

    async def _caller(self, turn: TurnInput, agent: str) -> Session:
        known = self._held.of_caller(turn.client_id, turn.caller.id, agent)
        if known is not None and not known.ended and not self.expired(known.updated_at):
            return known
        async with self._store.read() as connection:
            row = await transcript.find(
                connection,
                turn.client_id,
                table.c.caller == turn.caller.id,
                table.c.agent == agent,
                table.c.channel.not_in(INTERNAL_CHANNELS),
                table.c.ended_at.is_(None),
                table.c.updated_at > self.oldest(),
            )
        if row is not None:
            return await self._revive(row)
        # Some gateways stamp every request with an id of its own; the history still tells.
        by_history = turn.caller.id.startswith(MADE_UP)
        return await self._anonymous(turn, agent) if by_history else self.make(turn, agent)

    async def _anonymous(self, turn: TurnInput, agent: str) -> Session:
        """By the history that was sent along: only the talk it came from has exactly that, or
        that and the next of what is sent now, if this was said before and never answered."""
        history, new = split(turn.messages)
        marks = [digest(EMPTY_DIGEST, history)] if history else []
        for message in new[:RESENT]:
            marks.append(digest(marks[-1] if marks else EMPTY_DIGEST, [message]))
        for mark in reversed(marks):
            if session := self._held.take(turn.client_id, mark, agent):
                return session
        if not history:
            return self.make(turn, agent)
        async with self._store.read() as connection:
            row = await transcript.find(
                connection,
                turn.client_id,
                table.c.digest.in_(marks),
                or_(*(table.c.caller.startswith(prefix) for prefix in MADE_UP)),
                table.c.agent == agent,
                table.c.channel.not_in(INTERNAL_CHANNELS),
                table.c.ended_at.is_(None),
                table.c.updated_at > self.oldest(),
            )
        if row is None or self._held.get(turn.client_id, row.key):
            return self.make(turn, agent)
        return await self._revive(row)

    async def _revive(self, row: Row[Any]) -> Session:
        """Bring a stored session back into memory."""
        place = (row.client_id, row.key)
        async with self._store.read() as connection:
            entries = await transcript.load(connection, *place, row.summary_seq)
            last = await transcript.last_seq(connection, *place)
        if session := self._held.get(*place):  # another turn was faster
            return session
        session = Session(dict(row._mapping), stored=True)
        session.entries = entries
        session.next_seq = last + 1
        self._held.hold(session)
        return session

    def make(self, turn: TurnInput, agent: str, key: str | None = None) -> Session:
        """A new session, not stored before something is added to it."""
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
        self._held.hold(session)
        return session

    def oldest(self) -> int:
        """Sessions last used at this time (ms) or before have expired."""
        return self._clock.now_ms() - self._expire_ms

    def expired(self, updated_at: int) -> bool:
        return updated_at <= self.oldest()

    async def close(self) -> None:
        await self._tasks.close()


def call_key(client_id: str, call_id: str) -> str:
    """A carrier's call id as a session key; ids that make no good key are hashed."""
    safe = call_id if _SAFE.fullmatch(call_id) else sha256(call_id.encode()).hexdigest()[:32]
    owner = sha256(client_id.encode()).hexdigest()[:8]
    return f"call-{owner}-{safe}"
