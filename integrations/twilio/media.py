"""`WS /twilio/media`: one phone call's sound, between a carrier's socket and the call machine.

What comes in goes to the call at once; what the call wants said goes to an outbox that one task
empties. Whichever ends first (the carrier says stop, the call is over, the socket stalls or
dies) ends the call with its cause.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import structlog
from quart.wrappers import Websocket

from integrations.twilio import wire
from integrations.twilio.exchange import Exchange
from integrations.twilio.proof import Grant
from tron.calls.call import Call, Transfer
from tron.calls.manner import Manner
from tron.calls.outbox import Outbox, Stalled
from tron.calls.signals import Digit, Played, Tell
from tron.conversation.caller import withheld
from tron.conversation.turns import Caller
from tron.errors import Invalid, Overloaded, TronError
from tron.supervise import Tasks
from tron.web.frames import Inbox

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

START_S = 10.0
SILENCE_S = 30.0
"""a socket on which nothing comes for one to two of these is dead"""
BAD_MESSAGES = 10
"""so many that can't be read end the call; a single odd one does not"""
KEYS = frozenset("0123456789*#ABCD")
CLOSE_S = 2.0
LAST_WORDS_S = 0.01
"""for reading what came just before a socket closed"""


Transfers = Callable[[Grant], Transfer | None]
"""How the carrier puts a call through; None where the hub can't have it do so"""


class MediaWire:
    """One carrier's stream as the call machine knows it."""

    def __init__(self, stream: wire.Stream, outbox: Outbox) -> None:
        self.facts = stream.facts
        self._build = wire.Outgoing(stream)
        self._outbox = outbox
        self._marks: set[str] = set()
        """asked for, not answered and not cleared"""

    def play(self, audio: bytes) -> None:
        if (message := self._build.media(audio)) is not None:
            self._outbox.put(message, speech=True)

    def mark(self, mark: int) -> None:
        if (rest := self._build.rest()) is not None:
            self._outbox.put(rest, speech=True)
        self._marks.add(str(mark))
        self._outbox.put(self._build.mark(str(mark)), speech=True)

    def clear(self) -> None:
        self._marks.clear()  # those that come back now were not heard
        self._outbox.forget_speech()
        self._outbox.put(self._build.clear())

    def tell(self, told: Tell) -> None:
        pass

    def hang_up(self, cause: str) -> None:
        self._outbox.close()

    def played(self, name: str) -> Played | None:
        """What a mark that came back means; nothing if it was cleared."""
        if name not in self._marks:
            return None
        self._marks.remove(name)
        return Played(int(name))


