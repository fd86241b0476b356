"""Twilio as the hub sees it. The routes are always there and say how to set it up until it is."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from quart import Blueprint

from integrations.twilio.client import TwilioClient
from integrations.twilio.exchange import Exchange
from integrations.twilio.proof import Proof
from integrations.twilio.routes import routes
from integrations.twilio.texts import Texts
from integrations.twilio.tools import tools
from tron.doctor import Finding
from tron.errors import TronError
from tron.integrations import Channel

if TYPE_CHECKING:
    from tron.hub import Hub


class Twilio:
    """See `tron.integrations.Integration`."""

    name = "twilio"

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._client = TwilioClient(hub.settings)
        self._proof = Proof(hub)
        self._exchange = Exchange(hub.clock)
        self._texts = Texts(hub, self._client)
        hub.toolbox.add(tools(hub, self._exchange, self._client))

    def blueprint(self) -> Blueprint:
        return routes(
            self._hub,
            proof=self._proof,
            exchange=self._exchange,
            client=self._client,
            texts=self._texts,
        )

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        await self._texts.close()
        await self._client.close()

    def channels(self) -> list[Channel]:
        settings = self._hub.settings
        if not self._proof.tokens:
            return []
        live = [c for c in self._hub.switchboard.live if c.record.wire.startswith("twilio")]
        last = max((call.record.started_at for call in live), default=None)
        return [
            Channel(
                name=f"Twilio {settings.twilio_number}".strip(),
                type="phone",
                status="connected" if live else "disconnected",
                last_activity=last,
                routes_to=settings.default_agent,
            )
        ]

    async def check(self) -> AsyncIterator[Finding]:
        settings = self._hub.settings
        if not (settings.twilio_auth_token or settings.twilio_account_sid):
            yield Finding("Twilio", "off", "not set up", "See integrations/twilio/README.md.")
            return
        if not settings.public_url:
            yield Finding(
                "Twilio",
                "failed",
                "TRON_PUBLIC_URL is not set",
                "Set it to the address Twilio reaches this hub at.",
            )
        elif not settings.public_url.startswith("https://"):
            yield Finding(
                "Twilio",
                "warning",
                "TRON_PUBLIC_URL is not https",
                "Media streams are accepted over wss:// only.",
            )
        if not self._client.configured:
            yield Finding(
                "Twilio account",
                "warning",
                "TWILIO_ACCOUNT_SID or TWILIO_AUTH_TOKEN is missing",
                "Without both the hub can't place calls.",
            )
            return
        try:
            status = await self._client.try_account()
        except TronError as error:
            yield Finding("Twilio account", "failed", error.message, "Check SID and token.")
        else:
            good = status == "active"
            yield Finding("Twilio account", "ok" if good else "warning", f"it is {status}")
