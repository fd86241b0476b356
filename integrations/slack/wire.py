"""What Slack sends and what it is sent, as typed messages; no I/O.

Parsing is open: unknown fields and event types appear without notice, so whatever is not for us
becomes `Ignored` with a reason, and only a request whose frame is broken raises `Invalid`.
Loops end here: nothing that a bot wrote (ours or another's) ever becomes something to answer.
"""

import html
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tron.errors import Invalid
from tron.given import mapping, short

TEXT_LIMIT = 40_000
"""Slack's own limit of one message"""
RETRY_ACTION = "tron.retry"
PEOPLES_SUBTYPES = (None, "file_share", "thread_broadcast")


class Said(msgspec.Struct, frozen=True, kw_only=True, tag="message"):
    """Somebody spoke to us, or in a thread that is ours."""

    team: str
    channel: str
    user: str
    text: str
    """as a person reads it: mentions of the bot gone, links and entities plain"""
    ts: str
    thread_ts: str | None
    direct: bool
    """a direct message"""
    addressed: bool
    """mentioned or direct; else it only counts in a thread where we talk already"""
    event_id: str

    @property
    def thread(self) -> str:
        """ts of the thread it belongs to or begins; empty: a direct message outside one."""
        return self.thread_ts or ("" if self.direct else self.ts)


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened"):
    """Somebody opened the assistant pane."""

    team: str
    channel: str
    user: str
    thread: str
    event_id: str


class Command(msgspec.Struct, frozen=True, kw_only=True, tag="command"):
    """A slash command."""

    team: str
    channel: str
    user: str
    text: str
    response_url: str
    event_id: str
    """its trigger id, which is as unique"""
    name: str = ""
    """the user's own"""


class Click(msgspec.Struct, frozen=True, kw_only=True):
    """A button was pressed."""

    team: str
    channel: str
    user: str
    action: str
    value: str
    response_url: str
    name: str = ""
    """the user's own"""
    message: str = ""
    """ts of the message that has the button"""
    ephemeral: bool = False
    """only the user sees that message"""


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """The app was removed from a workspace, or its token was revoked."""

    team: str


class Ignored(msgspec.Struct, frozen=True):
    """Nothing to do, and why."""

    why: str


Event = Said | Opened | Gone | Ignored
Stored = Said | Opened | Command
"""what is kept in the inbox until it is answered"""


def event(body: Mapping[str, Any]) -> Event:
    """An `event_callback`. Raises Invalid if its frame is not one."""
    inner = body.get("event")
    if not isinstance(inner, dict) or not isinstance(inner.get("type"), str):
        raise Invalid("The event is missing.", param="event")
    who = _authorization(body)
    team, event_id = _team(body, who), short(body.get("event_id"), 255)
    kind = inner["type"]
    if kind == "app_uninstalled" or (kind == "tokens_revoked" and _bot_revoked(inner)):
        return Gone(team=team)
    if not team or not event_id:
        raise Invalid("The event has no team or no id.", param="event_id")
    if kind == "assistant_thread_started":
        return _opened(inner, team, event_id)
    if kind not in ("app_mention", "message"):
        return Ignored(f"event {kind[:40]}")
    return _said(inner, team, event_id, _bot_user(who))


def command(form: Mapping[str, Any]) -> Command:
    """A slash command's form. Raises Invalid."""
    team = _team(
        form, {**form, "is_enterprise_install": form.get("is_enterprise_install") == "true"}
    )
    user, trigger = short(form.get("user_id"), 64), short(form.get("trigger_id"), 255)
    if not team or not user or not trigger:
        raise Invalid("The command has no team, user or trigger.", param="trigger_id")
    return Command(
        team=team,
        channel=short(form.get("channel_id"), 64),
        user=user,
        text=plain(short(form.get("text"), TEXT_LIMIT)),
        response_url=short(form.get("response_url"), 2_000),
        event_id=trigger,
        name=short(form.get("user_name"), 80),
    )


def click(payload: Mapping[str, Any]) -> Click | Ignored:
    """An interaction: the first action of a `block_actions`; other kinds are ignored."""
    actions = payload.get("actions")
    if payload.get("type") != "block_actions" or not isinstance(actions, list) or not actions:
        return Ignored(f"interaction {short(payload.get('type'), 40)}")
    first = mapping(actions[0])
    ids = {
        "team_id": mapping(payload.get("team")).get("id"),
        "enterprise_id": mapping(payload.get("enterprise")).get("id"),
        "is_enterprise_install": payload.get("is_enterprise_install") is True,
    }
    user, container = mapping(payload.get("user")), mapping(payload.get("container"))
    return Click(
        team=_team(ids, ids),
        channel=short(mapping(payload.get("channel")).get("id"), 64),
        user=short(user.get("id"), 64),
        action=short(first.get("action_id"), 255),
        value=short(first.get("value"), 2_000),
        response_url=short(payload.get("response_url"), 2_000),
        name=short(user.get("name") or user.get("username"), 80),
        message=short(container.get("message_ts"), 32),
        ephemeral=container.get("is_ephemeral") is True,
    )


