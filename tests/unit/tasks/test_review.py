"""What goes wrong only when two things meet: a pause and a death, a plan and its planner, two hubs
and one database. Each of these was a fault once."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.harness.waiting import eventually
from tests.unit.tasks.house import House, steps
from tron.errors import Invalid, StorageUnavailable
from tron.storage.tables import HOUSE
from tron.tasks import work
from tron.tasks.contract import NewTask, PlannedStep, Task
from tron.tasks.engine import Engine
from tron.tools.contract import ToolContext, TryLater


async def held(house: House, tool: str) -> tuple[asyncio.Event, asyncio.Event]:
    """(begun, go): `tool` says that it has begun and goes on when told to."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def hold(context: ToolContext, text: str) -> str:
        begun.set()
        await go.wait()
        return "held"

    house.doing[tool] = hold
    return begun, go


async def dies(house: House, working: "asyncio.Task[Any]") -> None:
    """The hub dies in the middle of what it works on, and another is in its place."""
    house.runner.shut()
    working.cancel()
    await asyncio.wait({working})
    house.runner._stopping = False
    house.doing.clear()


# Trying again


async def test_a_task_that_took_too_long_has_its_whole_time_when_tried_again(house: House) -> None:
    begun, _ = await held(house, "look")
    task = await house.new("look", timeout_s=60)
    working = asyncio.create_task(house.settle())
    await begun.wait()
    house.clock.advance(61)
    await house.round()
    await working
    assert (await house.see(task)).code == "task_timeout"
    begun, go = await held(house, "look")
    task = await house.desk.retry(HOUSE, task.id)
    assert task.expires_at == house.clock.now_ms() + 60_000
    working = asyncio.create_task(house.settle())
    await begun.wait()
    await house.round()
    go.set()
    await working
    assert (await house.see(task)).status == "completed"


async def test_what_is_tried_again_is_what_failed_last(house: House) -> None:
    house.fails("note")
    house.fails("run")
    house.planner.revisions.append(steps_named(n5="look", n6="run"))
    task = await house.new("note")
    await house.settle()
    await house.yes(task)
    await house.settle()
    task = await house.see(task)
    assert [(s.tool, s.status) for s in task.steps] == [
        ("note", "failed"),
        ("look", "completed"),
        ("run", "failed"),
    ]
    house.doing.clear()
    house.did.clear()
    await house.desk.retry(HOUSE, task.id)
    await house.yes(task)
    await house.settle()
    assert (await house.see(task)).status == "completed"
    assert [tool for tool, _, _ in house.did] == ["run"]


async def test_what_was_cancelled_between_steps_goes_on_behind_them(house: House) -> None:
    house.fails("note")
    house.planner.revisions.append(steps_named(n5="look"))
    task = await house.new("note")
    await house.engine.step()
    house.clock.advance(1)
    await house.desk.cancel(HOUSE, task.id)
    await house.desk.retry(HOUSE, task.id)
    await house.settle()
    assert [tool for tool, _, _ in house.did] == ["note", "look"]


def steps_named(**tools: str) -> tuple[PlannedStep, ...]:
    return tuple(PlannedStep(node=node, title=tool, tool=tool) for node, tool in tools.items())


# A yes counts once


async def test_what_may_have_happened_is_asked_about_after_a_pause_too(house: House) -> None:
    begun, _ = await held(house, "tell")
    task = await house.new("tell")
    await house.yes(task)
    working = asyncio.create_task(house.engine.step())
    await begun.wait()
    await house.desk.pause(HOUSE, task.id)
    await dies(house, working)
    await house.settle()  # whoever takes it up sees the pause
    task = await house.desk.resume(HOUSE, task.id)
    await house.settle()
    task = await house.see(task)
    assert len(house.did) == 1
    assert task.approval is not None
    assert "may have happened" in task.approval.prompt
    await house.yes(task)
    await house.settle()
    assert (await house.see(task)).status == "completed"


async def test_a_new_plan_does_not_inherit_the_yes_of_a_step_it_repeats(house: House) -> None:
    begun, _ = await held(house, "tell")
    task = await house.new("tell")
    await house.yes(task)
    working = asyncio.create_task(house.engine.step())
    await begun.wait()
    await dies(house, working)
    await house.settle()
    assert (await house.see(task)).status == "awaiting_approval"  # it may have happened
    task = await house.desk.replan(HOUSE, task.id, list(steps("tell")))
    await house.settle()
    assert (await house.see(task)).status == "awaiting_approval"
    assert len(house.did) == 1


