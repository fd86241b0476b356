"""An hour of telephone life in minutes: many short calls that go wrong in every way, and no trace.

    python -m scripts.bench.soak [--minutes 10] [--callers 20] [--seed 1] [--json FILE]

Callers by telephone (Media Streams and ConversationRelay), VAPI, Samantha's socket and the
ElevenLabs socket ring a hub as it is shipped, all at once and again and again: they interrupt,
press keys, send nonsense, hang up, vanish, stop reading, never connect or come back. Its language
model and speech providers are fakes that fail now and then, in every way they know. What each
caller does and which trouble comes when follows from the seed. At the end nothing may be left: no
task, process, file descriptor or file more than before, no growing memory, and every call in its
ledger with one ending that has a cause. Calls with sound are recorded (some 30 MB for each minute
of the run); each recording must be whole and as long as its call. Some of the calls are then
replayed from their tapes, and must come out as they were.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import os
import random
import re
import sqlite3
import statistics
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.console import Console

from integrations.openai import behaviours as b
from integrations.openai.fake import FakeProvider
from integrations.speech_fakes.fake import FakeSpeech
from integrations.twilio.fake import FakeTwilio
from integrations.vapi.fake import FakeVapi
from scripts.bench.callers import Question
from scripts.bench.calls import ready, start
from scripts.bench.measure import Server, cores, running
from scripts.bench.soak_callers import RATE, Speech, World, elevenlabs, samantha, twilio
from scripts.bench.soak_recordings import look_at_recordings
from scripts.bench.soak_report import (
    SPARE_FDS,
    Figures,
    Report,
    look_at_hub,
    look_at_ledger,
    look_at_log,
    look_at_vapi,
    show,
)
from scripts.bench.soak_words import relay, vapi
from tron.calls.audio import mulaw_encode, resample

ANSWER_WORDS = 5
STEADY = 3
"""seconds without a change"""
QUIET_S = 90.0
"""what is over must be gone after this"""
TROUBLE_S = (1.0, 4.0)
BETWEEN_S = (3.0, 12.0)
NEXT_CALL_S = (0.2, 1.0)
WIRES: dict[str, tuple[int, Callable[[World, int, random.Random], Awaitable[str]]]] = {
    "twilio": (6, twilio),
    "relay": (3, relay),
    "samantha": (2, samantha),
    "elevenlabs": (2, elevenlabs),
    "vapi": (3, vapi),
}
"""how many of 16 calls come by each"""
SETTINGS = {
    "TRON_BRAIN": "auto",
    "TRON_STT": "deepgram",
    "TRON_TTS": "deepgram",
    "DEEPGRAM_API_KEY": "key",
    "OPENAI_API_KEY": "key",
    "VAPI_SECRET": "secret",
    "TRON_TWILIO_MODE": "relay",  # those with a voice take the ticket to the other socket
    "TRON_RECORD_CALLS": "true",
    "TRON_CALL_GREETING": "true",
    "TRON_SPEECH_TIMEOUT_S": "1",
    "TRON_FIRST_TOKEN_TIMEOUT_S": "2",
    "TRON_TOKEN_TIMEOUT_S": "1",
    "TRON_PROVIDER_RETRIES": "0",
    # So that what should go has gone within the run.
    "TRON_PROCESS_IDLE_S": "4",
    "TRON_VOICE_SESSION_TTL_S": "5",
}


async def speech() -> Speech:
    """A real sentence: Silero takes no tone for speech."""
    from tron.speech.espeak import Espeak

    engine = Espeak()
    pcm = b"".join([c async for c in engine.speak("What time is it over there?", voice="")])
    rate = engine.facts.sample_rate
    await engine.close()
    return Speech.of(
        Question.of(mulaw_encode(resample(pcm, rate, 8_000))), resample(pcm, rate, RATE)
    )


# Trouble


async def _trouble(
    brain: FakeProvider, speaker: FakeSpeech, chance: random.Random, count: list[int]
) -> None:
    """The providers fail for a while, heal, and fail again, for ever."""
    thinking = (
        b.Status(500),
        b.Status(429, retry_after=1),
        b.DisconnectAfter(0),
        b.DisconnectAfter(3),
        b.HangAfter(2),
        b.Hang(),
        b.Garbage(2),
        b.Truncated(2),
        b.BrokenAfter(2),
    )
    while True:
        await asyncio.sleep(chance.uniform(*BETWEEN_S))
        count[0] += 1
        if chance.random() < 0.5:
            brain.always = chance.choice(thinking)
        else:
            what = chance.choice(("status", "cut_after", "silent", "garbage"))
            setattr(speaker, what, {"status": 503, "cut_after": 2}.get(what, True))
        await asyncio.sleep(chance.uniform(*TROUBLE_S))
        brain.always = None
        speaker.status, speaker.cut_after = 200, None
        speaker.silent = speaker.garbage = False
        speaker.said.clear()
        speaker.heard.clear()


# The callers


async def call(world: World, number: int, wire: str) -> str:
    """One call; how the caller left it."""
    _, begin = WIRES[wire]
    return await begin(world, number, random.Random(f"{world.seed}/{number}"))


async def _keep_calling(
    world: World, numbers: Iterator[int], made: Counter[str], left: Counter[str]
) -> None:
    """One line: a call after the other, for ever."""
    names, weights = list(WIRES), [weight for weight, _ in WIRES.values()]
    while True:
        number = next(numbers)
        chance = random.Random(f"{world.seed}/{number}/wire")
        [wire] = chance.choices(names, weights)
        try:
            how = await call(world, number, wire)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            how = f"{wire}: {type(error).__name__}"
        made[wire] += 1
        left[how] += 1
        await asyncio.sleep(chance.uniform(*NEXT_CALL_S))


# The hub, seen from outside


async def _figures(server: Server, http: aiohttp.ClientSession) -> Figures:
    async with http.get(f"http://127.0.0.1:{server.port}/metrics") as answer:
        text = await answer.text()

    def gauge(name: str) -> int:
        found = re.search(rf"^{name} ([\d.]+)$", text, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"/metrics has no {name}")
        return int(float(found.group(1)))

    return Figures(
        tasks=gauge("tron_tasks"),
        processes=gauge("tron_processes_live"),
        fds=len(os.listdir(f"/proc/{server.pid}/fd")),
        rss_mb=server.rss_mb,
    )


async def _quiet(server: Server, like: Figures | None = None) -> Figures:
    """The figures once what is over has gone: as they were (`like`), or the same for a while."""
    until = time.monotonic() + QUIET_S
    seen: deque[int] = deque(maxlen=STEADY)
    async with _session() as http:
        while True:
            await asyncio.sleep(1)
            now = await _figures(server, http)
            seen.append(now.tasks)
            if like is not None:
                settled = now.tasks <= like.tasks and now.fds <= like.fds + SPARE_FDS
            else:
                settled = len(seen) == STEADY and len(set(seen)) == 1
            if (settled and now.processes == 0) or time.monotonic() > until:
                return now


async def _watch(server: Server, seen: list[float]) -> None:
    while True:
        await asyncio.sleep(0.5)
        server.check()
        seen.append(server.rss_mb)


async def _summed_up(path: Path) -> int:
    """Wait until no summary of a call is due, though not for ever; when that was."""
    due = (
        "select count(*) from vapi_calls where summary_state in ('none', 'working')"
        " or (summary_state = 'waiting' and due_at <= ?)"
    )
    until = time.monotonic() + QUIET_S
    while True:
        now_ms = time.time_ns() // 1_000_000
        with contextlib.closing(sqlite3.connect(path)) as database:
            left = database.execute(due, (now_ms,)).fetchone()[0]
        if not left or time.monotonic() > until:
            return now_ms
        await asyncio.sleep(0.5)


def _files(home: Path) -> set[str]:
    """What lies in the data folder, but for recordings and what SQLite brings and takes."""
    found = (str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    comes_and_goes = ("-wal", "-shm", "-journal")
    return {
        name
        for name in found
        if not name.startswith("recordings/") and not name.endswith(comes_and_goes)
    }


# One run


@contextlib.asynccontextmanager
async def _hub(
    folder: Path, callers: int
) -> AsyncIterator[tuple[Server, FakeProvider, FakeSpeech]]:
    async with (
        FakeProvider(tokens=ANSWER_WORDS, delay_ms=5) as brain,
        FakeSpeech(key="key", text="what time is it") as speaker,
    ):
        settings = SETTINGS | {
            "OPENAI_BASE_URL": brain.base_url,
            "DEEPGRAM_API_URL": speaker.url,
            "TRON_MAX_CALLS": str(callers - 1),  # so that the lines are busy at times
        }
        with running(start(folder, **settings)) as server:
            yield server, brain, speaker


async def run(*, seconds: float, callers: int, seed: int, folder: Path) -> Report:
    """Call for `seconds`, then look at what is left. `folder` is empty and stays."""
    # Whoever hangs up leaves the fakes talking to nobody, which they would report as errors.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    said = await speech()
    made: Counter[str] = Counter()
    left: Counter[str] = Counter()
    troubles, memory = [0], list[float]()
    async with _hub(folder, callers) as (server, brain, speaker):
        async with _world(server, said, seed) as world:
            await ready(server, world.http)
            await _warm_up(world, speaker)
        before, files = await _quiet(server), _files(folder / "data")
        async with _world(server, said, seed) as world:
            numbers = itertools.count()
            lines = [_keep_calling(world, numbers, made, left) for _ in range(callers)]
            trouble = _trouble(brain, speaker, random.Random(seed), troubles)
            await _for(seconds, *lines, trouble, _watch(server, memory))
        summed_up = await _summed_up(folder / "data" / "tron.db")
        third = max(1, len(memory) // 3)
        report = Report(
            seed=seed,
            seconds=seconds,
            callers=callers,
            made=dict(made),
            left=dict(left),
            troubles=troubles[0],
            before=before,
            after=await _quiet(server, before),
            rss_first_mb=statistics.median(memory[:third]),
            rss_last_mb=statistics.median(memory[-third:]),
        )
        look_at_hub(report, _files(folder / "data") - files)
    await look_at_ledger(report, folder / "data" / "tron.db")
    look_at_vapi(report, folder / "data" / "tron.db", summed_up)
    look_at_recordings(report, folder / "data")
    look_at_log(report, folder / "hub.log")
    return report


def _session() -> aiohttp.ClientSession:
    # Hypercorn keeps what is left of a kept-alive connection until that would have timed out, long
    # after its client has closed it; that is no leak, but would hide one.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))


@contextlib.asynccontextmanager
async def _world(server: Server, said: Speech, seed: int) -> AsyncIterator[World]:
    async with (
        _session() as http,
        FakeTwilio(hub=f"http://127.0.0.1:{server.port}") as carrier,
        FakeVapi(secret=SETTINGS["VAPI_SECRET"]) as other,
    ):
        yield World(port=server.port, http=http, twilio=carrier, vapi=other, said=said, seed=seed)


async def _for(seconds: float, *endless: Coroutine[Any, Any, None]) -> None:
    """Run them for so long. Raises RuntimeError if one of them fails."""
    tasks = [asyncio.create_task(work) for work in endless]
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in done:
        raise RuntimeError("the soak itself failed") from task.exception()


async def _warm_up(world: World, speaker: FakeSpeech) -> None:
    """What is loaded once is loaded then: tables, threads, and the local engines."""
    numbers = itertools.count(-1, -1)
    for cut_after in (None, 2):
        speaker.cut_after = cut_after
        await asyncio.gather(*(call(world, next(numbers), wire) for wire in WIRES))
    speaker.cut_after = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--callers", type=int, default=20, help="at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the report here")
    parser.add_argument("--folder", type=Path, help="of the hub, kept; else a temporary one")
    given = parser.parse_args()
    os.sched_setaffinity(0, {cores()[0]})
    with tempfile.TemporaryDirectory(prefix="tron-soak-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = asyncio.run(
            run(
                seconds=given.minutes * 60,
                callers=given.callers,
                seed=given.seed,
                folder=folder,
            )
        )
    show(report, Console(width=160, highlight=False))
    if given.json:
        given.json.write_text(json.dumps(msgspec.to_builtins(report), indent=2))
    raise SystemExit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
