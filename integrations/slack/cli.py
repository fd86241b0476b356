"""`tron slack demo`: a Slack workspace in the terminal, with no account and no key.

Starts the fake workspace and a hub of its own that is connected to it by Socket Mode, in a
temporary folder, and shows the thread as the people in it would see it.
"""

import asyncio
import logging
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from integrations.slack.fake import FakeSlack

commands = typer.Typer(no_args_is_help=True, help="Slack, without an account.")

START_S = 20.0
ANSWER_S = 120.0


@commands.callback()
def _group() -> None:
    pass


@commands.command()
def demo(
    say: Annotated[
        list[str] | None, typer.Option(help="Say this and end; may be repeated.")
    ] = None,
) -> None:
    """Talk to the personas in a make-believe Slack channel. Ctrl-D ends it."""
    try:
        asyncio.run(_demo(say or []))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _demo(lines: list[str]) -> None:
    from integrations.slack.fake import FakeSlack
    from tron import logs
    from tron.app import serve
    from tron.environment import load_settings
    from tron.supervise import Tasks

    async with FakeSlack() as slack:
        with tempfile.TemporaryDirectory(prefix="tron-slack-demo-") as home:
            settings = load_settings(
                home=Path(home),
                port=_free_port(),
                life=False,
                database_url=f"sqlite:///{home}/tron.db",
                slack_bot_token=slack.bot.token,
                slack_app_token=slack.app_token,
                slack_api_url=f"{slack.url}/api/",
            )
            logs.configure(settings)
            logging.getLogger().setLevel(logging.WARNING)
            tasks = Tasks("demo")
            hub = tasks.start(serve(settings), "hub")
            try:
                while not slack.sockets:
                    if hub.done():
                        await hub  # says why it could not start
                    await asyncio.sleep(0.05)
                await _talk(slack, lines)
            finally:
                await tasks.close()


async def _talk(slack: "FakeSlack", lines: list[str]) -> None:
    thread = ""
    if not lines:
        typer.secho("#general in a make-believe workspace. Ctrl-D ends it.", dim=True)
        typer.secho("Try: maya: how do we grow?   or: tronhelp", dim=True)
    for text in lines:
        typer.echo(f"sam › {text}")
        thread = await _exchange(slack, text, thread)
    if lines:
        return
    typed = _typed()
    while (line := await typed.get()) is not None:
        if line.strip():
            thread = await _exchange(slack, line.strip(), thread)
        typed.task_done()


def _typed() -> "asyncio.Queue[str | None]":
    """Lines from the keyboard; None at the end. Ctrl-C need not wait for the next one."""
    loop = asyncio.get_running_loop()
    loop.remove_signal_handler(signal.SIGINT)  # the hub took it; here it ends the demo
    lines: asyncio.Queue[str | None] = asyncio.Queue(1)

    async def hand_in(line: str | None) -> None:
        await lines.put(line)
        await lines.join()  # the next line is asked for once this one is answered

    def read() -> None:
        while True:
            try:
                line: str | None = input("sam › ")
            except EOFError:
                line = None
            try:
                asyncio.run_coroutine_threadsafe(hand_in(line), loop).result()
            except RuntimeError:  # the demo is over
                return
            if line is None:
                return

    threading.Thread(target=read, daemon=True).start()
    return lines


async def _exchange(slack: "FakeSlack", text: str, thread: str) -> str:
    """Say it in the thread (the first message begins one) and show what comes back."""
    before = len(slack.thread(thread)) if thread else 0
    ts = await slack.mention(text, thread=thread)
    thread = thread or ts
    try:
        answer = await slack.answer_in(thread, count=before + 1, within_s=ANSWER_S)
    except AssertionError:
        typer.secho("No answer came.", fg="red", err=True)
        raise typer.Exit(1) from None
    sys.stdout.write("  " + answer.replace("\n", "\n  ") + "\n")
    sys.stdout.flush()
    return thread


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
