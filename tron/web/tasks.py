"""`/v1/tasks` and `/v1/approvals`: hand tasks in, look at them, answer, stop and steer them.

Thin: what is asked is checked here, and that it is the asker's to ask (`tron.web.task_border`); the
desk does the rest. Failures are `{"error","code"}` (see `tron.web.errors`).

Every route needs `chat`, as talking does, and acts within the principal's tenant. What a policy
allows is not a matter of one's own tasks: reading it needs `read`, changing it `admin`.
"""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from quart import Blueprint, Response, request

from tron.errors import CallerError, Conflict, Invalid, NotFound
from tron.tasks.contract import ENDED, NewTask, Task
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
from tron.web.task_border import Border, Place
from tron.web.voice.sessions import VoiceSessions

if TYPE_CHECKING:
    from tron.hub import Hub

MOST_TASKS = 200
MOST_EVENTS = 500

every = partial(promises, "chat", fails=(404,), error=VoiceErrorAnswer)
"""what every route here promises"""
own = partial(every, query=OfSession)
"""what one promises that is about tasks of one's own, or of the session named"""


def routes(hub: "Hub", sessions: VoiceSessions) -> Blueprint:
    blueprint = Blueprint("tasks", __name__)
    border = Border(hub, sessions)
    _add_lists(blueprint, hub, border)
    _add_looking(blueprint, hub, border)
    _add_answering(blueprint, hub, border)
    _add_steering(blueprint, hub, border)
    return blueprint


def _add_lists(blueprint: Blueprint, hub: "Hub", border: Border) -> None:
    @blueprint.post("/v1/tasks", endpoint="create")
    @every(body=TaskRequest, also_gives={201: CreatedAnswer}, fails=(404, 409))
    async def create(data: TaskRequest) -> tuple[dict[str, Any], int]:
        """Hand in a task; it is stored, planned and done, asking where that is needed."""
        who, place = principal(), await border.place(data.session_id)
        agent = hub.agents.wanted(data.agent or place.agent, code="agent_not_found").id
        try:
            created = await hub.desk.create(_new(data, who, place, agent))
        except Invalid as error:
            if error.param == "intent_text":
                raise
            raise CallerError(error.message, code="task_create_failed") from None
        if created.deduped and not border.sees(who, created.task, place):
            raise Conflict("Somebody else used this key.", code="key_taken")
        return task_answer(created.task) | {"deduped": created.deduped}, 201

    @blueprint.get("/v1/tasks", endpoint="list")
    @every(gives=TaskList, query=TaskQuery)
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

    @blueprint.get("/v1/approvals", endpoint="approvals")
    @own(gives=ApprovalList)
    async def approvals(query: OfSession) -> dict[str, Any]:
        """What waits for somebody's yes or no, the oldest first."""
        waiting = await border.waiting(await border.place(query.session_id))
        return {"approvals": [approval_answer(found) for found in waiting]}


def _add_looking(blueprint: Blueprint, hub: "Hub", border: Border) -> None:
    @blueprint.get("/v1/tasks/<task_id>", endpoint="show")
    @own(gives=TaskAnswer)
    async def show(task_id: str, query: OfSession) -> dict[str, Any]:
        """A task with its steps, its plan and what it asks."""
        return task_answer(await border.task(task_id, query))

    @blueprint.get("/v1/tasks/<task_id>/events", endpoint="events")
    @every(
        gives=EventList,
        query=EventQuery,
        streams="With `Accept: text/event-stream`: server-sent events, each a line of the log with "
        "its `seq` as id, until the task has ended.",
    )
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
    @own(gives=ArtifactList)
    async def artifacts(task_id: str, query: OfSession) -> dict[str, Any]:
        """The files that a task left."""
        task = await border.task(task_id, query)
        left = await hub.desk.artifacts(task.client_id, task.id)
        return {"task_id": task.id, "artifacts": [artifact_answer(file) for file in left]}

    @blueprint.get("/v1/tasks/<task_id>/artifacts/<path:path>", endpoint="artifact")
    @own()
    async def artifact(task_id: str, path: str, query: OfSession) -> Response:
        """Download a file that a task left."""
        task = await border.task(task_id, query)
        if not path.isprintable():
            raise NotFound("There is no such file.", code="artifact_not_found")
        data = await hub.desk.artifact(task.client_id, task.id, path)
        return await task_files.answer(path, data)


def _add_answering(blueprint: Blueprint, hub: "Hub", border: Border) -> None:
    @blueprint.post("/v1/tasks/<task_id>/approve", endpoint="approve")
    @own(gives=TaskAnswer, body=AnswerRequest)
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

    @blueprint.put("/v1/tasks/<task_id>/plan", endpoint="plan")
    @own(gives=TaskAnswer, body=PlanRequest)
    async def change_plan(task_id: str, query: OfSession, data: PlanRequest) -> dict[str, Any]:
        """Put other steps in the place of those that were not begun."""
        task = await border.task(task_id, query)
        steps = [step.planned() for step in data.steps]
        try:
            return task_answer(await hub.desk.replan(task.client_id, task.id, steps))
        except (Invalid, Conflict) as error:
            raise CallerError(error.message, code="task_plan_failed") from None


def _add_steering(blueprint: Blueprint, hub: "Hub", border: Border) -> None:
    async def steered(
        task: Task, steer: Callable[[str, str], Awaitable[Task]], code: str
    ) -> dict[str, Any]:
        """The task once `steer` did it; one that has ended, meanwhile too, stays as it is."""
        if task.status not in ENDED:
            try:
                task = await steer(task.client_id, task.id)
            except Conflict as error:
                task = await hub.desk.get(task.client_id, task.id)
                if task.status not in ENDED:
                    raise CallerError(error.message, code=code) from None
        return task_answer(task)

    @blueprint.post("/v1/tasks/<task_id>/cancel", endpoint="cancel")
    @own(gives=TaskAnswer, body=CancelRequest)
    async def cancel(task_id: str, query: OfSession, data: CancelRequest) -> dict[str, Any]:
        """Stop a task for good; one that has ended stays as it is."""
        task = await border.task(task_id, query)
        stop = partial(hub.desk.cancel, reason=data.reason)
        return await steered(task, stop, "task_cancel_failed")

    @blueprint.post("/v1/tasks/<task_id>/pause", endpoint="pause")
    @own(gives=TaskAnswer)
    async def pause(task_id: str, query: OfSession) -> dict[str, Any]:
        """Begin no further step; one that has ended stays as it is."""
        task = await border.task(task_id, query)
        if task.status == "paused":
            return task_answer(task)
        return await steered(task, hub.desk.pause, "task_pause_failed")

    @blueprint.post("/v1/tasks/<task_id>/resume", endpoint="resume")
    @own(gives=TaskAnswer)
    async def resume(task_id: str, query: OfSession) -> dict[str, Any]:
        """Go on after a pause, or begin what was only planned; what has ended stays as it is."""
        task = await border.task(task_id, query)
        return await steered(task, hub.desk.resume, "task_resume_failed")

    @blueprint.post("/v1/tasks/<task_id>/retry", endpoint="retry")
    @own(gives=TaskAnswer)
    async def retry(task_id: str, query: OfSession) -> dict[str, Any]:
        """Try again from the step that failed; what was done stays done."""
        task = await border.task(task_id, query)
        try:
            return task_answer(await hub.desk.retry(task.client_id, task.id))
        except Conflict as error:
            raise CallerError(error.message, code="task_retry_failed") from None


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
