"""What a soak measured, what is wrong with it, and how that is shown."""

import contextlib
import random
import sqlite3
from collections import Counter
from pathlib import Path

import msgspec
from rich.console import Console

from tron.calls import tape
from tron.calls.comparison import compare, verdict
from tron.calls.ledger import Line
from tron.calls.replay import Replay
from tron.calls.tape import Untold

SPARE_FDS = 8
"""of connections that pools may keep or not: to the database (two each) and to providers"""
GROWTH = 0.10
"""of resident memory, the last third of the run over the first; measured from a minute on"""
MEASURED_S = 60.0
REPLAYED = 300
WITHOUT_SOUND = ("twilio-relay",)
"""wires whose carrier hears and speaks: nothing to record, and no tape"""
STILL_THERE = ("unknown", "hub-stopping")
"""causes of calls that nobody had ended when all callers had gone"""
ALARMS = ("Traceback", "task.failed", "was never awaited", "Task was destroyed", "task_exception")


class Figures(msgspec.Struct, kw_only=True):
    """The hub at one moment."""

    tasks: int
    processes: int
    fds: int
    rss_mb: float


class Report(msgspec.Struct, kw_only=True):
    """What was measured."""

    seed: int
    seconds: float
    callers: int
    made: dict[str, int]
    """calls tried, by wire"""
    left: dict[str, int]
    """how the callers left"""
    troubles: int
    listed: int = 0
    """calls in the ledger"""
    causes: dict[str, int] = msgspec.field(default_factory=dict)
    turns: int = 0
    interrupted: int = 0
    call_s: float = 0.0
    tape_bytes_s: float = 0.0
    """of a call"""
    replayed: int = 0
    listed_vapi: int = 0
    """calls in VAPI's ledger"""
    reported: int = 0
    """of these with a report"""
    summaries: dict[str, int] = msgspec.field(default_factory=dict)
    recorded: int = 0
    recorded_both: int = 0
    """recordings in which both sides speak"""
    recorded_s: float = 0.0
    before: Figures
    after: Figures
    rss_first_mb: float
    rss_last_mb: float
    """medians of the first and last third"""
    faults: list[str] = msgspec.field(default_factory=list)


def look_at_hub(report: Report, new_files: set[str]) -> None:
    before, after = report.before, report.after
    if after.tasks > before.tasks:
        report.faults.append(f"{after.tasks - before.tasks} tasks more than before")
    if after.processes:
        report.faults.append(f"{after.processes} processes are left")
    if after.fds > before.fds + SPARE_FDS:
        report.faults.append(f"{after.fds - before.fds} file descriptors more than before")
    grown = report.rss_last_mb / report.rss_first_mb - 1
    if grown > GROWTH and report.seconds >= MEASURED_S:
        report.faults.append(f"memory has grown by {grown:.0%}")
    if new_files:
        report.faults.append(f"files are left: {sorted(new_files)[:5]}")


