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
NO_RESULT = "There is no result."


def must_be_read(talk: list[Message]) -> int:
    """How many of the last messages no answer can do without: the last, or all new results."""
    count = 0
    while count < len(talk) and talk[-1 - count].role == "tool":
        count += 1
    return max(count, 1)


def fitting(talk: list[Message], *, budget_tokens: int) -> list[Message]:
    """As much of `talk` as the model is to read, every call in it answered."""
    talk = settled(talk)
    newest = must_be_read(talk)
    limit = budget_tokens * CHARACTERS_PER_TOKEN // PART
    past = [shortened(message, limit) for message in talk[:-newest]]
    return window([*past, *talk[-newest:]], budget_tokens=budget_tokens, newest=newest)


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
    """`messages` with every call followed by its result: models refuse a talk that is otherwise.

    The caller was asked to use its tool and said something else, or went away: a result that comes
    late is read where its call is. One that no call waits for (it was sent twice, or its call was
    summarised) is not read.
    """
    out: list[Message] = []
    waiting: dict[str, tuple[str, int]] = {}  # ids of calls: what they call, where the result goes
    for message in messages:
        if message.role == "tool":
            call = _answered(message.tool_call_id or "", waiting)
            if call is not None:
                _, place = waiting.pop(call)
                out[place] = replace(message, tool_call_id=call)
            continue
        out.append(message)
        made = {}
        for place, asked in enumerate(message.tool_calls or (), start=len(out)):
            made[asked.id] = (asked.name, place)
            out.append(Message(role="tool", content=NO_RESULT, tool_call_id=asked.id))
        if made:  # the latest first: an id may come again
            waiting = made | {id: call for id, call in waiting.items() if id not in made}
    return out


def _answered(given: str, waiting: dict[str, tuple[str, int]]) -> str | None:
    """The id of the call that a result with the id `given` answers."""
    if given in waiting:
        return given
    # Before there were tools, a function answered by its name.
    return next((id for id, (name, _) in waiting.items() if name == given), None)
