"""Life: the personas' day, by their own schedules or because somebody asked.

Owns which run happens when and exactly once, whichever hub fires; what a run does is in the file
of its activity. Every run is a process like any other, is written down in the ledger, and ends as
one honest line, also when it failed.

Three things lead to a run: the timetable fires; somebody triggers it; or the sweep, once a minute
and at start, finds one that is overdue (the hub was down, the machine asleep, the database away)
or left behind by a killed hub. What the sweep finds is run or skipped as `TRON_LIFE_MISSED` says.
"""

import asyncio
from typing import Protocol, get_args

import structlog

from tron import events
from tron.agents.persona import Activity, Persona
from tron.clock import DAY_MS, Clock
from tron.errors import Invalid, TronError, TurnTimedOut
from tron.events import Bus
from tron.life.articles import Article, read_articles
from tron.life.feeds import Feeds
from tron.life.goals import Goal, goals, read_goals
from tron.life.journal import Journal
from tron.life.news import news
from tron.life.outside import Outside
from tron.life.post import post
from tron.life.posts import Post, read_posts
from tron.life.reflection import day_summary, reflection
from tron.life.runs import AGAIN, Run, Runs
from tron.life.schedule import Schedule
from tron.life.slots import latest
from tron.life.team import team_check
from tron.life.work import Doing, Thinker, Work
from tron.memory.knowledge import Knowledge
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process
from tron.settings import Settings
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

ACTIVITIES: tuple[str, ...] = get_args(Activity)
DOING: dict[str, Doing] = {
    "news": news,
    "goals": goals,
    "team_check": team_check,
    "reflection": reflection,
    "journal": day_summary,
    "post": post,
}
RUN_LIMIT_S = 300.0
PLAN_S = 2.0
SWEEP_S = 60.0
PRUNE_S = 3600.0
RUNS_AT_ONCE = 4
"""scheduled runs side by side on this hub; the rest wait their turn"""
RUNS_KEPT_MS = 90 * DAY_MS
JOURNAL_KEPT_DAYS = 30
INTERRUPTED = "Failed: interrupted"
STOPPING = "Failed: the hub is stopping."


class Personas(Protocol):
    """Who lives here, as the registry knows it."""

    @property
    def personas(self) -> list[Persona]: ...
    def get(self, name_or_id: str) -> Persona | None: ...
    def named(self, name_or_id: str, *, param: str | None = None) -> Persona: ...


