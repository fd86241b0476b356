"""Whatever people and hubs do to a task, in whatever order: what must always hold."""

import asyncio
from collections import Counter
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.tasks.house import House
from tron.errors import Conflict
from tron.storage.tables import HOUSE
from tron.tasks.contract import ENDED, Mode, PlannedStep, Status, Task
from tron.tasks.states import Happening, after, may

MOVES = (
    "step",
    "step",
    "step",
    "yes",
    "no",
    "pause",
    "resume",
    "cancel",
    "retry",
    "replan",
    "die",
    "round",
    "late",
)
TOOLS = ("look", "note", "tell", "run")


@pytest.mark.parametrize("status", sorted(ENDED))
def test_what_has_ended_only_comes_back_by_trying_again(status: Status) -> None:
    can = [happening for happening in get_args(Happening) if may(status, happening)]
    assert can == ([] if status == "completed" else ["retry"])


def test_every_status_can_be_reached_and_left() -> None:
    reached: set[Status] = {"planned"}
    for _ in range(10):
        reached |= {
            after(status, happening)
            for status in reached
            for happening in get_args(Happening)
            if may(status, happening)
        }
    assert reached == set(get_args(Status))


@given(
    moves=st.lists(st.sampled_from(MOVES), max_size=30),
    tools=st.lists(st.sampled_from(TOOLS), min_size=1, max_size=4),
    mode=st.sampled_from(get_args(Mode)),
    breaks=st.sets(st.integers(1, 6), max_size=2),
)
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, *HealthCheck]
)
async def test_nothing_happens_twice_or_unasked(
    house: House, moves: list[str], tools: list[str], mode: Mode, breaks: set[int]
) -> None:
    house.did.clear()
    life = Life(house, await house.new(*tools, mode=mode), breaks)
    for move in moves:
        await life.move(move)
        await life.check()
    await life.end()


class Life:
    """One task's, with what is known to have been allowed."""

    def __init__(self, house: House, task: Task, breaks: set[int]) -> None:
        self.house = house
        self.task = task
        self.retries = 0
        self.calls = 0
        for tool in TOOLS:
            house.doing[tool] = self._do
        self._breaks = breaks
        self._dying = False

    async def _do(self, context: object, text: str) -> str:
        self.calls += 1
        if self._dying:
            await asyncio.Event().wait()
        if self.calls in self._breaks:
            raise ValueError("it broke")
        return f"result {self.calls}"

    async def move(self, move: str) -> None:
        house, task = self.house, self.task
        try:
            match move:
                case "step":
                    await house.engine.step()
                case "yes":
                    await house.yes(task)
                case "no":
                    await house.answer(task, False)
                case "late":
                    house.clock.advance(3601)
                    await house.round()
                case "die":
                    await self._die()
                case "round":
                    await house.round()
                case "replan":
                    steps = [PlannedStep(node=f"n{90 + self.calls}", title="new", tool="look")]
                    await house.desk.replan(HOUSE, task.id, steps)
                case _:
                    await getattr(house.desk, move)(HOUSE, task.id)
                    self.retries += move == "retry"
        except Conflict:
            pass  # it can't follow now: nothing may have changed, which `check` sees

    async def _die(self) -> None:
        """The hub dies in the middle of a step, if one is to be done."""
        self._dying = True
        dying = asyncio.create_task(self.house.engine.step())
        for _ in range(200):
            await asyncio.sleep(0)
            if dying.done() or self.house.runner.working_on:
                break
        self.house.runner.shut()
        if not self.house.runner.working_on:
            await asyncio.wait({dying}, timeout=0.2)
        dying.cancel()
        await asyncio.wait({dying})
        self._dying = self.house.runner._stopping = False

    async def check(self) -> Task:
        task = await self.house.see(self.task)
        waiting = await self.house.desk.waiting(HOUSE)
        mine = [approval for approval in waiting if approval.task_id == task.id]
        assert len(mine) == (task.status == "awaiting_approval")
        assert (task.ended_at is not None) == (task.status in ENDED)
        assert sum(step.status == "running" for step in task.steps) <= 1
        log = await self.house.log(task)
        assert [event.seq for event in log] == list(range(1, len(log) + 1))
        endings = Counter(event.kind for event in log)
        ended = endings["task_completed"] + endings["task_failed"]
        assert ended == self.retries + (task.status in ENDED)
        done = Counter(e.body["step_id"] for e in log if e.kind == "task_step_completed")
        assert all(count == 1 for count in done.values())
        asked = sum(event.kind == "task_waiting_approval" for event in log)
        reached_out = sum(tool in ("tell", "run") for tool, _, _ in self.house.did)
        assert reached_out <= asked
        return task

    async def end(self) -> None:
        """Left alone, with a person who says yes, it ends."""
        for _ in range(60):
            task = await self.check()
            if task.status in ENDED:
                return
            await self.move("resume" if task.status in ("paused", "planned") else "yes")
            await self.house.settle()
        raise AssertionError(f"it never ended: {task.status}")
