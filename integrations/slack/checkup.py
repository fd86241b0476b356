"""Trying Slack for real, for `tron doctor`: each app's token, its scopes, its socket."""

from collections.abc import AsyncIterator

from integrations.slack.apps import App, Apps
from integrations.slack.client import Refused, SlackClient
from tron.doctor import Finding

NEEDED = ("app_mentions:read", "chat:write", "commands", "im:history")
WANTED = (
    *("assistant:write", "channels:history", "channels:read", "groups:history", "groups:read"),
    "users:read",
)
"""without these it goes on: no thread follow-ups, no names, no `#tron-…` rooms"""


async def check(apps: Apps, client: SlackClient) -> AsyncIterator[Finding]:
    """One finding for each app, and one for each socket."""
    for app in apps.by_key.values():
        name = f"Slack ({app.key})" if app.key else "Slack"
        if app.bot_token:
            yield await _token(name, app, client)
        elif apps.oauth:
            yield Finding(name, "ok", "workspaces install it themselves (OAuth)")
        else:
            hint = "Set SLACK_BOT_TOKEN, or SLACK_CLIENT_ID and SLACK_CLIENT_SECRET."
            yield Finding(name, "failed", "no bot token: it can hear but not answer", hint)
        if app.app_token:
            yield await _socket(f"{name} socket", app, client)
        elif not app.signing_secret:
            hint = "Set SLACK_APP_TOKEN (Socket Mode), or SLACK_SIGNING_SECRET (webhooks)."
            yield Finding(f"{name} events", "failed", "no way for Slack to reach the hub", hint)


async def _token(name: str, app: App, client: SlackClient) -> Finding:
    try:
        answer = await client.call(app.bot_token, "auth.test", patience_s=5.0)
    except Refused as fault:
        hint = "Copy the Bot User OAuth Token again from OAuth & Permissions; see the README."
        return Finding(name, "failed", f"auth.test: {fault.error}", hint)
    who = f"{answer.get('user')} in {answer.get('team')}"
    headers = {key.lower(): value for key, value in answer["headers"].items()}
    granted = {scope.strip() for scope in headers.get("x-oauth-scopes", "").split(",") if scope}
    if not granted:
        return Finding(name, "ok", f"{who}; Slack did not say which scopes it has")
    hint = "Add them under OAuth & Permissions, then install the app again."
    if missing := [scope for scope in NEEDED if scope not in granted]:
        return Finding(name, "failed", f"{who} lacks the scopes {', '.join(missing)}", hint)
    if missing := [scope for scope in WANTED if scope not in granted]:
        return Finding(name, "warning", f"{who} lacks the scopes {', '.join(missing)}", hint)
    return Finding(name, "ok", f"{who}, with every scope it needs")


async def _socket(name: str, app: App, client: SlackClient) -> Finding:
    try:
        await client.call(app.app_token, "apps.connections.open", patience_s=5.0)
    except Refused as fault:
        hint = "Make an app-level token with connections:write, and turn Socket Mode on."
        return Finding(name, "failed", f"apps.connections.open: {fault.error}", hint)
    return Finding(name, "ok", "Slack hands out a socket")
