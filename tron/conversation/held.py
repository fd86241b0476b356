"""The sessions held in memory: found by key, by caller, or by the digest of what was said.

A session is held from its first turn until its process has ended; what is held is only a cache
of the store, except for answers that the store could not take. Owns the three indexes and keeps
them in step; asks neither the store nor the clock. `Sessions` looks here before it reads.
"""

from tron.conversation.session import INTERNAL_CHANNELS, Session


class Held:
    """Which sessions this hub holds."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], Session] = {}  # (client, key)
        self._by_caller: dict[tuple[str, str, str], Session] = {}  # (client, caller, agent)
        self._by_digest: dict[tuple[str, str], Session] = {}  # (client, digest)

    @property
    def all(self) -> list[Session]:
        return list(self._by_key.values())

    def get(self, client_id: str, key: str) -> Session | None:
        return self._by_key.get((client_id, key))

    def of_caller(self, client_id: str, caller: str, agent: str) -> Session | None:
        """The caller's latest session with this persona."""
        return self._by_caller.get((client_id, caller, agent))

    def take(self, client_id: str, digest: str, agent: str) -> Session | None:
        """The session with this persona in which exactly that was said.

        Taken out, so that two who said the same things so far don't end up in one session.
        """
        session = self._by_digest.get((client_id, digest))
        if session is None or session.agent != agent or session.ended:
            return None
        return self._by_digest.pop((client_id, digest))

    def hold(self, session: Session) -> None:
        """Keep `session` in memory, where later turns find it."""
        self._by_key[session.client_id, session.key] = session
        if session.channel not in INTERNAL_CHANNELS:
            self._by_caller[session.client_id, session.caller, session.agent] = session

    def hand_over(self, session: Session, agent: str) -> None:
        """Another persona takes the conversation over, with all that was said."""
        self._forget_caller(session)
        session.agent = agent
        self.hold(session)
        if session.process is not None:  # the same one goes on, so turns keep their order
            session.process.agent = agent

    def said(self, session: Session, digest: str | None, *, findable: bool) -> None:
        """More was said: `session` has another digest, and is found by it if `findable`."""
        self._forget_digest(session)
        session.digest = digest
        if digest and findable:
            self._by_digest[session.client_id, digest] = session

    def offer(self, session: Session) -> None:
        """Its turn came to nothing: who says the same again is to find it."""
        held = self.get(session.client_id, session.key) is session
        if held and session.digest and session.by_history:
            self._by_digest[session.client_id, session.digest] = session

    def end(self, session: Session) -> None:
        """No other turn is to find it; one that is under way in it finishes."""
        session.ended = True
        if session.process is not None:
            session.process.retire()
        else:
            self.release(session)

    def drop(self, session: Session) -> None:
        """It was deleted: nothing more is kept of it."""
        session.deleted = True
        session.unsaved = []
        self.end(session)
        self.release(session)

    def release(self, session: Session) -> None:
        """The session's process has ended: let go of the copy in memory."""
        if session.unsaved:  # the only copy there is
            return
        if self.get(session.client_id, session.key) is session:  # not a newer one
            del self._by_key[session.client_id, session.key]
        self._forget_caller(session)
        self._forget_digest(session)

    def _forget_digest(self, session: Session) -> None:
        mark = (session.client_id, session.digest or "")
        if self._by_digest.get(mark) is session:  # not another talk of the same words
            del self._by_digest[mark]

    def _forget_caller(self, session: Session) -> None:
        owner = (session.client_id, session.caller, session.agent)
        if self._by_caller.get(owner) is session:
            del self._by_caller[owner]
