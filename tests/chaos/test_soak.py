"""A hub after much telephoning: nothing is left of it but the ledger."""

import asyncio
import contextlib
import json
import re
from pathlib import Path

import aiohttp

from scripts.bench import soak
from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import PATIENCE_S, eventually

FLOODS = 10
OWN = 4
"""tasks that a hub may begin by itself meanwhile"""


async def tasks(hub: RunningHub) -> int:
    async with hub.http.get("/metrics") as answer:
        found = re.search(r"^tron_tasks ([\d.]+)$", await answer.text(), re.MULTILINE)
    assert found is not None
    return int(float(found.group(1)))


async def test_a_minute_of_calls_that_go_wrong_leaves_nothing_behind(tmp_path: Path) -> None:
    report = await soak.run(seconds=15, callers=6, seed=7, folder=tmp_path)
    assert report.faults == []
    assert report.listed >= 12
    assert 0 < report.replayed == report.recorded < report.listed
    assert report.recorded_both > 0
    assert 0 < report.reported < report.listed_vapi
    assert report.turns > 0
    assert report.troubles > 0


async def test_who_floods_a_closing_socket_does_not_keep_it(hub: Hubs) -> None:
    running = await hub(TRON_STT="fake", TRON_TTS="fake", TRON_BRAIN="fake")
    before = await tasks(running)
    start = {
        "event": "start",
        "start": {
            "streamSid": "MZ1",
            "callSid": "CA1",
            "customParameters": {"token": "of nobody"},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }
    frame = b"\x81\x80\0\0\0\0"  # an empty text, masked
    for _ in range(FLOODS):
        async with aiohttp.ClientSession() as http:
            socket = await http.ws_connect(f"{running.base_url}/twilio/media")
            await socket.send_str(json.dumps(start))
            connection = socket._response.connection
            assert connection is not None
            line = connection.transport
            assert line is not None
            for _ in range(4):
                if not line.is_closing():
                    line.write(frame * 500)
                await asyncio.sleep(0)
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(PATIENCE_S):
                    while not socket.closed:
                        await socket.receive()

    async def gone() -> bool:
        return await tasks(running) <= before + OWN

    await eventually(gone, what="the connections' tasks to end")
