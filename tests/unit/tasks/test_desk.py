"""A task from being asked for to its end, as those see it who ask."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.harness.waiting import eventually
from tests.unit.tasks.house import House, steps
from tron.errors import Conflict, Invalid, NotFound
from tron.storage.tables import HOUSE
from tron.tasks.contract import NewTask, PlannedStep
from tron.tools.contract import ToolContext, TryLater


async def test_steps_are_done_in_order_and_hand_on_what_they_found(house: House) -> None:
    task = await house.new("look", "note", "look")
    assert task.status == "planned"
    await house.settle()
    task = await house.see(task)
    assert (task.status, task.result) == ("completed", "look did note did look did")
    assert [tool for tool, _, _ in house.did] == ["look", "note", "look"]
    assert [step.status for step in task.steps] == ["completed"] * 3
    assert await house.kinds(task) == [
        "task_created",
        "task_plan_graph",
        "task_plan_delta",
        *["task_step_started", "task_step_completed"] * 3,
        "task_completed",
    ]
    log = await house.log(task)
    assert [event.seq for event in log] == list(range(1, len(log) + 1))


@pytest.mark.parametrize("tool", ["tell", "pay", "run"])
async def test_what_reaches_out_costs_or_runs_asks_first_and_then_goes_on(
    house: House, tool: str
) -> None:
    task = await house.new("look", tool, "note")
    await house.settle()
    task = await house.see(task)
    assert (task.status, task.requires_approval) == ("awaiting_approval", True)
    assert task.approval is not None
    assert task.approval.arguments == {"text": "look did"}  # exactly what would be done
    assert [done for done, _, _ in house.did] == ["look"]
    await house.yes(task)
    await house.settle()
    task = await house.see(task)
    assert task.status == "completed"
    assert [done for done, _, _ in house.did] == ["look", tool, "note"]


async def test_steps_work_for_the_person_and_never_for_all_who_are_not_named(
    house: House,
) -> None:
    callers: list[str] = []

    async def look(context: ToolContext, _: str) -> str:
        callers.append(context.caller)
        return "looked"

    house.doing["look"] = look
    for user, session in (("bob", "s1"), ("anonymous", "s2"), ("anonymous", "s3"), ("", "")):
        await house.new("look", user_id=user, session=session)
    await house.settle()
    assert callers == ["bob", "anonymous-s2", "anonymous-s3", "ann"]


async def test_a_first_step_that_asks_says_so_at_once(house: House) -> None:
    task = await house.new("tell")
    assert task.status == "awaiting_approval"
    assert not house.engine.queued


async def test_no_means_that_nothing_is_done(house: House) -> None:
    task = await house.new("tell", "note")
    await house.answer(task, False)
    await house.settle()
    task = await house.see(task)
    assert (task.status, task.code) == ("failed", "approval_denied")
    assert house.did == []
    with pytest.raises(Conflict):
        await house.yes(task)


async def test_the_first_answer_wins(house: House) -> None:
    task = await house.new("tell")
    results = await asyncio.gather(
        *(house.answer(task, approved) for approved in (True, False, True, False)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Conflict) for result in results) == 3
    await house.settle()
    assert (await house.see(task)).status == "completed"
    assert len(house.did) == 1


async def test_a_yes_counts_for_one_question_only(house: House) -> None:
    task = await house.new("tell", "tell")
    first = task.approval
    assert first is not None
    await house.yes(task, approval_id=first.id)
    await house.settle()
    task = await house.see(task)
    assert task.status == "awaiting_approval"
    with pytest.raises(Conflict):  # the first yes, sent again
        await house.yes(task, approval_id=first.id)
    assert (await house.see(task)).status == "awaiting_approval"
    assert len(house.did) == 1


async def test_an_answer_that_comes_too_late_is_none(house: House) -> None:
    task = await house.new("tell")
    house.clock.advance(3601)
    with pytest.raises(Conflict) as refused:
        await house.yes(task)
    assert refused.value.code == "approval_expired"
    assert (await house.see(task)).code == "approval_expired"
    await house.settle()
    assert house.did == []


async def test_a_question_nobody_answers_ends_the_task(house: House) -> None:
    task = await house.new("tell")
    house.clock.advance(3601)
    await house.round()
    task = await house.see(task)
    assert (task.status, task.code) == ("failed", "approval_expired")
    assert await house.desk.waiting(HOUSE) == []


async def test_somebody_elses_session_or_tenant_answers_nothing(house: House) -> None:
    task = await house.new("tell", session="ours")
    for client_id, session in ((HOUSE, "theirs"), ("other", "ours"), ("other", None)):
        with pytest.raises(NotFound):
            await house.desk.answer(
                client_id, task.id, approved=True, by="eve", through="socket", session=session
            )
    assert (await house.see(task)).status == "awaiting_approval"


async def test_confirm_each_asks_before_every_step(house: House) -> None:
    task = await house.new("look", "note", mode="confirm_each")
    for _ in range(2):
        assert (await house.see(task)).status == "awaiting_approval"
        await house.yes(task)
        await house.settle()
    assert (await house.see(task)).status == "completed"


async def test_plan_only_waits_until_it_is_begun(house: House) -> None:
    task = await house.new("look", mode="plan_only")
    await house.settle()
    assert (await house.see(task)).status == "planned"
    assert house.did == []
    await house.desk.resume(HOUSE, task.id)
    await house.settle()
    assert (await house.see(task)).status == "completed"


async def test_the_same_words_soon_after_are_the_same_task(house: House) -> None:
    first = await house.new("look", intent="Tidy  up", session="s")
    new = NewTask(client_id=HOUSE, intent="tidy up", agent="tony", owner="ann", session="s")
    again = await house.desk.create(new)
    assert (again.task.id, again.deduped) == (first.id, True)
    other = msgspec.structs.replace(new, session="t")
    assert not (await house.desk.create(other)).deduped
    await house.settle()  # what is over is no reason not to do it again
    assert not (await house.desk.create(new)).deduped
    house.clock.advance(11)
    assert not (await house.desk.create(new)).deduped


async def test_a_clients_key_is_one_task_for_ever(house: House) -> None:
    new = NewTask(client_id=HOUSE, intent="tidy up", agent="tony", owner="ann", key="k1")
    made = await asyncio.gather(*(house.desk.create(new) for _ in range(5)))
    assert len({one.task.id for one in made}) == 1
    assert sorted(one.deduped for one in made) == [False, True, True, True, True]
    await house.settle()
    house.clock.advance(86_400)
    assert (await house.desk.create(new)).deduped
    with pytest.raises(Conflict):
        await house.desk.create(msgspec.structs.replace(new, intent="something else"))


@pytest.mark.parametrize("intent", ["", "  ", "x" * 4001])
async def test_what_is_no_wish_is_refused(house: House, intent: str) -> None:
    with pytest.raises(Invalid):
        await house.desk.create(NewTask(client_id=HOUSE, intent=intent, agent="tony", owner="ann"))


async def test_a_plan_that_cannot_be_is_refused_before_anything_is_stored(house: House) -> None:
    plan = (PlannedStep(node="n1", title="x", tool="no_such_tool"),)
    with pytest.raises(Invalid):
        await house.desk.create(
            NewTask(client_id=HOUSE, intent="x", agent="tony", owner="ann", plan=plan)
        )
    assert await house.desk.listing(HOUSE) == []


async def test_what_can_not_be_planned_fails_and_says_why(house: House) -> None:
    house.planner.plans.append(Invalid("I have no way to fly."))
    task = await house.new()
    assert (task.status, task.code, task.detail) == (
        "failed",
        "planning_failed",
        "I have no way to fly.",
    )


async def test_a_step_that_fails_ends_the_task_and_can_be_tried_again(house: House) -> None:
    house.fails("note", "The disk is full.")
    task = await house.new("look", "note", "look")
    await house.settle()
    task = await house.see(task)
    assert (task.status, task.code, task.detail) == ("failed", "step_failed", "The disk is full.")
    del house.doing["note"]
    await house.desk.retry(HOUSE, task.id)
    await house.settle()
    task = await house.see(task)
    assert (task.status, task.code, task.detail) == ("completed", None, None)
    assert [tool for tool, _, _ in house.did] == ["look", "note", "note", "look"]
    assert house.did[1][2] == house.did[2][2]  # what may have happened is known by its key


async def test_a_try_again_of_what_was_approved_asks_again(house: House) -> None:
    house.fails("tell")
    task = await house.new("tell")
    await house.yes(task)
    await house.settle()
    task = await house.desk.retry(HOUSE, task.id)
    assert task.status == "awaiting_approval"


async def test_the_persona_may_change_its_plan_when_a_step_fails(house: House) -> None:
    house.fails("note")
    house.planner.revisions.append(
        (PlannedStep(node="n3", title="instead", tool="look", arguments={"text": "{{n1}}"}),)
    )
    task = await house.new("look", "note")
    await house.settle()
    task = await house.see(task)
    assert task.status == "completed"
    assert [step.status for step in task.steps] == ["completed", "failed", "completed"]


async def test_plans_are_not_changed_for_ever(house: House) -> None:
    house.fails("note")
    for place in range(2, 20):
        step = PlannedStep(node=f"n{place}", title="again", tool="note")
        house.planner.revisions.append((step,))
    task = await house.new("note")
    await house.settle()
    task = await house.see(task)
    assert task.status == "failed"
    assert len(task.steps) == 3


async def test_cancelled_means_that_no_further_step_is_done(house: House) -> None:
    task = await house.new("look", "note")
    await house.engine.step()
    await house.desk.cancel(HOUSE, task.id, reason="Not needed.")
    await house.settle()
    task = await house.see(task)
    assert (task.status, task.code, task.detail) == ("cancelled", "cancelled", "Not needed.")
    assert [tool for tool, _, _ in house.did] == ["look"]
    with pytest.raises(Conflict):
        await house.desk.cancel(HOUSE, task.id)


async def _held(house: House, tool: str) -> tuple[asyncio.Event, asyncio.Event]:
    """(begun, go): `tool` says that it has begun and goes on when told to."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def hold(context: ToolContext, text: str) -> str:
        begun.set()
        await go.wait()
        return "held"

    house.doing[tool] = hold
    return begun, go


