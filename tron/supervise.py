"""Who owns which task.

A `Tasks` belongs to one part of the hub (a process table, the scheduler, a socket). Every task
that part starts is started through it, and closing it cancels and awaits them all, so nothing
outlives its owner and no failure is lost: a task that dies is logged with its name. Nothing in
the hub calls `asyncio.create_task` anywhere else.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

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
