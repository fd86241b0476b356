"""What may follow what: the state machine of a task. Pure.

    create ──► planned ──► running ──► completed | failed
                  ▲  │        │  │
                  │  │        │  └──► awaiting_approval ──► planned (yes) | failed (no, too late)
                  │  │        └─────► planned (waits for a time or a reply)
                  │  └─► paused ◄──── running, awaiting_approval
                  └────────┘ resume (back to running, if its step still is)
    cancel: from whatever has not ended.   retry: failed | cancelled ──► planned

`records.py` changes a status only through `after`; whoever asks for something that can't follow
gets `Conflict`.
"""

from typing import Literal

from tron.errors import Conflict
from tron.tasks.contract import Status

Happening = Literal[
    "begin",
    "complete",
    "fail",
    "ask",
    "approve",
    "deny",
    "wait",
    "pause",
    "resume",
    "unpause",
    "cancel",
    "retry",
]

_AFTER: dict[Happening, dict[Status, Status]] = {
    "begin": {"planned": "running", "running": "running"},
    "complete": {"planned": "completed", "running": "completed", "paused": "completed"},
    "fail": {
        "planned": "failed",
        "running": "failed",
        "paused": "failed",
        "awaiting_approval": "failed",
    },
    "ask": {"planned": "awaiting_approval", "running": "awaiting_approval"},
    "approve": {"awaiting_approval": "planned"},
    "deny": {"awaiting_approval": "failed"},
    "wait": {"running": "planned", "planned": "planned", "paused": "paused"},
    "pause": {"planned": "paused", "running": "paused", "awaiting_approval": "paused"},
    "resume": {"paused": "planned", "planned": "planned"},
    "unpause": {"paused": "running"},
    "cancel": {
        "planned": "cancelled",
        "running": "cancelled",
        "paused": "cancelled",
        "awaiting_approval": "cancelled",
    },
    "retry": {"failed": "planned", "cancelled": "planned"},
}


def after(status: Status, happening: Happening) -> Status:
    """The status that follows. Raises Conflict where `happening` can't follow `status`."""
    found = _AFTER[happening].get(status)
    if found is None:
        raise Conflict(
            f"A task that is {status.replace('_', ' ')} can't be {_DONE[happening]}.",
            code="wrong_state",
        )
    return found


def may(status: Status, happening: Happening) -> bool:
    return status in _AFTER[happening]


_DONE: dict[Happening, str] = {
    "begin": "begun",
    "complete": "completed",
    "fail": "failed",
    "ask": "held for approval",
    "approve": "approved",
    "deny": "denied",
    "wait": "made to wait",
    "pause": "paused",
    "resume": "resumed",
    "unpause": "resumed",
    "cancel": "cancelled",
    "retry": "tried again",
}
