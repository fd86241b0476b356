"""`tron call demo`: the first phone call, with no telephone, no account and no key.

A simulated caller dials the hub that runs here (or one started for it), says a sentence or plays
a WAV, listens until the persona has answered, and hangs up.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from tron.cli.call import CallFailed, Token, Url, describe
from tron.cli.terminal import ask_hub, hub_url, plain, problem, session
from tron.environment import load_settings
from tron.settings import Settings

commands = typer.Typer()

CALLER = "+15005550100"
QUESTION = "What time is it?"
ANSWER_S = 30.0
QUIET_MS = 1_500
START_S = 20.0


@commands.callback()
def _group() -> None:
    pass


@commands.command()
def demo(
    say: Annotated[
        str, typer.Option(help='What the caller says, such as "Please hang up."')
    ] = QUESTION,
    wav: Annotated[Path | None, typer.Option(help="A WAV the caller plays instead.")] = None,
    agent: Annotated[str | None, typer.Option(help="Who answers; else the default.")] = None,
    out: Annotated[Path, typer.Option(help="Where both sides go, as a stereo WAV.")] = Path(
        "call.wav"
    ),
    url: Url = None,
    token: Token = "",
) -> None:
    """Place a simulated call: no telephone, no account, no key."""
    asyncio.run(_demo(load_settings(), say, wav, agent, out, url, token))


async def _demo(
    settings: Settings,
    say: str,
    wav: Path | None,
    agent: str | None,
    out: Path,
    at: str | None,
    token: str,
) -> None:
    from integrations.twilio.fake import FakeTwilio

    pcm = await _read(wav) if wav is not None else await _spoken(say)
    async with _hub(at or hub_url(settings), token, ours=at is None) as url:
        twilio = FakeTwilio(
            hub=url,
            auth_token=settings.twilio_auth_token.partition(",")[0].strip(),
            public_url=settings.public_url,
        )
        async with twilio:
            try:
                call = await twilio.dial(CALLER, agent=agent)
                if not call.count("connected"):
                    raise CallFailed(f"The hub did not take the call ({call.status}).")
                await call.until_quiet(within_s=ANSWER_S)  # the greeting
                await call.speak(pcm)
                before = call.count("media")
                await call.until(lambda: call.count("media") > before, within_s=ANSWER_S)
                with suppress(ConnectionError):  # the persona may have ended the call
                    await call.until_quiet(for_ms=QUIET_MS, within_s=ANSWER_S * 2)
            except ConnectionError as error:
                raise CallFailed(plain(str(error))) from None
            except TimeoutError:
                raise CallFailed("Nobody answered in time.") from None
            await call.hang_up()
        recording = call.recording()
        await asyncio.to_thread(out.write_bytes, recording)
        await _report(url, token, call.sid)
    typer.secho(f"Both sides: {out}", dim=True)


async def _report(url: str, token: str, sid: str) -> None:
    """What was understood and answered."""
    async with session(url, token) as http:
        calls = await _ask(http, "api/calls")
        mine = next((c for c in calls if c["external_id"] == sid), None)
        if mine is None:
            raise CallFailed("The hub did not list the call.")
        detail = await _ask(http, f"api/calls/{mine['id']}")
    who = detail["agent"]
    for entry in detail["timeline"]:
        if entry["kind"] == "turn_began":
            typer.echo(f"caller ›  {plain(entry['text'])}")
        elif entry["kind"] == "say":
            typer.echo(f"{who:>6} ›  {plain(entry['text'])}")
    for turn in detail["turns"]:
        typer.secho(describe(turn), dim=True)


async def _ask(http: Any, path: str) -> Any:
    answer = await ask_hub(http, "GET", path)
    if answer is None or answer[0] != 200:
        raise CallFailed("The hub went away." if answer is None else problem(*answer))
    return answer[1]


@asynccontextmanager
async def _hub(url: str, token: str, *, ours: bool) -> AsyncIterator[str]:
    """The hub that runs there, or (`ours`) one of our own for as long as the call lasts."""
    async with session(url, token) as http:
        if await ask_hub(http, "GET", "health") is not None:
            yield url
            return
    if not ours:
        raise CallFailed(f"No hub answers at {url}. Start one with `tron serve`.")
    typer.secho("No hub runs here, so one is started for this call.", dim=True, err=True)
    import os
    import sys

    with tempfile.TemporaryDirectory(prefix="tron-call-") as folder:
        log = Path(folder) / "hub.log"
        with log.open("wb") as sink:
            # Its own data and no schedules: nothing of this hub's is touched.
            process = await asyncio.create_subprocess_exec(
                Path(sys.executable).parent / "tron",
                "serve",
                env={**os.environ, "TRON_HOME": folder, "TRON_LIFE": "false"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        try:
            async with session(url, token) as http, asyncio.timeout(START_S):
                while await ask_hub(http, "GET", "health") is None:
                    if process.returncode is not None:
                        tail = (await asyncio.to_thread(log.read_text))[-1_000:]
                        raise CallFailed(f"The hub could not start:\n{plain(tail)}")
                    await asyncio.sleep(0.05)
            yield url
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


async def _spoken(text: str) -> bytes:
    """A sentence in the local voice, as the telephone carries it."""
    from tron.calls.audio import resample
    from tron.speech.espeak import Espeak

    engine = Espeak()
    try:
        pcm = b"".join([chunk async for chunk in engine.speak(text, voice="")])
        return await asyncio.to_thread(resample, pcm, engine.facts.sample_rate, 8_000)
    finally:
        await engine.close()


async def _read(path: Path) -> bytes:
    """A WAV file of any rate, as the telephone carries it. Raises CallFailed."""
    import wave

    from tron.calls.audio import resample

    def read() -> bytes:
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2:
                raise CallFailed(f"{path} is not a 16-bit WAV.")
            channels, rate = file.getnchannels(), file.getframerate()
            pcm = file.readframes(file.getnframes())
        if channels > 1:
            import numpy as np

            samples = np.frombuffer(pcm, "<i2").reshape(-1, channels)
            pcm = np.ascontiguousarray(samples[:, 0]).tobytes()
        return resample(pcm, rate, 8_000)

    try:
        return await asyncio.to_thread(read)
    except (OSError, EOFError, wave.Error) as error:
        raise CallFailed(f"{path} can't be read: {error}") from None
