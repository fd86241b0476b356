"""The floor: the least a hub on this stack can cost. A yardstick, not a server for anyone.

Quart on Hypercorn in one process, aiohttp upstream. Each event of the upstream's stream is read
as JSON and written anew; there are no sessions, personas, storage or metrics.

    python -m scripts.bench.bare --port 9001 --upstream http://127.0.0.1:9000/v1
"""

import argparse
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import aiohttp
import msgspec
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request


def create_app(upstream: str) -> Quart:
    app = Quart(__name__)
    http: aiohttp.ClientSession

    @app.while_serving
    async def client() -> AsyncGenerator[None, None]:
        nonlocal http
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            yield

    @app.post("/v1/chat/completions")
    async def chat() -> Response:
        body = msgspec.json.decode(await request.get_data())
        response = Response(rewritten(http, upstream, body), content_type="text/event-stream")
        response.timeout = None
        return response

    return app


async def rewritten(
    http: aiohttp.ClientSession, upstream: str, body: dict[str, Any]
) -> AsyncIterator[bytes]:
    """The upstream's events, each decoded and encoded again."""
    encode = msgspec.json.Encoder().encode
    async with http.post(upstream + "/chat/completions", json=body) as answer:
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            data = line[6:].strip()
            if data != b"[DONE]":
                data = encode(msgspec.json.decode(data))
            yield b"data: " + data + b"\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    given = parser.parse_args()
    config = Config()
    config.bind = [f"127.0.0.1:{given.port}"]
    config.loglevel = "WARNING"
    asyncio.run(serve(create_app(given.upstream), config))


if __name__ == "__main__":
    main()
