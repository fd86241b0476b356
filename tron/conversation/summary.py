"""Summaries: what falls out of the window is not forgotten.

When a conversation outgrows three quarters of the context budget, its older half is told in a
short summary by the persona itself, in the background after a turn. Until that is ready the
window alone keeps the request bounded; if it fails, the next turn tries again.
"""

import structlog

from tron.agents.registry import Registry
from tron.brain.offline import summarise
from tron.brain.tokens import estimate_messages
from tron.conversation.session import Session
from tron.conversation.sessions import Sessions
from tron.conversation.thinking import Thinking
from tron.conversation.transcript import Entry
from tron.errors import TronError
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process

log = structlog.get_logger(__name__)

FULL = 0.75
SUMMARY_CHARS = 2_000


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
        self._agents = agents
        self._orchestrator = orchestrator
        self._sessions = sessions
        self._thinking = thinking
        self._busy: set[tuple[str, str]] = set()

    def consider(self, session: Session) -> None:
        """Start a summary if this conversation needs one and none is being made."""
        place = (session.client_id, session.key)
        if place in self._busy or len(session.entries) < 4:
            return
        if estimate_messages(session.messages) < self._limit:
            return
        older = _older_half(session.entries)

        async def work(process: Process) -> None:
            try:
                await self._summarise(process, session, older)
            except TronError as error:
                log.warning("summary.failed", session=session.key, error=str(error))
            finally:
                self._busy.discard(place)

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

    async def _summarise(self, process: Process, session: Session, older: list[Entry]) -> None:
        persona = self._agents.get(session.agent)
        if persona is None or not older:
            return
        messages = [entry.message for entry in older]
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
            f"At most 200 words, plain text.\n\n{before}Conversation:\n{talk}",
            offline=offline,
            max_tokens=400,
        )
        if summary:
            await self._sessions.summarised(session, summary[:SUMMARY_CHARS], older[-1].seq)


def _older_half(entries: list[Entry]) -> list[Entry]:
    """The older half, cut before a user's message so that no exchange is torn."""
    cut = len(entries) // 2
    while cut < len(entries) and entries[cut].message.role != "user":
        cut += 1
    return entries[:cut] if cut < len(entries) else []
