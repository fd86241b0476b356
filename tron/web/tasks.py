"""`/v1/tasks` and `/v1/approvals`: hand tasks in, look at them, answer, stop and steer them.

Thin: what is asked is checked here, and that it is the asker's to ask; the desk does the rest.
Failures are `{"error","code"}` (see `tron.web.errors`).

Every route needs `chat`, as talking does, and acts within the principal's tenant. `admin` sees and
answers every task there; anybody else those they handed in, and those of a voice session whose id
they show as `session_id`: that id is a secret, so whoever has it is the person who talks. All other
tasks are not found. What a policy allows is not a matter of one's own tasks: reading it needs
`read`, changing it `admin`.
"""

import json
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from quart import Blueprint, Response, request

from tron.conversation import transcript
from tron.conversation.finding import call_key
from tron.errors import CallerError, Conflict, Invalid, NotFound
from tron.storage.tables import sessions as conversations
from tron.tasks import records
from tron.tasks.contract import ENDED, Approval, NewTask, Task
from tron.web import task_files, task_stream
from tron.web.contract import VoiceErrorAnswer, promises
from tron.web.security import Principal, principal
from tron.web.task_answers import (
    AnswerRequest,
    ApprovalList,
    ArtifactList,
    CancelRequest,
    CreatedAnswer,
    EventList,
    EventQuery,
    OfSession,
    PlanRequest,
    TaskAnswer,
    TaskList,
    TaskQuery,
    TaskRequest,
    approval_answer,
    artifact_answer,
    event_answer,
    task_answer,
)
from tron.web.voice.sessions import VoiceSessions

if TYPE_CHECKING:
    from tron.hub import Hub

MOST_TASKS = 200
MOST_EVENTS = 500


class Place(NamedTuple):
    """A session, as somebody named it."""

    key: str
    """of its conversation"""
    agent: str
    user_id: str
    secret: bool
    """it was named by what only its owner knows"""


