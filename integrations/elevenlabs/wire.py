"""What a client may send on ElevenLabs' agent socket, as messages. No I/O.

Nothing a client sends is believed to have a shape: unknown types and fields are passed over, what
can't be read is `Refused` with the code that the protocol closes with. What the hub sends is in
`frames.py`.
"""

import base64
import binascii
import re
from typing import Any

import msgspec

from tron.calls.wire import Encoding, WireFacts
from tron.given import mapping

FRAME_BYTES = 1024 * 1024
TEXT_LIMIT = 16_000
"""characters of one message or one context"""
TOOLS_LIMIT = 64
VARIABLES_LIMIT = 100
TOOL_WAIT_S = 20.0
LONGEST_TOOL_WAIT_S = 120.0
FORMATS: dict[str, tuple[Encoding, int]] = {
    "pcm_8000": ("pcm16", 8_000),
    "pcm_16000": ("pcm16", 16_000),
    "pcm_22050": ("pcm16", 22_050),
    "pcm_24000": ("pcm16", 24_000),
    "pcm_44100": ("pcm16", 44_100),
    "pcm_48000": ("pcm16", 48_000),
    "ulaw_8000": ("mulaw", 8_000),
}
USUAL = "pcm_16000"
"""what the SDKs take for granted in both directions"""
MALFORMED, POLICY, FAILED, NORMAL = 1002, 1008, 1011, 1000

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z0-9_]{1,64})\s*\}\}")
_encode = msgspec.json.Encoder().encode


class Refused(Exception):
    """A client may not do this; the socket is closed with `code`."""

    def __init__(self, code: int, message: str, error_type: str = "invalid_message") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.error_type = error_type


# What a client sends


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that runs in the client."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema"""
    answers: bool = True
    """the persona waits for its result"""
    wait_s: float = TOOL_WAIT_S


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The self-hosted mode's first frame: the agent as the client wants it."""

    config: dict[str, Any]
    tools: tuple[ToolSpec, ...]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """How the client wants the conversation to be."""

    text_only: bool = False
    user: dict[str, Any] = {}
    """what names the person, as the custom LLM's extra body has it"""
    prompt: str = ""
    first_message: str | None = None
    """None: the persona's own; empty: the client speaks first"""
    voice: str | None = None
    heard_as: str = USUAL
    played_as: str = USUAL
    variables: dict[str, str] = {}
    tools: tuple[ToolSpec, ...] = ()

    def filled(self, text: str, **more: str) -> str:
        """`text` with `{{variables}}` put in; unknown ones are left as they are."""
        known = {**self.variables, **more}
        return _VARIABLE.sub(lambda found: known.get(found[1], found[0]), text)

    def facts(self) -> WireFacts:
        heard, played = FORMATS[self.heard_as], FORMATS[self.played_as]
        return WireFacts(
            name="elevenlabs",
            heard_as=heard[0],
            heard_rate=heard[1],
            played_as=played[0],
            played_rate=played[1],
            marks=False,
        )


class Audio(msgspec.Struct, frozen=True):
    data: bytes


class Said(msgspec.Struct, frozen=True):
    """A message that was typed."""

    text: str


class Context(msgspec.Struct, frozen=True):
    """Something the persona should know; asks for no answer."""

    text: str


class ToolResult(msgspec.Struct, frozen=True):
    id: str
    text: str
    is_error: bool


class Feedback(msgspec.Struct, frozen=True):
    event_id: int
    score: str
    """`like`, `dislike`, or empty: taken back"""


class Pong(msgspec.Struct, frozen=True):
    event_id: int


class End(msgspec.Struct, frozen=True):
    """The client is done (original browser dialect)."""


class Nothing(msgspec.Struct, frozen=True):
    """Of no consequence: a sign of life, or a type that is not known here."""


ClientMessage = (
    Setup | Start | Audio | Said | Context | ToolResult | Feedback | Pong | End | Nothing
)


def decode(raw: str | bytes) -> dict[str, Any]:
    """A frame as its JSON object. Raises Refused."""
    if isinstance(raw, bytes):
        raise Refused(MALFORMED, "Frames are JSON text, not binary.")
    if len(raw) > FRAME_BYTES:
        raise Refused(POLICY, f"A frame may have {FRAME_BYTES} characters.", "too_large")
    try:
        message = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise Refused(MALFORMED, "A frame was not valid JSON.") from None
    if not isinstance(message, dict):
        raise Refused(MALFORMED, "A frame must be a JSON object.")
    return message


def is_original(message: dict[str, Any]) -> bool:
    """Whether only a client of the original browser dialect begins like this."""
    return message.get("type") in ("audio", "text", "end") and "user_audio_chunk" not in message


