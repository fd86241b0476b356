"""What the fake provider can be told to do with one request.

Plain data, in the words of what a real provider does well or badly; `fake.py` carries it out.
`after` counts the pieces of text that were sent before the fault; a piece is one streamed word.
"""

from typing import Any

import msgspec


class Reply(msgspec.Struct, frozen=True):
    """A good answer. Streamed word by word, or whole."""

    text: str
    finish: str = "stop"


class ToolCalls(msgspec.Struct, frozen=True):
    """Calls of tools: (name, arguments) each; arguments as an object or as raw JSON text."""

    calls: list[tuple[str, dict[str, Any] | str]]
    text: str = ""
    """said before the calls"""


class Slow(msgspec.Struct, frozen=True, kw_only=True):
    """A good answer that takes its time."""

    first_ms: float = 0
    token_ms: float = 0
    text: str | None = None


class Status(msgspec.Struct, frozen=True):
    """An error with its HTTP status, before anything was streamed."""

    status: int
    message: str = "The fake was told to refuse."
    retry_after: float | None = None
    """seconds, sent as `retry-after` (and exactly as `retry-after-ms`)"""
    type: str = "fake_error"
    code: str | None = None
    param: str | None = None


class BrokenAfter(msgspec.Struct, frozen=True):
    """An error event in the middle of the stream, as OpenAI sends it."""

    after: int


class Garbage(msgspec.Struct, frozen=True):
    """An event whose data is not JSON."""

    after: int = 0


class Truncated(msgspec.Struct, frozen=True):
    """The stream ends cleanly, without a finish reason or `[DONE]`."""

    after: int = 1


class DisconnectAfter(msgspec.Struct, frozen=True):
    """The connection is cut; with `after=0` before any answer."""

    after: int = 0


class HangAfter(msgspec.Struct, frozen=True):
    """The stream falls silent and stays open."""

    after: int = 1


class Hang(msgspec.Struct, frozen=True):
    """Nothing comes back at all; not even a status line."""


class NonJson(msgspec.Struct, frozen=True):
    """The right content type with a body that is not what it says."""


class WrongContentType(msgspec.Struct, frozen=True):
    """Status 200 with an HTML page, as from a captive portal or a wrong base URL."""


Behaviour = (
    Reply
    | ToolCalls
    | Slow
    | Status
    | BrokenAfter
    | Garbage
    | Truncated
    | DisconnectAfter
    | HangAfter
    | Hang
    | NonJson
    | WrongContentType
)
