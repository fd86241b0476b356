"""Everyone who watches hears of it, and nobody who watches holds anybody up."""

import asyncio

from structlog.testing import capture_logs

from tests.harness.waiting import PATIENCE_S
from tron.events import Bus, Event, Gap, LifeRan, Subscription


def happened(at: int) -> LifeRan:
    return LifeRan(at=at, client_id="house", agent="tony", activity="news", status="", result="")


async def read(subscription: Subscription, count: int) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in subscription:
            found.append(event)
            if len(found) == count:
                break
    return found


def test_listeners_hear_everything_until_they_are_removed() -> None:
    bus = Bus()
    heard: list[Event] = []
    bus.add(heard.append)
    bus.publish(happened(1))
    bus.remove(heard.append)
    bus.publish(happened(2))
    assert heard == [happened(1)]


def test_a_broken_listener_hurts_neither_publisher_nor_the_others() -> None:
    def breaks(_: Event) -> None:
        raise ValueError("no")

    bus = Bus()
    heard: list[Event] = []
    bus.add(breaks)
    bus.add(heard.append)
    with capture_logs() as logs:
        bus.publish(happened(1))
    assert heard == [happened(1)]
    assert [log["event"] for log in logs] == ["bus.listener_failed"]


def test_a_listener_may_remove_itself_while_it_listens() -> None:
    bus = Bus()
    heard: list[Event] = []

    def once(event: Event) -> None:
        heard.append(event)
        bus.remove(once)

    bus.add(once)
    bus.add(heard.append)
    bus.publish(happened(1))
    bus.publish(happened(2))
    assert heard == [happened(1), happened(1), happened(2)]


async def test_a_subscriber_reads_in_order_also_what_comes_while_it_waits() -> None:
    bus = Bus()
    with bus.subscribe() as subscription:
        bus.publish(happened(1))
        asyncio.get_running_loop().call_later(0.01, bus.publish, happened(2))
        assert await read(subscription, 2) == [happened(1), happened(2)]


async def test_a_slow_subscriber_is_told_what_it_missed_before_it_reads_on() -> None:
    bus = Bus()
    with bus.subscribe(size=3) as subscription:
        for at in range(1, 6):
            bus.publish(happened(at))
        found = await read(subscription, 4)
    assert found == [Gap(at=3, client_id="", missed=2), happened(3), happened(4), happened(5)]


async def test_a_gap_within_a_read_is_told_where_it_is() -> None:
    bus = Bus()
    found: list[Event] = []
    with bus.subscribe(size=2) as subscription:
        bus.publish(happened(1))
        async with asyncio.timeout(PATIENCE_S):
            async for event in subscription:
                found.append(event)
                if event == happened(1):  # while it is busy with this one, three more come
                    for at in (2, 3, 4):
                        bus.publish(happened(at))
                if event == happened(4):
                    break
    assert found == [
        happened(1),
        Gap(at=3, client_id="", missed=1),
        happened(3),
        happened(4),
    ]


async def test_a_subscription_that_ended_holds_nothing() -> None:
    bus = Bus()
    heard: list[Event] = []
    with bus.subscribe(size=2):
        bus.add(heard.append)
    bus.publish(happened(1))
    assert len(bus._listeners) == 1
