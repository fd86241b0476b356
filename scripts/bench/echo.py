"""The floor of a telephone line: the least a server on this stack can do with a call's frames.

Quart on Hypercorn in one process. Each frame of the caller is read as JSON and sent back as JSON;
nobody listens, nobody speaks. So only what it costs and how long a frame is under way mean
something, and every interruption fails: it never clears.

    python -m scripts.bench.echo --port 9001
"""

import argparse
import asyncio

import msgspec
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, websocket

TWIML = (
    '<Response><Connect><Stream url="ws://127.0.0.1/twilio/media">'
    '<Parameter name="token" value="none"/></Stream></Connect></Response>'
)


class Media(msgspec.Struct):
    payload: str


class Message(msgspec.Struct, rename="camel"):
    """What is read of a frame, and all of one that is sent."""

    event: str
    stream_sid: str = ""
    media: Media | None = None


def create_app() -> Quart:
    app = Quart(__name__)
    decode = msgspec.json.Decoder(Message).decode
    encode = msgspec.json.Encoder().encode

    @app.get("/health")
    async def health() -> str:
        return "up"

    @app.post("/twilio/voice")
    async def voice() -> Response:
        return Response(TWIML, content_type="text/xml")

    @app.websocket("/twilio/media")
    async def media() -> None:
        while True:
            message = decode(await websocket.receive())
            if message.event == "media":
                await websocket.send(encode(message).decode())

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    config = Config()
    config.bind = [f"127.0.0.1:{given.port}"]
    config.loglevel = "WARNING"
    asyncio.run(serve(create_app(), config))


if __name__ == "__main__":
    main()
