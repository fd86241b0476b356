"""The personas' way to the web: one HTTP client with limits, and plain words for what went wrong.

Feeds are read and posts are sent through it. Nothing here trusts the other side: an answer has a
time limit and a size limit, and an error never quotes an address, which may hold a secret.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

TIMEOUT_S = 10.0
MAX_BYTES = 2 * 1024 * 1024


class Unreachable(Exception):
    """The other side could not be used; the text says why in a few words."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outside:
    """One client session, opened when first needed."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET `url`; 200 and 304 are answers, everything else raises Unreachable."""
        answer = await self._request("GET", url, headers=headers or {})
        if answer.status not in (200, 304):
            raise Unreachable(f"HTTP {answer.status}")
        return answer

    async def look(self, url: str, headers: Mapping[str, str] | None = None) -> int:
        """The status of a GET, whichever it is: somebody is there. Raises Unreachable."""
        return (await self._request("GET", url, headers=headers or {})).status

    async def post(self, url: str, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """POST `body` as JSON. Raises Unreachable unless it was accepted."""
        answer = await self._request("POST", url, json=body, headers=headers or {})
        if answer.status // 100 != 2:
            raise Unreachable(f"HTTP {answer.status}")

    async def _request(self, method: str, url: str, **given: Any) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                headers={"User-Agent": "tron (personal feed reader)"},
            )
        try:
            async with self._session.request(method, url, **given) as response:
                body = bytearray()
                async for chunk in response.content.iter_chunked(65_536):
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise Unreachable(f"larger than {MAX_BYTES // 2**20} MB")
                return Answer(status=response.status, headers=response.headers, body=bytes(body))
        except TimeoutError:
            raise Unreachable(f"no answer within {self._timeout_s:g} s") from None
        except aiohttp.InvalidURL:
            raise Unreachable("not an address") from None
        except aiohttp.ClientConnectorDNSError:
            raise Unreachable("unknown host") from None
        except aiohttp.ClientConnectorError:
            raise Unreachable("can't connect") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"connection broke ({type(error).__name__})") from None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
            await asyncio.sleep(0)  # transports close in the next turn of the loop
