"""A call by ConversationRelay as the hub knows it: words come in, words go out.

The carrier hears and speaks; this holds the turns, the ledger's lines and the ending. It is a
`LiveCall` like those with sound, so it counts, is listed and can be ended as they are. What nobody
reports, when an answer has been spoken, is estimated from its length.
"""

import asyncio
import secrets
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Protocol

import structlog

from integrations.twilio.media import caller_of
from integrations.twilio.proof import Grant
from tron.calls.call import EndCall, Transfer, end_tool
from tron.calls.ledger import Record
from tron.calls.machine import NOT_TRANSFERRED
from tron.calls.playback import MS_PER_CHARACTER
from tron.calls.sentences import Piece, Sentences
from tron.calls.signals import Note
from tron.calls.transfer import TRANSFERRED, Destination, transfer_tool, when_spoken
from tron.conversation.turns import Message, Opened, TextDelta, TurnInput
from tron.errors import TronError
from tron.storage.tables import HOUSE
from tron.supervise import Tasks
from tron.tools.contract import ToolContext

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

DIGITS_WAIT_S = 2.0
LONGEST_GOODBYE_MS = 15_000
APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again?"


class Mouth(Protocol):
    """What says the persona's words; everything returns at once."""

    def say(self, text: str) -> None:
        """More of an answer."""
        ...

    def said(self) -> None:
        """The answer is complete."""
        ...

    def hush(self) -> None:
        """Forget what was not said yet; the answer ends here."""
        ...

    def follow(self, code: str) -> None:
        """Speak and hear another language."""
        ...

    def hang_up(self, cause: str) -> None:
        """End the connection once what was to be said has gone out."""
        ...

    def hand_off(self, number: str) -> None:
        """The same, and have the carrier put the caller through to `number`."""
        ...


