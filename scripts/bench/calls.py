"""How many phone calls one core carries, and how quickly they are answered.

    python -m scripts.bench.calls [--calls 1,20,80] [--seconds 20] [--json FILE] [--profile FILE]

The hub runs on one core as it is shipped (SQLite, ledger, sessions, Silero), with fake engines and
declared waits of 200 ms each; the callers share the other. A turn is measured at the caller: last
voiced sample handed to the socket → first audible sample received. Every second answer is spoken
into. A row whose callers were late by more than 5 ms (p99) is not to be believed.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table

from scripts.bench.callers import Caller, Question, Seen
from scripts.bench.measure import Server, core_busy_s, cores, free_port, percentile, running
from tron.calls.audio import mulaw_encode, resample

REPOSITORY = Path(__file__).parents[2]
WAITS_MS = 400.0  # declared: silence 200, then 200 more
START_MS = 200.0
RAMP_S = 0.1
SETTLE_S = 4.0
LATE_LIMIT_MS = 5.0
OTHERS_LIMIT = 10.0
TICK_S = 0.005
GOALS_CALLS = 80
MARK = {True: "[green]met[/]", False: "[red]missed[/]"}


class Row(msgspec.Struct, kw_only=True):
    """One load. Times in ms."""

    calls: int
    turn_p50: float
    turn_p95: float
    barge_p50: float
    barge_p95: float
    after_clear: int
    turns: int
    failed: int
    cpu_ms: float
    """of the server, per second of one call"""
    memory_mb: float
    """more than before the calls, per call"""
    late_ms: float
    """how late the callers' own loop was, p99"""
    others: float
    """share of the server's core that others used"""


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
    raise RuntimeError("the hub does not answer")


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


async def run(loads: list[int], seconds: float, profile: Path | None) -> list[Row]:
    said = await question()
    rows = []
    async with aiohttp.ClientSession() as http:
        for calls in loads:
            with (
                tempfile.TemporaryDirectory(prefix="tron-bench-") as folder,
                running(start(Path(folder))) as server,
            ):
                await ready(server, http)
                warm, task = await call(server, http, said, 9_999)  # loads Silero and numpy
                await asyncio.sleep(SETTLE_S)
                warm.close()
                task.cancel()
                await asyncio.sleep(0.5)
                with profiled(server, profile if calls == max(loads) else None, seconds):
                    rows.append(await measure(server, http, said, calls, seconds))
    return rows


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


def show(rows: list[Row], console: Console) -> None:
    table = Table(title="calls on one core", title_justify="left")
    for column in ("calls", "turn p50/p95 ms", "barge-in p50/p95 ms", "sound after clear"):
        table.add_column(column, justify="right")
    for column in ("turns", "failed", "CPU ms/call-s", "MB/call", "callers late ms", "others %"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row.calls),
            f"{row.turn_p50:.0f} / {row.turn_p95:.0f}",
            f"{row.barge_p50:.0f} / {row.barge_p95:.0f}",
            str(row.after_clear),
            str(row.turns),
            str(row.failed),
            f"{row.cpu_ms:.1f}",
            f"{row.memory_mb:.2f}",
            _doubted(row.late_ms, LATE_LIMIT_MS),
            _doubted(row.others * 100, OTHERS_LIMIT),
        )
    console.print(table)
    console.print(
        f"Of each turn {WAITS_MS:.0f} ms are declared waits, of each barge-in {START_MS:.0f}. "
        "[red]Red[/]: not to be believed, the callers were late or others used the server's core."
    )


def goals(rows: list[Row]) -> list[tuple[str, float, str, bool]]:
    """(what, figure, goal, whether it was met); the anchors are Pipecat's, one core, same rules."""
    by_calls = {row.calls: row for row in rows}
    found: list[tuple[str, float, str, bool]] = []
    if one := by_calls.get(1):
        p50, p95 = one.turn_p50 - WAITS_MS, one.turn_p95 - WAITS_MS
        found.append(("turn over its waits p50, 1 call, ms", p50, "≤ 27", p50 <= 27))
        found.append(("turn over its waits p95, 1 call, ms", p95, "≤ 43", p95 <= 43))
        found.append(("barge-in p95, 1 call, ms", one.barge_p95, "≤ 292", one.barge_p95 <= 292))
    if many := max(rows, key=lambda row: row.calls, default=None):
        found.append(("CPU ms per call-second", many.cpu_ms, "≤ 10", many.cpu_ms <= 10))
        found.append(("memory per call, MB", many.memory_mb, "≤ 2.4", many.memory_mb <= 2.4))
    if one and (full := by_calls.get(GOALS_CALLS)):
        ratio = full.turn_p95 / one.turn_p95
        held = ratio <= 1.25 and full.failed <= 0.005 * max(full.turns, 1)
        found.append((f"turn p95 at {GOALS_CALLS} calls, times that of 1", ratio, "≤ 1.25", held))
    late = sum(row.after_clear for row in rows)
    found.append(("messages with sound after a clear", late, "0", late == 0))
    return found


def _doubted(value: float, limit: float) -> str:
    return f"[red]{value:.1f}[/]" if value > limit else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", default="1,20,80", help="loads, one after the other")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured of each")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--profile", type=Path, help="py-spy's raw stacks of the largest load")
    given = parser.parse_args()
    os.sched_setaffinity(0, {cores()[0]})
    loads = [int(number) for number in given.calls.split(",")]
    rows = asyncio.run(run(loads, given.seconds, given.profile))
    console = Console(width=140, highlight=False)
    show(rows, console)
    for what, figure, goal, met in goals(rows):
        console.print(f"{MARK[met]}  {what}: {figure:.2f} (goal {goal})")
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)))


if __name__ == "__main__":
    main()
