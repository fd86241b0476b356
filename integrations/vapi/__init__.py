"""VAPI: it carries the audio of a phone call, the hub thinks and remembers.

`Vapi` ties the parts of this wire together: it takes note of what VAPI tells, hands what VAPI
asks to `answers.py`, places calls, and keeps summaries going. VAPI's model requests come in at
`/chat/completions` like anybody's.
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

import structlog
from quart import Blueprint

from integrations.vapi import voice, wire
from integrations.vapi.answers import Answers
from integrations.vapi.client import NO_KEY, Placed, VapiClient
from integrations.vapi.ledger import Ledger
from integrations.vapi.proof import Proof
from integrations.vapi.routes import routes
from integrations.vapi.summaries import Summaries
from integrations.vapi.wire import Event, Json
from tron.conversation.sessions import call_key
from tron.conversation.turns import Caller
from tron.doctor import Finding
from tron.errors import Invalid, NotConfigured, ProviderError, StorageUnavailable
from tron.integrations import Channel
from tron.storage.tables import HOUSE

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

SAID = ("transcript", "speech.recognized", "assistant.message")
NOTED = (
    "call.started",
    "status-update",
    "speech-update",
    "conversation-update",
    "user-interrupted",
    "model-output",
    "assistant.started",
    "assistant.speechStarted",
    "transfer-update",
    "language-change-detected",
    "hang",
    "voice-input",
    "phone-call-control",
    "call.deleted",
    "call.delete.failed",
    "call.artifact.upload",
    "chat.created",
    "chat.deleted",
    "session.created",
    "session.updated",
    "session.deleted",
)
"""types that need no answer; besides these and those answered, a type counts as `unknown`"""
VARIABLE_CHARS = 200


def attach(hub: "Hub") -> "Vapi":
    """The entry point."""
    return Vapi(hub)


class Vapi:
    """See the module; it is an `Integration`."""

    name = "vapi"

    def __init__(self, hub: "Hub") -> None:
        self.hub = hub
        self.proof = Proof(hub.settings)
        self.ledger = Ledger(hub.store, hub.clock, hub.id)
        self.client = VapiClient(hub.settings.vapi_api_url, hub.settings.vapi_api_key)
        self.counts: Counter[str] = Counter()
        """events by type, since this hub started"""
        self._answers = Answers(hub, self.ledger, self.client)
        self._summaries = Summaries(hub, self.ledger)
        self._last_event: int | None = None

    # Events

    async def handle(self, event: Event, *, base_url: str) -> Json | None:
        """Take note of an event; what VAPI waits for, if anything.

        Raises StorageUnavailable where something must not be lost and could not be stored.
        """
        if not self._count(event):
            log.info("vapi.unknown_event", event_type=event.type)
            return None
        if answer := self._answers.by_type.get(event.type):
            return await answer(event, base_url)
        if not event.call_id:
            return None
        if event.type in wire.ENDINGS:
            await self._ended(event)
        elif event.type == "status-update":
            await self._status(event)
        elif event.type in ("call.started", "assistant.started"):
            await self._started(event)
        elif event.type in SAID and (line := wire.line_of(event)):
            await self.ledger.seen(event, self._answers.persona(event).id, line=line)
        return None

    async def speak(self, event: Event) -> AsyncGenerator[bytes, None]:
        """The sound of a `voice-request`; see `voice.speak`."""
        self._count(event)
        return await voice.speak(self.hub, event, self._answers.persona(event))

    def _count(self, event: Event) -> bool:
        """Count it; whether its type is known."""
        known = event.type in (*self._answers.by_type, *wire.ENDINGS, *SAID, *NOTED, voice.TYPE)
        self.counts[event.type if known else "unknown"] += 1
        self._last_event = self.hub.clock.now_ms()
        return known

    async def _started(self, event: Event) -> None:
        persona = self._answers.persona(event)
        await self.ledger.seen(event, persona.id, status="in-progress")
        await self._answers.open_session(event, persona)

    async def _status(self, event: Event) -> None:
        status = wire.text(event.body.get("status"), 32)
        if status == "ended":
            await self._ended(event)
        elif status == "in-progress":
            await self._started(event)
        else:
            await self.ledger.seen(event, self._answers.persona(event).id, status=status)

    async def _ended(self, event: Event) -> None:
        report = None
        if event.type != "status-update":
            report = wire.report_of(event.body)
            if event.type != "end-of-call-report" and not report.lines:
                report = None  # the flat event says that it ended, and no more
        reason = wire.text(event.body.get("endedReason"), 200)
        agent = self._answers.persona(event).id
        if await self.ledger.ended(event, agent, reason, report):
            await self.hub.sessions.end(HOUSE, call_key(HOUSE, event.call_id or ""))
            self._summaries.due()

    # Calls the hub makes

    async def place_call(
        self,
        to: str,
        *,
        name: str = "",
        agent: str | None = None,
        first_message: str = "",
        assistant_id: str | None = None,
        phone_number_id: str | None = None,
        variables: dict[str, str] | None = None,
    ) -> tuple[Placed, str]:
        """Ring `to` (E.164) through VAPI; returns VAPI's call and who speaks.

        Raises NotConfigured (a setting is missing, and which), NotFound (no such persona), or a
        ProviderError that says whether the call may take place all the same.
        """
        settings = self.hub.settings
        number = phone_number_id or settings.vapi_phone_number_id
        if not self.client.configured:
            raise NotConfigured(NO_KEY)
        if not number:
            raise NotConfigured("VAPI_PHONE_NUMBER_ID is not set: VAPI's id of a number of yours.")
        if variables and not assistant_id:
            raise Invalid("variables are for an assistant_id.", param="variables")
        persona = self.hub.agents.wanted(agent, param="agent")
        body: dict[str, Any] = {
            "phoneNumberId": number,
            "customer": {"number": to} | ({"name": name} if name else {}),
            "metadata": {"agent": persona.id},
        }
        if assistant_id:
            values = {key: value[:VARIABLE_CHARS] for key, value in (variables or {}).items()}
            overrides = {"variableValues": {"agentName": persona.name, **values}}
            greeting = {"firstMessage": first_message} if first_message else {}
            body |= {"assistantId": assistant_id, "assistantOverrides": overrides | greeting}
        else:
            body["assistant"] = await self._answers.inline(
                persona, settings.public_url.rstrip("/"), to, name, first_message
            )
        placed = await self.client.place_call(body)
        await self._keep(placed, persona.id, to, name)
        return placed, persona.id

    async def _keep(self, placed: Placed, agent: str, to: str, name: str) -> None:
        event = Event(
            type="",
            body={},
            call_id=placed.id,
            caller=Caller(id=to, known=True, call_id=placed.id, name=name or None),
            direction="outbound",
            agent=agent,
        )
        try:
            await self.ledger.placed(event, agent, placed.status)
        except StorageUnavailable:  # somebody's phone rings: that is what counts
            log.error("vapi.call_not_kept", call=placed.id)

    # As an integration

    def blueprint(self) -> Blueprint:
        return routes(self)

    async def start(self) -> None:
        self._summaries.start(set_up=self.set_up)

    async def close(self) -> None:
        await self._summaries.close()
        await self.client.close()

    @property
    def set_up(self) -> bool:
        """Whether anything of VAPI's is."""
        return self.proof.configured or self.client.configured

    def channels(self) -> list[Channel]:
        if not self.set_up:
            return []
        trouble = self.proof.fault or self.client.trouble
        heard = self._last_event is not None or self.client.worked
        return [
            Channel(
                name="vapi",
                type="phone",
                status="error" if trouble else "connected" if heard else "disconnected",
                message_count=self.counts.total(),
                last_activity=self._last_event,
                routes_to=self.hub.settings.default_agent,
                error=trouble or None,
            )
        ]

    async def check(self) -> AsyncIterator[Finding]:
        if self.proof.fault:
            yield Finding("VAPI webhooks", "failed", self.proof.fault, "See VAPI's README.")
        elif not self.proof.configured:
            yield Finding("VAPI webhooks", "off", "not set up", "Set VAPI_SECRET.")
        elif not self.hub.settings.public_url:
            hint = "Set TRON_PUBLIC_URL, which VAPI's model requests go to."
            yield Finding("VAPI webhooks", "warning", "calls can't be taken", hint)
        else:
            yield Finding("VAPI webhooks", "ok", "a secret is set")
        if not self.client.configured:
            yield Finding("VAPI calls", "off", "not set up", "Set VAPI_API_KEY.")
            return
        try:
            await self.client.try_key()
        except (ProviderError, NotConfigured) as error:
            yield Finding("VAPI calls", "failed", error.message, "Check VAPI_API_KEY.")
            return
        if not self.hub.settings.vapi_phone_number_id:
            hint = "Set VAPI_PHONE_NUMBER_ID to make calls."
            yield Finding("VAPI calls", "warning", "the key works; no number to call from", hint)
        else:
            yield Finding("VAPI calls", "ok", "the key works")
