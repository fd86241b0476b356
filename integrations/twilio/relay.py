"""`WS /twilio/relay`: a phone call by ConversationRelay, where Twilio hears and speaks.

Text comes in, text goes out, one turn at a time. When the caller speaks into an answer, Twilio
says how much of it was heard; the turn is stopped and the transcript keeps no more than that.
"""

import asyncio
import re
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from quart.wrappers import Websocket

from integrations.twilio.exchange import Exchange
from integrations.twilio.media import CLOSE_S, KEYS, START_S, HubClosed, caller_of, put_away
from integrations.twilio.proof import Grant
from integrations.twilio.wire import LONGEST_MESSAGE, NAME_LIMIT
from tron.calls.call import EndCall
from tron.calls.ledger import Record
from tron.calls.outbox import Outbox, Stalled
from tron.calls.playback import MS_PER_CHARACTER
from tron.calls.sentences import Piece, Sentences
from tron.calls.signals import Note
from tron.conversation.turns import Caller, Message, Opened, TextDelta, TurnInput
from tron.errors import Invalid, TronError
from tron.storage.tables import HOUSE
from tron.supervise import Tasks
from tron.tools.contract import Tool, ToolContext

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

DIGITS_WAIT_S = 2.0
BAD_MESSAGES = 10
LONGEST_GOODBYE_S = 15.0
APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again?"
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,2}")


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


def end(cause: str) -> str:
    return _json({"type": "end", "handoffData": _json({"cause": cause})})


