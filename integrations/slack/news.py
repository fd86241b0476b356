"""Life posts and notable events, told in one Slack channel (`TRON_LIFE_SLACK_CHANNEL`).

What a persona posts is told by its own app where it has one, and by the shared app otherwise. A
language model that stopped answering is told at most once an hour. When Slack is away a line is
tried for a while and then dropped, with a line in the log: the local feed has it anyway.
"""

import structlog

from integrations.slack.apps import SHARED, Apps
from integrations.slack.client import Refused
from integrations.slack.mrkdwn import escape
from integrations.slack.workspaces import Workspaces
from tron.agents.registry import Registry
from tron.clock import Clock
from tron.events import Bus, Event, LifeRan, ProviderFailed
from tron.life.post import slack_line

log = structlog.get_logger(__name__)

QUEUE = 64
TOLD = ("post", "team_check", "news")
"""activities whose outcome is told; the others are between a persona and its journal"""
PROVIDER_EVERY_MS = 3_600_000
POSTED = "Posted: "


class News:
    """See the module."""

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        agents: Registry,
        apps: Apps,
        workspaces: Workspaces,
        channel: str,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._agents = agents
        self._apps = apps
        self._workspaces = workspaces
        self._channel = channel
        self._failed_at: dict[str, int] = {}

    async def run(self) -> None:
        """For ever; a reader too slow for the bus misses the oldest."""
        with self._bus.subscribe(QUEUE) as subscription:
            async for event in subscription:
                if (line := self._line(event)) is not None:
                    await self._say(*line)

    def _line(self, event: Event) -> tuple[str, str] | None:
        """(who says it, what); None if it is not told."""
        match event:
            case LifeRan(status="completed", activity=activity) if activity in TOLD:
                if activity == "post" and not event.result.startswith(POSTED):
                    return None
                persona = self._agents.get(event.agent)
                if persona is None:
                    return None
                text = event.result.removeprefix(POSTED)
                return event.agent, slack_line(persona.emoji, persona.name, text)
            case ProviderFailed():
                last = self._failed_at.get(event.provider)
                if last is not None and event.at - last < PROVIDER_EVERY_MS:
                    return None
                self._failed_at[event.provider] = event.at
                instead = event.fallback or "nobody"
                return SHARED, (
                    f":warning: The language model {escape(event.provider)} does not answer; "
                    f"{escape(instead)} does."
                )
        return None

    async def _say(self, agent: str, text: str) -> None:
        app = agent if agent in self._apps.by_key else SHARED
        try:
            await self._workspaces.call(
                app, "", "chat.postMessage", channel=self._channel, text=text, unfurl_links=True
            )
        except Refused as fault:
            log.warning("slack.news_not_told", error=str(fault))
