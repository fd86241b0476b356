"""The routes Twilio calls, and those that make it call somebody.

Webhooks and sockets prove themselves before anything else is looked at (`proof.py`). A call that
is over for good is hung up; one whose socket was lost is connected again, a few times.
"""

import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from pydantic import BaseModel, Field
from quart import Blueprint, Response, request, websocket
from werkzeug.datastructures import MultiDict

from integrations.twilio import twiml
from integrations.twilio.client import TwilioClient
from integrations.twilio.exchange import OVER, Errand, Exchange, Progress
from integrations.twilio.media import MediaSocket, Transfers
from integrations.twilio.proof import Grant, Proof
from integrations.twilio.relay import RelaySocket, handed_off_to
from integrations.twilio.texts import Text, Texts
from integrations.twilio.tools import place
from tron.calls.call import Transfer
from tron.calls.ledger import Record
from tron.errors import Invalid, NotConfigured, NotFound, Overloaded, TooLarge
from tron.web.contract import PRINTABLE, Ok, promises
from tron.web.security import principal

if TYPE_CHECKING:
    from quart.wrappers import Websocket

    from tron.hub import Hub

LARGEST_FORM = 64 * 1024
RETRY_S = 3
CUT_OFF = "Sorry, we were cut off. Please go on."
NOT_REACHED = "I'm sorry, nobody answered there. What else can I do for you?"
NUMBER = re.compile(r"\+[1-9]\d{6,14}")

Form = MultiDict[str, str]


class NewCall(BaseModel):
    """Whom to ring, who is to talk, and what to say first."""

    to: str = Field(max_length=40, description="telephone number, such as +14155550100")
    agent: str | None = Field(default=None, max_length=200)
    message: str = Field(default="", max_length=2_000, description="said when they answer")


class CallPlaced(BaseModel):
    """A call that is being placed; `id` is the carrier's."""

    id: str
    status: str


class CallProgress(CallPlaced):
    """How far a placed call has come, in the carrier's words."""

    duration_s: int | None = None
    answered_by: str | None = Field(default=None, pattern=PRINTABLE)


def routes(
    hub: "Hub", *, proof: Proof, exchange: Exchange, client: TwilioClient, texts: Texts
) -> Blueprint:
    bp = Blueprint("twilio", __name__)
    desk = _Desk(hub, proof, exchange, client)

    async def proven() -> Form:
        """The fields of a request that has proven itself."""
        if (request.content_length or 0) > LARGEST_FORM:
            raise TooLarge("A webhook's form is smaller than this.")
        form = await request.form if request.method == "POST" else None
        await proof.check(request.scope, request.headers, form)
        return request.args if form is None else form

    @bp.route("/twilio/voice", methods=["GET", "POST"])
    @promises("signed", fails=(404, 413))
    async def voice() -> Response:
        """A call has come in, or was answered: what Twilio is to do with it (TwiML)."""
        form = await proven()
        if request.args.get("back") is not None:
            return _xml(desk.back(form))
        if request.args.get("again") is not None:
            return _xml(desk.again(form))
        return _xml(desk.answer(form))

    @bp.post("/twilio/status")
    @promises("signed", fails=(413,))
    async def status() -> Response:
        """The state of a call has changed."""
        await desk.progressed(await proven())
        return Response(b"", 204)

    @bp.post("/twilio/sms")
    @promises("signed", fails=(404, 413))
    async def sms() -> Response:
        """A text message has come in; the answer is the persona's."""
        form = await proven()
        sender = form.get("From", "")
        if not sender:
            raise Invalid("From is missing.", param="From")
        count = form.get("NumMedia", "0")
        text = Text(
            sid=form.get("MessageSid", "")[:64],
            sender=sender[:200],
            body=form.get("Body", ""),
            pictures=int(count) if count.isdecimal() and len(count) < 3 else 0,
            opted=bool(form.get("OptOutType")),
        )
        return _xml(twiml.texts(await texts.answer(text, desk.agent())))

    @bp.websocket("/twilio/media")
    @promises("signed")
    async def media() -> None:
        """A call's sound (Media Streams)."""
        signed = await proof.check(websocket.scope, websocket.headers)
        transfers = desk.transfers(websocket.scope)
        await MediaSocket(
            hub, exchange, _this_socket(), trusted=not signed, transfers=transfers
        ).run()

    @bp.websocket("/twilio/relay")
    @promises("signed")
    async def relay() -> None:
        """A call's words (ConversationRelay)."""
        signed = await proof.check(websocket.scope, websocket.headers)
        await websocket.accept()
        transfers = desk.transfers(websocket.scope)
        await RelaySocket(
            hub, exchange, _this_socket(), trusted=not signed, transfers=transfers
        ).run()

    @bp.post("/api/calls")
    @promises("write", gives=CallPlaced, body=NewCall, fails=(404, 502), group="calls")
    async def call(data: NewCall) -> Any:
        """Ring somebody and let a persona talk with them."""
        return await desk.place(data)

    @bp.get("/twilio/calls/<sid>")
    @promises("read", gives=CallProgress, fails=(404,), group="calls")
    async def progress(sid: str) -> Any:
        """How far a call that was placed has come."""
        known = exchange.progress(sid)
        if known is None:
            raise NotFound("No such call was placed lately.", param="sid")
        return CallProgress(
            id=sid,
            status=known.status,
            duration_s=known.duration_s,
            answered_by=known.answered_by,
        )

    @bp.delete("/twilio/calls/<sid>")
    @promises("write", gives=Ok, fails=(404, 502), group="calls")
    async def hang_up(sid: str) -> Any:
        """End a call at the carrier, also one that still rings."""
        if exchange.progress(sid) is None:
            raise NotFound("No such call was placed lately.", param="sid")
        await client.hang_up(sid)
        return Ok()

    return bp


