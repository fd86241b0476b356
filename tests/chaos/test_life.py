"""A hub that is killed in the middle of a persona's day: the run is done once all the same."""

import contextlib
import sqlite3
from pathlib import Path

from integrations.openai.behaviours import Hang, Reply
from integrations.openai.fake import FakeProvider
from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import eventually
from tron.clock import DAY_MS

PERSONA = """---
name: Ada
title: Night watch
focus: [ledgers]
tone: calm
timezone: UTC
life:
  reflection: ["00:00", "06:00", "12:00", "18:00"]
---
You are Ada.
"""


def change(running: RunningHub, statement: str) -> None:
    with (
        contextlib.closing(sqlite3.connect(running.home / "data" / "tron.db")) as database,
        database,
    ):
        database.execute(statement)


def runs(running: RunningHub) -> list[tuple[str, str]]:
    """(status, result) of every scheduled run."""
    with contextlib.closing(sqlite3.connect(running.home / "data" / "tron.db")) as database:
        return database.execute(
            "SELECT status, result FROM life_runs WHERE slot != 'planned' ORDER BY id"
        ).fetchall()


async def reflections(running: RunningHub) -> list[str]:
    async with running.http.get("/api/life/journal") as answer:
        entries = await answer.json()
    return [entry["text"] for entry in entries if entry["kind"] == "reflection"]


async def test_a_killed_hubs_run_is_done_once_after_the_restart(
    hub: Hubs, fake: FakeProvider, tmp_path: Path
) -> None:
    personas = tmp_path / "personas"
    personas.mkdir()
    (personas / "ada.md").write_text(PERSONA)
    settings = {
        "TRON_PERSONAS": str(personas),
        "TRON_DEFAULT_AGENT": "ada",
        "TRON_LIFE": "true",
        "TRON_BRAIN": "openai",
        "OPENAI_BASE_URL": fake.base_url,
    }
    running = await hub(**settings)
    assert runs(running) == []  # a first start catches nothing up
    await running.terminate()

    # Since yesterday it was on the schedule, and the hub was down; there is a day to reflect on.
    change(running, f"UPDATE life_runs SET started_at = started_at - {DAY_MS}")
    change(
        running,
        "INSERT INTO journal (client_id, agent, kind, text, created_at) "
        "SELECT client_id, 'ada', 'note', 'Counted the ledgers twice.', "
        f"started_at + {DAY_MS} FROM life_runs LIMIT 1",
    )
    fake.script(Hang())
    await running.restart()
    await eventually(lambda: len(fake.requests) == 1, what="the run asks the model")
    assert [status for status, _ in runs(running)] == ["running"]

    await running.kill()
    change(running, "UPDATE hubs SET seen_at = 0")  # long enough ago for a hub to count as dead
    fake.script(Reply("The ledgers agree, and so do I."))
    await running.restart()
    await eventually(
        lambda: [status for status, _ in runs(running)] == ["completed"],
        what="the run is done after all",
    )
    assert len(await reflections(running)) == 1
    assert "ledgers agree" in (await reflections(running))[0]
