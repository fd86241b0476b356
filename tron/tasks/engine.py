"""The durable queue of tasks, on DBOS.

One workflow is one stretch of work on one task: step after step until it ends or has to wait. DBOS
keeps the queue (a limit for this hub, one for each tenant, tasks by their place), remembers in its
own database which workflows had begun, and has them done again, here or on another hub, if the one
that did them dies: dead by our own heartbeat, because DBOS only looks after its own restarts. What
is to be done is not kept here: `advance` reads it from the rows.

DBOS runs workflows on a loop in a thread of its own, so its bookkeeping does not hold up live
calls; `advance` runs on the hub's. It is imported and started with the first task a hub sees,
since it costs a second and 20 MB. DBOS is one per process, and so is the engine.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import structlog

from tron.errors import StorageUnavailable
from tron.storage.store import keep_private

log = structlog.get_logger(__name__)

Advance = Callable[[str, str, int], Awaitable[bool]]

QUEUE = "tron-tasks"
VERSION = "1"
"""of the workflow; work begun under another is not taken up"""
POLL_S = 0.1
EPOCH_MS = 1_767_225_600_000
"""2026-01-01: places are seconds since then, as DBOS takes priorities up to 2^31"""
FORGET_AT_ONCE = 1_000
OVER = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class Engine:
    """See the module."""

    def __init__(self, *, url: str, hub_id: str, at_once: int, per_client: int) -> None:
        """`url`: of the database DBOS keeps its own tables in (`sqlite:///…`, `postgresql://…`).

        `at_once`: stretches of work on this hub, `per_client` of one tenant on all hubs.
        """
        self._url = url
        self._hub_id = hub_id
        self._at_once = at_once
        self._per_client = per_client
        self._advance: Advance | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = asyncio.Lock()
        self._dbos: Any = None
        self._stretch: Any = None

    @property
    def running(self) -> bool:
        return self._dbos is not None

    async def start(self, advance: Advance) -> None:
        """Take up work from now on. Does nothing the second time. Raises StorageUnavailable."""
        async with self._starting:
            if self._dbos is not None:
                return
            self._advance, self._loop = advance, asyncio.get_running_loop()
            # In a thread without a loop, so that DBOS makes one of its own.
            launching = self._loop.run_in_executor(None, self._launch)
            try:
                await asyncio.shield(launching)
            except asyncio.CancelledError:  # it is launched all the same, and `close` ends it
                await asyncio.wait({launching})
                raise
            except Exception as error:  # border: whatever its database says
                await asyncio.to_thread(_destroy)  # half a DBOS can't be launched again
                log.exception("tasks.engine_not_started")
                raise StorageUnavailable("The queue of tasks can't be used now.") from error

    def _launch(self) -> None:
        from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

        self._options = (SetWorkflowID, SetEnqueueOptions)
        keep_private(self._url)
        dbos = DBOS(
            config={
                "name": "tron",
                "system_database_url": self._url,
                "executor_id": self._hub_id,
                "application_version": VERSION,
                "log_level": "ERROR",
                "enable_otlp": False,
                "notification_listener_polling_interval_sec": 1.0,
                "max_executor_threads": 12,
            }
        )
        self._stretch = DBOS.workflow(name="stretch")(self._workflow())
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._at_once,
            partition_concurrency=self._per_client,
            polling_interval_sec=POLL_S,
            on_conflict="always_update",
        )
        self._dbos = dbos

    def _workflow(self) -> Callable[[str, str, int], Awaitable[None]]:
        from dbos import DBOS

        async def here(client_id: str, task_id: str, stretch: int) -> bool:
            assert self._advance is not None
            assert self._loop is not None
            work = self._advance(client_id, task_id, stretch)
            return await asyncio.wrap_future(
                asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type]
            )

        async def stretch(client_id: str, task_id: str, number: int) -> None:
            options: Any = {"name": "step"}
            while await DBOS.run_step_async(options, here, client_id, task_id, number):
                pass

        return stretch

    async def enqueue(self, client_id: str, task_id: str, stretch: int, place: int) -> None:
        """Have a stretch of work done; saying it twice changes nothing."""

        def put() -> None:
            name, options = self._options
            priority = max(1, (place - EPOCH_MS) // 1000)
            with (
                name(f"{task_id}.{stretch}"),
                options(queue_partition_key=client_id, priority=priority),
            ):
                self._dbos.enqueue_workflow(QUEUE, self._stretch, client_id, task_id, stretch)

        try:
            await asyncio.to_thread(put)
        except Exception as error:  # border: whatever its database says
            log.exception("task.not_queued", task_id=task_id)
            raise StorageUnavailable("The queue of tasks can't be used now.") from error

    async def left_behind(self, alive: Collection[str]) -> list[tuple[str, str]]:
        """(id, hub) of the workflows that had begun on hubs that are not `alive`."""

        def look() -> list[tuple[str, str]]:
            begun = self._dbos.list_workflows(status="PENDING", load_input=False, load_output=False)
            return [
                (one.workflow_id, str(one.executor_id))
                for one in begun
                if one.executor_id not in alive
            ]

        return await asyncio.to_thread(look)

    async def over(self, workflow_ids: list[str]) -> set[str]:
        """Those of them that are over, well or not: they are never done again."""

        def look() -> set[str]:
            found = self._dbos.list_workflows(
                workflow_ids=workflow_ids, status=OVER, load_input=False, load_output=False
            )
            return {one.workflow_id for one in found}

        return await asyncio.to_thread(look) if workflow_ids else set()

    async def resume(self, workflow_id: str) -> None:
        """Have it done here or by another hub, from the step that was not finished."""
        await asyncio.to_thread(lambda: self._dbos.resume_workflow(workflow_id, queue_name=QUEUE))

    async def forget(self, before: str) -> None:
        """Drop what it kept of stretches that ended before `before` (ISO 8601)."""

        def drop() -> None:
            while True:
                ended = self._dbos.list_workflows(
                    status=OVER,
                    completed_before=before,
                    limit=FORGET_AT_ONCE,
                    load_input=False,
                    load_output=False,
                )
                self._dbos.delete_workflows([one.workflow_id for one in ended])
                if len(ended) < FORGET_AT_ONCE:
                    return

        await asyncio.to_thread(drop)

    def shut(self) -> None:
        """Take nothing more from the queue: others would wait for it until this hub has ended."""
        if self._dbos is not None:
            for event in self._dbos.background_thread_stop_events:
                event.set()

    async def close(self) -> None:
        """No more work; what is under way is left for whoever comes next."""
        if self._loop is not None:
            self._dbos = None
            await asyncio.to_thread(_destroy)


def _destroy() -> None:
    from dbos import DBOS

    DBOS.destroy(destroy_registry=True)
