"""The small pages: `/` (the hub is alive, who lives in it, a chat box), `/talk` by voice, `/docs`.

Owns the pages' own files under `/panel/` and `GET /api/personas`, which the cards are drawn from.
The pages are built on the public API alone, load nothing from elsewhere and say so in their
Content-Security-Policy. They show nothing by themselves, so they are served in protected mode too:
the data behind them is what needs a principal.
"""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, RootModel
from quart import Blueprint, Response, send_from_directory
from werkzeug.exceptions import NotFound as NoSuchFile

from tron.agents.persona import Activity, Persona
from tron.brain.openai import OpenAIProvider
from tron.clock import iso
from tron.errors import NotFound
from tron.life.posts import read_posts
from tron.storage.tables import HOUSE
from tron.web.contract import promises

if TYPE_CHECKING:
    from tron.hub import Hub

PANEL = Path(__file__).parent / "panel"

POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

OWN_LIFE = get_args(Activity)
"""what may be shown of a journal: never what callers left or asked to have noted"""

LONGEST_LINE = 400


class LatestLine(BaseModel):
    """The last thing a persona wrote; `kind` is the activity it came from."""

    kind: str
    text: str
    at: str


class PersonaCard(BaseModel):
    """Who one persona is and what it does now."""

    id: str
    name: str
    title: str
    focus: list[str]
    tone: str
    emoji: str
    model: str
    """what answers for it now: a model, or `offline brain`"""
    active: bool
    """whether runs of its own schedule are planned on this hub"""
    latest: LatestLine | None


class PersonaCards(RootModel[list[PersonaCard]]):
    """Everyone, in order."""


def routes(hub: "Hub") -> Blueprint:
    """`/`, `/talk`, `/docs`, `/panel/<file>` and `GET /api/personas`."""
    page = Blueprint("page", __name__)

    @page.get("/")
    @promises("public")
    async def index() -> Response:
        """A page that shows the hub is alive, with a chat box."""
        return await _file("index.html")

    @page.get("/talk")
    @promises("public")
    async def talk() -> Response:
        """A page to talk with a persona by voice."""
        return await _file("talk.html")

    @page.get("/docs")
    @promises("public")
    async def reference() -> Response:
        """A page that shows what `/openapi.json` describes."""
        return await _file("reference.html")

    @page.get("/panel/<path:name>")
    @promises("public", fails=(404,))
    async def file(name: str) -> Response:
        """A file of those pages."""
        return await _file(name)

    @page.get("/api/personas")
    @promises("read", gives=PersonaCards, group="operators")
    async def personas() -> list[dict[str, object]]:
        """Who lives here, and the last thing each wrote."""
        active = {persona.id for persona in hub.life.active()}
        return [
            (await _card(hub, persona, active=persona.id in active)).model_dump()
            for persona in hub.agents.personas
        ]

    return page


async def _card(hub: "Hub", persona: Persona, *, active: bool) -> PersonaCard:
    return PersonaCard(
        id=persona.id,
        name=persona.name,
        title=persona.title,
        focus=list(persona.focus),
        tone=persona.tone,
        emoji=persona.emoji,
        model=_model(hub, persona),
        active=active,
        latest=await _latest(hub, persona.id),
    )


async def _latest(hub: "Hub", agent: str) -> LatestLine | None:
    """Its newest post or journal line."""
    posts = await read_posts(hub.store, HOUSE, agent=agent, limit=1)
    entries = await hub.journal.entries(HOUSE, agent=agent, kinds=OWN_LIFE, limit=1)
    lines = [(post.created_at, "post", post.text) for post in posts]
    lines += [(entry.created_at, entry.kind, entry.text) for entry in entries]
    if not lines:
        return None
    at, kind, text = max(lines)
    return LatestLine(kind=kind, text=text[:LONGEST_LINE], at=iso(at))


def _model(hub: "Hub", persona: Persona) -> str:
    """What would answer for `persona` now: the first provider that is not resting."""
    for place, guarded in enumerate(hub.brain.providers):
        if guarded.breaker.state == "open":
            continue
        provider = guarded.provider
        if isinstance(provider, OpenAIProvider):
            return (persona.model if place == 0 else None) or provider.model
        return f"{provider.name} brain"
    return "none: every provider is resting"


async def _file(name: str) -> Response:
    try:
        response = await send_from_directory(PANEL, name, cache_timeout=0)
    except NoSuchFile:
        raise NotFound("There is no such file.") from None
    # An upgrade of the hub must reach the page at once; the ETag makes asking cheap.
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
