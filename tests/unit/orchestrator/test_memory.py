"""Ten thousand processes later, nothing is left of them but the latest."""

import asyncio
import gc
import json
import subprocess
import sys
from pathlib import Path

from tests.unit.orchestrator.behaviours import Letter, nothing
from tron.clock import ManualClock
from tron.events import Bus
from tron.orchestrator.orchestrator import FINISHED_KEPT, Orchestrator
from tron.orchestrator.process import Process
from tron.settings import Settings


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


async def measure() -> dict[str, int]:
    """What ten thousand processes leave behind, in an interpreter that did nothing else."""
    orchestrator = Orchestrator(Settings(), ManualClock(), Bus())
    await families(orchestrator, 1000)
    before = alive(object)
    await families(orchestrator, 10_000)
    left = {
        "processes": alive(Process),
        "letters": alive(Letter),
        "tasks": alive(asyncio.Task),
        "objects": alive(object) - before,
    }
    await orchestrator.close()
    return left


def test_ten_thousand_processes_leave_memory_flat() -> None:
    # Other tests of the same run leave and free objects of their own.
    code = (
        "import asyncio, json; from tests.unit.orchestrator.test_memory import measure; "
        "print(json.dumps(asyncio.run(measure())))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    left = json.loads(done.stdout.splitlines()[-1])
    assert left["processes"] <= FINISHED_KEPT + 4
    assert left["letters"] == 0
    assert left["tasks"] <= 2
    assert left["objects"] < 100


async def test_a_parent_that_lives_on_keeps_nothing_of_its_children(
    orchestrator: Orchestrator,
) -> None:
    before = alive(Process)  # other tests of the same run may have left some
    parent = orchestrator.spawn("tony", lambda process: process.receive(60))
    for _ in range(2000):
        await orchestrator.spawn("maya", nothing, parent=parent).wait()
    assert alive(Process) <= before + FINISHED_KEPT + 1
