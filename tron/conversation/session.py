"""A session in use: what a hub holds in memory of one conversation.

The store has the transcript; this is a copy of its part that still counts, with the process that
speaks in it. It does nothing by itself: `Sessions` finds it, `Held` remembers it, `Keeping` adds
to it, and only the turn that has the floor changes it.
"""

import secrets
from typing import Any

from tron.conversation.reconcile import EMPTY_DIGEST
from tron.conversation.transcript import Entry
from tron.conversation.turns import Message
from tron.orchestrator.process import Process

INTERNAL_CHANNELS = ("delegation",)
"""conversations among personas; not listed among callers' sessions"""

MADE_UP = ("anonymous-", "req-")
"""caller ids that name a request rather than a person: only their talks are found by history"""


def nobody_else() -> str:
    """A caller id that nobody else has or can guess, for what is done on no person's behalf."""
    return f"{MADE_UP[0]}{secrets.token_hex(16)}"


class Stale(Exception):
    """What is held of a conversation no longer tells where it goes on: it was deleted, ended or
    continued elsewhere. Nothing was added; the turn is to be opened once more."""


class Session:
    """A conversation in use. Only the turn that has the floor changes it."""

    def __init__(self, row: dict[str, Any], *, stored: bool) -> None:
        self.key: str = row["key"]
        self.client_id: str = row["client_id"]
        self.caller: str = row["caller"]
        self.channel: str = row["channel"]
        self.agent: str = row["agent"]
        self.created_at: int = row["created_at"]
        self.updated_at: int = row["updated_at"]
        self.summary: str | None = row.get("summary")
        self.summary_seq: int = row.get("summary_seq") or 0
        self.digest: str | None = row.get("digest") if stored else EMPTY_DIGEST
        """None: rewritten by its caller, so not to be found by its history"""
        self.ended: bool = row.get("ended_at") is not None
        self.deleted = False
        self.process: Process | None = None
        self.process_id: str = row.get("process_id") or ""
        """the latest process that spoke in it"""
        self.entries: list[Entry] = []
        self.next_seq = 1
        self.stored = stored
        self.unsaved: list[Entry] = []
        """said, but the store was away; saved with the next message"""

    @property
    def messages(self) -> list[Message]:
        return [entry.message for entry in self.entries]

    @property
    def by_history(self) -> bool:
        """Whether what was said in it is all that it can be found by."""
        return self.caller.startswith(MADE_UP) and self.channel not in INTERNAL_CHANNELS

    def row(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "client_id": self.client_id,
            "caller": self.caller,
            "channel": self.channel,
            "agent": self.agent,
            "process_id": self.process_id,
            "digest": self.digest or None,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }
