"""A hub's tools around a store, without the hub."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.harness.stand_ins import no_gate
from tron.agents.registry import Registry
from tron.clock import ManualClock
from tron.conversation.turns import ToolCall
from tron.events import Bus
from tron.life.journal import Journal
from tron.memory.contacts import Contacts
from tron.memory.knowledge import Knowledge
from tron.memory.memory import Memory
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process
from tron.settings import Settings
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.tools.contract import Tool, ToolContext
from tron.tools.standard import standard_tools
from tron.tools.toolbox import Toolbox

FRIDAY_MS = 1_795_164_060_000
"""20 November 2026, 08:41 in UTC"""

PERSONA = """---
name: {name}
title: {title}
focus: [work]
tone: plain
timezone: {timezone}
---
You are {name}.
"""


class Office:
    """The tools, with everything they work on."""

    def __init__(self, store: Store, personas: Path) -> None:
        self.store = store
        self.clock = ManualClock(FRIDAY_MS)
        self.memory = Memory(store, self.clock)
        self.contacts = Contacts(store, self.clock)
        self.knowledge = Knowledge(store, self.clock)
        self.journal = Journal(store, self.clock)
        self.orchestrator = Orchestrator(Settings(), self.clock, Bus())
        self.agents = Registry(personas, self.clock, default="tony")
        self.agents.refresh()
        self.toolbox = Toolbox(store, self.clock, self.tools(), no_gate)

    def tools(self, url: str = "http://127.0.0.1:9", key: str = "") -> list[Tool[Any]]:
        return standard_tools(
            memory=self.memory,
            knowledge=self.knowledge,
            contacts=self.contacts,
            journal=self.journal,
            agents=self.agents,
            orchestrator=self.orchestrator,
            clock=self.clock,
            web_search_url=url,
            web_search_key=key,
        )

    def spawn(
        self,
        agent: str = "tony",
        *,
        task: str = "",
        parent: Process | None = None,
        client: str = HOUSE,
    ) -> Process:
        async def idle(process: Process) -> None:
            await process.receive(3_600)

        return self.orchestrator.spawn(agent, idle, task=task, parent=parent, client_id=client)

    def context(
        self,
        caller: str = "+14155551234",
        *,
        process: Process | None = None,
        name: str = "",
    ) -> ToolContext:
        process = process or self.spawn()
        return ToolContext(
            client_id=process.client_id,
            process=process,
            session="s1",
            caller=caller,
            caller_name=name,
        )

    async def use(
        self, tool: str, context: ToolContext | None = None, **arguments: object
    ) -> tuple[str, bool]:
        """Call a tool as a model would."""
        given = msgspec.json.encode(arguments).decode()
        call = ToolCall(id="call_1", name=tool, arguments=given)
        return await self.toolbox.run(context or self.context(), call)


@pytest.fixture
async def office(store: Store, tmp_path: Path) -> AsyncIterator[Office]:
    for name, title, timezone in (
        ("Tony", "CTO", "Europe/Berlin"),
        ("Maya", "CMO", "America/New_York"),
    ):
        text = PERSONA.format(name=name, title=title, timezone=timezone)
        (tmp_path / f"{name.lower()}.md").write_text(text)
    office = Office(store, tmp_path)
    yield office
    await office.toolbox.close()
    await office.orchestrator.close()
