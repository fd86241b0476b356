"""What the hub is doing: health, status, processes, history, the spawn tree, figures.

Reads only, but for `DELETE /api/processes/{id}`. Nothing is invented: what is not known is null.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, RootModel
from quart import Blueprint, Response, request
from quart_schema import hide

from tron import __version__
from tron.clock import duration, iso, iso_or_none
from tron.errors import Conflict, NotFound, StorageUnavailable
from tron.orchestrator.process import Process
from tron.web.contract import Ok, promises
from tron.web.security import principal

if TYPE_CHECKING:
    from tron.hub import Hub

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """The hub answers."""

    status: Literal["ok"]
    version: str
    timestamp: str


class Status(BaseModel):
    """The hub at a glance."""

    status: Literal["ok"]
    uptime: str
    process_count: int
    session_count: int
    personas: list[str]
    active_personas: list[str]
    version: str
    persona_faults: list[str]
    """what is wrong with persona files, by name and line"""


class SystemHealth(BaseModel):
    """`degraded`: something works worse than it should; `down`: the database does not answer."""

    status: Literal["healthy", "degraded", "down"]
    uptime_seconds: int
    memory_usage_mb: int | None
    agent_count: int
    session_count: int | None
    tool_count: int


class ProcessMetrics(BaseModel):
    """What a process has used; `estimated_cost` in USD, null where a price is not known."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    llm_calls: int
    tool_calls: int
    estimated_cost: float | None
    duration_ms: int
    tokens_estimated: bool


class ProcessShown(BaseModel):
    """One process, running or lately finished."""

    id: str
    agent: str
    name: str
    status: Literal["pending", "running", "completed", "failed"]
    task: str
    started_at: str
    ended_at: str | None
    parent_id: str | None
    restarts: int
    error: str | None
    metrics: ProcessMetrics


class Processes(RootModel[list[ProcessShown]]):
    """Oldest first."""


class HistoryEntry(BaseModel):
    """Something that happened to a process or session."""

    id: str
    type: str
    timestamp: str
    agent: str
    process_id: str
    task: str
    status: str
    duration_ms: int | None
    metrics: ProcessMetrics | None
    error: str | None


class HistorySummary(BaseModel):
    """Of everything within the days asked for, shown or not."""

    total_entries: int
    total_processes: int
    total_sessions: int
    total_errors: int
    by_agent: dict[str, int]
    by_day: dict[str, int]
    by_status: dict[str, int]
    avg_duration_ms: int | None
    total_cost: float


class HistoryAnswer(BaseModel):
    """Newest first; at most a thousand entries."""

    entries: list[HistoryEntry]
    summary: HistorySummary


class SpawnNode(BaseModel):
    """A process and those it started."""

    process_id: str
    agent_name: str
    task: str
    status: str
    spawn_depth: int
    spawn_reason: str
    started_at: str
    children: list["SpawnNode"]


class SpawnTree(RootModel[list[SpawnNode]]):
    """Processes that nobody else started, oldest first."""


class SpawnPair(BaseModel):
    """How often one persona asked another."""

    parent: str
    child: str
    count: int


class SpawnPatterns(BaseModel):
    """Who asks whom to work."""

    total_spawns: int
    max_depth: int
    spawns_by_agent: dict[str, int]
    spawned_by_agent: dict[str, int]
    common_patterns: list[SpawnPair]


def _days(given: Any) -> int:
    """The control API forgives a bad value: it means a week."""
    text = str(given)
    return int(text) if text in {str(day) for day in range(1, 31)} else 7


class Days(BaseModel):
    """How far back, 1 to 30 days; anything else means 7."""

    days: Annotated[int, BeforeValidator(_days), Field(ge=1, le=30)] = 7


def routes(hub: "Hub") -> Blueprint:
    bp = Blueprint("status", __name__)
    _add_health(bp, hub)
    _add_processes(bp, hub)
    _add_history(bp, hub)

    @bp.after_app_request
    async def count(response: Response) -> Response:
        rule = request.url_rule
        hub.metrics.answered(request.method, rule.rule if rule else "none", response.status_code)
        return response

    return bp


