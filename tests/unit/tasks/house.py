"""A hub's task parts without a server: real rows, runner and desk, with an engine that a test turns
by hand and a planner that says what the test wrote down."""

from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.harness.stand_ins import no_gate
from tron.agents.registry import Registry
from tron.clock import ManualClock
from tron.events import Bus
from tron.heartbeat import Heartbeat
from tron.orchestrator.orchestrator import Orchestrator
from tron.settings import Settings
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.tasks.contract import Effect, NewTask, PlannedStep, Step, Task, TaskEvent
from tron.tasks.desk import Desk
from tron.tasks.feed import Feed
from tron.tasks.running import Runner
from tron.tasks.work import Work
from tron.tools.contract import Tool, ToolContext, ToolFailed
from tron.tools.toolbox import Toolbox

PERSONA = """---
name: {name}
title: Chief
focus: [work]
tone: plain
---
You are {name}.
"""

Doing = Callable[[ToolContext, str], Awaitable[str]]


class Said(msgspec.Struct):
    text: str = ""


class Engine:
    """What the durable queue promises, in memory: each stretch once, begun when a test says so."""

    def __init__(self) -> None:
        self.queued: dict[str, tuple[str, str, int]] = {}
        self.done: set[str] = set()
        self.running = False
        self.left: list[tuple[str, str]] = []
        self.resumed: list[str] = []
        self.forgotten = ""
        self._advance: Any = None

    async def start(self, advance: Any) -> None:
        self.running, self._advance = True, advance

    async def enqueue(self, client_id: str, task_id: str, stretch: int, place: int) -> None:
        self.queued[f"{task_id}.{stretch}"] = (client_id, task_id, stretch)

    async def step(self) -> bool:
        """One step of the oldest stretch. False: nothing is queued."""
        for name, work in self.queued.items():
            if name not in self.done:
                if not await self._advance(*work):
                    self.done.add(name)
                return True
        return False

    async def left_behind(self, alive: set[str]) -> list[tuple[str, str]]:
        return [(name, hub) for name, hub in self.left if hub not in alive]

    async def over(self, workflow_ids: list[str]) -> set[str]:
        return self.done.intersection(workflow_ids)

    async def resume(self, workflow_id: str) -> None:
        self.resumed.append(workflow_id)
        self.left = [one for one in self.left if one[0] != workflow_id]

    async def forget(self, before: str) -> None:
        self.forgotten = before

    def shut(self) -> None:
        pass

    async def close(self) -> None:
        self.running = False


class Planner:
    """Plans what a test wrote down."""

    def __init__(self) -> None:
        self.plans: deque[tuple[PlannedStep, ...] | Exception] = deque()
        self.revisions: deque[tuple[PlannedStep, ...] | None] = deque()

    async def plan(self, task: Task) -> tuple[PlannedStep, ...]:
        plan = self.plans.popleft() if self.plans else steps("look")
        if isinstance(plan, Exception):
            raise plan
        return plan

    async def revise(self, task: Task, failed: Step) -> tuple[PlannedStep, ...] | None:
        return self.revisions.popleft() if self.revisions else None


def steps(*tools: str, **arguments: Any) -> tuple[PlannedStep, ...]:
    """A plan that calls `tools` one after the other, each with the result of the one before."""
    return tuple(
        PlannedStep(
            node=f"n{place}",
            title=f"{tool} {place}",
            tool=tool,
            arguments=arguments or ({"text": f"{{{{n{place - 1}}}}}"} if place > 1 else {}),
        )
        for place, tool in enumerate(tools, 1)
    )


class House:
    """See the module. Every effect has a tool of its name; what they did stands in `did`."""

    def __init__(self, store: Store, folder: Path, hub_id: str = "hub-1") -> None:
        personas = folder / "personas"
        personas.mkdir(exist_ok=True)
        (personas / "tony.md").write_text(PERSONA.format(name="Tony"))
        self.store = store
        self.clock = ManualClock()
        self.bus = Bus()
        self.engine, self.planner = Engine(), Planner()
        self.did: list[tuple[str, str, str]] = []
        """(tool, text, idempotency key)"""
        self.doing: dict[str, Doing] = {}
        """what a tool does instead"""
        agents = Registry(personas, self.clock, default="tony")
        agents.refresh()
        self.orchestrator = Orchestrator(Settings(), self.clock, self.bus)
        effects: dict[str, Effect] = {
            "look": "read",
            "note": "write",
            "tell": "send",
            "pay": "spend",
            "run": "execute",
        }
        self.toolbox = Toolbox(
            store, self.clock, [self._tool(n, e) for n, e in effects.items()], no_gate
        )
        self.feed = Feed(store)
        self.heartbeat = Heartbeat(store, self.clock, hub_id)
        self.runner = Runner(
            store=store,
            clock=self.clock,
            agents=agents,
            orchestrator=self.orchestrator,
            toolbox=self.toolbox,
            planner=self.planner,  # type: ignore[arg-type]
            workspaces=folder / "workspaces",
            approval_s=3600,
        )
        self.work = Work(
            store=store,
            clock=self.clock,
            runner=self.runner,
            engine=self.engine,  # type: ignore[arg-type]
            feed=self.feed,
            hub_id=hub_id,
            keep_days=30,
        )
        self.desk = Desk(
            store=store,
            clock=self.clock,
            planner=self.planner,  # type: ignore[arg-type]
            runner=self.runner,
            work=self.work,
            feed=self.feed,
            timeout_s=1200,
        )

    def _tool(self, name: str, effect: Effect) -> Tool[Said]:
        async def run(context: ToolContext, args: Said) -> str:
            assert context.step is not None
            self.did.append((name, args.text, context.step.key))
            if name in self.doing:
                return await self.doing[name](context, args.text)
            return f"{name} did {args.text}".strip()

        return Tool(name, f"It can {name}.", Said, run, effect=effect, timeout_s=60)

    def fails(self, tool: str, why: str = "It broke.") -> None:
        async def fail(context: ToolContext, text: str) -> str:
            raise ToolFailed(why)

        self.doing[tool] = fail

    async def begin(self) -> None:
        await self.engine.start(self.work._advance)

    async def new(self, *tools: str, **more: Any) -> Task:
        """A task with a plan of `tools`."""
        self.clock.advance(0.001)
        intent = more.pop("intent", f"do {len(self.engine.queued)} {self.clock.now_ms()}")
        if tools:
            self.planner.plans.append(steps(*tools))
        new = NewTask(client_id=HOUSE, intent=intent, agent="tony", owner="ann", **more)
        return (await self.desk.create(new)).task

    async def settle(self) -> None:
        """Do all that can be done now."""
        while await self.engine.step():
            pass

    async def round(self) -> None:
        """One round of what the hub does by itself."""
        await self.work._round(self.desk.plan)

    async def see(self, task: Task) -> Task:
        return await self.desk.get(HOUSE, task.id)

    async def kinds(self, task: Task) -> list[str]:
        return [event.kind for event in await self.log(task)]

    async def log(self, task: Task) -> list[TaskEvent]:
        return await self.desk.events(HOUSE, task.id, limit=1000)

    async def yes(self, task: Task, **more: Any) -> Task:
        return await self.answer(task, True, **more)

    async def answer(self, task: Task, approved: bool, **more: Any) -> Task:
        return await self.desk.answer(
            HOUSE, task.id, approved=approved, by="ann", through="api", **more
        )

    async def close(self) -> None:
        await self.desk.close()
        await self.work.close()
        await self.feed.close()
        await self.orchestrator.close()
        await self.toolbox.close()
