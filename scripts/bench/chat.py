"""What a streamed chat answer costs through the hub, beside the floor of its stack.

    python -m scripts.bench.chat [--quick] [--json FILE]

One run asks three servers in interleaved rounds: the fake provider directly; a bare Quart and
Hypercorn pass-through (`bare.py`); the hub as it is shipped, with SQLite and everything on. The
client and the fake share one core, the server under test has the other. Ends by itself after
about five minutes (`--quick`: one). `docs/performance.md` says how to read it.
"""

import argparse
import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from integrations.openai.fake import FakeProvider
from scripts.bench.measure import (
    Server,
    core_busy_s,
    cores,
    free_port,
    percentile,
    running,
)
from scripts.bench.streams import Client, Load

REPOSITORY = Path(__file__).parents[2]
TOKENS = 50
PACE_MS = 20.0
STARTS = 3
WARM_UP = 60
SHARES = (0.5, 0.95, 0.99)
LATE_LIMIT_MS = 5.0
OTHERS_LIMIT = 10.0
START_LIMIT_S = 30.0
WIDTH = 120
MARK = {True: "[green]met[/]", False: "[red]missed[/]"}


class Scenario(msgspec.Struct, frozen=True):
    """`at_once` streams, a token every `pace_ms` (0: as fast as they come), `requests` in all."""

    at_once: int
    pace_ms: float
    requests: int

    @property
    def name(self) -> str:
        pace = f"{self.pace_ms:.0f} ms a token" if self.pace_ms else "no delay"
        return f"{self.at_once} at once, {pace}"

    @property
    def stream_s(self) -> float:
        return TOKENS * self.pace_ms / 1000


FULL = (
    Scenario(1, 0, 200),
    Scenario(20, 0, 1000),
    Scenario(100, 0, 1000),
    Scenario(1, PACE_MS, 8),
    Scenario(20, PACE_MS, 100),
    Scenario(50, PACE_MS, 200),
    Scenario(100, PACE_MS, 400),
)
QUICK = (Scenario(20, 0, 400), Scenario(100, PACE_MS, 200))


class Figures(msgspec.Struct):
    """One server in one scenario, of one round or the medians of all."""

    first_ms: list[float]
    """time to the first token at p50, p95, p99"""
    streams_per_s: float
    cpu_ms: float | None
    """of the server, per request; None for the fake, which shares the client's process"""
    late_ms: float
    """p99 of the client's own lateness"""
    others: float
    """share of the server's core that other programs took meanwhile"""
    failures: int


class Life(msgspec.Struct):
    """One server as a process."""

    start_s: float
    """from nothing to the first answered request, on a fresh home: median"""
    idle_mb: float
    loaded_mb: float


class Report(msgspec.Struct):
    """Everything one run measured."""

    figures: dict[str, dict[str, Figures]]
    """scenario → server → figures"""
    lives: dict[str, Life]


class Target(msgspec.Struct):
    """A server under test and how to start it; the fake itself has nothing to start."""

    name: str
    port: int
    start: Callable[[], Server] | None = None


def targets(fake: FakeProvider, folder: Path) -> list[Target]:
    core = cores()[1]
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    bare_port, hub_port = free_port(), free_port()

    def bare() -> Server:
        command = [sys.executable, "-m", "scripts.bench.bare", "--port", str(bare_port)]
        command += ["--upstream", fake.base_url]
        env = clean | {"PYTHONPATH": str(REPOSITORY)}
        return Server("bare", command, port=bare_port, core=core, env=env, cwd=_home(folder))

    def hub() -> Server:
        command = [str(Path(sys.executable).parent / "tron"), "serve", "--port", str(hub_port)]
        home = _home(folder)
        env = clean | {
            "TRON_HOME": str(home / "data"),
            "TRON_PERSONAS": str(REPOSITORY / "personas"),
            "OPENAI_BASE_URL": fake.base_url,
            "OPENAI_API_KEY": "none",
        }
        return Server("hub", command, port=hub_port, core=core, env=env, cwd=home)

    return [
        Target("direct", fake.port),
        Target("bare", bare_port, bare),
        Target("hub", hub_port, hub),
    ]


