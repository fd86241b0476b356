"""Pipecat phones the hub: its Twilio serializer, unmodified, builds and reads every frame.

Pipecat is large and pins what it likes, so it lives in an environment of its own:
`make test-pipecat` makes it and runs this. Without it this is left out, and says so.
"""

import asyncio
import os
import re
import wave
from pathlib import Path

import msgspec
import pytest

from tests.harness.hub import Hubs
from tests.harness.waiting import PATIENCE_S, eventually
from tron.calls.audio import resample
from tron.speech.moonshine import Moonshine

REPOSITORY = Path(__file__).parents[2]
VENV = REPOSITORY / os.environ.get("PIPECAT_VENV", ".venv-pipecat")
PYTHON = VENV / "bin" / "python"
CALLER = REPOSITORY / "tests" / "pipecat" / "caller.py"
CALL_S = 4 * PATIENCE_S

pytestmark = pytest.mark.skipif(
    not (VENV / ".installed").exists(), reason="Pipecat as a caller was not run: make test-pipecat"
)


async def run(*command: str | Path) -> str:
    """What a program printed; fails with what it complained of."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(CALL_S):
            out, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaint.decode()[-3_000:]
    return out.decode()


async def understood(pcm: bytes, rate: int) -> str:
    engine = Moonshine()
    wanted = engine.facts.sample_rate
    heard = await engine.transcribe(await asyncio.to_thread(resample, pcm, rate, wanted))
    await engine.close()
    return heard.text.lower()


async def test_pipecat_asks_the_time_and_is_told(hub: Hubs, tmp_path: Path) -> None:
    running = await hub(TRON_BRAIN="offline")
    ask, out = tmp_path / "ask.wav", tmp_path / "out.wav"
    await run("flite", "-voice", "slt", "-t", "What time is it?", "-o", ask)
    url = running.base_url.replace("http", "ws", 1) + "/twilio/media"
    counted = msgspec.json.decode(await run(PYTHON, CALLER, url, ask, out))

    async def over() -> bool:
        async with running.http.get("/api/calls") as answer:
            return [call["cause"] for call in await answer.json()] == ["caller-hung-up"]

    await eventually(over, what="the call's end")
    async with running.http.get("/api/calls") as answer:
        (call,) = await answer.json()
    async with running.http.get(f"/api/calls/{call['id']}") as answer:
        told = await answer.json()
    (turn,) = told["turns"]
    assert "time" in turn["said"].lower(), "it was understood"
    assert turn["ending"] == "completed"
    with wave.open(str(out)) as file:
        rate, pcm = file.getframerate(), file.readframes(file.getnframes())
    cut = counted["greeting_bytes"]
    assert "hello" in await understood(pcm[:cut], rate)
    said = " ".join(e["text"] for e in told["timeline"] if e["kind"] == "say" and e["turn"])
    heard = await understood(pcm[cut:], rate)
    words = [word for word in re.findall(r"[a-z]{4,}", said.lower()) if word in heard]
    assert len(words) >= 2, (said, heard)
    assert counted["frames_received"] > 0
    # Some media give no frame: its resampler keeps the beginning back.
    assert set(counted["other_events"]) <= {"mark", "media"}
    print(f"asked: {turn['said']!r}; said: {said!r}; heard: {heard!r}; {counted}")
