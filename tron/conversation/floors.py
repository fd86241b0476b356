"""The floors of this hub's conversations: a process for each session, and its floor for a turn.

A session's process is started when somebody wants to speak, ends when nobody did for a while, and
is started again as if nothing had happened. Owns the floors of the turns inside, so that all can
be ended when the hub stops. The door enters here, claims and leaves; see `Floor` for one claim.
"""

import asyncio

from tron.conversation.floor import Floor
from tron.conversation.session import Session
from tron.conversation.sessions import Sessions
from tron.errors import Overloaded, ProcessEnded
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process

CLAIM_TRIES = 3


class Floors:
    """Gives turns the floor of their session."""

    def __init__(
        self,
        *,
        orchestrator: Orchestrator,
        sessions: Sessions,
        process_idle_s: float,
        turn_timeout_s: float,
    ) -> None:
        self._orchestrator = orchestrator
        self._sessions = sessions
        self._process_idle_s = process_idle_s
        self._turn_timeout_s = turn_timeout_s
        self._inside: set[Floor] = set()

    def enter(self) -> Floor:
        """A claim for one turn, whose `leave` must follow."""
        floor = Floor()
        self._inside.add(floor)
        return floor

    def leave(self, floor: Floor) -> None:
        """The turn is over, however it ended."""
        floor.leave()
        self._inside.discard(floor)

    async def claim(
        self,
        floor: Floor,
        session: Session,
        channel: str,
        reason: str = "",
        parent: str | None = None,
    ) -> Process:
        """Wait for the floor of `session`, in a process that is alive.

        Where one must be started, `channel` and `reason` say what for, and `parent` is the id of
        the process that asks. Raises ProcessEnded, RateLimited or Overloaded.
        """
        for _ in range(CLAIM_TRIES):
            process = session.process
            if process is None or not process.live:
                process = self._revive(session, channel, reason, parent)
            try:
                await floor.claim(process)
            except ProcessEnded:
                if process.error is not None or floor.taken_back is not None:
                    raise  # it was stopped, not just put to rest
                if session.process is process:
                    session.process = None
            else:
                return process
        raise Overloaded("This conversation could not be picked up just now.", retry_after=1)

    def _revive(
        self, session: Session, channel: str, reason: str, parent_id: str | None
    ) -> Process:
        parent = self._orchestrator.get(parent_id) if parent_id else None

        async def take_turns(process: Process) -> None:
            try:
                await self._take_turns(process)
            finally:
                if session.process is process:
                    session.process = None
                    self._sessions.release(session)

        try:
            self._sessions.hold(session)
            session.process = self._orchestrator.spawn(
                session.agent,
                take_turns,
                kind="conversation",
                name=self._orchestrator.free_name(session.key),
                task=f"Talk with a caller ({channel})",
                reason=reason or channel,
                parent=parent if parent is not None and parent.live else None,
                client_id=session.client_id,
            )
        except Exception:
            self._sessions.release(session)  # a refused request leaves nothing behind
            raise
        session.process_id = session.process.id
        return session.process

    async def _take_turns(self, process: Process) -> None:
        """Grant the floor to one turn after another, until none came for a while."""
        while True:
            floor: Floor | None = await process.receive(self._process_idle_s)
            if floor is None:
                return
            if floor.grant():
                try:
                    await floor.until_over(self._turn_timeout_s)
                except asyncio.CancelledError:
                    floor.take_back(ProcessEnded(f"Process {process.id} was stopped."))
                    raise

    async def close(self) -> None:
        """End the turns that are still inside."""
        stopping = ProcessEnded("The hub is stopping.")
        await asyncio.gather(*(floor.end(stopping) for floor in tuple(self._inside)))
