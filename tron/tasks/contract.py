"""The words of tasks: what is asked for, planned, done, and told. No I/O.

A task is an intent of somebody and a plan of steps; each step is one tool call with a declared
effect. Times are milliseconds since the epoch.
"""

from typing import Any, Literal, get_args

import msgspec

Mode = Literal["auto", "plan_only", "confirm_each"]
"""`auto`: steps run, the policy says which ask first. `plan_only`: the plan is made and waits for
`resume`. `confirm_each`: every step asks first."""

Priority = Literal["high", "normal", "low"]
"""A task waits in the queue as if it had come ten minutes earlier (`high`) or later (`low`), so
nobody waits for ever."""

Status = Literal[
    "planned", "paused", "awaiting_approval", "running", "completed", "failed", "cancelled"
]
"""Of a task and of a step. `planned`: waits for its turn, for a time, or for an answer."""

Effect = Literal["read", "write", "send", "spend", "execute"]
"""What a tool does to the world: looks; changes what the hub keeps; reaches a person or another
system; costs money; runs a program."""

Decision = Literal["allow", "ask", "deny"]
Risk = Literal["low", "medium", "high"]

INTENT_CHARS = 4_000
"""the longest intent"""
EFFECTS: tuple[Effect, ...] = get_args(Effect)
ENDED: frozenset[Status] = frozenset({"completed", "failed", "cancelled"})
RISKS: dict[Effect, Risk] = {
    "read": "low",
    "write": "low",
    "send": "medium",
    "spend": "high",
    "execute": "high",
}


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan: a tool and its arguments.

    A text among the arguments may hold `{{n1}}`: the result of step n1 is put there. `needs` names
    the steps that must be done before, those in braces included.
    """

    node: str
    """`n1`, `n2`, … in the order of the plan"""
    title: str
    tool: str
    arguments: dict[str, Any] = {}
    needs: tuple[str, ...] = ()


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants done."""

    client_id: str
    intent: str
    agent: str
    """persona that plans and does it"""
    owner: str
    """who asked: a principal's name, or a caller id; empty: no person did"""
    session: str = ""
    """key of the conversation it belongs to; empty: none"""
    user_id: str = ""
    channel: str = "api"
    """by which way it was asked for"""
    mode: Mode = "auto"
    priority: Priority = "normal"
    key: str | None = None
    """the client's own: the same key is the same task, for ever"""
    timeout_s: float | None = None
    """None: the hub's setting"""
    plan: tuple[PlannedStep, ...] | None = None
    """None: the persona plans"""


class Step(msgspec.Struct, kw_only=True):
    """A step as it stands."""

    id: str
    """`<task id>.<node>`"""
    seq: int
    """from 1"""
    node: str
    title: str
    tool: str
    arguments: dict[str, Any]
    needs: tuple[str, ...]
    effect: Effect
    status: Status
    attempt: int
    result: str | None
    error: str | None
    started_at: int | None
    ended_at: int | None

    @property
    def risk(self) -> Risk:
        return RISKS[self.effect]


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A question to a person about exactly one action."""

    id: str
    client_id: str
    task_id: str
    step_id: str
    digest: str
    """SHA-256 of tool and arguments: an answer counts for this action and no other"""
    tool: str
    arguments: dict[str, Any]
    prompt: str
    """what the person is asked, in a sentence"""
    risk: Risk
    status: Literal["waiting", "approved", "denied", "expired", "withdrawn"]
    asked_at: int
    expires_at: int
    answered_at: int | None
    answered_by: str | None
    through: str | None
    """`api`, `socket`, `voice`, `chat`, `slack`, `panel`, `cli`"""


class Task(msgspec.Struct, kw_only=True):
    """A task as it stands, with its steps."""

    id: str
    client_id: str
    session: str
    owner: str
    user_id: str
    channel: str
    agent: str
    intent: str
    summary: str
    mode: Mode
    priority: Priority
    status: Status
    stretch: int
    """how many times work on it was begun or taken up again"""
    wake_at: int | None
    """when it goes on by itself, where it waits for a time or a reply"""
    expires_at: int
    """if it has not ended by then it ends as `failed` with the code `task_timeout`"""
    result: str | None
    code: str | None
    """of a task that failed or was cancelled: `approval_denied`, `approval_expired`, `cancelled`,
    `step_failed`, `step_timeout`, `task_timeout`, `refused`, `planning_failed`"""
    detail: str | None
    created_at: int
    updated_at: int
    started_at: int | None
    ended_at: int | None
    steps: list[Step] = []
    approval: Approval | None = None
    """the one it waits for"""

    @property
    def requires_approval(self) -> bool:
        return self.status == "awaiting_approval"

    @property
    def risk(self) -> Risk:
        """Of its riskiest step."""
        order = list(get_args(Risk))
        return max((step.risk for step in self.steps), key=order.index, default="low")


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a task's log; `kind` is one of the socket's message types."""

    id: int
    """grows over all tasks of the database"""
    client_id: str
    task_id: str
    session: str
    seq: int
    """from 1 within the task, without gaps"""
    at: int
    kind: str
    body: dict[str, Any]


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a task left in its workspace."""

    path: str
    """within the workspace, with forward slashes"""
    bytes: int
    modified_at: int
