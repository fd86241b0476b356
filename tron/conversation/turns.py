"""The language between the wires and the door: what goes in, what comes out.

A wire builds one `TurnInput` from its own messages and reads `TurnEvent`s; it knows nothing of
personas, and the door knows nothing of wires. Events come in batches: what became known at one
instant (one read from the model's socket) travels together, so a wire that streams can write it
in one go. `events()` takes the batches apart for a wire that doesn't care.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from tron.storage.tables import HOUSE

if TYPE_CHECKING:
    from tron.tools.contract import Tool


class Message(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One message of a conversation, as a model understands it."""

    role: str
    """`user`, `assistant`, `tool` or `system`"""
    content: str = ""
    """the text; of a message with parts, the text parts joined"""
    parts: list[dict[str, Any]] | None = None
    """OpenAI content parts, where there is more than text (images, audio)"""
    tool_calls: list["ToolCall"] | None = None
    """what an assistant asked for"""
    tool_call_id: str | None = None
    """which call a tool message answers"""
    name: str | None = None


class ToolCall(msgspec.Struct, kw_only=True):
    """A function the model wants called; `arguments` is JSON text, not checked."""

    id: str
    name: str
    arguments: str


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is speaking, as far as the wire could tell."""

    id: str
    """`+14155551234`, `req-…`, `anonymous-…`, or a wire's own id"""
    known: bool
    """False: made up for this request, so the conversation is found by its history"""
    call_id: str | None = None
    """a carrier's call: always the same session, whatever the caller id"""
    name: str | None = None


class TurnInput(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a caller."""

    caller: Caller
    channel: str
    """`openai`, `elevenlabs`, `vapi`, `slack`, `api`, `life`, `delegation`, …"""
    messages: list[Message]
    """the new message last; before it, whatever history the caller sent along"""
    agent: str | None = None
    """persona id; None: the default one"""
    instructions: str = ""
    """the caller's own system message"""
    session: str | None = None
    """an existing session's key; None: found from caller and history"""
    spoken: bool = False
    """the answer will be read aloud"""
    client_id: str = HOUSE
    params: dict[str, Any] = {}
    """sampling parameters passed on to the model (temperature, max_tokens, stop, …)"""
    tools: list[dict[str, Any]] = []
    """the caller's own tools, OpenAI form; calls to them end the turn"""
    wire_tools: tuple["Tool[Any]", ...] = ()
    """tools that only this wire has (ending a call, …), run inside like the hub's own"""
    in_call: bool = False
    """part of a call that is under way, which a hub that is stopping lets finish"""
    parent: str | None = None
    """id of the process that asks on its own behalf"""
    reason: str = ""
    """why that process asks"""

    @property
    def keyed(self) -> bool:
        """It names its conversation, which goes on then even if it had ended."""
        return self.session is not None or self.caller.call_id is not None


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """First of every turn: what was said is stored, and this process answers."""

    session: str
    process_id: str
    agent: str


class TextDelta(msgspec.Struct, frozen=True):
    """More of the answer."""

    text: str


class ToolStarted(msgspec.Struct, frozen=True):
    """One of the hub's own tools is being called."""

    call: ToolCall


class ToolFinished(msgspec.Struct, frozen=True):
    """It answered (`ok`) or failed; `result` is what the model is told."""

    call: ToolCall
    result: str
    ok: bool


class CallerToolCalls(msgspec.Struct, frozen=True):
    """The model wants the caller's tools; the turn ends and waits for their results."""

    calls: list[ToolCall]


class KeepAlive(msgspec.Struct, frozen=True):
    """Nothing yet, still working; a wire tells its client so that it does not hang up."""


class Usage(msgspec.Struct, kw_only=True):
    """Tokens of one turn. `estimated`: counted by the hub, the provider gave no figures."""

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False

    def add(self, other: "Usage") -> None:
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.estimated = self.estimated or other.estimated


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The turn is over and stored."""

    finish_reason: str
    """`stop`, `length`, `tool_calls` or `content_filter`"""
    usage: Usage
    cost_usd: float | None
    """None where the price is not known"""
    session: str
    process_id: str
    agent: str
    model: str
    provider: str


TurnEvent = Opened | TextDelta | ToolStarted | ToolFinished | CallerToolCalls | KeepAlive | Done
"""Failure is not an event: the stream raises a `TronError`, before or after its first event."""

Batches = AsyncGenerator[list[TurnEvent], None]


async def events(batches: Batches) -> AsyncIterator[TurnEvent]:
    """The batches, one event at a time."""
    async for batch in batches:
        for event in batch:
            yield event
