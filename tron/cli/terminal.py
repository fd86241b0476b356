"""How the commands speak: one clear line for an error, one way to reach a running hub.

`Commands` is the border of the command line: every error the hub raises on purpose becomes its
message and an exit code there, and a fault of ours becomes one line that says where it happened.
"""

import json
import re
import sys
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperGroup

from tron.errors import TronError
from tron.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse, ClientSession

    from tron.hub import Hub

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Commands(TyperGroup):
    """The tree of commands; turns errors into a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.TyperException, typer.Exit, typer.Abort):
            raise
        except SettingsError as error:
            for line in str(error).splitlines():
                typer.secho(f"setting {line}", fg="red", err=True)
            raise typer.Exit(2) from None
        except TronError as error:
            fail(error.message)
        except BrokenPipeError:  # `tron config | head`
            sys.stderr.close()
            raise typer.Exit(1) from None
        except Exception as error:  # noqa: BLE001 - border: people get a line, not a traceback
            place = traceback.extract_tb(error.__traceback__)[-1]
            fail(
                f"Unexpected {type(error).__name__}: {error} "
                f"({place.filename}:{place.lineno}). This is a fault of Tron's; please report it."
            )


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what went wrong on stderr and end the command."""
    typer.secho(message, fg="red", err=True)
    raise typer.Exit(code)


@asynccontextmanager
async def parts(settings: Settings) -> "AsyncIterator[Hub]":
    """A hub's parts for one command, without its everyday log lines."""
    import logging

    from tron import logs
    from tron.app import open_hub

    logs.configure(settings)
    logging.getLogger().setLevel(logging.WARNING)
    async with open_hub(settings) as hub:
        yield hub


def hub_url(settings: Settings) -> str:
    """Where the hub of these settings answers on this machine."""
    host = "localhost" if settings.loopback_only else settings.host
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def session(url: str, token: str) -> "ClientSession":
    """An HTTP session to a hub; answers may take as long as they need."""
    from aiohttp import ClientSession, ClientTimeout

    if not re.match(r"https?://[^/\s]+", url):
        fail(f"{url!r} is not a URL such as http://localhost:3000.", 2)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return ClientSession(
        url.rstrip("/") + "/",
        headers=headers,
        timeout=ClientTimeout(total=None, sock_connect=5),
    )


async def ask_hub(
    http: "ClientSession", method: str, path: str, **given: Any
) -> tuple[int, Any] | None:
    """(status, JSON body or None) of one request; None if nothing answers there."""
    from aiohttp import ClientError, InvalidURL

    try:
        async with http.request(method, path, **given) as response:
            return response.status, await read_json(response)
    except InvalidURL:
        fail("That is not a URL such as http://localhost:3000.", 2)
    except (ClientError, TimeoutError):
        return None


async def read_json(response: "ClientResponse") -> Any:
    """The body as JSON; None if it is something else."""
    try:
        return json.loads(await response.read())
    except ValueError:
        return None


def plain(text: str) -> str:
    """Text from elsewhere without the control characters that could drive a terminal."""
    return _CONTROL.sub("", text)


def problem(status: int, body: Any) -> str:
    """The message inside an error answer of the hub, whatever its shape."""
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message") if isinstance(error, dict) else error
    if status == 401:
        return (
            "This hub is protected. Pass --token; its owner makes one with "
            "`tron token create NAME --scope chat`."
        )
    return plain(str(message)) if message else f"The hub answered with status {status}."
