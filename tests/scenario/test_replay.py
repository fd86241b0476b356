"""`tron call replay`: a call that was, run again by the command line of today."""

import asyncio
import os
import sqlite3
from typing import Any

import pytest

from integrations.twilio.fake import FakeTwilio
from integrations.twilio.fake_call import RATE
from tests.harness.hub import TRON, Hubs, RunningHub
from tests.harness.waiting import eventually
from tron.calls.audio import resample
from tron.speech.espeak import Espeak

FAKES = {
    "TRON_STT": "fake",
    "TRON_TTS": "fake",
    "TRON_BRAIN": "fake",
    "TRON_FAKE_TOKENS": "6",
    "TRON_RECORD_CALLS": "true",
}


async def question() -> bytes:
    engine = Espeak()
    pcm = b"".join([chunk async for chunk in engine.speak("What time is it there?", voice="")])
    rate = engine.facts.sample_rate
    await engine.close()
    return resample(pcm, rate, RATE)


async def called(running: RunningHub) -> str:
    """A question by telephone and its answer; the id of the call."""
    async with FakeTwilio(hub=running.base_url) as twilio:
        call = await twilio.dial("+14155550100")
        await call.until_quiet(within_s=60)
        before = call.count("media")
        await call.speak(await question())
        await call.until(lambda: call.count("media") > before, within_s=60)
        await call.until_quiet(within_s=60)
        await call.hang_up()
        found: list[dict[str, Any]] = []

        async def over() -> bool:
            async with running.http.get("/api/calls") as answer:
                found[:] = await answer.json()
            return bool(found) and found[0]["cause"] is not None

        await eventually(over, what="the call's end")
    return str(found[0]["id"])


async def replay(running: RunningHub, *words: str, **settings: str) -> tuple[int, str]:
    """(exit code, what it printed) of the command, in a shell with the hub's settings."""
    process = await asyncio.create_subprocess_exec(
        TRON,
        *("call", "replay", *words, "--url", running.base_url),
        cwd=running.home,
        env={"PATH": os.environ["PATH"], "HOME": str(running.home), **FAKES, **settings},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


@pytest.fixture
async def talked(hub: Hubs) -> tuple[RunningHub, str]:
    running = await hub(**FAKES)
    return running, await called(running)


async def test_today_is_as_then_and_what_changes_is_shown(talked: tuple[RunningHub, str]) -> None:
    running, id = talked
    code, printed = await replay(running, id)
    assert code == 0, printed
    assert printed.splitlines()[-1].startswith("Same: all ")
    code, printed = await replay(running, id, TRON_TURN_WAIT_MS="500")
    assert code == 1, printed
    assert "TRON_TURN_WAIT_MS was 200, is 500" in printed
    marked = [line for line in printed.splitlines() if line[:2] in ("~ ", "- ", "+ ")]
    assert "commit" in marked[0]
    verdict = printed.splitlines()[-1]
    assert verdict.startswith("Different from ")
    assert "`commit` comes " in verdict
    assert verdict.endswith("ms later.")


async def test_a_recorded_caller_is_heard_again(talked: tuple[RunningHub, str]) -> None:
    running, id = talked
    code, printed = await replay(running, id, "--audio")
    assert code == 0, printed
    code, printed = await replay(running, id, "--audio", TRON_FAKE_TRANSCRIPT="Who is there?")
    assert code == 1, printed
    committed = [line for line in printed.splitlines()[:-1] if "committed" in line]
    gone = [line for line in committed if line.startswith("- ")]
    new = [line for line in committed if line.startswith("+ ")]
    assert len(gone) == len(new) == len(committed) / 2 >= 1
    assert all(line.endswith("What time is it?") for line in gone)
    assert all(line.endswith("Who is there?") for line in new)


async def test_what_cannot_be_replayed_says_why(talked: tuple[RunningHub, str]) -> None:
    running, id = talked
    code, printed = await replay(running, "0123456789abcdef")
    assert code == 2
    assert printed == "Cannot be replayed: There is no call '0123456789abcdef'.\n"
    for recording in (running.home / "data" / "recordings").iterdir():
        recording.unlink()
    code, printed = await replay(running, id, "--audio")
    assert (code, printed) == (2, "Cannot be replayed: There is no recording of this call.\n")
    with sqlite3.connect(running.home / "data" / "tron.db") as database:
        database.execute("delete from call_tapes")
    code, printed = await replay(running, id)
    assert (code, printed) == (2, "Cannot be replayed: No input of this call was kept.\n")
