"""One speech provider's HTTP and WebSocket API, with every way it can fail made a SpeechFailed.

Owns the connections to it and how long it may stay silent. What is asked and how the answer is
read is the engine's own business.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from tron.speech.contract import SpeechFailed

CONNECT_S = 5.0
MESSAGE_BYTES = 4 * 1024 * 1024


class Remote:
    """See the module."""

    def __init__(
        self, name: str, base_url: str, headers: Mapping[str, str], *, silence_s: float
    ) -> None:
        """`silence_s`: longest wait for a first or further part of an answer."""
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers)
        self._silence_s = silence_s
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def request(
        self, method: str, path: str, *, patience: float = 1.0, **given: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is not an error. `patience`: times the usual silence. Within it, too,
        what the network does wrong is a SpeechFailed."""
        timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_S, sock_read=self._silence_s * patience
        )
        try:
            async with self._open().request(
                method, self._base_url + path, timeout=timeout, **given
            ) as response:
                if response.status >= 400:
                    raise self._refused(response.status)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.failed(error) from error

    async def json(self, method: str, path: str, *, patience: float = 1.0, **given: Any) -> Any:
        """The decoded body of an answer."""
        async with self.request(method, path, patience=patience, **given) as response:
            raw = await response.read()
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            raise self.failed(error) from error

    async def pcm(self, path: str, **given: Any) -> AsyncGenerator[bytes, None]:
        """A streamed answer of 16-bit audio, in chunks of whole samples."""
        async with self.request("POST", path, **given) as response:
            if response.content_type.partition("/")[0] == "text" or "json" in response.content_type:
                raise SpeechFailed(f"{self.name} answered with something that is not audio.")
            odd = b""
            async for chunk in response.content.iter_any():
                whole = odd + chunk
                cut = len(whole) & ~1
                odd = whole[cut:]
                if cut:
                    yield whole[:cut]

    async def socket(self, path: str, params: Mapping[str, str]) -> aiohttp.ClientWebSocketResponse:
        """An open WebSocket."""
        url = "ws" + self._base_url[len("http") :] + path  # in capitals, too
        try:
            async with asyncio.timeout(CONNECT_S):
                return await self._open().ws_connect(
                    url, params=params, heartbeat=20, max_msg_size=MESSAGE_BYTES
                )
        except aiohttp.WSServerHandshakeError as error:
            raise self._refused(error.status) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.failed(error) from error

    def failed(self, error: BaseException | str) -> SpeechFailed:
        """Something on the way that may be better next time."""
        kind = error if isinstance(error, str) else type(error).__name__
        failure = SpeechFailed(f"{self.name} failed ({kind}).")
        failure.retryable = True
        return failure

    def _refused(self, status: int) -> SpeechFailed:
        failure = SpeechFailed(f"{self.name} answered {status}.", code=f"status_{status}")
        failure.retryable = status in (408, 409, 429) or status >= 500
        return failure

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(headers=self._headers)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
