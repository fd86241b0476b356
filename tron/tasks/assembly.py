"""Where the parts of tasks are put together, in the order in which they need each other.

Called by `open_hub`, which has everything they stand on; nothing here does anything by itself
before `start`.
"""

from dataclasses import dataclass

from tron.agents.registry import Registry
from tron.clock import Clock
from tron.conversation.thinking import Thinking
from tron.memory.contacts import Contacts
from tron.orchestrator.orchestrator import Orchestrator
from tron.settings import Settings
from tron.storage.store import Store
from tron.tasks.commands import Commands
from tron.tasks.desk import Desk
from tron.tasks.engine import Engine
from tron.tasks.feed import Feed
from tron.tasks.planner import Planner
from tron.tasks.running import Runner
from tron.tasks.talk import Talk
from tron.tasks.told import Told
from tron.tasks.work import Work
from tron.tasks.working_out import working_out
from tron.tools.standard import task_tools
from tron.tools.tasking import tasking
from tron.tools.toolbox import Toolbox


@dataclass(frozen=True)
class TaskParts:
    """What the rest of the hub uses of it."""

    desk: Desk
    talk: Talk
    told: Told
    work: Work
    feed: Feed

    async def close(self) -> None:
        await self.desk.close()
        await self.work.close()
        await self.feed.close()


def task_parts(
    *,
    settings: Settings,
    store: Store,
    clock: Clock,
    agents: Registry,
    orchestrator: Orchestrator,
    toolbox: Toolbox,
    thinking: Thinking,
    contacts: Contacts,
    hub_id: str,
) -> TaskParts:
    """The parts of one hub; what personas need for tasks is added to `toolbox`."""
    told = Told(store, clock)
    feed = Feed(store)
    planner = Planner(
        agents=agents,
        orchestrator=orchestrator,
        thinking=thinking,
        toolbox=toolbox,
        contacts=contacts,
        clock=clock,
        model_configured=settings.has_model,
    )
    runner = Runner(
        store=store,
        clock=clock,
        agents=agents,
        orchestrator=orchestrator,
        toolbox=toolbox,
        planner=planner,
        workspaces=settings.home / "workspaces",
        approval_s=settings.approval_timeout_s,
    )
    engine = Engine(
        url=settings.queue_url,
        hub_id=hub_id,
        at_once=settings.tasks_at_once,
        per_client=settings.tasks_per_client,
    )
    work = Work(
        store=store,
        clock=clock,
        runner=runner,
        engine=engine,
        feed=feed,
        hub_id=hub_id,
        keep_days=settings.history_days,
    )
    desk = Desk(
        store=store,
        clock=clock,
        planner=planner,
        runner=runner,
        work=work,
        feed=feed,
        timeout_s=settings.task_timeout_s,
    )
    toolbox.add(
        [
            *task_tools(
                store=store,
                agents=agents,
                clock=clock,
                commands=Commands(settings.task_commands),
                fetch_hosts=settings.fetch_hosts,
            ),
            *working_out(thinking, toolbox, agents, clock),
            *tasking(lambda: desk, told),
        ]
    )
    return TaskParts(desk, Talk(desk=desk, told=told), told, work, feed)
