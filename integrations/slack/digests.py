"""What was said in a thread that has gone quiet becomes a memory of whoever began it.

Every few minutes threads that were idle for half an hour are told in a few sentences by the
persona that answered there, once for each time they fall silent, by one hub. The memory belongs
to the person, so it is told to nobody else.
"""

import structlog

from integrations.slack.threads import Thread, Threads
from tron.agents.persona import Persona
from tron.brain.offline import summarise
from tron.conversation.turns import Message
from tron.errors import TronError
from tron.hub import Hub
from tron.orchestrator.process import Process
from tron.storage.tables import HOUSE

log = structlog.get_logger(__name__)

DIGEST_EVERY_S = 300.0
IDLE_MS = 30 * 60_000
AT_ONCE = 10
MESSAGES = 20
CHARS = 1_500


class Digests:
    """See the module."""

    def __init__(self, hub: Hub, threads: Threads) -> None:
        self._hub = hub
        self._threads = threads

    async def sweep(self) -> int:
        """Summarise what has gone quiet; returns how many threads."""
        since = self._hub.clock.now_ms() - IDLE_MS
        told = 0
        for thread in await self._threads.idle(since_ms=since, limit=AT_ONCE):
            if await self._threads.claim_summary(thread):
                told += await self._tell(thread)
        return told

    async def _tell(self, thread: Thread) -> bool:
        persona = self._hub.agents.get(thread.agent or "")
        if persona is None or thread.session_key is None:
            return False
        try:
            _, entries = await self._hub.sessions.detail(HOUSE, thread.session_key)
        except TronError:  # the session was deleted, and so is not to be remembered
            return False
        messages = [entry.message for entry in entries[-MESSAGES:]]
        if not any(message.role == "user" for message in messages):
            return False
        content = await self._summary(persona, messages)
        if not content:
            return False
        await self._hub.memory.remember(
            HOUSE,
            person=thread.caller,
            key=f"slack {thread.channel} {thread.thread_ts}".strip(),
            content=content[:CHARS],
            author=persona.id,
            tags=["slack", "summary"],
        )
        return True

    async def _summary(self, persona: Persona, messages: list[Message]) -> str:
        talk = "\n".join(f"{m.role}: {m.content}" for m in messages if m.content)

        async def work(process: Process) -> str:
            return await self._hub.thinking.think(
                process,
                persona,
                "Write down what is worth remembering of this Slack conversation: who wanted what, "
                "facts they told, what was decided and promised. At most 100 words, plain text."
                f"\n\n{talk}",
                offline=summarise(messages, CHARS),
                max_tokens=300,
            )

        process = self._hub.orchestrator.spawn(
            persona.id, work, task="Summarise a Slack thread", reason="slack", restarts=0
        )
        await process.wait()
        return str(process.result or "") if process.status == "completed" else ""
