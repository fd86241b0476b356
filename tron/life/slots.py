"""When something is due: pure arithmetic over local wall times.

A persona's schedule is a list of local times ("06:00"). A slot is one of them on one day, named by
its local wall time (`2026-11-20T06:00`), so a slot has the same name on every hub, and exists once
on a day when the clock shows it twice. Nothing here reads a clock.

On the two odd days of the year: a time that the clock shows twice (autumn) is due the first time;
a time that it skips (spring) is due when it would have been had the clock not been moved.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Slot(NamedTuple):
    """One due time: its name, and the instant in ms since the epoch."""

    name: str
    due_ms: int


def slot(day: date, at: str, zone: str) -> Slot:
    """The slot of local time `at` ("HH:MM") on `day`."""
    hour, minute = at.split(":")
    local = datetime.combine(day, time(int(hour), int(minute)), ZoneInfo(zone))
    return Slot(local.strftime("%Y-%m-%dT%H:%M"), round(local.timestamp() * 1000))


def latest(times: Iterable[str], zone: str, now_ms: int) -> Slot | None:
    """The slot that became due last, at or before `now_ms`. None if there are no times."""
    today = local(now_ms, zone).date()
    due = [
        found
        for at in times
        for days in (-1, 0)  # a day ahead or behind is never needed: the date is the local one
        if (found := slot(today + timedelta(days=days), at, zone)).due_ms <= now_ms
    ]
    return max(due, key=lambda found: (found.due_ms, found.name), default=None)


def local(at_ms: int, zone: str) -> datetime:
    """The wall clock in `zone` at `at_ms`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))


def midnight_ms(zone: str, now_ms: int) -> int:
    """When the local day of `now_ms` began, in ms since the epoch."""
    return slot(local(now_ms, zone).date(), "00:00", zone).due_ms
