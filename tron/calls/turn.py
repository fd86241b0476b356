"""The persona's turn that is under way, and what is to be told of how it goes and ends.

What nobody asked for (the greeting, "Are you still there?") is a turn as well, with the id 0. It
was not begun at the door, so neither the door nor a client is told of its end: only what was heard
of it is, by `Unasked`. No I/O; callers: the call machine.
"""

import msgspec

from tron.calls import signals as s
from tron.calls.sentences import Sentences
from tron.calls.signals import Action


class Turn(msgspec.Struct):
    """One of them. Times in ms on the call's media clock."""

    id: int
    """0: nobody asked for it"""
    sentences: Sentences = msgspec.field(default_factory=Sentences)
    heard: str = ""
    """the text of the segments that have played"""
    paused: str | None = None
    """the caller spoke into it, or before it: what was to be said and was not heard; None: it goes
    on"""
    generating: bool = True
    spoke: bool = False
    audible: bool = False
    """its first audio was sent"""
    working_since: int | None = None
    filled: bool = False
    """a filler was said while a tool ran"""
    worded: bool = False
    """its first text has come"""
    failed: bool = False
    made_at: int = 0
    """when the last of its text and sound was there"""

    def sounds(self) -> list[Action]:
        """Some of it goes out."""
        if self.audible or not self.id:
            return []
        self.audible = True
        return [s.Note("first_audio", self.id), s.Tell("first_audio", self.id)]

    def over(self) -> list[Action]:
        """It came to its end."""
        if not self.id:
            return [s.Unasked(self.heard)]
        reason = "failed" if self.failed else "completed"
        return [
            s.Note("turn_over", self.id, reason, self.made_at),
            s.Tell("turn_end", self.id, reason),
        ]

    def dropped(self, reason: str) -> list[Action]:
        """It ends here; no more counts than what was heard."""
        if not self.id:
            return [
                s.Unasked(self.heard),
                s.Note("cut_off", text=self.heard),
                s.Tell("heard", text=self.heard),
            ]
        return [
            s.DropTurn(self.id, self.heard),
            s.Note("turn_dropped", self.id, self.heard),
            s.Tell("heard", self.id, self.heard),
            s.Tell("turn_end", self.id, reason),
        ]
