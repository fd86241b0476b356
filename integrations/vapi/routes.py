"""The routes VAPI calls, and those that operators call about VAPI's calls.

`POST /vapi/events` proves each request first, then answers the types that VAPI waits for and
takes note of the others; a type nobody here knows is counted and answered with 200. What must not
be lost is stored before it is acknowledged, so that VAPI tries again if it could not be.
"""

from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from pydantic import BaseModel, Field
from quart import Blueprint, Response, request

from integrations.vapi import voice, wire
from integrations.vapi.ledger import LISTED, Call
from integrations.vapi.proof import SET_UP
from integrations.vapi.wire import Report
from tron.clock import iso, iso_or_none
from tron.errors import NotConfigured
from tron.web.contract import PRINTABLE, promises
from tron.web.security import arrival, principal

if TYPE_CHECKING:
    from integrations.vapi import Vapi

log = structlog.get_logger(__name__)


class CallRequest(BaseModel):
    """Whom to ring, and who of the hub speaks."""

    to: str = Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="E.164: +14155551234")
    name: str = Field(default="", max_length=40, pattern=PRINTABLE)
    agent: str | None = Field(default=None, max_length=64, description="default: the default one")
    first_message: str = Field(default="", max_length=1000)
    assistant_id: str | None = Field(
        default=None, max_length=64, description="an assistant kept at VAPI instead of ours"
    )
    phone_number_id: str | None = Field(
        default=None, max_length=64, description="VAPI's id of the number to call from"
    )
    variables: dict[str, str] = Field(
        default={}, description="`variableValues` of an assistant kept at VAPI", max_length=50
    )


class CallPlaced(BaseModel):
    """VAPI has it; follow it in `GET /api/vapi/calls`."""

    id: str
    status: str
    agent: str


class CallShown(BaseModel):
    """One call. `summary` is what the persona remembers of it, `vapi_summary` VAPI's own. The times
    are VAPI's once it has reported, until then when the hub heard of it."""

    id: str
    status: str
    direction: str
    agent: str
    caller: str | None
    name: str | None
    started_at: str
    ended_at: str | None
    ended_reason: str | None
    summary: str | None
    summary_state: str
    vapi_summary: str | None
    recording_url: str | None
    cost_usd: float | None


class CallList(BaseModel):
    """The latest calls, and how many events of each type this hub process has had."""

    calls: list[CallShown]
    events: dict[str, int]


class CallQuery(BaseModel):
    limit: int = Field(default=50, ge=1, le=LISTED)


def routes(vapi: "Vapi") -> Blueprint:
    """The routes of one hub's VAPI wire."""
    blueprint = Blueprint("vapi", __name__)

    @blueprint.post("/vapi/events")
    @promises("signed", fails=(400, 401, 413, 502))
    async def events() -> Response:
        """What VAPI tells and asks, as its server URL."""
        raw: bytes = await request.get_data(cache=False)  # type: ignore[assignment]
        await _prove(vapi, raw)
        event = wire.parse(raw, now_ns=vapi.hub.clock.now_ns())
        if asked := request.args.get("agent"):
            event = msgspec.structs.replace(event, agent=asked)
        if event.type == voice.TYPE:
            sound = Response(await vapi.speak(event), content_type="application/octet-stream")
            sound.timeout = None  # it has a deadline of its own
            return sound
        answer = await vapi.handle(event, base_url=_base_url(vapi))
        if answer is None:
            return Response(b"", 200)
        return Response(msgspec.json.encode(answer), content_type="application/json")

    @blueprint.post("/api/vapi/calls")
    @promises("write", gives=CallPlaced, body=CallRequest, fails=(404, 422, 502))
    async def place(data: CallRequest) -> dict[str, Any]:
        """Ring somebody through VAPI."""
        placed, agent = await vapi.place_call(**data.model_dump())
        return {"id": placed.id, "status": placed.status, "agent": agent}

    @blueprint.get("/api/vapi/calls")
    @promises("read", gives=CallList, query=CallQuery)
    async def calls(query: CallQuery) -> dict[str, Any]:
        """The calls VAPI carried, newest first."""
        found = await vapi.ledger.latest(principal().client_id, query.limit)
        return {"calls": [_shown(call) for call in found], "events": dict(vapi.counts)}

    return blueprint


async def _prove(vapi: "Vapi", raw: bytes) -> None:
    """Raises unless the request may be believed.

    With no secret set up it is believed from this machine in local mode, so that an event can be
    tried with curl; in protected mode it is refused with how to set one up.
    """
    if vapi.proof.configured:
        vapi.proof.check(
            request.headers,
            raw,
            method=request.method,
            path=request.full_path.rstrip("?"),
            now_ms=vapi.hub.clock.now_ms(),
        )
        return
    if vapi.hub.security.protected:
        raise NotConfigured(SET_UP)
    await vapi.hub.security.admit(arrival(request.scope), "write")


def _base_url(vapi: "Vapi") -> str:
    """Where VAPI reaches the hub's model; on one machine that may be the address it called."""
    configured = vapi.hub.settings.public_url.rstrip("/")
    if configured or vapi.hub.security.protected:
        return configured
    return request.host_url.rstrip("/")


def _shown(call: Call) -> dict[str, Any]:
    report = call.report or Report()
    return {
        "id": call.call_id,
        "status": call.status,
        "direction": call.direction,
        "agent": call.agent,
        "caller": call.caller,
        "name": call.name,
        "started_at": report.started_at or iso(call.started_at),
        "ended_at": report.ended_at or iso_or_none(call.ended_at),
        "ended_reason": call.ended_reason,
        "summary": call.summary,
        "summary_state": call.summary_state,
        "vapi_summary": report.summary or None,
        "recording_url": report.recording_url or None,
        "cost_usd": report.cost_usd,
    }