def _said(inner: dict[str, Any], team: str, event_id: str, bot_user: str) -> Said | Ignored:
    user, channel = short(inner.get("user"), 64), short(inner.get("channel"), 64)
    ts = short(inner.get("ts"), 32)
    if inner.get("bot_id") or inner.get("bot_profile") or user in (bot_user, "USLACKBOT"):
        return Ignored("a bot wrote it")
    if inner.get("subtype") not in PEOPLES_SUBTYPES or inner.get("hidden"):
        return Ignored(f"message {short(inner.get('subtype'), 40)}")
    if not user or not channel or not ts:
        return Ignored("a message without user, channel or time")
    raw = short(inner.get("text"), TEXT_LIMIT)
    direct = inner.get("channel_type") == "im" or channel.startswith("D")
    mentioned = inner["type"] == "app_mention" or bool(bot_user and f"<@{bot_user}" in raw)
    return Said(
        team=team,
        channel=channel,
        user=user,
        text="\n".join(filter(None, [plain(raw, bot_user), *_files(inner.get("files"))])),
        ts=ts,
        thread_ts=short(inner.get("thread_ts"), 32) or None,
        direct=direct,
        addressed=direct or mentioned,
        event_id=event_id,
    )


def _opened(inner: dict[str, Any], team: str, event_id: str) -> Opened | Ignored:
    thread = mapping(inner.get("assistant_thread"))
    channel, ts = short(thread.get("channel_id"), 64), short(thread.get("thread_ts"), 32)
    if not channel or not ts:
        return Ignored("an assistant thread without channel or time")
    user = short(thread.get("user_id"), 64)
    return Opened(team=team, channel=channel, user=user, thread=ts, event_id=event_id)


def _authorization(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """On whose behalf it was sent; in shared channels `team_id` alone can be somebody else's."""
    found = body.get("authorizations")
    return mapping(found[0]) if isinstance(found, list) and found else {}


def _team(body: Mapping[str, Any], who: Mapping[str, Any]) -> str:
    """The workspace, or the organisation where the app is installed for all of it."""
    places = [who.get("team_id"), body.get("team_id"), body.get("enterprise_id")]
    if who.get("is_enterprise_install"):
        places = [who.get("enterprise_id"), *places]
    return next((text for place in places if (text := short(place, 64))), "")


def _bot_user(who: Mapping[str, Any]) -> str:
    return short(who.get("user_id"), 64) if who.get("is_bot") else ""


def _bot_revoked(inner: Mapping[str, Any]) -> bool:
    return bool(mapping(inner.get("tokens")).get("bot"))


def _files(files: Any) -> list[str]:
    """A line for each attached file: the persona can't see them, but should know of them."""
    names = [mapping(file).get("name") for file in files] if isinstance(files, list) else []
    return [f"[attached file: {short(name, 200)}]" for name in names[:10]]


# Text

_TOKEN = re.compile(r"<([@#!]?)([^<>|\s][^<>|]*)(?:\|([^<>]*))?>")


def plain(text: str, bot_user: str = "") -> str:
    """Slack's text as a person reads it, without mentions of the bot itself."""

    def shown(found: re.Match[str]) -> str:
        sign, what, label = found[1], found[2], found[3]
        if sign == "@" and what == bot_user:
            return ""
        if sign in ("@", "#"):
            return sign + (label or what)
        if sign == "!":  # <!here>, <!subteam^S1|@team>, <!date^…|yesterday>
            return label or "@" + what.partition("^")[0]
        what = what.removeprefix("mailto:").removeprefix("tel:")
        return f"{label} ({what})" if label and label not in what else what

    return html.unescape(_TOKEN.sub(shown, text)).strip()


# What we send


def with_retry(text: str, row: int) -> list[dict[str, Any]]:
    """Blocks: a text and a button that has the event tried once more."""
    button = {
        "type": "button",
        "text": {"type": "plain_text", "text": "Try again"},
        "action_id": RETRY_ACTION,
        "value": str(row),
    }
    return [
        {"type": "section", "text": {"type": "mrkdwn", "text": text[:3_000]}},
        {"type": "actions", "elements": [button]},
    ]


def ephemeral(text: str) -> dict[str, Any]:
    """An answer that only the one who asked sees."""
    return {"response_type": "ephemeral", "text": text}


def prompts(name: str) -> list[dict[str, str]]:
    """What the assistant pane suggests to say."""
    return [
        {"title": "What can you do?", "message": "What can you do for me?"},
        {"title": "What is on your mind?", "message": f"What's on your mind today, {name}?"},
        {"title": "Who else is here?", "message": "Who else works here, and on what?"},
    ]
