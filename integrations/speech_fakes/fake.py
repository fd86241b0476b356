"""A talking stand-in for the speech providers, over real HTTP and WebSockets.

    async with FakeSpeech(key="good", text="hello there") as provider:
        ... # ELEVENLABS_API_URL=provider.url, ELEVENLABS_API_KEY=good

It answers the routes the hub uses at OpenAI (below `/v1/audio`), ElevenLabs and Deepgram, in their
shapes: what is said is a tone of 60 ms a character, what is heard is always `text`. It checks each
provider's own way of sending the key, and misbehaves as told.
"""

import asyncio
import base64
import json
import math
import struct
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from aiohttp import WSMsgType, web

RATE = 24_000
CHARACTER_S = 0.06
CHUNK = RATE * 2 // 10


class FakeSpeech:
    """See the module."""

    def __init__(self, *, key: str, text: str = "hello there") -> None:
        self.key = key
        self.text = text
        self.status = 200
        """answered to every request and handshake"""
        self.cut_after: int | None = None
        """chunks of audio (100 ms) or of a caller's speech after which the connection breaks"""
        self.silent = False
        """nothing is answered"""
        self.unfinalized = False
        """what is committed is left unanswered, as Deepgram does with nothing new to say"""
        self.garbage = False
        """what is answered makes no sense"""
        self.said: list[dict[str, Any]] = []
        """what was asked to be said, in each provider's own words"""
        self.heard = bytearray()
        """audio that arrived for recognition; a whole file with its header"""
        self.sockets = 0
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "FakeSpeech":
        app = web.Application(client_max_size=64 * 1024 * 1024)
        for method, path, view in (
            ("POST", "/v1/audio/speech", self._say),
            ("POST", "/v1/audio/transcriptions", self._understand_form),
            ("GET", "/v1/voices", self._elevenlabs_voices),
            ("POST", "/v1/text-to-speech/{voice}/stream", self._say),
            ("POST", "/v1/speech-to-text", self._understand_form),
            ("GET", "/v1/speech-to-text/realtime", self._scribe),
            ("GET", "/v1/models", self._deepgram_models),
            ("POST", "/v1/speak", self._say),
            ("POST", "/v1/listen", self._understand_file),
            ("GET", "/v1/listen", self._live),
        ):
            app.router.add_route(method, path, self._guarded(view))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def _guarded(
        self, view: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guard(request: web.Request) -> web.StreamResponse:
            if self.key not in (
                request.headers.get("xi-api-key"),
                request.headers.get("Authorization", "").removeprefix("Bearer "),
                request.headers.get("Authorization", "").removeprefix("Token "),
            ):
                return web.json_response({"error": "key"}, status=401)
            if self.status != 200:
                return web.json_response({"error": "told to"}, status=self.status)
            if self.silent and "Upgrade" not in request.headers:
                await asyncio.sleep(3600)
            return await view(request)

        return guard

    async def _say(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.said.append({**body, **request.query, **request.match_info})
        if self.garbage:
            return web.json_response({"audio": None})
        audio = tone(len(body.get("input") or body["text"]) * CHARACTER_S)
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        for number, at in enumerate(range(0, len(audio), CHUNK)):
            if number == self.cut_after:
                assert request.transport is not None
                request.transport.abort()
                return response
            # An odd number of bytes in each write: the network knows nothing of samples.
            await response.write(audio[max(0, at - 1) : at + CHUNK - 1])
        await response.write(audio[-1:])
        await response.write_eof()
        return response

    async def _understand_form(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        uploaded = form["file"]
        assert isinstance(uploaded, web.FileField)
        self.heard += uploaded.file.read()
        return web.json_response(["?"] if self.garbage else {"text": self.text})

    async def _understand_file(self, request: web.Request) -> web.StreamResponse:
        self.heard += await request.read()
        best = {"transcript": self.text, "confidence": 0.98, "words": []}
        return web.json_response({"results": {"channels": [{"alternatives": [best]}]}})

    async def _elevenlabs_voices(self, request: web.Request) -> web.StreamResponse:
        labels = {"gender": "female", "accent": "american", "language": "en"}
        voices = [
            {"voice_id": "sarah1", "name": "Sarah", "category": "premade", "labels": labels},
            {"voice_id": "josh1", "name": "Josh", "category": "premade", "labels": {}},
        ]
        return web.json_response({"voices": 7 if self.garbage else voices})

    async def _deepgram_models(self, request: web.Request) -> web.StreamResponse:
        def model(name: str, accent: str) -> dict[str, Any]:
            return {
                "name": name,
                "canonical_name": f"aura-2-{name}-en",
                "languages": ["en", "en-US"],
                "metadata": {"accent": accent, "tags": ["feminine"]},
            }

        found = [model("andromeda", "American"), model("thalia", "American")]
        return web.json_response({"stt": [], "tts": found})

    async def _scribe(self, request: web.Request) -> web.StreamResponse:
        socket = await self._accept(request)
        await socket.send_json({"message_type": "session_started", "session_id": "s1"})
        chunks = 0
        async for message in socket:
            given = json.loads(message.data)
            self.heard += base64.b64decode(given["audio_base_64"])
            chunks += 1
            if chunks == self.cut_after:
                break
            if self.silent:
                continue
            if self.garbage:
                await socket.send_str("what?")
            elif given["commit"]:
                said = {"message_type": "committed_transcript", "text": self.text}
                await socket.send_json(said)
            elif chunks % 10 == 0:
                first = self.text.split()[0]
                await socket.send_json({"message_type": "partial_transcript", "text": first})
        return socket

    async def _live(self, request: web.Request) -> web.StreamResponse:
        socket = await self._accept(request)
        chunks = fresh = 0
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                self.heard += message.data
                chunks, fresh = chunks + 1, fresh + 1
                if chunks == self.cut_after:
                    break
                if self.garbage:
                    await socket.send_str("what?")
                elif fresh % 10 == 0 and not self.silent:
                    first = self.text.partition(" ")[0]
                    await socket.send_json(_results(first, is_final=False))
            elif self.silent or self.unfinalized:
                continue
            elif message.data == '{"type":"Finalize"}' and fresh:
                # With nothing new to say it does not answer, as the real one.
                first, _, rest = self.text.partition(" ")
                await socket.send_json(_results(first, is_final=True))
                await socket.send_json(_results(rest, is_final=True, from_finalize=True))
                fresh = 0
        return socket

    async def _accept(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets += 1
        return socket


def _results(text: str, **more: bool) -> dict[str, Any]:
    channel = {"alternatives": [{"transcript": text, "confidence": 0.9, "words": []}]}
    return {"type": "Results", "channel": channel, **more}


@lru_cache(100)
def tone(seconds: float) -> bytes:
    """A tone of 300 Hz."""
    turn = 2 * math.pi * 300 / RATE
    count = int(seconds * RATE)
    return b"".join(struct.pack("<h", round(9000 * math.sin(turn * at))) for at in range(count))
