"""`tron call`: place calls, and see what happened in those that were.

All of it through the API of a running hub.
"""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tron.cli.terminal import ask_hub, hub_url, plain, problem, session
from tron.environment import load_settings
from tron.errors import TronError

if TYPE_CHECKING:
    from aiohttp import ClientSession

call = typer.Typer(no_args_is_help=True, help="Calls by voice: place them, look into them.")

PAUSE_S = 0.5
RINGING = ("queued", "initiated", "ringing")

Url = Annotated[str | None, typer.Option(help="Where the hub is; else this machine's.")]
Token = Annotated[str, typer.Option(help="Bearer token of a protected hub.")]


class CallFailed(TronError):
    """The hub did not do what was asked."""


@call.command()
def to(
    number: Annotated[str, typer.Argument(help="Whom to ring, such as +14155550100.")],
    agent: Annotated[str | None, typer.Option(help="Who talks; else the default.")] = None,
    message: Annotated[str, typer.Option(help="What to say first.")] = "",
    url: Url = None,
    token: Token = "",
) -> None:
    """Ring somebody and let a persona talk with them. Ctrl-C while it rings hangs up."""
    body = {"to": number, "agent": agent, "message": message}
    asyncio.run(_ring(url or hub_url(load_settings()), token, body))


@call.command(name="list")
def list_calls(url: Url = None, token: Token = "") -> None:
    """List the latest calls, those that go on included."""
    calls = asyncio.run(get(url, token, "api/calls"))
    if not calls:
        typer.echo("No calls yet. Place one without a telephone: tron call demo")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "began", "wire", "caller", "agent", "seconds", "ended by"):
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for found in calls:
        lasted = found["duration_s"]
        arrow = "→ " if found["direction"] == "outbound" else ""
        cells = (
            found["id"],
            found["started_at"],
            found["wire"],
            arrow + found["caller"],
            found["agent"],
            "" if lasted is None else f"{lasted:.1f}",
            found["cause"] or "(goes on)",
        )
        table.add_row(*(escape(plain(str(cell))) for cell in cells))
    Console().print(table)


@call.command()
def show(
    id: Annotated[str, typer.Argument(help="As `tron call list` shows it.")],
    url: Url = None,
    token: Token = "",
) -> None:
    """Print what happened in a call, how quickly each turn was answered, and what it cost."""
    found = asyncio.run(get(url, token, f"api/calls/{id}"))
    ended = f"ended by {found['cause']}" if found["cause"] else "goes on"
    typer.echo(
        plain(f"{found['wire']} · {found['caller']} with {found['agent']} · {ended}"), color=True
    )
    for entry in found["timeline"]:
        typer.echo(f"{entry['at'] / 1000:9.2f} s  {plain(_told(entry))}")
    for turn in found["turns"]:
        typer.secho(describe(turn), bold=True)
    for line in costs(found["cost"]):
        typer.echo(plain(line))


def costs(cost: dict[str, Any]) -> list[str]:
    """What a call cost, in lines; the sum first."""
    line = cost["line"]
    estimated = " (estimated)" if cost["estimated"] else ""
    lines = [f"cost: {_usd(cost['usd'])}{estimated}"]
    lines += [
        f"  {part['model']}: {part['input_tokens']} tokens in, {part['output_tokens']} out, "
        f"{_usd(part['usd'])}"
        for part in cost["model"]
    ]
    if unmetered := cost["unmetered_turns"]:
        lines.append(f"  turns cut off or failed, not in the sum: {unmetered}")
    lines += [
        f"  {part['engine']}: {part['seconds']:.1f} s heard, {_usd(part['usd'])}"
        for part in cost["recognition"]
    ]
    lines += [
        f"  {part['engine']}: {part['characters']} characters said, {_usd(part['usd'])}"
        for part in cost["synthesis"]
    ]
    return [*lines, f"  {line['wire']}: {line['minutes']} min, {_usd(line['usd'])}"]


def _usd(usd: float | None) -> str:
    return "price unknown" if usd is None else f"{usd:.4f} USD"


def _told(entry: dict[str, Any]) -> str:
    turn = f" [{entry['turn']}]" if entry["turn"] else ""
    text = f"  {entry['text']}" if entry["text"] else ""
    return f"{entry['kind']:<14}{turn}{text}"


def describe(turn: dict[str, Any]) -> str:
    """One line about a turn's latency."""
    if turn["total_ms"] is None:
        return f"turn {turn['turn']}: {turn['ending'] or 'unfinished'}"
    stages = (("waited", "waited_ms"), ("understood", "recognised_ms"))
    more = (("thought", "answered_ms"), ("spoke", "spoken_ms"))
    parts = [f"{name} {turn[key]}" for name, key in stages + more if turn[key] is not None]
    return f"turn {turn['turn']}: {turn['total_ms']} ms to first audio ({', '.join(parts)})"


async def get(url: str | None, token: str, path: str) -> Any:
    """What the hub answers to a GET. Raises CallFailed."""
    url = url or hub_url(load_settings())
    async with session(url, token) as http:
        return await _ask(http, url, "GET", path)


async def _ask(http: "ClientSession", url: str, method: str, path: str, **given: Any) -> Any:
    answer = await ask_hub(http, method, path, **given)
    if answer is None:
        raise CallFailed(f"No hub answers at {url}. Start one with `tron serve`.")
    status, body = answer
    if status != 200:
        raise CallFailed(problem(status, body))
    return body


async def _ring(url: str, token: str, body: dict[str, Any]) -> None:
    async with session(url, token) as http:
        placed = await _ask(http, url, "POST", "api/calls", json=body)
        path = f"twilio/calls/{placed['id']}"
        status = placed["status"]
        typer.echo(f"{placed['id']}  {plain(status)}")
        try:
            while status in RINGING:
                await asyncio.sleep(PAUSE_S)
                news = plain(str((await _ask(http, url, "GET", path))["status"]))
                if news != status:
                    typer.echo(f"{placed['id']}  {news}")
                status = news
        except asyncio.CancelledError:
            await _ask(http, url, "DELETE", path)
            raise
    typer.echo("What happens in it: tron call list, tron call show ID")
