"""Voice sessions: who may talk on the socket, with whom, in which voice and style.

A session is made over REST, talks over one socket at a time, and ends when it is told to or has
had no connection for its time to live; a connected one is alive however silent. It is kept by the
hub that made it, for the call and the numbered messages of a client that comes back live there; the
conversation itself is an ordinary session of the hub, in the store. The id is the key to the
socket: 24 random bytes, shown only to whoever made it.
"""

import hashlib
import secrets
from typing import Protocol

from tron.clock import Clock
from tron.errors import NotFound, Overloaded
from tron.web.voice.outbox import Outbox
from tron.web.voice.styles import Style

MOST_ACTIVE = 1_000
MOST_ENDED = 1_000
KEEP_ENDED_MS = 24 * 3_600_000
SWEEP_MS = 5_000


class Live(Protocol):
    """The connection of a session."""

    def leave(self, code: int, reason: str) -> None:
        """Close it, soon."""
        ...


class VoiceSession:
    """One of them; times in ms since the epoch."""

    def __init__(
        self,
        *,
        now: int,
        user_id: str,
        owner: str,
        client_id: str,
        agent: str,
        style: Style,
        voice_id: str,
        voice: str,
    ) -> None:
        """`owner`: the principal that made it. `voice_id` is what the client calls `voice`."""
        self.id = secrets.token_urlsafe(24)
        self.user_id = user_id
        self.owner = owner
        self.client_id = client_id
        self.agent = agent
        self.style = style
        self.voice_id = voice_id
        self.voice = voice
        self.started_at = self.last_activity_at = now
        self.ended_at: int | None = None
        self.active_turn_id: str | None = None
        self.interruption_count = 0
        self.turns = 0
        self.task_event: int | None = None
        """the latest line of its tasks' logs that is in the outbox; None: never connected"""
        self.task_lines: dict[str, int] = {}
        """by task: `seq` of the last one of these"""
        self.outbox = Outbox(self.id)
        self.connection: Live | None = None

    @property
    def call_id(self) -> str:
        """What the conversation is found by; the id itself is a secret."""
        return "voice-" + hashlib.sha256(self.id.encode()).hexdigest()[:32]

    def end(self, now: int) -> None:
        """No more. Ending it twice changes nothing."""
        if self.ended_at is not None:
            return
        self.ended_at = now
        self.active_turn_id = None
        if self.connection is not None:
            self.connection.leave(1000, "session ended")
        else:
            self.outbox = Outbox(self.id)


class VoiceSessions:
    """See the module. What is over is let go of when the sessions are next used."""

    def __init__(self, clock: Clock, ttl_s: float) -> None:
        self._clock = clock
        self.ttl_ms = round(ttl_s * 1000)
        self._known: dict[str, VoiceSession] = {}
        self._swept_at = 0

    def add(self, session: VoiceSession) -> None:
        """Raises Overloaded."""
        self._sweep()
        if sum(known.ended_at is None for known in self._known.values()) >= MOST_ACTIVE:
            raise Overloaded(
                "There are too many voice sessions.", code="too_many_sessions", retry_after=10
            )
        self._known[session.id] = session

    def find(self, id: str) -> VoiceSession:
        """Raises NotFound. One whose time is over is returned as ended."""
        self._sweep()
        session = self._known.get(id)
        if session is None:
            raise NotFound("There is no such voice session.", code="session_not_found")
        self._expire(session, self._clock.now_ms())
        return session

    def _expire(self, session: VoiceSession, now: int) -> None:
        idle_ms = now - session.last_activity_at
        if session.ended_at is None and session.connection is None and idle_ms >= self.ttl_ms:
            session.end(now)

    def _sweep(self) -> None:
        now = self._clock.now_ms()
        if now - self._swept_at < SWEEP_MS:
            return
        self._swept_at = now
        for session in self._known.values():
            self._expire(session, now)
        ended = [s for s in self._known.values() if s.ended_at is not None]
        ended.sort(key=lambda session: session.ended_at or 0)
        for place, session in enumerate(reversed(ended)):
            if place >= MOST_ENDED or now - (session.ended_at or 0) >= KEEP_ENDED_MS:
                del self._known[session.id]
