"""Bolt at the gate: who may speak to the hub, and the acknowledgement.

Each app has an `AsyncApp` whose middleware verifies the signature (HTTP), answers `ssl_check` and
`url_verification`, and drops our own events. The last middleware is ours: it stores what is to be
answered and acknowledges. There are no listeners, so bolt starts nothing behind our back and
nothing goes unhandled. On this path Slack is never called: who the bot is stands in the request.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
import structlog
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.authorization.async_authorize import AsyncAuthorize
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.response import BoltResponse

from integrations.slack import wire
from integrations.slack.apps import App
from integrations.slack.health import Health
from integrations.slack.inbox import Inbox, Letter
from tron.errors import Invalid, TronError

log = structlog.get_logger(__name__)


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """What Slack is answered."""

    status: int
    body: str = ""
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, list[str]] = {}


class Handlers(Protocol):
    """What the ingress hands on; nothing of it waits for an answer."""

    def offer(self, letter: Letter) -> None:
        """A letter was stored and may be answered."""

    async def command(self, app: str, command: wire.Command) -> dict[str, Any] | None:
        """What to say to a command at once; None: it is to be stored and answered later."""

    async def clicked(self, app: str, click: wire.Click) -> None:
        """A button was pressed."""

    async def gone(self, app: str, gone: wire.Gone) -> None:
        """A workspace has thrown the app out."""


class _NoQuestions(AsyncAuthorize):
    """Lets everyone through to us: bolt's own ways ask Slack first, and Slack may be slow."""

    async def __call__(
        self,
        *,
        context: Any,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None,
        **_: Any,
    ) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, user_id=user_id)


class Ingress:
    """One app's gate."""

    def __init__(
        self,
        app: App,
        *,
        inbox: Inbox,
        health: Health,
        handlers: Handlers,
        oauth: AsyncOAuthFlow | None,
    ) -> None:
        self.app = app
        self._inbox = inbox
        self._health = health
        self._handlers = handlers
        self._bolt = AsyncApp(
            name=f"tron-{app.key or 'shared'}",
            logger=_quiet(),
            signing_secret=app.signing_secret,
            authorize=_NoQuestions(),  # type: ignore[no-untyped-call]
            oauth_flow=oauth,  # given so that bolt makes up none from the environment
        )
        self._bolt.middleware(self._take)

    async def http(self, raw: bytes, query: str, headers: Mapping[str, str]) -> Acknowledged:
        """A request to one of the webhooks. Raises Invalid if it can't be read at all."""
        try:
            request = AsyncBoltRequest(body=raw.decode(), query=query, headers={**headers})
        except (ValueError, AttributeError, TypeError, RecursionError):
            raise Invalid("The body could not be read.") from None
        if not isinstance(request.body, dict) or not isinstance(
            request.body.get("event", {}), dict
        ):
            raise Invalid("The body is not what Slack sends.")
        stamp = request.headers.get("x-slack-request-timestamp", [""])[0]
        if not re.fullmatch(r"\d{1,12}", stamp):
            # Bolt's verifier breaks on these.
            return Acknowledged(
                status=401, body='{"error": "invalid request"}', content_type="application/json"
            )
        return acknowledged(await self._bolt.async_dispatch(request))

    async def socket(self, payload: dict[str, Any]) -> Acknowledged:
        """What came through a socket, which proved itself when it was opened."""
        request = AsyncBoltRequest(mode="socket_mode", body=payload)
        return acknowledged(await self._bolt.async_dispatch(request))

    async def _take(self, body: dict[str, Any]) -> BoltResponse:
        try:
            if body.get("type") == "event_callback":
                await self._event(body)
                return BoltResponse(status=200)
            if "command" in body:
                said = await self._command(body)
                return BoltResponse(status=200, body=said)
            clicked = wire.click(body)
            if isinstance(clicked, wire.Click):
                await self._handlers.clicked(self.app.key, clicked)
            return BoltResponse(status=200)
        except TronError as error:
            log.warning("slack.not_accepted", app=self.app.key, error=error.type)
            return BoltResponse(status=error.status, body={"error": error.type})

    async def _event(self, body: dict[str, Any]) -> None:
        event = wire.event(body)
        match event:
            case wire.Ignored():
                log.debug("slack.ignored", app=self.app.key, why=event.why)
            case wire.Gone():
                await self._handlers.gone(self.app.key, event)
            case wire.Opened():
                await self._keep(event)
            case wire.Said():
                if event.addressed or await self._inbox.follows(self.app.key, event):
                    await self._keep(event)

    async def _command(self, form: dict[str, Any]) -> dict[str, Any]:
        command = wire.command(form)
        self._health.heard(self.app.key)
        said = await self._handlers.command(self.app.key, command)
        if said is None:
            await self._keep(command)
            said = wire.ephemeral("One moment…")
        return said

    async def _keep(self, event: wire.Stored) -> None:
        letter = await self._inbox.accept(self.app.key, event)
        if letter is None:
            log.info("slack.duplicate", app=self.app.key, event_id=event.event_id)
            return
        if isinstance(event, wire.Said):
            self._health.heard(self.app.key)
        self._handlers.offer(letter)


def acknowledged(response: BoltResponse) -> Acknowledged:
    """Bolt's answer as ours."""
    kind = response.headers.pop("content-type", ["text/plain; charset=utf-8"])[0]
    return Acknowledged(
        status=response.status,
        body=response.body,
        content_type=kind,
        headers={name: list(values) for name, values in response.headers.items()},
    )


def _quiet() -> logging.Logger:
    """Bolt tells at length what it guesses from the environment; none of it applies here."""
    logger = logging.getLogger("integrations.slack.bolt")
    logger.setLevel(logging.ERROR)
    return logger
