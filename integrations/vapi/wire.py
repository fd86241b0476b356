"""VAPI's messages: what they say to us, and what we answer.

Owns their shapes and nothing else: nested current messages (`{"message": {"type", …}}`), the
shape of the 2024 recordings, and the flat events of the hub's control API become one `Event`;
answers are the bare objects VAPI reads. Unknown fields and types pass; only what is no JSON object
is refused. Everything taken from a message is bounded here.
"""

import re
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from tron.agents.persona import Persona
from tron.clock import iso
from tron.conversation.caller import identify
from tron.conversation.prompt import SPOKEN
from tron.conversation.turns import Caller, Message, ToolCall
from tron.errors import Invalid
from tron.given import mapping
from tron.storage.text import storable

Json = dict[str, Any]

MOST_CALLS = 20
"""tool calls of one message; more are told that they were not run"""
MOST_LINES = 500
LINE_CHARS = 2_000
ERROR_CHARS = 300
LLM_TIMEOUT_S = 60
"""how long VAPI waits for the first words of an answer; it allows 20 to 600"""
TOOL_TIMEOUT_S = 20
"""how long VAPI waits for a tool's result unless it is told otherwise"""

VOICES = {
    "tony": "Elliot",
    "maya": "Savannah",
    "alex": "Nico",
    "jordan": "Clara",
    "riley": "Emma",
}
"""VAPI's own voices; a persona that is not listed gets VAPI's default"""

ENDINGS = ("call.ended", "call.end", "end-of-call-report")
_DIRECTIONS = {"inboundPhoneCall": "inbound", "outboundPhoneCall": "outbound", "webCall": "web"}
_ROLES = {"user": "user", "customer": "user", "bot": "assistant", "assistant": "assistant"}
_SPOKEN_BY = {"ai": "assistant", "assistant": "assistant", "bot": "assistant", "user": "user"}
_LABELLED = re.compile(r"(\w{2,9}):\s*(.+)")
_SENTENCE_END = re.compile(r"[.!?…][\"')\]]*$")
_UNFINISHED = re.compile(r"(?:\b(?:and|but|or|so|because|the|a|to|my|um|uh)|,)$", re.IGNORECASE)


class Line(msgspec.Struct, frozen=True):
    """Something that was said on a call."""

    role: Literal["user", "assistant"]
    text: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One message of VAPI."""

    type: str
    body: Json
    call_id: str | None
    caller: Caller
    """who is on the line; `known` only if a number or an address came along"""
    direction: str
    """`inbound`, `outbound`, `web`, or empty where it does not say"""
    agent: str
    """persona asked for in the call's metadata, or the number's label; may be nobody"""


class Report(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is kept of an end-of-call report."""

    summary: str = ""
    """VAPI's own"""
    recording_url: str = ""
    cost_usd: float | None = None
    started_at: str = ""
    """as VAPI measured it, ISO 8601; empty: it did not say"""
    ended_at: str = ""
    lines: list[Line] = []


def parse(raw: bytes, *, now_ns: int) -> Event:
    """Read one message. Raises Invalid if it is not a JSON object."""
    try:
        whole = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise Invalid("The body is not valid JSON.", code="invalid_json") from None
    if not isinstance(whole, dict):
        raise Invalid("The body must be a JSON object.", code="invalid_json")
    nested = mapping(whole.get("message"))
    body = nested if "type" in nested else whole
    call = mapping(body.get("call"))
    customer = mapping(body.get("customer")) or mapping(call.get("customer"))
    number = customer.get("number") or customer.get("sipUri") or call.get("from")
    caller = identify(
        {},
        {
            "call": {"id": call.get("id") or call.get("callId") or body.get("call_id")},
            "customer": {"number": number, "name": customer.get("name")},
        },
        now_ns=now_ns,
    )
    # `transcript[transcriptType="final"]` is a type too.
    kind = text(body.get("type"), 100).partition("[")[0]
    return Event(
        type=kind,
        body=body,
        call_id=caller.call_id,
        caller=caller,
        # Only the flat events have `from`, and they are about calls that come in.
        direction=_DIRECTIONS.get(text(call.get("type"), 40), "inbound" if "from" in call else ""),
        agent=_agent(body, call),
    )