async def look_at_ledger(report: Report, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        calls = database.execute(
            "select id, ended_at, started_at, wire, cause from calls"
        ).fetchall()
        ended = dict(
            database.execute(
                "select call_id, count(*) from call_events where kind = 'ended' group by 1"
            )
        )
        kinds = dict(database.execute("select kind, count(*) from call_events group by 1"))
        tapes = database.execute("select sum(length(data)) from call_tapes").fetchone()[0] or 0
        report.listed = len(calls)
        report.causes = dict(Counter(cause or "none" for *_, cause in calls))
        report.turns = kinds.get("turn_began", 0)
        report.interrupted = kinds.get("turn_dropped", 0)
        report.call_s = sum(ended_at - began for _, ended_at, began, *_ in calls if ended_at) / 1000
        report.tape_bytes_s = tapes / max(report.call_s, 1.0)
        for id, ended_at, _, _, cause in calls:
            if ended_at is None or not cause or cause in STILL_THERE:
                report.faults.append(f"call {id} has no end or no cause ({cause})")
            if ended.get(id, 0) != 1:
                report.faults.append(f"call {id} has {ended.get(id, 0)} endings")
        taped = [id for id, _, _, wire, _ in calls if wire not in WITHOUT_SOUND]
        for id in random.Random(report.seed).sample(taped, min(REPLAYED, len(taped))):
            if different := await _replayed(database, id):
                report.faults.append(f"call {id} replayed is different {different}")
            report.replayed += 1


def look_at_vapi(report: Report, path: Path, now_ms: int) -> None:
    """`now_ms`: when what was due should have been done."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        calls = database.execute(
            "select call_id, status, ended_at, ended_reason, report, summary_state, due_at"
            " from vapi_calls"
        ).fetchall()
        still = "select count(*) from sessions where channel = 'vapi' and ended_at is null"
        talking = database.execute(still).fetchone()[0]
    report.listed_vapi = len(calls)
    report.reported = sum(told is not None for *_, told, _, _ in calls)
    report.summaries = dict(Counter(state for *_, state, _ in calls))
    for id, status, ended_at, reason, _, state, due_at in calls:
        if status != "ended" or ended_at is None or not reason:
            report.faults.append(f"call {id} has no end or no cause ({status}, {reason})")
        if state != "done" and not (state == "waiting" and due_at > now_ms):
            report.faults.append(f"call {id} was not summed up ({state})")
    if talking:
        report.faults.append(f"{talking} sessions of VAPI's calls are open")


async def _replayed(database: sqlite3.Connection, id: str) -> str:
    """How a call replayed from its tape differs; empty: not at all."""
    parts = database.execute("select data from call_tapes where call_id = ? order by part", (id,))
    columns = "seq, at, kind, turn, text, value"
    events = database.execute(
        f"select {columns} from call_events where call_id = ? order by seq",
        (id,),
    )
    names = columns.split(", ")
    then = [Line(**dict(zip(names, row, strict=True))) for row in events]
    try:
        head, entries = tape.read(row[0] for row in parts)
    except Untold as error:
        return f"({error.message})"
    return verdict(compare(then, (await Replay(entries, head.manner).run()).lines))


def look_at_log(report: Report, log: Path) -> None:
    found = [line for line in log.read_text().splitlines() if any(a in line for a in ALARMS)]
    report.faults += [f"the log says {line[:300]}" for line in found[:5]]
    if len(found) > 5:
        report.faults.append(f"and {len(found) - 5} such lines more")


def show(report: Report, console: Console) -> None:
    made, before, after = sum(report.made.values()), report.before, report.after
    rows = (
        ("calls tried", f"{made} ({_listed(report.made)})"),
        ("how the callers left", _listed(report.left)),
        ("troubles of the providers", str(report.troubles)),
        ("calls in the ledger", f"{report.listed}, {report.call_s / 60:.0f} minutes"),
        ("their endings", _listed(report.causes)),
        ("turns", f"{report.turns}, of these cut short {report.interrupted}"),
        (
            "calls in VAPI's ledger",
            f"{report.listed_vapi}, with a report {report.reported}; "
            f"summaries: {_listed(report.summaries)}",
        ),
        (
            "recordings",
            f"{report.recorded}, {report.recorded_s / 60:.0f} minutes, "
            f"with both voices {report.recorded_both}",
        ),
        ("tapes", f"{report.tape_bytes_s:.0f} bytes a call-second"),
        ("replayed the same", f"{report.replayed} calls looked at"),
        (
            "memory",
            f"{report.rss_first_mb:.1f} MB in the first third, {report.rss_last_mb:.1f} last",
        ),
        ("tasks", f"{before.tasks} before, {after.tasks} after"),
        ("file descriptors", f"{before.fds} before, {after.fds} after"),
        ("processes", f"{after.processes} left"),
    )
    for what, figure in rows:
        console.print(f"{what:>26}  {figure}")
    for fault in report.faults:
        console.print(f"[red]fault[/]  {fault}", markup=True)
    if not report.faults:
        console.print("[green]Nothing is left behind.[/]")


def _listed(counted: dict[str, int]) -> str:
    most = sorted(counted.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{name} {count}" for name, count in most)
