"""The Web API of the fake workspace: what bots may call, and what they wrote.

Errors are Slack's (HTTP 200 with `ok: false`, except 429 with `Retry-After`). Limits that matter
to a bot are kept: the length of a message, who may edit it, the state of a stream. `limit`,
`refuse` and `slow` make the next calls of a method fail as they do on a bad day.
"""

import asyncio
import json
import secrets
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from integrations.slack.fake_blocks import fit

MESSAGES_KEPT = 20_000
CALLS_KEPT = 20_000
TEXT_LIMIT = 40_000
MARKDOWN_LIMIT = 12_000
SCOPES = (
    "app_mentions:read,assistant:write,channels:history,channels:read,chat:write,commands,"
    "groups:history,groups:read,im:history,users:read"
)


@dataclass
class Bot:
    """A bot user of the workspace and the app behind it."""

    name: str
    token: str
    user: str
    id: str
    app_id: str
    team: str
    persona: str = ""
    secret: str = ""


@dataclass
class Message:
    """One message; `bot` is who wrote it, empty for a person."""

    channel: str
    ts: str
    text: str
    user: str
    bot: str = ""
    thread: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    edits: int = 0
    streamed: bool = False
    streaming: bool = False
    deleted: bool = False


class Refusal(Exception):
    """Slack's word for what is wrong."""


