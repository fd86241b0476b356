"""`/internal`: for programs on this machine (Caddy, project servers, an operator's shell).

The shipped Caddyfile does not forward these; the guard also refuses whatever came through a
proxy without the owner's token.
"""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, RootModel
from quart import Blueprint

from tron.errors import Forbidden, Invalid
from tron.life.life import ACTIVITIES
from tron.web.contract import PRINTABLE, ErrorAnswer, Ok, promises
from tron.web.security import principal

if TYPE_CHECKING:
    from tron.hub import Hub


class Trigger(BaseModel):
    """Which activity, and whose; nobody named: everybody's."""

    activity: str | None = None
    persona: str | None = None


class Triggered(BaseModel):
    """What was really done: `persona` and `result`, or `results` of everybody."""

    activity: str
    persona: str | None = None
    result: str | None = None
    results: dict[str, str] | None = None


class ActivityMissing(BaseModel):
    """How to ask."""

    error: str
    activities: list[str]
    personas: list[str]
    examples: list[str]


class NotTriggered(RootModel[ActivityMissing | ErrorAnswer]):
    """No activity was named, or one that there is not."""


class Domain(BaseModel):
    """The name a certificate is wanted for."""

    domain: str | None = None


class Allocated(BaseModel):
    """A registered project server; the control API writes these two names so."""

    Subdomain: str
    Port: int
    URL: str


class AllocationsAnswer(BaseModel):
    """Every registered project server."""

    allocations: list[Allocated]
    count: int


class Registration(BaseModel):
    """A project server to be reached under the base domain."""

    project: str = Field(min_length=1, max_length=200, pattern=PRINTABLE)
    port: int = Field(strict=True)
    subdomain: str | None = Field(None, max_length=63)


class Registered(BaseModel):
    """Where it can be reached."""

    success: bool
    url: str


class Cleared(BaseModel):
    """How many sessions ended."""

    success: bool
    cleared: int
    message: str


def routes(hub: "Hub") -> Blueprint:
    bp = Blueprint("internal", __name__)
    _add_life(bp, hub)
    _add_subdomains(bp, hub)

    @bp.post("/internal/sessions/clear")
    @promises("internal", gives=Cleared)
    async def clear() -> dict[str, Any]:
        """End every session and the processes serving them; transcripts are kept."""
        cleared = await hub.sessions.clear(principal().client_id)
        return {"success": True, "cleared": cleared, "message": f"Cleared {cleared} sessions."}

    return bp


def _add_life(bp: Blueprint, hub: "Hub") -> None:
    @bp.route("/internal/life/trigger", methods=["GET", "POST"])
    @promises(
        "internal",
        gives=Triggered,
        query=Trigger,
        also_gives={400: NotTriggered},
        fails=(404,),
    )
    async def trigger(query: Trigger) -> Any:
        """Run a life activity now and say what it did."""
        if not query.activity:
            return _how_to_ask([persona.name for persona in hub.agents.personas]), 400
        results = await hub.life.trigger(query.activity, query.persona or None)
        if not query.persona:
            return {"activity": query.activity, "results": results}
        [(name, result)] = results.items()
        return {"persona": name, "activity": query.activity, "result": result}


def _how_to_ask(personas: list[str]) -> dict[str, Any]:
    first = personas[0] if personas else "Tony"
    return {
        "error": "Missing 'activity' query parameter",
        "activities": list(ACTIVITIES),
        "personas": personas,
        "examples": [
            f"/internal/life/trigger?activity=post&persona={first}",
            "/internal/life/trigger?activity=post (triggers all personas)",
        ],
    }


def _add_subdomains(bp: Blueprint, hub: "Hub") -> None:
    @bp.get("/internal/caddy-ask")
    @promises("internal", query=Domain, gives=Ok)
    async def caddy_ask(query: Domain) -> dict[str, Any]:
        """Whether Caddy may obtain a certificate for a name: 200 if it may."""
        if not query.domain:
            raise Invalid("Which domain?", param="domain", code="missing")
        if not await hub.subdomains.is_ours(query.domain):
            raise Forbidden("No project server is registered under that name.", param="domain")
        return {"ok": True}

    @bp.get("/internal/subdomains")
    @promises("internal", gives=AllocationsAnswer)
    async def allocations() -> dict[str, Any]:
        """The registered project servers."""
        found = [
            {"Subdomain": a.label, "Port": a.port, "URL": a.url}
            for a in await hub.subdomains.list(principal().client_id)
        ]
        return {"allocations": found, "count": len(found)}

    @bp.post("/internal/subdomains/register")
    @promises("admin", body=Registration, gives=Registered, fails=(409,))
    async def register(data: Registration) -> dict[str, Any]:
        """Give a project's server a subdomain; again for the same project: the same one."""
        given = await hub.subdomains.register(
            data.project, data.port, data.subdomain, principal().client_id
        )
        return {"success": True, "url": given.url}

    @bp.delete("/internal/subdomains/<label>")
    @promises("admin", gives=Ok, fails=(404,))
    async def release(label: str) -> dict[str, Any]:
        """Take a project server's subdomain away."""
        await hub.subdomains.release(label, principal().client_id)
        return {"ok": True}
