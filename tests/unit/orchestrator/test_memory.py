"""Ten thousand processes later, nothing is left of them but the latest."""

import asyncio
import gc

from tests.unit.orchestrator.behaviours import Letter, nothing
from tron.events import Event
from tron.orchestrator.orchestrator import FINISHED_KEPT, Orchestrator
from tron.orchestrator.process import Process


def alive(kind: type) -> int:
    gc.collect()
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


async def families(orchestrator: Orchestrator, count: int) -> None:
    """`count` processes in lines of four, each with a letter, one after another."""

    async def work(process: Process) -> bytes:
        await process.receive(60)
        if process.depth < 3:
            child = orchestrator.spawn(f"agent-{process.depth}", work, parent=process)
            child.send(Letter())
            await child.wait()
        return bytes(1000)

    for _ in range(count // 4):
        top = orchestrator.spawn("top", work)
        top.send(Letter())
        await top.wait()


async def test_ten_thousand_processes_leave_memory_flat(
    orchestrator: Orchestrator, heard: list[Event]
) -> None:
    await families(orchestrator, 1000)
    heard.clear()
    before = alive(object)
    await families(orchestrator, 10_000)
    heard.clear()
    assert alive(Process) <= FINISHED_KEPT + 4
    assert alive(Letter) == 0
    assert alive(asyncio.Task) <= 2
    assert alive(object) - before < 100


async def test_a_parent_that_lives_on_keeps_nothing_of_its_children(
    orchestrator: Orchestrator,
) -> None:
    parent = orchestrator.spawn("tony", lambda process: process.receive(60))
    for _ in range(2000):
        await orchestrator.spawn("maya", nothing, parent=parent).wait()
    assert alive(Process) <= FINISHED_KEPT + 1