def _this_socket() -> "Websocket":
    """The socket itself: a look-up for each of its frames would cost more than reading it."""
    return cast("Websocket", websocket._get_current_object())  # type: ignore[attr-defined]


def _xml(document: str) -> Response:
    return Response(document, content_type="text/xml; charset=utf-8")


class _Desk:
    """Decides what becomes of calls."""

    def __init__(self, hub: "Hub", proof: Proof, exchange: Exchange, client: TwilioClient) -> None:
        self._hub = hub
        self._proof = proof
        self._exchange = exchange
        self._client = client

    def answer(self, form: Form) -> str:
        """TwiML for a call that begins."""
        try:
            self._hub.switchboard.admit()
        except Overloaded:
            return twiml.busy()
        errand = self._exchange.errand(request.args.get("errand", ""))
        agent = errand.agent if errand is not None else self.agent()
        greeting = errand.message or None if errand is not None else None
        return self._connect(form, agent=agent, greeting=greeting, attempt=0)

    def again(self, form: Form) -> str:
        """TwiML for a call whose socket has closed: it is over, or it goes on."""
        sid, attempt = form.get("CallSid", ""), _count(request.args.get("again")) or 0
        if form.get("CallStatus") not in OVER and (
            to := handed_off_to(form.get("HandoffData", ""))
        ):
            return twiml.dial(to, action=self._back_url(request.scope, self.agent()))
        if form.get("CallStatus") in OVER or not self._exchange.goes_on(sid, attempt):
            return twiml.hang_up()
        try:
            self._hub.switchboard.admit()
        except Overloaded:
            return twiml.again(self._again_url(attempt + 1, self.agent()), after_s=RETRY_S)
        return self._connect(form, agent=self.agent(), greeting=CUT_OFF, attempt=attempt)

    def back(self, form: Form) -> str:
        """TwiML for a call that was put through: that talk is over, or it never began."""
        if form.get("CallStatus") in OVER or form.get("DialCallStatus") in (
            "completed",
            "answered",
        ):
            return twiml.hang_up()
        try:
            self._hub.switchboard.admit()
        except Overloaded:
            return twiml.hang_up()
        return self._connect(form, agent=self.agent(), greeting=NOT_REACHED, attempt=0)

    def transfers(self, scope: Any) -> Transfers:
        """How calls on the socket of `scope` are put through."""

        def of(grant: Grant) -> Transfer | None:
            async def transfer(number: str) -> None:
                document = twiml.dial(number, action=self._back_url(scope, grant.agent))
                await self._client.redirect(grant.call_sid, document)

            return transfer if self._client.configured else None

        return of

    def _connect(self, form: Form, *, agent: str | None, greeting: str | None, attempt: int) -> str:
        settings = self._hub.settings
        outbound = form.get("Direction", "").startswith("outbound")
        persona = self._hub.agents.wanted(agent, param="agent")
        if greeting is None and settings.twilio_mode == "relay":  # said by Twilio, so told it here
            greeting = f"Hello, this is {persona.name}." if settings.call_greeting else ""
        ticket = self._exchange.announce(
            Grant(
                call_sid=form.get("CallSid", "")[:64] or f"local-{self._hub.clock.now_ns()}",
                caller=form.get("From", "")[:64],
                called=form.get("To", "")[:64],
                direction="outbound" if outbound else "inbound",
                agent=agent,
                greeting=greeting,
            )
        )
        url = self._proof.base(request.scope, "wss")
        action = self._again_url(attempt + 1, agent)
        if settings.twilio_mode == "relay":
            return twiml.relay(
                f"{url}/twilio/relay", ticket=ticket, action=action, greeting=greeting or ""
            )
        return twiml.stream(f"{url}/twilio/media", ticket=ticket, action=action)

    def agent(self) -> str | None:
        """Who the webhook's URL asks for. Raises NotFound."""
        agent = request.args.get("agent")
        return self._hub.agents.named(agent, param="agent").id if agent else None

    def _again_url(self, attempt: int, agent: str | None) -> str:
        query = {"again": str(attempt)} | ({"agent": agent} if agent else {})
        return f"{self._proof.base(request.scope, 'https')}/twilio/voice?{urlencode(query)}"

    def _back_url(self, scope: Any, agent: str | None) -> str:
        query = {"back": "1"} | ({"agent": agent} if agent else {})
        return f"{self._proof.base(scope, 'https')}/twilio/voice?{urlencode(query)}"

    async def place(self, wanted: NewCall) -> CallPlaced:
        """Raises Invalid, NotFound, NotConfigured, Overloaded or a ProviderError."""
        to = re.sub(r"[\s().-]", "", wanted.to)
        if not NUMBER.fullmatch(to):
            raise Invalid("to: a number with its country, such as +14155550100.", param="to")
        self._hub.agents.wanted(wanted.agent, param="agent")
        if not self._client.configured:
            raise NotConfigured(
                "Calls are placed by Twilio, which is not set up: TWILIO_ACCOUNT_SID, "
                "TWILIO_AUTH_TOKEN, TWILIO_PHONE_NUMBER and TRON_PUBLIC_URL."
            )
        self._hub.switchboard.admit()
        placed = await place(
            exchange=self._exchange,
            client=self._client,
            base=self._proof.base(request.scope, "https"),
            to=to,
            errand=Errand(agent=wanted.agent, message=wanted.message),
        )
        return CallPlaced(id=placed.sid, status=placed.status)

    async def progressed(self, form: Form) -> None:
        """A status callback. Order is not promised, so an older one than the last is ignored."""
        sid = form.get("CallSid", "")[:64]
        status = form.get("CallStatus", "")[:32]
        if not sid or not status:
            raise Invalid("CallSid and CallStatus are needed.", param="CallSid")
        news = self._exchange.report(
            Progress(
                sid=sid,
                status=status,
                sequence=_count(form.get("SequenceNumber")),
                duration_s=_count(form.get("CallDuration")),
                answered_by=form.get("AnsweredBy") or None,
            )
        )
        outbound = form.get("Direction", "").startswith("outbound")
        if news and outbound and status in OVER and status != "completed":
            await self._never_answered(sid, status, form)

    async def _never_answered(self, sid: str, status: str, form: Form) -> None:
        """A call nobody took is listed with why."""
        ledger = self._hub.switchboard.ledger
        record = Record(
            id=f"out-{self._hub.clock.now_ns():x}",
            client_id=principal().client_id,
            wire="twilio",
            direction="outbound",
            caller=form.get("To", "")[:64],
            called=form.get("To", "")[:64],
            external_id=sid,
            agent="",
            session_key="",
            started_at=self._hub.clock.now_ms(),
        )
        await ledger.begin(record)
        await ledger.end(record, f"not-answered-{status}", "")


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else None
