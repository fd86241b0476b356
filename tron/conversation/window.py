"""How much of a conversation the model reads.

The newest messages that fit into the token budget; the last one always, which was let in only
because it fits (`Context`). One that alone would take too much of the room is read in part. What
falls out is summarised (see `Summaries`), so a conversation may go on for ever and the request
stays bounded.
"""

from msgspec.structs import replace

from tron.brain.tokens import CHARACTERS_PER_TOKEN, message_tokens
from tron.conversation.turns import Message

PART = 4
"""one message of the past takes at most this part of the room"""


def must_be_read(talk: list[Message]) -> int:
    """How many of the last messages no answer can do without: the last, or all new results."""
    count = 0
    while count < len(talk) and talk[-1 - count].role == "tool":
        count += 1
    return max(count, 1)


def fitting(talk: list[Message], *, budget_tokens: int) -> list[Message]:
    """As much of `talk` as the model is to read, every call in it answered."""
    newest = must_be_read(talk)
    limit = budget_tokens * CHARACTERS_PER_TOKEN // PART
    past = [shortened(message, limit) for message in talk[:-newest]]
    seen = window([*past, *talk[-newest:]], budget_tokens=budget_tokens, newest=newest)
    return settled(seen)


def shortened(message: Message, limit: int) -> Message:
    """`message` with at most `limit` characters of text, which says that it was cut."""
    if len(message.content) <= limit:
        return message
    return replace(message, content=cut(message.content, limit), parts=None)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters of `text`, and how many are missing."""
    more = len(text) - limit
    return text if more <= 0 else f"{text[:limit]}\n[cut here: {more} more characters]"


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
    while start < len(messages) - newest and messages[start].role == "tool":
        start += 1  # the call it answers fell out
    while 0 < start < len(messages) and messages[start].role == "tool":
        start -= 1  # a new result needs the call it answers, whatever that costs
    return messages[start:]


def settled(messages: list[Message]) -> list[Message]:
    """`messages` with every call answered: models refuse a talk in which one is left open.

    The caller was asked to use its tool and said something else, or went away.
    """
    out: list[Message] = []
    unanswered: dict[str, str] = {}  # ids of calls, and what they call
    for message in messages:
        if message.role == "tool":
            call = message.tool_call_id or ""
            if call not in unanswered:  # before there were tools, a function answered by its name
                named = next((id for id, name in unanswered.items() if name == call), None)
                message = message if named is None else replace(message, tool_call_id=named)
            unanswered.pop(message.tool_call_id or "", None)
        else:
            out += [_no_result(id) for id in unanswered]
            unanswered = {call.id: call.name for call in message.tool_calls or ()}
        out.append(message)
    return [*out, *(_no_result(id) for id in unanswered)]


def _no_result(call_id: str) -> Message:
    return Message(role="tool", content="There is no result.", tool_call_id=call_id)
