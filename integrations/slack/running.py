"""Slack, set up: every part of the integration, made once and started and closed together.

Imported only when a Slack setting is present, because bolt and its SDK are heavy.
"""

import asyncio
from typing import Any

import structlog
from slack_bolt.async_app import AsyncBoltRequest
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings

from integrations.slack import wire
from integrations.slack.answering import Answering
from integrations.slack.apps import Apps
from integrations.slack.asking import Asking
from integrations.slack.checkup import NEEDED, WANTED
from integrations.slack.client import Refused, SlackClient
from integrations.slack.commands import Commands
from integrations.slack.desk import Desk
from integrations.slack.digests import DIGEST_EVERY_S, Digests
from integrations.slack.health import Health
from integrations.slack.inbox import Inbox, Letter
from integrations.slack.ingress import Acknowledged, Ingress, acknowledged
from integrations.slack.installations import Installations, States
from integrations.slack.news import News
from integrations.slack.questions import Questions
from integrations.slack.routing import Router
from integrations.slack.socket_mode import SocketMode
from integrations.slack.tasking import ACTIONS, Tasking
from integrations.slack.threads import Threads
from integrations.slack.workspaces import Workspaces
from tron.hub import Hub
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

CLOSE_S = 8.0
GREET_EVERY_S = 60.0
OFFICIAL_API = "https://slack.com/api/"


