"""The inbox: stored once, answered once and in order, whichever hub; nothing left behind."""

from typing import Any

import pytest
from sqlalchemy import insert, select

from integrations.slack import inbox as module
from integrations.slack.inbox import LEASE_MS, Inbox, Letter
from integrations.slack.wire import Command, Said
from tron.clock import ManualClock
from tron.errors import Overloaded
from tron.storage.store import Store
from tron.storage.tables import hubs, slack_events


def said(number: int, **more: Any) -> Said:
    given: dict[str, Any] = {
        "team": "T1",
        "channel": "C1",
        "user": "U1",
        "text": f"message {number}",
        "ts": f"1700000000.{number:06d}",
        "thread_ts": "1700000000.000000",
        "direct": False,
        "addressed": True,
        "event_id": f"Ev{number}",
    }
    return Said(**{**given, **more})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def one(store: Store, clock: ManualClock) -> Inbox:
    return await hub(store, clock, "one")


@pytest.fixture
async def two(store: Store, clock: ManualClock) -> Inbox:
    return await hub(store, clock, "two")


async def hub(store: Store, clock: ManualClock, id: str) -> Inbox:
    row = {"id": id, "seen_at": clock.now_ms()}
    await store.write(lambda conn: conn.execute(insert(hubs).values(row)))
    return Inbox(store, clock, id)


async def accept(inbox: Inbox, event: Said | Command, app: str = "") -> Letter:
    letter = await inbox.accept(app, event)
    assert letter is not None
    return letter


async def test_an_event_is_accepted_once_by_id_and_by_message(one: Inbox, two: Inbox) -> None:
    await accept(one, said(1))
    assert await one.accept("", said(1)) is None
    assert await two.accept("", said(1)) is None, "by another hub"
    assert await two.accept("", said(1, event_id="EvOther")) is None, "the same message"
    await accept(two, said(1), app="maya")
    await accept(two, said(1, team="T2"))


async def test_commands_are_no_messages(one: Inbox) -> None:
    for trigger in ("1.a", "1.b"):
        await accept(
            one,
            Command(
                team="T1", channel="C1", user="U1", text="ask x", response_url="", event_id=trigger
            ),
        )


async def test_a_lane_is_worked_on_in_order_across_hubs(one: Inbox, two: Inbox) -> None:
    second = await accept(one, said(2))  # Slack delivered them the wrong way round
    first = await accept(two, said(1))
    assert await one.begin(second) == "busy"
    assert await two.begin(first) == "yes"
    assert await one.begin(second) == "busy"
    late = await accept(one, said(0))
    assert await one.begin(late) == "busy", "what is being answered is not interrupted"
    await two.finish(first, "done")
    assert await one.begin(second) == "busy", "the late one goes first"
    assert await one.begin(late) == "yes"
    await one.finish(late, "failed")
    assert await one.begin(second) == "yes"
    assert await one.begin(second) == "not ours", "it is begun already"


async def test_other_threads_do_not_wait(one: Inbox) -> None:
    assert await one.begin(await accept(one, said(1))) == "yes"
    other = await accept(one, said(2, thread_ts=None))
    assert await one.begin(other) == "yes"


async def test_a_living_hubs_events_are_its_own(one: Inbox, two: Inbox, clock: ManualClock) -> None:
    await accept(one, said(1))
    for _ in range(5):
        clock.advance(LEASE_MS / 2000)
        assert len(await one.renew()) == 1
        assert await two.take_over() == []


async def test_a_silent_hub_loses_its_events_and_finds_out(
    one: Inbox, two: Inbox, clock: ManualClock
) -> None:
    letter = await accept(one, said(1))
    assert await one.begin(letter) == "yes"
    await one.note(letter, session_key="call-x", replies=["1.1"])
    clock.advance(LEASE_MS / 1000 + 1)
    (taken,) = await two.take_over()
    assert (taken.id, taken.attempts, taken.session_key) == (letter.id, 1, "call-x")
    assert taken.replies == ["1.1"]
    assert taken.event == letter.event
    assert await two.take_over() == []
    assert await one.renew() == set(), "whoever was only slow is told"
    await one.finish(letter, "done")
    assert await two.begin(taken) == "yes", "and what it still writes counts for nothing"
    assert taken.attempts == 2


async def test_a_hub_that_left_is_not_waited_for(
    one: Inbox, two: Inbox, store: Store, clock: ManualClock
) -> None:
    letter = await accept(one, said(1))
    await store.write(lambda conn: conn.execute(hubs.delete().where(hubs.c.id == "one")))
    assert [taken.id for taken in await two.take_over()] == [letter.id]


async def test_what_is_put_back_is_taken_at_once_with_all_its_tries(one: Inbox, two: Inbox) -> None:
    letter = await accept(one, said(1))
    await one.begin(letter)
    await one.put_back(letter)
    (taken,) = await two.take_over()
    assert taken.attempts == 0
    await two.begin(taken)
    await two.finish(taken, "done")
    await two.put_back(taken)
    assert await one.take_over() == [], "what is settled stays so"


async def test_only_what_failed_can_be_tried_again(one: Inbox, two: Inbox) -> None:
    letter = await accept(one, said(1))
    await one.begin(letter)
    assert await two.again(letter.id, "T1") is None
    await one.finish(letter, "failed")
    assert await two.again(letter.id, "T2") is None, "not from another workspace"
    again = await two.again(letter.id, "T1")
    assert again is not None
    assert await two.begin(again) == "yes"
    assert again.attempts == 1


async def test_a_follow_up_belongs_to_the_app_that_was_spoken_to(one: Inbox) -> None:
    await accept(one, said(1), app="maya")
    follow = said(2, addressed=False)
    assert await one.follows("maya", follow)
    assert not await one.follows("", follow)
    assert not await one.follows("maya", said(3, thread_ts="1.1"))
    assert not await one.follows("maya", said(3, thread_ts=None))


async def test_a_full_inbox_says_so_and_keeps_nothing(
    one: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKLOG_LIMIT", 1)
    await accept(one, said(1))
    with pytest.raises(Overloaded):
        await one.accept("", said(2))
    async with store.read() as conn:
        assert len((await conn.execute(select(slack_events.c.id))).all()) == 1


async def test_old_settled_events_are_forgotten(one: Inbox, clock: ManualClock) -> None:
    settled, open = await accept(one, said(1)), await accept(one, said(2))
    await one.begin(settled)
    await one.finish(settled, "done")
    clock.advance(8 * 86_400)
    await one.prune()
    assert await one.accept("", said(1)) is not None
    assert (await one.waiting(10))[0].id == open.id
