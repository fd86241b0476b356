"""`tron chat`: a conversation in the terminal, over the hub's OpenAI-compatible API.

It talks to a hub that is already running and knows nothing of its inside. Only the answer goes to
stdout, so `echo hi | tron chat` can be piped on; tools, cost and errors go to stderr. The stream
is read by hand rather than with the openai SDK: the hub says in comments which of its tools run,
and the SDK drops comments (and takes a second to import).
"""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tron.cli.terminal import (
    ask_hub,
    fail,
    hub_url,
    plain,
    problem,
    read_json,
    session,
)
from tron.environment import load_settings
from tron.errors import TronError

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession


class AnswerFailed(TronError):
    """The hub refused the turn, or failed in the middle of the answer."""


def chat(
    agent: Annotated[str | None, typer.Option(help="Who to talk to; else the default.")] = None,
    url: Annotated[str | None, typer.Option(help="Where the hub is; else this machine's.")] = None,
    token: Annotated[str, typer.Option(help="Bearer token of a protected hub.")] = "",
) -> None:
    """Talk to a persona of a running hub. Ctrl-C ends the answer, Ctrl-D the chat."""
    url = url or hub_url(load_settings())
    interactive = sys.stdin.isatty()
    with asyncio.Runner() as runner:
        talk = runner.run(_open(url, token, agent))
        try:
            if interactive:
                _converse(runner, talk)
            else:
                text = sys.stdin.read().strip()
                if not text:
                    fail("There was nothing to say: stdin was empty.", 2)
                runner.run(talk.say(text))
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        finally:
            runner.run(talk.http.close())


def _converse(runner: asyncio.Runner, talk: "Talk") -> None:
    import readline  # noqa: F401 - gives input() line editing and history

    typer.secho(
        f"{talk.agent or 'The hub'} is listening. Ctrl-C ends an answer, Ctrl-D the chat.",
        dim=True,
        err=True,
    )
    while True:
        try:
            text = input("\001\033[1m\002you ›\001\033[0m\002 ").strip()
        except EOFError:
            typer.echo()
            return
        except KeyboardInterrupt:
            typer.echo()
            continue
        if not text:
            continue
        try:
            runner.run(talk.say(text))
        except KeyboardInterrupt:
            typer.secho(" (stopped)", dim=True, err=True)
        except TronError as error:
            typer.secho(error.message, fg="red", err=True)


async def _open(url: str, token: str, agent: str | None) -> "Talk":
    """Find the hub and check that it knows `agent` before anybody types a word."""
    http = session(url, token)
    try:
        answer = await ask_hub(http, "GET", "v1/models")
        if answer is None:
            raise AnswerFailed(f"No hub answers at {url}. Start one with `tron serve`.")
        status, body = answer
        if status != 200:
            raise AnswerFailed(problem(status, body))
        try:
            known = [str(model["id"]) for model in body["data"]]
        except (TypeError, KeyError):
            raise AnswerFailed(f"What answers at {url} is not a hub.") from None
        if agent and agent.lower() not in known:
            raise AnswerFailed(f"Nobody here is called {agent!r}. Here are: {', '.join(known)}.")
    except BaseException:
        await http.close()
        raise
    return Talk(http, agent.lower() if agent else None)


class Talk:
    """One conversation with one persona."""

    def __init__(self, http: "ClientSession", agent: str | None) -> None:
        self.http = http
        self.agent = agent
        self._caller = f"cli-{secrets.token_hex(6)}"  # the hub keeps the transcript under it

    async def say(self, text: str) -> None:
        """Send one message and print the answer as it comes. Raises AnswerFailed."""
        from aiohttp import ClientError

        body = {
            "messages": [{"role": "user", "content": text}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "user": self._caller,
        }
        if self.agent:
            body["model"] = self.agent
        try:
            async with self.http.post("v1/chat/completions", json=body) as response:
                if response.status != 200:
                    raise AnswerFailed(problem(response.status, await read_json(response)))
                await self._show(response)
        except (ClientError, TimeoutError) as error:
            raise AnswerFailed(f"The hub went away: {type(error).__name__}.") from None

    async def _show(self, response: "ClientResponse") -> None:
        out = sys.stdout
        column = 0  # whether the cursor is inside a line of the answer
        last: dict[str, Any] = {}
        async for kind, value in _events(response):
            if kind == "tool" and sys.stderr.isatty():
                typer.secho(f"{chr(10) if column else ''}  · {plain(value)}", dim=True, err=True)
                column = 0
            elif kind == "data":
                last = {**last, **value}
                text = plain(_text(value))
                if text:
                    out.write(text)
                    out.flush()
                    column = 0 if text.endswith("\n") else 1
        if column:
            out.write("\n")
            out.flush()
        if sys.stderr.isatty():
            typer.secho(f"  {_bill(last)}", dim=True, err=True)


def _text(chunk: dict[str, Any]) -> str:
    choices = chunk.get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or ""


def _bill(last: dict[str, Any]) -> str:
    """Who answered, with what, and what it cost; unknown is said, never guessed."""
    hints = last.get("tron") or {}
    usage = last.get("usage") or {}
    parts = [str(hints.get("agent") or last.get("model") or ""), str(hints.get("provider") or "")]
    if "total_tokens" in usage:
        about = "≈" if hints.get("estimated") else ""
        parts.append(f"{about}{usage['total_tokens']} tokens")
    cost = hints.get("cost_usd")
    parts.append("cost unknown" if cost is None else f"${cost:.4f}" if cost else "no cost")
    if hints.get("tools"):
        parts.append("used " + ", ".join(map(str, hints["tools"])))
    return plain(" · ".join(part for part in parts if part))


async def _events(response: "ClientResponse") -> AsyncIterator[tuple[str, Any]]:
    """`("tool", name)` and `("data", chunk)` until the end. Raises AnswerFailed."""
    waiting = b""
    async for read in response.content.iter_any():
        *lines, waiting = (waiting + read).split(b"\n")
        for raw in lines:
            line = raw.decode().rstrip("\r")
            if line.startswith(": tool "):
                yield "tool", line.removeprefix(": tool ")
            elif line == "data: [DONE]":
                return
            elif line.startswith("data:"):
                chunk = json.loads(line.removeprefix("data:"))
                if "error" in chunk:
                    raise AnswerFailed(problem(500, chunk))
                yield "data", chunk
    raise AnswerFailed("The answer broke off: the hub closed the connection.")
