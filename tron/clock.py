"""Time, passed in.

Owns the only calls to the system clock. Everything else takes a `Clock`, so a test can stand
still or jump, and a recorded run can be replayed exactly. Wall times are integers of milliseconds
since the Unix epoch (UTC): they sort, survive every database, and cost nothing to compare.
"""

import time
from datetime import UTC, datetime
from typing import Protocol

DAY_MS = 86_400_000


class Clock(Protocol):
    """Where a part of the hub reads the time."""

    def now_ms(self) -> int:
        """Wall clock: milliseconds since the Unix epoch."""
        ...

    def now_ns(self) -> int:
        """Wall clock: nanoseconds since the Unix epoch, where ids are made from it."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, for measuring durations."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told to; for tests."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def now_ns(self) -> int:
        return self._now_ms * 1_000_000

    def monotonic(self) -> float:
        return self._now_ms / 1000

    def advance(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)


def iso(ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC, to the second: `2024-01-15T10:30:00Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_or_none(ms: int | None) -> str | None:
    """The same of what may not have happened yet, or never will."""
    return None if ms is None else iso(ms)


def duration(seconds: float) -> str:
    """A span as the status page writes it: `2h30m15s`, `45s`."""
    left = int(seconds)
    hours, left = divmod(left, 3600)
    minutes, left = divmod(left, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
