"""The journal gives back what was written, newest first."""

import pytest

from tron.clock import ManualClock
from tron.life.journal import Journal
from tron.storage.store import Store
from tron.storage.tables import HOUSE

DAY_S = 86_400


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def journal(store: Store, clock: ManualClock) -> Journal:
    return Journal(store, clock)


async def test_entries_come_newest_first_and_narrowed(journal: Journal, clock: ManualClock) -> None:
    await journal.write(HOUSE, "tony", "note", "first\x00")
    clock.advance(10)
    middle = clock.now_ms()
    await journal.write(HOUSE, "maya", "news", "second")
    await journal.write(HOUSE, "tony", "message", "third")

    async def texts(**narrowed: object) -> list[str]:
        return [e.text for e in await journal.entries(HOUSE, **narrowed)]  # type: ignore[arg-type]

    assert await texts() == ["third", "second", "first"]
    assert await texts(limit=1) == ["third"]
    assert await texts(agent="tony") == ["third", "first"]
    assert await texts(agent="tony", kinds=["note"]) == ["first"]
    assert await texts(since_ms=middle) == ["third", "second"]
    assert await texts(kinds=[]) == []
    assert await journal.entries("acme") == []


async def test_old_entries_are_pruned(journal: Journal, clock: ManualClock) -> None:
    await journal.write(HOUSE, "tony", "note", "old")
    clock.advance(20 * DAY_S)
    kept = await journal.write(HOUSE, "tony", "note", "new")
    clock.advance(11 * DAY_S)
    assert await journal.prune(30) == 1
    assert await journal.entries(HOUSE) == [kept]
