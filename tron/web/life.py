"""`/api/life`: what the personas wrote, read and want. Reads only."""

from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel, Field, RootModel
from quart import Blueprint

from tron.clock import iso
from tron.errors import Invalid
from tron.life.posts import read_posts
from tron.web.contract import promises
from tron.web.security import principal

if TYPE_CHECKING:
    from tron.hub import Hub


class Reading(BaseModel):
    """Whose, and how many at most."""

    persona: str | None = Field(None, max_length=64)
    limit: int = Field(50, ge=1, le=200)


class Delivered(BaseModel):
    """Where else a post went."""

    to: str
    ok: bool
    error: str | None


class Post(BaseModel):
    """Something a persona published."""

    id: int
    agent: str
    text: str
    article_url: str | None
    delivered: list[Delivered]
    created_at: str


class JournalLine(BaseModel):
    """Something a persona wrote down; `kind` is the activity it came from, or `note`."""

    id: int
    agent: str
    kind: str
    text: str
    created_at: str


class Goal(BaseModel):
    """What a persona works towards; `progress` in percent."""

    id: int
    agent: str
    title: str
    progress: int
    status: str
    note: str
    created_at: str
    updated_at: str


class Article(BaseModel):
    """Something a persona read, and its take on it."""

    id: int
    agent: str
    url: str
    title: str
    source: str
    score: float
    take: str
    read_at: str


class Posts(RootModel[list[Post]]):
    """Newest first."""


class JournalLines(RootModel[list[JournalLine]]):
    """Newest first."""


class Goals(RootModel[list[Goal]]):
    """Everyone's goals."""


class Articles(RootModel[list[Article]]):
    """Newest first."""


def routes(hub: "Hub") -> Blueprint:
    bp = Blueprint("life", __name__)

    def agent_of(query: Reading) -> str | None:
        if query.persona is None:
            return None
        persona = hub.agents.get(query.persona)
        if persona is None:
            raise Invalid("There is no such persona.", param="persona")
        return persona.id

    @bp.get("/api/life/posts")
    @promises("read", gives=Posts, query=Reading)
    async def posts(query: Reading) -> list[dict[str, Any]]:
        """What the personas published."""
        client_id, agent = principal().client_id, agent_of(query)
        found = await read_posts(hub.store, client_id, agent=agent, limit=query.limit)
        return _shown(found)

    @bp.get("/api/life/journal")
    @promises("read", gives=JournalLines, query=Reading)
    async def journal(query: Reading) -> list[dict[str, Any]]:
        """What the personas wrote down."""
        client_id, agent = principal().client_id, agent_of(query)
        return _shown(await hub.journal.entries(client_id, agent=agent, limit=query.limit))

    @bp.get("/api/life/goals")
    @promises("read", gives=Goals, query=Reading)
    async def goals(query: Reading) -> list[dict[str, Any]]:
        """What the personas work towards."""
        client_id, agent = principal().client_id, agent_of(query)
        return _shown(await hub.life.goals(client_id, agent=agent))[: query.limit]

    @bp.get("/api/life/articles")
    @promises("read", gives=Articles, query=Reading)
    async def articles(query: Reading) -> list[dict[str, Any]]:
        """What the personas read."""
        client_id, agent = principal().client_id, agent_of(query)
        return _shown(await hub.life.articles(client_id, agent=agent, limit=query.limit))

    return bp


def _shown(structs: Any) -> list[dict[str, Any]]:
    """The structs as JSON objects, their times (`…_at`, in ms) as ISO 8601."""
    rows: list[dict[str, Any]] = msgspec.to_builtins(structs)
    for row in rows:
        for key, value in row.items():
            if key.endswith("_at") and value is not None:
                row[key] = iso(value)
    return rows
