"""Hanging up, as a tool of one call: it ends when the persona has said goodbye."""

from collections.abc import Callable
from typing import Annotated

import msgspec

from tron.tools.contract import Tool, ToolContext

ENDING = '{"ok": true, "next": "The call ends when you have finished speaking. Say goodbye."}'
"""what the persona is told; `ok` says that it will be done, the rest is for it alone"""


class EndCall(msgspec.Struct):
    reason: Annotated[str, msgspec.Meta(description="why, in a few words")] = ""


def end_tool(end: Callable[[], None]) -> Tool[EndCall]:
    """`end_call` of one call. `end` has it end once the persona has finished speaking."""

    async def run(_: ToolContext, args: EndCall) -> str:
        end()
        return ENDING

    return Tool(
        "end_call", "End this phone call, after saying goodbye.", EndCall, run, effect="write"
    )
