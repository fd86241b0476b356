"""`tron owner` and `tron token`: who may reach a protected hub.

They open the hub's own store, so they work whether or not a hub is running.
"""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tron.cli.terminal import fail, parts
from tron.environment import load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tron.web.security import Security

T = TypeVar("T")

owner = typer.Typer(no_args_is_help=True, help="The hub's owner.")
token = typer.Typer(no_args_is_help=True, help="Bearer tokens for programs.")


@owner.callback()
def _owner() -> None:  # keeps `set` a subcommand while it is the only one
    pass


@owner.command("set")
def owner_set() -> None:
    """Set the owner's password (asked twice, or read from stdin); the hub is then protected."""
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")

    async def work(security: "Security") -> None:
        await security.set_owner(password)

    _with_security(work)
    typer.echo("The owner is set. The hub now asks for a token or the password.")


@token.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="What the token is for, for your own list.")],
    scope: Annotated[list[str], typer.Option(help="What it may do; give it again for more.")],
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires.")] = None,
) -> None:
    """Make a token and print it, once; it cannot be shown again."""

    async def work(security: "Security") -> tuple[str, str]:
        return await security.create_token(name, scope, days)

    id, secret = _with_security(work)
    typer.secho(f"Token {id} ({name}). It is shown only now:", dim=True, err=True)
    typer.echo(secret)


@token.command("list")
def token_list() -> None:
    """List the tokens; the secrets are not kept, so they are not shown."""

    async def work(security: "Security") -> list[dict[str, Any]]:
        return await security.list_tokens()

    rows = _with_security(work)
    if not rows:
        typer.echo("There are no tokens. Make one: tron token create NAME --scope chat")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in rows[0]:
        table.add_column(column.removesuffix("_at"), overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(name, value)) for name, value in row.items()))
    Console().print(table)


@token.command("revoke")
def token_revoke(
    id: Annotated[str, typer.Argument(help="The token's id, as `tron token list` shows it.")],
) -> None:
    """Revoke a token at once."""

    async def work(security: "Security") -> bool:
        return await security.revoke_token(id)

    if not _with_security(work):
        fail(f"There is no token {id!r}. `tron token list` shows them.")
    typer.echo(f"Token {id} is revoked.")


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return " ".join(value)
    return str(value)[: len("2024-01-15")] if name.endswith("_at") else str(value)


def _with_security(work: "Callable[[Security], Awaitable[T]]") -> T:
    settings = load_settings()

    async def run() -> T:
        async with parts(settings) as hub:
            return await work(hub.security)

    return asyncio.run(run())
