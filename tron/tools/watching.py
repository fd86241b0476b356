"""Tools for looking at the hub's own work: which processes run, and one of them closely.

What a process is working on is shown only to its own family (the same chain of delegation):
another conversation's subject is not this caller's to hear.
"""

from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tron.clock import duration
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process
from tron.tools.contract import Tool, ToolContext, ToolFailed

SHOWN = 50


class ListProcesses(msgspec.Struct):
    pass


class InspectProcess(msgspec.Struct):
    id: Annotated[
        str,
        Meta(min_length=1, max_length=64, description="The process id, as list_processes shows."),
    ]


def watching(orchestrator: Orchestrator) -> list[Tool[Any]]:
    """The tools of this file."""
    return [
        Tool(
            "list_processes",
            "List the running processes: who is at work, since when. Use it when asked what the "
            "team is doing or how busy the hub is.",
            ListProcesses,
            partial(_list, orchestrator),
            effect="read",
        ),
        Tool(
            "inspect_process",
            "Look at one process, running or just ended: status, parent, calls, tokens and cost.",
            InspectProcess,
            partial(_inspect, orchestrator),
            effect="read",
        ),
    ]


async def _list(orchestrator: Orchestrator, context: ToolContext, _: ListProcesses) -> str:
    live = [p for p in orchestrator.live() if p.client_id == context.client_id]
    lines = [f"- {_headline(orchestrator, context, process)}" for process in live[:SHOWN]]
    if len(live) > SHOWN:
        lines.append(f"… and {len(live) - SHOWN} more")
    return "\n".join([f"{len(live)} running:", *lines]) if lines else "Nothing is running."


async def _inspect(orchestrator: Orchestrator, context: ToolContext, args: InspectProcess) -> str:
    process = orchestrator.get(args.id.strip())
    if process is None or process.client_id != context.client_id:
        raise ToolFailed("There is no such process, or it ended a while ago.")
    metrics = process.metrics
    about = "about " if metrics.tokens_estimated else ""
    cost = "cost unknown" if metrics.cost_usd is None else f"{metrics.cost_usd:.4f} USD"
    lines = [
        _headline(orchestrator, context, process),
        f"parent: {process.parent_id or 'none'}, depth {process.depth}, "
        f"restarts {process.restarts}",
        f"{metrics.llm_calls} model calls, {metrics.tool_calls} tool calls, "
        f"{about}{metrics.input_tokens} tokens in and {metrics.output_tokens} out, {cost}",
    ]
    if process.error and _same_family(orchestrator, context.process, process):
        lines.append(f"error: {process.error}")
    return "\n".join(lines)


def _headline(orchestrator: Orchestrator, context: ToolContext, process: Process) -> str:
    own = " (you)" if process is context.process else ""
    line = (
        f"{process.id} {process.agent}{own}, {process.status}, "
        f"for {duration(process.duration_ms / 1000)}"
    )
    if process.task and _same_family(orchestrator, context.process, process):
        line += f": {process.task}"
    return line


def _same_family(orchestrator: Orchestrator, one: Process, other: Process) -> bool:
    return _root(orchestrator, one) == _root(orchestrator, other)


def _root(orchestrator: Orchestrator, process: Process) -> str:
    # By id: an ended process no longer holds its parent.
    while process.parent_id and (parent := orchestrator.get(process.parent_id)):
        process = parent
    return process.parent_id or process.id
