"""The floor of a conversation: had at once where nobody speaks, by one turn at a time."""

import asyncio

import pytest

from tests.harness.waiting import PATIENCE_S
from tests.unit.conversation.conftest import Office
from tron.conversation.floors import Floors
from tron.conversation.session import Session
from tron.errors import ProcessEnded


@pytest.fixture
def floors(office: Office) -> Floors:
    return office.door._floors


@pytest.fixture
async def session(office: Office) -> Session:
    return await office.sessions.create(office.turn(), "tony")


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_nobody_waits_for_a_process_that_is_free(floors: Floors, session: Session) -> None:
    first = floors.enter()
    claim = floors.claim(first, session, "test")
    with pytest.raises(StopIteration):  # done before anything else had a turn of the loop
        claim.send(None)
    floors.leave(first)
    await settle()  # the process has seen that, and waits for mail
    second = floors.enter()
    claim = floors.claim(second, session, "test")
    with pytest.raises(StopIteration):
        claim.send(None)
    floors.leave(second)


async def test_a_second_turn_waits_for_the_first(floors: Floors, session: Session) -> None:
    first, second, third = floors.enter(), floors.enter(), floors.enter()
    process = await floors.claim(first, session, "test")
    order: list[int] = []

    async def wait(number: int) -> None:
        floor = second if number == 2 else third
        assert await floors.claim(floor, session, "test") is process
        order.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in (2, 3)]
    await settle()
    assert order == []
    floors.leave(first)
    await asyncio.wait_for(waiting[0], PATIENCE_S)
    await settle()
    assert order == [2]
    floors.leave(second)
    await asyncio.wait_for(waiting[1], PATIENCE_S)
    floors.leave(third)


async def test_who_went_ahead_is_interrupted_when_the_process_ends_before_it_read_that(
    office: Office, floors: Floors, session: Session
) -> None:
    floor = floors.enter()

    async def turn() -> None:
        process = await floors.claim(floor, session, "test")
        floor.hold()
        await office.orchestrator.kill(process.id)  # it has not had a turn of the loop yet
        await asyncio.Event().wait()

    holder = asyncio.create_task(turn())
    await asyncio.wait([holder], timeout=PATIENCE_S)
    assert holder.cancelled()
    assert isinstance(floor.taken_back, ProcessEnded)
    with pytest.raises(ProcessEnded):
        floor.hold()
    floors.leave(floor)
    again = floors.enter()
    assert (await floors.claim(again, session, "test")).live  # another process takes over
    floors.leave(again)