def routes(hub: "Hub", sessions: VoiceSessions) -> Blueprint:
    blueprint = Blueprint("tasks", __name__)
    border = Border(hub, sessions)

    @blueprint.post("/v1/tasks", endpoint="create")
    @promises(
        "chat",
        body=TaskRequest,
        also_gives={201: CreatedAnswer},
        fails=(404, 409),
        error=VoiceErrorAnswer,
    )
    async def create(data: TaskRequest) -> tuple[dict[str, Any], int]:
        """Hand in a task; it is stored, planned and done, asking where that is needed."""
        who, place = principal(), await border.place(data.session_id)
        new = _new(data, who, place, border.agent(data.agent or place.agent))
        try:
            created = await hub.desk.create(new)
        except Invalid as error:
            if error.param == "intent_text":
                raise
            raise CallerError(error.message, code="task_create_failed") from None
        if created.deduped and not border.sees(who, created.task, place):
            raise Conflict("Somebody else used this key.", code="key_taken")
        return task_answer(created.task) | {"deduped": created.deduped}, 201

    @blueprint.get("/v1/tasks", endpoint="list")
    @promises("chat", gives=TaskList, query=TaskQuery, fails=(404,), error=VoiceErrorAnswer)
    async def list_tasks(query: TaskQuery) -> dict[str, Any]:
        """The latest tasks, of a session or of all that are one's own."""
        who, place = principal(), await border.place(query.session_id)
        found = await hub.desk.listing(
            who.client_id,
            session=place.key or None,
            owner=None if who.may("admin") or place.secret else who.name,
            live=query.live,
            limit=min(query.limit, MOST_TASKS),
        )
        return {"session_id": query.session_id, "tasks": [task_answer(task) for task in found]}

    @blueprint.get("/v1/tasks/<task_id>", endpoint="show")
    @promises("chat", gives=TaskAnswer, query=OfSession, fails=(404,), error=VoiceErrorAnswer)
    async def show(task_id: str, query: OfSession) -> dict[str, Any]:
        """A task with its steps, its plan and what it asks."""
        return task_answer(await border.task(task_id, query))

    @blueprint.post("/v1/tasks/<task_id>/approve", endpoint="approve")
    @promises(
        "chat",
        gives=TaskAnswer,
        body=AnswerRequest,
        query=OfSession,
        fails=(404,),
        error=VoiceErrorAnswer,
    )
    async def approve(task_id: str, query: OfSession, data: AnswerRequest) -> dict[str, Any]:
        """Say yes or no to what a task waits for; the first answer wins."""
        _said_once(cast(bytes, await request.get_data()))
        await border.task(task_id, query)
        who = principal()
        try:
            task = await hub.desk.answer(
                who.client_id,
                task_id,
                approved=data.approved,
                by=who.name,
                through=data.through,
                approval_id=data.approval_id,
            )
        except Conflict as error:
            raise CallerError(error.message, code="task_approval_failed") from None
        return task_answer(task)

    @blueprint.post("/v1/tasks/<task_id>/cancel", endpoint="cancel")
    @promises(
        "chat",
        gives=TaskAnswer,
        body=CancelRequest,
        query=OfSession,
        fails=(404,),
        error=VoiceErrorAnswer,
    )
    async def cancel(task_id: str, query: OfSession, data: CancelRequest) -> dict[str, Any]:
        """Stop a task for good; one that has ended stays as it is."""
        task = await border.task(task_id, query)
        if task.status not in ENDED:
            try:
                task = await hub.desk.cancel(task.client_id, task.id, reason=data.reason)
            except Conflict as error:
                task = await _if_ended(hub, task, error, "task_cancel_failed")
        return task_answer(task)

    @blueprint.post("/v1/tasks/<task_id>/pause", endpoint="pause")
    @promises("chat", gives=TaskAnswer, query=OfSession, fails=(404,), error=VoiceErrorAnswer)
    async def pause(task_id: str, query: OfSession) -> dict[str, Any]:
        """Begin no further step; one that has ended stays as it is."""
        task = await border.task(task_id, query)
        if task.status not in ENDED and task.status != "paused":
            try:
                task = await hub.desk.pause(task.client_id, task.id)
            except Conflict as error:
                task = await _if_ended(hub, task, error, "task_pause_failed")
        return task_answer(task)

    @blueprint.post("/v1/tasks/<task_id>/resume", endpoint="resume")
    @promises("chat", gives=TaskAnswer, query=OfSession, fails=(404,), error=VoiceErrorAnswer)
    async def resume(task_id: str, query: OfSession) -> dict[str, Any]:
        """Go on after a pause, or begin what was only planned; what has ended stays as it is."""
        task = await border.task(task_id, query)
        if task.status not in ENDED:
            try:
                task = await hub.desk.resume(task.client_id, task.id)
            except Conflict as error:
                task = await _if_ended(hub, task, error, "task_resume_failed")
        return task_answer(task)

    @blueprint.post("/v1/tasks/<task_id>/retry", endpoint="retry")
    @promises("chat", gives=TaskAnswer, query=OfSession, fails=(404,), error=VoiceErrorAnswer)
    async def retry(task_id: str, query: OfSession) -> dict[str, Any]:
        """Try again from the step that failed; what was done stays done."""
        task = await border.task(task_id, query)
        try:
            return task_answer(await hub.desk.retry(task.client_id, task.id))
        except Conflict as error:
            raise CallerError(error.message, code="task_retry_failed") from None

    @blueprint.put("/v1/tasks/<task_id>/plan", endpoint="plan")
    @promises(
        "chat",
        gives=TaskAnswer,
        body=PlanRequest,
        query=OfSession,
        fails=(404,),
        error=VoiceErrorAnswer,
    )
    async def change_plan(task_id: str, query: OfSession, data: PlanRequest) -> dict[str, Any]:
        """Put other steps in the place of those that were not begun."""
        task = await border.task(task_id, query)
        steps = [step.planned() for step in data.steps]
        try:
            return task_answer(await hub.desk.replan(task.client_id, task.id, steps))
        except (Invalid, Conflict) as error:
            raise CallerError(error.message, code="task_plan_failed") from None

    @blueprint.get("/v1/tasks/<task_id>/events", endpoint="events")
    @promises("chat", gives=EventList, query=EventQuery, fails=(404,), error=VoiceErrorAnswer)
    async def events(task_id: str, query: EventQuery) -> Any:
        """The latest lines of a task's log; with `Accept: text/event-stream`, as they come."""
        task = await border.task(task_id, query)
        if request.accept_mimetypes.best == "text/event-stream":
            return await task_stream.answer(hub, task, query.after)
        lines = await hub.desk.events(
            task.client_id, task.id, after=query.after, limit=min(query.limit, MOST_EVENTS)
        )
        return {"task_id": task.id, "events": list(filter(None, map(event_answer, lines)))}

    @blueprint.get("/v1/tasks/<task_id>/artifacts", endpoint="artifacts")
    @promises("chat", gives=ArtifactList, query=OfSession, fails=(404,), error=VoiceErrorAnswer)
    async def artifacts(task_id: str, query: OfSession) -> dict[str, Any]:
        """The files that a task left."""
        task = await border.task(task_id, query)
        left = await hub.desk.artifacts(task.client_id, task.id)
        return {"task_id": task.id, "artifacts": [artifact_answer(file) for file in left]}

    @blueprint.get("/v1/tasks/<task_id>/artifacts/<path:path>", endpoint="artifact")
    @promises("chat", query=OfSession, fails=(404,), error=VoiceErrorAnswer)
    async def artifact(task_id: str, path: str, query: OfSession) -> Response:
        """Download a file that a task left."""
        task = await border.task(task_id, query)
        if not path.isprintable():
            raise NotFound("There is no such file.", code="artifact_not_found")
        data = await hub.desk.artifact(task.client_id, task.id, path)
        return await task_files.answer(path, data)

    @blueprint.get("/v1/approvals", endpoint="approvals")
    @promises("chat", gives=ApprovalList, query=OfSession, fails=(404,), error=VoiceErrorAnswer)
    async def approvals(query: OfSession) -> dict[str, Any]:
        """What waits for somebody's yes or no, the oldest first."""
        place = await border.place(query.session_id)
        waiting = await border.waiting(place)
        return {"approvals": [approval_answer(found) for found in waiting]}

    return blueprint


