"""How many phone calls one core carries, and how quickly they are answered.

    python -m scripts.bench.calls [--calls 1,20,80] [--against echo,pipecat] [--rounds 3]
                                  [--seconds 20] [--json FILE] [--profile FILE]

The hub runs on one core as it is shipped (SQLite, ledger, sessions, Silero), with fake engines and
declared waits of 200 ms each; the callers share the other. A turn is measured at the caller: last
voiced sample handed to the socket → first audible sample received. Every second answer is spoken
into. A row whose callers were late by more than 5 ms (p99) is not to be believed.

With `--against` others take the same calls by turns: `echo`, which only sends frames back, and a
bot made of Pipecat (`pipecat_bot.py`). Milliseconds belong to the machine; their ratios do not.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import aiohttp
import msgspec
from rich.console import Console

from scripts.bench.callers import Caller, Question, Seen
from scripts.bench.calls_report import Row, goals, medians, ratios, show
from scripts.bench.measure import Server, core_busy_s, cores, free_port, percentile, running
from scripts.bench.phone_servers import echo, pipecat, pipecat_is_there
from tron.calls.audio import mulaw_encode, resample

REPOSITORY = Path(__file__).parents[2]
RAMP_S = 0.25  # time to begin a call, which costs some of them a tenth of a second
SETTLE_S = 4.0
TICK_S = 0.005
MARK = {True: "[green]met[/]", False: "[red]missed[/]"}


def start(folder: Path, **settings: str) -> Server:
    """A hub on a core of its own; `settings` by their environment names win over the fakes."""
    port = free_port()
    env = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(folder),
        "TRON_HOME": str(folder / "data"),
        "TRON_PERSONAS": str(REPOSITORY / "personas"),
        "TRON_LIFE": "false",
        "TRON_LOG_FORMAT": "json",
        "TRON_BRAIN": "fake",
        "TRON_STT": "fake",
        "TRON_TTS": "fake",
        "TRON_CALL_GREETING": "false",
        "TRON_MAX_CALLS": "1000",
        "TRON_MAX_PROCESSES": "2000",
        "TRON_BUDGET_TOKENS": "0",
        "TRON_VAD_START_MS": "200",
        "TRON_VAD_STOP_MS": "200",
        "TRON_TURN_WAIT_MS": "200",
        **settings,
    }
    tron = str(Path(sys.executable).parent / "tron")
    command = [tron, "serve", "--port", str(port)]
    return Server("hub", command, port=port, core=cores()[1], env=env, cwd=folder)


async def question() -> Question:
    """A real sentence: Silero takes no tone for speech."""
    from tron.speech.espeak import Espeak

    engine = Espeak()
    pcm = b"".join([c async for c in engine.speak("What time is it over there?", voice="")])
    rate = engine.facts.sample_rate
    await engine.close()
    return Question.of(mulaw_encode(resample(pcm, rate, 8_000)))


async def ready(server: Server, http: aiohttp.ClientSession) -> None:
    for _ in range(600):
        server.check()
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with http.get(f"http://127.0.0.1:{server.port}/health") as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(0.05)
    raise RuntimeError(f"{server.name} does not answer")


async def call(
    server: Server, http: aiohttp.ClientSession, said: Question, number: int
) -> tuple[Caller, "asyncio.Task[None]"]:
    """Begin one call, by the webhook as a carrier does."""
    sid = f"CA{number}-{time.time_ns()}"
    form = {"CallSid": sid, "From": f"+1415555{number:04}", "To": "+15005550006"}
    url = f"http://127.0.0.1:{server.port}/twilio/voice"
    async with http.post(url, data=form) as answer:
        document = ElementTree.fromstring(await answer.text())
    parameter = document.find(".//Parameter")
    assert parameter is not None
    caller = Caller(said, number=number)
    return caller, asyncio.create_task(caller.run(server.port, parameter.get("value", ""), sid))


async def measure(
    server: Server, http: aiohttp.ClientSession, said: Question, calls: int, seconds: float
) -> Row:
    before_mb = server.rss_mb
    begun = []
    for number in range(calls):
        begun.append(await call(server, http, said, number))
        await asyncio.sleep(RAMP_S)
    await asyncio.sleep(SETTLE_S)
    late: list[float] = []
    watch = asyncio.create_task(_watch(late))
    for caller, _ in begun:
        caller.measuring = True
    cpu, busy, clock = server.cpu_s, core_busy_s(server.core), time.perf_counter()
    await asyncio.sleep(seconds)
    wall = time.perf_counter() - clock
    cpu, busy = server.cpu_s - cpu, core_busy_s(server.core) - busy
    memory_mb = (server.rss_mb - before_mb) / calls
    seen = Seen()
    for caller, task in begun:
        caller.measuring = False
        seen.add(caller.seen)
        caller.close()
        task.cancel()
    watch.cancel()
    await asyncio.wait([task for _, task in begun])
    await asyncio.sleep(1)
    server.check()
    missing = [float("nan")]
    return Row(
        server=server.name,
        calls=calls,
        turn_p50=percentile(seen.turns or missing, 0.5),
        turn_p95=percentile(seen.turns or missing, 0.95),
        barge_p50=percentile(seen.barge_ins or missing, 0.5),
        barge_p95=percentile(seen.barge_ins or missing, 0.95),
        after_clear=seen.after_clear,
        turns=len(seen.turns),
        failed=seen.failed,
        cpu_ms=cpu / wall / calls * 1000,
        memory_mb=memory_mb,
        late_ms=percentile(late, 0.99) * 1000,
        others=max(0.0, busy - cpu) / wall,
    )


async def _watch(late: list[float]) -> None:
    """How much later than asked this process's own loop wakes up."""
    while True:
        due = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        late.append(time.perf_counter() - due)


