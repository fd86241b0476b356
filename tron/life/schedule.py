"""The timetable: fires each persona's activities at its own local times.

Owns the APScheduler; it knows nothing of what a run does or whether another hub does it (the
ledger decides that). A firing that comes later than the jitter allows is dropped here: what is
overdue is found, once, by the sweep in `life.py`.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple
from zoneinfo import ZoneInfo

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from tron.agents.persona import Persona

log = structlog.get_logger(__name__)

ON_TIME_S = 60.0
"""how late, jitter aside, a run still counts as on time"""

Fire = Callable[[str, str, str], Awaitable[None]]
"""called with persona id, activity and local time ("06:00")"""


class Planned(NamedTuple):
    """What of a persona the timetable depends on."""

    id: str
    zone: str
    times: tuple[tuple[str, str], ...]
    """(activity, local time)"""


def plan_of(persona: Persona) -> Planned:
    """The persona's timetable."""
    times = [(activity, at) for activity, ats in persona.life.items() for at in ats]
    return Planned(persona.id, persona.timezone, tuple(times))


class Schedule:
    """All personas' timetables."""

    def __init__(self, jitter_s: float, fire: Fire) -> None:
        self._jitter_s = jitter_s
        self._fire = fire
        self._scheduler: AsyncIOScheduler | None = None
        self._plans: tuple[Planned, ...] = ()

    @property
    def tolerance_ms(self) -> int:
        """How late, in ms, a run may start and still be on time."""
        return round((self._jitter_s + ON_TIME_S) * 1000)

    def start(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone=ZoneInfo("UTC"))
        self._scheduler.start()

    def differs(self, personas: list[Persona]) -> bool:
        """Whether the personas' timetables are no longer what is planned."""
        return tuple(plan_of(persona) for persona in personas) != self._plans

    def plan(self, personas: list[Persona]) -> None:
        """Make the timetables what the personas say now."""
        if self._scheduler is None:
            return
        plans = tuple(plan_of(persona) for persona in personas)
        self._scheduler.remove_all_jobs()
        for planned in plans:
            for activity, at in planned.times:
                self._add(self._scheduler, planned, activity, at)
        self._plans = plans
        log.info("life.planned", personas=len(plans), runs=len(self._scheduler.get_jobs()))

    def _add(self, scheduler: AsyncIOScheduler, planned: Planned, activity: str, at: str) -> None:
        hour, minute = at.split(":")
        scheduler.add_job(
            self._fire,
            CronTrigger(
                hour=int(hour),
                minute=int(minute),
                timezone=ZoneInfo(planned.zone),
                jitter=round(self._jitter_s) or None,
            ),
            args=(planned.id, activity, at),
            id=f"{planned.id} {activity} {at}",
            misfire_grace_time=round(self.tolerance_ms / 1000),
            coalesce=True,
        )

    def scheduled(self) -> set[str]:
        """Ids of the personas that have runs ahead of them."""
        if self._scheduler is None:
            return set()
        return {job.args[0] for job in self._scheduler.get_jobs()}

    def close(self) -> None:
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None
        self._plans = ()