async def test_a_step_under_way_is_stopped_by_cancelling(house: House) -> None:
    begun, _ = await _held(house, "look")
    task = await house.new("look", "note")
    working = asyncio.create_task(house.settle())
    await begun.wait()
    task = await house.desk.cancel(HOUSE, task.id)
    await working
    task = await house.see(task)
    assert (task.status, task.steps[0].status) == ("cancelled", "cancelled")
    assert not house.runner.working_on


async def test_a_pause_lets_the_step_end_and_begins_no_other(house: House) -> None:
    begun, go = await _held(house, "look")
    task = await house.new("look", "note")
    working = asyncio.create_task(house.settle())
    await begun.wait()
    assert (await house.desk.pause(HOUSE, task.id)).status == "paused"
    go.set()
    await working
    task = await house.see(task)
    assert (task.status, task.steps[0].status) == ("paused", "completed")
    await house.desk.resume(HOUSE, task.id)
    await house.settle()
    assert (await house.see(task)).status == "completed"
    assert [tool for tool, _, _ in house.did] == ["look", "note"]


async def test_a_pause_taken_back_at_once_leaves_a_task_that_can_be_cancelled(
    house: House,
) -> None:
    begun, _ = await _held(house, "look")
    task = await house.new("look", "note")
    working = asyncio.create_task(house.settle())
    await begun.wait()
    await house.desk.pause(HOUSE, task.id)
    assert (await house.desk.resume(HOUSE, task.id)).status == "running"
    await house.desk.cancel(HOUSE, task.id)
    await working
    assert (await house.see(task)).status == "cancelled"
    assert len(house.did) == 1


