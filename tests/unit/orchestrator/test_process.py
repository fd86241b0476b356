"""A process's mail is read in order and never lost in silence; its spending has an end."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.harness.waiting import PATIENCE_S
from tests.unit.orchestrator.behaviours import Letter, nothing, serve, settle, wait
from tests.unit.orchestrator.conftest import Make
from tron.clock import ManualClock
from tron.conversation.turns import Usage
from tron.errors import BudgetExhausted, ProcessEnded, RateLimited
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Budget, Process


def used(tokens: int) -> Usage:
    return Usage(input_tokens=tokens, output_tokens=0)


async def test_mail_is_read_in_order(orchestrator: Orchestrator) -> None:
    read = []

    async def work(process: Process) -> None:
        while letter := await process.receive(60):
            read.append(letter.text)
            await asyncio.sleep(0)

    process = orchestrator.spawn("tony", work)
    for text in "abc":
        process.send(Letter(text))
    await settle()
    process.send(Letter("d"))
    process.retire()
    await process.wait()
    assert read == ["a", "b", "c", "d"]


async def test_a_full_mailbox_refuses(make: Make) -> None:
    process = make(mailbox_size=2).spawn("tony", wait)
    process.send(Letter())
    process.send(Letter())
    with pytest.raises(RateLimited) as refused:
        process.send(Letter())
    assert refused.value.code == "mailbox_full"


async def test_an_ended_process_takes_no_mail(orchestrator: Orchestrator) -> None:
    process = orchestrator.spawn("tony", nothing)
    await process.wait()
    with pytest.raises(ProcessEnded):
        process.send(Letter())


async def test_nothing_to_read_for_long_enough_is_the_end(orchestrator: Orchestrator) -> None:
    async def work(process: Process) -> str:
        assert await process.receive(0.01) is None
        with pytest.raises(ProcessEnded):  # whoever comes now is sent to a new process
            process.send(Letter())
        return "ended well"

    process = orchestrator.spawn("tony", work)
    assert (await process.wait()).result == "ended well"
    assert process.status == "completed"


async def test_idle_means_waiting_for_mail(orchestrator: Orchestrator, clock: ManualClock) -> None:
    gate = asyncio.Event()

    async def work(process: Process) -> None:
        while await process.receive(60):
            await gate.wait()

    process = orchestrator.spawn("tony", work)
    assert process.idle_since is None
    await settle()
    assert process.idle_since == clock.monotonic()
    process.send(Letter())
    assert process.idle_since is None  # from the moment there is something to do
    await settle()
    assert process.idle_since is None
    clock.advance(5)
    gate.set()
    await settle()
    assert process.idle_since == clock.monotonic()


async def test_an_idle_process_retires_at_once(orchestrator: Orchestrator) -> None:
    process = orchestrator.spawn("tony", serve)
    await settle()
    process.retire()
    with pytest.raises(ProcessEnded):
        process.send(Letter())
    await asyncio.wait_for(process.wait(), PATIENCE_S)
    assert process.status == "completed"


async def test_a_busy_process_retires_when_it_has_done_what_it_has(
    orchestrator: Orchestrator,
) -> None:
    gate, read = asyncio.Event(), []

    async def work(process: Process) -> None:
        while letter := await process.receive(60):
            read.append(letter.text)
            await gate.wait()

    process = orchestrator.spawn("tony", work)
    process.send(Letter("a"))
    await settle()
    process.send(Letter("b"))
    process.retire()
    with pytest.raises(ProcessEnded):
        process.send(Letter("c"))
    gate.set()
    await asyncio.wait_for(process.wait(), PATIENCE_S)  # not after an idle minute
    assert read == ["a", "b"]


async def test_metrics_are_a_processs_own(orchestrator: Orchestrator) -> None:
    parent = orchestrator.spawn("tony", wait)
    child = orchestrator.spawn("maya", wait, parent=parent)
    child.charge(Usage(input_tokens=3, output_tokens=4), 0.5)
    child.charge(Usage(input_tokens=1, output_tokens=1, estimated=True), 0.25)
    parent.charge(used(1), None)
    assert child.metrics.as_api(9) == {
        "input_tokens": 4,
        "output_tokens": 5,
        "total_tokens": 9,
        "llm_calls": 2,
        "tool_calls": 0,
        "estimated_cost": 0.75,
        "duration_ms": 9,
        "tokens_estimated": True,
    }
    assert parent.metrics.input_tokens == 1


async def test_an_unknown_price_makes_the_cost_unknown_and_stays_so(
    orchestrator: Orchestrator,
) -> None:
    process = orchestrator.spawn("tony", wait, budget=Budget(usd=1))
    process.charge(used(1), 0.9)
    process.charge(used(1), None)
    process.charge(used(1), 0.05)
    assert process.metrics.as_api(0)["estimated_cost"] is None
    process.check_budget()
    process.charge(used(1), 0.05)  # what is known still counts
    with pytest.raises(BudgetExhausted):
        process.check_budget()


@pytest.mark.parametrize("budget", [Budget(tokens=100), Budget(usd=1)])
async def test_a_budget_warns_once_and_then_ends(
    orchestrator: Orchestrator, budget: Budget
) -> None:
    process = orchestrator.spawn("tony", wait, budget=budget)
    with capture_logs() as logs:
        for _ in range(9):
            process.charge(used(10), 0.1)
            process.check_budget()
    assert [log["event"] for log in logs] == ["process.budget_low"]
    process.charge(used(11), 0.11)
    with pytest.raises(BudgetExhausted):
        process.check_budget()


async def test_no_budget_is_no_limit(orchestrator: Orchestrator) -> None:
    process = orchestrator.spawn("tony", wait, budget=Budget())
    process.charge(used(10**12), 10.0**6)
    process.check_budget()


async def test_what_children_use_counts_for_everyone_above(orchestrator: Orchestrator) -> None:
    top = orchestrator.spawn("a", wait, budget=Budget(tokens=100))
    middle = orchestrator.spawn("b", wait, parent=top, budget=Budget())
    low = orchestrator.spawn("c", wait, parent=middle, budget=Budget())
    low.charge(used(60), 0.0)
    middle.charge(used(60), 0.0)
    for process in (top, middle, low):
        with pytest.raises(BudgetExhausted, match=top.id):
            process.check_budget()


async def test_what_children_use_counts_also_when_one_between_has_ended(
    orchestrator: Orchestrator,
) -> None:
    top = orchestrator.spawn("a", wait, budget=Budget(tokens=100))
    middle = orchestrator.spawn("b", wait, parent=top)
    low = orchestrator.spawn("c", wait, parent=middle)
    await orchestrator.kill(middle.id)
    low.charge(used(101), 0.0)
    for process in (top, low):
        with pytest.raises(BudgetExhausted, match=top.id):
            process.check_budget()


async def test_a_duration_stands_still_once_it_has_ended(
    orchestrator: Orchestrator, clock: ManualClock
) -> None:
    process = orchestrator.spawn("tony", wait)
    clock.advance(2)
    assert process.duration_ms == 2000
    await orchestrator.kill(process.id)
    clock.advance(2)
    assert process.duration_ms == 2000