def parse(message: dict[str, Any], setup: Setup | None = None) -> ClientMessage:
    """What a frame of the agents protocol says. Raises Refused."""
    if "user_audio_chunk" in message:
        return Audio(_audio(message["user_audio_chunk"]))
    match message.get("type"):
        case "conversation_initiation_client_data":
            return _start(message, setup)
        case "enclave_setup_config":
            return Setup(
                config=mapping(message.get("agent_config_dict")),
                tools=_tools(message.get("tools_config_list")),
            )
        case "user_message":
            return Said(_text(message.get("text")))
        case "multimodal_message":
            return Said(_multimodal(message))
        case "contextual_update":
            return Context(_text(message.get("text")))
        case "client_tool_result":
            result = message.get("result")
            return ToolResult(
                id=str(message.get("tool_call_id")),
                text=result if isinstance(result, str) else _encode(result).decode(),
                is_error=message.get("is_error") is True,
            )
        case "feedback":
            score = message.get("score")
            known = score if score in ("like", "dislike") else ""
            return Feedback(_number(message.get("event_id")), known)
        case "pong":
            return Pong(_number(message.get("event_id")))
    return Nothing()  # user_activity, mcp_tool_approval_result, and whatever comes to be


def parse_original(message: dict[str, Any]) -> ClientMessage:
    """What a frame of the original browser dialect says. Raises Refused."""
    match message.get("type"):
        case "audio":
            return Audio(_audio(message.get("audio")))
        case "text":
            return Said(_text(message.get("text")))
        case "end":
            return End()
    return Nothing()


def _start(message: dict[str, Any], setup: Setup | None) -> Start:
    override = mapping(message.get("conversation_config_override"))
    config = mapping(setup.config.get("conversation_config")) or setup.config if setup else {}
    agents = [mapping(override.get("agent")), mapping(config.get("agent"))]
    prompts = [mapping(agent.get("prompt")) for agent in agents]
    voices = [mapping(override.get("tts")), mapping(config.get("tts"))]
    ears = [mapping(override.get("asr")), mapping(config.get("asr"))]
    extra = mapping(message.get("custom_llm_extra_body"))
    user: dict[str, Any] = {key: extra[key] for key in ("user_id", "caller_id") if key in extra}
    if message.get("user_id"):
        user["user_id"] = message["user_id"]
    start = Start(
        # The Python SDK says it at the top, the JavaScript one under `conversation`.
        text_only=override.get("text_only") is True
        or mapping(override.get("conversation")).get("text_only") is True,
        user=user,
        prompt=_first(prompts, "prompt") or "",
        first_message=_first(agents, "first_message"),
        voice=_first(voices, "voice_id") or None,
        heard_as=_first(ears, "user_input_audio_format") or USUAL,
        played_as=_first(voices, "agent_output_audio_format") or USUAL,
        variables=_variables(message.get("dynamic_variables")),
        tools=tuple(tool for prompt in prompts for tool in _tools(prompt.get("tools")))
        + (setup.tools if setup else ()),
    )
    for name in (start.heard_as, start.played_as):
        if name not in FORMATS:
            raise Refused(POLICY, f"Audio formats are: {', '.join(FORMATS)}.", "unknown_format")
    return start


def _tools(given: Any) -> tuple[ToolSpec, ...]:
    """The client's tools in an agent's configuration; those run elsewhere are passed over."""
    found = []
    for entry in given[:TOOLS_LIMIT] if isinstance(given, list) else ():
        tool = mapping(mapping(entry).get("tool_config")) or mapping(entry)
        name = tool.get("name")
        if tool.get("type") != "client" or not isinstance(name, str):
            continue
        if not _TOOL_NAME.fullmatch(name):
            raise Refused(POLICY, "A tool's name has letters, digits, - and _.", "invalid_tool")
        found.append(
            ToolSpec(
                name=name,
                description=_text(tool.get("description")),
                parameters=mapping(tool.get("parameters")) or {"type": "object", "properties": {}},
                answers=tool.get("expects_response") is not False,
                wait_s=_wait_s(tool.get("response_timeout_secs")),
            )
        )
    return tuple(found)


def _wait_s(given: Any) -> float:
    if isinstance(given, int | float) and not isinstance(given, bool) and given > 0:
        return min(float(given), LONGEST_TOOL_WAIT_S)
    return TOOL_WAIT_S


def _variables(given: Any) -> dict[str, str]:
    return {
        key: value if isinstance(value, str) else _encode(value).decode()
        for key, value in list(mapping(given).items())[:VARIABLES_LIMIT]
        if isinstance(value, str | int | float | bool) and len(key) <= 64
    }


def _multimodal(message: dict[str, Any]) -> str:
    text = _text(mapping(message.get("text")).get("text"))
    if message.get("file") or message.get("files"):
        text += "\n[A file was attached. It can't be opened here.]"
    return text.strip()


def _audio(given: Any) -> bytes:
    try:
        return base64.b64decode(given, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Refused(MALFORMED, "Audio must be base64.", "invalid_audio") from None


def _text(given: Any) -> str:
    if given is None:
        return ""
    if not isinstance(given, str):
        raise Refused(MALFORMED, "A text must be a string.")
    if len(given) > TEXT_LIMIT:
        raise Refused(POLICY, f"A text may have {TEXT_LIMIT} characters.", "too_large")
    return given


def _first(places: list[dict[str, Any]], name: str) -> str | None:
    """The first of `places` that says something as `name`."""
    return next((_text(p[name]) for p in places if p.get(name) is not None), None)


def _number(given: Any) -> int:
    return given if isinstance(given, int) and not isinstance(given, bool) else -1
