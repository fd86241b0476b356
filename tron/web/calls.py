"""Calls by voice: those that were and those that are, with what happened in each, how fast, and
what it cost."""

from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel, Field
from quart import Blueprint, send_file

from tron.calls import latency
from tron.calls.cost import CallCost, cost
from tron.calls.ledger import Record
from tron.clock import iso, iso_or_none
from tron.errors import Conflict, NotFound
from tron.web.contract import Ok, promises
from tron.web.security import principal

if TYPE_CHECKING:
    from tron.hub import Hub


class CallSummary(BaseModel):
    """A call in a list."""

    id: str
    wire: str = Field(description="how it came: `twilio`, `elevenlabs`, `samantha`, …")
    direction: str
    caller: str
    called: str
    external_id: str | None = Field(description="the carrier's own id")
    agent: str
    session_key: str
    started_at: str
    ended_at: str | None
    duration_s: float | None = Field(description="null while it goes on")
    cause: str | None = Field(description="why it ended; null while it goes on")
    recorded: bool


class TimelineEntry(BaseModel):
    """Something that happened, `at` ms after the call began."""

    at: int
    kind: str
    turn: int
    text: str
    value: int


class CallTurn(BaseModel):
    """How quickly one turn was answered; ms, null where it does not apply."""

    turn: int
    at: int
    said: str
    ending: str | None
    waited_ms: int | None = Field(description="from the last sound to the end of the utterance")
    recognised_ms: int | None
    answered_ms: int | None = Field(description="to the persona's first words")
    spoken_ms: int | None = Field(description="from there to its first audio")
    total_ms: int | None = Field(description="from the caller's last sound to the first audio")


class CallDetail(CallSummary):
    """A call with its timeline."""

    cost: CallCost
    turns: list[CallTurn]
    timeline: list[TimelineEntry]


class CallTape(BaseModel):
    """What the machine of a call was told: `tron call replay` tells it again."""

    parts: list[str] = Field(description="base64; each deflated by itself, in order")


def routes(hub: "Hub") -> Blueprint:
    """The calls of one hub."""
    blueprint = Blueprint("calls", __name__)

    @blueprint.get("/api/calls")
    @promises("read", gives=list[CallSummary])
    async def calls() -> Any:
        """The latest calls, those that go on included."""
        found = await hub.switchboard.ledger.listing(principal().client_id)
        return [_summary(record).model_dump() for record in found]

    @blueprint.get("/api/calls/<id>")
    @promises("read", gives=CallDetail, fails=(404,))
    async def call(id: str) -> Any:
        """A call with all that happened in it."""
        record, lines = await hub.switchboard.ledger.read(principal().client_id, id)
        return CallDetail(
            **_summary(record).model_dump(),
            cost=cost(record, lines, hub.brain.prices, hub.clock.now_ms()),
            turns=[CallTurn(**msgspec.structs.asdict(turn)) for turn in latency.turns(lines)],
            timeline=[
                TimelineEntry(
                    at=line.at, kind=line.kind, turn=line.turn, text=line.text, value=line.value
                )
                for line in lines
            ],
        )

    @blueprint.get("/api/calls/<id>/tape")
    @promises("read", gives=CallTape, fails=(404, 409))
    async def tape(id: str) -> Any:
        """What a call's machine was told, for running it again."""
        record = await hub.switchboard.ledger.find(principal().client_id, id)
        if record.cause is None:
            raise Conflict("The call has not ended.", code="not_ended")
        parts = await hub.switchboard.ledger.tape(principal().client_id, id)
        if not parts:
            raise NotFound("No input of this call was kept.", param="id", code="no_tape")
        return CallTape(parts=[b64encode(part).decode() for part in parts])

    @blueprint.get("/api/calls/<id>/recording")
    @promises("read", fails=(404,))
    async def recording(id: str) -> Any:
        """A recorded call as a stereo WAV: the caller left, the persona right."""
        record = await hub.switchboard.ledger.find(principal().client_id, id)
        try:
            return await send_file(Path(record.recording or ""), mimetype="audio/wav")
        except (FileNotFoundError, IsADirectoryError):
            raise NotFound(
                "There is no recording of this call.", param="id", code="not_recorded"
            ) from None

    @blueprint.delete("/api/calls/<id>")
    @promises("write", gives=Ok, fails=(404,))
    async def hang_up(id: str) -> Any:
        """End a call that goes on."""
        mine = (c for c in hub.switchboard.live if c.record.client_id == principal().client_id)
        call = next((c for c in mine if id in (c.record.id, c.record.external_id)), None)
        if call is None:
            raise NotFound(f"There is no live call {id!r}.", param="id")
        call.hang_up("operator-hung-up")
        return Ok()

    return blueprint


def _summary(record: Record) -> CallSummary:
    ended = record.ended_at
    return CallSummary(
        id=record.id,
        wire=record.wire,
        direction=record.direction,
        caller=record.caller,
        called=record.called,
        external_id=record.external_id,
        agent=record.agent,
        session_key=record.session_key,
        started_at=iso(record.started_at),
        ended_at=iso_or_none(ended),
        duration_s=None if ended is None else max(0, ended - record.started_at) / 1000,
        cause=record.cause,
        recorded=record.recording is not None,
    )
