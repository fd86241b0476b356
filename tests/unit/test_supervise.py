"""No task outlives its owner, and none fails unheard."""

import asyncio
import gc

import pytest
from structlog.testing import capture_logs

from tests.harness.waiting import PATIENCE_S, eventually
from tron.errors import StorageUnavailable
from tron.supervise import Tasks


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_closing_cancels_and_awaits_everything() -> None:
    tasks, ended = Tasks("test"), []

    async def work() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)  # cleaning up takes a while
            ended.append(True)

    started = [tasks.start(work(), "work") for _ in range(3)]
    await asyncio.sleep(0)
    await tasks.close()
    assert ended == [True] * 3
    assert all(task.cancelled() for task in started)
    assert len(tasks) == 0


async def test_a_task_started_while_closing_does_not_outlive_it() -> None:
    tasks = Tasks("test")
    refused: list[RuntimeError] = []

    async def work() -> None:
        try:
            await for_ever()
        finally:
            try:
                tasks.start(for_ever(), "late")
            except RuntimeError as error:
                refused.append(error)

    tasks.start(work(), "work")
    await asyncio.sleep(0)
    await tasks.close()
    assert len(refused) == 1
    assert len(tasks) == 0


async def test_a_closed_owner_starts_nothing() -> None:
    tasks = Tasks("test")
    await tasks.close()
    with pytest.raises(RuntimeError, match="test is closed"):
        tasks.start(for_ever(), "late")
    gc.collect()  # no "was never awaited" either: warnings are errors


async def test_a_failure_is_logged_with_the_name_of_the_task() -> None:
    async def work() -> None:
        raise ValueError("no")

    tasks = Tasks("owner")
    with capture_logs() as logs:
        tasks.start(work(), "job")
        await eventually(lambda: len(tasks) == 0)
    assert [(log["event"], log["task"]) for log in logs] == [("task.failed", "owner:job")]
    await tasks.close()


async def test_draining_waits_so_long_and_says_whether_all_ended() -> None:
    tasks = Tasks("test")
    assert await tasks.drain(0)
    gate = asyncio.Event()
    tasks.start(gate.wait(), "work")
    assert not await tasks.drain(0.01)
    assert len(tasks) == 1  # draining does not cancel
    gate.set()
    assert await tasks.drain(PATIENCE_S)
    await tasks.close()


async def test_a_bad_round_does_not_end_what_is_repeated() -> None:
    tasks, soon, rounds = Tasks("test"), asyncio.Event(), 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise StorageUnavailable("away")
        if rounds == 2:
            raise ZeroDivisionError

    with capture_logs() as logged:
        tasks.repeat(work, "work", every_s=3600, soon=soon)
        for count in (1, 2, 3):
            await eventually(lambda count=count: rounds == count)  # type: ignore[misc]
            soon.set()
    await tasks.close()
    failed = [line for line in logged if line["event"] == "round.failed"]
    assert [(line["task"], line["log_level"]) for line in failed] == [
        ("test:work", "warning"),
        ("test:work", "error"),
    ]
    assert failed[1]["exc_info"]


async def test_what_is_repeated_comes_again_by_itself_and_ends_with_its_owner() -> None:
    tasks, rounds = Tasks("test"), 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1

    repeated = tasks.repeat(work, "work", every_s=0)
    await eventually(lambda: rounds > 3)
    await tasks.close()
    assert repeated.cancelled()


async def test_what_was_asked_for_during_a_round_comes_right_after_it() -> None:
    tasks, soon, rounds = Tasks("test"), asyncio.Event(), 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            soon.set()

    tasks.repeat(work, "work", every_s=3600, soon=soon)
    await eventually(lambda: rounds == 2)
    await tasks.close()
