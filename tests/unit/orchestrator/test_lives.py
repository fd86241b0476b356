"""How processes begin, fail, are mended and end."""

import asyncio

import pytest

from tests.harness.waiting import PATIENCE_S
from tests.unit.orchestrator.behaviours import Letter, fail, nothing, serve, settle, wait
from tests.unit.orchestrator.conftest import Make
from tron import events
from tron.clock import ManualClock
from tron.errors import Conflict, Invalid, Overloaded, ProcessEnded, ProviderRefused
from tron.events import Event
from tron.orchestrator.orchestrator import FINISHED_KEPT, Orchestrator
from tron.orchestrator.process import Process


def kinds(heard: list[Event]) -> list[type[Event]]:
    return [type(event) for event in heard]


async def test_statuses_through_a_good_life(orchestrator: Orchestrator, heard: list[Event]) -> None:
    statuses = []

    async def work(process: Process) -> str:
        statuses.append(process.status)
        return "done"

    process = orchestrator.spawn("tony", work, task="t", reason="r")
    statuses.append(process.status)
    assert orchestrator.live() == [process]
    await process.wait()
    statuses.append(process.status)
    assert statuses == ["pending", "running", "completed"]
    assert (process.result, process.error, process.live) == ("done", None, False)
    assert orchestrator.live() == []
    assert orchestrator.get(process.id) is process
    assert orchestrator.recent() == [process]
    start, end = heard
    assert isinstance(start, events.ProcessStarted)
    assert isinstance(end, events.ProcessEnded)
    assert (start.process_id, start.task, start.reason) == (process.id, "t", "r")
    assert (end.status, end.error) == ("completed", None)


async def test_a_failure_is_told_with_its_kind(make: Make, heard: list[Event]) -> None:
    process = make(restarts=0).spawn("tony", fail)
    await process.wait()
    assert (process.status, process.error) == ("failed", "ValueError: no")
    end = heard[-1]
    assert isinstance(end, events.ProcessEnded)
    assert (end.status, end.error) == ("failed", "ValueError: no")


@pytest.mark.parametrize("began", [False, True])
async def test_killing(orchestrator: Orchestrator, heard: list[Event], began: bool) -> None:
    process = orchestrator.spawn("tony", wait, name="only one")
    if began:
        await settle()
    letter = Letter()
    process.send(letter)
    assert process.status == ("running" if began else "pending")
    assert await orchestrator.kill(process.id)
    assert (process.status, process.error) == ("failed", "stopped")
    assert isinstance(letter.refused, ProcessEnded)
    assert kinds(heard)[-1] is events.ProcessEnded
    assert kinds(heard).count(events.ProcessEnded) == 1
    assert orchestrator.free_name("only one") == "only one"
    assert orchestrator.live() == []
    assert not await orchestrator.kill(process.id)
    assert not await orchestrator.kill("nobody")


async def test_two_kills_at_once_both_return(orchestrator: Orchestrator) -> None:
    process = orchestrator.spawn("tony", wait)
    await settle()
    both = asyncio.gather(orchestrator.kill(process.id), orchestrator.kill(process.id))
    assert all(await asyncio.wait_for(both, PATIENCE_S))


async def test_a_failed_process_is_started_again_with_its_mail(
    orchestrator: Orchestrator, heard: list[Event]
) -> None:
    read = []

    async def work(process: Process) -> None:
        while letter := await process.receive(60):
            read.append(letter.text)
            if letter.text == "poison":
                raise ValueError("no")

    process = orchestrator.spawn("tony", work)
    for text in ("a", "poison", "b"):
        process.send(Letter(text))
    await settle()
    assert read == ["a", "poison", "b"]
    assert (process.status, process.restarts) == ("running", 1)
    assert kinds(heard) == [events.ProcessStarted, events.ProcessRestarted]


async def test_too_many_failures_within_the_window_are_the_end(
    make: Make, clock: ManualClock
) -> None:
    runs = []

    async def work(process: Process) -> None:
        runs.append(process.restarts)
        await process.receive(60)
        raise ValueError("no")

    orchestrator = make(restarts=2, restart_window_s=600)
    process = orchestrator.spawn("tony", work)
    for pause in (0, 400, 201):  # the first failure is out of the window when the third comes
        clock.advance(pause)
        process.send(Letter())
        await settle()
    assert (process.status, process.restarts) == ("running", 3)
    clock.advance(300)
    process.send(Letter())
    await settle()
    assert process.status == "failed"
    assert runs == [0, 1, 2, 3]


