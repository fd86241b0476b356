"""What a language model is to the hub.

A `Provider` turns one `Ask` into batches of `Part`s. It raises `ProviderRefused` if the request
itself is at fault, `ProviderUnavailable` if it failed before its first part (another may be
asked; by the code `MODEL_NOT_FOUND` it is well and only has no such model), `ProviderBroke` after
it. Closing the stream early must close the connection upstream.
"""

from collections.abc import AsyncGenerator
from typing import Any, Protocol

import msgspec

from tron.conversation.turns import Message, Usage

MODEL_NOT_FOUND = "model_not_found"
LIMITS = ("max_tokens", "max_completion_tokens")
"""the two names that OpenAI has for the most tokens of an answer"""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a model."""

    messages: list[Message]
    model: str | None = None
    """the persona's model; None: the provider's own"""
    tools: list[dict[str, Any]] = []
    """OpenAI tool definitions"""
    params: dict[str, Any] = {}
    """OpenAI sampling parameters, passed on as they are"""
    agent: str = ""
    """which persona asks; the offline brain speaks in its voice"""
    offline: str | None = None
    """what to say if no model can be reached; None: the offline brain works it out"""
    spoken: bool = False
    """the answer is heard, not read"""


class Text(msgspec.Struct, frozen=True):
    """More text."""

    text: str


class ToolFragment(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a tool call; `id` and `name` come with the first piece of each `index`."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Finish(msgspec.Struct, frozen=True):
    """The model stopped; reason as OpenAI names it."""

    reason: str


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's own figures."""

    usage: Usage


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """First of every stream: who is answering."""

    provider: str
    model: str


Part = Text | ToolFragment | Finish | Used | Answering
Parts = AsyncGenerator[list[Part], None]


class Provider(Protocol):
    """One place that answers questions."""

    name: str

    def stream(self, ask: Ask) -> Parts:
        """Answer in parts. The first batch starts with `Answering`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