async def run(
    names: list[str], loads: list[int], rounds: int, seconds: float, profile: Path | None
) -> list[Row]:
    said = await question()
    rows = []
    async with aiohttp.ClientSession() as http:
        for turn in range(rounds):
            for calls in loads:
                for place in range(len(names)):  # another one goes first each round
                    name = names[(place + turn) % len(names)]
                    to = profile if name == "hub" and calls == max(loads) else None
                    rows.append(await once(name, http, said, calls, seconds, to))
    return rows


async def once(
    name: str,
    http: aiohttp.ClientSession,
    said: Question,
    calls: int,
    seconds: float,
    profile: Path | None,
) -> Row:
    """A server started anew, under one load."""
    with (
        tempfile.TemporaryDirectory(prefix="tron-bench-") as folder,
        running(SERVERS[name](Path(folder))) as server,
    ):
        await ready(server, http)
        warm, task = await call(server, http, said, 9_999)  # loads Silero and numpy
        await asyncio.sleep(SETTLE_S)
        warm.close()
        task.cancel()
        await asyncio.sleep(0.5)
        with profiled(server, profile, seconds):
            return await measure(server, http, said, calls, seconds)


@contextlib.contextmanager
def profiled(server: Server, to: Path | None, seconds: float) -> Iterator[None]:
    """With py-spy, if a file is given and it is on the PATH."""
    if to is None:
        yield
        return
    command = [
        "py-spy",
        "record",
        "--gil",
        "-r",
        "200",
        "-p",
        str(server.pid),
        "-d",
        str(int(seconds)),
        "-f",
        "raw",
    ]
    profiler = subprocess.Popen([*command, "-o", str(to)], stdout=subprocess.DEVNULL)
    yield
    profiler.wait(seconds + 60)


SERVERS: dict[str, Callable[[Path], Server]] = {"hub": start, "echo": echo, "pipecat": pipecat}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", default="1,20,80", help="loads, one after the other")
    parser.add_argument("--against", default="", help="echo, pipecat or both, with a comma")
    parser.add_argument("--rounds", type=int, default=1, help="of all loads; medians are shown")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured of each")
    parser.add_argument("--json", type=Path, help="also write the figures of every round here")
    parser.add_argument("--profile", type=Path, help="py-spy's raw stacks of the largest load")
    given = parser.parse_args()
    names = ["hub", *filter(None, given.against.split(","))]
    if unknown := set(names) - set(SERVERS):
        parser.error(f"--against knows echo and pipecat, not {', '.join(sorted(unknown))}")
    if "pipecat" in names and not pipecat_is_there():
        parser.error("Pipecat's environment is missing or old; to make it: make test-pipecat")
    os.sched_setaffinity(0, {cores()[0]})
    loads = [int(number) for number in given.calls.split(",")]
    every = asyncio.run(run(names, loads, given.rounds, given.seconds, given.profile))
    rows = medians(every)
    console = Console(width=140, highlight=False)
    show(rows, console)
    reached = goals(rows["hub"]) + ratios(rows["hub"], rows.get("pipecat", {}))
    for what, figure, goal, met in reached:
        console.print(f"{MARK[met]}  {what}: {figure:.2f} (goal {goal})")
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(every)))


if __name__ == "__main__":
    main()
