"""How much of a conversation the model reads.

The newest messages that fit into the token budget; the new ones always. What falls out is
summarised (see `Sessions`), so a conversation may go on for ever and the request stays bounded.
"""

from tron.brain.tokens import message_tokens
from tron.conversation.turns import Message


def window(messages: list[Message], *, budget_tokens: int, newest: int) -> list[Message]:
    """The tail of `messages` that fits; at least the last `newest`.

    A tool result is never left without the call it answers.
    """
    start = len(messages)
    left = budget_tokens
    while start > 0:
        left -= message_tokens(messages[start - 1])
        if left < 0 and len(messages) - start >= newest:
            break
        start -= 1
    while start < len(messages) - 1 and messages[start].role == "tool":
        start = _past_tools(messages, start)
    return messages[start:]


def _past_tools(messages: list[Message], start: int) -> int:
    """Skip results whose call fell out, unless nothing else would be left."""
    end = start
    while end < len(messages) and messages[end].role == "tool":
        end += 1
    if end < len(messages):
        return end
    # Only results are left: keep the call they answer, whatever it costs.
    while start > 0 and messages[start].role == "tool":
        start -= 1
    return start if messages[start].role != "tool" else len(messages) - 1
