"""The command line: `tron serve`, `tron chat`, `tron doctor` and the rest.

Each command reads its arguments, calls one part of the hub and prints. Nothing heavy is imported
until a command needs it, so `tron serve` is up quickly and `tron --help` is instant. Errors are
one clear line on stderr with exit code 1 (it did not work) or 2 (it was asked or set wrongly),
never a traceback. `docs/cli.md` is compared with the tree of commands by a test.
"""

import asyncio
import gc
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from tron.cli import access, call, chat, people, replay, tasks
from tron.cli.terminal import Commands
from tron.environment import load_settings

INTEGRATIONS_COMMANDS = "tron.commands"
"""entry-point group: integrations add commands of their own, each a light typer app; one with the
name of a group that is there already adds to it"""

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tron: one hub where people and programs reach a small company of AI personas.",
)


def _version(asked: bool) -> None:
    if asked:
        from tron import __version__

        typer.echo(f"tron {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Run the hub until it is told to stop (Ctrl-C or SIGTERM)."""
    gc.disable()  # what is imported stays: looking for garbage in it costs a fifth of the start
    settings = load_settings(host=host, port=port)
    from tron import logs
    from tron.app import serve as run

    logs.configure(settings)
    asyncio.run(run(settings))


@app.command()
def config(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every setting, with secrets masked."""
    rows = load_settings().rows()
    if as_json:
        import json

        document = {env: {"value": v, "default": d, "help": h} for env, v, d, h in rows}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("setting", "value", "", "meaning"):
        table.add_column(column, overflow="fold", no_wrap=column == "setting")
    for env, value, default, meaning in rows:
        unchanged = value == default
        table.add_row(
            env,
            escape(value) or "[dim](empty)[/]",
            "[dim]default[/]" if unchanged else "[bold cyan]set[/]",
            f"[dim]{escape(meaning)}[/]",
        )
    Console().print(table)


@app.command()
def doctor() -> None:
    """Try every configured thing for real and say how to mend what fails."""
    from tron.cli.checkup import run

    if not asyncio.run(run()):
        raise typer.Exit(1)


app.command()(chat.chat)
app.command()(people.personas)
app.add_typer(people.life, name="life")
app.add_typer(access.owner, name="owner")
app.add_typer(access.token, name="token")
call.call.command()(replay.replay)
app.add_typer(call.call, name="call")
app.add_typer(tasks.tasks, name="tasks")
for entry in sorted(entry_points(group=INTEGRATIONS_COMMANDS), key=lambda entry: entry.name):
    try:
        added: typer.Typer = entry.load()
        group = next(
            (g.typer_instance for g in app.registered_groups if g.name == entry.name), None
        )
        if group is not None:
            group.registered_commands += added.registered_commands
        else:
            app.add_typer(added, name=entry.name)
    except Exception as error:  # noqa: BLE001 - border: a plug-in must not stop the command line
        typer.secho(f"tron {entry.name} can't be loaded: {error}", fg="yellow", err=True)


def main() -> None:
    """Entry point of the `tron` command."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 gets `?`, not a crash
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()