# Nothing is left lying


async def test_a_plan_from_outside_that_comes_before_the_personas_is_done(house: House) -> None:
    thinking = asyncio.Event()

    async def plan(task: Task) -> tuple[PlannedStep, ...]:
        await thinking.wait()
        return steps("note")

    house.planner.plan = plan  # type: ignore[method-assign]
    creating = asyncio.create_task(house.new())
    await eventually(lambda: _any(house))
    (task,) = await house.desk.listing(HOUSE)
    await house.desk.replan(HOUSE, task.id, list(steps("look")))
    thinking.set()
    await creating
    await house.settle()
    assert (await house.see(task)).status == "completed"
    assert [tool for tool, _, _ in house.did] == ["look"]


async def _any(house: House) -> bool:
    return bool(await house.desk.listing(HOUSE))


async def test_work_is_taken_up_even_if_the_queue_failed_the_first_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await house.new("look")
    await house.heartbeat.beat()
    house.engine.left = [(f"{task.id}.1", "hub-gone")]
    resume = house.engine.resume

    async def broken(workflow_id: str) -> None:
        raise StorageUnavailable("The queue of tasks can't be used now.")

    monkeypatch.setattr(house.engine, "resume", broken)
    with pytest.raises(StorageUnavailable):
        await house.round()
    monkeypatch.setattr(house.engine, "resume", resume)
    await house.round()
    assert house.engine.resumed == [f"{task.id}.1"]


async def test_of_two_hubs_one_takes_up_what_a_third_left(house: House, tmp_path: Path) -> None:
    other = House(house.store, tmp_path, "hub-2")
    await other.begin()
    try:
        task = await house.new("look")
        for one in (house, other):
            await one.heartbeat.beat()
            one.engine.left = [(f"{task.id}.1", "hub-gone")]
        await house.round()
        await other.round()
        assert (house.engine.resumed, other.engine.resumed) == ([f"{task.id}.1"], [])
    finally:
        await other.close()


