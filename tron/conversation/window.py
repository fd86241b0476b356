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
    unanswered: list[str] = []
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id in unanswered:
                unanswered.remove(message.tool_call_id)
        else:
            out += [_no_result(id) for id in unanswered]
            unanswered = [call.id for call in message.tool_calls or ()]
        out.append(message)
    return [*out, *(_no_result(id) for id in unanswered)]


def _no_result(call_id: str) -> Message:
    return Message(role="tool", content="There is no result.", tool_call_id=call_id)
