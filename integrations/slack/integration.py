"""Slack as the hub sees it: routes that are always there, and the rest once it is set up."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from quart import Blueprint

from integrations.slack import routes
from integrations.slack.apps import Apps, apps_of
from integrations.slack.tools import tools
from tron.doctor import Finding
from tron.hub import Hub
from tron.integrations import Channel

if TYPE_CHECKING:
    from integrations.slack.running import Running


class Slack:
    """See `tron.integrations.Integration`."""

    name = "slack"

    def __init__(self, hub: Hub) -> None:
        apps = apps_of(hub.settings)
        self.running = _running(hub, apps) if apps.by_key else None
        hub.toolbox.add(tools(self.running))

    def blueprint(self) -> Blueprint:
        return routes.routes(self.running)

    async def start(self) -> None:
        if self.running is not None:
            self.running.start()

    async def close(self) -> None:
        if self.running is not None:
            await self.running.close()

    def channels(self) -> list[Channel]:
        return [] if self.running is None else self.running.health.channels()

    async def check(self) -> AsyncIterator[Finding]:
        if self.running is None:
            yield Finding("Slack", "off", "not set up", "See integrations/slack/README.md.")
            return
        from integrations.slack.checkup import check

        async for finding in check(self.running.apps, self.running.client):
            yield finding


def _running(hub: Hub, apps: Apps) -> "Running":
    from integrations.slack.running import Running  # heavy: only where Slack is set up

    return Running(hub, apps)
