"""Two hubs on one database, and events that come late, twice and together: on both databases."""

import asyncio

from sqlalchemy import insert, update

from integrations.vapi import wire
from integrations.vapi.ledger import Ledger
from tests.unit.vapi.conftest import fixture
from tron.clock import ManualClock
from tron.heartbeat import DEAD_AFTER_MS
from tron.storage.store import Store
from tron.storage.tables import HOUSE, hubs

EVENT = wire.parse(fixture("end-of-call-report"), now_ns=1)
REPORT = wire.report_of(EVENT.body)


async def beat(store: Store, clock: ManualClock, *ids: str) -> None:
    now = clock.now_ms()
    rows = [{"id": id, "seen_at": now} for id in ids]
    await store.write(lambda conn: conn.execute(insert(hubs), rows) and None)


async def test_one_report_told_to_two_hubs_at_once_is_news_to_one(store: Store) -> None:
    clock = ManualClock()
    peer = await Store.open(store.url)
    ledgers = [Ledger(store, clock, "a"), Ledger(peer, clock, "b")]
    news = await asyncio.gather(
        *(ledgers[n % 2].ended(EVENT, "tony", "done", REPORT) for n in range(8))
    )
    assert sorted(news) == [False] * 7 + [True]
    await beat(store, clock, "a", "b")
    taken = await asyncio.gather(*(ledger.take([], 5) for ledger in ledgers))
    assert sorted(len(calls) for calls in taken) == [0, 1]
    assert len(await ledgers[0].latest(HOUSE, 10)) == 1
    await peer.close()


async def test_one_tool_call_told_to_two_hubs_at_once_is_run_by_one(store: Store) -> None:
    clock = ManualClock()
    peer = await Store.open(store.url)
    ledgers = [Ledger(store, clock, "a"), Ledger(peer, clock, "b")]
    begun = await asyncio.gather(
        *(ledgers[n % 2].begin_tool(EVENT, "tony", "t1") for n in range(8))
    )
    assert begun.count(None) == 1
    assert begun.count({}) == 7
    done = {"ok": True, "result": "fine"}
    await ledgers[0].finish_tools(EVENT, "tony", {"t1": done})
    assert await ledgers[1].tool(EVENT.call_id or "", "t1") == done
    assert await ledgers[1].begin_tool(EVENT, "tony", "t1") == done
    await peer.close()


async def test_what_a_dead_hub_left_is_taken_over_and_what_a_live_one_does_is_not(
    store: Store,
) -> None:
    clock = ManualClock()
    await beat(store, clock, "a", "b")
    first, second = Ledger(store, clock, "a"), Ledger(store, clock, "b")
    await first.ended(EVENT, "tony", "", REPORT)
    [call] = await first.take([], 5)
    clock.advance(DEAD_AFTER_MS / 1000 - 1)
    assert await second.take([], 5) == []
    clock.advance(2)
    await store.write(
        lambda conn: (
            conn.execute(update(hubs).where(hubs.c.id == "b").values(seen_at=clock.now_ms()))
            and None
        )
    )
    [again] = await second.take([], 5)
    assert (again.id, again.attempts) == (call.id, 2)


async def test_what_could_not_be_marked_is_found_again_by_the_same_hub(store: Store) -> None:
    clock = ManualClock()
    await beat(store, clock, "a")
    ledger = Ledger(store, clock, "a")
    await ledger.ended(EVENT, "tony", "", REPORT)
    [call] = await ledger.take([], 5)
    assert await ledger.take([call.id], 5) == []
    assert [again.id for again in await ledger.take([], 5)] == [call.id]


async def test_events_in_any_order_make_the_same_call(store: Store) -> None:
    clock = ManualClock()
    ledger = Ledger(store, clock, "a")
    await ledger.ended(EVENT, "tony", "customer-ended-call", REPORT)
    started = wire.parse(fixture("status-update"), now_ns=1)
    await ledger.seen(started, "tony", status="in-progress")
    await ledger.placed(started, "maya", "queued")
    call = await ledger.get(EVENT.call_id or "")
    assert call is not None
    assert (call.status, call.ended_reason) == ("ended", "customer-ended-call")
    assert (call.caller, call.name) == ("+14155550123", "Ada")
    assert call.report == REPORT