def _add_health(bp: Blueprint, hub: "Hub") -> None:
    @bp.get("/health")
    @promises("public", gives=Health)
    async def health() -> dict[str, Any]:
        """Whether the hub answers."""
        now = iso(hub.clock.now_ms())
        return {"status": "ok", "version": __version__, "timestamp": now}

    @bp.get("/api/status")
    @promises("read", gives=Status)
    async def status() -> dict[str, Any]:
        """The hub at a glance."""
        client_id = principal().client_id
        live = [p for p in hub.orchestrator.live() if p.client_id == client_id]
        return {
            "status": "ok",
            "uptime": duration((hub.clock.now_ms() - hub.started_at) / 1000),
            "process_count": len(live),
            "session_count": await hub.sessions.count(client_id),
            "personas": [persona.name for persona in hub.agents.personas],
            "active_personas": [persona.name for persona in hub.life.active()],
            "version": __version__,
            "persona_faults": [str(fault) for fault in hub.agents.faults],
        }

    @bp.get("/api/health")
    @promises("read", gives=SystemHealth, also_gives={503: SystemHealth})
    async def system_health() -> tuple[dict[str, Any], int]:
        """How well the hub is."""
        sessions: int | None = None
        state = "healthy"
        silent = any(g.breaker.state != "closed" for g in hub.brain.providers)
        if silent or hub.agents.faults or hub.orchestrator.resting:
            state = "degraded"
        try:
            sessions = await hub.sessions.count(principal().client_id)
        except StorageUnavailable:
            state = "down"
        shown = {
            "status": state,
            "uptime_seconds": (hub.clock.now_ms() - hub.started_at) // 1000,
            "memory_usage_mb": memory_mb(),
            "agent_count": len(hub.agents.personas),
            "session_count": sessions,
            "tool_count": len(hub.toolbox.definitions(None)),
        }
        return shown, 503 if state == "down" else 200

    @bp.get("/metrics")
    @hide  # quart-schema can describe JSON only
    @promises("read")
    async def metrics() -> Response:
        """Figures for Prometheus."""
        sessions = await hub.sessions.count(principal().client_id)
        text = hub.metrics.text(processes=len(hub.orchestrator.live()), sessions=sessions)
        return Response(text, content_type=PROMETHEUS)


def _add_processes(bp: Blueprint, hub: "Hub") -> None:
    @bp.get("/api/processes")
    @promises("read", gives=Processes)
    async def processes() -> list[dict[str, Any]]:
        """Every running process and the lately finished ones."""
        client_id = principal().client_id
        return [_process(hub, p) for p in hub.orchestrator.recent() if p.client_id == client_id]

    @bp.delete("/api/processes/<id>")
    @promises("write", gives=Ok, fails=(404, 409))
    async def end(id: str) -> dict[str, Any]:
        """Stop a running process."""
        process = hub.orchestrator.get(id)
        if process is None or process.client_id != principal().client_id:
            raise NotFound("There is no such process.", param="id")
        if not await hub.orchestrator.kill(id):
            raise Conflict(f"Process {id} has already ended.", code="process_ended")
        return {"ok": True}


def _add_history(bp: Blueprint, hub: "Hub") -> None:
    @bp.get("/api/history")
    @promises("read", gives=HistoryAnswer, query=Days)
    async def history(query: Days) -> dict[str, Any]:
        """What processes and sessions did."""
        return await hub.history.entries(principal().client_id, query.days)

    @bp.get("/api/spawn-tree")
    @promises("read", gives=SpawnTree)
    async def spawn_tree() -> list[dict[str, Any]]:
        """Who started whom, among running and lately finished processes."""
        client_id = principal().client_id
        known = [p for p in hub.orchestrator.recent() if p.client_id == client_id]
        nodes = {p.id: _node(hub, p) for p in known}
        roots: list[dict[str, Any]] = []
        for process in known:
            parent = nodes.get(process.parent_id or "")
            (roots if parent is None else parent["children"]).append(nodes[process.id])
        return roots

    @bp.get("/api/spawn-patterns")
    @promises("read", gives=SpawnPatterns, query=Days)
    async def spawn_patterns(query: Days) -> dict[str, Any]:
        """Who asks whom to work."""
        return await hub.history.patterns(principal().client_id, query.days)


def _process(hub: "Hub", process: Process) -> dict[str, Any]:
    return {
        "id": process.id,
        "agent": hub.agents.name_of(process.agent),
        "name": process.name,
        "status": process.status,
        "task": process.task,
        "started_at": iso(process.started_at),
        "ended_at": iso_or_none(process.ended_at),
        "parent_id": process.parent_id,
        "restarts": process.restarts,
        "error": process.error,
        "metrics": process.metrics.as_api(process.duration_ms),
    }


def _node(hub: "Hub", process: Process) -> dict[str, Any]:
    return {
        "process_id": process.id,
        "agent_name": hub.agents.name_of(process.agent),
        "task": process.task,
        "status": process.status,
        "spawn_depth": process.depth,
        "spawn_reason": process.reason,
        "started_at": iso(process.started_at),
        "children": [],
    }


def memory_mb() -> int | None:
    """Memory in use now (resident), where the system says so."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000
