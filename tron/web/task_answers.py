"""What the task routes take and answer. No I/O.

Names are those of the voice API's document and of its socket's messages. What is asked is checked
strictly: a field nobody knows, or `"approved": "false"`, is a fault and never a yes.
"""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from tron.tasks.contract import (
    INTENT_CHARS,
    Approval,
    Artifact,
    Decision,
    Effect,
    Mode,
    PlannedStep,
    Priority,
    Risk,
    Status,
    Step,
    Task,
    TaskEvent,
)
from tron.tasks.plan import MOST_STEPS, graph
from tron.web.contract import PRINTABLE
from tron.web.voice.messages import moment, of_event

_NO_NUL = r"^[^\x00]*$"

Name = Annotated[str, Field(max_length=80, pattern=PRINTABLE)]
SessionId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=300,
        pattern=PRINTABLE,
        description="id of a voice session, or key of a conversation",
    ),
]


class Strict(BaseModel):
    """A body in which nothing is guessed."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StepWanted(Strict):
    """A step of a plan: a tool and its arguments; `{{n1}}` in one is the result of step n1."""

    node: str = Field(max_length=16, description="n1, n2, …")
    title: str = Field(default="", max_length=200, pattern=_NO_NUL)
    tool: str = Field(min_length=1, max_length=64, pattern=PRINTABLE)
    arguments: dict[str, Any] = {}
    needs: list[str] = Field(default=[], max_length=MOST_STEPS)

    def planned(self) -> PlannedStep:
        return PlannedStep(
            node=self.node,
            title=self.title,
            tool=self.tool,
            arguments=self.arguments,
            needs=tuple(self.needs),
        )


Plan = Annotated[list[StepWanted], Field(min_length=1, max_length=MOST_STEPS)]


class TaskRequest(Strict):
    """What is to be done."""

    intent_text: str = Field(min_length=1, max_length=INTENT_CHARS, pattern=_NO_NUL)
    session_id: SessionId | None = None
    user_id: str | None = Field(
        default=None,
        max_length=200,
        pattern=PRINTABLE,
        description="for whom; a voice session knows that itself",
    )
    mode: Mode = Field(
        default="auto",
        description="`auto`: do it, asking where the policy says so; `plan_only`: plan and wait "
        "for resume; `confirm_each`: ask before every step",
    )
    priority: Priority = "normal"
    agent: Name | None = Field(default=None, description="who does it; else the session's agent")
    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern=PRINTABLE,
        description="the same key is the same task; the header Idempotency-Key says the same",
    )
    timeout_s: float | None = Field(default=None, gt=0, le=30 * 86_400)
    plan: Plan | None = Field(default=None, description="else the agent plans")


class AnswerRequest(Strict):
    """Yes or no."""

    approved: bool
    approval_id: str | None = Field(
        default=None, max_length=64, pattern=PRINTABLE, description="this question and no later one"
    )
    through: Literal["api", "panel", "cli"] = "api"


class CancelRequest(Strict):
    """Why."""

    reason: str = Field(default="Cancelled by API.", max_length=500, pattern=_NO_NUL)


class PlanRequest(Strict):
    """What is to be done instead of the steps that were not begun."""

    steps: Plan


class PolicyRequest(Strict):
    """What tools of an effect may do without asking."""

    effect: Effect
    decision: Decision
    agent: Name = Field(default="", description="empty: every agent")


class OfSession(BaseModel):
    """The session a task belongs to: whoever shows a voice session's id may see its tasks."""

    session_id: SessionId | None = None


class TaskQuery(OfSession):
    """Which tasks."""

    limit: int = Field(default=20, ge=1, description="200 at most are answered")
    live: bool = Field(default=False, description="only those that have not ended")


class EventQuery(OfSession):
    """Which lines of the log."""

    limit: int = Field(default=100, ge=1, description="500 at most are answered")
    after: int = Field(default=0, ge=0, le=2**31, description="`seq` of the last one known")


class PolicyQuery(BaseModel):
    """Which rule."""

    effect: Effect
    agent: Name = ""


class StepAnswer(BaseModel):
    """A step; `id` is what messages call `step_id`."""

    id: str
    task_id: str
    seq: int
    node: str
    title: str
    tool_name: str
    effect: Effect
    arguments: dict[str, Any]
    needs: list[str]
    status: Status
    risk_level: Risk
    requires_approval: bool
    attempt: int
    result: str | None
    error: str | None
    started_at: str | None
    ended_at: str | None


class ApprovalAnswer(BaseModel):
    """What a person is asked about exactly one action."""

    approval_id: str
    task_id: str
    step_id: str
    prompt: str
    tool_name: str
    arguments: dict[str, Any]
    risk_level: Risk
    asked_at: str
    expires_at: str


class PlanGraph(BaseModel):
    """The plan: what is done by which tool, and what needs what."""

    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]


