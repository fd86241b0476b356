"""What travels on a voice session's socket, in both directions. No I/O.

Every message has `type` and `session_id`; those of the hub also have `event_seq`, counted from 1
within the session, by which a client that comes back says what it has seen. Messages the client
must not miss are `CONTROL`; the others may be lost when it reads too slowly, and it is told so.
Those about tasks are lines of their logs: `of_event` makes one of a line, for REST as well.
"""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from tron.calls.audio import Resampler
from tron.errors import Invalid
from tron.tasks.contract import Risk, Status, Task, TaskEvent

MAX_MESSAGE_BYTES = 2 * 1024 * 1024
RATE = 16_000
"""Hz, what the hub listens at; other rates are converted"""
RATES = frozenset((8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000))

# From the client


class AudioChunk(msgspec.Struct, tag="client_audio_chunk", tag_field="type", frozen=True):
    """Sound of the user: base64 PCM16 mono."""

    session_id: str
    pcm16_base64: str
    sample_rate: int
    seq: int | None = None
    ts_ms: int | float | None = None


class Control(msgspec.Struct, tag="client_control", tag_field="type", frozen=True):
    """Something the user wants."""

    session_id: str
    action: str
    task_id: str | None = None
    approved: bool | None = None
    scope: str | None = None
    reason: str | None = None
    ts_ms: int | float | None = None


_DECODER: msgspec.json.Decoder[AudioChunk | Control] = msgspec.json.Decoder(AudioChunk | Control)


def parse(raw: str | bytes, session_id: str) -> AudioChunk | Control:
    """A message of the client, meant for this session. Raises Invalid."""
    if isinstance(raw, bytes):
        raise Invalid("Messages are text frames of JSON; audio goes in pcm16_base64.")
    try:
        message = _DECODER.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Invalid(f"The message can't be read: {str(error)[:200]}") from None
    if message.session_id != session_id:
        raise Invalid("The message names another session.")
    return message


class Ear:
    """Turns the chunks of one connection into PCM16 at `RATE`, and notices what is missing.

    Sound is kept whatever its number: a client may count from anew, or not count at all. Nor can
    there be anything that was heard already: a client that comes back gets a call of its own, and
    one connection brings nothing twice.
    """

    def __init__(self) -> None:
        self._seq: int | None = None
        self._repeating = False
        self._rate = RATE
        self._resampler = Resampler(RATE, RATE)

    def take(self, chunk: AudioChunk) -> tuple[bytes, str]:
        """(its sound, what is to be said of its number). Raises Invalid."""
        if chunk.sample_rate not in RATES:
            known = ", ".join(map(str, sorted(RATES)))
            raise Invalid(f"sample_rate {chunk.sample_rate} is none of {known}.")
        try:
            pcm = base64.b64decode(chunk.pcm16_base64, validate=True)
        except (binascii.Error, ValueError):
            raise Invalid("pcm16_base64 is not base64.") from None
        if not pcm or len(pcm) % 2:
            raise Invalid("pcm16_base64 must hold whole 16-bit samples, at least one.")
        told = "" if chunk.seq is None else self._counted(chunk.seq)
        if chunk.sample_rate != self._rate:
            self._rate = chunk.sample_rate
            self._resampler = Resampler(chunk.sample_rate, RATE)
        return self._resampler.feed(pcm), told

    def _counted(self, seq: int) -> str:
        """What is to be said of a number; of numbers that stay the same only once."""
        last, self._seq = self._seq, seq
        repeating, self._repeating = self._repeating, seq == last
        if last is None or seq == last + 1:
            return ""
        if seq > last:
            return f"audio chunks {last + 1} to {seq - 1} did not arrive"
        if seq < last:
            return f"audio chunk {seq} came after {last}; it was kept, and is counted from"
        return "" if repeating else f"audio chunk {seq} came again; it was kept"


# From the hub


class Outgoing(msgspec.Struct, kw_only=True, tag_field="type"):
    """Both are filled in by the outbox."""

    session_id: str = ""
    event_seq: int = 0


class EndpointHint(Outgoing, tag="semantic_endpoint_hint"):
    """What the partial that follows says about whether the user is done."""

    reason: Literal["neutral", "continuation", "terminal"]
    confidence: float | None
    """null: the recogniser does not say"""
    hold_ms: int
    should_commit: bool
    ts_ms: int


class SttPartial(Outgoing, tag="stt_partial"):
    text: str
    confidence: float | None
    ts_ms: int


class SttCommitted(Outgoing, tag="stt_committed"):
    text: str
    ts_ms: int


class TextDelta(Outgoing, tag="assistant_text_delta"):
    turn_id: str
    text_delta: str


