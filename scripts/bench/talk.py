"""How soon a caller is answered by a hub that has no key: `python -m scripts.bench.talk`.

One caller, one core, real speech both ways: flite's voices (espeak-ng's where it is missing) ask
everyday questions over G.711 through `/twilio/media`; Moonshine understands, the offline brain
answers, espeak-ng speaks. Two clocks are read. The hub's: its ledger, from the commit of an
utterance to the first audio. The caller's: from the last voiced sample it sent to the first audible
one it played; less the wait before the commit, that is the same span with the way there and back.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table

from integrations.twilio.fake import FakeTwilio
from integrations.twilio.fake_call import FRAME, RATE, FakeCall
from scripts.bench.calls import MARK, ready, start
from scripts.bench.everyday import EVERYDAY, words
from scripts.bench.measure import core_busy_s, cores, percentile, running
from scripts.bench.speech import Say, from_engine, programs
from tron.calls.audio import level
from tron.calls.signals import FRAME_MS
from tron.speech.espeak import Espeak

GOAL_MS = 900.0
AUDIBLE_DB = -40.0
ANSWER_S = 10.0
QUIET_MS = 1_000
APART_MS = 1_000
"""most by which the caller's clock and the hub's may differ"""
LOCAL = {"TRON_BRAIN": "offline", "TRON_STT": "local", "TRON_TTS": "local"}


class Asked(msgspec.Struct, kw_only=True):
    """One question and what became of it; ms, on the caller's clock."""

    text: str
    spoken_at: float
    """end of the last voiced sample"""
    heard_at: float | None = None
    """begin of the first audible sample of the answer"""


class Row(msgspec.Struct, kw_only=True):
    """One turn; ms."""

    asked: str
    understood: str
    waited: float
    recognised: float
    answered: float
    spoken: float
    caller: float
    """last voiced sample sent to first audible one played"""

    @property
    def hub(self) -> float:
        """From the commit to the first audio, by the ledger."""
        return self.recognised + self.answered + self.spoken

    @property
    def at_caller(self) -> float:
        """The same as the caller heard it."""
        return self.caller - self.waited


def audible(pcm: bytes) -> list[bool]:
    """Of each frame, whether it can be heard."""
    size = FRAME * 2
    return [level(pcm[at : at + size]) > AUDIBLE_DB for at in range(0, len(pcm) - size + 1, size)]


async def ask(call: FakeCall, text: str, say: Say) -> Asked:
    """Say it, and hear the answer to its end."""
    pcm = await say(text)
    begun, media = len(call.said), call.count("media")
    await call.speak(pcm)
    try:
        await call.until(lambda: call.count("media") > media, within_s=ANSWER_S)
        await call.until_quiet(for_ms=QUIET_MS)
    except TimeoutError:
        pass  # told below as a question without an answer
    frame = FRAME * 2
    said, first = audible(call.said[begun:]), begun // frame
    last = first + max((at for at, voiced in enumerate(said) if voiced), default=0) + 1
    answer = audible(call.heard[last * frame :])
    heard = last + answer.index(True) if True in answer else None
    return Asked(
        text=text,
        spoken_at=last * FRAME_MS,
        heard_at=None if heard is None else heard * FRAME_MS,
    )


def rows(asked: list[Asked], turns: list[dict[str, Any]]) -> Iterator[Row]:
    """The questions with the turns they became."""
    for question in asked:
        if question.heard_at is None:
            continue
        since, until = question.spoken_at - APART_MS, question.heard_at + APART_MS
        for turn in turns:
            if turn["total_ms"] is not None and since <= turn["at"] <= until:
                yield Row(
                    asked=question.text,
                    understood=turn["said"],
                    waited=turn["waited_ms"],
                    recognised=turn["recognised_ms"],
                    answered=turn["answered_ms"],
                    spoken=turn["spoken_ms"],
                    caller=question.heard_at - question.spoken_at,
                )
                break


