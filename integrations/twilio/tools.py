"""What personas can do with Twilio: send a text message, place a call.

Both reach a person and neither can be taken back, and Twilio knows no key that would make a second
try the same as the first: so an interrupted one is not repeated unless somebody says so. What is
not set up refuses and names the settings. A step that places a call waits until it was answered or
nobody will; the talk itself goes on without it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from integrations.twilio.client import TwilioClient
from integrations.twilio.exchange import OVER, Errand, Exchange, Progress
from integrations.twilio.numbers import callable_number
from integrations.twilio.twiml import LONGEST_TEXT
from tron.errors import ProviderError, ProviderRefused, ProviderUnavailable
from tron.tools.contract import Tool, ToolContext, ToolFailed

if TYPE_CHECKING:
    from tron.hub import Hub

RINGS_S = 75.0
"""Twilio gives up after 60"""
LOOK_S = 0.5
ANSWERED = "in-progress"
NOT_REACHED = {
    "busy": "the line was busy",
    "no-answer": "nobody answered",
    "failed": "the carrier could not connect it",
    "canceled": "it was ended before anybody answered",
}

PhoneNumber = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=40,
        description="Their number with its country code, such as +49 30 901820.",
    ),
]


class SendSms(msgspec.Struct):
    to: PhoneNumber
    text: Annotated[
        str,
        Meta(
            min_length=1, max_length=LONGEST_TEXT, description="The message, as it is to be read."
        ),
    ]


class PlaceCall(msgspec.Struct):
    to: PhoneNumber
    message: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2_000,
            description="What you say first when they answer: who is calling, and why.",
        ),
    ]


async def place(
    *, exchange: Exchange, client: TwilioClient, base: str, to: str, errand: Errand
) -> Progress:
    """Have `to` rung up; `base` is the hub's address as Twilio reaches it. Raises ProviderError,
    NotConfigured."""
    ticket = exchange.send_out(errand)
    placed = await client.call(
        to,
        url=f"{base}/twilio/voice?{urlencode({'errand': ticket})}",
        status_url=f"{base}/twilio/status",
    )
    progress = Progress(sid=placed.sid, status=placed.status)
    exchange.report(progress)
    return progress


def tools(hub: "Hub", exchange: Exchange, client: TwilioClient) -> list[Tool[Any]]:
    """The tools of this file."""
    phone = _Phone(hub, exchange, client)
    return [
        Tool(
            "send_sms",
            "Send a text message to somebody's telephone.",
            SendSms,
            phone.text,
            effect="send",
            why_not=phone.why_not(("TWILIO_PHONE_NUMBER",)),
        ),
        Tool(
            "place_call",
            "Ring somebody up and talk with them: you say `message` when they answer, and the "
            "talk goes on from there. Brings back whether they answered, not what they said.",
            PlaceCall,
            phone.call,
            effect="spend",
            timeout_s=RINGS_S + 30,
            why_not=phone.why_not(("TWILIO_PHONE_NUMBER", "TRON_PUBLIC_URL")),
        ),
    ]


class _Phone:
    def __init__(self, hub: "Hub", exchange: Exchange, client: TwilioClient) -> None:
        self._hub = hub
        self._exchange = exchange
        self._client = client

    def why_not(self, needed: tuple[str, ...]) -> Callable[[Any], str | None]:
        settings = self._hub.settings
        values = {
            "TWILIO_ACCOUNT_SID": settings.twilio_account_sid,
            "TWILIO_AUTH_TOKEN": settings.twilio_auth_token,
            "TWILIO_PHONE_NUMBER": settings.twilio_number,
            "TRON_PUBLIC_URL": settings.public_url,
        }
        names = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", *needed)
        missing = [name for name in names if not values[name]]

        def check(args: SendSms | PlaceCall) -> str | None:
            if missing:
                return f"Twilio is not set up for that here: {', '.join(missing)} missing."
            try:
                callable_number(args.to)
            except ValueError as error:
                return str(error)
            return None

        return check

    async def text(self, _: ToolContext, args: SendSms) -> str:
        number = callable_number(args.to)
        try:
            await self._client.text(number, args.text)
        except ProviderRefused as refused:
            raise ToolFailed(f"The message was not sent. {refused.message}") from None
        except ProviderUnavailable as error:
            raise ToolFailed(
                f"Whether the message was sent is not known. {error.message}"
            ) from None
        return f"Twilio has taken the message for {number}; whether it arrives is not reported."

    async def call(self, context: ToolContext, args: PlaceCall) -> str:
        self._hub.switchboard.admit()
        number = callable_number(args.to)
        placing = self._hub.background.start(
            place(
                exchange=self._exchange,
                client=self._client,
                base=self._hub.settings.public_url.rstrip("/"),
                to=number,
                errand=Errand(agent=context.process.agent, message=args.message),
            ),
            "placing a call",
        )
        try:
            placed = await asyncio.shield(placing)
            status = await self._came_to(placed.sid)
        except ProviderRefused as refused:
            raise ToolFailed(f"The call was not placed. {refused.message}") from None
        except ProviderUnavailable as error:
            raise ToolFailed(f"Whether the call was placed is not known. {error.message}") from None
        except asyncio.CancelledError:  # stopped before or while it rings: nobody would talk
            with suppress(ProviderError):
                await self._client.hang_up((await placing).sid)
            raise
        if status in NOT_REACHED:
            raise ToolFailed(f"{number} was not reached: {NOT_REACHED[status]}.")
        if status == ANSWERED:
            return f"{number} answered, and the talk has begun (call {placed.sid})."
        if status in OVER:
            return f"{number} answered; the call is over already (call {placed.sid})."
        return f"{number} was rung; whether anybody answered is not known (call {placed.sid})."

    async def _came_to(self, sid: str) -> str:
        """How the ringing ended, in Twilio's word; an earlier word if that is not known."""
        until = self._hub.clock.monotonic() + RINGS_S
        status = ""
        while self._hub.clock.monotonic() < until:
            known = self._exchange.progress(sid)
            status = known.status if known is not None else ""
            if status == ANSWERED or status in OVER:
                return status
            await asyncio.sleep(LOOK_S)
        try:  # its reports may have gone to another hub
            return await self._client.status(sid)
        except (ProviderRefused, ProviderUnavailable):
            return status
