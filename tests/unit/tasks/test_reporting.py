"""What becomes of tasks, told where whoever asked for them is: in the call, in the channel, or at
their next turn; once, over several hubs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.harness.waiting import PATIENCE_S, eventually
from tests.unit.tasks.house import House, steps
from tests.unit.tasks.talking import Talking, people
from tron.calls.call import Call
from tron.calls.ledger import Record
from tron.storage.tables import HOUSE
from tron.tasks.contract import NewTask, Task
from tron.tasks.reporting import Reporting
from tron.tasks.talk import SAY
from tron.tasks.told import Untold


class Line(Call):
    """A live call that says at once what it is to say; the caller hears `hears` of it."""

    def __init__(self, session: str, caller: str = "ann", hears: float = 1.0) -> None:
        self.record = Record(
            id="call",
            client_id=HOUSE,
            wire="test",
            direction="inbound",
            caller=caller,
            called="",
            external_id=None,
            agent="tony",
            session_key=session,
            started_at=0,
        )
        self.session_key = session
        self.cause = None
        self.said: list[str] = []
        self.hears = hears

    def announce(self, text: str) -> "asyncio.Future[str]":
        self.said.append(text)
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        told.set_result(text[: round(len(text) * self.hears)])
        return told


class Switchboard:
    def __init__(self) -> None:
        self.live: list[Any] = []


class Hub:
    """The reporting of one hub, and what it told."""

    def __init__(self, house: House, folder: Path, hub_id: str = "hub-1") -> None:
        self.talking = Talking(house, folder, hub_id)
        self.lines = Switchboard()
        self.posts: list[str] = []
        self.posts_fail = False
        self.reporting = Reporting(
            desk=house.desk,
            told=self.talking.told,
            talk=self.talking.talk,
            switchboard=self.lines,  # type: ignore[arg-type]
        )
        self.reporting.poster("slack", self._post)

    async def _post(self, task: Task, text: str) -> bool:
        self.posts.append(text)
        return not self.posts_fail

    async def started(self) -> None:
        """It has looked for what was untold, and follows from here on."""
        told, looked = self.talking.told, asyncio.Event()
        untold = told.untold

        async def look(client_id: str, session: str | None = None) -> list[Untold]:
            found = await untold(client_id, session)
            looked.set()
            return found

        told.untold = look  # type: ignore[method-assign]
        self.reporting.start()
        async with asyncio.timeout(PATIENCE_S):
            await looked.wait()

    async def untold(self) -> int:
        return len(await self.talking.told.untold(HOUSE))

    async def close(self) -> None:
        await self.reporting.close()
        await self.talking.close()


@pytest.fixture
async def hub(house: House, tmp_path: Path) -> AsyncIterator[Hub]:
    made = Hub(house, people(tmp_path))
    yield made
    await made.close()


async def look(house: House, session: str, **more: Any) -> Task:
    task = await house.new("look", session=session, intent="look around", **more)
    await house.settle()
    return task


async def test_in_a_live_call_an_end_is_spoken(hub: Hub, house: House) -> None:
    line = Line(await hub.talking.session())
    hub.lines.live = [Line("somebody-elses"), line]
    await hub.started()
    await look(house, line.session_key)
    await eventually(lambda: bool(line.said))
    assert line.said == ["The task “look around” is done: look did"]
    assert hub.lines.live[0].said == []
    await eventually(lambda: is_zero(hub))
    hub.talking.script.answers.append("Hm.")
    assert (await hub.talking.say("and?")).text == "Hm. "


async def is_zero(hub: Hub) -> bool:
    return await hub.untold() == 0


async def test_a_question_is_spoken_there_and_can_be_answered(hub: Hub, house: House) -> None:
    line = Line(await hub.talking.session())
    hub.lines.live = [line]
    await hub.started()
    task = await house.new("run", session=line.session_key)
    await eventually(lambda: bool(line.said))
    assert task.approval is not None
    assert line.said == [task.approval.prompt + SAY]
    await hub.talking.office.door.remark(HOUSE, line.session_key, line.said[0])
    await hub.talking.say("Yes, please.")
    assert (await house.see(task)).status == "planned"


@pytest.mark.parametrize("hears", [0.0, 0.3])
async def test_what_was_not_heard_is_told_at_the_next_turn(
    hub: Hub, house: House, hears: float
) -> None:
    line = Line(await hub.talking.session(), hears=hears)
    hub.lines.live = [line]
    await hub.started()
    await look(house, line.session_key)
    await eventually(lambda: bool(line.said))
    hub.lines.live = []

    async def given_back() -> bool:
        return await hub.untold() == 1

    await eventually(given_back)
    hub.talking.script.answers.append("Hm.")
    assert "look around" in (await hub.talking.say("and?")).text


async def test_without_a_call_it_waits_for_the_next_turn(hub: Hub, house: House) -> None:
    session = await hub.talking.session()
    await hub.started()
    await look(house, session)
    place = (HOUSE, session)
    await eventually(lambda: place in hub.talking.talk._news)
    hub.talking.script.answers.append("Hm.")
    assert "look around" in (await hub.talking.say("and?")).text
    assert await hub.untold() == 0


async def test_a_channel_that_posts_is_posted_to(hub: Hub, house: House) -> None:
    session = await slack_session(hub)
    await hub.started()
    task = await house.new("run", session=session)
    await eventually(lambda: len(hub.posts) == 1)
    assert task.approval is not None
    assert hub.posts == [task.approval.prompt + SAY]
    await house.yes(task)
    await house.settle()
    await eventually(lambda: len(hub.posts) == 2)
    assert "is done" in hub.posts[1]


async def slack_session(hub: Hub) -> str:
    turn = hub.talking.office.turn("hi", caller="slack:T:U")
    reply = await hub.talking.office.door.ask(msgspec.structs.replace(turn, channel="slack"))
    return reply.done.session


async def test_a_post_that_failed_is_posted_by_the_next_hub(
    hub: Hub, house: House, tmp_path: Path
) -> None:
    session = await slack_session(hub)
    hub.posts_fail = True
    await hub.started()
    await look(house, session)
    await eventually(lambda: bool(hub.posts))
    await hub.reporting.close()
    other = Hub(house, people(tmp_path), "hub-2")
    await other.started()
    await eventually(lambda: bool(other.posts))
    assert other.posts == hub.posts
    await other.close()


async def test_two_hubs_post_it_once(hub: Hub, house: House, tmp_path: Path) -> None:
    other = Hub(house, people(tmp_path), "hub-2")
    session = await slack_session(hub)
    tried = [await claims(one) for one in (hub, other)]
    for _ in range(5):
        house.clock.advance(20)
        await look(house, session)
    await eventually(lambda: [len(tasks) for tasks in tried] == [5, 5], what="both hubs' tries")
    await eventually(lambda: not hub.reporting._busy and not other.reporting._busy)
    assert len(hub.posts) + len(other.posts) == 5
    await other.close()


async def claims(hub: Hub) -> set[str]:
    """Start `hub`; the tasks whose end it has tried to be the one to tell."""
    told, tried = hub.talking.told, set()
    claim = told.claim_end

    async def noted(client_id: str, task_id: str) -> bool:
        tried.add(task_id)
        return await claim(client_id, task_id)

    told.claim_end = noted  # type: ignore[method-assign]
    await hub.started()
    return tried


async def test_what_ended_while_no_hub_ran_is_told_after_the_start(hub: Hub, house: House) -> None:
    session = await slack_session(hub)
    await look(house, session)
    await hub.started()
    await eventually(lambda: bool(hub.posts))


async def test_during_a_turn_it_is_told_behind_the_answer_and_not_over_it(
    hub: Hub, house: House
) -> None:
    line = Line(await hub.talking.session())
    hub.lines.live = [line]
    await hub.started()
    hub.talking.script.hold = asyncio.Event()
    hub.talking.script.answers.append("One moment.")
    turn = asyncio.ensure_future(hub.talking.say("wait"))
    await eventually(lambda: hub.talking.talk.busy(HOUSE, line.session_key))
    await look(house, line.session_key)
    await eventually(lambda: (HOUSE, line.session_key) in hub.talking.talk._news)
    hub.talking.script.hold.set()
    assert (await turn).text.endswith("The task “look around” is done: look did")
    assert line.said == []


async def test_a_later_call_from_the_same_phone_hears_the_end_but_no_question(
    hub: Hub, house: House
) -> None:
    line = Line("another-session", caller="+14155550100")
    hub.lines.live = [line]
    session = await hub.talking.session(caller="+14155550100")
    await hub.started()
    for tool, intent in (("run", "run it"), ("look", "look around")):
        house.planner.plans.append(steps(tool))
        await house.desk.create(
            NewTask(
                client_id=HOUSE,
                intent=intent,
                agent="tony",
                owner="+14155550100",
                session=session,
            )
        )
    await house.settle()
    await eventually(lambda: bool(line.said))
    assert line.said == ["The task “look around” is done: look did"]


async def test_a_task_of_no_conversation_is_told_to_nobody(hub: Hub, house: House) -> None:
    hub.lines.live = [Line("")]
    await hub.started()
    await look(house, "")
    assert await hub.untold() == 0
    assert hub.lines.live[0].said == []


async def test_a_turn_that_outlives_the_reporting_ends_as_usual(hub: Hub, house: House) -> None:
    session = await hub.talking.session()
    await hub.started()
    await hub.reporting.close()
    await house.new("run", session=session)
    await house.new("pay", session=session)
    hub.talking.talk.news(HOUSE, session)
    hub.talking.script.answers.append("Fine.")
    assert (await hub.talking.say("hi")).text.startswith("Fine.")
    hub.talking.talk.news(HOUSE, session)
    await hub.talking.session()


async def test_what_a_person_stopped_is_not_told_to_them(hub: Hub, house: House) -> None:
    line = Line(await hub.talking.session())
    hub.lines.live = [line]
    await hub.started()
    task = await house.new("run", session=line.session_key)
    await eventually(lambda: bool(line.said))
    await house.desk.cancel(HOUSE, task.id)
    await eventually(lambda: is_zero(hub))
    assert len(line.said) == 1
