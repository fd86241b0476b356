"""What one streamed answer costs in CPU by the client that reads it.

    python -m scripts.bench.upstream

The same streams from the same fake, read by the openai SDK as it is shipped (httpx2), by the SDK on
its aiohttp transport, and by aiohttp with msgspec; interleaved, medians of the rounds. The fake is
a process of its own on the other core, so the CPU is the reader's alone.
"""

import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import msgspec
import openai
from rich.console import Console
from rich.table import Table

from scripts.bench.measure import Server, cores, free_port, running

REPOSITORY = Path(__file__).parents[2]
TOKENS = 50
ROUNDS = 3
CASES = ((1, 0, 100), (20, 0, 300), (100, 20, 200))
"""(at once, ms a token, requests)"""
ASKED: dict[str, Any] = {
    "model": "gpt-4.1-mini",
    "messages": [{"role": "user", "content": "Hello"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}

Read = Callable[[], Awaitable[int]]
"""asks once and returns the words of the answer"""


class Delta(msgspec.Struct):
    content: str | None = None


class Choice(msgspec.Struct):
    delta: Delta


class Chunk(msgspec.Struct):
    choices: list[Choice]


def with_sdk(sdk: openai.AsyncOpenAI) -> Read:
    async def read() -> int:
        words = 0
        async for chunk in await sdk.chat.completions.create(**ASKED):
            words += sum(bool(choice.delta.content) for choice in chunk.choices)
        return words

    return read


def with_aiohttp(http: aiohttp.ClientSession, base_url: str) -> Read:
    decode = msgspec.json.Decoder(Chunk).decode

    async def read() -> int:
        words = 0
        async with http.post(base_url + "/chat/completions", json=ASKED) as answer:
            async for line in answer.content:
                if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
                    chunk = decode(line[6:])
                    words += sum(bool(choice.delta.content) for choice in chunk.choices)
        return words

    return read


async def cpu_ms(read: Read, at_once: int, requests: int) -> float:
    """CPU milliseconds of this process per answer."""
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            if (words := await read()) != TOKENS:
                raise RuntimeError(f"{words} words instead of {TOKENS}")

    gc.collect()
    before = time.process_time()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return (time.process_time() - before) * 1000 / requests


async def compare(base_url: str, at_once: int, requests: int) -> dict[str, float]:
    shipped = openai.AsyncOpenAI(base_url=base_url, api_key="none")
    carried = openai.AsyncOpenAI(
        base_url=base_url, api_key="none", http_client=openai.DefaultAioHttpClient()
    )
    async with (
        shipped,
        carried,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        readers = {
            "openai SDK (httpx2)": with_sdk(shipped),
            "openai SDK on aiohttp": with_sdk(carried),
            "aiohttp + msgspec": with_aiohttp(http, base_url),
        }
        seen: dict[str, list[float]] = {name: [] for name in readers}
        for read in readers.values():
            await cpu_ms(read, at_once, at_once)
        for _ in range(ROUNDS):
            for name, read in readers.items():
                seen[name].append(await cpu_ms(read, at_once, requests))
    return {name: median(rounds) for name, rounds in seen.items()}


def fake(port: int, pace_ms: float, folder: Path) -> Server:
    command = [sys.executable, "-m", "integrations.openai.fake", "--port", str(port)]
    command += ["--tokens", str(TOKENS), "--delay-ms", str(pace_ms)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    return Server("fake", command, port=port, core=cores()[1], env=env, cwd=folder)


async def until_open(server: Server) -> None:
    while True:
        server.check()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def main() -> None:
    os.sched_setaffinity(0, {cores()[0]})
    console = Console()
    for at_once, pace_ms, requests in CASES:
        port = free_port()
        with (
            tempfile.TemporaryDirectory() as folder,
            running(fake(port, pace_ms, Path(folder))) as server,
        ):
            await until_open(server)
            found = await compare(f"http://127.0.0.1:{port}/v1", at_once, requests)
        pace = f"{pace_ms} ms a token" if pace_ms else "no delay"
        table = Table("", "CPU ms a stream", "ratio", title=f"{at_once} at once, {pace}")
        least = min(found.values())
        for name, figure in found.items():
            table.add_row(name, f"{figure:.2f}", f"{figure / least:.1f}")
        console.print(table)


if __name__ == "__main__":
    asyncio.run(main())
