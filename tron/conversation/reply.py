"""A reply: a whole turn at once, for callers that don't stream."""

import msgspec

from tron.conversation.thinking import ToolRecord, record
from tron.conversation.turns import (
    Batches,
    CallerToolCalls,
    Done,
    TextDelta,
    ToolCall,
    ToolFinished,
)


class Reply(msgspec.Struct, kw_only=True):
    """What came of a turn."""

    text: str
    done: Done
    calls: list[ToolCall]
    """calls of the caller's own tools"""
    tools: list[ToolRecord]
    """tools of the hub that were used"""


async def whole(batches: Batches) -> Reply:
    """Read a turn to its end. Raises what the turn raises."""
    pieces: list[str] = []
    calls: list[ToolCall] = []
    tools: list[ToolRecord] = []
    done: Done | None = None
    async for batch in batches:
        for event in batch:
            if isinstance(event, TextDelta):
                pieces.append(event.text)
            elif isinstance(event, CallerToolCalls):
                calls = event.calls
            elif isinstance(event, ToolFinished):
                tools.append(record(event))
            elif isinstance(event, Done):
                done = event
    assert done is not None  # converse ends with Done or raises
    return Reply(text="".join(pieces), done=done, calls=calls, tools=tools)
