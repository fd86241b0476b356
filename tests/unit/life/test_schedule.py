"""Each due run happens once: whoever fires, however often, and whatever was down meanwhile."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from tests.harness.waiting import eventually
from tests.unit.life.conftest import MakeLife, Mind, People, at, tony
from tron.agents.persona import Persona
from tron.clock import DAY_MS, ManualClock
from tron.errors import Invalid
from tron.events import LifeRan
from tron.heartbeat import DEAD_AFTER_MS, Heartbeat
from tron.life.journal import Journal
from tron.life.life import RUNS_AT_ONCE, Life
from tron.life.schedule import Schedule
from tron.storage.store import Store
from tron.storage.tables import HOUSE, life_runs

DAY = {"team_check": ("06:00", "12:00", "18:00")}
Runs = list[tuple[str, str, str]]


@pytest.fixture
def people() -> People:
    return People(tony(timezone="Europe/Berlin", life=DAY))


async def runs(store: Store) -> Runs:
    """(slot, status, hub) of every run so far."""
    query = (
        select(life_runs)
        .where(life_runs.c.client_id == HOUSE, life_runs.c.slot != "planned")
        .order_by(life_runs.c.id)
    )
    async with store.read() as conn:
        return [(row.slot, row.status, row.hub) for row in await conn.execute(query)]


async def ended(ran: list[LifeRan], count: int) -> None:
    await eventually(lambda: len(ran) == count, what=f"{count} runs")
    await asyncio.sleep(0)


async def quiet(life: Life) -> None:
    """Until nothing runs or waits on this hub (its heartbeat was never started)."""
    await eventually(lambda: not life._waiting, what="the runs to end")


async def scheduled_then_down(life: Life, clock: ManualClock, since: str) -> None:
    """A hub that planned its day at `since` (Berlin) and is gone now."""
    now = clock.now_ms()
    clock.advance((at(since, "Europe/Berlin") - now) / 1000)
    await life.start()
    await life.close()


async def test_a_firing_runs_the_slot_of_its_time_whatever_the_jitter(
    make_life: MakeLife, store: Store, clock: ManualClock, ran: list[LifeRan]
) -> None:
    life = make_life(life_jitter_s=120.0)
    clock.advance((at("2026-11-20T12:01:47", "Europe/Berlin") - clock.now_ms()) / 1000)
    await life.fire("tony", "team_check", "12:00")
    await ended(ran, 1)
    assert await runs(store) == [("2026-11-20T12:00", "completed", "hub-a")]
    assert ran[0].agent == "tony"
    assert ran[0].activity == "team_check"
    assert ran[0].result.startswith("Checked the team:")


async def test_a_firing_that_comes_far_too_late_is_left_to_the_sweep(
    make_life: MakeLife, store: Store, clock: ManualClock
) -> None:
    life = make_life()
    clock.advance((at("2026-11-20T12:02", "Europe/Berlin") - clock.now_ms()) / 1000)
    await life.fire("tony", "team_check", "12:00")
    await quiet(life)
    assert await runs(store) == []


async def test_two_hubs_fire_and_one_runs(
    make_life: MakeLife, store: Store, clock: ManualClock, ran: list[LifeRan], journal: Journal
) -> None:
    a, b = make_life("hub-a"), make_life("hub-b")
    clock.advance((at("2026-11-20T12:00", "Europe/Berlin") - clock.now_ms()) / 1000)
    await asyncio.gather(*(hub.fire("tony", "team_check", "12:00") for hub in (a, b, a, b)))
    await quiet(a)
    await quiet(b)
    assert len(await runs(store)) == 1
    assert len(ran) == 1
    assert len(await journal.entries(HOUSE, agent="tony")) == 1


async def test_the_hour_that_comes_twice_runs_once(
    make_life: MakeLife, store: Store, clock: ManualClock, people: People, ran: list[LifeRan]
) -> None:
    people.personas = [tony(timezone="Europe/Berlin", life={"team_check": ("02:30",)})]
    life = make_life()
    for utc in ("2026-10-25T00:30", "2026-10-25T01:30"):
        clock.advance((at(utc) - clock.now_ms()) / 1000)
        await life.fire("tony", "team_check", "02:30")
        await life.sweep()
        await quiet(life)
    assert await runs(store) == [("2026-10-25T02:30", "completed", "hub-a")]


async def test_the_hour_that_is_skipped_runs_once(
    make_life: MakeLife, store: Store, clock: ManualClock, people: People, ran: list[LifeRan]
) -> None:
    people.personas = [tony(timezone="Europe/Berlin", life={"team_check": ("02:30", "03:30")})]
    life = make_life()
    clock.advance((at("2027-03-28T01:30") - clock.now_ms()) / 1000)
    for time in ("02:30", "03:30"):  # on this day both are due at the same instant
        await life.fire("tony", "team_check", time)
    await ended(ran, 2)
    assert [slot for slot, _, _ in await runs(store)] == ["2027-03-28T02:30", "2027-03-28T03:30"]


@pytest.mark.parametrize(("day", "firings"), [("2026-03-29", 1), ("2026-10-25", 2)])
async def test_what_the_scheduler_does_on_the_odd_days(day: str, firings: int) -> None:
    """The reason for the ledger: the scheduler itself fires 02:30 twice in autumn."""

    async def fire(persona: str, activity: str, time: str) -> None:
        raise AssertionError("not within this test")

    schedule = Schedule(0.0, fire)
    schedule.start()
    schedule.plan([tony(timezone="Europe/Berlin", life={"news": ("02:30",)})])
    assert schedule._scheduler is not None
    (job,) = schedule._scheduler.get_jobs()
    now = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=UTC) - timedelta(hours=3)
    fired, last = 0, None
    while True:
        last = job.trigger.get_next_fire_time(last, now)
        now = last.astimezone(UTC) + timedelta(microseconds=1)
        if last.date().isoformat() > day:
            break
        fired += 1
    schedule.close()
    assert fired == firings


async def test_a_newcomer_is_not_flooded(
    make_life: MakeLife, store: Store, clock: ManualClock
) -> None:
    life = make_life()
    await life.start()
    clock.advance(300)
    await life.sweep()
    await quiet(life)
    assert await runs(store) == []


async def test_the_latest_run_missed_while_down_is_caught_up(
    make_life: MakeLife, store: Store, clock: ManualClock, ran: list[LifeRan]
) -> None:
    await scheduled_then_down(make_life(), clock, "2026-11-20T05:00")
    clock.advance(9 * 3600)  # 14:00: 06:00 and 12:00 were missed
    life = make_life("hub-b")
    await life.start()
    await ended(ran, 1)
    await life.sweep()
    await quiet(life)
    assert await runs(store) == [("2026-11-20T12:00", "completed", "hub-b")]


async def test_or_skipped_if_so_set(
    make_life: MakeLife, store: Store, clock: ManualClock, ran: list[LifeRan], journal: Journal
) -> None:
    await scheduled_then_down(make_life(), clock, "2026-11-20T05:00")
    clock.advance(9 * 3600)
    life = make_life("hub-b", life_missed="skip")
    await life.start()
    await life.sweep()
    assert await runs(store) == [("2026-11-20T12:00", "skipped", "hub-b")]
    assert [(event.status, event.result) for event in ran] == [
        ("skipped", "Skipped: due at 2026-11-20 12:00, when the hub could not run it.")
    ]
    assert await journal.entries(HOUSE, agent="tony") == []


async def test_a_run_missed_more_than_a_day_ago_is_let_go(
    make_life: MakeLife, store: Store, clock: ManualClock, people: People
) -> None:
    people.personas = [tony(life={"team_check": ("06:00",)})]
    await scheduled_then_down(make_life(), clock, "2026-11-20T05:00")
    people.personas = [tony(life={"team_check": ("06:00",)}, timezone="Pacific/Auckland")]
    clock.advance(3 * 86_400)
    life = make_life("hub-b")
    await life.start()
    await life.sweep()
    await quiet(life)
    assert len(await runs(store)) == 1  # the latest, not one for each of three days


async def test_a_run_left_behind_by_a_killed_hub_is_run_again(
    make_life: MakeLife, store: Store, clock: ManualClock, ran: list[LifeRan]
) -> None:
    killed = make_life("hub-a")
    await Heartbeat(store, clock, "hub-a").beat()
    assert await killed._runs.claim("tony", "team_check", "2026-11-20T06:00")
    clock.advance(DEAD_AFTER_MS / 1000 - 1)
    life = make_life("hub-b")
    await life.sweep()  # its heart may still beat
    await quiet(life)
    assert await runs(store) == [("2026-11-20T06:00", "running", "hub-a")]
    clock.advance(2)
    await life.sweep()
    await ended(ran, 1)
    assert await runs(store) == [("2026-11-20T06:00", "completed", "hub-b")]


async def test_or_marked_interrupted_if_so_set(
    make_life: MakeLife, store: Store, clock: ManualClock, ran: list[LifeRan]
) -> None:
    assert await make_life("hub-a")._runs.claim("tony", "team_check", "2026-11-20T06:00")
    life = make_life("hub-b", life_missed="skip")
    await life.sweep()
    assert await runs(store) == [("2026-11-20T06:00", "failed", "hub-b")]
    assert [event.result for event in ran] == ["Failed: interrupted"]


async def test_two_hubs_that_find_the_same_run_take_it_over_once(make_life: MakeLife) -> None:
    assert await make_life("hub-a")._runs.claim("tony", "team_check", "2026-11-20T06:00")
    b, c = make_life("hub-b"), make_life("hub-c")
    (left,), (same,) = await b._runs.interrupted(), await c._runs.interrupted()
    assert left == same
    assert await b._runs.take_over(left, "running", "again")
    assert not await c._runs.take_over(same, "running", "again")


async def test_a_run_that_waits_for_its_turn_waits_once(
    make_life: MakeLife, store: Store, clock: ManualClock
) -> None:
    await scheduled_then_down(make_life(), clock, "2026-11-20T05:00")
    clock.advance(9 * 3600)
    life = make_life("hub-b")
    for _ in range(RUNS_AT_ONCE):
        await life._turns.acquire()
    assert await make_life("hub-a")._runs.claim("tony", "goals", "2026-11-20T06:00")
    for _ in range(5):
        await life.sweep()
    assert len(life._tasks) == 2  # the one that was missed and the one left behind
    assert [status for _, status, _ in await runs(store)] == ["running"]
    life._turns.release()
    await quiet(life)
    assert [status for _, status, _ in await runs(store)] == ["completed", "completed"]


async def test_a_run_that_takes_two_hubs_down_is_given_up(
    make_life: MakeLife, store: Store, clock: ManualClock, ran: list[LifeRan]
) -> None:
    a, b = make_life("hub-a"), make_life("hub-b")
    assert await a._runs.claim("tony", "team_check", "2026-11-20T06:00")
    (left,) = await b._runs.interrupted()
    assert await b._runs.take_over(left, "running", "started again after an interruption")
    await make_life("hub-c").sweep()
    assert [(event.status, event.result) for event in ran] == [("failed", "Failed: interrupted")]


async def test_a_run_too_long_even_for_a_living_hub_is_mended(
    make_life: MakeLife, store: Store, clock: ManualClock, ran: list[LifeRan]
) -> None:
    a, b = make_life("hub-a"), make_life("hub-b")
    slot = await a._runs.claim_manual("tony", "news")
    clock.advance(9 * 60)
    await b.sweep()
    assert await runs(store) == [(slot, "running", "hub-a")]  # a command line has no heartbeat
    clock.advance(2 * 60)
    await b.sweep()
    assert await runs(store) == [(slot, "failed", "hub-b")]


async def test_a_hub_that_closes_leaves_its_runs_to_the_next(
    make_life: MakeLife, store: Store, clock: ManualClock, mind: Mind, ran: list[LifeRan]
) -> None:
    class Slow(Mind):
        async def think(self, *args: object, **given: object) -> str:
            await asyncio.Event().wait()
            return ""

    life = make_life()
    await life.trigger("goals")  # the first time sets them, the second time thinks about them
    life._thinking = Slow()
    await life.start()
    asked = asyncio.ensure_future(life.trigger("goals", "Tony"))
    await eventually(lambda: bool(life._orchestrator.live()))
    await life._runs.claim("tony", "team_check", "2026-11-20T06:00")
    await life.close()
    assert set(await asked) == {"Tony"}
    assert life._orchestrator.live() == []
    following = make_life("hub-b")
    await following.sweep()  # at once: nobody's heart beats
    await eventually(lambda: any(event.activity == "team_check" for event in ran))


async def test_personas_that_change_are_planned_anew(make_life: MakeLife, people: People) -> None:
    life = make_life()
    await life.start()
    assert [persona.name for persona in life.active()] == ["Tony"]
    maya = tony(id="maya", name="Maya", life={"post": ("09:00",)})
    people.personas = [tony(life={}), maya]
    await life.plan()
    assert life.active() == [maya]
    await life.close()
    assert life.active() == []


async def test_schedules_that_are_off_are_off(
    make_life: MakeLife, store: Store, clock: ManualClock
) -> None:
    await scheduled_then_down(make_life(), clock, "2026-11-20T05:00")
    clock.advance(9 * 3600)
    life = make_life("hub-b", life=False)
    await life.start()
    await life.sweep()
    await quiet(life)
    assert life.active() == []
    assert await runs(store) == []
    assert (await life.trigger("team_check"))["Tony"].startswith("Checked the team:")


async def test_the_heartbeat_tells_the_living_from_the_dead(
    make_life: MakeLife, store: Store, clock: ManualClock
) -> None:
    beating = Heartbeat(store, clock, "hub-a")
    await beating.beat()
    assert await make_life("hub-a")._runs.claim("tony", "team_check", "2026-11-20T06:00")
    other = make_life("hub-b")
    for _ in range(6):
        clock.advance(15)
        await beating.beat()
        assert await other._runs.interrupted() == []
    await beating.close()
    assert len(await other._runs.interrupted()) == 1


async def test_old_runs_and_entries_are_forgotten(
    make_life: MakeLife, store: Store, clock: ManualClock, journal: Journal
) -> None:
    life = make_life()
    await life.trigger("team_check")
    clock.advance(91 * DAY_MS / 1000)
    await life.start()
    assert await runs(store) == []
    assert await journal.entries(HOUSE) == []
    assert await life._runs.first_planned() != {}


async def test_a_run_whose_claim_failed_is_found_by_the_sweep(
    make_life: MakeLife,
    store: Store,
    clock: ManualClock,
    people: People,
    ran: list[LifeRan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    life = make_life()
    clock.advance((at("2026-11-20T11:00", "Europe/Berlin") - clock.now_ms()) / 1000)
    await life.start()
    clock.advance(3600)

    async def away(*_: object) -> bool:
        raise Invalid("stands for any error of the store")

    with monkeypatch.context() as patch:
        patch.setattr(life._runs, "claim", away)
        await life.fire("tony", "team_check", "12:00")
        await quiet(life)
    assert await runs(store) == []
    clock.advance(120)
    await life.sweep()
    await ended(ran, 1)
    assert await runs(store) == [("2026-11-20T12:00", "completed", "hub-a")]


async def test_a_persona_that_left_is_not_run(
    make_life: MakeLife, store: Store, people: People
) -> None:
    life = make_life()
    gone: list[Persona] = []
    people.personas = gone
    await life.fire("tony", "team_check", "12:00")
    await quiet(life)
    assert await runs(store) == []
    async with store.read() as conn:
        assert (await conn.execute(select(life_runs.c.id))).first() is None


async def test_the_ledger_of_another_tenant_is_left_alone(
    make_life: MakeLife, store: Store, ran: list[LifeRan]
) -> None:
    life = make_life()
    assert await life._runs.claim("tony", "team_check", "2026-11-20T06:00")
    await store.write(lambda conn: conn.execute(update(life_runs).values(client_id="someone")))
    await make_life("hub-b").sweep()
    assert ran == []
    assert await life._runs.claim("tony", "team_check", "2026-11-20T06:00")
