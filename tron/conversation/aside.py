"""What the hub itself has to say in a conversation, beside the persona's model.

The door asks before the model and after it: an exact answer to a question of the hub's never
reaches the model, and what has to be said word for word is said by nobody else. Tasks are what
fills it (`tron.tasks.talk`).
"""

from contextlib import AbstractContextManager
from typing import Protocol

from tron.conversation.session import Session
from tron.conversation.thinking import Thought
from tron.conversation.turns import TurnInput

HUB = "hub"
"""the provider of an answer that no model gave"""


class Aside(Protocol):
    """See the module."""

    def turn(self, client_id: str, session: str) -> AbstractContextManager[None]:
        """Around a turn of that session, from its first word to its last."""
        ...

    async def answered(self, turn: TurnInput, session: Session) -> str | None:
        """The reply, if what was just said (and stored) was an answer to the hub; else None."""
        ...

    async def closing(self, turn: TurnInput, session: Session, thought: Thought) -> str:
        """What is to be said behind the persona's answer; "" for nothing."""
        ...
