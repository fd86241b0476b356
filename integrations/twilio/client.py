"""The hub's calls to Twilio's REST API: place a call, look at one, end or redirect it, send a text.

By Twilio's own SDK, imported when it is first needed. Nothing is tried twice: a call that may
have been placed is not placed again. Errors are the hub's own and hold no numbers of people.
"""

from collections.abc import Awaitable
from typing import Any, TypeVar

import aiohttp
import msgspec
import structlog

from tron.errors import NotConfigured, ProviderError, ProviderRefused, ProviderUnavailable
from tron.settings import Settings

log = structlog.get_logger(__name__)

TIMEOUT_S = 15.0
OVER_ALREADY = 20404
STATUS_EVENTS = ["initiated", "ringing", "answered", "completed"]

T = TypeVar("T")


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A call Twilio has accepted."""

    sid: str
    status: str


class _Http:
    """How the SDK's requests travel. (Its own asynchronous client uses what aiohttp gives up.)"""

    is_async = True

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))

    async def request(
        self,
        method: str,
        url: str,
        params: Any = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the SDK's signature
        allow_redirects: bool = False,
    ) -> Any:
        """What the SDK calls."""
        from twilio.http.response import Response

        headers = dict(headers or {})
        if auth is not None:
            headers["Authorization"] = aiohttp.encode_basic_auth(*auth)
        async with self._session.request(
            method.upper(),
            url,
            params=params,
            data=data,
            headers=headers,
            allow_redirects=allow_redirects,
        ) as answer:
            return Response(answer.status, await answer.text(), answer.headers)

    async def close(self) -> None:
        await self._session.close()


class TwilioClient:
    """See the module."""

    def __init__(self, settings: Settings) -> None:
        self._sid = settings.twilio_account_sid
        self._token = settings.twilio_auth_token.partition(",")[0].strip()
        self._number = settings.twilio_number
        self._url = settings.twilio_api_url.rstrip("/")
        self._client: Any = None
        self._http: _Http | None = None

    @property
    def configured(self) -> bool:
        return bool(self._sid and self._token)

    async def call(self, to: str, *, url: str, status_url: str) -> Placed:
        """Ring `to`; once answered Twilio asks `url` what to do."""
        placed = await self._ask(
            self._account().calls.create_async(
                to=to,
                from_=self._from(),
                url=url,
                method="POST",
                status_callback=status_url,
                status_callback_method="POST",
                status_callback_event=STATUS_EVENTS,
            )
        )
        return Placed(sid=str(placed.sid), status=str(placed.status))

    async def status(self, sid: str) -> str:
        """Of a call, in Twilio's word."""
        return str((await self._ask(self._account().calls(sid).fetch_async())).status)

    async def hang_up(self, sid: str) -> None:
        """End a call, whatever its state; one that is over already stays so."""
        try:
            await self._ask(self._account().calls(sid).update_async(status="completed"))
        except ProviderRefused as error:
            if error.code != str(OVER_ALREADY):
                raise

    async def redirect(self, sid: str, twiml: str) -> None:
        """Have a call that goes on do something else from now on; its socket is closed."""
        await self._ask(self._account().calls(sid).update_async(twiml=twiml))

    async def text(self, to: str, body: str) -> None:
        await self._ask(self._account().messages.create_async(to=to, from_=self._from(), body=body))

    async def try_account(self) -> str:
        """The account's status, for the doctor."""
        return str((await self._ask(self._account().api.account.fetch_async())).status)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    def _from(self) -> str:
        if not self._number:
            raise NotConfigured("TWILIO_PHONE_NUMBER is not set: the number calls come from.")
        return self._number

    def _account(self) -> Any:
        if not self.configured:
            raise NotConfigured(
                "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are needed to call or text somebody; "
                "both are on the first page of Twilio's console."
            )
        if self._client is None:
            from twilio.rest import Client

            self._http = _Http()
            self._client = Client(self._sid, self._token, http_client=self._http)
            self._client.api.base_url = self._url
        return self._client

    async def _ask(self, request: Awaitable[T]) -> T:
        from twilio.base.exceptions import TwilioException, TwilioRestException

        try:
            return await request
        except TwilioRestException as error:
            log.warning("twilio.refused", status=error.status, code=error.code)
            if error.status == 429 or error.status >= 500:
                raise ProviderUnavailable(f"Twilio answered {error.status}.") from None
            refused = ProviderRefused(
                f"Twilio refused: error {error.code}, explained at "
                f"https://www.twilio.com/docs/api/errors/{error.code}",
                status=400,
            )
            refused.code = str(error.code)
            raise refused from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProviderUnavailable(
                f"Twilio could not be reached: {type(error).__name__}."
            ) from None
        except (TwilioException, ValueError):
            raise ProviderError("Twilio's answer could not be read.") from None
