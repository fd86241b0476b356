"""A life on a fresh database, with a clock that stands still and a mind that says what it is told.

`make_life()` makes one hub's life; call it again for a second hub on the same database.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from integrations.feeds.fake import FakeFeeds
from integrations.social.fake import FakeSocial
from tron.agents.persona import Feed, Persona
from tron.clock import ManualClock
from tron.errors import NotFound
from tron.events import Bus, Event, LifeRan
from tron.life.journal import Journal
from tron.life.life import Life
from tron.memory.knowledge import Knowledge
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process
from tron.settings import Settings
from tron.storage.store import Store

SOCIAL_KEY = "social-key"


def at(local: str, zone: str = "UTC") -> int:
    """Milliseconds since the epoch of a wall time such as `2026-11-20T06:00`."""
    return round(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def tony(**given: Any) -> Persona:
    """A persona with a little of everything."""
    fields: dict[str, Any] = {
        "id": "tony",
        "name": "Tony",
        "title": "CTO",
        "focus": ("engineering", "AI", "infrastructure"),
        "tone": "pragmatic, dry wit",
        "emoji": "wrench",
        "avoid": ("crypto",),
        "goals": ("Ship the billing rewrite", "Halve the build time"),
        "prompt": "You are Tony.",
    }
    return Persona(**(fields | given))


class Mind:
    """Thinks what it is told to: by default, what would be said offline."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.says: str | Exception | None = None

    async def think(
        self,
        process: Process,
        persona: Persona,
        prompt: str,
        *,
        offline: str,
        max_tokens: int | None = None,
    ) -> str:
        self.prompts.append(prompt)
        if isinstance(self.says, Exception):
            raise self.says
        return offline if self.says is None else self.says


class People:
    """Who lives here; change `personas` at any time."""

    def __init__(self, *personas: Persona) -> None:
        self.personas = list(personas)

    def get(self, name_or_id: str) -> Persona | None:
        handle = name_or_id.casefold()
        return next((p for p in self.personas if handle in (p.id, p.name.casefold())), None)

    def named(self, name_or_id: str, *, param: str | None = None) -> Persona:
        found = self.get(name_or_id)
        if found is None:
            raise NotFound(f"There is no agent {name_or_id!r}.", param=param)
        return found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(at("2026-11-20T10:00"))


@pytest.fixture
def mind() -> Mind:
    return Mind()


@pytest.fixture
def people() -> People:
    return People(tony())


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def ran(bus: Bus) -> list[LifeRan]:
    """Every run that has ended, on any hub."""
    seen: list[LifeRan] = []

    def listen(event: Event) -> None:
        if isinstance(event, LifeRan):
            seen.append(event)

    bus.add(listen)
    return seen


@pytest.fixture
def journal(store: Store, clock: ManualClock) -> Journal:
    return Journal(store, clock)


@pytest.fixture
def knowledge(store: Store, clock: ManualClock) -> Knowledge:
    return Knowledge(store, clock)


@pytest.fixture
async def orchestrator(clock: ManualClock, bus: Bus) -> AsyncIterator[Orchestrator]:
    orchestrator = Orchestrator(Settings(), clock, bus)
    yield orchestrator
    await orchestrator.close()


MakeLife = Callable[..., Life]


@pytest.fixture
async def make_life(
    store: Store,
    clock: ManualClock,
    bus: Bus,
    people: People,
    orchestrator: Orchestrator,
    mind: Mind,
    journal: Journal,
    knowledge: Knowledge,
) -> AsyncIterator[MakeLife]:
    made: list[Life] = []

    def make(hub_id: str = "hub-a", **settings: Any) -> Life:
        life = Life(
            Settings(**({"life_jitter_s": 0.0} | settings)),
            clock,
            bus,
            store,
            people,
            orchestrator,
            mind,
            journal,
            knowledge,
            hub_id,
        )
        made.append(life)
        return life

    yield make
    for life in made:
        await life.close()


@pytest.fixture
async def feeds() -> AsyncIterator[FakeFeeds]:
    async with FakeFeeds() as feeds:
        yield feeds


@pytest.fixture
async def social() -> AsyncIterator[FakeSocial]:
    async with FakeSocial(key=SOCIAL_KEY) as social:
        yield social


def rss(feeds: FakeFeeds, path: str = "/rss", name: str = "Daily", kind: str = "rss") -> Feed:
    return Feed.model_validate({"name": name, "url": feeds.url(path), "kind": kind})