class Running:
    """The parts, wired."""

    def __init__(self, hub: Hub, apps: Apps) -> None:
        settings, clock, store = hub.settings, hub.clock, hub.store
        self._hub = hub
        self.apps = apps
        self.health = Health(clock)
        for app in apps.by_key.values():
            self.health.add(app.key, socket=bool(app.app_token))
        self.client = SlackClient(settings.slack_api_url)
        self.installations = Installations(settings, store, clock, self.client)
        self.workspaces = Workspaces(
            apps=apps,
            client=self.client,
            installations=self.installations,
            health=self.health,
            clock=clock,
        )
        self.inbox = Inbox(store, clock, hub.id)
        threads = Threads(store, clock)
        questions = Questions(store, clock)
        self._asking = Asking(
            desk=hub.desk,
            questions=questions,
            threads=threads,
            inbox=self.inbox,
            workspaces=self.workspaces,
            apps=apps,
            clock=clock,
        )
        self._tasking = Tasking(
            store=store,
            desk=hub.desk,
            questions=questions,
            asking=self._asking,
            workspaces=self.workspaces,
        )
        self._commands = Commands(hub, self.workspaces, self.health, self._tasking)
        self._answering = Answering(
            hub=hub,
            inbox=self.inbox,
            threads=threads,
            router=Router(
                agents=hub.agents,
                brain=hub.brain,
                workspaces=self.workspaces,
                default=settings.default_agent,
            ),
            workspaces=self.workspaces,
            commands=self._commands,
            health=self.health,
        )
        self.desk = Desk(self.inbox, self._answering.answer)
        self.digests = Digests(hub, threads)
        self.oauth = self._oauth_flow() if apps.oauth else None
        self._gates: dict[str, Ingress] = {}
        self._sockets = [
            SocketMode(self._gate(app.key), self.client, self.health)
            for app in apps.by_key.values()
            if app.app_token
        ]
        self._tasks = Tasks("slack")
        hub.reporting.poster("slack", self._asking.post)

    def gate(self, key: str) -> Ingress | None:
        """The gate of the routes at `key` (persona id, or empty); None if there is none."""
        if key not in self._gates and key and self._hub.agents.get(key) is None:
            return None
        return self._gate(key) if self.apps.get(key) else None

    def _gate(self, key: str) -> Ingress:
        if key not in self._gates:
            app = self.apps.get(key)
            assert app is not None  # asked for before
            self._gates[key] = Ingress(
                app, inbox=self.inbox, health=self.health, handlers=self, oauth=self.oauth
            )
        return self._gates[key]

    def start(self) -> None:
        """Begin. Returns at once."""
        self.desk.start()
        self._asking.start()
        for socket in self._sockets:
            socket.start()
        self._tasks.start(self._greet(), "greet")
        self._tasks.repeat(self.digests.sweep, "digests", every_s=DIGEST_EVERY_S)
        if channel := self._hub.settings.life_slack_channel:
            news = News(
                bus=self._hub.bus,
                clock=self._hub.clock,
                agents=self._hub.agents,
                apps=self.apps,
                workspaces=self.workspaces,
                channel=channel,
            )
            self._tasks.start(news.run(), "news")

    async def close(self) -> None:
        """Let running answers finish for a moment; leave the rest to whoever comes next."""
        self._answering.stopping = True
        for socket in self._sockets:
            await socket.close()
        await self._tasks.close()
        await self.desk.close(min(CLOSE_S, self._hub.settings.drain_s))
        await self._answering.close()
        await self._asking.close()
        await self._tasking.close()
        await self.client.close()

    async def browser(self, step: str, query: str, headers: dict[str, str]) -> Acknowledged:
        """A step of the installation in somebody's browser: `install` or `callback`."""
        assert self.oauth is not None  # the route looked
        asked = AsyncBoltRequest(body="", query=query, headers={**headers})
        if step == "install":
            return acknowledged(await self.oauth.handle_installation(asked))
        return acknowledged(await self.oauth.handle_callback(asked))

    # What the gates hand on

    def offer(self, letter: Letter) -> None:
        self.desk.offer(letter)

    async def command(self, app: str, command: wire.Command) -> dict[str, Any] | None:
        return await self._commands.now(command)

    async def clicked(self, app: str, click: wire.Click) -> None:
        if click.action in ACTIONS:
            await self._tasking.clicked(click)
            return
        if click.action != wire.RETRY_ACTION or not click.value.isascii():
            return
        letter = (
            await self.inbox.again(int(click.value), click.team)
            if (click.value.isdigit() and len(click.value) < 19)
            else None
        )
        if letter is None:
            return
        self.desk.offer(letter)
        if click.response_url and len(self._tasks) < 100:
            self._tasks.start(self._remove(click.response_url), "remove button")

    async def gone(self, app: str, gone: wire.Gone) -> None:
        if await self.installations.remove(gone.team):
            log.info("slack.uninstalled", team=gone.team)
        found = self.apps.get(app)
        if found is not None and found.bot_token:
            self.health.failed(app, "the app was removed from the workspace", disconnected=True)

    async def _remove(self, url: str) -> None:
        try:
            await self.client.respond(url, {"delete_original": True})
        except Refused as fault:
            log.info("slack.button_left", error=str(fault))

    async def _greet(self) -> None:
        """Ask Slack who each bot is, until it says: status shows it, nothing waits for it."""
        unknown = {app.key: app.bot_token for app in self.apps.by_key.values() if app.bot_token}
        while unknown:
            for key, token in list(unknown.items()):
                try:
                    answer = await self.client.call(token, "auth.test")
                except Refused as fault:
                    self.health.failed(key, str(fault))
                    log.warning("slack.not_greeted", app=key, error=fault.error)
                    continue
                del unknown[key]
                self.health.connected(
                    key,
                    workspace=str(answer.get("team") or ""),
                    bot_user=str(answer.get("user_id") or ""),
                    bot_id=str(answer.get("bot_id") or ""),
                )
            if unknown:
                await asyncio.sleep(GREET_EVERY_S)

    def _oauth_flow(self) -> AsyncOAuthFlow:
        settings = self._hub.settings
        official = self.client.api_url == OFFICIAL_API
        return AsyncOAuthFlow(
            client=self.client.web(""),
            settings=AsyncOAuthSettings(
                client_id=settings.slack_client_id,
                client_secret=settings.slack_client_secret,
                scopes=[*NEEDED, *WANTED],
                redirect_uri=(
                    f"{settings.public_url.rstrip('/')}/slack/oauth_redirect"
                    if settings.public_url
                    else None
                ),
                installation_store=self.installations,
                installation_store_bot_only=True,
                state_store=States(self._hub.store, self._hub.clock),
                authorization_url=(
                    None
                    if official
                    else self.client.api_url.removesuffix("api/") + "oauth/v2/authorize"
                ),
            ),
        )
