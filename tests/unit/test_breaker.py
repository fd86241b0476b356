"""What keeps failing is left alone for a while, then tried by one."""

import pytest

from tron.breaker import CircuitBreaker
from tron.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    return CircuitBreaker(clock, failures=3, reset_s=30)


def opened(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        assert breaker.allow()
        breaker.failed()


def test_it_opens_after_so_many_failures_in_a_row(breaker: CircuitBreaker) -> None:
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    assert breaker.allow()
    breaker.failed()
    assert breaker.state == "open"
    assert not breaker.allow()


def test_it_says_when_to_come_back(breaker: CircuitBreaker, clock: ManualClock) -> None:
    assert breaker.retry_after == 0
    opened(breaker)
    clock.advance(10)
    assert breaker.retry_after == 20
    clock.advance(100)
    assert breaker.retry_after == 0


@pytest.mark.parametrize("works", [True, False])
def test_one_trial_decides(breaker: CircuitBreaker, clock: ManualClock, works: bool) -> None:
    opened(breaker)
    clock.advance(30)
    assert breaker.allow()
    assert not breaker.allow()
    if works:
        breaker.succeeded()
        assert breaker.state == "closed"
        assert breaker.allow()
    else:
        breaker.failed()
        assert not breaker.allow()
        assert breaker.retry_after == 30


def test_an_abandoned_trial_leaves_the_place_to_the_next(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    opened(breaker)
    clock.advance(30)
    assert breaker.allow()
    breaker.abandoned()
    assert breaker.state == "half_open"
    assert breaker.allow()


def test_a_trial_that_lasts_without_failing_has_worked(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    opened(breaker)
    clock.advance(30)
    assert breaker.allow()  # a conversation of an hour, say
    clock.advance(29)
    assert not breaker.allow()
    clock.advance(1)
    assert breaker.allow()
    assert breaker.allow()


def test_a_late_failure_does_not_lengthen_the_rest(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    opened(breaker)
    clock.advance(20)
    breaker.failed()  # something that was asked before it opened
    assert breaker.retry_after == 10
