"""The desk: lanes in order, lanes side by side, nothing forgotten when it is full or overtaken."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from integrations.slack import desk as module
from integrations.slack.desk import Desk
from integrations.slack.inbox import LEASE_MS, Inbox, Letter
from integrations.slack.wire import Said
from tests.harness.waiting import eventually
from tests.unit.slack.test_inbox import accept, hub, said
from tron.clock import ManualClock
from tron.storage.store import Store


class Person:
    """Answers when told to."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.go = asyncio.Event()
        self.stopping = False

    async def answer(self, letter: Letter) -> bool:
        assert isinstance(letter.event, Said)
        self.begun.append(letter.event.text)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(letter.event.text)
            raise
        if self.stopping:
            return False
        await self.inbox.finish(letter, "done")
        return True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def inbox(store: Store, clock: ManualClock) -> Inbox:
    return await hub(store, clock, "one")


@pytest.fixture
def person(inbox: Inbox) -> Person:
    return Person(inbox)


@pytest.fixture
async def desk(
    inbox: Inbox, person: Person, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    monkeypatch.setattr(module, "BUSY_S", 0.01)
    monkeypatch.setattr(module, "RENEW_S", 0.02)
    desk = Desk(inbox, person.answer)
    yield desk
    await desk.close(0)


async def test_a_lane_waits_and_others_do_not(desk: Desk, inbox: Inbox, person: Person) -> None:
    for event in (said(2), said(1), said(3), said(9, thread_ts=None)):
        desk.offer(await accept(inbox, event))
    await eventually(lambda: sorted(person.begun) == ["message 1", "message 9"])
    person.go.set()
    await eventually(lambda: len(person.begun) == 4)
    assert [text for text in person.begun if text != "message 9"] == [
        "message 1",
        "message 2",
        "message 3",
    ]


async def test_a_full_desk_comes_back_for_the_rest(
    desk: Desk, inbox: Inbox, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DESK_SIZE", 4)
    desk.start()
    for number in range(12):
        desk.offer(await accept(inbox, said(number, thread_ts=None)))
    await eventually(lambda: len(person.begun) == 4)
    person.go.set()
    await eventually(lambda: len(person.begun) == 12)


async def test_work_that_became_anothers_is_stopped(
    desk: Desk, inbox: Inbox, person: Person, store: Store, clock: ManualClock
) -> None:
    desk.offer(await accept(inbox, said(1)))
    await eventually(lambda: person.begun == ["message 1"])
    other = await hub(store, clock, "two")
    clock.advance(LEASE_MS / 1000 + 1)  # this hub was asleep
    assert len(await other.take_over()) == 1
    desk.start()
    await eventually(lambda: person.cancelled == ["message 1"])


async def test_what_a_dead_hub_left_is_taken_up(
    desk: Desk,
    inbox: Inbox,
    person: Person,
    store: Store,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = await hub(store, clock, "two")
    await accept(other, said(1))
    taken: list[list[Letter]] = []
    take_over = inbox.take_over

    async def take() -> list[Letter]:
        taken.append(await take_over())
        return taken[-1]

    monkeypatch.setattr(inbox, "take_over", take)
    desk.start()
    await eventually(lambda: len(taken) >= 2, what="two rounds")
    assert not any(taken), "it lives"
    assert person.begun == []
    clock.advance(LEASE_MS / 1000 + 1)
    await eventually(lambda: person.begun == ["message 1"])


async def test_a_closing_desk_leaves_the_rest_to_others(
    inbox: Inbox, person: Person, store: Store, clock: ManualClock
) -> None:
    desk = Desk(inbox, person.answer)
    for event in (said(1), said(2)):
        desk.offer(await accept(inbox, event))
    await eventually(lambda: person.begun == ["message 1"])
    await desk.close(0.01)
    assert person.cancelled == ["message 1"]
    other = await hub(store, clock, "two")
    assert [letter.attempts for letter in await other.take_over()] == [0, 0]
