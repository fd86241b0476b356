"""A task's log as server-sent events: what was, then what comes, until the task has ended.

Every event's `id` is the line's `seq`, so a client that comes back with `Last-Event-ID` gets each
line once. A task that has ended and of which everything is known is answered with 204, which tells
a browser not to come back. A retry of the task goes on with its log; so does a client that asks. A
hub that stops ends the stream, and the client comes back to the next.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
from quart import Response, request
from sse_starlette import ServerSentEvent

from tron.errors import Invalid, TronError
from tron.supervise import Tasks
from tron.tasks.contract import ENDED, Task, TaskEvent
from tron.web.errors import voice_body
from tron.web.task_answers import event_answer

if TYPE_CHECKING:
    from tron.hub import Hub
    from tron.tasks.desk import Desk

KEEP_ALIVE_S = 15.0
LOOK_S = 1.0
"""how often is looked whether the hub stops: it would wait for this stream"""
KEEP_ALIVE = b": keep-alive\n\n"
_encode = msgspec.json.Encoder().encode


async def answer(hub: "Hub", task: Task, after: int) -> Response:
    """The stream of `task`, behind `after` or the line the client says it has seen."""
    seen = max(after, _last_event_id())
    if await _over(hub.desk, task, seen):
        return Response(b"", 204)
    response = Response(
        _frames(hub, task, seen),
        content_type="text/event-stream; charset=utf-8",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )
    response.timeout = None  # Quart would cut the body after 60 s
    return response


def _last_event_id() -> int:
    given = request.headers.get("Last-Event-ID", "")
    if given and not (given.isascii() and given.isdigit() and len(given) <= 10):
        raise Invalid("Last-Event-ID must be the id of an event.")
    return int(given or 0)


async def _over(desk: "Desk", task: Task, seen: int) -> bool:
    """Whether nothing comes any more."""
    now = await desk.get(task.client_id, task.id)
    return now.status in ENDED and not await desk.events(
        task.client_id, task.id, after=seen, limit=1
    )


async def _frames(hub: "Hub", task: Task, seen: int) -> AsyncGenerator[bytes, None]:
    # From the beginning: `after` is an id of the whole log, and one task's is short.
    desk, ended = hub.desk, False
    try:
        async with (
            desk.follow(task.client_id, task_id=task.id, after=0) as lines,
            aclosing(_with_pauses(lines, lambda: hub.task_work.stopping)) as comes,
        ):
            async for line in comes:
                if line is None:
                    yield KEEP_ALIVE
                    continue
                if line.seq > seen:
                    seen = line.seq
                    told = event_answer(line)
                    if told is not None:
                        yield _frame(told, event=line.kind, id=str(line.seq))
                    ended = ended or line.kind in ("task_completed", "task_failed")
                if ended and await _over(desk, task, seen):
                    return
    except TronError as error:  # the client may come back for the rest
        yield _frame(voice_body(error), event="error_event")


def _frame(told: dict[str, Any], *, event: str, id: str | None = None) -> bytes:
    data = _encode(told).decode()
    return ServerSentEvent(data=data, event=event, id=id, sep="\n").encode()


async def _with_pauses(
    lines: AsyncIterator[TaskEvent], stopping: Callable[[], bool]
) -> AsyncGenerator[TaskEvent | None, None]:
    """`lines`, and None whenever there was none for a while; ends when the hub does."""
    tasks = Tasks("task stream")
    try:
        while True:
            coming = tasks.start(_next(lines), "next")
            quiet_s = 0.0
            while not (await asyncio.wait({coming}, timeout=LOOK_S))[0]:
                if stopping():
                    return
                if (quiet_s := quiet_s + LOOK_S) >= KEEP_ALIVE_S:
                    quiet_s = 0.0
                    yield None
            line = coming.result()
            if isinstance(line, TronError):
                raise line
            if line is None:
                return
            yield line
    finally:
        await tasks.close()


async def _next(lines: AsyncIterator[TaskEvent]) -> TaskEvent | TronError | None:
    try:
        return await anext(lines, None)
    except TronError as error:
        return error
