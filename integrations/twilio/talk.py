"""A call by ConversationRelay as the hub knows it: words come in, words go out.

The carrier hears and speaks; this holds the turns, the ledger's lines and the ending. It is a
`LiveCall` like those with sound, so it counts, is listed and can be ended as they are. What nobody
reports, when an answer has been spoken, is estimated (`estimate.py`).
"""

import asyncio
import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

import structlog

from integrations.twilio.estimate import Spoken
from integrations.twilio.media import caller_of
from integrations.twilio.proof import Grant
from tron.calls import cost
from tron.calls.call import Transfer
from tron.calls.ending import end_tool
from tron.calls.keys import Keys
from tron.calls.ledger import Record
from tron.calls.limits import Due, Limits, prompts_of
from tron.calls.machine import NOT_TRANSFERRED
from tron.calls.manner import Manner
from tron.calls.sentences import Piece, Sentences
from tron.calls.signals import Note
from tron.calls.transfer import TRANSFERRED, Destination, transfer_tool, when_spoken
from tron.conversation.turns import Done, Message, Opened, TextDelta, ToolStarted, TurnInput
from tron.errors import TronError
from tron.storage.tables import HOUSE
from tron.supervise import Tasks

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

LONGEST_GOODBYE_MS = 15_000
MANNER = Manner()
"""how calls are held, as far as it is for the hub to say"""


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
        self._unasked = [grant.greeting] if grant.greeting else []
        """what was said since the latest turn without being asked; the persona is to know it"""
        self._volunteering = bool(self._unasked)
        """the last of it is what is being said"""
        self.session_key = ""
        self._turn: asyncio.Task[None] | None = None
        self._turns = 0
        self._open = False
        """the latest turn has no ending in the ledger yet"""
        self._answered = False
        """the latest turn is in the transcript"""
        self._speaking = False
        """an answer was begun and not ended"""
        self._spoken = Spoken()
        self._cut = ""
        """what was heard of the answer that the end of the call cut off"""
        self._filler: asyncio.Task[None] | None = None
        self._filled = ""
        """what was said while a tool ran, before the answer"""
        self._fillers = 0
        self._language = ""
        self._keys = Keys(MANNER.digits_wait_ms)
        self._stirred_at = 0
        """when the caller last did anything"""
        self._caller_speaks = False
        self._limits = Limits(
            silence_ms=hub.settings.call_silence_ms,
            prompts=prompts_of(hub.settings),
            longest_ms=round(hub.settings.call_max_s * 1000),
        )
        self._parting: str | Destination | None = None
        """what comes when the persona has finished speaking: an ending's cause, or somebody else"""
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
        for greeting in self._unasked:  # which Twilio says
            self._note("say", greeting)
            self._spoken.add(Piece(greeting, greeting), self._now)

    # What the caller does

    def stirred(self, *, speaks: bool = False) -> None:
        """There is somebody; `speaks`: who is saying something just now."""
        self._stirred_at = self._now
        self._caller_speaks = speaks

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
        self._parting = None
        self._spoken.stop()
        heard = heard.removeprefix(self._filled).strip()
        self._drop(heard)
        await self._settle(heard)

    def _drop(self, heard: str) -> None:
        """What is being said ends here."""
        if self._open:
            self._end_turn("turn_dropped", heard)
        elif self._volunteering:
            self._volunteering = False
            self._unasked[-1] = heard
            self._note("cut_off", heard)

    async def _settle(self, heard: str) -> None:
        """Of the latest answer leave in the transcript only what was heard."""
        if self._answered:
            self._answered = False
            try:
                await self._hub.door.heard(HOUSE, self.session_key, heard)
            except TronError as error:
                log.error("call.unsettled", call=self.record.id, error=error.type)

    def pressed(self, key: str) -> None:
        self.stirred()
        self._keys.press(key, self._now)

    # Turns

    async def _begin(self, text: str) -> None:
        await self._stop()
        if self.cause is not None:  # the call has ended meanwhile
            return
        self._parting = None
        self._spoken.begin()
        self._limits.answered()
        self._end_turn("turn_over", "completed")
        self._turns += 1
        self._open = True
        self._note("turn_began", text)
        self._turn = self._tasks.start(self._converse(text), "turn")

    async def _converse(self, text: str) -> None:
        messages = [Message(role="user", content=text)]
        if unasked := " ".join(filter(None, self._unasked)):
            messages.insert(0, Message(role="assistant", content=unasked))
        self._unasked, self._volunteering = [], False
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
        self._answered, self._filled = False, ""
        try:
            async with aclosing(self._hub.door.converse(asked)) as batches:
                async for batch in batches:
                    for event in batch:
                        if isinstance(event, TextDelta):
                            self._filler_over()
                            self._say(sentences.add(event.text))
                        elif isinstance(event, ToolStarted):
                            self._fill_later()
                        elif isinstance(event, Opened):
                            self.session_key, self._answered = event.session, True
                        elif isinstance(event, Done):
                            self._note("used", cost.used(self._turns, event).text)
            self._say(sentences.end())
        except TronError as error:
            self._note("answer_failed", error.type)
            self._say([*sentences.end(), Piece("", MANNER.apology)])
        finally:
            self._filler_over()
        self._mouth.said()
        self._speaking = False
        self._note("answer_over")

    def _fill_later(self) -> None:
        """A tool is at work: if that takes long, say so, once before anything else is said."""
        if not self._speaking and self._filler is None and not self._filled:
            self._filler = self._tasks.start(self._fill(), "filler")

    async def _fill(self) -> None:
        await asyncio.sleep(MANNER.filler_after_ms / 1000)
        self._filler = None
        self._filled = MANNER.fillers[self._fillers % len(MANNER.fillers)]
        self._fillers += 1
        self._say([Piece("", self._filled)])

    def _filler_over(self) -> None:
        if self._filler is not None:
            self._filler.cancel()
            self._filler = None

    def _volunteer(self, text: str) -> None:
        """Say something that nobody asked for; no turn may be under way."""
        self._end_turn("turn_over", "completed")
        self._answered = False
        self._unasked.append(text)
        self._volunteering = True
        self._spoken.begin()
        self._say([Piece(text, text)])
        self._mouth.said()
        self._speaking = False

    def _say(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            self._spoken.add(piece, self._now)
            if not piece.spoken:
                continue
            self._note("say", piece.spoken)
            if not self._speaking:
                self._speaking = True
                self._note("first_audio")
            self._mouth.say(piece.spoken)

    async def _stop(self) -> None:
        """End the answer that is under way; what was said of it stays."""
        turn, self._turn = self._turn, None
        if turn is None or turn.done():
            return
        turn.cancel()
        await asyncio.wait([turn])
        if self._speaking:
            self._speaking = False
            self._mouth.hush()
        self._spoken.stop()

    def _end_turn(self, kind: str, text: str) -> None:
        if self._open:
            self._open = False
            self._note(kind, text)

    # Parting

    def _end_after(self) -> None:
        self._parting = "persona-ended-call"

    async def _put_through_after(self, to: Destination) -> str:
        self._parting = to
        return when_spoken(to)

    def tick(self) -> None:
        """The persona may have finished speaking, and the caller too, or nobody speak at all."""
        if self.cause is not None:
            return
        if self._keys and (keys := self._keys.due(self._now)):
            self._tasks.start(self._begin(keys), "keys")
            return
        self._keep_limits()
        self._part()

    @property
    def _at_work(self) -> bool:
        return self._turn is not None and not self._turn.done()

    def _keep_limits(self) -> None:
        busy = self._at_work or self._caller_speaks or self._keys
        now = self._now
        due = self._limits.due(now, 0 if busy else now - max(self._stirred_at, self._spoken.by))
        if due is None:
            return
        if due.at_once and self._at_work:
            self._tasks.start(self._break_off(due), "breaking off")
        else:
            self._follow(due)

    async def _break_off(self, due: Due) -> None:
        await self._stop()
        self._follow(due)

    def _follow(self, due: Due) -> None:
        if due.words:
            self._volunteer(due.words)
        if due.cause:
            self._note("limit", due.cause)
            self._parting = due.cause

    def _part(self) -> None:
        parting = self._parting
        if parting is None or self._at_work:
            return
        if self._now < min(self._spoken.by, self._spoken.sent_at + LONGEST_GOODBYE_MS):
            return
        self._parting = None
        if isinstance(parting, str):
            self.hang_up(parting)
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
            self._volunteer(NOT_TRANSFERRED)
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
            now = self._now
            if self._at_work or now < self._spoken.by:
                self._cut = self._spoken.heard(now).strip()
                self._drop(self._cut)
            else:
                self._answered = False  # and all of it heard
                self._end_turn("turn_over", "completed")
            self._note("ended", cause)

    async def close(self) -> None:
        """See `LiveCall`."""
        await self._stop()
        await self._settle(self._cut)
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
