"""`WS /twilio/relay`: a phone call by ConversationRelay, where Twilio hears and speaks.

Text comes in, text goes out, one turn at a time. When the caller speaks into an answer, Twilio
says how much of it was heard; the turn is stopped and the transcript keeps no more than that.
"""

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from quart.wrappers import Websocket

from integrations.twilio.exchange import Exchange
from integrations.twilio.media import CLOSE_S, KEYS, START_S, Transfers
from integrations.twilio.proof import Grant
from integrations.twilio.talk import Talk
from integrations.twilio.wire import LONGEST_MESSAGE, NAME_LIMIT
from tron.calls.outbox import Outbox, Stalled
from tron.calls.transfer import TRANSFERRED
from tron.errors import Invalid, TronError
from tron.supervise import Tasks

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

BAD_MESSAGES = 10
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,2}")
_NUMBER = re.compile(r"\+[1-9]\d{6,14}")


class Incoming(msgspec.Struct, rename="camel"):
    """Any message of Twilio's; what it has depends on `type`."""

    type: str
    call_sid: str = ""
    custom_parameters: dict[str, Any] | None = None
    voice_prompt: str = ""
    lang: str = ""
    last: bool = True
    digit: str = ""
    utterance_until_interrupt: str = ""
    description: str = ""
    name: Any = ""
    value: Any = ""


_decoder = msgspec.json.Decoder(Incoming)


def parse(raw: str | bytes) -> Incoming:
    """Raises Invalid."""
    if isinstance(raw, bytes) or len(raw) > LONGEST_MESSAGE:
        raise Invalid("The message is binary or too long.")
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise Invalid("The message can't be read.") from None


def said(text: str, *, last: bool) -> str:
    """Have Twilio say `text`."""
    return _json({"type": "text", "token": text, "last": last})


def language(code: str) -> str:
    """Hear and speak another language from now on."""
    return _json({"type": "language", "ttsLanguage": code, "transcriptionLanguage": code})


def end(cause: str, to: str = "") -> str:
    """Nothing more is said. The webhook that asks what next brings the handoff data."""
    data = {"cause": cause} | ({"to": to} if to else {})
    return _json({"type": "end", "handoffData": _json(data)})


def handed_off_to(data: str) -> str:
    """The number in the handoff data of a relay that has ended; empty if there is none."""
    try:
        to = msgspec.json.decode(data, type=dict[str, str]).get("to", "")
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ""
    return to if _NUMBER.fullmatch(to) else ""


def _json(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()


async def take(talk: Talk, message: Incoming) -> None:
    """One message of Twilio's."""
    if message.type == "info" and message.name == "clientSpeaking":
        talk.stirred(speaks=message.value == "on")
    elif message.type in ("prompt", "interrupt"):
        talk.stirred()
    match message.type:
        case "prompt" if message.last and message.voice_prompt.strip():
            code = message.lang if _LANGUAGE.fullmatch(message.lang) else ""
            await talk.heard(message.voice_prompt.strip(), code)
        case "interrupt":
            await talk.interrupted(message.utterance_until_interrupt)
        case "dtmf" if message.digit in KEYS:
            talk.pressed(message.digit)
        case "error":
            log.warning("twilio.relay_error", call=talk.record.id, why=message.description)


class _Mouth:
    """Twilio's voice, as `talk.Mouth`."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def say(self, text: str) -> None:
        self._outbox.put(said(text + " ", last=False), speech=True)

    def said(self) -> None:
        self._outbox.put(said("", last=True), speech=True)

    def hush(self) -> None:
        self._outbox.forget_speech()
        self._outbox.put(said("", last=True))

    def follow(self, code: str) -> None:
        self._outbox.put(language(code))

    def hang_up(self, cause: str) -> None:
        self._outbox.put(end(cause))
        self._outbox.close()

    def hand_off(self, number: str) -> None:
        self._outbox.put(end(TRANSFERRED, number))
        self._outbox.close()


class RelaySocket:
    """One accepted socket."""

    def __init__(
        self,
        hub: "Hub",
        exchange: Exchange,
        socket: Websocket,
        *,
        trusted: bool,
        transfers: Transfers,
    ) -> None:
        self._hub = hub
        self._transfers = transfers
        self._exchange = exchange
        self._socket = socket
        self._trusted = trusted
        self._outbox = Outbox(socket.send)
        self._tasks = Tasks("twilio relay")

    async def run(self) -> None:
        """Serve it until it or its call is over."""
        try:
            async with asyncio.timeout(START_S):
                setup = parse(await self._socket.receive())
            grant = self._grant(setup)
        except TimeoutError:
            await self._close(1008, "no setup")
            return
        except Invalid as error:
            await self._close(1008, error.message)
            return
        talk = Talk(self._hub, grant, _Mouth(self._outbox), self._transfers(grant))
        try:
            await talk.begin()
        except TronError as error:
            await self._close(1013, error.type)
            return
        self._exchange.opened(grant.call_sid, talk.hang_up)
        cause, code = "hub-failed", 1011
        try:
            cause, code = await self._carry(talk)
        except asyncio.CancelledError:
            cause, code = "carrier-closed", 0  # how it ends when the caller hangs up, too
            raise
        finally:
            talk.ended(cause)
            # Known before the socket closes: the carrier asks at once what is to become of it.
            self._exchange.closed(grant.call_sid, talk.hang_up, talk.cause or cause)
            await self._hub.switchboard.put_away(talk, lambda: self._let_go(code))

    async def _let_go(self, code: int) -> None:
        await self._tasks.close()
        if code:
            await self._close(code, "")

    def _grant(self, setup: Incoming) -> Grant:
        if setup.type != "setup":
            raise Invalid("The first message is setup.")
        given = setup.custom_parameters or {}
        ticket = str(given.get("token", ""))
        grant = self._exchange.redeem(ticket) if ticket else None
        if grant is None and not ticket and self._trusted:
            sid = setup.call_sid[:NAME_LIMIT] or f"local-{self._hub.clock.now_ns()}"
            return Grant(call_sid=sid, caller="", called="", direction="inbound")
        if grant is None:
            raise Invalid("The token is not valid (any more).")
        if setup.call_sid and setup.call_sid != grant.call_sid:
            raise Invalid("The token belongs to another call.")
        return grant

    async def _carry(self, talk: Talk) -> tuple[str, int]:
        reader = self._tasks.start(self._read(talk), "reader")
        writer = self._tasks.start(self._outbox.run(), "writer")
        done, _ = await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        if reader in done:
            return reader.result(), 1007
        try:
            writer.result()
        except Stalled:
            return "carrier-stalled", 1008
        return talk.cause or "hub-failed", 1000

    async def _read(self, talk: Talk) -> str:
        bad = 0
        while True:
            raw = await self._socket.receive()
            try:
                await take(talk, parse(raw))
            except Invalid as error:
                bad += 1
                log.warning("twilio.bad_message", call=talk.record.id, why=error.message)
                if bad >= BAD_MESSAGES:
                    return "bad-messages"

    async def _close(self, code: int, reason: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close(code, reason[:100])