def _json(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()


class RelaySocket:
    """One accepted socket."""

    def __init__(self, hub: "Hub", exchange: Exchange, socket: Websocket, *, trusted: bool) -> None:
        self._hub = hub
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
        talk = _Talk(self._hub, grant, self._outbox, self._tasks)
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
            talk.over(cause)
            # Known before the socket closes: the carrier asks at once what is to become of it.
            self._exchange.closed(grant.call_sid, talk.hang_up, talk.cause or cause)
            # The carrier may leave meanwhile, which cancels this; that changes nothing any more.
            with suppress(HubClosed):
                await asyncio.shield(put_away(self._hub, self._put_away(talk, code)))

    async def _put_away(self, talk: "_Talk", code: int) -> None:
        await talk.settle()
        await self._tasks.close()
        if code:
            await self._close(code, "")
        await talk.close()

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

    async def _carry(self, talk: "_Talk") -> tuple[str, int]:
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

    async def _read(self, talk: "_Talk") -> str:
        bad = 0
        while True:
            raw = await self._socket.receive()
            try:
                await talk.take(parse(raw))
            except Invalid as error:
                bad += 1
                log.warning("twilio.bad_message", call=talk.record.id, why=error.message)
                if bad >= BAD_MESSAGES:
                    return "bad-messages"

    async def _close(self, code: int, reason: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close(code, reason[:100])


class _Talk:
    """The conversation on one socket."""

    def __init__(self, hub: "Hub", grant: Grant, outbox: Outbox, tasks: Tasks) -> None:
        self._hub = hub
        self._outbox = outbox
        self._tasks = tasks
        self._caller: Caller = caller_of(grant, hub.clock.now_ns())
        self._greeting = grant.greeting or ""
        self._session = ""
        self._turn: asyncio.Task[None] | None = None
        self._turns = 0
        self._answered = False
        """the latest turn is in the transcript"""
        self._speaking = False
        """an answer was begun and not ended"""
        self._language = ""
        self._digits = ""
        self._digits_over: asyncio.Task[None] | None = None
        self._goodbye = ""
        self._seq = 0
        self._began = hub.clock.monotonic()
        self.cause: str | None = None
        persona = hub.agents.get(grant.agent or hub.settings.default_agent)
        self.record = Record(
            id=f"relay-{hub.clock.now_ns():x}",
            client_id=HOUSE,
            wire="twilio-relay",
            direction=grant.direction,
            caller=self._caller.id,
            called=grant.called,
            external_id=grant.call_sid,
            agent=persona.id if persona else grant.agent or hub.settings.default_agent,
            session_key="",
            started_at=hub.clock.now_ms(),
        )

    async def begin(self) -> None:
        """Raises Overloaded, StorageUnavailable."""
        self._hub.switchboard.admit()
        await self._hub.switchboard.ledger.begin(self.record)
        self._note("started")

    async def take(self, message: Incoming) -> None:
        """One message of Twilio's."""
        match message.type:
            case "prompt" if message.last and message.voice_prompt.strip():
                self._follow(message.lang)
                await self._begin(message.voice_prompt.strip())
            case "interrupt":
                await self._interrupt(message.utterance_until_interrupt)
            case "dtmf" if message.digit in KEYS:
                self._press(message.digit)
            case "error":
                log.warning("twilio.relay_error", call=self.record.id, why=message.description)

    # Turns

    async def _begin(self, text: str) -> None:
        await self.settle()
        self._turns += 1
        self._note("turn_began", text)
        self._turn = self._tasks.start(self._converse(self._turns, text), "turn")

    async def _converse(self, turn: int, text: str) -> None:
        messages = [Message(role="user", content=text)]
        if self._greeting:
            messages.insert(0, Message(role="assistant", content=self._greeting))
            self._greeting = ""
        foreign = self._language and not self._language.lower().startswith("en")
        asked = TurnInput(
            caller=self._caller,
            channel="twilio",
            agent=self.record.agent,
            messages=messages,
            spoken=True,
            instructions=f"The caller speaks {self._language}: answer in it." if foreign else "",
            wire_tools=(self._end_tool(),),
        )
        sentences = Sentences()
        self._answered = False
        try:
            async with aclosing(self._hub.door.converse(asked)) as batches:
                async for batch in batches:
                    for event in batch:
                        if isinstance(event, TextDelta):
                            self._say(turn, sentences.add(event.text))
                        elif isinstance(event, Opened):
                            self._session, self._answered = event.session, True
            self._say(turn, sentences.end())
        except TronError as error:
            self._note("answer_failed", error.type)
            self._say(turn, [*sentences.end(), Piece(APOLOGY, APOLOGY)])
        self._outbox.put(said("", last=True), speech=True)
        self._speaking = False
        self._note("answer_over")
        if self._goodbye:
            # Nothing tells when it has been heard, so the time it takes to say is waited.
            wait_s = min(len(self._goodbye) * MS_PER_CHARACTER / 1000, LONGEST_GOODBYE_S)
            await asyncio.sleep(wait_s)
            self.hang_up("persona-ended-call")

    def _say(self, turn: int, pieces: list[Piece]) -> None:
        for piece in pieces:
            if not piece.spoken:
                continue
            if not self._speaking:
                self._speaking = True
                self._note("first_audio")
            if self._goodbye:
                self._goodbye += piece.spoken
            self._outbox.put(said(piece.spoken + " ", last=False), speech=True)

    async def _interrupt(self, heard: str) -> None:
        """The caller spoke into the answer, of which only `heard` was heard."""
        await self._stop()
        self._goodbye = ""
        self._note("turn_dropped", heard)
        if self._answered:
            self._answered = False
            try:
                await self._hub.door.heard(HOUSE, self._session, heard)
            except TronError as error:
                log.error("call.unsettled", call=self.record.id, error=error.type)

    async def settle(self) -> None:
        """End the turn that is under way; what was said of it stays."""
        await self._stop()

    async def _stop(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None or turn.done():
            return
        turn.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([turn])
        self._outbox.forget_speech()
        if self._speaking:
            self._speaking = False
            self._outbox.put(said("", last=True))

    def _follow(self, code: str) -> None:
        """Speak the language the caller speaks."""
        if code and code != self._language and _LANGUAGE.fullmatch(code):
            if self._language:
                self._outbox.put(language(code))
            self._language = code

    def _press(self, key: str) -> None:
        self._digits += key if key != "#" else ""
        if self._digits_over is not None:
            self._digits_over.cancel()
        wait_s = 0.0 if key == "#" else DIGITS_WAIT_S
        self._digits_over = self._tasks.start(self._pressed(wait_s), "keys")

    async def _pressed(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        keys, self._digits = self._digits, ""
        if keys:
            await self._begin(f"(pressed the keys {keys})")

    def _end_tool(self) -> Tool[EndCall]:
        async def finish(_: ToolContext, args: EndCall) -> str:
            self._goodbye = " "
            return "The call ends when you have finished speaking. Say goodbye."

        return Tool("end_call", "End this phone call, after saying goodbye.", EndCall, finish)

    # The end

    def hang_up(self, cause: str) -> None:
        """End the call from this side."""
        if self.cause is None:
            self.over(cause)
            self._outbox.put(end(cause))
            self._outbox.close()

    def over(self, cause: str) -> None:
        """The call is over; the first cause stands."""
        if self.cause is None:
            self.cause = cause
            self._note("ended", cause)

    async def close(self) -> None:
        """Write the last lines."""
        try:
            await self._hub.switchboard.ledger.end(
                self.record, self.cause or "unknown", self._session
            )
        except TronError as error:
            log.error("call.end_unwritten", call=self.record.id, error=error.type)

    def _note(self, kind: str, text: str = "") -> None:
        self._seq += 1
        now = round((self._hub.clock.monotonic() - self._began) * 1000)
        self._hub.switchboard.ledger.note(
            self.record, self._seq, now, Note(kind, self._turns, text)
        )
