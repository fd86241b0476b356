"""`tron tasks`: hand tasks in, watch them, answer what they ask, stop them.

All of it through the API of a running hub. `follow.py` watches one until it ends.
"""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from tron.cli.terminal import ask_hub, fail, hub_url, plain, problem, session
from tron.environment import load_settings
from tron.errors import TronError

if TYPE_CHECKING:
    from aiohttp import ClientSession

tasks = typer.Typer(no_args_is_help=True, help="Tasks: what personas do that takes a while.")

Id = Annotated[str, typer.Argument(help="As `tron tasks list` shows it.")]
Url = Annotated[str | None, typer.Option(help="Where the hub is; else this machine's.")]
Token = Annotated[str, typer.Option(help="Bearer token of a protected hub.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

MARKS = {
    "planned": "·",
    "paused": "‖",
    "awaiting_approval": "?",
    "running": "▸",
    "completed": "✓",
    "failed": "✗",
    "cancelled": "–",
}


class TaskFailed(TronError):
    """The hub did not do what was asked."""


@tasks.command(name="list")
def list_tasks(
    live: Annotated[bool, typer.Option("--live", help="Only those that have not ended.")] = False,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = "",
) -> None:
    """List the latest tasks."""
    query = {"limit": str(limit), "live": str(live).lower()}
    found = _run(url, token, "GET", "v1/tasks", params=query)["tasks"]
    if as_json:
        _print_json(found)
        return
    if not found:
        typer.echo('No tasks. Hand one in: tron tasks new "what is to be done"')
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "status", "agent", "handed in", "steps", "task"):
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for task in found:
        done = sum(step["status"] == "completed" for step in task["steps"])
        cells = (
            task["id"],
            f"{MARKS[task['status']]} {_words(task['status'])}",
            task["agent"],
            task["created_at"],
            f"{done}/{len(task['steps'])}",
            task["summary"],
        )
        table.add_row(*(escape(plain(cell)) for cell in cells))
    Console().print(table)


@tasks.command()
def show(id: Id, as_json: AsJson = False, url: Url = None, token: Token = "") -> None:
    """Print a task: its steps and what needs what, what it asks, and its log."""
    asyncio.run(_show(url or hub_url(load_settings()), token, id, as_json))


async def _show(url: str, token: str, id: str, as_json: bool) -> None:
    async with session(url, token) as http:
        task = await ask(http, url, "GET", path(id))
        log = await ask(http, url, "GET", path(id, "events"), params={"limit": "500"})
    if as_json:
        _print_json(task | {"events": log["events"]})
        return
    _say(f"{task['id']}  {_words(task['status'])}  {task['agent']}  {task['summary']}")
    for step in task["steps"]:
        needs = f"  after {', '.join(step['needs'])}" if step["needs"] else ""
        _say(f"  {MARKS[step['status']]} {step['node']} {step['title']}  [{_did(step)}]{needs}")
        if step["error"]:
            _say(f"      {step['error']}")
    _say_question(task)
    for event in log["events"]:
        from tron.cli.follow import line

        if said := line(event):
            _say(f"{event['at']}  {said}")
    _say_ending(task)


@tasks.command()
def new(
    intent: Annotated[str, typer.Argument(help="What is to be done, in words.")],
    agent: Annotated[str | None, typer.Option(help="Who does it; else the default.")] = None,
    mode: Annotated[str, typer.Option(help="auto, plan_only or confirm_each.")] = "auto",
    priority: Annotated[str, typer.Option(help="high, normal or low.")] = "normal",
    follow: Annotated[bool, typer.Option("--follow", help="Watch it until it ends.")] = False,
    url: Url = None,
    token: Token = "",
) -> None:
    """Hand in a task."""
    body = {"intent_text": intent, "mode": mode, "priority": priority}
    if agent:
        body["agent"] = agent
    task = _run(url, token, "POST", "v1/tasks", json=body)
    if follow:
        _follow(url, token, task["id"], as_json=False)
    typer.echo(f"{task['id']}  {_words(task['status'])}")
    _say_question(task)


@tasks.command()
def approve(id: Id, url: Url = None, token: Token = "") -> None:
    """Say yes to what a task asks."""
    _answer(url, token, id, approved=True)


@tasks.command()
def deny(id: Id, url: Url = None, token: Token = "") -> None:
    """Say no to what a task asks."""
    _answer(url, token, id, approved=False)


def _answer(url: str | None, token: str, id: str, *, approved: bool) -> None:
    asked = _run(url, token, "GET", path(id))["approval"]
    if asked is None:
        fail("This task asks nothing now.")
    body = {"approved": approved, "approval_id": asked["approval_id"], "through": "cli"}
    task = _run(url, token, "POST", path(id, "approve"), json=body)
    _say(f"{'approved' if approved else 'denied'}: {asked['prompt']}")
    typer.echo(f"{task['id']}  {_words(task['status'])}")


@tasks.command()
def cancel(
    id: Id,
    reason: Annotated[str, typer.Option(help="Why; it stands in the log.")] = "",
    url: Url = None,
    token: Token = "",
) -> None:
    """Stop a task for good."""
    _change(url, token, id, "cancel", {"reason": reason} if reason else {})


@tasks.command()
def pause(id: Id, url: Url = None, token: Token = "") -> None:
    """Begin no further step of a task."""
    _change(url, token, id, "pause")


@tasks.command()
def resume(id: Id, url: Url = None, token: Token = "") -> None:
    """Go on after a pause, or begin what was only planned."""
    _change(url, token, id, "resume")


@tasks.command()
def retry(id: Id, url: Url = None, token: Token = "") -> None:
    """Try a task again from the step that failed."""
    _change(url, token, id, "retry")


def _change(
    url: str | None, token: str, id: str, what: str, body: dict[str, Any] | None = None
) -> None:
    task = _run(url, token, "POST", path(id, what), json=body or {})
    typer.echo(f"{task['id']}  {_words(task['status'])}")


@tasks.command()
def follow(id: Id, as_json: AsJson = False, url: Url = None, token: Token = "") -> None:
    """Watch a task until it ends: exit code 0 if it was completed, 1 failed, 3 cancelled."""
    _follow(url, token, id, as_json=as_json)


def _follow(url: str | None, token: str, id: str, *, as_json: bool) -> None:
    from tron.cli.follow import watch

    try:
        code = asyncio.run(watch(url or hub_url(load_settings()), token, id, as_json=as_json))
    except KeyboardInterrupt:
        typer.secho("The task goes on.", dim=True, err=True)
        raise typer.Exit(130) from None
    raise typer.Exit(code)


@tasks.command()
def artifacts(
    id: Id,
    get: Annotated[str, typer.Option(help="Download this one.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where to; else its own name, here.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = "",
) -> None:
    """List the files that a task left, or download one."""
    if get:
        asyncio.run(_download(url or hub_url(load_settings()), token, id, get, out))
        return
    left = _run(url, token, "GET", path(id, "artifacts"))["artifacts"]
    if as_json:
        _print_json(left)
        return
    for file in left:
        _say(f"{file['bytes']:>12}  {file['modified_at']}  {file['path']}")
    if not left:
        typer.echo("This task left no files.")


async def _download(url: str, token: str, id: str, name: str, out: Path | None) -> None:
    from aiohttp import ClientError
    from yarl import URL

    from tron.cli.terminal import read_json

    target = out or Path(Path(name).name)
    address = URL(path(id, "artifacts") + "/" + quote(name), encoded=True)
    async with session(url, token) as http:
        try:
            async with http.get(address) as answer:
                if answer.status != 200:
                    raise TaskFailed(problem(answer.status, await read_json(answer)))
                size = 0
                with target.open("wb" if out else "xb") as file:
                    async for piece in answer.content.iter_chunked(1 << 16):
                        size += file.write(piece)
        except FileExistsError:
            fail(f"{target} exists. Say where to: --out", 2)
        except OSError as error:
            fail(f"{target} can't be written: {error.strerror or error}")
        except (ClientError, TimeoutError) as error:
            raise TaskFailed(f"The hub went away: {type(error).__name__}.") from None
    _say(f"{target}  {size} bytes")


def path(id: str, more: str = "") -> str:
    """Of a task, in the hub's API."""
    return f"v1/tasks/{quote(id, safe='')}" + (f"/{more}" if more else "")


async def ask(http: "ClientSession", url: str, method: str, path: str, **given: Any) -> Any:
    """What the hub answers. Raises TaskFailed."""
    answer = await ask_hub(http, method, path, **given)
    if answer is None:
        raise TaskFailed(f"No hub answers at {url}. Start one with `tron serve`.")
    status, body = answer
    if status not in (200, 201) or not isinstance(body, dict):
        raise TaskFailed(problem(status, body))
    return body


def _run(url: str | None, token: str, method: str, path: str, **given: Any) -> Any:
    async def once() -> Any:
        address = url or hub_url(load_settings())
        async with session(address, token) as http:
            return await ask(http, address, method, path, **given)

    return asyncio.run(once())


def _say(text: str) -> None:
    typer.echo(plain(text))


def _say_question(task: dict[str, Any]) -> None:
    if asked := task["approval"]:
        _say(f"  ? {asked['prompt']}  (until {asked['expires_at']})")
        typer.echo(f"    tron tasks approve {task['id']}   or   tron tasks deny {task['id']}")


def _say_ending(task: dict[str, Any]) -> None:
    if task["result"]:
        _say(task["result"])
    if task["code"]:
        _say(f"{task['code']}: {task['detail'] or ''}")


def _did(step: dict[str, Any]) -> str:
    again = f", attempt {step['attempt']}" if step["attempt"] > 1 else ""
    return f"{step['tool_name']}, {step['effect']}{again}"


def _words(status: str) -> str:
    return status.replace("_", " ")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
