"""`tron call replay`: a call that was, through the call machine of this program.

The tape and what the ledger has of the call come from the hub; the machine, its declared waits and
with `--audio` the ears are those of the program that runs the command, so a change can be tried on
real calls before a hub has it.
"""

import asyncio
import base64
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tron.cli.call import CallFailed, Token, Url, get
from tron.cli.terminal import fail, hub_url, plain, problem, read_json, session
from tron.environment import load_settings
from tron.errors import TronError
from tron.settings import Settings

if TYPE_CHECKING:
    from tron.calls.comparison import Pair
    from tron.calls.ledger import Line
    from tron.calls.tape import Entry, Head

DIFFERENT, NOT_REPLAYED = 1, 2
SIGNS = {"same": (" ", None), "moved": ("~", "yellow"), "gone": ("-", "red"), "new": ("+", "green")}
WAITS = {
    "start_ms": "TRON_VAD_START_MS",
    "stop_ms": "TRON_VAD_STOP_MS",
    "wait_ms": "TRON_TURN_WAIT_MS",
}


def replay(
    id: Annotated[str, typer.Argument(help="As `tron call list` shows it.")],
    audio: Annotated[
        bool, typer.Option("--audio", help="Hear a recorded call again, too: voice and words.")
    ] = False,
    url: Url = None,
    token: Token = "",
) -> None:
    """Run a call again through today's call machine: 0 the same, 1 different, 2 it can't be."""
    try:
        same = asyncio.run(_replay(load_settings(), id, audio, url, token))
    except TronError as error:
        fail(f"Cannot be replayed: {error.message}", NOT_REPLAYED)
    if not same:
        raise typer.Exit(DIFFERENT)


async def _replay(settings: Settings, id: str, audio: bool, url: str | None, token: str) -> bool:
    import msgspec

    from tron.calls import tape
    from tron.calls.comparison import compare, verdict
    from tron.calls.replay import Replay
    from tron.calls.signals import Ended
    from tron.calls.switchboard import waits_of

    call = await get(url, token, f"api/calls/{id}")
    kept = await get(url, token, f"api/calls/{id}/tape")
    head, entries = tape.read(base64.b64decode(part) for part in kept["parts"])
    manner = msgspec.structs.replace(head.manner, waits=waits_of(settings))
    if audio:
        recording = await _recording(settings, url, token, id)
        outcome = await _reheard(settings, head, entries, recording, manner)
    else:
        outcome = await Replay(entries, manner).run()
    then, now = _lines(call["timeline"]), outcome.lines
    whole = any(isinstance(entry.what, Ended) for entry in entries)
    end = entries[-1].at if entries else 0
    if not whole:  # the hub died, or its store was away for too long
        then = [line for line in then if line.at < end]
        now = [line for line in now if line.at < end]
    pairs = compare(then, now)
    _show(head, manner.waits, pairs, outcome.made_up)
    found = verdict(pairs)
    until = "" if whole else f", up to {end / 1000:.2f} s: the input after that was lost"
    if not found:
        typer.secho(f"Same: all {len(pairs)} lines{until}.", fg="green", bold=True)
    else:
        typer.secho(f"Different {plain(found)}{until}.", fg="red", bold=True)
    return not found


async def _reheard(
    settings: Settings, head: "Head", entries: "list[Entry]", recording: bytes, manner: Any
) -> Any:
    """The replay whose caller is heard again, with the ears of these settings."""
    from tron.calls.rehearing import Ears, with_sound
    from tron.calls.replay import Replay
    from tron.clock import SystemClock
    from tron.events import Bus
    from tron.speech.engines import Speech

    speech = Speech(settings, clock=SystemClock(), bus=Bus())
    try:
        activity = await speech.activity(head.heard_rate)
        heard = await asyncio.to_thread(with_sound, entries, recording, head.heard_rate, activity)
        ears = Ears(speech.recogniser, head.heard_rate)
        again = Replay(heard, manner, transcribe=ears.understand)
        return await again.run()
    finally:
        await speech.close()


async def _recording(settings: Settings, url: str | None, token: str, id: str) -> bytes:
    from aiohttp import ClientError

    url = url or hub_url(settings)
    async with session(url, token) as http:
        try:
            async with http.get(f"api/calls/{id}/recording") as answer:
                if answer.status != 200:
                    raise CallFailed(problem(answer.status, await read_json(answer)))
                return await answer.read()
        except (ClientError, TimeoutError):
            raise CallFailed(f"No hub answers at {url}.") from None


def _lines(timeline: list[dict[str, Any]]) -> "list[Line]":
    from tron.calls.ledger import Line

    return [Line(seq=number, **entry) for number, entry in enumerate(timeline, 1)]


def _show(head: "Head", waits: Any, pairs: "list[Pair]", made_up: list[tuple[int, str]]) -> None:
    for name, env in WAITS.items():
        then, now = getattr(head.manner.waits, name), getattr(waits, name)
        if then != now:
            typer.secho(f"{env} was {then}, is {now}", fg="yellow")
    typer.secho(f"  {'then':>10} {'now':>10}", bold=True)
    for pair in pairs:
        sign, colour = SIGNS[pair.mark]
        typer.secho(f"{sign} {_at(pair.then)} {_at(pair.now)}  {_told(pair)}", fg=colour)
    for at, what in made_up:
        typer.secho(
            f"Nobody answered {what} then, so it was made up at {at / 1000:.2f} s", dim=True
        )


def _at(line: "Line | None") -> str:
    return " " * 10 if line is None else f"{line.at / 1000:8.3f} s"


def _told(pair: "Pair") -> str:
    line = pair.then or pair.now
    assert line is not None
    turn = f" [{line.turn}]" if line.turn else ""
    moved = ""
    if pair.mark == "moved" and pair.then is not None and pair.now is not None:
        moved = f"  ({pair.now.at - pair.then.at:+d} ms"
        if pair.now.value != pair.then.value:
            moved += f", value {pair.then.value} → {pair.now.value}"
        moved += ")"
    return f"{line.kind:<14}{turn}{moved}  {plain(line.text)}".rstrip()
