"""Tools for tasks: hand one in, see how they stand, cancel one.

What they answer is short enough to be spoken and says nothing that has not happened: a task that
waits for approval has not been started. The question itself is put by the hub, word for word,
behind the persona's answer (`tron.tasks.talk`).
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tron.conversation.session import MADE_UP
from tron.tasks.contract import ENDED, Mode, NewTask, Priority, Task
from tron.tasks.desk import Desk
from tron.tasks.talk import REMINDER
from tron.tasks.told import Told
from tron.tools.contract import Tool, ToolContext, ToolFailed

CHANNEL = "conversation"
START_S = 60.0
SHOWN = 8
RESULT_CHARS = 600

Which = Annotated[
    str,
    Meta(
        max_length=200,
        description="Which one: its number in list_tasks, or words of it. Left out: the latest.",
    ),
]


class StartTask(msgspec.Struct):
    intent: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4_000,
            description="What is to be done, complete in itself, with every name, number, time "
            "and text that was said.",
        ),
    ]
    mode: Annotated[
        Mode,
        Meta(
            description="auto: it runs and asks where it must. plan_only: it is only planned. "
            "confirm_each: every step asks first."
        ),
    ] = "auto"
    priority: Annotated[Priority, Meta(description="Its place in the queue.")] = "normal"


class ListTasks(msgspec.Struct):
    pass


class TaskStatus(msgspec.Struct):
    task: Which = ""


class PauseTask(msgspec.Struct):
    task: Which = ""


class ResumeTask(msgspec.Struct):
    task: Which = ""


class CancelTask(msgspec.Struct):
    task: Which = ""


class Remind(msgspec.Struct):
    text: Annotated[
        str, Meta(min_length=1, max_length=1_000, description="What they are reminded of.")
    ]


def tasking(desk: Callable[[], Desk], told: Told) -> list[Tool[Any]]:
    """The tools of this file. `desk` is asked for at every call."""
    tools = _Tasking(desk, told)
    return [
        Tool(
            "start_task",
            "Hand in a task that is done in the background, in several steps or at a later time: "
            "ask colleagues, run commands, fetch pages, write files, send messages, place calls, "
            "wait, remind. Use it for what takes more than this answer; for a question, or what "
            "one of your own tools does at once, do not. Say what came of it in its own words: if "
            "it waits for approval, nothing has been started, and the caller is asked right after "
            "your answer, so do not ask yourself.",
            StartTask,
            tools.start,
            effect="write",
            timeout_s=START_S,
        ),
        Tool(
            "list_tasks",
            "List this caller's tasks, latest first, with how each stands.",
            ListTasks,
            tools.listed,
            effect="read",
        ),
        Tool(
            "task_status",
            "See how one task stands: its steps, what it waits for, its result.",
            TaskStatus,
            tools.status,
            effect="read",
        ),
        Tool(
            "pause_task",
            "Let no further step of a task begin until it is resumed.",
            PauseTask,
            tools.pause,
            effect="write",
        ),
        Tool(
            "resume_task",
            "Go on with a task that was paused, or begin one that was only planned.",
            ResumeTask,
            tools.resume,
            effect="write",
        ),
        Tool(
            "cancel_task",
            "Stop a task for good. Use it only when the caller asks for it.",
            CancelTask,
            tools.cancel,
            effect="write",
        ),
        Tool(
            "remind",
            "Remind whoever asked for the task of something, at the moment this step is reached: "
            "behind a step that waits for the time. The last step of its task.",
            Remind,
            _remind,
            effect="read",
            task_only=True,
        ),
    ]


async def _remind(_: ToolContext, args: Remind) -> str:
    return f"{REMINDER} {args.text.strip()}"


class _Tasking:
    def __init__(self, desk: Callable[[], Desk], told: Told) -> None:
        self._desk = desk
        self._told = told

    async def start(self, context: ToolContext, args: StartTask) -> str:
        created = await self._desk().create(
            NewTask(
                client_id=context.client_id,
                intent=args.intent,
                agent=context.process.agent,
                owner=context.caller,
                session=context.session,
                user_id=context.caller,
                channel=CHANNEL,
                mode=args.mode,
                priority=args.priority,
            )
        )
        task = created.task
        await self._is_told(task)
        again = "You asked for that a moment ago. " if created.deduped else ""
        return again + standing(task)

    async def listed(self, context: ToolContext, _: ListTasks) -> str:
        found = enumerate(await self._of(context), 1)
        lines = [f"{place}. {task.summary}: {_words(task.status)}" for place, task in found]
        return "\n".join(lines) or "There are no tasks."

    async def status(self, context: ToolContext, args: TaskStatus) -> str:
        task = _chosen(args.task, await self._of(context))
        await self._is_told(task)
        lines = [f"{task.summary}: {standing(task)}"]
        if len(task.steps) > 1:
            lines += [f"- {step.title}: {_words(step.status)}" for step in task.steps]
        return "\n".join(lines)

    async def pause(self, context: ToolContext, args: PauseTask) -> str:
        task = await self._live(context, args.task)
        await self._desk().pause(context.client_id, task.id)
        return f"Paused: {task.summary}."

    async def resume(self, context: ToolContext, args: ResumeTask) -> str:
        task = await self._live(context, args.task, "paused", "planned")
        task = await self._desk().resume(context.client_id, task.id)
        return f"{task.summary}: {standing(task)}"

    async def cancel(self, context: ToolContext, args: CancelTask) -> str:
        task = await self._live(context, args.task)
        await self._desk().cancel(context.client_id, task.id, reason="Cancelled by the caller.")
        await self._told.claim_end(context.client_id, task.id)
        return f"Cancelled: {task.summary}."

    async def _live(self, context: ToolContext, which: str, *statuses: str) -> Task:
        """The task meant among those that have not ended, by their numbers in the whole list.

        Raises ToolFailed."""
        found = await self._of(context)
        if not which.strip().isdigit():
            live = [task for task in found if task.status not in ENDED]
            found = [task for task in live if task.status in statuses] or live
        return _chosen(which, found)

    async def _of(self, context: ToolContext) -> list[Task]:
        """The tasks of this caller: of this conversation, and of others under the same name."""
        desk = self._desk()
        found: dict[str, Task] = {}
        if context.session:
            for task in await desk.listing(context.client_id, session=context.session, limit=SHOWN):
                found[task.id] = task
        if context.caller and not context.caller.startswith(MADE_UP):
            for task in await desk.listing(context.client_id, owner=context.caller, limit=SHOWN):
                found[task.id] = task
        latest = sorted(found.values(), key=lambda task: -task.created_at)
        return latest[:SHOWN]

    async def _is_told(self, task: Task) -> None:
        """The caller hears of its end now and need not be told once more."""
        if task.status in ENDED:
            await self._told.claim_end(task.client_id, task.id)


def _chosen(which: str, found: list[Task]) -> Task:
    """Raises ToolFailed."""
    wanted = which.strip().lower().rstrip(".")
    if not found:
        raise ToolFailed("There are no tasks.")
    if not wanted:
        return found[0]
    if wanted.isdigit():
        if 1 <= int(wanted) <= len(found):
            return found[int(wanted) - 1]
        raise ToolFailed(f"There is no task number {wanted}; there are {len(found)}.")
    matches = [task for task in found if wanted in task.intent.lower() or wanted == task.id]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = "; ".join(task.summary for task in matches)
        raise ToolFailed(f"Several tasks fit: {names}.")
    raise ToolFailed("There is no such task.")


def standing(task: Task) -> str:
    """How a task stands, in a sentence or two; nothing is claimed that has not happened."""
    steps = len(task.steps)
    count = f"{steps} steps" if steps != 1 else "one step"
    done = sum(step.status == "completed" for step in task.steps)
    match task.status:
        case "awaiting_approval":
            so_far = f"{done} of {count} done; the next" if done else "Nothing is done yet: it"
            return f"{so_far} waits for your approval."
        case "planned" if not steps:
            return "It is being planned; nothing is done yet."
        case "planned" if task.mode == "plan_only" and task.stretch == 0:
            return f"It is planned, in {count}, and does not begin before it is resumed."
        case "planned" | "running" if task.steps[done:] and task.steps[done].tool == "wait_until":
            return f"It is set. {task.steps[done].title.replace('Wait until', 'It waits until')}."
        case "planned":
            return f"It is planned, in {count}, and waits for its turn."
        case "running":
            return f"It is being done, in {count}; {done} done so far."
        case "paused":
            return f"It is paused, with {done} of {count} done."
        case "completed":
            return f"It is done: {_cut(task.result or 'there was nothing to tell.')}"
        case "cancelled":
            return "It was cancelled."
    return f"It was not done: {_cut(task.detail or 'it failed.')}"


def _words(status: str) -> str:
    return {
        "awaiting_approval": "waits for approval",
        "planned": "not begun",
        "running": "being done",
        "completed": "done",
    }.get(status, status)


def _cut(text: str) -> str:
    line = text.strip()
    return line if len(line) <= RESULT_CHARS else f"{line[: RESULT_CHARS - 1]}…"
