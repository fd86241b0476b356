"""Whether the recordings a soak has left are whole, readable, and as long as their calls."""

import contextlib
import sqlite3
import wave
from pathlib import Path

import numpy as np

from scripts.bench.soak_report import WITHOUT_SOUND, Report
from tron.calls import tape
from tron.calls.listening import VOICED
from tron.calls.signals import FRAME_MS, Heard

HEADER = 44
SPARE_MS = 2_000
"""speech is played ahead, and frames that come in a bunch lie one behind the other"""


def look_at_recordings(report: Report, data: Path) -> None:
    """`data` is the hub's data folder; the hub has ended."""
    folder = data / "recordings"
    left = {str(path) for path in folder.iterdir()} if folder.exists() else set[str]()
    with contextlib.closing(sqlite3.connect(data / "tron.db")) as database:
        query = "select id, wire, recording from calls"
        for id, wire, path in database.execute(query).fetchall():
            if wire in WITHOUT_SOUND:
                continue
            if path not in left:
                report.faults.append(f"call {id} ({wire}) has no recording")
                continue
            left.remove(path)
            report.recorded += 1
            for fault in _faults(database, id, Path(path), report):
                report.faults.append(f"the recording of call {id} ({wire}) {fault}")
    if left:
        report.faults.append(f"in recordings is left: {sorted(left)[:5]}")


def _faults(database: sqlite3.Connection, id: str, path: Path, report: Report) -> list[str]:
    """What is wrong with one call's recording."""
    try:
        with wave.open(str(path)) as file:
            shape, rate = (file.getnchannels(), file.getsampwidth()), file.getframerate()
            told, pcm = file.getnframes(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        return [f"can't be read ({error})"]
    if shape != (2, 2):
        return [f"has the shape {shape}"]
    both = np.frombuffer(pcm, "<i2").reshape(-1, 2)
    if len(both) != told or path.stat().st_size != HEADER + len(pcm):
        return ["is not whole"]
    heard_ms, spoke = _heard(database, id)
    ended_ms = database.execute(
        "select at from call_events where call_id = ? and kind = 'ended'", (id,)
    ).fetchone()[0]
    long_ms = len(both) * 1000 / rate
    found = []
    if not heard_ms - 1 <= long_ms <= max(heard_ms, ended_ms) + SPARE_MS:
        found.append(
            f"lasts {long_ms:.0f} ms; the caller was heard up to {heard_ms} ms on it, the call "
            f"ended at {ended_ms} ms"
        )
    if spoke and not both[:, 0].any():
        found.append("is silent where the caller spoke")
    report.recorded_s += long_ms / 1000
    report.recorded_both += bool(spoke and both[:, 1].any())
    return found


def _heard(database: sqlite3.Connection, id: str) -> tuple[int, bool]:
    """Where the caller's last frame ends on a recording, in ms, and whether they ever spoke."""
    parts = database.execute("select data from call_tapes where call_id = ? order by part", (id,))
    _, entries = tape.read(row[0] for row in parts)
    end, spoke = 0, False
    for entry in entries:
        if isinstance(entry.what, Heard):
            end = max(end, entry.at - FRAME_MS) + FRAME_MS
            spoke = spoke or entry.what.speech >= VOICED
    return end, spoke
