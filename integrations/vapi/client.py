"""The hub's calls to VAPI: placing a phone call, controlling one, asking whether the key works.

Placing a call is not idempotent: it is tried again only where VAPI can't have taken it (no
connection, 429, 503), never after a timeout, so nobody is rung twice. Errors are the hub's own.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import structlog

from tron.errors import (
    NotConfigured,
    ProviderBroke,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
)

log = structlog.get_logger(__name__)

TIMEOUT_S = 30.0
TRIES = 4
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
NO_KEY = "VAPI_API_KEY is not set: it is the private key from VAPI's console."
_DIGITS = re.compile(r"\+?\d[\d\s().-]{4,}\d")


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A call that VAPI has accepted."""

    id: str
    status: str = "queued"


class VapiClient:
    """See the module. One session, opened when first needed."""

    def __init__(
        self,
        api_url: str,
        api_key: str,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._api_key = api_key
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None
        self.trouble = ""
        """why the last request failed; empty after one that worked"""
        self.worked = False
        """whether any request has worked"""

    @property
    def configured(self) -> bool:
        return bool(self._api_key)

    async def place_call(self, body: dict[str, Any]) -> Placed:
        """Ask VAPI to ring somebody. Raises NotConfigured or a ProviderError."""
        raw = await self._request("POST", "/call", body)
        try:
            return msgspec.json.decode(raw, type=Placed)
        except msgspec.MsgspecError:
            raise ProviderBroke(
                "VAPI accepted the call, but its answer can't be read; the call may take place."
            ) from None

    async def control(self, url: str, body: dict[str, Any]) -> None:
        """Have VAPI do something with a call that goes on, at its control URL, once. The URL is
        its own proof. Raises a ProviderError."""
        await self._once("POST", url, body, headers={})

    async def try_key(self) -> None:
        """Ask for something harmless. Raises NotConfigured or a ProviderError."""
        await self._request("GET", "/call?limit=1", None)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        if not self._api_key:
            raise NotConfigured(NO_KEY)
        try:
            answer = await self._tried(method, path, body)
        except (ProviderError, NotConfigured) as error:
            self.trouble = error.message
            raise
        self.trouble, self.worked = "", True
        return answer

    async def _tried(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        pause = FIRST_PAUSE_S
        for left in range(TRIES - 1, -1, -1):
            try:
                url = f"{self._api_url}{path}"
                headers = {"Authorization": f"Bearer {self._api_key}"}
                return await self._once(method, url, body, headers=headers)
            except ProviderUnavailable as error:
                if not left:
                    raise
                wait = pause if error.retry_after is None else error.retry_after
                log.info("vapi.retrying", error=error.code, wait_s=wait)
            await self._sleep(min(wait, LONGEST_PAUSE_S))
            pause *= 2
        raise AssertionError("unreachable")

    async def _once(
        self, method: str, url: str, body: dict[str, Any] | None, *, headers: dict[str, str]
    ) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._session.request(
                method, url, headers=headers, json=body, allow_redirects=False
            ) as answer:
                raw = await answer.content.read(1_000_000)
                if answer.status // 100 == 2:
                    return raw
                raise _refusal(answer.status, raw, answer.headers.get("Retry-After"))
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL):
            raise ProviderUnavailable("VAPI can't be reached.", code="vapi_unreachable") from None
        except TimeoutError:
            raise ProviderBroke(
                f"VAPI did not answer within {TIMEOUT_S:g} s; what was asked may have been done.",
                code="vapi_timeout",
            ) from None
        except aiohttp.ClientError:
            raise ProviderBroke(
                "The connection to VAPI broke; what was asked may have been done.",
                code="vapi_connection",
            ) from None


def _refusal(status: int, raw: bytes, retry_after: str | None) -> ProviderError | NotConfigured:
    if status in (401, 403):
        return NotConfigured("VAPI refused the key (VAPI_API_KEY).", code="vapi_key")
    if status in (429, 503):
        wait = float(retry_after) if retry_after and retry_after.isdecimal() else None
        return ProviderUnavailable(
            f"VAPI is busy (HTTP {status}).", code="vapi_busy", retry_after=wait
        )
    if status >= 500:
        return ProviderBroke(
            f"VAPI failed (HTTP {status}); what was asked may have been done.", code="vapi_failed"
        )
    return ProviderRefused(
        f"VAPI refused: {_reason(raw) or f'HTTP {status}'}",
        status=status if status in (400, 413, 422) else 502,
    )


def _reason(raw: bytes) -> str:
    """VAPI's own words, without anybody's number."""
    try:
        said = msgspec.json.decode(raw, type=dict[str, Any]).get("message", "")
    except (msgspec.MsgspecError, RecursionError):
        return ""
    words = "; ".join(map(str, said)) if isinstance(said, list) else str(said)
    return _DIGITS.sub("…", " ".join(words.split()))[:300]