class SpeechChunk(Outgoing, tag="assistant_audio_chunk"):
    """A whole WAV each; `seq` counts from 1 within the turn."""

    turn_id: str
    seq: int
    format: str
    audio_base64: str


class TurnEnd(Outgoing, tag="assistant_turn_end"):
    turn_id: str
    reason: str


class SystemEvent(Outgoing, tag="system_event"):
    code: str
    detail: str | UnsetType = UNSET


class ErrorEvent(Outgoing, tag="error_event"):
    code: str
    source: str
    retryable: bool
    detail: str


# From the hub, about tasks


class TaskItem(msgspec.Struct, kw_only=True):
    """A task in the snapshot."""

    task_id: str
    summary: str
    status: Status
    risk_level: Risk
    requires_approval: bool


class TaskSnapshot(Outgoing, tag="task_status_snapshot"):
    """What has not ended; paused tasks are among `planned`."""

    active: list[TaskItem]
    awaiting_approval: list[TaskItem]
    planned: list[TaskItem]


class TaskMessage(Outgoing):
    """A line of a task's log."""

    task_id: str


class TaskCreated(TaskMessage, tag="task_created"):
    summary: str
    status: Status
    risk_level: Risk | UnsetType = UNSET
    requires_approval: bool | UnsetType = UNSET


class TaskPlanGraph(TaskMessage, tag="task_plan_graph"):
    """The plan as it now stands: what is done by which tool, and what needs what."""

    status: Status
    detail: str
    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]


class TaskPlanDelta(TaskMessage, tag="task_plan_delta"):
    status: Status
    text_delta: str | UnsetType = UNSET
    queued_position: int | UnsetType = UNSET


class TaskStepStarted(TaskMessage, tag="task_step_started"):
    step_id: str
    step_seq: int
    title: str
    risk_level: Risk


class TaskStepLog(TaskMessage, tag="task_step_log"):
    step_id: str
    text_delta: str


class TaskStepCompleted(TaskMessage, tag="task_step_completed"):
    """`status` is the task's."""

    step_id: str
    status: Status


class TaskWaitingApproval(TaskMessage, tag="task_waiting_approval"):
    step_id: str
    risk_level: Risk
    prompt: str
    requires_approval: bool
    approval_id: str
    expires_at: str


class TaskCompleted(TaskMessage, tag="task_completed"):
    status: Status
    result: str


class TaskFailed(TaskMessage, kw_only=True, tag="task_failed"):
    """`step_id` is empty where no step was under way."""

    step_id: str = ""
    status: Status
    code: str
    detail: str


_OF_TASKS: dict[str, type[TaskMessage]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        TaskCreated,
        TaskPlanGraph,
        TaskPlanDelta,
        TaskStepStarted,
        TaskStepLog,
        TaskStepCompleted,
        TaskWaitingApproval,
        TaskCompleted,
        TaskFailed,
    )
}
CONTROL = (
    SttCommitted,
    TurnEnd,
    SystemEvent,
    ErrorEvent,
    TaskSnapshot,
    TaskCreated,
    TaskStepStarted,
    TaskStepCompleted,
    TaskWaitingApproval,
    TaskCompleted,
    TaskFailed,
)


def of_event(event: TaskEvent) -> TaskMessage | None:
    """A line of a task's log as a message; None if it is of a kind that isn't told."""
    kind = _OF_TASKS.get(event.kind)
    if kind is None:
        return None
    body = {name: value for name, value in event.body.items() if value is not None}
    if "expires_at" in body:
        body["expires_at"] = moment(body["expires_at"])
    return msgspec.convert(body | {"type": event.kind, "task_id": event.task_id}, kind)


def snapshot(tasks: list[Task]) -> TaskSnapshot:
    """`tasks`: those of the session that have not ended."""
    found = TaskSnapshot(active=[], awaiting_approval=[], planned=[])
    places = {"running": found.active, "awaiting_approval": found.awaiting_approval}
    for task in tasks:
        item = TaskItem(
            task_id=task.id,
            summary=task.summary,
            status=task.status,
            risk_level=task.risk,
            requires_approval=task.requires_approval,
        )
        places.get(task.status, found.planned).append(item)
    return found


def moment(ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601, none of them lost: steps are quick."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def encode(message: Outgoing) -> str:
    return msgspec.json.encode(message).decode()


def refusal(error: Invalid) -> ErrorEvent:
    """What a message that can't be taken is answered with."""
    return ErrorEvent(
        code="invalid_client_message", source="gateway", retryable=False, detail=error.message
    )


TASK_ACTIONS = {
    "approve_task_step": "task_approval_failed",
    "deny_task_step": "task_deny_failed",
    "cancel_task": "task_cancel_failed",
    "pause_task": "task_pause_failed",
    "resume_task": "task_resume_failed",
}
"""by action: the code of the error event that answers it where it can't be done"""
