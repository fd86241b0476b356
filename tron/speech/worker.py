"""One thread for an engine that can do one thing at a time.

Jobs wait in order of urgency, then of arrival. The queue is bounded: a job too many is refused at
once with SpeechFailed, so that nobody waits behind work that comes too late anyway. A job whose
future was cancelled before its turn is skipped. The thread starts with the first job.
"""

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from tron.speech.contract import SpeechFailed

T = TypeVar("T")

NOW, SOON, LATER = 0, 1, 2
"""urgencies: somebody waits for it; it would be nice; whenever there is time"""
_END = 9


class Worker:
    """See the module."""

    def __init__(self, name: str, *, size: int = 256) -> None:
        self.name = name
        self._jobs: queue.PriorityQueue[tuple[int, int, Future[Any], Callable[[], Any]]]
        self._jobs = queue.PriorityQueue()
        self._size = size
        self._count = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, job: Callable[[], T], *, urgency: int = NOW) -> "Future[T]":
        """Have `job` done in the thread. Raises SpeechFailed when too much is waiting."""
        if self._closed:
            raise SpeechFailed(f"{self.name} is closed.")
        if self._jobs.qsize() >= self._size:
            failed = SpeechFailed(f"{self.name} has too much to do.", code="busy")
            failed.retryable = True
            raise failed
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._jobs.put((urgency, next(self._count), future, job))
        return future

    async def do(self, job: Callable[[], T], *, urgency: int = NOW) -> T:
        """The same, waiting for what comes of it."""
        return await asyncio.wrap_future(self.submit(job, urgency=urgency))

    async def close(self) -> None:
        """End the thread after the job it is at; what still waits is cancelled."""
        self._closed = True
        if self._thread is None:
            return
        while not self._jobs.empty():
            self._jobs.get_nowait()[2].cancel()
        self._jobs.put((_END, next(self._count), Future(), _nothing))
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while True:
            urgency, _, future, job = self._jobs.get()
            if urgency == _END:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except Exception as error:  # noqa: BLE001 - border: it is raised where it is awaited
                future.set_exception(error)
            del future, job  # what they hold is not kept until the next job


def _nothing() -> None:
    pass
