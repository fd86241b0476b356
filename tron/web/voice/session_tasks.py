"""The tasks of a voice session, as the client on its socket sees and steers them.

Tells first what goes on (`task_status_snapshot`), then every line of the logs of the session's
tasks, and does what the client asks. A task belongs to the session's conversation and outlives
both connection and session; what happened between two connections is read from the log, so the
client gets each line once. Everything that can't be done is an `error_event` of `task_runtime`.
"""

import asyncio
from typing import TYPE_CHECKING

import structlog

from tron.conversation.finding import call_key
from tron.errors import NotFound, TronError
from tron.supervise import Tasks
from tron.tasks.contract import Status, Task, TaskEvent
from tron.web.voice.messages import TASK_ACTIONS, Control, ErrorEvent, of_event, snapshot
from tron.web.voice.sessions import VoiceSession

if TYPE_CHECKING:
    from tron.tasks.desk import Desk

log = structlog.get_logger(__name__)

MOST_SHOWN = 100
MOST_WAITING = 32
"""actions that wait for the one before"""
SNAPSHOT_S = 2.0
AGAIN_S = 1.0
"""pause before the log is followed again, where the store was away"""
ACTIVE: tuple[Status, ...] = ("running", "awaiting_approval", "planned")
"""the active task is the latest in the first of these"""
OVERLAP = 200
"""lines read again after a connection: of two hubs' lines the earlier may have been seen later"""
MEANT: dict[str, tuple[Status, ...]] = {
    "approve_task_step": ("awaiting_approval",),
    "deny_task_step": ("awaiting_approval",),
    "cancel_task": ACTIVE,
    "pause_task": ACTIVE,
    "resume_task": ("paused",),
}
"""what an action without a task id means: the latest task in the first of these"""


class SessionTasks:
    """See the module. One for each connection."""

    def __init__(self, desk: "Desk", session: VoiceSession) -> None:
        self._desk = desk
        self._session = session
        self._key = call_key(session.client_id, session.call_id)
        self._shown = asyncio.Event()
        self._waiting = 0
        self._turn = asyncio.Lock()

    async def shown(self) -> None:
        """Return once the snapshot is in the outbox, or can't be had soon."""
        try:
            async with asyncio.timeout(SNAPSHOT_S):
                await self._shown.wait()
        except TimeoutError:
            self._trouble("The tasks of this session can't be read now.")
            self._shown.set()

    def follow(self, tasks: Tasks) -> None:
        """Tell the snapshot, then what happens, until `tasks` are closed."""
        tasks.repeat(self._tell, "durable tasks", every_s=AGAIN_S)

    async def _tell(self) -> None:
        try:
            await self._follow()
        except TronError as error:
            if not self._shown.is_set():
                self._trouble(error.message)
                self._shown.set()
            raise

    async def _follow(self) -> None:
        session = self._session
        if session.task_event is None:
            await self._skip()
        # What the snapshot says may come again as a line; the other way round it would be missing.
        after = max(0, (session.task_event or 0) - OVERLAP)
        async with self._desk.follow(session.client_id, session=self._key, after=after) as lines:
            if not self._shown.is_set():
                live = await self._live()
                if not self._shown.is_set():
                    session.outbox.put(snapshot(live))
                    self._shown.set()
            async for line in lines:
                if self._new(line) and (message := of_event(line)) is not None:
                    session.outbox.put(message)

    def _new(self, line: TaskEvent) -> bool:
        """Whether it was not told yet; from now on it was."""
        session = self._session
        if line.seq <= session.task_lines.get(line.task_id, 0):
            return False
        session.task_lines.pop(line.task_id, None)  # the latest last
        session.task_lines[line.task_id] = line.seq
        while len(session.task_lines) > 2 * OVERLAP:
            del session.task_lines[next(iter(session.task_lines))]
        session.task_event = max(session.task_event or 0, line.id)
        return True

    async def _skip(self) -> None:
        """What happened before the first connection is told by the snapshot."""
        who = self._session.client_id
        self._session.task_event = 0
        for task in await self._desk.listing(who, session=self._key, limit=MOST_SHOWN):
            for line in await self._desk.events(who, task.id, limit=1):
                self._new(line)

    async def _live(self) -> list[Task]:
        return await self._desk.listing(
            self._session.client_id, session=self._key, live=True, limit=MOST_SHOWN
        )

    async def act(self, control: Control) -> None:
        """Do it, after what was asked before. `control.action` is one of `TASK_ACTIONS`."""
        action = control.action
        if action == "approve_task_step" and control.approved is False:
            action = "deny_task_step"
        if self._waiting >= MOST_WAITING:
            self._failed(action, "Too much is asked at once.", retryable=True)
            return
        self._waiting += 1
        try:
            async with self._turn:
                await self._act(action, control)
        except TronError as error:
            self._failed(action, error.message, retryable=error.retryable)
        finally:
            self._waiting -= 1

    async def _act(self, action: str, control: Control) -> None:
        desk, who, key = self._desk, self._session.client_id, self._key
        id = control.task_id or await self._meant(action)
        match action:
            case "approve_task_step" | "deny_task_step":
                await desk.answer(
                    who,
                    id,
                    approved=action == "approve_task_step",
                    by=self._session.owner,
                    through="socket",
                    session=key,
                )
            case "cancel_task":
                await desk.cancel(who, id, reason=(control.reason or "")[:500], session=key)
            case "pause_task":
                await desk.pause(who, id, session=key)
            case "resume_task":
                await desk.resume(who, id, session=key)

    async def _meant(self, action: str) -> str:
        live = await self._live()
        for status in MEANT[action]:
            for task in live:
                if task.status == status:
                    return task.id
        raise NotFound(f"No task of this session is {_said(MEANT[action])}.")

    def _trouble(self, detail: str) -> None:
        self._error("task_status_failed", detail, retryable=True)

    def _failed(self, action: str, detail: str, *, retryable: bool) -> None:
        self._error(TASK_ACTIONS[action], detail, retryable=retryable)

    def _error(self, code: str, detail: str, *, retryable: bool) -> None:
        self._session.outbox.put(
            ErrorEvent(code=code, source="task_runtime", retryable=retryable, detail=detail)
        )


def _said(statuses: tuple[Status, ...]) -> str:
    return " or ".join(status.replace("_", " ") for status in statuses)
