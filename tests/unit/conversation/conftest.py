"""Whole hubs without a server: the real door, sessions and orchestrator on a real store, thinking
with a scripted provider."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tests.harness.stand_ins import Nothing, no_gate
from tron.agents.registry import Registry
from tron.brain.brain import Brain
from tron.brain.contract import Answering, Ask, Finish, Part, Parts, Text, ToolFragment, Used
from tron.clock import ManualClock
from tron.conversation.delegation import Delegations
from tron.conversation.door import Door
from tron.conversation.reply import Reply
from tron.conversation.session import Session
from tron.conversation.sessions import Sessions
from tron.conversation.summary import Summaries
from tron.conversation.thinking import Thinking
from tron.conversation.transcript import Entry
from tron.conversation.turns import Caller, Message, TurnEvent, TurnInput, Usage
from tron.events import Bus, Event
from tron.heartbeat import Heartbeat
from tron.life.journal import Journal
from tron.memory.briefing import Briefing
from tron.memory.contacts import Contacts
from tron.memory.knowledge import Knowledge
from tron.memory.memory import Memory
from tron.metrics import Metrics
from tron.orchestrator.orchestrator import Orchestrator
from tron.settings import Settings
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.tools.contract import Tool
from tron.tools.toolbox import Toolbox

PERSONA = """---
name: {name}
title: Chief
focus: [work]
tone: plain
---
You are {name}.
"""

Answer = str | Exception | list[Part] | Callable[[Ask], Awaitable[list[Part]]]


def calls(*wanted: tuple[str, str], text: str = "") -> list[Part]:
    """An answer that calls tools: (name, arguments)."""
    fragments = [
        ToolFragment(index=place, id=f"call_{name}_{place}", name=name, arguments=arguments)
        for place, (name, arguments) in enumerate(wanted)
    ]
    return [*([Text(text)] if text else []), *fragments, Finish("tool_calls")]


class Script:
    """A provider that says what a test wrote down, then echoes what was said last."""

    name = "script"

    def __init__(self) -> None:
        self.asked: list[Ask] = []
        self.answers: deque[Answer] = deque()
        self.usage: Usage | None = None
        self.hold: asyncio.Event | None = None
        """set: every answer waits for it after its first word"""
        self.fault: Exception | None = None
        """raised after the first word"""
        self.closed = 0
        """streams that were closed before their end"""

    async def stream(self, ask: Ask) -> Parts:
        self.asked.append(ask)
        answer = self.answers.popleft() if self.answers else f"re: {ask.messages[-1].content}"
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = await answer(ask)
        parts: Iterable[Part] = (
            [Text(word + " ") for word in answer.split()] if isinstance(answer, str) else answer
        )
        head: list[Part] = [Answering(provider=self.name, model="gpt-4.1-mini")]
        ended = False
        try:
            for part in parts:
                yield [*head, part]
                head = []
                if self.hold is not None:
                    await self.hold.wait()
                if self.fault is not None:
                    raise self.fault
            end: list[Part] = [Used(usage=self.usage)] if self.usage else []
            yield [*head, *end]
            ended = True
        finally:
            self.closed += not ended

    async def close(self) -> None:
        pass


class Office:
    """One hub's parts, as `open_hub` puts them together."""

    def __init__(self, store: Store, personas: Path, hub_id: str = "hub-1", **settings: Any):
        self.settings = Settings(**{"provider_retries": 0, **settings})
        self.store = store
        self.clock = ManualClock()
        self.bus = Bus()
        self.events: list[Event] = []
        self.bus.add(self.events.append)
        self.script = Script()
        self.agents = Registry(personas, self.clock, default="tony")
        self.agents.refresh()
        self.brain = Brain([self.script], settings=self.settings, clock=self.clock, bus=self.bus)
        self.orchestrator = Orchestrator(self.settings, self.clock, self.bus)
        self.heartbeat = Heartbeat(store, self.clock, hub_id)
        self.delegations = Delegations(
            store=store, clock=self.clock, agents=self.agents, hub_id=hub_id, ask=self._ask
        )
        self.tools: list[Tool[Any]] = self.delegations.tools()
        self.toolbox = Toolbox(store, self.clock, self.tools, no_gate)
        self.thinking = Thinking(
            brain=self.brain,
            toolbox=self.toolbox,
            clock=self.clock,
            metrics=Metrics(self.bus),
            tool_rounds=self.settings.tool_rounds,
        )
        self.sessions = Sessions(
            store=store, clock=self.clock, bus=self.bus, expire_s=self.settings.session_expire_s
        )
        self.memory, contacts = Memory(store, self.clock), Contacts(store, self.clock)
        knowledge, journal = Knowledge(store, self.clock), Journal(store, self.clock)
        self.door = Door(
            settings=self.settings,
            clock=self.clock,
            bus=self.bus,
            agents=self.agents,
            orchestrator=self.orchestrator,
            sessions=self.sessions,
            thinking=self.thinking,
            briefing=Briefing(self.memory, contacts, knowledge, journal, self.clock),
            summaries=Summaries(
                context_tokens=self.settings.context_tokens,
                agents=self.agents,
                orchestrator=self.orchestrator,
                sessions=self.sessions,
                thinking=self.thinking,
            ),
            delegations=self.delegations,
            aside=Nothing(),
        )

    async def _ask(self, turn: TurnInput) -> Reply:
        return await self.door.ask(turn)

    def with_tools(self, *tools: Tool[Any]) -> None:
        """Give the personas these tools besides the ones they have."""
        self.tools = [*self.tools, *tools]
        self.toolbox = Toolbox(self.store, self.clock, self.tools, no_gate)
        self.thinking._toolbox = self.toolbox

    async def close(self) -> None:
        await self.delegations.close()
        await self.door.close()
        await self.orchestrator.close()
        await self.sessions.close()
        await self.thinking.close()
        await self.toolbox.close()

    # What a test says and sees

    async def say(self, *messages: str | Message, **turn: Any) -> Reply:
        """A whole turn; texts alternate backwards from the user's last one."""
        return await self.door.ask(self.turn(*messages, **turn))

    def turn(self, *messages: str | Message, caller: str | None = "ann", **more: Any) -> TurnInput:
        self.clock.advance(0.001)
        who = Caller(
            id=caller or f"anonymous-{self.clock.now_ns()}",
            known=caller is not None,
            call_id=more.pop("call_id", None),
        )
        return TurnInput(caller=who, channel="openai", messages=talk(*messages), **more)

    async def entries(self, key: str, client_id: str = HOUSE) -> list[Entry]:
        """What the store holds of a session."""
        return (await self.sessions.detail(client_id, key))[1]

    async def said(self, key: str) -> list[str]:
        """The stored transcript, as `role: text`."""
        return [
            f"{entry.message.role}: {entry.message.content.strip()}"
            for entry in await self.entries(key)
        ]

    def live(self, key: str) -> Session:
        return next(session for session in self.sessions.live if session.key == key)

    def waiting(self, key: str) -> int:
        """How many turns wait for the floor of a session."""
        process = self.live(key).process
        return len(process._mailbox) if process is not None else 0

    def read(self, place: int = -1) -> list[str]:
        """What the model was given, without its system prompt."""
        return [f"{m.role}: {m.content.strip()}" for m in self.script.asked[place].messages[1:]]

    async def watch(self, turn: TurnInput, into: list[TurnEvent]) -> None:
        """Read a turn as a stream."""
        async with aclosing(self.door.converse(turn)) as batches:
            async for batch in batches:
                into.extend(batch)


def talk(*messages: str | Message) -> list[Message]:
    """Texts as a conversation: the last is the user's, the one before the assistant's, …"""
    return [
        text
        if isinstance(text, Message)
        else Message(role="assistant" if (len(messages) - place) % 2 == 0 else "user", content=text)
        for place, text in enumerate(messages)
    ]


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


@pytest.fixture
def personas(tmp_path: Path) -> Path:
    folder = tmp_path / "personas"
    folder.mkdir()
    for name in ("Tony", "Maya", "Alex"):
        (folder / f"{name.lower()}.md").write_text(PERSONA.format(name=name))
    return folder


@pytest.fixture
async def open_office(store: Store, personas: Path) -> AsyncIterator[Callable[..., Office]]:
    """Opens hubs on one database: `open_office("hub-2", mailbox_size=1)`."""
    opened: list[Office] = []

    def make(hub_id: str = "hub-1", **settings: Any) -> Office:
        opened.append(Office(store, personas, hub_id, **settings))
        return opened[-1]

    yield make
    for office in opened:
        await office.close()


@pytest.fixture
def office(open_office: Callable[..., Office]) -> Office:
    return open_office()
