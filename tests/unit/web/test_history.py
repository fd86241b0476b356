"""What happened is recorded exactly, in the background, and forgotten in time."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tron.clock import ManualClock
from tron.errors import StorageUnavailable
from tron.events import Bus, ProcessEnded, ProcessStarted
from tron.heartbeat import DEAD_AFTER_MS, Heartbeat
from tron.orchestrator import history as module
from tron.orchestrator.history import History
from tron.storage.store import Store
from tron.storage.tables import HOUSE


class Happenings:
    """Publishes what processes do."""

    def __init__(self, bus: Bus, clock: ManualClock) -> None:
        self.bus = bus
        self.clock = clock

    def ran(
        self,
        agent: str,
        id: str,
        *,
        cost: float | None = 0.25,
        parent: str | None = None,
        client_id: str = HOUSE,
    ) -> None:
        self.started(agent, id, parent=parent, client_id=client_id)
        self.bus.publish(
            ProcessEnded(
                at=self.clock.now_ms(),
                client_id=client_id,
                process_id=id,
                agent=agent,
                task="think",
                status="completed",
                duration_ms=1000,
                metrics={"estimated_cost": cost, "input_tokens": 3},
                error=None,
            )
        )

    def started(
        self, agent: str, id: str, *, parent: str | None = None, client_id: str = HOUSE
    ) -> None:
        self.bus.publish(
            ProcessStarted(
                at=self.clock.now_ms(),
                client_id=client_id,
                process_id=id,
                agent=agent,
                task="think",
                parent_id=parent,
                depth=1 if parent else 0,
                reason="",
            )
        )


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def happenings(bus: Bus, clock: ManualClock) -> Happenings:
    return Happenings(bus, clock)


@pytest.fixture
async def history(store: Store, clock: ManualClock, bus: Bus) -> AsyncIterator[History]:
    made = History(store, clock, bus, keep_days=30, hub_id="hub-1")
    made.start()
    yield made
    await made.close()


async def test_entries_and_exact_sums(
    history: History, happenings: Happenings, clock: ManualClock
) -> None:
    happenings.ran("tony", "p1")
    clock.advance(24 * 3600)
    happenings.ran("maya", "p2", cost=0.5)
    happenings.ran("maya", "p3", cost=None)
    happenings.ran("maya", "p4", client_id="another")
    found = await history.entries(HOUSE, 7)
    assert [(e["type"], e["process_id"]) for e in found["entries"]] == [
        ("process_end", "p3"),
        ("process_start", "p3"),
        ("process_end", "p2"),
        ("process_start", "p2"),
        ("process_end", "p1"),
        ("process_start", "p1"),
    ]
    assert found["entries"][0]["metrics"] == {"estimated_cost": None, "input_tokens": 3}
    assert found["summary"] == {
        "total_entries": 6,
        "total_processes": 3,
        "total_sessions": 0,
        "total_errors": 0,
        "by_agent": {"maya": 4, "tony": 2},
        "by_day": {"2023-11-14": 2, "2023-11-15": 4},
        "by_status": {"completed": 3},
        "avg_duration_ms": 1000,
        "total_cost": 0.75,
    }
    assert (await history.entries(HOUSE, 1))["summary"]["total_entries"] == 6
    clock.advance(1)
    assert (await history.entries(HOUSE, 1))["summary"]["total_entries"] == 4


async def test_nothing_happened(history: History) -> None:
    found = await history.entries(HOUSE, 7)
    assert found["entries"] == []
    assert found["summary"]["avg_duration_ms"] is None
    assert found["summary"]["total_cost"] == 0


async def test_counts_are_exact_beyond_what_is_shown(
    history: History, happenings: Happenings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENTRIES_SHOWN", 5)
    for n in range(700):  # more than one batch
        happenings.ran("tony", f"p{n}")
    found = await history.entries(HOUSE, 7)
    assert len(found["entries"]) == 5
    assert found["summary"]["total_entries"] == 1400


async def test_running_is_what_has_not_ended(history: History, happenings: Happenings) -> None:
    happenings.ran("tony", "p1")
    happenings.started("tony", "p2")
    assert (await history.entries(HOUSE, 7))["summary"]["by_status"] == {
        "completed": 1,
        "running": 1,
    }
    assert await history.statuses(HOUSE, ["p1", "p2", "p3"]) == {"p1": "completed", "p2": "running"}
    assert await history.statuses("another", ["p1"]) == {}


async def test_what_a_killed_hub_was_running_has_failed(
    store: Store, clock: ManualClock, bus: Bus, happenings: Happenings
) -> None:
    killed = History(store, clock, bus, keep_days=30, hub_id="killed")
    killed.start()
    await Heartbeat(store, clock, "killed").beat()
    happenings.ran("tony", "p1")
    happenings.started("tony", "p2")
    await killed.close()  # and no end of p2 was ever written
    alive, other = (
        History(store, clock, Bus(), keep_days=30, hub_id=id) for id in ("alive", "other")
    )
    assert await alive.adopt() == 0  # it may still be there
    clock.advance(DEAD_AFTER_MS / 1000 + 1)
    assert await alive.adopt() == 1
    assert await alive.adopt() == await other.adopt() == 0
    found = await alive.entries(HOUSE, 7)
    assert found["summary"]["by_status"] == {"completed": 1, "failed": 1}
    end = found["entries"][0]
    assert (end["type"], end["process_id"], end["agent"]) == ("process_end", "p2", "tony")
    assert (end["status"], end["error"]) == ("failed", module.HUB_DIED)


async def test_at_start_hubs_long_forgotten_are_found_too(
    store: Store, clock: ManualClock, bus: Bus, happenings: Happenings
) -> None:
    gone = History(store, clock, bus, keep_days=30, hub_id="gone")
    gone.start()
    happenings.started("tony", "p1")
    await gone.close()
    assert await History(store, clock, Bus(), keep_days=30, hub_id="new").adopt() == 1


async def test_patterns(history: History, happenings: Happenings) -> None:
    happenings.started("tony", "root")
    for n in range(3):
        happenings.ran("maya", f"m{n}", parent="root")
    happenings.ran("alex", "a", parent="root")
    happenings.ran("riley", "r", parent="gone")
    patterns = await history.patterns(HOUSE, 7)
    assert patterns["total_spawns"] == 4
    assert patterns["spawns_by_agent"] == {"tony": 4}
    assert patterns["spawned_by_agent"] == {"maya": 3, "alex": 1}
    assert patterns["common_patterns"][0] == {"parent": "tony", "child": "maya", "count": 3}


async def test_old_entries_are_forgotten(
    history: History, happenings: Happenings, clock: ManualClock
) -> None:
    happenings.ran("tony", "p1")
    await history.flush()
    clock.advance(31 * 24 * 3600)
    happenings.ran("tony", "p2")
    await history.flush()
    assert await history.prune() == 2
    assert (await history.entries(HOUSE, 30))["summary"]["total_entries"] == 2


async def test_what_is_buffered_is_written_at_the_end(
    store: Store, clock: ManualClock, bus: Bus, happenings: Happenings
) -> None:
    first = History(store, clock, bus, keep_days=30, hub_id="hub-1")
    first.start()
    happenings.ran("tony", "p1")
    await first.close()
    second = History(store, clock, bus, keep_days=30, hub_id="hub-1")
    assert (await second.entries(HOUSE, 7))["summary"]["total_entries"] == 2


async def test_an_absent_database_costs_the_oldest_rows_and_says_so(
    history: History, happenings: Happenings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUFFER_SIZE", 6)
    real = history._store.write

    async def away(unit: object) -> object:
        for n in range(2):
            happenings.ran("tony", f"during{n}")
        raise StorageUnavailable("away")

    for n in range(2):
        happenings.ran("tony", f"before{n}")
    monkeypatch.setattr(history._store, "write", away)
    with pytest.raises(StorageUnavailable):
        await history.flush()
    monkeypatch.setattr(history._store, "write", real)
    with capture_logs() as logs:
        found = await history.entries(HOUSE, 7)
    assert {entry["process_id"] for entry in found["entries"]} == {"before1", "during0", "during1"}
    assert [log["rows"] for log in logs if log["event"] == "history.dropped"] == [2]


async def test_rows_dropped_while_their_write_ran_are_not_lost_twice(
    history: History, happenings: Happenings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUFFER_SIZE", 4)
    real = history._store.write

    async def slow(unit: object) -> object:
        monkeypatch.setattr(history._store, "write", real)
        written: object = await real(unit)  # type: ignore[arg-type]
        happenings.ran("tony", "late")  # pushes two written rows out of the full buffer
        return written

    for n in range(2):
        happenings.ran("tony", f"early{n}")
    monkeypatch.setattr(history._store, "write", slow)
    found = await history.entries(HOUSE, 7)
    assert found["summary"]["total_entries"] == 6
