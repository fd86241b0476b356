"""Watching a task in the terminal: what happens in it, line by line, and how far it is.

On a terminal the steps stand below the lines and change in place; elsewhere there are only lines,
or JSON. A connection that breaks is made again behind the last line that came.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import typer

from tron.cli.tasks import MARKS, TaskFailed, ask, path
from tron.cli.terminal import plain, problem, read_json, session
from tron.errors import TronError

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from rich.live import Live
    from rich.table import Table

ENDINGS = {"completed": 0, "failed": 1, "cancelled": 3}
"""by how the task ended: the exit code"""
AGAIN_S = 1.0
TRIES = 30
STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


class BrokenOff(TronError):
    """The connection broke before the task had ended."""


async def watch(url: str, token: str, id: str, *, as_json: bool) -> int:
    """Show task `id` until it has ended; returns the exit code. Raises TaskFailed."""
    async with session(url, token) as http:
        task = await ask(http, url, "GET", path(id))
        board = Board(task, as_json=as_json)
        seen = tries = 0
        with board.display():
            while True:
                try:
                    async for event in _events(http, id, seen):
                        seen, tries = event["seq"], 0
                        board.take(event)
                    task = await ask(http, url, "GET", path(id))
                    if task["status"] in ENDINGS:
                        break
                except (BrokenOff, TaskFailed) as error:
                    tries += 1
                    if tries >= TRIES:
                        raise TaskFailed(error.message) from None
                await asyncio.sleep(AGAIN_S)
    return ENDINGS[task["status"]]


async def _events(http: "ClientSession", id: str, seen: int) -> AsyncIterator[dict[str, Any]]:
    """Lines of the log after `seen`, until the hub ends the stream. Raises BrokenOff."""
    from aiohttp import ClientError

    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(seen)}
    try:
        async with http.get(path(id, "events"), headers=headers) as answer:
            if answer.status == 204:
                return
            if answer.status != 200:
                raise BrokenOff(problem(answer.status, await read_json(answer)))
            waiting = b""
            async for read in answer.content.iter_any():
                *lines, waiting = (waiting + read).split(b"\n")
                for data in lines:
                    if data.startswith(b"data:"):
                        event = json.loads(data.removeprefix(b"data:"))
                        if "error" in event:
                            raise BrokenOff(problem(500, event))
                        yield event
    except (ClientError, TimeoutError, ValueError) as error:
        raise BrokenOff(f"The hub went away: {type(error).__name__}.") from None


def line(event: dict[str, Any]) -> str:
    """What a line of the log says, in words; empty where there is nothing to say."""
    match event["type"]:
        case "task_created":
            return f"handed in: {event['summary']}"
        case "task_plan_graph":
            steps = "; ".join(f"{node['id']} {node['title']}" for node in event["nodes"])
            return f"plan: {steps}" if steps else ""
        case "task_plan_delta":
            return str(event.get("text_delta") or event["status"])
        case "task_step_started":
            return f"step {event['step_seq']}: {event['title']}"
        case "task_step_log":
            return f"  {event['text_delta'].strip()}"
        case "task_step_completed":
            return f"  done: {event['step_id'].rpartition('.')[2]}"
        case "task_waiting_approval":
            return f"? {event['prompt']}"
        case "task_completed":
            return f"completed: {event['result']}"
        case "task_failed":
            return f"{event['status']} ({event['code']}): {event['detail']}"
    return ""


class Board:
    """What is known of the task, and its lines on the terminal."""

    def __init__(self, task: dict[str, Any], *, as_json: bool) -> None:
        self._id = task["id"]
        self._summary = task["summary"]
        self._as_json = as_json
        self._titles: dict[str, str] = {}
        self._states: dict[str, str] = {}
        self._live: Live | None = None

    def display(self) -> AbstractContextManager[Any]:
        """While it is entered, steps stand below the lines; nothing where that can't be."""
        from rich.console import Console

        console = Console(highlight=False)
        if self._as_json or not console.is_terminal:
            return nullcontext()
        from rich.live import Live

        self._live = Live(self._table(), console=console, refresh_per_second=8)
        return self._live

    def take(self, event: dict[str, Any]) -> None:
        """Something happened."""
        if self._as_json:
            typer.echo(json.dumps(event, ensure_ascii=False))
            return
        self._note(event)
        said = plain(line(event))
        if event["type"] == "task_waiting_approval":
            said += f"\n  tron tasks approve {self._id}   or   tron tasks deny {self._id}"
        if self._live is None:
            if said:
                typer.echo(said)
            return
        if said:
            self._live.console.print(said, markup=False)
        self._live.update(self._table(), refresh=True)

    def _note(self, event: dict[str, Any]) -> None:
        node = str(event.get("step_id") or "").rpartition(".")[2]
        match event["type"]:
            case "task_plan_graph":
                self._titles = {n["id"]: n["title"] for n in event["nodes"]}
                self._states = {n["id"]: n["status"] for n in event["nodes"]}
            case "task_step_started":
                self._titles.setdefault(node, event["title"])
                self._states[node] = "running"
            case "task_step_completed":
                self._states[node] = "completed"
            case "task_waiting_approval":
                self._states[node] = "awaiting_approval"
            case "task_failed" if node:
                self._states[node] = event["status"]

    def _table(self) -> "Table":
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        done = sum(state == "completed" for state in self._states.values())
        head = f"{plain(self._summary)}  {done}/{len(self._titles)}"
        table.add_row("", f"[bold]{escape(head)}[/]")
        for node, title in self._titles.items():
            state = self._states.get(node, "planned")
            style = STYLES.get(state, "dim")
            mark = MARKS.get(state, "·")
            table.add_row(f"[{style}]{mark} {escape(node)}[/]", escape(plain(title)))
        return table
