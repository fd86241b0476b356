"""Routes for conversations: list, read, open, export, delete, and say something in one.

A caller's session and a conversation an operator opens are the same thing, so every item carries
what clients of either read: caller, process and its status; key, number of messages, latest change.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint
from sqlalchemy import Row

from tron.clock import iso
from tron.conversation.thinking import ToolRecord
from tron.conversation.transcript import Entry
from tron.conversation.turns import Caller, Message, ToolCall, TurnInput
from tron.errors import Invalid
from tron.web.contract import Ok, promises
from tron.web.security import principal

if TYPE_CHECKING:
    from tron.hub import Hub

CURSOR = re.compile(r"([0-9]{1,15})-([^\x00-\x20]+)")


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


class Page(BaseModel):
    """How many at most, and behind which."""

    limit: int = Field(200, ge=1, le=200)
    cursor: str | None = Field(None, max_length=1000)


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
    @promises("read", gives=list[SessionSummary], query=Page)
    async def sessions(query: Page) -> Any:
        """Conversations that have not ended, the latest first, a page at a time.

        `X-Total-Count` says how many there are in all. While there are more, `X-Next-Cursor` is
        what to send as `cursor` for the next page.
        """
        client_id = principal().client_id
        rows = await hub.sessions.listing(client_id, query.limit + 1, _place(query.cursor))
        page = rows[: query.limit]
        headers = {"X-Total-Count": str(await hub.sessions.count(client_id))}
        if len(rows) > len(page):
            headers["X-Next-Cursor"] = f"{page[-1].updated_at}-{quote(page[-1].key, safe='')}"
        return [summary.model_dump() for summary in await _summaries(hub, page)], 200, headers

    @blueprint.post("/api/sessions")
    @promises("chat", gives=SessionSummary, body=NewSession, fails=(404,))
    async def create(data: NewSession) -> Any:
        """Open an empty conversation."""
        persona = hub.agents.wanted(data.agent_id, param="agent_id")
        turn = TurnInput(
            caller=Caller(id=f"web-{hub.clock.now_ns()}", known=True),
            channel="web",
            messages=[],
            client_id=principal().client_id,
        )
        session = await hub.sessions.create(turn, persona.id)
        hub.sessions.release(session)  # until somebody speaks, the store's copy is enough
        row, _ = await hub.sessions.detail(principal().client_id, session.key)
        return (await _summaries(hub, [row]))[0]

    @blueprint.get("/api/sessions/<key>")
    @promises("read", gives=SessionDetail, fails=(404,))
    async def detail(key: str) -> Any:
        """A conversation with its messages."""
        row, entries = await hub.sessions.detail(principal().client_id, key)
        [summary] = await _summaries(hub, [row])
        return SessionDetail(
            **summary.model_dump(), messages=[_message(entry) for entry in entries]
        )

    @blueprint.get("/api/sessions/<key>/export")
    @promises("read", gives=Export, fails=(404,))
    async def export(key: str) -> Any:
        """The messages of a conversation, to keep."""
        _, entries = await hub.sessions.detail(principal().client_id, key)
        return Export(messages=[_message(entry) for entry in entries])

    @blueprint.post("/api/sessions/<key>/end")
    @promises("write", gives=Ok, fails=(404,))
    async def end(key: str) -> Any:
        """End a conversation and keep its messages; it is not listed until somebody speaks again.

        An answer that is being given is finished. Ending one that has ended changes nothing.
        """
        if not await hub.sessions.end(principal().client_id, key):
            await hub.sessions.detail(principal().client_id, key)  # or there is none
        return Ok()

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


def _place(cursor: str | None) -> tuple[int, str] | None:
    """(time, key) of the session that a cursor names. Raises Invalid."""
    if cursor is None:
        return None
    found = CURSOR.fullmatch(cursor)
    if found is None:
        raise Invalid("The cursor is none that this route gave.", param="cursor")
    return int(found[1]), unquote(found[2])


async def _summaries(hub: "Hub", rows: Sequence[Row[Any]]) -> list[SessionSummary]:
    """The rows as they are shown, each with the status of the process that last spoke in it."""
    gone = {row.process_id for row in rows if not hub.orchestrator.get(row.process_id)} - {""}
    recorded = await hub.history.statuses(principal().client_id, gone)
    return [_summary(hub, row, recorded) for row in rows]


def _summary(hub: "Hub", row: Row[Any], recorded: dict[str, str]) -> SessionSummary:
    process = hub.orchestrator.get(row.process_id)
    if process is not None:
        status: str = process.status
    elif row.process_id:  # where there is no record of it any more, it was long ago
        status = recorded.get(row.process_id, "completed")
    else:
        status = "pending"
    return SessionSummary(
        key=row.key,
        agent_id=row.agent,
        message_count=row.message_count,
        updated_at=iso(row.updated_at),
        caller_id=row.caller,
        process_id=row.process_id,
        agent=hub.agents.name_of(row.agent),
        status=status,
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
