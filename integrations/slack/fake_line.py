"""The line from the fake workspace to the hub: signed webhooks with retries, or Socket Mode.

Everything is sent as Slack sends it: signed by slack_sdk's own signer, given up on after three
seconds, tried three times more (sooner than Slack does, so that tests are short). While a socket
is open everything goes through it.
"""

import asyncio
import itertools
import json
import secrets
import time
from collections import deque
from typing import Any

import aiohttp
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from integrations.slack.fake_api import Api, Bot
from tron.supervise import Tasks

DELIVERIES_KEPT = 5_000
ACK_S = 3.0


class Delivery:
    """One event as it was delivered: every try, with status and seconds."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.tries: list[tuple[int, float]] = []
        """status (0: no answer in time) and how long it took"""

    @property
    def acknowledged(self) -> bool:
        return any(200 <= status < 300 for status, _ in self.tries)


class Line:
    """See the module."""

    def __init__(self, api: Api, *, retry_s: float) -> None:
        self.api = api
        self.retry_s = retry_s
        self.signing_secret = "fake-signing-secret"
        self.deliveries: deque[Delivery] = deque(maxlen=DELIVERIES_KEPT)
        self.twice = False
        """every event is delivered two times at the same moment"""
        self._targets: list[str] = []
        self._next_target = itertools.count()
        self._sockets: list[web.WebSocketResponse] = []
        self._transports: list[asyncio.WriteTransport] = []
        self._acks: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._http: aiohttp.ClientSession | None = None
        self._retries = Tasks("fake-slack")

    def deliver_to(self, *hubs: str) -> None:
        """Base URLs of hubs; with several, each try goes to the next one, as a balancer would."""
        self._targets = [hub.rstrip("/") for hub in hubs]

    async def open_line(self) -> None:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def close_line(self) -> None:
        await self._retries.close()
        if self._http is not None:
            await self._http.close()
        for socket in list(self._sockets):
            await socket.close()

    async def send(self, body: dict[str, Any], *, bot: Bot | None = None) -> Delivery:
        """Deliver an envelope as it is."""
        delivery = Delivery(body)
        self.deliveries.append(delivery)
        first = self._try(delivery, 0, "", bot)
        if self.twice:
            await asyncio.gather(first, self._try(delivery, 0, "", bot))
        else:
            await first
        if not delivery.acknowledged:
            self._retries.start(self._retry(delivery, bot), "retry")
        return delivery

    async def _retry(self, delivery: Delivery, bot: Bot | None) -> None:
        """Slack tries three times more: at once, after a minute, after five (here: shortly)."""
        for number, pause in enumerate((0.0, self.retry_s, 5 * self.retry_s), start=1):
            await asyncio.sleep(pause)
            status = delivery.tries[-1][0]
            reason = "http_error" if status else "http_timeout"
            await self._try(delivery, number, reason, bot)
            if delivery.acknowledged:
                return

    async def _try(self, delivery: Delivery, number: int, reason: str, bot: Bot | None) -> None:
        began = time.perf_counter()
        if self._sockets:
            status = await self.by_socket("events_api", delivery.body, number, reason)
        else:
            more = {}
            if number:
                more = {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": reason}
            path = f"/slack/events/{bot.persona}" if bot and bot.persona else "/slack/events"
            raw = json.dumps(delivery.body).encode()
            status, _ = await self.post(path, raw, more, secret=bot.secret if bot else "")
        delivery.tries.append((status, time.perf_counter() - began))

    async def post(
        self,
        path: str,
        raw: bytes,
        headers: dict[str, str] | None = None,
        *,
        secret: str = "",
        kind: str = "application/json",
        hub: str = "",
    ) -> tuple[int, str]:
        """A signed request to the hub, by slack_sdk's own signer; (status, body), 0: none."""
        stamp = str(int(time.time()))
        signer = SignatureVerifier(secret or self.signing_secret)
        signed = {
            "Content-Type": kind,
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": signer.generate_signature(timestamp=stamp, body=raw) or "",
            **(headers or {}),
        }
        if not hub and not self._targets:
            return 0, ""
        target = hub or self._targets[next(self._next_target) % len(self._targets)]
        assert self._http is not None
        try:
            async with self._http.post(
                target + path, data=raw, headers=signed, timeout=aiohttp.ClientTimeout(total=ACK_S)
            ) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0, ""

    # Socket Mode

    @property
    def sockets(self) -> int:
        return len(self._sockets)

    async def refresh_sockets(self, reason: str = "refresh_requested") -> None:
        """Ask every client to open another socket, as Slack does every few hours."""
        for socket in list(self._sockets):
            await socket.send_str(json.dumps({"type": "disconnect", "reason": reason}))

    async def cut_sockets(self) -> None:
        """Every socket is lost without a word."""
        for transport in self._transports:
            transport.abort()
        self._transports.clear()
        self._sockets.clear()

    async def link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=10)
        await socket.prepare(request)
        if request.query.get("ticket") not in self.api.tickets:
            await socket.close(code=1008)
            return socket
        self.api.tickets.discard(request.query["ticket"])
        info = {"app_id": "A0APP0"}
        await socket.send_str(
            json.dumps({"type": "hello", "num_connections": 1, "connection_info": info})
        )
        self._sockets.append(socket)
        if isinstance(request.transport, asyncio.WriteTransport):
            self._transports.append(request.transport)
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    answer = json.loads(message.data)
                    waiting = self._acks.pop(answer.get("envelope_id", ""), None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(answer.get("payload") or {})
        finally:
            if socket in self._sockets:
                self._sockets.remove(socket)
        return socket

    async def by_socket(
        self,
        kind: str,
        payload: dict[str, Any],
        number: int,
        reason: str,
        answer: dict[str, Any] | None = None,
    ) -> int:
        envelope = secrets.token_hex(8)
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._acks[envelope] = waiting
        frame = {
            "type": kind,
            "envelope_id": envelope,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
            "retry_attempt": number,
            "retry_reason": reason,
        }
        socket = self._sockets[next(self._next_target) % len(self._sockets)]
        try:
            await socket.send_str(json.dumps(frame))
            async with asyncio.timeout(ACK_S):
                told = await waiting
        except (TimeoutError, ConnectionError, aiohttp.ClientError):
            self._acks.pop(envelope, None)
            return 0
        if answer is not None:
            answer.update(told)
        return 200
