"""An orchestrator with a clock that stands still, and everything it says on the bus."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tron.clock import ManualClock
from tron.events import Bus, Event
from tron.orchestrator.orchestrator import Orchestrator
from tron.settings import Settings

Make = Callable[..., Orchestrator]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def heard() -> list[Event]:
    """Every event, in order."""
    return []


@pytest.fixture
async def make(clock: ManualClock, heard: list[Event]) -> AsyncIterator[Make]:
    """`make(max_processes=2)`: an orchestrator with these settings, closed in the end."""
    made: list[Orchestrator] = []
    bus = Bus()
    bus.add(heard.append)

    def make(**settings: Any) -> Orchestrator:
        made.append(Orchestrator(Settings(**settings), clock, bus))
        return made[-1]

    yield make
    for orchestrator in made:
        await orchestrator.close()


@pytest.fixture
def orchestrator(make: Make) -> Orchestrator:
    return make()
