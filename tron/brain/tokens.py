"""Counting tokens where the provider gave no figures.

Four characters a token is the usual rule of thumb for English text. Whatever is counted here is
marked as an estimate wherever it is shown.
"""

from collections.abc import Iterable

from tron.conversation.turns import Message

CHARACTERS_PER_TOKEN = 4
PER_MESSAGE = 4  # role and separators


def estimate(text: str) -> int:
    """Tokens in `text`, roughly."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def estimate_messages(messages: Iterable[Message]) -> int:
    """Tokens a model reads for `messages`, roughly; images and sound are not counted."""
    return sum(message_tokens(message) for message in messages)


def message_tokens(message: Message) -> int:
    calls = sum(len(call.arguments) + len(call.name) for call in message.tool_calls or ())
    return PER_MESSAGE + -(-(len(message.content) + calls) // CHARACTERS_PER_TOKEN)
