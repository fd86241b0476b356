"""The routes Slack calls. They read the raw body, let the app's gate judge it, and answer.

They are public: every request proves itself by its signature. Where Slack is not set up they
answer 503 with how to do it.
"""

from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from tron.errors import NotConfigured, NotFound
from tron.web.contract import promises

if TYPE_CHECKING:
    from integrations.slack.ingress import Acknowledged, Ingress
    from integrations.slack.running import Running

SET_UP = (
    "Slack is not set up. Set SLACK_BOT_TOKEN with SLACK_APP_TOKEN (Socket Mode, no public URL "
    "needed) or with SLACK_SIGNING_SECRET (webhooks), then restart the hub; "
    "integrations/slack/README.md takes five minutes."
)
NO_SECRET = (
    "Slack requests can't be verified: SLACK_SIGNING_SECRET is not set. With Socket Mode alone "
    "these routes stay closed."
)
NO_OAUTH = "Set SLACK_CLIENT_ID and SLACK_CLIENT_SECRET to let workspaces install the app."


def routes(running: "Running | None") -> Blueprint:
    bp = Blueprint("slack", __name__)

    def gate(key: str = "") -> "Ingress":
        if running is None:
            raise NotConfigured(SET_UP)
        found = running.gate(key.lower())
        if found is None and key:
            raise NotFound(f"There is no persona {key!r}.", param="persona")
        if found is None:  # only personas have apps
            raise NotConfigured(SET_UP)
        if not found.app.signing_secret:
            raise NotConfigured(NO_SECRET)
        return found

    async def hand_in(gate: "Ingress") -> Response:
        raw: bytes = await request.get_data(as_text=False)  # type: ignore[assignment]
        told = await gate.http(
            raw,
            request.query_string.decode("latin1"),
            _headers(),
        )
        return _response(told)

    @bp.post("/slack/events")
    @promises("signed", fails=(400, 401, 413))
    async def events() -> Response:
        """Slack's events for the shared app."""
        return await hand_in(gate())

    @bp.post("/slack/events/<persona>")
    @promises("signed", fails=(400, 401, 404, 413))
    async def events_of(persona: str) -> Response:
        """Slack's events for the app of one persona."""
        return await hand_in(gate(persona))

    @bp.post("/slack/commands")
    @promises("signed", fails=(400, 401, 413))
    async def commands() -> Response:
        """The slash command `/tron`."""
        return await hand_in(gate())

    @bp.post("/slack/interactivity")
    @promises("signed", fails=(400, 401, 413))
    async def interactivity() -> Response:
        """Buttons that were pressed."""
        return await hand_in(gate())

    async def by_flow(step: str) -> Response:
        if running is None or running.oauth is None:
            raise NotConfigured(NO_OAUTH)
        query = request.query_string.decode("latin1")
        return _response(await running.browser(step, query, _headers()))

    @bp.get("/slack/install")
    @promises("signed")
    async def install() -> Response:
        """Begin to install the app in a workspace (a page for a browser)."""
        return await by_flow("install")

    @bp.get("/slack/oauth_redirect")
    @promises("signed", fails=(400, 401))
    async def redirected() -> Response:
        """Where Slack sends the browser once the app was allowed (a page for a browser)."""
        return await by_flow("callback")

    return bp


def _headers() -> dict[str, str]:
    """Set, not added: a header that came twice would make two of bolt's content type."""
    return {name.lower(): value for name, value in request.headers.items()}


def _response(told: "Acknowledged") -> Response:
    response = Response(told.body, told.status, content_type=told.content_type)
    for name, values in told.headers.items():
        for value in values:
            response.headers.add(name, value)
    return response