async def test_a_persona_that_keeps_failing_is_given_a_rest(make: Make, clock: ManualClock) -> None:
    orchestrator = make(restarts=0)
    for _ in range(5):
        await orchestrator.spawn("tony", fail).wait()
    with pytest.raises(Overloaded) as refused:
        orchestrator.spawn("tony", nothing)
    assert refused.value.retry_after == 30
    await orchestrator.spawn("maya", nothing).wait()  # the others are not meant
    clock.advance(30)
    trial = orchestrator.spawn("tony", nothing)
    with pytest.raises(Overloaded):
        orchestrator.spawn("tony", nothing)
    await trial.wait()
    orchestrator.spawn("tony", nothing)


async def test_what_keeps_failing_rests_and_the_personas_other_work_goes_on(
    make: Make, clock: ManualClock
) -> None:
    orchestrator = make(restarts=0)
    assert orchestrator.resting == []
    for _ in range(5):
        await orchestrator.spawn("tony", fail, kind="life").wait()
    assert orchestrator.resting == [("tony", "life")]
    with pytest.raises(Overloaded):
        orchestrator.spawn("tony", nothing, kind="life")
    await orchestrator.spawn("tony", nothing, kind="conversation").wait()
    clock.advance(30)
    await orchestrator.spawn("tony", nothing, kind="life").wait()
    assert orchestrator.resting == []


async def test_a_failure_said_on_purpose_is_no_crash_of_the_persona(make: Make) -> None:
    async def refused(_: Process) -> None:
        raise ProviderRefused("No such model.", status=400)

    orchestrator = make(restarts=0)
    for _ in range(6):
        process = await orchestrator.spawn("tony", refused).wait()
        assert process.status == "failed"
    await orchestrator.spawn("tony", nothing).wait()


async def test_a_name_is_free_until_somebody_has_it(orchestrator: Orchestrator) -> None:
    assert orchestrator.free_name("desk") == "desk"
    first = orchestrator.spawn("tony", wait, name="desk")
    assert orchestrator.free_name("desk") == ""
    await orchestrator.kill(first.id)
    assert orchestrator.free_name("desk") == "desk"


async def resting(orchestrator: Orchestrator, clock: ManualClock) -> None:
    """Tony has failed often enough; the rest is over, and one trial may start."""
    for _ in range(5):
        await orchestrator.spawn("tony", fail, restarts=0).wait()
    clock.advance(30)


@pytest.mark.parametrize("began", [False, True])
async def test_a_killed_trial_leaves_the_place_to_the_next(
    orchestrator: Orchestrator, clock: ManualClock, began: bool
) -> None:
    await resting(orchestrator, clock)
    trial = orchestrator.spawn("tony", wait)
    if began:
        await settle()
    await orchestrator.kill(trial.id)
    orchestrator.spawn("tony", nothing)


async def test_a_long_trial_does_not_keep_the_persona_away(
    orchestrator: Orchestrator, clock: ManualClock
) -> None:
    await resting(orchestrator, clock)
    orchestrator.spawn("tony", serve)  # a conversation that goes on
    clock.advance(30)
    orchestrator.spawn("tony", serve)
    orchestrator.spawn("tony", serve)


async def test_a_trial_that_could_not_start_is_not_one(
    orchestrator: Orchestrator, clock: ManualClock
) -> None:
    orchestrator.spawn("maya", wait, name="taken")
    await resting(orchestrator, clock)
    with pytest.raises(Conflict):
        orchestrator.spawn("tony", nothing, name="taken")
    orchestrator.spawn("tony", nothing)


async def test_names_are_unique_and_free_again_afterwards(orchestrator: Orchestrator) -> None:
    first = orchestrator.spawn("tony", wait, name="desk")
    assert orchestrator.free_name("desk") == ""
    with pytest.raises(Conflict):
        orchestrator.spawn("maya", wait, name="desk")
    await orchestrator.kill(first.id)
    assert orchestrator.free_name("desk") == "desk"
    assert orchestrator.spawn("maya", wait, name="desk").name == "desk"


async def test_delegation_is_so_deep_and_no_deeper(make: Make) -> None:
    orchestrator = make(spawn_depth=2)
    top = orchestrator.spawn("a", wait)
    middle = orchestrator.spawn("b", wait, parent=top)
    low = orchestrator.spawn("c", wait, parent=middle)
    assert [p.depth for p in (top, middle, low)] == [0, 1, 2]
    assert (low.parent_id, low.ancestors()) == (middle.id, [middle, top])
    with pytest.raises(Invalid) as refused:
        orchestrator.spawn("d", wait, parent=low)
    assert refused.value.code == "spawn_too_deep"


