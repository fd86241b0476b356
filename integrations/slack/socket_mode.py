"""Socket Mode: Slack's events without a public address, over a socket that we open.

One socket for each app that has an app-level token. Every envelope goes through the same gate as
a webhook and is acknowledged once it is stored; one that could not be stored is not, so Slack
sends it again. A socket that is lost, or that Slack wants exchanged, is replaced at once and then
with growing pauses; the new one is open before the old one is let go.
"""

import asyncio
import contextlib
import random
from typing import Any

import aiohttp
import msgspec
import structlog

from integrations.slack.client import Refused, SlackClient
from integrations.slack.health import Health
from integrations.slack.ingress import Ingress
from tron.given import mapping
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

HEARTBEAT_S = 20.0
"""we ping so often; a socket that does not answer is dead and ends with an error"""
ENDS = (
    aiohttp.WSMsgType.CLOSE,
    aiohttp.WSMsgType.CLOSING,
    aiohttp.WSMsgType.CLOSED,
    aiohttp.WSMsgType.ERROR,
)
ENVELOPES = 256
"""taken up at once; beyond that the socket is not read, and Slack waits"""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
HELLO_S = 15.0
LET_GO_S = 3.0


class SocketMode:
    """The socket of one app."""

    def __init__(self, ingress: Ingress, client: SlackClient, health: Health) -> None:
        self._ingress = ingress
        self._client = client
        self._health = health
        self._tasks = Tasks(f"slack-socket-{ingress.app.key or 'shared'}")
        self._room = asyncio.Semaphore(ENVELOPES)

    def start(self) -> None:
        self._tasks.start(self._stay(), "stay")

    async def close(self) -> None:
        await self._tasks.close()

    async def _stay(self) -> None:
        """Keep a socket open for ever."""
        key = self._ingress.app.key
        tries = 0
        while True:
            try:
                socket = await self._open()
                tries = 0
                self._health.socket_is(key, open=True)
                log.info("slack.socket_open", app=key)
                why = await self._read(socket)
            except Refused as fault:
                why = fault.error
            except (aiohttp.ClientError, OSError, TimeoutError) as fault:
                why = type(fault).__name__
            if why == "refresh_requested":  # Slack's routine: replaced without a pause
                continue
            self._health.socket_is(key, open=False, error=f"the socket was lost: {why}")
            tries += 1
            pause = min(FIRST_PAUSE_S * 2 ** (tries - 1), LONGEST_PAUSE_S)
            pause *= random.uniform(0.8, 1.2)
            log.warning("slack.socket_lost", app=key, why=why, pause_s=round(pause, 2))
            await asyncio.sleep(pause)

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        """A socket on which Slack has said hello. Raises Refused, ClientError, TimeoutError."""
        answer = await self._client.call(self._ingress.app.app_token, "apps.connections.open")
        socket = await self._client.session.ws_connect(
            str(answer["url"]), heartbeat=HEARTBEAT_S, max_msg_size=16 * 1024 * 1024
        )
        try:
            async with asyncio.timeout(HELLO_S):
                async for message in socket:
                    if _frame(message).get("type") == "hello":
                        return socket
        except BaseException:
            await socket.close()
            raise
        raise aiohttp.ClientConnectionError("closed before hello")

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Take envelopes until the socket ends; returns why it did."""
        try:
            why = await self._envelopes(socket)
        except BaseException:
            await socket.close()
            raise
        self._tasks.start(self._let_go(socket), "let go")
        return why

    async def _envelopes(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        while True:
            message = await socket.receive()
            if message.type in ENDS:
                return "closed"
            frame = _frame(message)
            if frame.get("type") == "disconnect":
                reason = str(frame.get("reason") or "disconnect")[:40]
                # `warning` announces the end ten seconds early: the better moment to leave.
                return "refresh_requested" if reason == "warning" else reason
            if isinstance(frame.get("envelope_id"), str):
                await self._room.acquire()
                self._tasks.start(self._take(socket, frame), "envelope")

    async def _let_go(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Close it a little later: by then the next one is open, and all that came is answered."""
        await asyncio.sleep(LET_GO_S)
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await socket.close()

    async def _take(self, socket: aiohttp.ClientWebSocketResponse, frame: dict[str, Any]) -> None:
        try:
            payload = frame.get("payload")
            if not isinstance(payload, dict):
                payload = {}
            told = await self._ingress.socket(payload)
            if told.status >= 500:
                return  # not stored: Slack sends it again
            answer: dict[str, Any] = {"envelope_id": frame["envelope_id"]}
            if told.body and frame.get("accepts_response_payload") and told.status == 200:
                answer["payload"] = msgspec.json.decode(told.body)
            await socket.send_str(msgspec.json.encode(answer).decode())
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as fault:
            # It is stored; when Slack sends it again it will be known.
            log.info("slack.not_acknowledged", error=type(fault).__name__)
        finally:
            self._room.release()


def _frame(message: aiohttp.WSMessage) -> dict[str, Any]:
    if message.type is not aiohttp.WSMsgType.TEXT:
        return {}
    try:
        return mapping(msgspec.json.decode(message.data))
    except msgspec.DecodeError:
        return {}
