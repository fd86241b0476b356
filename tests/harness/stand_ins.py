"""What stands in, in a unit test, for parts of the hub that the test is not about."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tron.conversation.session import Session
from tron.conversation.thinking import Thought
from tron.conversation.turns import TurnInput
from tron.tools.contract import Tool, ToolContext


async def no_gate(context: ToolContext, tool: Tool[Any], arguments: str) -> None:
    """A `Gate` that lets every tool run."""


class Nothing:
    """An `Aside` that never says anything."""

    def turn(self, client_id: str, session: str) -> AbstractContextManager[None]:
        return nullcontext()

    async def answered(self, turn: TurnInput, session: Session) -> str | None:
        return None

    async def closing(self, turn: TurnInput, session: Session, thought: Thought) -> str:
        return ""
