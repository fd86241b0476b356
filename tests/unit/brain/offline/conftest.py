"""A small company and a way to talk to it."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from tron.brain.contract import Answering, Ask, Finish, Part, Text, ToolFragment, Used
from tron.brain.offline import OfflineBrain
from tron.conversation.turns import Message, ToolCall

HUB_TOOLS = [
    "remember",
    "recall",
    "forget",
    "share_knowledge",
    "query_knowledge",
    "knowledge_feed",
    "who_is_calling",
    "find_contact",
    "save_contact",
    "take_message",
    "current_time",
    "write_journal",
    "read_journal",
    "list_processes",
    "inspect_process",
    "web_search",
    "ask_persona",
    "delegate_task",
    "start_task",
    "list_tasks",
    "task_status",
    "pause_task",
    "resume_task",
    "cancel_task",
]


class Someone(msgspec.Struct, frozen=True):
    id: str
    name: str
    title: str
    focus: tuple[str, ...]
    tone: str


COMPANY = {
    person.id: person
    for person in (
        Someone("tony", "Tony", "CTO", ("engineering", "infrastructure"), "pragmatic, dry wit"),
        Someone("maya", "Maya", "CMO", ("marketing", "brand", "launches"), "blunt, numeric"),
        Someone("alex", "Alex", "CEO", ("strategy", "leadership"), "warm, anecdotal"),
        Someone("jordan", "Jordan", "CFO", ("finance", "runway", "budgets"), "plain English"),
        Someone("riley", "Riley", "CPO", ("product", "users"), "hypothesis-led"),
    )
}


def tool(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    """An OpenAI tool definition; without `parameters` it takes anything."""
    return {"type": "function", "function": {"name": name, "parameters": parameters or {}}}


class Reply(msgspec.Struct):
    """What came out of one stream."""

    parts: list[Part]
    text: str
    calls: list[ToolCall]
    finish: str
    used: Used

    @property
    def pieces(self) -> list[str]:
        return [part.text for part in self.parts if isinstance(part, Text)]


Say = Callable[..., Any]


async def collect(brain: OfflineBrain, ask: Ask) -> Reply:
    """The whole stream; fails if it is not of the promised form."""
    batches = [batch async for batch in brain.stream(ask)]
    assert isinstance(batches[0][0], Answering)
    parts = [part for batch in batches for part in batch]
    assert sum(isinstance(part, Finish) for part in parts) == 1
    finish, used = parts[-2], parts[-1]
    assert isinstance(finish, Finish)
    assert isinstance(used, Used)
    return Reply(
        parts=parts,
        text="".join(part.text for part in parts if isinstance(part, Text)),
        calls=[
            ToolCall(id=part.id, name=part.name, arguments=part.arguments)
            for part in parts
            if isinstance(part, ToolFragment)
        ],
        finish=finish.reason,
        used=used,
    )


@pytest.fixture
def brain() -> OfflineBrain:
    return OfflineBrain(COMPANY.get, lambda: list(COMPANY))


@pytest.fixture
def say(brain: OfflineBrain) -> Say:
    """`await say("hello", tools=(...), params={...})` → the reply."""

    async def speak(
        text: str | list[Message],
        *,
        tools: Sequence[str | dict[str, Any]] = HUB_TOOLS,
        agent: str = "tony",
        offline: str | None = None,
        spoken: bool = False,
        **params: Any,
    ) -> Reply:
        messages = [Message(role="user", content=text)] if isinstance(text, str) else text
        offered = [tool(t) if isinstance(t, str) else t for t in tools]
        ask = Ask(
            messages=messages,
            tools=offered,
            params=params,
            agent=agent,
            offline=offline,
            spoken=spoken,
        )
        return await collect(brain, ask)

    return speak


@pytest.fixture
def after(say: Say) -> Say:
    """What is said after a tool answered: `await after("what time is it", "2026-01-01T…")`."""

    async def follow(text: str, result: str, **more: Any) -> Reply:
        first = await say(text, **more)
        assert first.calls, f"{text!r} was answered without a tool: {first.text}"
        messages = [
            Message(role="user", content=text),
            Message(role="assistant", tool_calls=first.calls),
            Message(role="tool", tool_call_id=first.calls[0].id, content=result),
        ]
        reply: Reply = await say(messages, **more)
        return reply

    return follow


def arguments(call: ToolCall) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call.arguments)
    return found