class Border:
    """Whose tasks a request may see."""

    def __init__(self, hub: "Hub", sessions: VoiceSessions) -> None:
        self._hub = hub
        self._sessions = sessions

    def agent(self, name: str) -> str:
        """Raises NotFound."""
        found = self._hub.agents.get(name or self._hub.settings.default_agent)
        if found is None:
            raise NotFound(f"There is no agent {name!r}.", code="agent_not_found")
        return found.id

    async def place(self, session_id: str | None) -> Place:
        """The session of that name; without one, none. Raises NotFound."""
        if session_id is None:
            return Place("", "", "", False)
        client_id = principal().client_id
        try:
            voice = self._sessions.find(session_id)
        except NotFound as unknown:
            mine = conversations.c.key == session_id
            async with self._hub.store.read() as connection:
                row = await transcript.find(connection, client_id, mine)
            if row is None:
                raise unknown from None
            return Place(row.key, row.agent, row.caller, False)
        if voice.client_id != client_id:
            raise NotFound("There is no such voice session.", code="session_not_found")
        return Place(call_key(client_id, voice.call_id), voice.agent, voice.user_id, True)

    def sees(self, who: Principal, task: Task, place: Place) -> bool:
        """Whether the task is in the session that was named, if one was, and `who` may see it."""
        if place.key and task.session != place.key:
            return False
        return who.may("admin") or place.secret or task.owner == who.name

    async def task(self, task_id: str, query: OfSession) -> Task:
        """Raises NotFound, also for one that is somebody else's."""
        who, place = principal(), await self.place(query.session_id)
        if task_id.isascii() and task_id.isprintable():
            task = await self._hub.desk.get(who.client_id, task_id)
            if self.sees(who, task, place):
                return task
        raise records.no_such(task_id)

    async def waiting(self, place: Place) -> list[Approval]:
        who, desk = principal(), self._hub.desk
        found = await desk.waiting(who.client_id, place.key or None)
        if who.may("admin") or place.secret:
            return found
        mine = []
        for approval in found:
            task = await desk.get(who.client_id, approval.task_id)
            if self.sees(who, task, place):
                mine.append(approval)
        return mine


def _new(data: TaskRequest, who: Principal, place: Place, agent: str) -> NewTask:
    header = request.headers.get("Idempotency-Key")
    if header is not None and not (0 < len(header) <= 200 and header.isprintable()):
        raise Invalid("Idempotency-Key: 1 to 200 characters.", param="key")
    if header is not None and data.key not in (None, header):
        raise Invalid("The body's key and the header Idempotency-Key differ.", param="key")
    return NewTask(
        client_id=who.client_id,
        intent=data.intent_text,
        agent=agent,
        owner=who.name,
        session=place.key,
        user_id=place.user_id if place.secret else data.user_id or place.user_id,
        mode=data.mode,
        priority=data.priority,
        key=data.key or header,
        timeout_s=data.timeout_s,
        plan=None if data.plan is None else tuple(step.planned() for step in data.plan),
    )


def _said_once(raw: bytes) -> None:
    """Raises Invalid where an answer says something twice: it would mean what stands last."""

    def no_doubles(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise Invalid("The body has a field twice.")

    json.loads(raw, object_pairs_hook=no_doubles)


async def _if_ended(hub: "Hub", task: Task, error: Conflict, code: str) -> Task:
    """The task, if it has ended meanwhile; else what was asked can't be done now."""
    now = await hub.desk.get(task.client_id, task.id)
    if now.status in ENDED:
        return now
    raise CallerError(error.message, code=code) from None