async def talk(port: int, voices: dict[str, Say], turns: int) -> tuple[list[Row], int]:
    """(the turns, questions that got no answer): one call to each voice."""
    url = f"http://127.0.0.1:{port}"
    found: list[Row] = []
    silent = 0
    each = -(-turns // len(voices))
    async with FakeTwilio(hub=url) as twilio, aiohttp.ClientSession(url) as http:
        for number, (name, say) in enumerate(voices.items()):
            call = await twilio.dial(f"+1415555{number:04}")
            await call.until_quiet(for_ms=QUIET_MS)
            asked = [await ask(call, EVERYDAY[at % len(EVERYDAY)], say) for at in range(each)]
            await call.hang_up()
            of_call = await told(http, call.sid)
            found += (of_voice := list(rows(asked, of_call["turns"])))
            silent += len(asked) - len(of_voice)
            print(f"{name}: {len(of_voice)} of {len(asked)} questions answered")
    return found, silent


async def told(http: aiohttp.ClientSession, sid: str) -> dict[str, Any]:
    """What the hub's ledger says of a call, once it is over there."""
    while True:
        async with http.get("/api/calls") as answer:
            mine = [c for c in await answer.json() if c["external_id"] == sid]
        if mine and mine[0]["cause"] is not None:
            async with http.get(f"/api/calls/{mine[0]['id']}") as answer:
                found: dict[str, Any] = await answer.json()
                return found
        await asyncio.sleep(0.1)


async def run(turns: int) -> tuple[list[Row], int, float]:
    """(the turns, questions that got no answer, the share of the hub's core that others used)."""
    engine = Espeak()
    voices = {name: say for name, say in programs(RATE).items() if name != "flite kal16"}
    voices = voices or {
        f"espeak {voice}": from_engine(engine, voice, RATE) for voice in ("en-us", "en-gb")
    }
    with tempfile.TemporaryDirectory(prefix="tron-bench-") as folder:
        server = start(Path(folder), **LOCAL, TRON_CALL_GREETING="true")
        with running(server):
            async with aiohttp.ClientSession() as http:
                await ready(server, http)
            cpu, busy, clock = server.cpu_s, core_busy_s(server.core), time.perf_counter()
            found, silent = await talk(server.port, voices, turns)
            server.check()
            cpu, busy = server.cpu_s - cpu, core_busy_s(server.core) - busy
            others = max(0.0, busy - cpu) / (time.perf_counter() - clock)
    await engine.close()
    return found, silent, others


def show(found: list[Row], silent: int, others: float, console: Console) -> None:
    table = Table(title=f"{len(found)} turns, {silent} without an answer", title_justify="left")
    for column in ("ms", "p50", "p95", "longest"):
        table.add_column(column, justify="right" if column != "ms" else "left")
    for what, values in (
        ("wait before the commit", [row.waited for row in found]),
        ("understood", [row.recognised for row in found]),
        ("first words", [row.answered for row in found]),
        ("first audio", [row.spoken for row in found]),
        ("commit to first audio, ledger", [row.hub for row in found]),
        ("commit to first audible, caller", [row.at_caller for row in found]),
        ("last voiced to first audible, caller", [row.caller for row in found]),
    ):
        p50, p95 = percentile(values, 0.5), percentile(values, 0.95)
        table.add_row(what, f"{p50:.0f}", f"{p95:.0f}", f"{max(values):.0f}")
    console.print(table)
    p95 = percentile([row.at_caller for row in found], 0.95)
    exact = sum(words(row.asked) == words(row.understood) for row in found)
    console.print(f"{exact} questions were understood to the word.")
    console.print(
        f"Others used {others:.0%} of the hub's core; above 10 % the times are theirs too."
    )
    console.print(f"{MARK[p95 <= GOAL_MS]}  commit to first audio p95 (goal ≤ {GOAL_MS:.0f} ms)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=40, help="questions, in all voices together")
    parser.add_argument("--json", type=Path, help="also write the turns here")
    given = parser.parse_args()
    os.sched_setaffinity(0, {cores()[0]})
    found, silent, others = asyncio.run(run(given.turns))
    show(found, silent, others, Console(width=100, highlight=False))
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))


if __name__ == "__main__":
    main()
