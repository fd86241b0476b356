"""A talking stand-in for Slack: a workspace over real HTTP and WebSocket.

For tests, demos and drills. People say things in it, the hub is told as Slack tells it (signed
webhooks with retries, or Socket Mode), and what the hub answers through the Web API can be read:

    async with FakeSlack() as slack:
        slack.deliver_to(hub.base_url)          # or let the hub open a socket
        ts = await slack.mention("what do you think?")
        answer = await slack.answer_in(ts)

Settings for the hub: `slack.settings()`. The shapes are Slack's own; what is simplified is said
in the README. Times between retries are short so that tests are.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections import deque
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from integrations.slack.fake_api import Api, Bot, Message, checked
from integrations.slack.fake_line import Delivery, Line

CALLS_KEPT = 5_000
PATIENCE_S = 60.0  # with an answer that is sure to come


class FakeSlack(Line):
    """See the module."""

    def __init__(self, *, retry_s: float = 0.3, scopes: str | None = None) -> None:
        self.team = "T0FAKE"
        super().__init__(Api(team=self.team, scopes=scopes), retry_s=retry_s)
        self.app_token = "xapp-fake"
        self.person = "U0PERSON"
        self.general = "C0GENERAL"
        self.bot = self.api.add_bot("tron", token="xoxb-fake")
        self.api.people[self.person] = {"name": "sam", "real_name": "Sam", "is_admin": False}
        self.api.channels |= {
            self.general: "general",
            "C0TRON": "tron",
            "C0MAYA": "tron-maya",
        }
        self.responses: deque[tuple[str, dict[str, Any]]] = deque(maxlen=CALLS_KEPT)
        """(path, body) of what was sent to response URLs"""
        self.port = 0
        self._runner: web.AppRunner | None = None

    # Setting up

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, *, socket: bool = False) -> dict[str, str]:
        """What the hub has to be set to."""
        found = {"SLACK_BOT_TOKEN": self.bot.token, "SLACK_API_URL": f"{self.url}/api/"}
        if socket:
            return {**found, "SLACK_APP_TOKEN": self.app_token}
        return {**found, "SLACK_SIGNING_SECRET": self.signing_secret}

    async def __aenter__(self) -> "FakeSlack":
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/api/{method}", self._call)
        app.router.add_get("/link", self.link)
        app.router.add_get("/oauth/v2/authorize", self._authorize)
        app.router.add_post("/response/{id}", self._respond)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, backlog=512).start()
        self.port = self._runner.addresses[0][1]
        self.api.socket_url = f"ws://127.0.0.1:{self.port}/link"
        await self.open_line()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_line()
        if self._runner is not None:
            await self._runner.cleanup()

    # What people do

    async def mention(
        self,
        text: str,
        *,
        channel: str = "",
        thread: str = "",
        user: str = "",
        bot: Bot | None = None,
    ) -> str:
        """Somebody mentions the bot in a channel; ts of their message."""
        bot = bot or self.bot
        return await self.say(
            f"<@{bot.user}> {text}",
            channel=channel,
            thread=thread,
            user=user,
            bot=bot,
            kind="app_mention",
        )

    async def dm(self, text: str, *, user: str = "", thread: str = "") -> str:
        """Somebody writes the bot directly."""
        user = user or self.person
        return await self.say(text, channel=self.dm_of(user), thread=thread, user=user)

    def dm_of(self, user: str = "") -> str:
        """The channel of somebody's direct messages with the bot."""
        return "D0" + (user or self.person)[2:]

    async def say(
        self,
        text: str,
        *,
        channel: str = "",
        thread: str = "",
        user: str = "",
        bot: Bot | None = None,
        kind: str = "message",
        **more: Any,
    ) -> str:
        """A message of a person, as the bot's app is told of it."""
        channel, user = channel or self.general, user or self.person
        message = self.api.post(channel, user=user, text=text, thread=thread)
        event: dict[str, Any] = {
            "type": kind,
            "user": user,
            "text": text,
            "ts": message.ts,
            "channel": channel,
            "event_ts": message.ts,
            **more,
        }
        if thread:
            event["thread_ts"] = thread
        if kind == "message":
            event["channel_type"] = "im" if channel.startswith("D") else "channel"
        await self.deliver(event, bot=bot)
        return message.ts

    async def open_pane(self, *, user: str = "") -> str:
        """Somebody opens the assistant pane; ts of its thread."""
        user = user or self.person
        ts = self.api.next_ts()
        thread = {"user_id": user, "channel_id": self.dm_of(user), "thread_ts": ts, "context": {}}
        await self.deliver({"type": "assistant_thread_started", "assistant_thread": thread})
        return ts

    async def uninstall(self, *, team: str = "") -> None:
        """The workspace throws the app out."""
        await self.deliver({"type": "app_uninstalled"}, team=team)

    async def command(self, text: str, *, user: str = "", channel: str = "") -> dict[str, Any]:
        """`/tron TEXT`; what was answered at once."""
        user, channel = user or self.person, channel or self.general
        form = {
            "command": "/tron",
            "text": text,
            "user_id": user,
            "user_name": self.api.people.get(user, {}).get("name", ""),
            "team_id": self.team,
            "channel_id": channel,
            "channel_name": self.api.channels.get(channel, "directmessage"),
            "api_app_id": self.bot.app_id,
            "response_url": f"{self.url}/response/{secrets.token_hex(6)}",
            "trigger_id": f"{time.time_ns()}.{secrets.token_hex(8)}",
        }
        return await self._interact("/slack/commands", "slash_commands", form)

    async def click(
        self,
        message: Message,
        label: str = "",
        *,
        user: str = "",
        team: str = "",
        ephemeral: bool = False,
        hub: str = "",
    ) -> dict[str, Any]:
        """The button `label` of a message is pressed; without one, its first.

        `team`: the workspace of who presses it, in a shared channel. `ephemeral`: it is an answer
        that only they see, as `shown` makes one. `hub`: the one that is told.
        """
        user = user or self.person
        place = {"type": "message", "message_ts": message.ts, "is_ephemeral": ephemeral}
        payload = {
            "type": "block_actions",
            "user": {
                "id": user,
                "name": self.api.people.get(user, {}).get("name", ""),
                "team_id": team or self.team,
            },
            "team": {"id": team or self.team, "domain": "fake"},
            "channel": {"id": message.channel},
            "message": {"ts": message.ts, "text": message.text},
            "container": place,
            "trigger_id": f"{time.time_ns()}.{secrets.token_hex(8)}",
            "response_url": f"{self.url}/response/{message.channel}-{message.ts}",
            "actions": [
                {**_button(message, label), "block_id": "b", "action_ts": self.api.next_ts()}
            ],
        }
        return await self._interact("/slack/interactivity", "interactive", payload, hub=hub)

    def shown(self, answer: dict[str, Any], *, channel: str = "") -> Message:
        """What a command answered, as a message with buttons that can be pressed."""
        blocks = checked(answer.get("blocks") or [])
        ts = self.api.next_ts()
        return Message(
            channel=channel or self.general,
            ts=ts,
            text=answer["text"],
            user="",
            bot="B",
            blocks=blocks,
        )

    # What came of it

    def thread(self, ts: str) -> list[Message]:
        """What bots wrote in a thread, in order."""
        return [m for m in self.api.thread(ts) if m.bot and not m.deleted]

    def in_channel(self, channel: str) -> list[Message]:
        """What bots wrote in a channel outside threads."""
        return [
            message
            for message in self.api.messages
            if message.channel == channel
            and message.bot
            and not message.thread
            and not message.deleted
        ]

    async def answer_in(self, ts: str, *, count: int = 1, within_s: float = PATIENCE_S) -> str:
        """The text of the `count`th message a bot wrote in a thread, once it is complete."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            found = self.thread(ts)
            if len(found) >= count and await self._settled(found[count - 1]):
                return found[count - 1].text
            await asyncio.sleep(0.02)
        raise AssertionError(f"no answer within {within_s} s; there is {self.thread(ts)}")

    async def answer_outside(
        self, channel: str, *, count: int = 1, within_s: float = PATIENCE_S
    ) -> str:
        """The same for a channel or direct message outside threads."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            found = self.in_channel(channel)
            if len(found) >= count and await self._settled(found[count - 1]):
                return found[count - 1].text
            await asyncio.sleep(0.02)
        raise AssertionError(f"no answer within {within_s} s; there is {self.in_channel(channel)}")

    async def _settled(self, message: Message, quiet_s: float = 1.6) -> bool:
        """A streamed message is done when it is stopped, an edited one when it stays the same."""
        if message.streamed:
            return not message.streaming
        edits, text = message.edits, message.text
        deadline = time.monotonic() + quiet_s
        while time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            if (message.edits, message.text) != (edits, text):
                return False
        return True

    # Telling the hub

    def envelope(
        self, event: dict[str, Any], *, bot: Bot | None = None, team: str = ""
    ) -> dict[str, Any]:
        """An event as Slack wraps it."""
        bot, team = bot or self.bot, team or self.team
        return {
            "token": "verification",
            "team_id": team,
            "enterprise_id": None,
            "context_team_id": team,
            "context_enterprise_id": None,
            "api_app_id": bot.app_id,
            "event": event,
            "type": "event_callback",
            "event_id": "Ev" + secrets.token_hex(5).upper(),
            "event_time": int(time.time()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": team,
                    "user_id": bot.user,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": False,
            "event_context": "4-fake",
        }

    async def deliver(
        self, event: dict[str, Any], *, bot: Bot | None = None, team: str = ""
    ) -> Delivery:
        """Tell the hub, and wait for the first acknowledgement; retries go on behind."""
        return await self.send(self.envelope(event, bot=bot, team=team), bot=bot)

    async def _interact(
        self, path: str, kind: str, what: dict[str, Any], *, hub: str = ""
    ) -> dict[str, Any]:
        if self._sockets:
            answer: dict[str, Any] = {}
            await self.by_socket(kind, what, 0, "", answer)
            return answer
        form = what if kind == "slash_commands" else {"payload": json.dumps(what)}
        status, body = await self.post(
            path, urlencode(form).encode(), kind="application/x-www-form-urlencoded", hub=hub
        )
        if status != 200:
            raise AssertionError(f"{path} answered {status}: {body}")
        return json.loads(body) if body else {}

    # What the hub calls

    async def _call(self, request: web.Request) -> web.Response:
        return await self.api.handle(request)

    async def _respond(self, request: web.Request) -> web.Response:
        body = await request.json()
        where = request.match_info["id"]
        self.responses.append((where, body))
        channel, _, ts = where.partition("-")
        with contextlib.suppress(KeyError):
            if body.get("delete_original"):
                self.api.find(channel, ts).deleted = True
            elif body.get("replace_original"):
                message = self.api.find(channel, ts)
                message.text = body["text"]
                message.blocks = checked(body.get("blocks") or [])
        return web.Response(text="ok")

    async def _authorize(self, request: web.Request) -> web.Response:
        """The page where somebody allows the app; here everybody does, at once."""
        query = request.query
        code = self.api.new_code()
        back = query.get("redirect_uri") or ""
        answer = urlencode({"code": code, "state": query.get("state", "")})
        raise web.HTTPFound(f"{back}?{answer}")


def _button(message: Message, label: str) -> dict[str, Any]:
    buttons = [e for block in message.blocks for e in block.get("elements", []) if "action_id" in e]
    return next(one for one in buttons if label in ("", one["text"]["text"]))