def _agent(body: Json, call: Json) -> str:
    assistant = mapping(body.get("assistant")) or mapping(call.get("assistant"))
    overrides = mapping(call.get("assistantOverrides"))
    for place in (call, overrides, assistant, {"metadata": overrides.get("variableValues")}):
        if named := text(mapping(place.get("metadata")).get("agent"), 64):
            return named
    number = mapping(body.get("phoneNumber")) or mapping(call.get("phoneNumber"))
    return text(number.get("name"), 64)


def text(value: Any, limit: int) -> str:
    """`value` if it is text, fit to be stored, at most `limit` characters; else empty."""
    return storable(value).strip()[:limit] if isinstance(value, str) else ""


def single_line(words: str) -> str:
    """VAPI reads a tool's result only if it has no line breaks."""
    return " ".join(words.split())


# What was said


def lines_of(messages: Any) -> list[Line]:
    """What people said in a list of VAPI's or OpenAI's messages."""
    found: list[Line] = []
    for message in messages[:MOST_LINES] if isinstance(messages, list) else []:
        item = mapping(message)
        role = _ROLES.get(text(item.get("role"), 20))
        said = _said(item)
        if role and said:
            found.append(Line(role, said))  # type: ignore[arg-type]  # _ROLES has only these
    return found


def _said(item: Json) -> str:
    for name in ("content", "message", "transcript", "text"):
        value = item.get(name)
        if isinstance(value, list):  # OpenAI's content parts
            value = " ".join(text(mapping(part).get("text"), LINE_CHARS) for part in value[:20])
        if isinstance(value, dict):
            value = value.get("content") or value.get("text")
        if said := text(value, LINE_CHARS):
            return said
    return ""


def line_of(event: Event) -> Line | None:
    """What a `transcript`, `speech.recognized` or `assistant.message` event says was said."""
    if event.type == "transcript":
        if event.body.get("transcriptType") == "partial":
            return None
        return next(iter(lines_of([event.body])), None)
    said = _said(event.body) or _said(mapping(event.body.get("speech")))
    if not said:
        return None
    return Line("assistant" if event.type == "assistant.message" else "user", said)


def messages_of(body: Json) -> list[Line]:
    """The conversation so far, wherever this message carries it."""
    artifact = mapping(body.get("artifact"))
    for place in (artifact, body):
        for name in ("messages", "messagesOpenAIFormatted"):
            if found := lines_of(place.get(name)):
                return found
    spoken = body.get("transcript") or artifact.get("transcript")
    return _labelled(spoken) if isinstance(spoken, str) else []


def _labelled(transcript: str) -> list[Line]:
    """`AI: …` and `User: …`, line by line."""
    found = []
    for line in transcript[: MOST_LINES * LINE_CHARS].splitlines()[:MOST_LINES]:
        match = _LABELLED.match(line)
        role = _SPOKEN_BY.get(match[1].lower()) if match else None
        if match and role:
            found.append(Line(role, text(match[2], LINE_CHARS)))  # type: ignore[arg-type]
    return found


def report_of(body: Json) -> Report:
    """What is kept of an end-of-call report, today's form or that of 2024."""
    artifact, analysis = mapping(body.get("artifact")), mapping(body.get("analysis"))
    mono = mapping(mapping(artifact.get("recording")).get("mono"))
    return Report(
        summary=text(analysis.get("summary"), 4_000) or text(body.get("summary"), 4_000),
        recording_url=_first(
            artifact.get("recordingUrl"), body.get("recordingUrl"), mono.get("combinedUrl")
        ),
        cost_usd=_amount(body.get("cost")),
        started_at=_moment(body.get("startedAt")),
        ended_at=_moment(body.get("endedAt")),
        lines=messages_of(body),
    )


def _first(*values: Any) -> str:
    return next((found for value in values if (found := text(value, 2_000))), "")


