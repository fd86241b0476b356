"""Slack as one app sees it in one workspace: calls with the right token, and who is who.

A token from the settings serves the workspace it was made for; every other workspace has its
installation. Names of people and channels are asked once and kept for a while, boundedly.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from integrations.slack.apps import Apps
from integrations.slack.client import TOKEN_IS_BAD, Refused, SlackClient
from integrations.slack.health import Health
from integrations.slack.installations import Installations
from tron.clock import Clock

NAMES_KEPT = 2_000
NAMES_S = 600.0
AWAY_S = 20.0
NOT_SAID = ("missing_scope", "user_not_found", "user_not_visible", "channel_not_found")
REFUSED_S = 3_600.0
OUTSIDE = ("is_restricted", "is_ultra_restricted", "is_stranger", "is_bot", "deleted")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in a workspace."""

    name: str
    admin: bool
    member: bool
    """of this workspace in full: no guest, nobody of another organisation, no bot"""


class Workspaces:
    """Every workspace this hub talks to."""

    def __init__(
        self,
        *,
        apps: Apps,
        client: SlackClient,
        installations: Installations,
        health: Health,
        clock: Clock,
    ) -> None:
        self._apps = apps
        self._client = client
        self._installations = installations
        self._health = health
        self._clock = clock
        self._known: OrderedDict[tuple[str, str, str], tuple[Any, float]] = OrderedDict()
        self._refused: dict[tuple[str, str, str], float] = {}

    def calls(self, app: str, team: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        """A function that calls Slack for `app` in `team`: `call(method, **arguments)`."""

        async def call(method: str, **given: Any) -> dict[str, Any]:
            return await self.call(app, team, method, **given)

        return call

    async def call(self, app: str, team: str, method: str, **given: Any) -> dict[str, Any]:
        """Raises Refused; `not_installed` where there is no token."""
        token = await self._token(app, team)
        if token is None:
            self._health.failed(app, "not installed in that workspace")
            raise Refused(method, "not_installed")
        try:
            return await self._client.call(token, method, **given)
        except Refused as fault:
            if fault.error not in TOKEN_IS_BAD:
                raise
            fresh = await self._token(app, team)
            if fresh is None or fresh == token:  # nobody rotated it meanwhile
                self._health.failed(
                    app, f"Slack refuses the token: {fault.error}", disconnected=True
                )
                raise
            return await self._client.call(fresh, method, **given)

    async def _token(self, app: str, team: str) -> str | None:
        found = self._apps.get(app)
        if found is not None and found.bot_token:
            return found.bot_token
        return await self._installations.token(team) if self._apps.oauth else None

    def ours(self, app: str) -> bool:
        """Whether the operator installed the app by hand, rather than strangers by OAuth."""
        found = self._apps.get(app)
        return found is not None and bool(found.bot_token)

    async def person(self, app: str, team: str, user: str) -> Person | None:
        """Who `user` is; None if Slack won't say."""
        answer = await self._ask(app, team, "users.info", user=user)
        found = (answer or {}).get("user")
        if not isinstance(found, dict):
            return None
        profile = found.get("profile") or {}
        name = profile.get("display_name") or found.get("real_name") or found.get("name") or ""
        return Person(
            name=str(name)[:80],
            admin=bool(found.get("is_admin") or found.get("is_owner")),
            member=_home(found) in ("", team) and not any(found.get(mark) for mark in OUTSIDE),
        )

    async def channel_name(self, app: str, team: str, channel: str) -> str:
        """Empty if Slack won't say."""
        answer = await self._ask(app, team, "conversations.info", channel=channel)
        return str(((answer or {}).get("channel") or {}).get("name") or "").lower()

    async def _ask(self, app: str, team: str, method: str, **about: str) -> dict[str, Any] | None:
        key = (team, method, next(iter(about.values())))
        found = self._known.get(key)
        if found is not None and found[1] > self._clock.monotonic():
            return found[0]  # type: ignore[no-any-return]
        try:
            answer = await self.call(app, team, method, patience_s=2.0, **about)
            keep_s = NAMES_S
        except Refused as fault:  # remembered too: what is not granted is not asked for each time
            answer, keep_s = None, NAMES_S if fault.error in NOT_SAID else AWAY_S
        self._known[key] = (answer, self._clock.monotonic() + keep_s)
        if len(self._known) > NAMES_KEPT:
            self._known.popitem(last=False)
        return answer

    async def respond(self, url: str, body: dict[str, Any]) -> None:
        """Raises Refused."""
        await self._client.respond(url, body)

    def may(self, app: str, team: str, what: str) -> bool:
        """Whether `what` is worth a try there: it was not refused within the last hour."""
        return self._refused.get((app, team, what), 0.0) <= self._clock.monotonic()

    def cannot(self, app: str, team: str, what: str) -> None:
        """Slack does not grant it."""
        self._refused[app, team, what] = self._clock.monotonic() + REFUSED_S
        while len(self._refused) > NAMES_KEPT:
            self._refused.pop(next(iter(self._refused)))


def _home(user: dict[str, Any]) -> str:
    """The workspace a user belongs to; the organisation, for an app installed in all of it."""
    organisation = user.get("enterprise_user")
    if isinstance(organisation, dict) and organisation.get("enterprise_id"):
        return str(organisation["enterprise_id"])
    return str(user.get("team_id") or "")
