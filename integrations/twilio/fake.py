"""A Twilio account that talks: it calls the hub's webhooks, and the hub can call its REST API.

    async with FakeTwilio(auth_token="secret", public_url="https://hub.test", hub=url) as twilio:
        call = await twilio.dial("+14155550100")
        await call.speak(pcm)           # PCM16 at 8 kHz
        await call.until_quiet()
        Path("call.wav").write_bytes(call.recording())

`public_url` is what it signs (the hub's `TRON_PUBLIC_URL`), `hub` where requests really go. Its
REST API (`rest_url`, for `TWILIO_API_URL`) places outbound calls that behave like the ones it
dials, ends calls or has them do something else, and keeps the texts it is given in `texts`. What
becomes of calls it places or puts through is in `outcomes`; `faults` are answered first.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
from collections import deque
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import aiohttp
from aiohttp import web

from integrations.twilio.fake_call import PATIENCE_S, FakeCall, Line

VOICE = "/twilio/voice"


class FakeTwilio:
    """See the module."""

    def __init__(self, *, hub: str, auth_token: str = "", public_url: str = "") -> None:
        """Without `auth_token` nothing is signed."""
        self.hub = hub.rstrip("/")
        self.auth_token = auth_token
        self.public_url = (public_url or hub).rstrip("/")
        self.account_sid = "AC" + "0" * 32
        self.rest_url = ""
        self.ring_s = 0.05
        self.answer_s = 0.0
        """how long it takes to say that it has placed a call"""
        self.outcomes: dict[str, str] = {}
        """what becomes of calls to a number: `busy`, `no-answer`, `failed`; else it is answered"""
        self.faults: deque[tuple[int, int]] = deque()
        """(HTTP status, Twilio's code) for the next REST requests, one each"""
        self.answered_with = Line()
        self.calls: dict[str, FakeCall] = {}
        self.texts: list[dict[str, str]] = []
        self.requests: list[dict[str, str]] = []
        """forms the REST API was given"""
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "FakeTwilio":
        # A connection each: one that is kept alive outlives the call it was for at the hub.
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
        )
        app = web.Application()
        account = f"/2010-04-01/Accounts/{self.account_sid}"
        app.router.add_post(f"{account}/Calls.json", self._place)
        app.router.add_post(account + "/Calls/{sid}.json", self._update)
        app.router.add_get(account + "/Calls/{sid}.json", self._look)
        app.router.add_post(f"{account}/Messages.json", self._text)
        app.router.add_get(f"{account}.json", self._account)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.rest_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for call in self.calls.values():
            await call.hang_up()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._http is not None:
            await self._http.close()

    # Calls to the hub

    async def dial(
        self,
        caller: str,
        to: str = "+15005550006",
        *,
        agent: str | None = None,
        line: Line | None = None,
    ) -> FakeCall:
        """Somebody calls the hub; returns when the hub has taken the call, or not.

        Raises ConnectionError if a webhook fails.
        """
        call = self._call(
            {"From": caller, "To": to, "Caller": caller, "Called": to, "Direction": "inbound"}
        )
        query = f"?agent={agent}" if agent else ""
        running = self._start(call, self.public_url + VOICE + query, line or Line())
        until = asyncio.create_task(
            call.until(
                lambda: call.count("connected") + call.count("refused") + call.count("over") > 0
            )
        )
        await asyncio.wait([running, until], return_when=asyncio.FIRST_COMPLETED)
        until.cancel()
        if call.failure:
            raise ConnectionError(call.failure)
        return call

    async def text(self, sender: str, body: str, **more: str) -> list[str]:
        """Somebody texts the hub; what is answered at once. Raises ConnectionError."""
        sid = f"SM{secrets.token_hex(16)}"
        fields = {"MessageSid": sid, "From": sender, "To": "+15005550006", "Body": body}
        status, document = await self.post(
            f"{self.public_url}/twilio/sms", {**fields, "NumMedia": "0", **more}
        )
        if status != 200:
            raise ConnectionError(f"the webhook answered {status}: {document[:500]}")
        found = ElementTree.fromstring(document).iter("Message")
        return ["".join(message.itertext()) for message in found]

    async def post(self, url: str, fields: dict[str, str]) -> tuple[int, str]:
        """A webhook, signed as Twilio signs: (status, body)."""
        assert self._http is not None
        fields = {"AccountSid": self.account_sid, "ApiVersion": "2010-04-01", **fields}
        headers = {"User-Agent": "TwilioProxy/1.1"}
        if self.auth_token:
            headers["X-Twilio-Signature"] = self.sign(url, fields)
        async with self._http.post(self._really(url), data=fields, headers=headers) as answer:
            return answer.status, await answer.text()

    async def connect(self, url: str) -> aiohttp.ClientWebSocketResponse:
        """A socket, its upgrade signed over its own URL."""
        assert self._http is not None
        headers = {"x-twilio-signature": self.sign(url, {})} if self.auth_token else {}
        return await self._http.ws_connect(
            self._really(url), headers=headers, max_msg_size=16 * 1024 * 1024
        )

    def sign(self, url: str, fields: dict[str, str]) -> str:
        text = url + "".join(name + fields[name] for name in sorted(fields))
        digest = hmac.new(self.auth_token.encode(), text.encode(), hashlib.sha1).digest()
        return base64.b64encode(digest).decode()

    def _really(self, url: str) -> str:
        """Where `url` is on this machine."""
        parts = urlsplit(url)
        hub = self.hub.replace("http", "ws", 1) if parts.scheme.startswith("ws") else self.hub
        path = parts.path.removeprefix(urlsplit(self.public_url).path)
        return hub + path + (f"?{parts.query}" if parts.query else "")

    def _call(self, fields: dict[str, str]) -> FakeCall:
        sid = f"CA{secrets.token_hex(16)}"
        call = FakeCall(self, sid=sid, fields=fields)
        self.calls[sid] = call
        return call

    def _start(self, call: FakeCall, url: str, line: Line) -> "asyncio.Task[None]":
        task = asyncio.create_task(call.run(url, line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # The REST API

    async def _form(self, request: web.Request) -> dict[str, str]:
        login = aiohttp.encode_basic_auth(self.account_sid, self.auth_token)
        if request.headers.get("Authorization", "") != login:
            raise web.HTTPUnauthorized(
                text='{"code": 20003, "message": "Authenticate", "status": 401}',
                content_type="application/json",
            )
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.requests.append(form)
        if self.faults:
            status, code = self.faults.popleft()
            fault: Any = _FAULTS.get(status, web.HTTPInternalServerError)
            raise fault(
                text=f'{{"code": {code}, "message": "As asked for.", "status": {status}}}',
                content_type="application/json",
            )
        return form

    async def _place(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        if not form.get("To", "").startswith("+1"):
            return _fault(400, 21211, "Invalid 'To' Phone Number")
        call = self._call({"From": form["From"], "To": form["To"], "Direction": "outbound-api"})
        task = asyncio.create_task(self._ring(call, form))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.sleep(self.answer_s)
        return web.json_response(self._shown(call, form), status=201)

    async def _ring(self, call: FakeCall, form: dict[str, str]) -> None:
        url, sequence = form.get("StatusCallback"), 0

        async def report(status: str) -> None:
            nonlocal sequence
            if url is not None:
                fields = {
                    "CallSid": call.sid,
                    "CallStatus": status,
                    "From": form["From"],
                    "To": form["To"],
                    "Direction": "outbound-api",
                    "CallbackSource": "call-progress-events",
                    "SequenceNumber": str(sequence),
                }
                with contextlib.suppress(aiohttp.ClientError):
                    await self.post(url, fields)
            sequence += 1

        await report("initiated")
        call.status = "ringing"
        await report("ringing")
        await asyncio.sleep(self.ring_s)
        outcome = self.outcomes.get(form["To"])
        if call.status == "completed":  # ended while it rang
            outcome = "canceled"
        if outcome is not None:
            call.status = outcome
            await report(outcome)
            return
        await report("in-progress")
        await call.run(form["Url"], self.answered_with)
        await report("completed")

    async def _update(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        call = self.calls.get(request.match_info["sid"])
        if call is None or call.status in ("completed", "busy", "failed", "no-answer"):
            return _fault(404, 20404, "The requested resource was not found")
        if form.get("Status") == "completed":
            await call.hang_up()
        elif "Twiml" in form:
            try:
                document = ElementTree.fromstring(form["Twiml"])
            except ElementTree.ParseError:
                return _fault(400, 21218, "Twiml is invalid")
            await call.redirect(document)
        return web.json_response(self._shown(call, {}))

    async def _look(self, request: web.Request) -> web.Response:
        await self._form(request)
        call = self.calls.get(request.match_info["sid"])
        if call is None:
            return _fault(404, 20404, "The requested resource was not found")
        return web.json_response(self._shown(call, {}))

    async def _text(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        self.texts.append(form)
        sid = f"SM{secrets.token_hex(16)}"
        return web.json_response({"sid": sid, "status": "queued", **form}, status=201)

    async def _account(self, request: web.Request) -> web.Response:
        await self._form(request)
        return web.json_response({"sid": self.account_sid, "status": "active"})

    def _shown(self, call: FakeCall, form: dict[str, str]) -> dict[str, Any]:
        return {
            "sid": call.sid,
            "account_sid": self.account_sid,
            "status": call.status,
            "to": form.get("To"),
            "from": form.get("From"),
            "direction": "outbound-api",
        }


_FAULTS = {
    400: web.HTTPBadRequest,
    404: web.HTTPNotFound,
    429: web.HTTPTooManyRequests,
    503: web.HTTPServiceUnavailable,
}


def _fault(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message, "status": status}, status=status)
