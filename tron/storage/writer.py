"""The writer: one thread that commits units of work, in the order they came.

A unit is a plain function over a connection. Units that are waiting together are committed
together (group commit), and their outcomes come back to the event loop in one go: a write costs a
conversation two turns of the loop, however busy it is. SQLite allows one writer anyway.

A unit either commits or raises, alone: if one of a group fails, the group is rolled back and its
units run again one by one, so a unit must be safe to run twice until it has committed. The store
owns the writer and nobody else calls it.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine

from tron.errors import Overloaded
from tron.storage.failures import kind, sick, unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")
Unit = Callable[[Connection], T]

WAITING_LIMIT = 10_000
GROUP_LIMIT = 200


class Writer:
    """Commits what it is given until it is closed. Made and used in the loop it answers to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[tuple[Unit[Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._open = 0
        self._ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon: a hub that dies without closing its store does not wait for it.
        threading.Thread(target=self._run, name="store", daemon=True).start()

    async def write(self, unit: Unit[T]) -> T:
        """What `unit` returned, once it is committed. A caller who leaves does not undo it.

        Raises Overloaded (too many are waiting), or what `Store.write` does.
        """
        if self._open >= WAITING_LIMIT:
            raise Overloaded("Too many writes are waiting for the database.", retry_after=1)
        done: asyncio.Future[T] = self._loop.create_future()
        self._open += 1
        self._waiting.put((unit, done))
        return await done

    async def close(self) -> None:
        """Finish what was accepted."""
        self._waiting.put(None)
        await self._ended

    def _run(self) -> None:
        """In the thread: one group after another."""
        while (first := self._waiting.get()) is not None:
            group = [first]
            while len(group) < GROUP_LIMIT:
                try:
                    following = self._waiting.get_nowait()
                except Empty:
                    break
                if following is None:
                    self._waiting.put(None)
                    break
                group.append(following)
            outcomes = self._commit([unit for unit, _ in group])
            answers = [done for _, done in group]
            self._loop.call_soon_threadsafe(self._deliver, answers, outcomes)
        self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _deliver(self, answers: list[asyncio.Future[Any]], outcomes: list[Any]) -> None:
        self._open -= len(answers)
        for done, outcome in zip(answers, outcomes, strict=True):
            if done.done():  # its caller was cancelled; the write stands
                continue
            if isinstance(outcome, _Failed):
                done.set_exception(outcome.error)
            else:
                done.set_result(outcome)

    def _commit(self, units: list[Unit[Any]]) -> list[Any]:
        """In the thread: all in one transaction, or one by one if one of them fails."""
        running_units = False
        try:
            with self._engine.begin() as connection:
                running_units = True
                outcomes = [unit(connection) for unit in units]
                running_units = False
        except Exception as error:  # noqa: BLE001 - border: one unit's fault is its own
            if not running_units or len(units) == 1:  # no begin or no commit: true for all
                if sick(error):
                    log.error("store.write_failed", error=kind(error), units=len(units))
                return [_Failed(error) for _ in units]
        else:
            return outcomes
        return [self._commit([unit])[0] for unit in units]


class _Failed:
    def __init__(self, error: Exception) -> None:
        if sick(error):
            self.error: Exception = unavailable(error)
        elif isinstance(error, StopIteration):  # which a future can't carry
            self.error = RuntimeError("a unit of work raised StopIteration")
        else:
            self.error = error
