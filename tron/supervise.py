"""Who owns which task.

A `Tasks` belongs to one part of the hub (a process table, the scheduler, a socket). Every task
that part starts is started through it, and closing it cancels and awaits them all, so nothing
outlives its owner and no failure is lost: a task that dies is logged with its name. Nothing in
the hub calls `asyncio.create_task` anywhere else. What is done again and again is done by `repeat`,
so that one bad round never ends it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from tron.errors import TronError

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Tasks:
    """A group of background tasks with one owner."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run `work` in the background. Raises RuntimeError once the owner has closed."""
        if self._closed:
            work.close()
            raise RuntimeError(f"{self.owner} is closed; it starts no more tasks")
        task = asyncio.get_running_loop().create_task(work, name=f"{self.owner}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def repeat(
        self,
        work: Callable[[], Awaitable[object]],
        name: str,
        *,
        every_s: float,
        soon: asyncio.Event | None = None,
    ) -> asyncio.Task[None]:
        """Do `work` now, and again `every_s` after each time, or as soon as `soon` is set.

        A round that fails is logged and leaves the next one to try: what the hub knows to go wrong
        (the store is away) in a line, anything else with its traceback.
        """
        return self.start(self._repeat(work, name, every_s, soon or asyncio.Event()), name)

    async def _repeat(
        self,
        work: Callable[[], Awaitable[object]],
        name: str,
        every_s: float,
        soon: asyncio.Event,
    ) -> None:
        while True:
            soon.clear()
            try:
                await work()
            except TronError as error:
                log.warning("round.failed", task=f"{self.owner}:{name}", error=error.type)
            except Exception:  # border: one bad round must not end the others
                log.exception("round.failed", task=f"{self.owner}:{name}")
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await soon.wait()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task.failed", task=task.get_name(), exc_info=error)

    async def drain(self, timeout_s: float) -> bool:
        """Wait for the running tasks to end by themselves. True if all did within `timeout_s`."""
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        return not late

    async def close(self) -> None:
        """Cancel every task and wait until each has ended."""
        self._closed = True
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