async def test_a_pause_takes_a_question_back_and_asks_it_again(house: House) -> None:
    task = await house.new("tell")
    asked = task.approval
    assert asked is not None
    await house.desk.pause(HOUSE, task.id)
    with pytest.raises(Conflict):
        await house.yes(task, approval_id=asked.id)
    task = await house.desk.resume(HOUSE, task.id)
    assert task.status == "awaiting_approval"
    assert task.approval is not None
    assert task.approval.id != asked.id


async def test_what_waits_for_a_time_goes_on_then(house: House) -> None:
    due = house.clock.now_ms() + 60_000

    async def wait(context: ToolContext, text: str) -> str:
        if house.clock.now_ms() < due:
            raise TryLater(due, "Waiting for a minute.")
        return "it is time"

    house.doing["look"] = wait
    task = await house.new("look", "note")
    await house.settle()
    task = await house.see(task)
    assert (task.status, task.wake_at) == ("planned", due)
    await house.round()
    await house.settle()
    assert len(house.did) == 1
    house.clock.advance(60)
    await house.round()
    await house.settle()
    task = await house.see(task)
    assert (task.status, task.result) == ("completed", "note did it is time")


async def test_only_the_time_in_which_it_runs_counts(house: House) -> None:
    task = await house.new("look", "tell", "look", timeout_s=60)
    house.clock.advance(3000)  # in the queue
    await house.settle()
    house.clock.advance(3000)  # waiting for an answer
    await house.round()
    await house.yes(task)
    await house.round()
    await house.settle()
    assert (await house.see(task)).status == "completed"


async def test_a_task_that_runs_too_long_is_ended_and_says_so(house: House) -> None:
    begun, _ = await _held(house, "look")
    task = await house.new("look", timeout_s=60)
    working = asyncio.create_task(house.settle())
    await begun.wait()
    house.clock.advance(61)
    await house.round()
    await working
    task = await house.see(task)
    assert (task.status, task.code) == ("failed", "task_timeout")


async def test_a_plan_can_be_changed_while_nothing_runs(house: House) -> None:
    task = await house.new("look", "tell")
    await house.settle()
    task = await house.desk.replan(
        HOUSE, task.id, [PlannedStep(node="n2", title="write", tool="note")]
    )
    assert task.approval is None
    await house.settle()
    task = await house.see(task)
    assert task.status == "completed"
    assert [tool for tool, _, _ in house.did] == ["look", "note"]


