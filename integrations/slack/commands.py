"""What people can ask the hub itself: `/tron …`, and the short commands typed as a message.

All but `ask` is answered at once, from what this hub knows; `ask` is a turn with a persona.
"""

import asyncio
from typing import Any

import structlog

from integrations.slack import wire
from integrations.slack.health import Health
from integrations.slack.mrkdwn import mrkdwn
from integrations.slack.tasking import Tasking
from integrations.slack.wire import Command
from integrations.slack.workspaces import Workspaces
from tron.clock import duration
from tron.errors import TronError
from tron.hub import Hub
from tron.storage.tables import HOUSE

log = structlog.get_logger(__name__)

WITHIN_S = 2.0
"""Slack hangs up after three"""
HELP = """**Talking**
- mention me in a channel, or write me a direct message
- `maya: …` at the beginning asks Maya, and she stays in the thread
- in `#tron-maya` Maya answers

**Commands**
- `/tron ask QUESTION` or `/tron ask maya: QUESTION`: only you see the answer
- `/tron tasks`: your tasks and those of this channel; `/tron approve ID`, `/tron deny ID`
- `/tron status`, `/tron agents`, `/tron life`, `/tron help`"""
AWAY = "The hub can't say just now; please ask again in a moment."
TYPED = {
    "tronhelp": "help",
    "tronagents": "agents",
    "tronservers": "servers",
    "tronclearsessions": "clear",
}


class Commands:
    """See the module."""

    def __init__(self, hub: Hub, workspaces: Workspaces, health: Health, tasking: Tasking) -> None:
        self._hub = hub
        self._tasking = tasking
        self._workspaces = workspaces
        self._health = health

    async def now(self, command: Command) -> dict[str, Any] | None:
        """The answer to a slash command; None for `ask`, which takes longer."""
        word = command.text.partition(" ")[0].lower()
        if word == "ask" and self.question(command):
            return None
        if word == "ask":
            return wire.ephemeral("Ask what? For example: `/tron ask maya: how do we grow?`")
        if word in ("tasks", "approve", "deny"):
            return await self._about_tasks(word, command)
        return wire.ephemeral(mrkdwn(await self._told(word or "help")))

    async def _about_tasks(self, word: str, command: Command) -> dict[str, Any]:
        try:
            async with asyncio.timeout(WITHIN_S):
                if word == "tasks":
                    card = await self._tasking.listing(command)
                    return wire.ephemeral(card.text) | card.body
                id = self.question(command).strip("`")
                said = await self._tasking.answer(command, id, approved=word == "approve")
                return wire.ephemeral(said)
        except (TimeoutError, TronError) as error:
            log.warning("slack.command_failed", command=word, error=type(error).__name__)
            return wire.ephemeral(AWAY)

    def question(self, command: Command) -> str:
        """What stands behind the word of a command."""
        return command.text.partition(" ")[2].strip()

    async def exact(self, app: str, team: str, user: str, text: str) -> str | None:
        """The answer to a command typed as a whole message; None if it is none."""
        word = TYPED.get(text.strip().lower())
        if word != "clear":
            return None if word is None else await self._told(word)
        person = await self._workspaces.person(app, team, user)
        if person is None or not person.admin or not self._workspaces.ours(app):
            return "Only an administrator of this workspace can clear the conversations."
        ended = await self._hub.sessions.clear(HOUSE)
        return f"{ended} conversations were ended. Everybody starts afresh."

    async def _told(self, word: str) -> str:
        tell = {
            "help": self._help,
            "status": self._status,
            "agents": self._agents,
            "life": self._life,
            "servers": self._servers,
        }.get(word)
        if tell is None:
            return f"I don't know `{word[:40]}`.\n{HELP}"
        try:
            async with asyncio.timeout(WITHIN_S):
                return await tell()
        except (TimeoutError, TronError) as error:
            log.warning("slack.command_failed", command=word, error=type(error).__name__)
            return AWAY

    async def _help(self) -> str:
        return HELP

    async def _status(self) -> str:
        hub = self._hub
        up = duration((hub.clock.now_ms() - hub.started_at) / 1000)
        channels = ", ".join(f"{c.name} {c.status}" for c in self._health.channels())
        return (
            f"Up for {up}; {len(hub.orchestrator.live())} processes, "
            f"{await hub.sessions.count(HOUSE)} conversations; {channels}."
        )

    async def _agents(self) -> str:
        return "\n".join(
            f"- {persona.name}, {persona.title}: {', '.join(persona.focus)}"
            for persona in self._hub.agents.personas
        )

    async def _life(self) -> str:
        active = ", ".join(persona.name for persona in self._hub.life.active()) or "nobody"
        posts = await self._hub.life.feed(HOUSE, 3)
        lines = [f"- {post.agent}: {post.text}" for post in posts]
        return "\n".join([f"Living by their schedules: {active}.", *lines])

    async def _servers(self) -> str:
        found = await self._hub.subdomains.list(HOUSE)
        return "\n".join(f"- {one.project}: {one.url}" for one in found) or "No servers run."