class TaskAnswer(BaseModel):
    """A task and its steps; `session_id` is the key of its conversation."""

    id: str
    task_id: str
    session_id: str
    user_id: str
    owner: str
    agent: str
    channel: str
    intent_text: str
    summary: str
    mode: Mode
    priority: Priority
    status: Status
    risk_level: Risk
    requires_approval: bool
    current_step_id: str | None
    steps: list[StepAnswer]
    graph: PlanGraph
    approval: ApprovalAnswer | None
    result: str | None
    code: str | None
    detail: str | None
    created_at: str
    updated_at: str
    started_at: str | None
    ended_at: str | None
    wake_at: str | None
    expires_at: str


class CreatedAnswer(TaskAnswer):
    """A task; `deduped`: it was there already."""

    deduped: bool


class TaskList(BaseModel):
    """Tasks, the latest first."""

    session_id: str | None
    tasks: list[TaskAnswer]


class EventAnswer(BaseModel):
    """A line of a task's log: the fields of the socket's message of that type, `seq` and `at`;
    that of a plan has `graph` as well."""

    model_config = ConfigDict(extra="allow")

    type: str
    task_id: str
    seq: int
    at: str


class EventList(BaseModel):
    """Lines of a task's log, oldest first."""

    task_id: str
    events: list[EventAnswer]


class ArtifactAnswer(BaseModel):
    """A file that a task left."""

    path: str
    bytes: int
    modified_at: str


class ArtifactList(BaseModel):
    """The files that a task left."""

    task_id: str
    artifacts: list[ArtifactAnswer]


class ApprovalList(BaseModel):
    """What waits for an answer, the oldest first."""

    approvals: list[ApprovalAnswer]


class PolicyRule(BaseModel):
    """What tools of an effect may do; `agent` is empty for every agent."""

    agent: str
    effect: str
    decision: str
    updated_at: str


class PolicyList(BaseModel):
    """What was decided here, and what holds where nothing was."""

    rules: list[PolicyRule]
    defaults: dict[str, Decision]


def task_answer(task: Task) -> dict[str, Any]:
    """As `TaskAnswer` says."""
    nodes, edges = graph(task.steps)
    running = (step.id for step in task.steps if step.status in ("running", "awaiting_approval"))
    return {
        "id": task.id,
        "task_id": task.id,
        "session_id": task.session,
        "user_id": task.user_id,
        "owner": task.owner,
        "agent": task.agent,
        "channel": task.channel,
        "intent_text": task.intent,
        "summary": task.summary,
        "mode": task.mode,
        "priority": task.priority,
        "status": task.status,
        "risk_level": task.risk,
        "requires_approval": task.requires_approval,
        "current_step_id": next(running, None),
        "steps": [_step(task.id, step) for step in task.steps],
        "graph": {"nodes": nodes, "edges": edges},
        "approval": None if task.approval is None else approval_answer(task.approval),
        "result": task.result,
        "code": task.code,
        "detail": task.detail,
        "created_at": moment(task.created_at),
        "updated_at": moment(task.updated_at),
        "started_at": _moment(task.started_at),
        "ended_at": _moment(task.ended_at),
        "wake_at": _moment(task.wake_at),
        "expires_at": moment(task.expires_at),
    }


def _step(task_id: str, step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "task_id": task_id,
        "seq": step.seq,
        "node": step.node,
        "title": step.title,
        "tool_name": step.tool,
        "effect": step.effect,
        "arguments": step.arguments,
        "needs": list(step.needs),
        "status": step.status,
        "risk_level": step.risk,
        "requires_approval": step.status == "awaiting_approval",
        "attempt": step.attempt,
        "result": step.result,
        "error": step.error,
        "started_at": _moment(step.started_at),
        "ended_at": _moment(step.ended_at),
    }


def approval_answer(approval: Approval) -> dict[str, Any]:
    """As `ApprovalAnswer` says."""
    return {
        "approval_id": approval.id,
        "task_id": approval.task_id,
        "step_id": approval.step_id,
        "prompt": approval.prompt,
        "tool_name": approval.tool,
        "arguments": approval.arguments,
        "risk_level": approval.risk,
        "asked_at": moment(approval.asked_at),
        "expires_at": moment(approval.expires_at),
    }


def event_answer(event: TaskEvent) -> dict[str, Any] | None:
    """As `EventAnswer` says; None for a line that isn't told."""
    message = of_event(event)
    if message is None:
        return None
    told: dict[str, Any] = msgspec.to_builtins(message)
    del told["session_id"], told["event_seq"]
    if event.kind == "task_plan_graph":
        told["graph"] = {"nodes": told["nodes"], "edges": told["edges"]}
    return told | {"seq": event.seq, "at": moment(event.at)}


def artifact_answer(artifact: Artifact) -> dict[str, Any]:
    """As `ArtifactAnswer` says."""
    return {
        "path": artifact.path,
        "bytes": artifact.bytes,
        "modified_at": moment(artifact.modified_at),
    }


def _moment(ms: int | None) -> str | None:
    return None if ms is None else moment(ms)
