"""The calls we make to Slack: its Web API through slack_sdk, with patience and plain errors.

A 429 is waited out as its `Retry-After` says, for at most the caller's patience; a broken
connection or a 5xx is tried again. Everything else Slack refuses is raised as `Refused` with
Slack's own word for it. Tokens are given with each call and appear nowhere else.
"""

import asyncio
from collections import OrderedDict
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

log = structlog.get_logger(__name__)

TIMEOUT_S = 15
TRIES = 3
PAUSE_S = 0.5
PATIENCE_S = 120.0
CLIENTS_KEPT = 64
TOKEN_IS_BAD = frozenset(
    ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive")
)
FORM_METHODS = (
    *("auth.test", "conversations.info", "users.info"),
    *("apps.connections.open", "oauth.v2.access"),
)
"""methods that read no JSON body"""


class Refused(Exception):
    """Slack said no, in its own word; `rate_limited` after all patience; `unreachable`."""

    def __init__(self, method: str, error: str) -> None:
        super().__init__(f"{method}: {error}")
        self.method = method
        self.error = error


class SlackClient:
    """One connection pool for every workspace."""

    def __init__(self, api_url: str) -> None:
        self.api_url = api_url.rstrip("/") + "/"
        self._session: aiohttp.ClientSession | None = None
        self._clients: OrderedDict[str, AsyncWebClient] = OrderedDict()

    async def call(
        self,
        token: str,
        method: str,
        *,
        patience_s: float = PATIENCE_S,
        tries: int = TRIES,
        **given: Any,
    ) -> dict[str, Any]:
        """Slack's answer to `method`. Raises Refused.

        `tries`: 1 for what must not happen twice, because a broken connection leaves open whether
        it happened.
        """
        tried, waited = 0, 0.0
        client = self.web(token)
        given = {name: value for name, value in given.items() if value is not None}
        form = method in FORM_METHODS
        while True:
            try:
                answer = await client.api_call(
                    method, data=given if form else None, json=None if form else given
                )
                return {**answer.data, "headers": dict(answer.headers)}  # type: ignore[dict-item]
            except SlackApiError as fault:
                status = fault.response.status_code
                pause = _retry_after(fault.response.headers) if status == 429 else PAUSE_S
                error = _error_of(fault)
                if status == 429:
                    if waited + pause > patience_s:
                        raise Refused(method, "rate_limited") from None
                    waited += pause
                    log.info("slack.rate_limited", method=method, pause_s=pause)
                elif status < 500 or (tried := tried + 1) >= tries:
                    raise Refused(method, error) from None
            except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError):
                tried += 1
                pause = PAUSE_S * 2**tried
                if tried >= tries:
                    raise Refused(method, "unreachable") from None
            await asyncio.sleep(pause)

    def web(self, token: str) -> AsyncWebClient:
        """slack_sdk's client for `token`, on our connections and without retries of its own."""
        if token in self._clients:
            self._clients.move_to_end(token)
            return self._clients[token]
        client = AsyncWebClient(
            token=token or None,
            base_url=self.api_url,
            timeout=TIMEOUT_S,
            session=self.session,
            retry_handlers=[],
        )
        self._clients[token] = client
        if len(self._clients) > CLIENTS_KEPT:
            self._clients.popitem(last=False)
        return client

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                connector=aiohttp.TCPConnector(limit=200),
            )
        return self._session

    async def respond(self, url: str, body: dict[str, Any]) -> None:
        """Send `body` to a response URL that Slack gave. Raises Refused."""
        for tried in range(1, TRIES + 1):
            pause = PAUSE_S * 2**tried
            try:
                async with self.session.post(url, json=body) as answer:
                    if answer.status < 300:
                        return
                    if answer.status == 429:
                        pause = _retry_after(answer.headers)
                    elif answer.status < 500:
                        raise Refused("response_url", f"http_{answer.status}")
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            if tried < TRIES:
                await asyncio.sleep(pause)
        raise Refused("response_url", "unreachable")

    async def close(self) -> None:
        self._clients.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None
            await asyncio.sleep(0)  # transports close in the next turn of the loop


def _retry_after(headers: Any) -> float:
    for name, value in headers.items():
        if name.lower() == "retry-after":
            try:
                return max(0.0, float(value))
            except ValueError:
                break
    return 1.0


def _error_of(fault: SlackApiError) -> str:
    data = fault.response.data
    found = data.get("error") if isinstance(data, dict) else None
    return str(found or f"http_{fault.response.status_code}")[:100]