@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_step_its_hub_died_in_is_done_again_only_if_it_may_be(
    house: House, repeatable: bool
) -> None:
    begun, _ = await _held(house, "look" if repeatable else "note")
    task = await house.new("look" if repeatable else "note", "look")
    dying = asyncio.create_task(house.engine.step())
    await begun.wait()
    house.runner.shut()
    dying.cancel()
    await asyncio.wait({dying})
    house.runner._stopping = False
    house.doing.clear()
    await house.settle()  # the engine has the stretch done again
    task = await house.see(task)
    if not repeatable:
        assert task.status == "awaiting_approval"
        assert task.approval is not None
        assert "may have happened" in task.approval.prompt
        await house.yes(task)
        await house.settle()
        task = await house.see(task)
    assert task.status == "completed"
    assert len({key for _, _, key in house.did[:2]}) == 1


async def test_work_of_a_dead_hub_is_taken_up_once(house: House) -> None:
    task = await house.new("look")
    await house.heartbeat.beat()
    house.engine.left = [(f"{task.id}.1", "hub-gone")]
    await house.round()
    await house.round()
    assert house.engine.resumed == [f"{task.id}.1"]


async def test_what_was_stored_and_not_queued_is_queued_later(house: House) -> None:
    task = await house.new("look")
    house.engine.queued.clear()  # the hub died before the queue had it
    house.clock.advance(61)
    await house.round()
    await house.settle()
    assert (await house.see(task)).status == "completed"


async def test_a_follower_misses_nothing_and_hears_nothing_of_others(house: House) -> None:
    heard: list[tuple[str, int]] = []

    async def follow() -> None:
        async with house.desk.follow(HOUSE, session="s", after=0) as lines:
            async for line in lines:
                heard.append((line.task_id, line.seq))

    following = asyncio.create_task(follow())
    mine = [await house.new("look", "note", session="s") for _ in range(3)]
    await house.new("look", session="t")
    await house.settle()
    expected = [(task.id, event.seq) for task in mine for event in await house.log(task)]
    await eventually(lambda: len(heard) >= len(expected))
    assert sorted(heard) == sorted(expected)
    for task in mine:
        seqs = [seq for id, seq in heard if id == task.id]
        assert seqs == sorted(seqs)
    following.cancel()
    await asyncio.wait({following})


async def test_the_log_can_be_read_from_where_one_left_off(house: House) -> None:
    task = await house.new("look")
    await house.settle()
    log = await house.log(task)
    assert await house.desk.events(HOUSE, task.id, after=3) == log[3:]
    assert await house.desk.events(HOUSE, task.id, limit=2) == log[-2:]
    with pytest.raises(NotFound):
        await house.desk.events("other", task.id)


async def test_a_long_story_is_cut_and_its_end_is_not(house: House) -> None:
    async def talk(context: ToolContext, text: str) -> str:
        assert context.step is not None
        for _ in range(20_000):
            context.step.log("a line of output")
        return "done"

    house.doing["look"] = talk
    task = await house.new("look")
    await house.settle()
    kinds = await house.kinds(task)
    assert kinds[-1] == "task_completed"
    log = await house.log(task)
    said = "".join(e.body["text_delta"] for e in log if e.kind == "task_step_log")
    assert len(said) < 10_000
    assert said.endswith("left out)")


async def test_what_ended_long_ago_is_let_go_with_its_files(house: House, tmp_path: Path) -> None:
    async def write(context: ToolContext, text: str) -> str:
        assert context.step is not None
        context.step.workspace.mkdir(parents=True)
        (context.step.workspace / "made.txt").write_text("made")
        return "done"

    house.doing["note"] = write
    old = await house.new("note")
    await house.settle()
    waiting = await house.new("tell")
    house.clock.advance(3000)
    assert len(await house.desk.artifacts(HOUSE, old.id)) == 1
    house.clock.advance(31 * 86_400 - 3000)
    recent = await house.new("look")
    await house.settle()
    await house.round()
    with pytest.raises(NotFound):
        await house.see(old)
    assert not house.runner.workspace(old.id).exists()
    assert (await house.see(recent)).status == "completed"
    assert (await house.see(waiting)).code == "approval_expired"


async def test_a_fault_of_ours_ends_the_task_and_is_found_in_the_log(house: House) -> None:
    async def vanish(context: ToolContext, text: str) -> str:
        raise SystemError("no such thing")

    house.doing["look"] = vanish
    task = await house.new("look")
    with capture_logs() as logs:
        await house.settle()
    task = await house.see(task)
    assert task.status == "failed"
    assert any(str(line.get("call_id", "-")) in str(task.detail) for line in logs)


def test_steps_name_the_one_before() -> None:
    assert steps("look", "note")[1].arguments == {"text": "{{n1}}"}