class Api:
    """See the module."""

    def __init__(self, *, team: str, scopes: str | None = None) -> None:
        self.team = team
        self.scopes = SCOPES if scopes is None else scopes
        self.bots: dict[str, Bot] = {}
        """by token"""
        self.people: dict[str, dict[str, Any]] = {}
        self.channels: dict[str, str] = {}
        """names by id"""
        self.messages: deque[Message] = deque(maxlen=MESSAGES_KEPT)
        self.calls: deque[tuple[str, dict[str, Any]]] = deque(maxlen=CALLS_KEPT)
        self.statuses: list[dict[str, Any]] = []
        self.streaming = True
        """False: the chat streaming API is not granted"""
        self.tickets: set[str] = set()
        self.socket_url = ""
        self.app_tokens = {"xapp-fake"}
        self.codes: set[str] = set()
        self.refresh: dict[str, str] = {}
        """refresh token -> the bot token it renews"""
        self.expires_in: int | None = None
        """installed tokens live this long (s); None: for ever"""
        self._by_place: dict[tuple[str, str], Message] = {}
        self._by_thread: dict[str, list[Message]] = {}
        self._last_ts = 0
        self._limits: dict[str, deque[float]] = defaultdict(deque)
        self._refusals: dict[str, deque[str]] = defaultdict(deque)
        self._slow: dict[str, float] = {}

    # Told by tests

    def add_bot(
        self, name: str, *, token: str, persona: str = "", secret: str = "", team: str = ""
    ) -> Bot:
        number = len(self.bots)
        bot = Bot(
            name=name,
            token=token,
            user=f"U0BOT{number}",
            id=f"B0BOT{number}",
            app_id=f"A0APP{number}",
            team=team or self.team,
            persona=persona,
            secret=secret,
        )
        self.bots[token] = bot
        return bot

    def limit(self, method: str, *retry_after: float) -> None:
        """The next calls of `method` get 429, one for each figure."""
        self._limits[method].extend(retry_after)

    def refuse(self, method: str, *errors: str) -> None:
        """The next calls of `method` are refused with these words."""
        self._refusals[method].extend(errors)

    def slow(self, method: str, seconds: float) -> None:
        """Every call of `method` takes that long."""
        self._slow[method] = seconds

    def rotate(self, bot: Bot, token: str) -> None:
        """The bot's token is exchanged; the old one is worth nothing."""
        del self.bots[bot.token]
        bot.token = token
        self.bots[token] = bot

    def called(self, method: str) -> list[dict[str, Any]]:
        """Arguments of every call of `method`."""
        return [given for name, given in self.calls if name == method]

    def next_ts(self) -> str:
        self._last_ts = max(self._last_ts + 1, time.time_ns() // 1_000)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def post(self, channel: str, **given: Any) -> Message:
        message = Message(channel=channel, ts=self.next_ts(), **given)
        if len(self.messages) == MESSAGES_KEPT:
            oldest = self.messages[0]
            del self._by_place[oldest.channel, oldest.ts]
            self._by_thread.pop(oldest.thread, None)
        self.messages.append(message)
        self._by_place[channel, message.ts] = message
        self._by_thread.setdefault(message.thread, []).append(message)
        return message

    def thread(self, ts: str) -> list[Message]:
        """Everything in a thread but its first message."""
        return self._by_thread.get(ts, []) if ts else []

    def find(self, channel: str, ts: str) -> Message:
        return self._by_place[channel, ts]

    def new_code(self) -> str:
        code = secrets.token_hex(8)
        self.codes.add(code)
        return code

    # Called by bots

    async def handle(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        given = await _arguments(request)
        self.calls.append((method, given))
        if pause := self._slow.get(method):
            await asyncio.sleep(pause)
        if self._limits[method]:
            after = self._limits[method].popleft()
            body = {"ok": False, "error": "ratelimited"}
            return web.json_response(body, status=429, headers={"Retry-After": f"{after:g}"})
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            if self._refusals[method]:
                raise Refusal(self._refusals[method].popleft())
            answer = {"ok": True, **self._answer(method, token, given)}
        except Refusal as refusal:
            answer = {"ok": False, "error": str(refusal)}
        return web.json_response(answer, headers={"x-oauth-scopes": self.scopes})

    def _answer(self, method: str, token: str, given: dict[str, Any]) -> dict[str, Any]:
        if method == "apps.connections.open":
            return self._connection(token)
        if method == "oauth.v2.access":
            return self._access(given)
        bot = self.bots.get(token)
        if bot is None:
            raise Refusal("invalid_auth" if token else "not_authed")
        known = {
            "auth.test": self._auth_test,
            "users.info": self._user,
            "conversations.info": self._channel,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.delete": self._delete,
            "chat.startStream": self._start,
            "chat.appendStream": self._append,
            "chat.stopStream": self._stop,
            "assistant.threads.setStatus": self._status,
            "assistant.threads.setTitle": self._nothing,
            "assistant.threads.setSuggestedPrompts": self._nothing,
        }.get(method)
        if known is None:
            raise Refusal("unknown_method")
        return known(bot, given)

    def _connection(self, token: str) -> dict[str, Any]:
        if token not in self.app_tokens:
            raise Refusal("invalid_auth")
        ticket = secrets.token_hex(8)
        self.tickets.add(ticket)
        return {"url": f"{self.socket_url}?ticket={ticket}&app_id=A0APP0"}

    def _access(self, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("grant_type") == "refresh_token":
            old = self.refresh.pop(str(given.get("refresh_token")), None)
            if old is None:
                raise Refusal("invalid_refresh_token")
            bot = self.bots[old]
            self.rotate(bot, f"xoxe.xoxb-{secrets.token_hex(6)}")
        else:
            if given.get("code") not in self.codes:
                raise Refusal("invalid_code")
            self.codes.discard(str(given["code"]))
            bot = self.add_bot("tron", token=f"xoxb-{secrets.token_hex(6)}", team="T0OTHER")
        answer: dict[str, Any] = {
            "access_token": bot.token,
            "token_type": "bot",
            "scope": self.scopes,
            "bot_user_id": bot.user,
            "app_id": bot.app_id,
            "team": {"id": bot.team, "name": "Other"},
            "enterprise": None,
            "is_enterprise_install": False,
            "authed_user": {"id": "U0INSTALLER"},
        }
        if self.expires_in is not None:
            refresh = f"xoxe-1-{secrets.token_hex(6)}"
            self.refresh[refresh] = bot.token
            answer |= {"refresh_token": refresh, "expires_in": self.expires_in}
        return answer

    def _auth_test(self, bot: Bot, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "url": "https://fake.slack.com/",
            "team": "Fake",
            "user": bot.name,
            "team_id": bot.team,
            "user_id": bot.user,
            "bot_id": bot.id,
            "is_enterprise_install": False,
        }

    def _user(self, _: Bot, given: dict[str, Any]) -> dict[str, Any]:
        person = self.people.get(given.get("user", ""))
        if person is None:
            raise Refusal("user_not_found")
        profile = {"display_name": person["name"], "real_name": person["real_name"]}
        return {"user": {"id": given["user"], **person, "profile": profile}}

    def _channel(self, _: Bot, given: dict[str, Any]) -> dict[str, Any]:
        name = self.channels.get(given.get("channel", ""))
        if name is None:
            raise Refusal("channel_not_found")
        return {"channel": {"id": given["channel"], "name": name, "is_channel": True}}

    def _post(self, bot: Bot, given: dict[str, Any]) -> dict[str, Any]:
        channel = self._place(given)
        text = str(given.get("text") or given.get("markdown_text") or "")
        blocks = checked(given.get("blocks") or [])
        if not text and not blocks:
            raise Refusal("no_text")
        if len(text) > TEXT_LIMIT:
            raise Refusal("msg_too_long")
        message = self.post(
            channel,
            user=bot.user,
            bot=bot.id,
            text=text,
            thread=str(given.get("thread_ts") or ""),
            blocks=blocks,
        )
        return {"channel": channel, "ts": message.ts, "message": {"text": text, "ts": message.ts}}

    def _update(self, bot: Bot, given: dict[str, Any]) -> dict[str, Any]:
        message = self._own(bot, given)
        if message.streaming:
            raise Refusal("streaming_state_conflict")
        text = str(given.get("text") or "")
        if len(text) > TEXT_LIMIT:
            raise Refusal("msg_too_long")
        if "blocks" in given:  # else they stay as they are
            message.blocks = checked(given["blocks"])
        message.text, message.edits = text, message.edits + 1
        return {"channel": message.channel, "ts": message.ts, "text": text}

    def _delete(self, bot: Bot, given: dict[str, Any]) -> dict[str, Any]:
        message = self._own(bot, given)
        message.deleted = True
        return {"channel": message.channel, "ts": message.ts}

    def _start(self, bot: Bot, given: dict[str, Any]) -> dict[str, Any]:
        if not self.streaming:
            raise Refusal("unknown_method")
        channel = self._place(given)
        if not given.get("thread_ts"):
            raise Refusal("invalid_arguments")
        if not channel.startswith("D"):
            for name in ("recipient_team_id", "recipient_user_id"):
                if not given.get(name):
                    raise Refusal(f"missing_{name}")
        message = self.post(
            channel,
            user=bot.user,
            bot=bot.id,
            text=_markdown(given),
            thread=str(given["thread_ts"]),
            streamed=True,
            streaming=True,
        )
        return {"channel": channel, "ts": message.ts}

    def _append(self, bot: Bot, given: dict[str, Any]) -> dict[str, Any]:
        message = self._streaming(bot, given)
        message.text, message.edits = message.text + _markdown(given), message.edits + 1
        return {"channel": message.channel, "ts": message.ts}

    def _stop(self, bot: Bot, given: dict[str, Any]) -> dict[str, Any]:
        message = self._streaming(bot, given)
        message.text += _markdown(given)
        message.streaming = False
        return {"channel": message.channel, "ts": message.ts}

    def _streaming(self, bot: Bot, given: dict[str, Any]) -> Message:
        message = self._own(bot, given)
        if not message.streaming:
            raise Refusal("message_not_in_streaming_state")
        return message

    def _status(self, _: Bot, given: dict[str, Any]) -> dict[str, Any]:
        self.statuses.append(given)
        return {}

    def _nothing(self, _: Bot, __: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _place(self, given: dict[str, Any]) -> str:
        channel = str(given.get("channel") or "")
        if channel in self.people:  # a direct message
            return "D0" + channel[2:]
        if channel not in self.channels and not channel.startswith("D"):
            raise Refusal("channel_not_found")
        return channel

    def _own(self, bot: Bot, given: dict[str, Any]) -> Message:
        message = self._by_place.get((str(given.get("channel")), str(given.get("ts"))))
        if message is None or message.deleted:
            raise Refusal("message_not_found")
        if message.bot != bot.id:
            raise Refusal("cant_update_message")
        return message


def checked(blocks: Any) -> list[dict[str, Any]]:
    """Blocks that Slack would take."""
    if not fit(blocks):
        raise Refusal("invalid_blocks")
    return list(blocks)


def _markdown(given: dict[str, Any]) -> str:
    """The text of a stream call, which comes as text or, from the SDK, as chunks."""
    text = str(given.get("markdown_text") or "")
    for chunk in given.get("chunks") or []:
        text += str(chunk.get("text") or "")
    if len(text) > MARKDOWN_LIMIT:
        raise Refusal("msg_too_long")
    return text


async def _arguments(request: web.Request) -> dict[str, Any]:
    """From JSON, a form or the query, whichever the client used."""
    given: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        body = await request.json() if request.can_read_body else {}
        return {**given, **body} if isinstance(body, dict) else given
    for name, value in (await request.post()).items():
        text = str(value)
        given[name] = json.loads(text) if text[:1] in "[{" else text
    return given