async def test_depth_is_kept_also_when_those_above_have_ended(make: Make) -> None:
    orchestrator = make(spawn_depth=2)
    line = [orchestrator.spawn("a", wait)]
    for agent in ("b", "c"):
        line.append(orchestrator.spawn(agent, wait, parent=line[-1]))
        await orchestrator.kill(line[-2].id)
    with pytest.raises(Invalid, match="nested"):
        orchestrator.spawn("d", wait, parent=line[-1])


async def test_nobody_waits_for_themselves(orchestrator: Orchestrator) -> None:
    top = orchestrator.spawn("tony", wait)
    low = orchestrator.spawn("maya", wait, parent=top)
    for agent in ("tony", "maya"):
        with pytest.raises(Invalid) as refused:
            orchestrator.spawn(agent, wait, parent=low)
        assert refused.value.code == "spawn_cycle"


async def test_idle_processes_make_room_busy_ones_do_not(make: Make, clock: ManualClock) -> None:
    orchestrator = make(max_processes=3)
    busy = orchestrator.spawn("a", wait)
    older = orchestrator.spawn("b", serve)
    await settle()
    clock.advance(1)
    newer = orchestrator.spawn("c", serve)
    await settle()
    orchestrator.spawn("d", wait)
    await settle()
    assert older.status == "completed"  # put to rest, which is no failure
    assert (busy.live, newer.live) == (True, True)
    orchestrator.spawn("e", wait)
    await settle()
    assert not newer.live
    with pytest.raises(Overloaded) as refused:
        orchestrator.spawn("f", wait)
    assert refused.value.code == "no_free_process"


async def test_room_is_made_once_for_each_who_needs_it(make: Make) -> None:
    orchestrator = make(max_processes=2)
    for agent in "ab":
        orchestrator.spawn(agent, serve)
    await settle()
    for agent in "cd":  # in one go: the retired have not left yet
        orchestrator.spawn(agent, wait)
    with pytest.raises(Overloaded):
        orchestrator.spawn("e", wait)
    await settle()
    assert [process.agent for process in orchestrator.live()] == ["c", "d"]


async def test_no_more_are_put_to_rest_than_room_is_needed_for(make: Make) -> None:
    orchestrator = make(max_processes=20)  # a tenth is two
    for _ in range(20):
        orchestrator.spawn("a", serve)
    await settle()
    for _ in range(2):
        orchestrator.spawn("b", serve)
    await settle()
    assert [process.agent for process in orchestrator.live()] == ["a"] * 18 + ["b"] * 2


async def test_a_full_table_refuses_no_trial_for_ever(make: Make, clock: ManualClock) -> None:
    orchestrator = make(max_processes=1)
    await resting(orchestrator, clock)
    busy = orchestrator.spawn("maya", wait)
    with pytest.raises(Overloaded):
        orchestrator.spawn("tony", nothing)
    await orchestrator.kill(busy.id)
    orchestrator.spawn("tony", nothing)


async def test_closing_stops_everything_and_refuses_unread_mail(
    orchestrator: Orchestrator, heard: list[Event]
) -> None:
    running = orchestrator.spawn("a", wait)
    await settle()
    pending = orchestrator.spawn("b", wait)
    letters = [Letter(), Letter()]
    running.send(letters[0])
    pending.send(letters[1])
    before = asyncio.all_tasks()
    await orchestrator.close()
    assert asyncio.all_tasks() < before
    assert {type(letter.refused) for letter in letters} == {ProcessEnded}
    assert [running.status, pending.status] == ["failed", "failed"]
    assert orchestrator.live() == []
    assert kinds(heard).count(events.ProcessEnded) == 2
    with pytest.raises(Overloaded, match="shutting down"):
        orchestrator.spawn("a", nothing)


async def test_closing_completes_what_only_waits_for_mail(
    orchestrator: Orchestrator, heard: list[Event]
) -> None:
    idle, busy = orchestrator.spawn("a", serve), orchestrator.spawn("b", wait)
    await settle()
    await orchestrator.close()
    assert (idle.status, busy.status) == ("completed", "failed")


async def test_the_table_of_finished_processes_is_bounded(orchestrator: Orchestrator) -> None:
    made = []
    for _ in range(FINISHED_KEPT + 50):
        made.append(orchestrator.spawn("tony", nothing))
        await made[-1].wait()
    assert orchestrator.get(made[0].id) is None
    assert orchestrator.get(made[-1].id) is made[-1]
    assert len(orchestrator.recent()) == FINISHED_KEPT