class MediaSocket:
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
        """`trusted`: from this machine in local mode, so it may come without a ticket."""
        self._hub = hub
        self._transfers = transfers
        self._exchange = exchange
        self._socket = socket
        self._inbox = Inbox(socket)
        self._trusted = trusted
        self._outbox = Outbox(socket.send)
        self._tasks = Tasks("twilio media")
        self._reader: asyncio.Task[str] | None = None
        self._repeats = wire.Duplicates().repeats
        self._received = 0
        self._bad = 0

    async def run(self) -> None:
        """Accept it, and serve it until it or its call is over."""
        await self._socket.accept()
        try:
            async with asyncio.timeout(START_S):
                stream = await self._start()
            grant = self._grant(stream)
        except TimeoutError:
            await self._close(1008, "no start")
            return
        except Invalid as error:
            await self._close(1008, error.message)
            return
        await self._serve(stream, grant)

    async def _start(self) -> wire.Stream:
        while True:
            message = wire.parse(await self._inbox.receive())
            if message.event == "start":
                return wire.stream_of(message)
            if message.event != "connected":
                raise Invalid("The first message is connected or start.")

    def _grant(self, stream: wire.Stream) -> Grant:
        ticket = stream.parameters.get("token")
        grant = self._exchange.redeem(ticket) if ticket else None
        if grant is None and not ticket and self._trusted:
            return Grant(
                call_sid=stream.call_id or f"local-{self._hub.clock.now_ns()}",
                caller=stream.parameters.get("from", ""),
                called="",
                direction="inbound",
                agent=stream.parameters.get("agent"),
            )
        if grant is None:
            raise Invalid("The token is not valid (any more).")
        if stream.call_id and stream.carrier == "twilio" and stream.call_id != grant.call_sid:
            raise Invalid("The token belongs to another call.")
        return grant

    async def _serve(self, stream: wire.Stream, grant: Grant) -> None:
        sound = MediaWire(stream, self._outbox)
        try:
            call = await self._begin(sound, stream, grant)
        except TronError as error:
            log.warning("twilio.not_begun", error=error.code or error.type)
            await self._close(1013 if isinstance(error, Overloaded) else 1011, error.type)
            return
        self._exchange.opened(grant.call_sid, call.hang_up)
        cause, code = "hub-failed", 1011
        try:
            cause, code = await self._carry(call, sound)
        except asyncio.CancelledError:
            cause, code = await self._last_words(), 0
            raise
        finally:
            call.ended(cause)
            # Known before the socket closes: the carrier asks at once what is to become of it.
            self._exchange.closed(grant.call_sid, call.hang_up, call.cause or cause)
            await self._hub.switchboard.put_away(call, lambda: self._let_go(code))

    async def _begin(self, sound: MediaWire, stream: wire.Stream, grant: Grant) -> Call:
        """Raises what beginning a call raises."""
        return await self._hub.switchboard.begin(
            sound,
            caller=caller_of(grant, self._hub.clock.now_ns()),
            agent=grant.agent,
            called=grant.called,
            direction=grant.direction,
            external_id=grant.call_sid,
            adjust=lambda manner: greeted(manner, grant.greeting),
            transfer=self._transfers(grant) if stream.carrier == "twilio" else None,
        )

    async def _last_words(self) -> str:
        """The socket is gone: how the call ended, from what had come before."""
        if self._reader is None:
            return "carrier-lost"
        await asyncio.wait([self._reader], timeout=LAST_WORDS_S)
        return self._reader.result() if self._reader.done() else "carrier-lost"

    async def _let_go(self, code: int) -> None:
        await self._tasks.close()
        if code:
            await self._close(code, "")

    async def _carry(self, call: Call, sound: MediaWire) -> tuple[str, int]:
        """Both directions until one ends; returns why, and the code to close the socket with."""
        hearing = self._inbox.until(lambda raw: self._heard(raw, call, sound))
        reader = self._reader = self._tasks.start(hearing, "reader")
        writer = self._tasks.start(self._outbox.run(), "writer")
        seen = -1
        while True:
            done, _ = await asyncio.wait(
                {reader, writer}, timeout=SILENCE_S, return_when=asyncio.FIRST_COMPLETED
            )
            if reader in done:
                cause = reader.result()
                return cause, 1007 if cause == "bad-messages" else 1000
            if writer in done:
                try:
                    writer.result()
                except Stalled:
                    return "carrier-stalled", 1008
                return call.cause or "hub-failed", 1000
            if self._received == seen:
                return "carrier-lost", 1001
            seen = self._received

    def _heard(self, raw: str | bytes, call: Call, sound: MediaWire) -> str | None:
        """Take in one message of the carrier; returns why it stops, if it does."""
        self._received += 1
        try:
            message = wire.parse(raw)
        except Invalid as error:
            self._bad += 1
            log.warning("twilio.bad_message", call=call.record.id, why=error.message)
            return "bad-messages" if self._bad >= BAD_MESSAGES else None
        match message.event:
            case "media":
                media = message.media
                if media is not None and media.track != "outbound" and not self._repeats(media):
                    call.audio(media.payload)
            case "mark" | "playedStream":
                name = message.mark.name if message.mark is not None else message.name
                if (played := sound.played(name)) is not None:
                    call.signal(played)
            case "dtmf":
                if message.dtmf is not None and message.dtmf.digit in KEYS:
                    call.signal(Digit(message.dtmf.digit))
            case "stop":
                return "caller-hung-up"
        return None

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close(code, reason[:100])
        except TimeoutError:  # it does not read; whoever serves the socket gives it up in time
            log.warning("twilio.not_closed")


def caller_of(grant: Grant, now_ns: int) -> Caller:
    """Who is on the line: of an outbound call, whoever was called."""
    number = grant.called if grant.direction == "outbound" else grant.caller
    known = number.startswith("+") and number[1:].isdecimal() and not withheld(number)
    return Caller(
        id=number if known else f"anonymous-{now_ns}", known=known, call_id=grant.call_sid
    )


def greeted(manner: Manner, greeting: str | None) -> Manner:
    return manner if greeting is None else msgspec.structs.replace(manner, greeting=greeting)
