"""A circuit breaker: stop asking what keeps failing, and find out gently when it is back.

Closed: everything passes. After `failures` in a row it opens and nothing passes for `reset_s`;
then one trial passes (half open), and its outcome closes or reopens the circuit; a trial that has
gone on for `reset_s` without failing has worked. Language model providers and the spawning of a
persona's processes each sit behind one.
"""

from typing import Literal

from tron.clock import Clock

State = Literal["closed", "open", "half_open"]


class CircuitBreaker:
    """Counts consecutive failures of one thing."""

    def __init__(self, clock: Clock, *, failures: int = 3, reset_s: float = 30.0) -> None:
        self._clock = clock
        self._limit = failures
        self._reset_s = reset_s
        self._failed = 0
        self._opened_at: float | None = None
        self._trial_at: float | None = None

    @property
    def state(self) -> State:
        if self._opened_at is None:
            return "closed"
        return "half_open" if self.retry_after == 0 else "open"

    @property
    def retry_after(self) -> float:
        """Seconds until the next trial may pass; 0 when one may now."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._reset_s - self._clock.monotonic())

    def allow(self) -> bool:
        """Whether to try now. In the half-open state only the first asker gets True."""
        match self.state:
            case "closed":
                return True
            case "open":
                return False
            case "half_open":
                now = self._clock.monotonic()
                if self._trial_at is None:
                    self._trial_at = now
                elif now < self._trial_at + self._reset_s:
                    return False
                else:
                    self.succeeded()
                return True

    def succeeded(self) -> None:
        self._failed, self._opened_at, self._trial_at = 0, None, None

    def failed(self) -> None:
        self._failed += 1
        if self._opened_at is None:
            opens = self._failed >= self._limit
        else:  # one that was asked before it opened says nothing new
            opens = self._trial_at is not None
        if opens:
            self._opened_at, self._trial_at = self._clock.monotonic(), None

    def abandoned(self) -> None:
        """The trial was given up by its caller: nothing was learnt."""
        self._trial_at = None