def _moment(value: Any) -> str:
    """A moment in the hub's own way of writing it; empty if `value` is none."""
    try:
        found = datetime.fromisoformat(text(value, 40))
        known = found if found.tzinfo else found.replace(tzinfo=UTC)
        return iso(round(known.timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        return ""


def _amount(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        amount = float(value)
    except OverflowError:
        return None
    return amount if 0 <= amount < 1e9 else None


# Tools


def tool_calls(body: Json) -> list[ToolCall]:
    """The calls of a `tool-calls` message, in any of the shapes seen; arguments as JSON text."""
    for name in ("toolCallList", "toolWithToolCallList", "toolCalls"):
        items = body.get(name)
        if isinstance(items, list) and items:  # they repeat each other
            return [_tool_call(mapping(item)) for item in items]
    return []


def _tool_call(item: Json) -> ToolCall:
    inner = mapping(item.get("toolCall")) or item
    function = mapping(inner.get("function"))
    described = mapping(item.get("function"))
    name = function.get("name") or inner.get("name") or item.get("name") or described.get("name")
    arguments: Any = next(
        (
            given
            for given in (
                function.get("arguments"),
                inner.get("arguments"),
                inner.get("parameters"),
                function.get("parameters"),
            )
            if given is not None
        ),
        {},
    )
    return ToolCall(
        id=text(inner.get("id") or item.get("id"), 200),
        name=text(name, 64),
        arguments=_as_json(arguments),
    )


def function_call(body: Json) -> ToolCall:
    """The call of a legacy `function-call` message."""
    call = mapping(body.get("functionCall"))
    given = call.get("parameters", call.get("arguments"))
    return ToolCall(id="", name=text(call.get("name"), 64), arguments=_as_json(given))


def _as_json(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    try:
        return msgspec.json.encode({} if arguments is None else arguments).decode()
    except (msgspec.MsgspecError, OverflowError, UnicodeError, RecursionError):
        return "{}"


def tool_result(call: ToolCall, result: str, *, ok: bool) -> Json:
    """One entry of `results`."""
    key = "result" if ok else "error"
    return {"toolCallId": call.id, "name": call.name, key: single_line(result)}


def wanted_destination(body: Json) -> str:
    """Whom a transfer or handoff is meant for, as far as the request says."""
    function = mapping(body.get("functionCall"))
    for place in (
        mapping(body.get("parameters")),
        mapping(function.get("parameters")),
        mapping(body.get("destination")),
        body,
    ):
        for name in ("agent", "persona", "destination", "name", "to", "assistantName"):
            if named := text(place.get(name), 100):
                return named
    return ""


# Answers


def assistant(
    persona: Persona,
    *,
    url: str,
    token: str | None,
    caller_name: str,
    tools: list[Json],
    first_message: str,
) -> Json:
    """A persona as an inline assistant whose model is the hub at `url`; it calls `tools` (OpenAI
    form) through VAPI. `first_message`: what it says first; empty: a greeting.

    `server` is left out on purpose: VAPI then goes on using the one it asked us through, with
    its credential.
    """
    made: Json = {
        "name": persona.name[:40],
        "firstMessage": first_message or greeting(persona, caller_name),
        "firstMessageMode": "assistant-speaks-first",
        "model": {
            "provider": "custom-llm",
            "url": url,
            "model": persona.id,
            "messages": [{"role": "system", "content": SPOKEN}],
            "tools": tools,
            "metadataSendMode": "variable",
            "timeoutSeconds": LLM_TIMEOUT_S,
        },
        "metadata": {"agent": persona.id},
        "serverMessages": [
            "status-update",
            "tool-calls",
            "transfer-destination-request",
            "handoff-destination-request",
            "end-of-call-report",
            "hang",
        ],
    }
    if voice := VOICES.get(persona.id):
        made["voice"] = {"provider": "vapi", "voiceId": voice}
    if token:
        made["credentials"] = [{"provider": "custom-llm", "apiKey": token}]
    return made


def greeting(persona: Persona, caller_name: str) -> str:
    """The first words of a call."""
    hello = f"Hello {caller_name}, " if caller_name else "Hello, "
    return f"{hello}this is {persona.name}. What can I do for you?"


def spoken_error(words: str) -> Json:
    """An answer that says to the caller why there is no better one."""
    return {"error": single_line(words)[:ERROR_CHARS]}


def endpointing_s(lines: list[Line]) -> float:
    """How long to wait in silence before the caller is taken to have finished, in seconds."""
    said = next((line.text for line in reversed(lines) if line.role == "user"), "")
    if _SENTENCE_END.search(said):
        return 0.3
    if said[-1:].isdigit():  # a number dictated in groups has pauses in it
        return 1.2
    return 1.5 if not said or _UNFINISHED.search(said) else 0.8


def as_messages(lines: list[Line]) -> list[Message]:
    return [Message(role=line.role, content=line.text) for line in lines]
