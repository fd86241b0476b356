"""Summaries: what falls out of the window is not forgotten.

When a conversation outgrows three quarters of the context budget, its older half is told in a
short summary by the persona itself, in the background after a turn. Until that is ready the
window alone keeps the request bounded. What is summarised at once is bounded as well, long messages
in part. If it fails, a later turn tries again: the more often it failed, the later.
"""

from weakref import WeakKeyDictionary

import structlog

from tron.agents.registry import Registry
from tron.brain.offline import summarise
from tron.brain.tokens import CHARACTERS_PER_TOKEN, estimate_messages
from tron.conversation.session import Session
from tron.conversation.sessions import Sessions
from tron.conversation.thinking import Thinking
from tron.conversation.transcript import Entry
from tron.conversation.window import cut, shortened
from tron.errors import TronError
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process

log = structlog.get_logger(__name__)

FULL = 0.75
SUMMARY_CHARS = 2_000
AT_ONCE = 0.5
"""the most of the context budget that is summarised at once; one message: an eighth of that"""
LONGEST_REST = 64  # turns


class _Rest:
    """After failures: turns to let pass before the next try."""

    def __init__(self) -> None:
        self.failures = 0
        self.turns = 0

    def failed(self) -> None:
        self.failures += 1
        self.turns = min(2**self.failures, LONGEST_REST)


class Summaries:
    """Shortens conversations that grow long."""

    def __init__(
        self,
        *,
        context_tokens: int,
        agents: Registry,
        orchestrator: Orchestrator,
        sessions: Sessions,
        thinking: Thinking,
    ) -> None:
        self._limit = FULL * context_tokens
        self._at_once = int(AT_ONCE * context_tokens) * CHARACTERS_PER_TOKEN
        self._agents = agents
        self._orchestrator = orchestrator
        self._sessions = sessions
        self._thinking = thinking
        self._busy: set[tuple[str, str]] = set()
        self._resting: WeakKeyDictionary[Session, _Rest] = WeakKeyDictionary()

    def consider(self, session: Session) -> None:
        """Start a summary if this conversation needs one and none is being made."""
        place = (session.client_id, session.key)
        if place in self._busy or len(session.entries) < 4:
            return
        if estimate_messages(session.messages) < self._limit:
            return
        rest = self._resting.get(session)
        if rest is not None and rest.turns > 0:
            rest.turns -= 1
            return
        older = self._older(session.entries)
        if not older:
            return

        async def work(process: Process) -> None:
            done = False
            try:
                done = await self._summarise(process, session, older)
            except TronError as error:
                log.warning("summary.failed", session=session.key, error=str(error))
            finally:
                self._busy.discard(place)
                if done:
                    self._resting.pop(session, None)
                else:
                    self._resting.setdefault(session, _Rest()).failed()

        try:
            self._orchestrator.spawn(
                session.agent,
                work,
                task="Summarise a long conversation",
                reason="summary",
                client_id=session.client_id,
                restarts=0,
            )
        except TronError as error:  # no room now; the next turn asks again
            log.warning("summary.postponed", session=session.key, error=str(error))
        else:
            self._busy.add(place)

    def _older(self, entries: list[Entry]) -> list[Entry]:
        """The older half, or as much of it as can be told at once."""
        left = self._at_once
        told = 0
        while told < len(entries) // 2 and left > 0:
            left -= min(len(entries[told].message.content), self._at_once // 8)
            told += 1
        # Cut before a user's message, so that no exchange is torn.
        while told < len(entries) and entries[told].message.role != "user":
            told += 1
        return entries[:told] if told < len(entries) else []

    async def _summarise(self, process: Process, session: Session, older: list[Entry]) -> bool:
        """True if that part is now told by a summary."""
        persona = self._agents.get(session.agent)
        if persona is None:
            return False
        messages = [shortened(entry.message, self._at_once // 8) for entry in older]
        before = f"Summary of what came before:\n{session.summary}\n\n" if session.summary else ""
        talk = "\n".join(f"{m.role}: {m.content}" for m in messages if m.content)
        offline = summarise(messages, SUMMARY_CHARS)
        if session.summary:
            offline = f"{session.summary[: SUMMARY_CHARS // 2]}\n{offline}"[:SUMMARY_CHARS]
        summary = await self._thinking.think(
            process,
            persona,
            "Summarise this part of a conversation for yourself, so that you can go on with it: "
            "who the caller is, what they want, facts they told, what was decided and promised. "
            f"At most 200 words, plain text.\n\n{before}Conversation:\n{cut(talk, self._at_once)}",
            offline=offline,
            max_tokens=400,
        )
        if summary:
            await self._sessions.summarised(session, summary[:SUMMARY_CHARS], older[-1].seq)
        return bool(summary)
