"""What `scripts/bench/calls.py` measured: its rows, and what they say about the goals."""

import math
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

WAITS_MS = 400.0  # declared: silence 200, then 200 more
START_MS = 200.0
LATE_LIMIT_MS = 5.0
OTHERS_LIMIT = 10.0
GOALS_CALLS = 80

Goal = tuple[str, float, str, bool]
"""what, figure, goal, whether it was met"""


class Row(msgspec.Struct, kw_only=True):
    """One server under one load, of one round or the medians of all. Times in ms."""

    server: str
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


COUNTED = ("after_clear", "turns", "failed")
MEASURED = [n for n in Row.__struct_fields__ if n not in ("server", "calls", *COUNTED)]

Rows = dict[str, dict[int, Row]]
"""server → calls → row"""


def medians(rows: list[Row]) -> Rows:
    """Of all rounds; what is counted is added up instead."""
    found: Rows = {}
    for server, calls in dict.fromkeys((row.server, row.calls) for row in rows):
        same = [row for row in rows if (row.server, row.calls) == (server, calls)]
        whole: dict[str, Any] = {"server": server, "calls": calls}
        whole |= {name: sum(getattr(row, name) for row in same) for name in COUNTED}
        for name in MEASURED:
            values = [getattr(row, name) for row in same]
            whole[name] = median([v for v in values if not math.isnan(v)] or [math.nan])
        found.setdefault(server, {})[calls] = Row(**whole)
    return found


def carries(row: Row, one: Row) -> bool:
    """Whether a load is carried: hardly slower than a single call, hardly any turn lost."""
    return row.turn_p95 <= 1.25 * one.turn_p95 and row.failed < 0.005 * row.turns


def largest(by_calls: dict[int, Row]) -> Row | None:
    """The largest load that was carried; None if it wasn't compared with one call."""
    one = by_calls.get(1)
    held = [row for row in by_calls.values() if one and carries(row, one)]
    return max(held, key=lambda row: row.calls, default=None)


def show(rows: Rows, console: Console) -> None:
    table = Table(title="calls on one core", title_justify="left")
    for column in ("calls", "server", "turn p50/p95 ms", "barge-in p50/p95 ms"):
        table.add_column(column, justify="right")
    for column in ("sound after clear", "turns", "failed", "CPU ms/call-s", "MB/call"):
        table.add_column(column, justify="right")
    for column in ("callers late ms", "others %"):
        table.add_column(column, justify="right")
    every = [row for by_calls in rows.values() for row in by_calls.values()]
    for row in sorted(every, key=lambda row: row.calls):
        table.add_row(
            str(row.calls),
            row.server,
            f"{row.turn_p50:.1f} / {row.turn_p95:.1f}",
            "" if row.server == "echo" else f"{row.barge_p50:.0f} / {row.barge_p95:.0f}",
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
    if "echo" in rows:
        console.print(
            "A turn of the echo is one frame there and back; it can't be interrupted, so it fails "
            "every turn in which it should be."
        )
    for server, by_calls in rows.items():
        if server != "echo" and (held := largest(by_calls)):
            console.print(
                f"{server}: {held.calls} calls carried, of those tried, at {held.cpu_ms:.1f} ms "
                f"CPU per call-second and {held.memory_mb:.2f} MB per call"
            )


def goals(by_calls: dict[int, Row]) -> list[Goal]:
    """Of the hub alone: the figures to reach on the machine where Pipecat was measured before."""
    found: list[Goal] = []
    if one := by_calls.get(1):
        p50, p95 = one.turn_p50 - WAITS_MS, one.turn_p95 - WAITS_MS
        found.append(("turn over its waits p50, 1 call, ms", p50, "≤ 27", p50 <= 27))
        found.append(("turn over its waits p95, 1 call, ms", p95, "≤ 43", p95 <= 43))
        found.append(("barge-in p95, 1 call, ms", one.barge_p95, "≤ 292", one.barge_p95 <= 292))
    if by_calls:
        many = by_calls[max(by_calls)]
        found.append(("CPU ms per call-second", many.cpu_ms, "≤ 10", many.cpu_ms <= 10))
        found.append(("memory per call, MB", many.memory_mb, "≤ 2.4", many.memory_mb <= 2.4))
    if one and (full := by_calls.get(GOALS_CALLS)):
        ratio = full.turn_p95 / one.turn_p95
        what = f"turn p95 at {GOALS_CALLS} calls, times that of 1"
        found.append((what, ratio, "≤ 1.25", carries(full, one)))
    late = sum(row.after_clear for row in by_calls.values())
    found.append(("messages with sound after a clear", late, "0", late == 0))
    return found


def ratios(hub: dict[int, Row], pipecat: dict[int, Row]) -> list[Goal]:
    """Of the hub to Pipecat, in the same run."""
    one, its = hub.get(1), pipecat.get(1)
    if one is None or its is None:
        return []
    compared = [  # noise may make Pipecat's next to nothing
        ("turn over its waits p50, 1 call", one.turn_p50 - WAITS_MS, its.turn_p50 - WAITS_MS, 0.6),
        ("turn over its waits p95, 1 call", one.turn_p95 - WAITS_MS, its.turn_p95 - WAITS_MS, 0.6),
        ("barge-in p95, 1 call", one.barge_p95, its.barge_p95, 0.85),
    ]
    found = [_share(what, ours / max(theirs, 0.1), most) for what, ours, theirs, most in compared]
    mine, theirs = largest(hub), largest(pipecat)
    if mine is None or theirs is None or theirs.calls == 1:
        return found  # of one call most is the idle server
    at = f"at {mine.calls} and {theirs.calls} calls"
    found.append(_share(f"CPU per call-second {at}", mine.cpu_ms / theirs.cpu_ms, 0.4))
    found.append(_share(f"memory per call {at}", mine.memory_mb / theirs.memory_mb, 0.2))
    times = mine.calls / theirs.calls
    found.append(("calls carried, hub / Pipecat", times, "≥ 2.5", times >= 2.5))
    return found


def _share(what: str, share: float, most: float) -> Goal:
    return f"{what}, hub / Pipecat", share, f"≤ {most}", share <= most


def _doubted(value: float, limit: float) -> str:
    return f"[red]{value:.1f}[/]" if value > limit else f"{value:.1f}"
