"""`tron personas` and `tron life run`: who lives here, and what they do on their own."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from tron.cli.terminal import ask_hub, fail, hub_url, parts, plain, problem, session
from tron.environment import load_settings
from tron.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from tron.agents.persona import Persona

life = typer.Typer(no_args_is_help=True, help="The personas' own lives.")


def personas() -> None:
    """List the personas and what is wrong with their files; exit code 1 if anything is."""
    from rich.console import Console
    from rich.markup import escape

    from tron.agents.registry import Registry
    from tron.clock import SystemClock

    settings = load_settings()
    registry = Registry(settings.persona_folder, SystemClock(), default=settings.default_agent)
    registry.refresh()
    console = Console()
    for persona in registry.personas:
        console.print(_card(persona, settings))
        console.print()
    if registry.faults:
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        for fault in registry.faults:
            errors.print(f"[red]✗[/] {escape(str(fault))}")
        raise typer.Exit(1)


def _card(persona: "Persona", settings: Settings) -> "Table":
    """One persona as rows of name and value; nine columns would fit no terminal."""
    from rich.markup import escape
    from rich.table import Table

    head = f"[bold]{escape(persona.name)}[/], {escape(persona.title)} [dim]({persona.id})[/]"
    table = Table(title=head, title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    tools = "every tool" if persona.tools is None else ", ".join(persona.tools) or "none"
    schedule = [f"{activity} {' '.join(times)}" for activity, times in persona.life.items()]
    rows = {
        "focus": ", ".join(persona.focus),
        "tone": persona.tone,
        "voice": persona.voice or "the engine's own",
        "model": persona.model or f"the hub's ({settings.model})",
        "tools": tools,
        "life": "\n".join([*schedule, f"({persona.timezone})"]) if schedule else "none",
        "feeds": "\n".join(f"{feed.name}  {feed.url}" for feed in persona.feeds) or "none",
    }
    for name, value in rows.items():
        table.add_row(f"  {name}", escape(value))
    return table


@life.callback()
def _life() -> None:  # keeps `run` a subcommand while it is the only one
    pass


@life.command("run")
def life_run(
    persona: Annotated[str, typer.Argument(help="Who, e.g. tony.")],
    activity: Annotated[
        str, typer.Argument(help="What: news, goals, team_check, reflection, journal or post.")
    ],
    url: Annotated[str | None, typer.Option(help="Where the hub is; else this machine's.")] = None,
    token: Annotated[str, typer.Option(help="Bearer token of a protected hub.")] = "",
) -> None:
    """Run one activity of a persona now and print what it did."""
    settings = load_settings()
    results = asyncio.run(_trigger(url or hub_url(settings), token, persona, activity))
    if results is None and url is not None:
        fail(f"No hub answers at {url}. Start one with `tron serve`.")
    if results is None:
        results = asyncio.run(_run_here(settings, persona, activity))
    for name, result in results.items():
        typer.echo(plain(f"{name}: {result}"))
    if any(result.startswith("Failed") for result in results.values()):
        raise typer.Exit(1)


async def _trigger(url: str, token: str, persona: str, activity: str) -> dict[str, str] | None:
    """What a running hub says it did, by name; None if there is no hub."""
    async with session(url, token) as http:
        query = {"persona": persona, "activity": activity}
        answer = await ask_hub(http, "POST", "internal/life/trigger", params=query)
    if answer is None:
        return None
    status, body = answer
    if status != 200 or not isinstance(body, dict):
        fail(problem(status, body))
    return {str(body.get("persona", persona)): str(body.get("result", ""))}


async def _run_here(settings: Settings, persona: str, activity: str) -> dict[str, str]:
    async with parts(settings) as hub:
        return await hub.life.trigger(activity, persona)