def _home(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


async def first_answer(server: Server) -> float:
    """Seconds from the start of the process to its first whole answer."""
    client = Client(server.port)
    while server.age_s < START_LIMIT_S:
        try:
            await client.one(TOKENS)
        except OSError:
            server.check()
            await asyncio.sleep(0.01)
        else:
            return server.age_s
    raise RuntimeError(f"{server.name} gave no answer in {START_LIMIT_S} s")


async def measure(
    fake: FakeProvider, target: Target, server: Server | None, scenario: Scenario
) -> Figures:
    fake.delay_ms = scenario.pace_ms
    used, busy = _used(server)
    gc.collect()
    gc.disable()
    load: Load = await Client(target.port).load(
        requests=scenario.requests,
        at_once=scenario.at_once,
        spread_s=scenario.stream_s,
        words=TOKENS,
    )
    gc.enable()
    if not load.streams:
        raise RuntimeError(f"{target.name}, {scenario.name}: {load.failures[0]}")
    used, busy = _used(server)[0] - used, _used(server)[1] - busy
    firsts = [stream.first_s * 1000 for stream in load.streams]
    return Figures(
        first_ms=[percentile(firsts, share) for share in SHARES],
        streams_per_s=len(load.streams) / load.wall_s,
        cpu_ms=used * 1000 / scenario.requests if server else None,
        late_ms=percentile(load.late_s or [0.0], 0.99) * 1000,
        others=max(0.0, busy - used) / load.wall_s,
        failures=len(load.failures),
    )


def _used(server: Server | None) -> tuple[float, float]:
    """(CPU seconds of the server, busy seconds of its core) so far."""
    return (server.cpu_s, core_busy_s(server.core)) if server else (0.0, 0.0)


async def run(scenarios: tuple[Scenario, ...], rounds: int, names: tuple[str, ...]) -> Report:
    seen: dict[str, dict[str, list[Figures]]] = {s.name: {} for s in scenarios}
    lives: dict[str, Life] = {}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tron-bench-")))
        fake = await stack.enter_async_context(FakeProvider(tokens=TOKENS))
        servers: list[tuple[Target, Server | None]] = []
        for target in targets(fake, folder):
            if target.name not in names:
                continue
            server = None
            if target.start is not None:
                starts = []
                for _ in range(STARTS - 1):
                    with running(target.start()) as short:
                        starts.append(await first_answer(short))
                server = stack.enter_context(running(target.start()))
                starts.append(await first_answer(server))
                lives[target.name] = Life(median(starts), server.rss_mb, 0.0)
            servers.append((target, server))
            await Client(target.port).load(requests=WARM_UP, at_once=4, spread_s=0, words=TOKENS)
        for turn in range(rounds):
            for scenario in scenarios:
                for place in range(len(servers)):  # another one goes first each round
                    target, server = servers[(place + turn) % len(servers)]
                    figures = await measure(fake, target, server, scenario)
                    seen[scenario.name].setdefault(target.name, []).append(figures)
        for target, server in servers:
            if server is not None:
                lives[target.name].loaded_mb = server.rss_mb
    medians = {
        scenario: {name: _median(rows) for name, rows in by_name.items()}
        for scenario, by_name in seen.items()
    }
    return Report(medians, lives)


def _median(rounds: list[Figures]) -> Figures:
    cpu = [figures.cpu_ms for figures in rounds if figures.cpu_ms is not None]
    return Figures(
        first_ms=[median(f.first_ms[i] for f in rounds) for i in range(len(SHARES))],
        streams_per_s=median(f.streams_per_s for f in rounds),
        cpu_ms=median(cpu) if cpu else None,
        late_ms=median(f.late_ms for f in rounds),
        others=median(f.others for f in rounds),
        failures=sum(f.failures for f in rounds),
    )


def added_ms(figures: dict[str, Figures], name: str) -> list[float]:
    """Time to first token beyond that of the fake itself, at each percentile."""
    own, direct = figures[name].first_ms, figures["direct"].first_ms
    return [mine - its for mine, its in zip(own, direct, strict=True)]


def show(report: Report, console: Console) -> None:
    for scenario, by_name in report.figures.items():
        table = Table(title=scenario, title_justify="left")
        for column in ("", "first token ms", "added ms"):
            table.add_column(column)
        for column in ("streams/s", "CPU ms", "client late ms", "others %", "failed"):
            table.add_column(column, justify="right")
        for name, figures in by_name.items():
            table.add_row(
                name,
                _slashed(figures.first_ms),
                "" if name == "direct" else _slashed(added_ms(by_name, name)),
                f"{figures.streams_per_s:.0f}",
                "" if figures.cpu_ms is None else f"{figures.cpu_ms:.2f}",
                _doubted(figures.late_ms, LATE_LIMIT_MS),
                "" if name == "direct" else _doubted(figures.others * 100, OTHERS_LIMIT),
                str(figures.failures),
            )
        console.print(table)
    console.print(
        "Times at p50 / p95 / p99; added: beyond the fake's own; CPU: of the server, per request.\n"
        "[red]Red[/]: not to be believed, the client was late or others used the server's core.\n"
    )
    for name, life in report.lives.items():
        console.print(
            f"{name}: first answer {life.start_s:.2f} s after start, "
            f"{life.idle_mb:.0f} MB idle, {life.loaded_mb:.0f} MB after the load"
        )


def goals(report: Report) -> list[tuple[str, float, str, bool]]:
    """(what, figure, goal, whether it was met) for what this run measured of hub and bare."""
    found: list[tuple[str, float, str, bool]] = []
    paced = report.figures.get(Scenario(100, PACE_MS, 0).name, {})
    quick = report.figures.get(Scenario(20, 0, 0).name, {})
    if (hub := paced.get("hub")) and (bare := paced.get("bare")):
        cpu = (hub.cpu_ms or 0) / (bare.cpu_ms or 1)
        found.append(("CPU per paced stream, 100 at once, hub / bare", cpu, "≤ 1.7", cpu <= 1.7))
        floor_ms = max(added_ms(paced, "bare")[1], 0.1)  # noise may make it next to nothing
        late = added_ms(paced, "hub")[1] / floor_ms
        found.append(("added first token p95, the same", late, "≤ 2.5", late <= 2.5))
    if "hub" in quick and "bare" in quick:
        rate = quick["hub"].streams_per_s / quick["bare"].streams_per_s
        found.append(("streams/s without delay, 20 at once", rate, "≥ 0.5", rate >= 0.5))
    if life := report.lives.get("hub"):
        found.append(("start to first answer, s", life.start_s, "≤ 1.5", life.start_s <= 1.5))
        found.append(("idle memory, MB", life.idle_mb, "≤ 120", life.idle_mb <= 120))
    return found


def _doubted(value: float, limit: float) -> str:
    return f"[red]{value:.1f}[/]" if value > limit else f"{value:.1f}"


def _slashed(values: list[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of the two main scenarios")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    os.sched_setaffinity(0, {cores()[0]})
    scenarios, rounds = (QUICK, 1) if given.quick else (FULL, 3)
    report = asyncio.run(run(scenarios, rounds, ("direct", "bare", "hub")))
    console = Console(width=WIDTH, highlight=False)
    show(report, console)
    for what, figure, goal, met in goals(report):
        console.print(f"{MARK[met]}  {what}: {figure:.2f} (goal {goal})")
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))


if __name__ == "__main__":
    main()
