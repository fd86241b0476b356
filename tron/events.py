"""The hub's vocabulary of events and the bus that carries them.

An event says that something has happened; it is frozen and never asks for an answer. Parts that
make things happen publish; parts that show or record them (history, metrics, the status page)
listen. A listener is a plain function called in the publisher's own turn of the loop, so it must
return at once. A subscriber reads at its own pace from a bounded queue; when that is full the
oldest events go and a `Gap` says how many.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import structlog

log = structlog.get_logger(__name__)


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """Something that happened, at `at` (ms since the epoch)."""

    at: int
    client_id: str


class ProcessStarted(Event, frozen=True, kw_only=True, tag="process_start"):
    """A process began to run."""

    process_id: str
    agent: str
    task: str
    parent_id: str | None
    depth: int
    reason: str


class ProcessEnded(Event, frozen=True, kw_only=True, tag="process_end"):
    """A process reached its end, well (`completed`) or not (`failed`)."""

    process_id: str
    agent: str
    task: str
    status: str
    duration_ms: int
    metrics: dict[str, Any]
    error: str | None


class ProcessRestarted(Event, frozen=True, kw_only=True, tag="process_restart"):
    """A process failed and its supervisor started it again."""

    process_id: str
    agent: str
    restarts: int
    error: str


class SessionStarted(Event, frozen=True, kw_only=True, tag="session_start"):
    """A caller's first message opened a conversation."""

    session: str
    agent: str
    channel: str
    process_id: str


class SessionEnded(Event, frozen=True, kw_only=True, tag="session_end"):
    """A conversation ended; `cause` is `expired`, `deleted`, `cleared` or `ended`."""

    session: str
    agent: str
    cause: str


class TurnEnded(Event, frozen=True, kw_only=True, tag="turn_end"):
    """A turn was answered, failed or was abandoned by its caller (`outcome`)."""

    session: str
    agent: str
    process_id: str
    channel: str
    outcome: str
    duration_ms: int


class ProviderFailed(Event, frozen=True, kw_only=True, tag="provider_failed"):
    """A language model provider could not be used; `fallback` answers instead."""

    provider: str
    error: str
    fallback: str | None


class LifeRan(Event, frozen=True, kw_only=True, tag="life_run"):
    """A life activity ended; `result` is what it really did."""

    agent: str
    activity: str
    status: str
    result: str


class Failure(Event, frozen=True, kw_only=True, tag="error"):
    """A request failed inside the hub; `error` names the kind, never people's words."""

    where: str
    agent: str
    process_id: str
    error: str


class Gap(Event, frozen=True, kw_only=True, tag="gap"):
    """`missed` events were dropped because this subscriber read too slowly."""

    missed: int


Listener = Callable[[Event], None]


class Subscription:
    """One reader's bounded view of the bus."""

    def __init__(self, bus: "Bus", size: int) -> None:
        self._bus = bus
        self._size = size
        self._events: deque[Event] = deque()
        self._missed = 0
        self._ready = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._read()

    async def _read(self) -> AsyncIterator[Event]:
        while True:
            if self._missed:
                missed, self._missed = self._missed, 0
                yield Gap(at=self._events[0].at, client_id="", missed=missed)
            elif self._events:
                yield self._events.popleft()
            else:
                self._ready.clear()
                await self._ready.wait()

    def offer(self, event: Event) -> None:
        if len(self._events) >= self._size:
            self._events.popleft()
            self._missed += 1
        self._events.append(event)
        self._ready.set()

    def __enter__(self) -> "Subscription":
        self._bus.add(self.offer)
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.remove(self.offer)


class Bus:
    """Carries events from those who cause them to those who watch."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def add(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        self._listeners.remove(listener)

    def subscribe(self, size: int = 256) -> Subscription:
        """A queue of at most `size` unread events; use it as a context manager."""
        return Subscription(self, size)

    def publish(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:  # a watcher's fault must not reach the one being watched
                log.exception("bus.listener_failed", event_type=type(event).__name__)
