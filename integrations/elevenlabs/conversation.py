"""What conversations by voice and in writing share: who talks, with whom, and what was told."""

import secrets
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

import msgspec
import structlog

from integrations.elevenlabs import frames, wire
from integrations.elevenlabs.client_tools import ClientTools
from integrations.elevenlabs.frames import Dialect
from integrations.elevenlabs.wire import Refused, Start
from tron.agents.persona import Persona
from tron.calls.outbox import Outbox
from tron.clock import iso
from tron.conversation.caller import identify

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

CONTEXTS_KEPT = 20
"""of a client's contextual updates; the oldest go"""
MESSAGES, MESSAGES_S = 20, 10.0
"""so many typed messages in so many seconds; each may cost a turn"""
RESERVED_TOOLS = ("end_call",)


class Conversation:
    """One conversation, from the client's first frame on."""

    def __init__(
        self,
        hub: "Hub",
        outbox: Outbox,
        *,
        persona: Persona,
        client_id: str,
        start: Start,
        dialect: Dialect,
    ) -> None:
        self.hub = hub
        self.outbox = outbox
        self.dialect = dialect
        self.start = start
        self.agent = persona.id
        self.client_id = client_id
        self.id = f"conv_{secrets.token_hex(14)}"
        self.ids = count(1)
        """event ids: one counter for everything, because clients compare them"""
        known = identify({}, {"elevenlabs_extra_body": start.user}, now_ns=hub.clock.now_ns())
        self.caller = msgspec.structs.replace(known, call_id=self.id)
        self.tools = ClientTools(self._own(start), self._ask_client)
        self._contexts: deque[str] = deque(maxlen=CONTEXTS_KEPT)
        self._typed_at: deque[float] = deque(maxlen=MESSAGES)
        self._facts = {
            "system__conversation_id": self.id,
            "system__agent_id": persona.id,
            "system__caller_id": self.caller.id if self.caller.known else "",
            "system__time_utc": iso(hub.clock.now_ms()),
        }
        usual = f"Hello, this is {persona.name}." if hub.settings.call_greeting else ""
        first = usual if start.first_message is None else start.first_message
        self.greeting = start.filled(first, **self._facts).strip()

    def typed(self, text: str) -> str:
        """A message as it may be handed on, empty for none. Raises Refused for too many."""
        text, now = text.strip(), self.hub.clock.monotonic()
        if not text:
            return ""
        if len(self._typed_at) == MESSAGES and now - self._typed_at[0] < MESSAGES_S:
            raise Refused(wire.POLICY, "Too many messages at once.", "too_many")
        self._typed_at.append(now)
        return text

    def add_context(self, text: str) -> None:
        """The client tells something; the persona knows it from the next turn on."""
        if text.strip():
            self._contexts.append(text.strip())

    @property
    def instructions(self) -> str:
        """What the client adds to the persona's own."""
        parts = [self.start.filled(self.start.prompt, **self._facts)]
        if self.start.variables:
            lines = [f"- {name}: {value}" for name, value in self.start.variables.items()]
            parts.append("What is known about this conversation:\n" + "\n".join(lines))
        if self._contexts:
            lines = [f"- {text}" for text in self._contexts]
            parts.append("What the caller's application has told since:\n" + "\n".join(lines))
        return "\n\n".join(part for part in parts if part)

    def _own(self, start: Start) -> list[wire.ToolSpec]:
        """The client's tools without those whose name means something else here."""
        taken = [t.name for t in start.tools if t.name in self.hub.toolbox]
        taken += [t.name for t in start.tools if t.name in RESERVED_TOOLS]
        if taken:
            log.warning("elevenlabs.tools_left_out", conversation=self.id, tools=taken)
        return [tool for tool in start.tools if tool.name not in taken]

    def _ask_client(self, tool: str, id: str, parameters: dict[str, object]) -> None:
        self.outbox.put(frames.tool_call(tool, id, parameters, next(self.ids)))
