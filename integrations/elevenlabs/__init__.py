"""ElevenLabs: its agents protocol served by the hub, and its platform using the hub's mind.

`ElevenLabs` ties the parts of this wire together: who may come in, what is known of a caller,
what was told after a conversation, and agents kept there that think with the hub. Their custom
LLM requests come in at `/v1/elevenlabs-llm` (`tron/web/openai.py`).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from quart import Blueprint

from integrations.elevenlabs.client import ElevenLabsClient
from integrations.elevenlabs.conversations import Conversations
from integrations.elevenlabs.links import Links
from integrations.elevenlabs.routes import routes
from tron.agents.persona import Persona
from tron.clock import DAY_MS
from tron.conversation.caller import identify
from tron.doctor import Finding
from tron.errors import NotConfigured, Overloaded, ProviderError
from tron.integrations import Channel
from tron.supervise import Tasks

if TYPE_CHECKING:
    from tron.hub import Hub

SOCKETS = 1_000
"""at once; those by voice are further limited by TRON_MAX_CALLS"""
LARGE_WEBHOOKS = 4
"""with a call's sound in them, being read at once"""
END_S = 10.0
PRUNE_EVERY_S = 3600.0


class Stoppable(Protocol):
    """A socket that is being served."""

    def stop(self) -> None:
        """End soon; the hub is stopping."""
        ...


def attach(hub: "Hub") -> "ElevenLabs":
    """The entry point."""
    return ElevenLabs(hub)


class ElevenLabs:
    """See the module; it is an `Integration`."""

    name = "elevenlabs"

    def __init__(self, hub: "Hub") -> None:
        self.hub = hub
        settings = hub.settings
        self.client = ElevenLabsClient(settings.elevenlabs_api_url, settings.elevenlabs_api_key)
        self.links = Links(hub.store, hub.clock)
        self.conversations = Conversations(settings, hub.store, hub.clock)
        self.large_webhooks = asyncio.Semaphore(LARGE_WEBHOOKS)
        self.endings = Tasks("elevenlabs endings")
        self._upkeep = Tasks("elevenlabs upkeep")
        self.counts: Counter[str] = Counter()
        """webhooks by type, since this hub started"""
        self._sockets: set[Stoppable] = set()
        self._empty = asyncio.Event()
        self._stopping = False
        self._opened = 0
        self._last_at: int | None = None

    @contextmanager
    def place_for(self, socket: Stoppable) -> Iterator[None]:
        """A place for one more socket. Raises Overloaded."""
        if self._stopping:
            raise Overloaded("The hub is shutting down.", retry_after=30)
        if len(self._sockets) >= SOCKETS:
            raise Overloaded("Too many conversations are going on.", retry_after=10)
        self._sockets.add(socket)
        self._opened += 1
        self._last_at = self.hub.clock.now_ms()
        try:
            yield
        finally:
            self._sockets.discard(socket)
            if not self._sockets:
                self._empty.set()

    def heard(self, webhook: str) -> None:
        """A webhook of this type came."""
        known = ("post_call_transcription", "post_call_audio", "call_initiation_failure")
        self.counts[webhook if webhook in known else "unknown"] += 1
        self._last_at = self.hub.clock.now_ms()

    async def personal(
        self, persona: Persona, client_id: str, *, caller: str, call_sid: str
    ) -> dict[str, Any]:
        """How a conversation with somebody who rings begins, in ElevenLabs' own shape.

        Every variable is always there, empty where nothing is known: an agent's texts that name a
        missing one fail the call.
        """
        person = identify({}, {"elevenlabs_extra_body": {"caller_id": caller}}, now_ns=0)
        contact = await self.hub.contacts.by_phone(client_id, caller) if person.known else None
        name = contact.name if contact else ""
        hello = f"Hello {name}" if name else "Hello"
        extra = {"caller_id": person.id} if person.known else {}
        if call_sid:
            extra["conversation_id"] = call_sid
        data: dict[str, Any] = {
            "type": "conversation_initiation_client_data",
            "dynamic_variables": {
                "agent_name": persona.name,
                "caller_name": name,
                "caller_company": (contact.company or "") if contact else "",
                "caller_role": (contact.role or "") if contact else "",
            },
            "conversation_config_override": {
                "agent": {"first_message": f"{hello}, this is {persona.name}."}
            },
            "custom_llm_extra_body": extra,
        }
        return data | ({"user_id": person.id} if person.known else {})

    async def point(self, agent_id: str, agent: str) -> str:
        """Let an agent kept at ElevenLabs think with `agent`; returns the id of its token.

        Raises NotConfigured (a setting is missing, and which) or a ProviderError.
        """
        base = self.hub.settings.public_url.rstrip("/")
        if not base:
            raise NotConfigured("TRON_PUBLIC_URL is not set: ElevenLabs must reach the hub by it.")
        token_id, token = await self.hub.security.issue(
            f"elevenlabs {agent_id[:64]}", ["chat"], None
        )
        try:
            await self.client.point_agent(
                agent_id, hub_url=base, agent=agent, token=token, token_id=token_id
            )
        except BaseException:
            await self.hub.security.revoke_token(token_id)
            raise
        return token_id

    # As an integration

    def blueprint(self) -> Blueprint:
        return routes(self)

    async def start(self) -> None:
        keep_ms = self.hub.settings.history_days * DAY_MS
        self._upkeep.repeat(
            partial(self.conversations.prune, keep_ms), "forgetting", every_s=PRUNE_EVERY_S
        )

    async def close(self) -> None:
        await self._upkeep.close()
        self._stopping = True
        self._empty.clear()
        for socket in tuple(self._sockets):
            socket.stop()
        if self._sockets:
            with suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._empty.wait()
        await self.endings.drain(END_S)
        await self.endings.close()
        await self.client.close()

    def channels(self) -> list[Channel]:
        used = self._opened + self.counts.total()
        if not (used or self.client.configured or self.hub.settings.elevenlabs_webhook_secret):
            return []
        trouble = self.client.trouble
        connected = self._sockets or self.counts or self.client.worked
        return [
            Channel(
                name="elevenlabs",
                type="phone",
                status="error" if trouble else "connected" if connected else "disconnected",
                message_count=used,
                last_activity=self._last_at,
                routes_to=self.hub.settings.default_agent,
                error=trouble or None,
            )
        ]

    async def check(self) -> AsyncIterator[Finding]:
        if self.hub.settings.elevenlabs_webhook_secret:
            yield Finding("ElevenLabs webhooks", "ok", "a secret is set")
        else:
            hint = "Set ELEVENLABS_WEBHOOK_SECRET."
            yield Finding("ElevenLabs webhooks", "off", "not set up", hint)
        if not self.client.configured:
            yield Finding("ElevenLabs key", "off", "not set up", "Set ELEVENLABS_API_KEY.")
            return
        try:
            await self.client.try_key()
        except (ProviderError, NotConfigured) as error:
            yield Finding("ElevenLabs key", "failed", error.message, "Check ELEVENLABS_API_KEY.")
        else:
            yield Finding("ElevenLabs key", "ok", "the key works")
