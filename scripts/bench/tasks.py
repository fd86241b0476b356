"""What a task costs beside the bare engine: `python -m scripts.bench.tasks [--tasks N] [--json F]`.

Two programs in interleaved rounds, each in a process and a database (SQLite) of its own: the bare
engine (DBOS: a queue, workflows of five steps that do nothing) and the hub's desk (tasks of five
steps that call a tool that does nothing: stored, judged by the policy, logged). All tasks are
handed in first, then 50 are worked on at once. Figures: ms and CPU ms a step, how late the loop
that carries live calls was meanwhile, and how long tasks of each priority waited.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from scripts.bench.measure import percentile

STEPS = 5
AT_ONCE = 50
ROUNDS = 2
GOAL_MS = 3.0


class Lateness:
    """How late this loop is, looked at a hundred times a second."""

    def __init__(self) -> None:
        self.ms: list[float] = []

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            self.ms.append((time.monotonic() - due) * 1000)


async def bare(folder: Path, tasks: int) -> dict[str, Any]:
    """The engine alone, used as the hub uses it."""
    from dbos import DBOS, SetEnqueueOptions

    left, over = tasks, asyncio.Event()
    loop = asyncio.get_running_loop()
    config: Any = {
        "name": "bench",
        "system_database_url": f"sqlite:///{folder}/bare.db",
        "log_level": "ERROR",
        "max_executor_threads": 2 * AT_ONCE + 8,
    }
    DBOS(config=config)

    async def nothing() -> bool:
        return True

    async def work() -> None:
        nonlocal left
        for _ in range(STEPS):
            await DBOS.run_step_async({"name": "step"}, nothing)
        left -= 1
        if not left:
            loop.call_soon_threadsafe(over.set)

    workflow = DBOS.workflow(name="work")(work)
    await asyncio.to_thread(DBOS.launch)
    options = {"worker_concurrency": AT_ONCE, "polling_interval_sec": 0.1}
    await asyncio.to_thread(lambda: DBOS.register_queue("bench", **options))  # type: ignore[arg-type]
    lateness = Lateness()

    def put() -> None:
        for _ in range(tasks):
            with SetEnqueueOptions(queue_partition_key=None):
                DBOS.enqueue_workflow("bench", workflow)

    began, cpu = time.monotonic(), time.process_time()
    async with lateness.watched():
        await asyncio.to_thread(put)
        await over.wait()
    figures = _figures(tasks, began, cpu, lateness)
    await asyncio.to_thread(DBOS.destroy)
    return figures


async def desk(folder: Path, tasks: int) -> dict[str, Any]:
    """The hub's tasks."""
    from tron.app import open_hub
    from tron.settings import Settings
    from tron.storage.tables import HOUSE
    from tron.tasks.contract import NewTask, PlannedStep, Priority
    from tron.tools.contract import Tool, ToolContext

    class Nothing(msgspec.Struct):
        pass

    async def nothing(context: ToolContext, args: Nothing) -> str:
        return "done"

    settings = Settings(home=folder, brain="offline", tasks_at_once=AT_ONCE)
    plan = tuple(
        PlannedStep(node=f"n{place}", title="Do nothing", tool="nothing")
        for place in range(1, STEPS + 1)
    )
    order: tuple[Priority, ...] = ("low", "normal", "high")
    lateness = Lateness()
    async with open_hub(settings) as hub:
        hub.toolbox.add([Tool("nothing", "Does nothing.", Nothing, nothing, effect="read")])
        hub.task_work.start(hub.desk.plan)
        began, cpu = time.monotonic(), time.process_time()
        async with lateness.watched():
            for number in range(tasks):
                await hub.desk.create(
                    NewTask(
                        client_id=HOUSE,
                        intent=f"task {number}",
                        agent="tony",
                        owner="bench",
                        plan=plan,
                        priority=order[number * len(order) // tasks],  # the most urgent come last
                    )
                )
            async with hub.desk.follow(HOUSE, after=0) as lines:
                left = tasks
                async for line in lines:
                    left -= line.kind in ("task_completed", "task_failed")
                    if not left:
                        break
        figures = _figures(tasks, began, cpu, lateness)
        ended = await hub.desk.listing(HOUSE, limit=tasks)
    waited: dict[str, list[int]] = {}
    for task in ended:
        assert task.status == "completed", task.detail
        waited.setdefault(task.priority, []).append((task.started_at or 0) - task.created_at)
    figures["longest wait s"] = {p: max(ms) / 1000 for p, ms in sorted(waited.items())}
    return figures


def _figures(tasks: int, began: float, cpu: float, lateness: Lateness) -> dict[str, Any]:
    steps = tasks * STEPS
    return {
        "ms a step": (time.monotonic() - began) * 1000 / steps,
        "CPU ms a step": (time.process_time() - cpu) * 1000 / steps,
        "loop late p99 ms": percentile(lateness.ms, 0.99),
        "loop late max ms": max(lateness.ms),
    }


PROGRAMS = {"bare": bare, "desk": desk}


def _once(name: str, tasks: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "scripts.bench.tasks", "--only", name, "--tasks", str(tasks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=PROGRAMS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(asyncio.run(PROGRAMS[given.only](Path(folder), given.tasks))))
        return
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name, found in rounds.items():
            found.append(_once(name, given.tasks))
            print(name, {key: _short(value) for key, value in found[-1].items()}, flush=True)
    added = {
        key: median(one[key] for one in rounds["desk"]) - median(one[key] for one in rounds["bare"])
        for key in ("ms a step", "CPU ms a step")
    }
    print(f"added by the desk: {added['ms a step']:.2f} ms a step (goal: at most {GOAL_MS:g})")
    print(f"of which CPU: {added['CPU ms a step']:.2f} ms a step")
    if given.json:
        given.json.write_text(json.dumps({"rounds": rounds, "added": added}, indent=1))


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: round(one, 1) for key, one in value.items()}
    return round(value, 2)


if __name__ == "__main__":
    main()