class Life:
    """The whole of it, for the hub's own tenant."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        bus: Bus,
        store: Store,
        agents: Personas,
        orchestrator: Orchestrator,
        thinking: Thinker,
        journal: Journal,
        knowledge: Knowledge,
        hub_id: str,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._bus = bus
        self._store = store
        self._agents = agents
        self._orchestrator = orchestrator
        self._thinking = thinking
        self._journal = journal
        self._knowledge = knowledge
        self._client_id = HOUSE
        self._outside = Outside()
        self._feeds = Feeds(clock, store, self._outside)
        self._runs = Runs(store, clock, hub_id, self._client_id)
        self._schedule = Schedule(settings.life_jitter_s, self.fire)
        self._tasks = Tasks("life")
        self._turns = asyncio.Semaphore(RUNS_AT_ONCE)
        self._waiting: set[tuple[str, str, str]] = set()  # for a turn, or taking it

    async def start(self) -> None:
        """Begin the schedules if they are on, and what clears up behind them."""
        if self._settings.life:
            self._schedule.start()
        await self.plan()
        self._tasks.repeat(self.plan, "plan", every_s=PLAN_S)
        self._tasks.repeat(self.sweep, "sweep", every_s=SWEEP_S)
        self._tasks.repeat(self._prune, "pruning", every_s=PRUNE_S)

    async def close(self) -> None:
        """Stop. Runs cut off here are left open and are found by the next hub."""
        self._schedule.close()
        await self._tasks.close()
        await self._feeds.close()
        await self._outside.close()

    def active(self) -> list[Persona]:
        """The personas that have runs scheduled on this hub now."""
        scheduled = self._schedule.scheduled()
        return [persona for persona in self._agents.personas if persona.id in scheduled]

    async def trigger(self, activity: str, persona: str | None = None) -> dict[str, str]:
        """Run `activity` now, for one persona or everyone: what each really did, by name.

        Raises Invalid (no such activity) and NotFound (no such persona). A run that fails is a
        result, not an error.
        """
        if activity not in DOING:
            raise Invalid(
                f"Unknown activity {activity!r}; there are {', '.join(ACTIVITIES)}.",
                param="activity",
            )
        chosen = self._agents.personas
        if persona is not None:
            chosen = [self._agents.named(persona, param="persona")]
        # Tasks of our own, so that a caller who hangs up doesn't cut the runs off.
        running = {
            who.name: self._tasks.start(self._run_manually(who, activity), f"{who.id} {activity}")
            for who in chosen
        }
        if running:
            await asyncio.wait(running.values())
        return {
            name: STOPPING if task.cancelled() else task.result() for name, task in running.items()
        }

    async def feed(self, client_id: str, limit: int = 50) -> list[Post]:
        """The local feed: what was posted, newest first."""
        return await read_posts(self._store, client_id, limit=limit)

    async def goals(self, client_id: str, agent: str | None = None) -> list[Goal]:
        """Goals with their progress, of one persona (id) or all."""
        return await read_goals(self._store, client_id, agent=agent)

    async def articles(
        self, client_id: str, agent: str | None = None, limit: int = 50
    ) -> list[Article]:
        """What was read, with the takes, newest first."""
        return await read_articles(self._store, client_id, agent=agent, limit=limit)

    # The clockwork

    async def plan(self) -> None:
        """Follow the persona files: what they say now is what is scheduled."""
        personas = self._agents.personas
        if self._settings.life and self._schedule.differs(personas):
            pairs = [(persona.id, activity) for persona in personas for activity in persona.life]
            await self._runs.planned(pairs)
            self._schedule.plan(personas)

    async def fire(self, persona_id: str, activity: str, at: str) -> None:
        """The timetable says it is time (`at`, local) for a run."""
        persona = self._agents.get(persona_id)
        now = self._clock.now_ms()
        due = latest((at,), persona.timezone, now) if persona else None
        # The second 02:30 of an autumn night fires an hour late, and so ends here.
        if persona and due and now - due.due_ms <= self._schedule.tolerance_ms:
            self._begin(persona, activity, due.name)

    def _begin(
        self, persona: Persona, activity: str, slot: str, left_behind: Run | None = None
    ) -> None:
        """Run `slot` as soon as there is room for it, unless it is waiting for room already."""
        key = (persona.id, activity, slot)
        if key not in self._waiting:
            self._waiting.add(key)
            self._tasks.start(
                self._in_turn(persona, activity, slot, left_behind), f"{persona.id} {activity}"
            )

    async def sweep(self) -> None:
        """Find runs that are overdue or were left behind, and start or skip them."""
        for run in await self._runs.interrupted():
            if run.manual or self._settings.life:  # else it is for a hub that lives
                await self._mend(run)
        if not self._settings.life:
            return
        now = self._clock.now_ms()
        planned = await self._runs.first_planned()
        known = await self._runs.slots_since(now - 2 * DAY_MS)
        for persona in self._agents.personas:
            for activity, times in persona.life.items():
                due = latest(times, persona.timezone, now)
                since = planned.get((persona.id, activity), now)
                if due is None or (persona.id, activity, due.name) in known | self._waiting:
                    continue
                if max(since, now - DAY_MS) < due.due_ms < now - self._schedule.tolerance_ms:
                    await self._missed(persona, activity, due.name)

    async def _missed(self, persona: Persona, activity: str, slot: str) -> None:
        if self._settings.life_missed == "catch_up":
            self._begin(persona, activity, slot)
            return
        why = f"Skipped: due at {slot.replace('T', ' ')}, when the hub could not run it."
        if await self._runs.skip(persona.id, activity, slot, why):
            self._tell(persona.id, activity, "skipped", why)

    async def _mend(self, run: Run) -> None:
        """Decide about a run whose hub is gone: once more, or never."""
        persona = self._agents.get(run.agent)
        again = (
            self._settings.life_missed == "catch_up"
            and not run.manual  # whoever asked is no longer waiting
            and run.result != AGAIN  # a run that takes hubs down with it is not tried for ever
            and run.started_at > self._clock.now_ms() - DAY_MS
        )
        if persona is not None and again:
            self._begin(persona, run.activity, run.slot, run)
        elif await self._runs.take_over(run, "failed", INTERRUPTED):
            self._tell(run.agent, run.activity, "failed", INTERRUPTED)

    async def _prune(self) -> None:
        await self._runs.prune(self._clock.now_ms() - RUNS_KEPT_MS)
        await self._journal.prune(JOURNAL_KEPT_DAYS)
        await self._knowledge.prune()

    # One run

    async def _run_manually(self, persona: Persona, activity: str) -> str:
        try:
            slot = await self._runs.claim_manual(persona.id, activity)
            return await self._run(persona, activity, slot)
        except TronError as error:  # the ledger itself could not be written
            return f"Failed: {error.message}"

    async def _in_turn(
        self, persona: Persona, activity: str, slot: str, left_behind: Run | None
    ) -> None:
        try:
            async with self._turns:
                if left_behind is not None:
                    mine = await self._runs.take_over(left_behind, "running", AGAIN)
                else:
                    mine = await self._runs.claim(persona.id, activity, slot)
                if mine:
                    await self._run(persona, activity, slot)
        finally:
            self._waiting.discard((persona.id, activity, slot))

    async def _run(self, persona: Persona, activity: str, slot: str) -> str:
        """Do it as a process of the persona, and write down what came of it."""
        status, result = await self._as_process(persona, activity, manual=slot.startswith("manual"))
        await self._runs.finish(persona.id, activity, slot, status, result)
        self._tell(persona.id, activity, status, result)
        return result

    async def _as_process(
        self, persona: Persona, activity: str, *, manual: bool
    ) -> tuple[str, str]:
        """(status, what was really done)."""
        faults: list[Exception] = []

        async def behaviour(process: Process) -> str:
            try:
                async with asyncio.timeout(RUN_LIMIT_S):
                    return await DOING[activity](self._work(persona, process, manual=manual))
            except TimeoutError:
                fault = TurnTimedOut(f"{activity} took longer than {RUN_LIMIT_S / 60:g} minutes.")
                faults.append(fault)
                raise fault from None
            except Exception as error:
                faults.append(error)
                raise

        try:
            process = self._orchestrator.spawn(
                persona.id,
                behaviour,
                kind="life",
                task=f"life: {activity}",
                reason=f"life:{activity}",
                name=self._orchestrator.free_name(f"{persona.id}.{activity}"),
                client_id=self._client_id,
                restarts=0,
            )
        except TronError as error:
            return "failed", f"Failed: {error.message}"
        try:
            await process.wait()
        except asyncio.CancelledError:
            await self._orchestrator.kill(process.id)
            raise
        if process.status == "completed":
            return "completed", str(process.result)
        return "failed", _failure(faults[0] if faults else None)

    def _work(self, persona: Persona, process: Process, *, manual: bool) -> Work:
        return Work(
            client_id=self._client_id,
            persona=persona,
            process=process,
            manual=manual,
            settings=self._settings,
            clock=self._clock,
            store=self._store,
            orchestrator=self._orchestrator,
            thinking=self._thinking,
            journal=self._journal,
            knowledge=self._knowledge,
            feeds=self._feeds,
            outside=self._outside,
        )

    def _tell(self, agent: str, activity: str, status: str, result: str) -> None:
        self._bus.publish(
            events.LifeRan(
                at=self._clock.now_ms(),
                client_id=self._client_id,
                agent=agent,
                activity=activity,
                status=status,
                result=result,
            )
        )
        log.info("life.ran", agent=agent, activity=activity, status=status)


def _failure(fault: Exception | None) -> str:
    """What to say of a run that failed; the details of a fault of ours are for the log."""
    if fault is None:
        return "Failed: it was stopped."
    if isinstance(fault, TronError):
        return f"Failed: {fault.message}"
    return f"Failed: something went wrong inside the hub ({type(fault).__name__}); see its log."
