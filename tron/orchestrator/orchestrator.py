"""The table of processes: who runs, under whom, and what happens when one fails.

Owns spawning (depth limit, cycle check, capacity, names), supervision (restart policy with a
window, a circuit breaker for each kind of work of a persona), reaping and ending. It knows nothing
of conversations: what a process does is the behaviour it is given. Finished processes stay visible
for a while in a bounded list and hold nothing else alive but those above them, which count what is
spent.
"""

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from tron import events
from tron.breaker import CircuitBreaker
from tron.clock import Clock
from tron.errors import Conflict, Invalid, Overloaded, TronError
from tron.events import Bus
from tron.orchestrator.process import Budget, Process
from tron.settings import Settings
from tron.storage.tables import HOUSE
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

Behaviour = Callable[[Process], Awaitable[Any]]

FINISHED_KEPT = 200
CLOSING_S = 1.0
STOPPED = "stopped"


class Orchestrator:
    """Spawns, supervises and ends processes."""

    def __init__(self, settings: Settings, clock: Clock, bus: Bus) -> None:
        self._settings = settings
        self._clock = clock
        self._bus = bus
        self._tasks = Tasks("orchestrator")
        self._running: dict[str, tuple[Process, asyncio.Task[None]]] = {}
        self._finished: OrderedDict[str, Process] = OrderedDict()
        self._names: dict[str, Process] = {}
        self._breakers: dict[tuple[str, str], CircuitBreaker] = {}  # (agent, kind)
        self._closed = False

    def spawn(
        self,
        agent: str,
        behaviour: Behaviour,
        *,
        kind: str = "work",
        task: str = "",
        reason: str = "",
        name: str = "",
        parent: Process | None = None,
        client_id: str = HOUSE,
        budget: Budget | None = None,
        restarts: int | None = None,
    ) -> Process:
        """Start a process of `agent`.

        `kind`: what keeps failing is given a rest, and the persona's other kinds of work go on.
        `restarts`: failures within the window that are mended by starting again; None: as set.
        Raises Overloaded (no room, or this keeps failing, or the hub is shutting down), Invalid
        (too deep, or the persona is already waiting further up), Conflict (the name is taken).
        """
        if self._closed:
            raise Overloaded("The hub is shutting down.", retry_after=5)
        breaker = self._breakers.setdefault(
            (agent, kind), CircuitBreaker(self._clock, failures=5, reset_s=30)
        )
        if not breaker.allow():
            raise Overloaded(
                f"{agent} keeps failing ({kind}) and is given a rest.",
                code="agent_unavailable",
                retry_after=breaker.retry_after,
            )
        try:
            self._check(agent, name, parent)
        except Exception:
            breaker.abandoned()
            raise
        process = Process(
            id=self._new_id(),
            agent=agent,
            clock=self._clock,
            client_id=client_id,
            parent=parent,
            task=task,
            reason=reason,
            name=name,
            budget=budget
            or Budget(tokens=self._settings.budget_tokens, usd=self._settings.budget_usd),
            mailbox_size=self._settings.mailbox_size,
        )
        limit = self._settings.restarts if restarts is None else restarts
        work = self._tasks.start(self._supervise(process, behaviour, limit, breaker), process.id)
        work.add_done_callback(lambda _: self._ensure_ended(process, breaker))
        self._running[process.id] = (process, work)
        if name:
            self._names[name] = process
        return process

    def _new_id(self) -> str:
        while True:
            id = f"{random.getrandbits(32):08x}"  # a name, no secret
            if id not in self._running and id not in self._finished:
                return id

    def _check(self, agent: str, name: str, parent: Process | None) -> None:
        if name and name in self._names:
            raise Conflict(f"A process named {name!r} is already running.")
        if parent is not None:
            line = [parent, *parent.ancestors()]
            if len(line) > self._settings.spawn_depth:
                raise Invalid(
                    f"Delegation is nested {len(line)} deep; the limit is "
                    f"{self._settings.spawn_depth}.",
                    code="spawn_too_deep",
                )
            if any(process.agent == agent for process in line):
                raise Invalid(
                    f"{agent} is already waiting for an answer in this chain.", code="spawn_cycle"
                )
        if self._full() and not self._make_room():
            raise Overloaded(
                f"All {self._settings.max_processes} processes are busy.",
                code="no_free_process",
                retry_after=2,
            )

    def _full(self) -> bool:
        """Whether as many as may are running; the retired are about to leave."""
        limit = self._settings.max_processes
        return len(self._running) >= limit and sum(not p.retired for p in self.live()) >= limit

    def _make_room(self) -> bool:
        """Retire idle processes, longest idle first, a tenth of the table at a time."""
        idle = [p for p in self.live() if p.idle_since is not None and not p.retired]
        idle.sort(key=lambda p: p.idle_since or 0.0)
        for process in idle[: max(1, self._settings.max_processes // 10)]:
            process.retire()
        return bool(idle)

    async def _supervise(
        self, process: Process, behaviour: Behaviour, limit: int, breaker: CircuitBreaker
    ) -> None:
        process.status = "running"
        self._bus.publish(
            events.ProcessStarted(
                at=process.started_at,
                client_id=process.client_id,
                process_id=process.id,
                agent=process.agent,
                task=process.task,
                parent_id=process.parent_id,
                depth=process.depth,
                reason=process.reason,
            )
        )
        failures: deque[float] = deque()
        while True:
            try:
                process.result = await behaviour(process)
            except asyncio.CancelledError:
                breaker.abandoned()
                self._end(process, "failed", STOPPED)
                return
            except Exception as error:  # border: a persona's failure is handled, not spread
                log.exception("process.failed", process_id=process.id, agent=process.agent)
                now = self._clock.monotonic()
                failures.append(now)
                while failures[0] < now - self._settings.restart_window_s:
                    failures.popleft()
                if len(failures) > limit:
                    if isinstance(error, TronError):  # said on purpose, of something else
                        breaker.abandoned()
                    else:
                        breaker.failed()
                    self._end(process, "failed", f"{type(error).__name__}: {error}")
                    return
                process.restarts += 1
                self._bus.publish(
                    events.ProcessRestarted(
                        at=self._clock.now_ms(),
                        client_id=process.client_id,
                        process_id=process.id,
                        agent=process.agent,
                        restarts=process.restarts,
                        error=type(error).__name__,
                    )
                )
            else:
                breaker.succeeded()
                self._end(process, "completed", None)
                return

    def _ensure_ended(self, process: Process, breaker: CircuitBreaker) -> None:
        if process.live:  # cancelled before its first step
            breaker.abandoned()
            self._end(process, "failed", STOPPED)

    def _end(self, process: Process, status: Any, error: str | None) -> None:
        if process.name and self._names.get(process.name) is process:
            del self._names[process.name]
        self._running.pop(process.id, None)
        self._finished[process.id] = process
        if len(self._finished) > FINISHED_KEPT:
            self._finished.popitem(last=False)
        process.end(status, error)
        self._bus.publish(
            events.ProcessEnded(
                at=self._clock.now_ms(),
                client_id=process.client_id,
                process_id=process.id,
                agent=process.agent,
                task=process.task,
                status=process.status,
                duration_ms=process.duration_ms,
                metrics=process.metrics.as_api(process.duration_ms),
                error=error,
            )
        )

    def get(self, id: str) -> Process | None:
        """A live or recently finished process."""
        if found := self._running.get(id):
            return found[0]
        return self._finished.get(id)

    def free_name(self, wanted: str) -> str:
        """`wanted` if a process may be named so now, else no name."""
        return "" if wanted in self._names else wanted

    @property
    def resting(self) -> list[tuple[str, str]]:
        """(agent, kind of work) of what kept failing and has not worked again since."""
        return [what for what, breaker in self._breakers.items() if breaker.state != "closed"]

    def live(self) -> list[Process]:
        """Running processes, oldest first."""
        return [process for process, _ in self._running.values()]

    def recent(self) -> list[Process]:
        """Running processes and the latest finished ones, oldest first."""
        return sorted([*self._finished.values(), *self.live()], key=lambda p: (p.started_at, p.id))

    async def kill(self, id: str) -> bool:
        """Stop a live process and wait until it has ended. False if it had ended already."""
        found = self._running.get(id)
        if found is None:
            return False
        process, task = found
        task.cancel()
        await process.wait()
        return True

    async def close(self) -> None:
        """Stop everything; what only waits for mail has completed."""
        self._closed = True
        idle = [p for p in self.live() if p.idle_since is not None]
        for process in idle:
            process.retire()
        if idle:
            await asyncio.wait([self._running[p.id][1] for p in idle], timeout=CLOSING_S)
        await self._tasks.close()