async def test_a_step_whose_end_was_stored_unheard_is_followed_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke after the commit and before its answer."""
    task = await house.new("look", "note")
    finish, lost = house.runner._finish, [True]

    def unheard(conn: Connection, *of: Any) -> bool:
        if not lost:
            return finish(conn, *of)
        lost.pop()
        finish(conn, *of)
        conn.commit()
        raise StorageUnavailable("The database could not do that.")

    monkeypatch.setattr(house.runner, "_finish", unheard)
    monkeypatch.setattr("tron.tasks.running.SAVE_AGAIN_S", 0)
    await house.settle()
    monkeypatch.undo()
    assert (await house.see(task)).status == "completed"


async def test_a_database_that_is_away_while_the_hub_stops_fails_no_task(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = await held(house, "look")
    task = await house.new("look")
    working = asyncio.create_task(house.engine.step())
    await begun.wait()
    house.work.shut()

    def away(*_: Any) -> bool:
        raise StorageUnavailable("The database is away.")

    monkeypatch.setattr(house.runner, "_finish", away)
    go.set()
    await asyncio.wait({working})
    assert working.cancelled()
    monkeypatch.undo()
    assert (await house.see(task)).status == "running"  # left for whoever comes next


async def test_a_step_that_another_stretch_has_replaced_is_stopped(house: House) -> None:
    """Cancelled and tried again on one hub, while the step still runs on another."""
    begun, _ = await held(house, "look")
    task = await house.new("look")
    old = asyncio.create_task(house.engine.step())
    await begun.wait()
    await house.desk._change(HOUSE, task.id, lambda change: change.cancel("Not needed."))
    begun, go = await held(house, "look")
    await house.desk.retry(HOUSE, task.id)
    new = asyncio.create_task(house.settle())
    await begun.wait()
    await house.round()
    await asyncio.wait({old}, timeout=30)
    assert old.done()
    go.set()
    await new
    task = await house.see(task)
    assert (task.status, task.detail) == ("completed", None)


async def test_what_a_step_says_can_be_stored(house: House) -> None:
    async def odd(context: ToolContext, text: str) -> str:
        assert context.step is not None
        context.step.log("half a pair: \ud83d")
        return "a\x00b"

    house.doing["look"] = odd
    task = await house.new("look", intent="tidy\x00 up")
    async with asyncio.timeout(60):
        await house.settle()
    assert (await house.see(task)).result == "ab"
    other = await house.new("tell")
    other = await house.desk.cancel(HOUSE, other.id, reason="no\x00")
    assert other.detail == "no"


async def test_arguments_that_are_no_text_are_refused(house: House) -> None:
    plan = (PlannedStep(node="n1", title="x\x00", tool="look", arguments={"text": "\ud83d"}),)
    new = NewTask(client_id=HOUSE, intent="x", agent="tony", owner="ann", plan=plan)
    with pytest.raises(Invalid):
        await house.desk.create(new)
    plan = (PlannedStep(node="n1", title="x\x00", tool="look"),)
    new = NewTask(client_id=HOUSE, intent="x", agent="tony", owner="ann", plan=plan)
    assert (await house.desk.create(new)).task.steps[0].title == "x"


# One task does not hold up others


async def test_a_plan_that_takes_its_time_holds_up_no_round(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def plan(task: Task) -> tuple[PlannedStep, ...]:
        asked.append(task.id)
        await asyncio.Event().wait()
        return ()

    monkeypatch.setattr("tron.tasks.desk.PLAN_WAIT_S", 0)
    house.planner.plan = plan  # type: ignore[method-assign]
    task = await house.new()
    house.clock.advance(61)
    for _ in range(3):
        async with asyncio.timeout(30):
            await house.round()
        await asyncio.sleep(0)
    assert asked == [task.id]


async def test_a_planner_that_breaks_ends_the_task(house: House) -> None:
    house.planner.plans.append(KeyError("a fault of ours"))
    task = await house.new()
    assert (task.status, task.code) == ("failed", "planning_failed")


async def test_what_is_cancelled_is_not_planned_anew(house: House) -> None:
    revised: list[str] = []

    async def revise(task: Task, failed: object) -> None:
        revised.append(task.id)

    house.planner.revise = revise  # type: ignore[method-assign]
    begun, _ = await held(house, "look")
    task = await house.new("look")
    working = asyncio.create_task(house.settle())
    await begun.wait()
    await house.desk.cancel(HOUSE, task.id)
    await working
    assert revised == []


# Nothing grows for ever


async def test_a_long_wait_makes_no_long_log(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tron.tasks.records.EVENTS_KEPT", 20)

    async def wait(context: ToolContext, text: str) -> str:
        raise TryLater(house.clock.now_ms() + 1000, "Waiting.")

    house.doing["look"] = wait
    task = await house.new("look")
    for _ in range(40):
        await house.settle()
        house.clock.advance(1)
        await house.round()
    assert len(await house.log(task)) <= 21
    await house.desk.cancel(HOUSE, task.id)
    assert (await house.kinds(task))[-1] == "task_failed"


async def test_one_endless_line_is_cut(house: House) -> None:
    async def talk(context: ToolContext, text: str) -> str:
        assert context.step is not None
        context.step.log("x" * 1_000_000)
        return "done"

    house.doing["look"] = talk
    task = await house.new("look")
    await house.settle()
    said = [e.body["text_delta"] for e in await house.log(task) if e.kind == "task_step_log"]
    assert 8_000 <= len("".join(said)) < 9_000


async def test_what_a_step_says_when_it_is_over_is_not_put_behind_the_end(house: House) -> None:
    begun = asyncio.Event()

    async def talk(context: ToolContext, text: str) -> str:
        assert context.step is not None
        context.step.log("so far")
        begun.set()
        return str(await asyncio.Event().wait())

    house.doing["look"] = talk
    task = await house.new("look")
    working = asyncio.create_task(house.settle())
    await begun.wait()
    await house.desk.cancel(HOUSE, task.id)
    await working
    assert (await house.kinds(task))[-1] == "task_failed"


async def test_many_that_ended_long_ago_are_let_go_soon(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "AT_ONCE", 2)
    for _ in range(5):
        await house.new("look")
    await house.settle()
    house.clock.advance(31 * 86_400)
    for _ in range(3):
        await house.round()
    assert await house.desk.listing(HOUSE) == []


async def test_all_that_was_not_queued_is_queued_not_only_the_first(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "AT_ONCE", 2)
    await house.round()
    made = [await house.new("look") for _ in range(5)]
    house.engine.queued.clear()  # the hub died before the queue had them
    house.clock.advance(61)
    for _ in range(3):
        await house.round()
    assert {name.partition(".")[0] for name in house.engine.queued} == {task.id for task in made}


@pytest.mark.parametrize("begun", [False, True])
async def test_a_stretch_that_the_queue_lost_is_followed_by_another(
    house: House, begun: bool
) -> None:
    task = await house.new("look", "note")
    if begun:
        await house.engine.step()
    house.engine.done.add(f"{task.id}.1")  # it broke, or its file was lost
    house.clock.advance(61)
    await house.round()
    await house.settle()
    task = await house.see(task)
    assert (task.status, task.stretch) == ("completed", 2)
    assert [tool for tool, _, _ in house.did] == ["look", "note"]


# The same and not the same


async def test_the_same_words_with_another_plan_are_another_task(house: House) -> None:
    def new(**arguments: Any) -> NewTask:
        plan = (PlannedStep(node="n1", title="x", tool="tell", arguments=arguments),)
        return NewTask(client_id=HOUSE, intent="Tell them", agent="tony", owner="ann", plan=plan)

    first = await house.desk.create(new(text="yes"))
    other = await house.desk.create(new(text="no"))
    again = await house.desk.create(new(text="yes"))
    assert not other.deduped
    assert (again.deduped, again.task.id) == (True, first.task.id)


# The feed


async def test_who_follows_as_the_last_one_leaves_is_told_too(house: House) -> None:
    for _ in range(10):
        async with house.desk.follow(HOUSE):
            (watching,) = (t for t in asyncio.all_tasks() if t.get_name() == "task feed:watch")
        house.feed.written()
        while not watching.done():  # noqa: ASYNC110 - the very moment is what matters
            await asyncio.sleep(0)
        async with house.desk.follow(HOUSE, after=0) as lines:
            async with asyncio.timeout(30):
                for _ in range(2):  # the first is read, the second has to be told
                    task = await house.new("look")
                    async for line in lines:
                        if line.task_id == task.id and line.kind == "task_plan_delta":
                            break


# The engine


async def test_an_engine_that_could_not_start_starts_when_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    url = f"sqlite:///{folder}/queue.db"
    engine = Engine(url=url, hub_id="hub-1", at_once=1, per_client=1)
    other = Engine(url=url, hub_id="hub-2", at_once=1, per_client=1)
    done, taken = asyncio.Event(), asyncio.Event()

    async def advance(client_id: str, task_id: str, stretch: int) -> bool:
        done.set()
        return False

    async def take(client_id: str, task_id: str, stretch: int) -> bool:
        taken.set()
        return False

    folder.write_text("in the way")
    with pytest.raises(StorageUnavailable):
        await engine.start(advance)
    assert not engine.running
    folder.unlink()
    folder.mkdir()
    try:
        await engine.start(advance)
        await engine.enqueue(HOUSE, "task_1", 1, 1_800_000_000_000)
        async with asyncio.timeout(60):
            await done.wait()
        await eventually(lambda: _over(engine, "task_1.1"))
        engine.shut()
        await eventually(lambda: not any(taking()))
        done.clear()
        await engine.enqueue(HOUSE, "task_2", 1, 1_800_000_000_000)
        await engine.close()
        await other.start(take)
        async with asyncio.timeout(60):
            await taken.wait()  # another hub may have it, for the first left it alone
        assert not done.is_set()
    finally:
        await engine.close()
        await other.close()


async def _over(engine: Engine, name: str) -> bool:
    return await engine.over([name, "task_0.1"]) == {name}


def taking() -> list[str]:
    """Threads that take work from the queue."""
    return [t.name for t in threading.enumerate() if "queue-worker-tron" in t.name]


async def test_an_engine_closed_while_it_starts_does_not_go_on(tmp_path: Path) -> None:
    engine = Engine(url=f"sqlite:///{tmp_path}/q.db", hub_id="hub-1", at_once=1, per_client=1)

    async def advance(client_id: str, task_id: str, stretch: int) -> bool:
        return False

    before = set(threading.enumerate())
    starting = asyncio.create_task(engine.start(advance))
    await asyncio.sleep(0.01)
    starting.cancel()
    await asyncio.wait({starting})
    await engine.close()
    left = [t.name for t in set(threading.enumerate()) - before if not t.name.startswith("asyncio")]
    assert left == []