class Talk:
    """See the module. `transfer` asks the carrier while the call goes on; without it the call is
    handed off as it ends."""

    def __init__(self, hub: "Hub", grant: Grant, mouth: Mouth, transfer: Transfer | None) -> None:
        self._hub = hub
        self._mouth = mouth
        self._transfer = transfer
        self._tasks = Tasks("twilio talk")
        self._caller = caller_of(grant, hub.clock.now_ns())
        self._unasked = grant.greeting or ""
        """what was said without being asked since the latest turn; the persona is to know it"""
        self.session_key = ""
        self._turn: asyncio.Task[None] | None = None
        self._turns = 0
        self._open = False
        """the latest turn has no ending in the ledger yet"""
        self._answered = False
        """the latest turn is in the transcript"""
        self._speaking = False
        """an answer was begun and not ended"""
        self._spoken_by = 0
        """when what was sent will have been spoken, on the call's own clock"""
        self._language = ""
        self._digits = ""
        self._digits_over: asyncio.Task[None] | None = None
        self._parting: EndCall | Destination | None = None
        """what comes when the persona has finished speaking"""
        self._transferring = False
        self._seq = 0
        self._began = hub.clock.monotonic()
        self.cause: str | None = None
        persona = hub.agents.get(grant.agent or hub.settings.default_agent)
        self.record = Record(
            id=secrets.token_hex(8),
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
        await self._hub.switchboard.take(self)
        self._note("started")
        if self._unasked:
            self._note("say", self._unasked)

    # What the caller does

    async def heard(self, text: str, code: str) -> None:
        """The caller said `text`, in the language `code`."""
        if code and code != self._language:
            if self._language:
                self._mouth.follow(code)
            self._language = code
        await self._begin(text)

    async def interrupted(self, heard: str) -> None:
        """The caller spoke into the answer, of which only `heard` was heard."""
        await self._stop()
        self._parting, self._spoken_by = None, 0
        if self._open:
            self._open = False
            self._note("turn_dropped", heard)
        if self._answered:
            self._answered = False
            try:
                await self._hub.door.heard(HOUSE, self.session_key, heard)
            except TronError as error:
                log.error("call.unsettled", call=self.record.id, error=error.type)

    def pressed(self, key: str) -> None:
        self._digits += key if key != "#" else ""
        if self._digits_over is not None:
            self._digits_over.cancel()
        wait_s = 0.0 if key == "#" else DIGITS_WAIT_S
        self._digits_over = self._tasks.start(self._keys_over(wait_s), "keys")

    async def _keys_over(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        keys, self._digits = self._digits, ""
        if keys:
            await self._begin(f"(pressed the keys {keys})")

    # Turns

    async def _begin(self, text: str) -> None:
        await self._stop()
        self._parting = None
        self._end_turn("turn_over", "completed")
        self._turns += 1
        self._open = True
        self._note("turn_began", text)
        self._turn = self._tasks.start(self._converse(text), "turn")

    async def _converse(self, text: str) -> None:
        messages = [Message(role="user", content=text)]
        if self._unasked:
            messages.insert(0, Message(role="assistant", content=self._unasked))
            self._unasked = ""
        foreign = self._language and not self._language.lower().startswith("en")
        put_through = self._put_through_after
        asked = TurnInput(
            caller=self._caller,
            channel="twilio",
            agent=self.record.agent,
            messages=messages,
            spoken=True,
            in_call=True,
            instructions=f"The caller speaks {self._language}: answer in it." if foreign else "",
            wire_tools=(
                end_tool(self._end_after),
                transfer_tool(self._hub.contacts, put_through, line=self.record.called),
            ),
        )
        sentences = Sentences()
        self._answered = False
        try:
            async with aclosing(self._hub.door.converse(asked)) as batches:
                async for batch in batches:
                    for event in batch:
                        if isinstance(event, TextDelta):
                            self._say(sentences.add(event.text))
                        elif isinstance(event, Opened):
                            self.session_key, self._answered = event.session, True
            self._say(sentences.end())
        except TronError as error:
            self._note("answer_failed", error.type)
            self._say([*sentences.end(), Piece(APOLOGY, APOLOGY)])
        self._mouth.said()
        self._speaking = False
        self._note("answer_over")

    def _say(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            if not piece.spoken:
                continue
            self._note("say", piece.spoken)
            if not self._speaking:
                self._speaking = True
                self._note("first_audio")
            begins = max(self._spoken_by, self._now)
            takes_ms = round(len(piece.spoken) * MS_PER_CHARACTER)
            self._spoken_by = min(begins + takes_ms, self._now + LONGEST_GOODBYE_MS)
            self._mouth.say(piece.spoken)

    async def _stop(self) -> None:
        """End the answer that is under way; what was said of it stays."""
        turn, self._turn = self._turn, None
        if turn is None or turn.done():
            return
        turn.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([turn])
        if self._speaking:
            self._speaking = False
            self._mouth.hush()
        self._spoken_by = 0

    def _end_turn(self, kind: str, text: str) -> None:
        if self._open:
            self._open = False
            self._note(kind, text)

    # Parting

    async def _end_after(self, _: ToolContext, args: EndCall) -> str:
        self._parting = args
        return "The call ends when you have finished speaking. Say goodbye."

    async def _put_through_after(self, to: Destination) -> str:
        self._parting = to
        return when_spoken(to)

    def tick(self) -> None:
        """The persona may have finished speaking."""
        parting = self._parting
        if parting is None or (self._turn is not None and not self._turn.done()):
            return
        if self._now < self._spoken_by:
            return
        self._parting = None
        if isinstance(parting, EndCall):
            self.hang_up("persona-ended-call")
            return
        self._note("transferring", parting.number)
        if self._transfer is None:
            self._over(TRANSFERRED)
            self._mouth.hand_off(parting.number)
        else:
            self._tasks.start(self._put_through(self._transfer, parting.number), "transfer")

    async def _put_through(self, transfer: Transfer, number: str) -> None:
        """Have the carrier do it. If it does not the call goes on, and the caller is told."""
        self._transferring = True
        try:
            await transfer(number)
        except TronError as error:
            self._transferring = False
            log.warning("call.not_transferred", call=self.record.id, error=error.type)
            self._note("not_transferred")
            self._unasked = NOT_TRANSFERRED
            self._say([Piece(NOT_TRANSFERRED, NOT_TRANSFERRED)])
            self._mouth.said()
            self._speaking = False
        else:
            self.hang_up(TRANSFERRED)

    # The end

    def hang_up(self, cause: str) -> None:
        """See `LiveCall`."""
        if self.cause is None:
            self._transferring = False
            self._over(cause)
            self._mouth.hang_up(cause)

    def ended(self, cause: str) -> None:
        """See `LiveCall`."""
        # The carrier takes the call away before it answers that it will.
        self._over(TRANSFERRED if self._transferring else cause)

    def _over(self, cause: str) -> None:
        if self.cause is None:
            self.cause = cause
            finished = self._turn is None or self._turn.done()
            self._end_turn(*(("turn_over", "completed") if finished else ("turn_dropped", "")))
            self._note("ended", cause)

    async def close(self) -> None:
        """See `LiveCall`."""
        await self._stop()
        await self._tasks.close()
        try:
            await self._hub.switchboard.ledger.end(
                self.record, self.cause or "unknown", self.session_key
            )
        except TronError as error:
            log.error("call.end_unwritten", call=self.record.id, error=error.type)

    @property
    def _now(self) -> int:
        """ms since the call began."""
        return round((self._hub.clock.monotonic() - self._began) * 1000)

    def _note(self, kind: str, text: str = "") -> None:
        self._seq += 1
        note = Note(kind, self._turns, text)
        self._hub.switchboard.ledger.note(self.record, self._seq, self._now, note)
