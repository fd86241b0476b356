"""Routes for conversations: list, read, open, export, delete, and say something in one.

Tron's caller sessions and ClawFT's sessions are the same thing, so every item carries the fields
of both documents.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint
from sqlalchemy import Row

from tron.clock import iso
from tron.conversation.thinking import ToolRecord
from tron.conversation.transcript import Entry
from tron.conversation.turns import Caller, Message, ToolCall, TurnInput
from tron.errors import NotFound
from tron.web.contract import Ok, promises
from tron.web.security import principal

if TYPE_CHECKING:
    from tron.hub import Hub


class SessionSummary(BaseModel):
    """A conversation in a list."""

    key: str
    agent_id: str
    message_count: int
    updated_at: str
    caller_id: str = Field(description="telephone number, `req-…`, `anonymous-…`, …")
    process_id: str = Field(description="the latest process that served it")
    agent: str = Field(description="display name of the agent")
    status: str = Field(description="status of that process")
    channel: str


class ToolCallInfo(BaseModel):
    """A tool the agent used; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str
    result: str | None = None


class ChatMessage(BaseModel):
    """One message of a conversation."""

    role: str
    content: str
    timestamp: str
    tool_calls: list[ToolCallInfo] = []


class SessionDetail(SessionSummary):
    """A conversation with all its messages."""

    messages: list[ChatMessage]


class Export(BaseModel):
    """The messages alone."""

    messages: list[ChatMessage]


class NewSession(BaseModel):
    """Which agent to talk to; without one, the default."""

    model_config = ConfigDict(extra="ignore")

    agent_id: str | None = Field(default=None, max_length=200)


class NewMessage(BaseModel):
    """What to say."""

    model_config = ConfigDict(extra="ignore")

    content: str = Field(min_length=1, max_length=1_000_000)


def routes(hub: "Hub") -> Blueprint:
    """The conversations of one hub."""
    blueprint = Blueprint("sessions", __name__)

    @blueprint.get("/api/sessions")
    @promises("read", gives=list[SessionSummary])
    async def sessions() -> Any:
        """Conversations that have not ended, the latest first."""
        rows = await hub.sessions.listing(principal().client_id)
        return [_summary(hub, row).model_dump() for row in rows]

    @blueprint.post("/api/sessions")
    @promises("chat", gives=SessionSummary, body=NewSession, fails=(404,))
    async def create(data: NewSession) -> Any:
        """Open an empty conversation."""
        persona = hub.agents.get(data.agent_id or hub.settings.default_agent)
        if persona is None:
            raise NotFound(f"There is no agent {data.agent_id!r}.", param="agent_id")
        turn = TurnInput(
            caller=Caller(id=f"web-{hub.clock.now_ns()}", known=True),
            channel="web",
            messages=[],
            client_id=principal().client_id,
        )
        session = await hub.sessions.create(turn, persona.id)
        hub.sessions.release(session)  # until somebody speaks, the store's copy is enough
        row, _ = await hub.sessions.detail(principal().client_id, session.key)
        return _summary(hub, row)

    @blueprint.get("/api/sessions/<key>")
    @promises("read", gives=SessionDetail, fails=(404,))
    async def detail(key: str) -> Any:
        """A conversation with its messages."""
        row, entries = await hub.sessions.detail(principal().client_id, key)
        return SessionDetail(
            **_summary(hub, row).model_dump(), messages=[_message(entry) for entry in entries]
        )

    @blueprint.get("/api/sessions/<key>/export")
    @promises("read", gives=Export, fails=(404,))
    async def export(key: str) -> Any:
        """The messages of a conversation, to keep."""
        _, entries = await hub.sessions.detail(principal().client_id, key)
        return Export(messages=[_message(entry) for entry in entries])

    @blueprint.delete("/api/sessions/<key>")
    @promises("write", gives=Ok, fails=(404,))
    async def delete(key: str) -> Any:
        """Delete a conversation; an answer that is being given in it is stopped."""
        await hub.sessions.detail(principal().client_id, key)
        # A caller who gives up waiting must not leave it half deleted.
        await asyncio.shield(
            hub.background.start(hub.door.end(principal().client_id, key), "delete session")
        )
        return Ok()

    @blueprint.post("/api/sessions/<key>/messages")
    @promises("chat", gives=ChatMessage, body=NewMessage, fails=(404, 409, 429, 502, 504))
    async def say(key: str, data: NewMessage) -> Any:
        """Say something and get the agent's answer."""
        row, _ = await hub.sessions.detail(principal().client_id, key)
        reply = await hub.door.ask(
            TurnInput(
                caller=Caller(id=row.caller, known=True),
                channel=row.channel,
                session=key,
                client_id=principal().client_id,
                messages=[Message(role="user", content=data.content)],
            )
        )
        return ChatMessage(
            role="assistant",
            content=reply.text,
            timestamp=iso(hub.clock.now_ms()),
            tool_calls=_tool_calls(reply.tools, reply.calls),
        )

    return blueprint


def _summary(hub: "Hub", row: Row[Any]) -> SessionSummary:
    persona = hub.agents.get(row.agent)
    process = hub.orchestrator.get(row.process_id)
    return SessionSummary(
        key=row.key,
        agent_id=row.agent,
        message_count=row.message_count,
        updated_at=iso(row.updated_at),
        caller_id=row.caller,
        process_id=row.process_id,
        agent=persona.name if persona else row.agent,
        # A session whose process was reaped is at rest: the next message revives it.
        status=process.status if process else ("completed" if row.process_id else "pending"),
        channel=row.channel,
    )


def _message(entry: Entry) -> ChatMessage:
    message = entry.message
    return ChatMessage(
        role=message.role,
        content=message.content,
        timestamp=iso(entry.created_at),
        tool_calls=_tool_calls(entry.tools, message.tool_calls),
    )


def _tool_calls(used: list[ToolRecord], asked: list[ToolCall] | None) -> list[ToolCallInfo]:
    """The hub's tools with their results, then the caller's own, which have none here."""
    return [
        *(ToolCallInfo(id=r.id, name=r.name, arguments=r.arguments, result=r.result) for r in used),
        *(ToolCallInfo(id=c.id, name=c.name, arguments=c.arguments) for c in asked or ()),
    ]
