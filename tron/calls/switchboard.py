"""The switchboard: every live call of this hub, and what it takes to begin one.

Most calls bring sound, and `begin` makes them. One whose carrier hears and speaks by itself brings
its own `LiveCall` to `take`; from there on both are the same: counted, listed, ended, put away.

Admission is decided before a call is answered: a call that would be one too many is refused in
its wire's own way instead of being taken and served badly. One ticker serves all calls whose wire
is silent, one writer their ledgers.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from tron.agents.registry import Registry
from tron.calls.audio import alaw_decode, mulaw_decode, warm
from tron.calls.call import Call, Transfer, Voices
from tron.calls.ledger import Ledger, Record
from tron.calls.limits import prompts_of
from tron.calls.listening import Waits
from tron.calls.manner import Manner
from tron.calls.recording import Recording
from tron.calls.signals import FRAME_MS
from tron.calls.wire import CallWire
from tron.clock import Clock
from tron.conversation.door import Door
from tron.conversation.turns import Caller
from tron.errors import Overloaded
from tron.memory.contacts import Contacts
from tron.settings import Settings
from tron.speech.engines import Speech
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

FLUSH_S = 0.5
LAST_WORDS_S = 1.0
"""before the end of a drain, for closing what is still open"""
PUT_AWAY_S = 5.0
"""for calls whose wires are being let go of as the hub closes"""
LATE_MS = 3 * FRAME_MS


class LiveCall(Protocol):
    """A call that goes on."""

    record: Record
    session_key: str
    """of its conversation; empty before the first turn"""
    cause: str | None
    """why it ended; None while it goes on"""

    def tick(self) -> None:
        """A frame's time has passed."""
        ...

    def ended(self, cause: str) -> None:
        """Its wire is gone; the first cause stands."""
        ...

    def hang_up(self, cause: str) -> None:
        """End it from this side; the first cause stands."""
        ...

    async def close(self) -> None:
        """Let go of everything and end its row in the ledger. It must have ended."""
        ...


class Switchboard:
    """Begins calls, knows them, ends them."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        store: Store,
        agents: Registry,
        door: Door,
        speech: Speech,
        contacts: Contacts,
        hub_id: str,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._agents = agents
        self._door = door
        self._speech = speech
        self._contacts = contacts
        self.ledger = Ledger(store, clock, hub_id)
        self._live: dict[str, LiveCall] = {}
        self._calling = asyncio.Event()
        """set while there are calls"""
        self._reserved = 0
        self._tasks = Tasks("switchboard")
        self._endings = Tasks("switchboard endings")
        self._open = True

    @property
    def live(self) -> list[LiveCall]:
        return list(self._live.values())

    def start(self) -> None:
        """Begin to tick and to write ledgers."""
        self._tasks.start(self._tick(), "ticker")
        self._tasks.repeat(self.ledger.flush, "ledger", every_s=FLUSH_S)

    def admit(self) -> None:
        """Raises Overloaded if a further call would be one too many, or the hub is stopping."""
        if not self._open:
            raise Overloaded("The hub is shutting down.", retry_after=30)
        if len(self._live) + self._reserved >= self._settings.max_calls:
            raise Overloaded(
                f"All {self._settings.max_calls} lines are busy.", code="lines_busy", retry_after=10
            )

    async def begin(
        self,
        wire: CallWire,
        *,
        caller: Caller,
        agent: str | None = None,
        called: str = "",
        direction: str = "inbound",
        external_id: str | None = None,
        client_id: str = HOUSE,
        adjust: Callable[[Manner], Manner] = lambda manner: manner,
        voice: str | None = None,
        transfer: Transfer | None = None,
    ) -> Call:
        """Begin a call on `wire`. `adjust` changes the manner of calls for this wire, `transfer`
        puts it through to a number, where its carrier can.

        Raises Overloaded, NotFound (the agent), NotConfigured (no agent at all), SpeechFailed,
        StorageUnavailable, and Invalid for a voice nobody has. Whoever begins a call runs
        `put_away` or `finish` when its wire is gone.
        """
        self.admit()
        persona = self._agents.wanted(agent, param="agent")
        with self._place():  # nobody else takes it while the engines open
            await asyncio.to_thread(warm)  # with the first call; afterwards it is at hand
            id = secrets.token_hex(8)
            recording = self._recording(id, wire)
            record = Record(
                id=id,
                client_id=client_id,
                wire=wire.facts.name,
                direction=direction,
                caller=caller.id,
                called=called,
                external_id=external_id,
                agent=persona.id,
                session_key="",
                started_at=self._clock.now_ms(),
                recording=str(recording.path) if recording else None,
            )
            call = Call(
                record,
                wire=wire,
                caller=caller,
                manner=adjust(self._manner(persona.name, metered=wire.facts.metered)),
                voices=Voices(
                    recogniser=self._speech.recogniser,
                    synthesiser=self._speech.synthesiser,
                    activity=await self._speech.activity(wire.facts.heard_rate),
                    voice=await self._speech.choose_voice(voice, persona.voice),
                ),
                door=self._door,
                ledger=self.ledger,
                clock=self._clock,
                contacts=self._contacts,
                transfer=transfer,
                recording=recording,
            )
            await self._list(call)
        try:
            await call.start()
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):  # else its wire has gone
                call.ended("hub-could-not-start")
            await self.finish(call)
            raise
        return call

    async def take(self, call: LiveCall) -> None:
        """A call begins that does without our engines; whoever brings it runs `put_away` or
        `finish` when its wire is gone. Raises Overloaded, StorageUnavailable."""
        with self._place():
            await self._list(call)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Room for one more call, until it is listed. Raises Overloaded."""
        self.admit()
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    async def _list(self, call: LiveCall) -> None:
        try:
            await self.ledger.begin(call.record)
        except asyncio.CancelledError:  # its wire has gone, but what is being written will stand
            await self.finish(call)
            raise
        self._live[call.record.id] = call
        self._calling.set()

    def _manner(self, name: str, *, metered: bool) -> Manner:
        settings = self._settings
        return Manner(
            waits=waits_of(settings),
            greeting=f"Hello, this is {name}." if settings.call_greeting else "",
            silence_ms=settings.call_silence_ms if metered else 0,
            silence_prompts=prompts_of(settings),
            longest_ms=round(settings.call_max_s * 1000) if metered else 0,
        )

    def _recording(self, id: str, wire: CallWire) -> Recording | None:
        if not self._settings.record_calls:
            return None
        decode = {"mulaw": mulaw_decode, "alaw": alaw_decode}.get(wire.facts.played_as, bytes)
        return Recording(
            self._settings.home / "recordings" / f"{id}.wav",
            heard_rate=wire.facts.heard_rate,
            played_rate=wire.facts.played_rate,
            decode_played=decode,
        )

    async def put_away(self, call: LiveCall, let_go: Callable[[], Awaitable[None]]) -> None:
        """A call's wire is gone: let go of it, then `finish`.

        Both are done although whoever asks may be cancelled meanwhile, as servers do with those
        whose client has left. Once the hub has closed, the call has been finished already.
        """
        try:
            ending = self._endings.start(self._put_away(call, let_go), "put call away")
        except RuntimeError:
            await let_go()
            return
        await asyncio.shield(ending)

    async def _put_away(self, call: LiveCall, let_go: Callable[[], Awaitable[None]]) -> None:
        try:
            await let_go()
        finally:
            await self.finish(call)

    async def finish(self, call: LiveCall) -> None:
        """A call's wire is gone: let go of everything it held."""
        call.ended("wire-closed")  # unless there is a cause already
        try:
            await call.close()
        finally:
            self._live.pop(call.record.id, None)

    async def _tick(self) -> None:
        while True:
            if not self._live:
                self._calling.clear()
                await self._calling.wait()
            asleep = self._clock.monotonic()
            await asyncio.sleep(FRAME_MS / 1000)
            if self._clock.monotonic() - asleep > LATE_MS / 1000:
                continue  # the hub was late, not the callers: what they said is still to be read
            for call in self.live:
                call.tick()

    def shut(self, within_s: float) -> None:
        """Take no further call; the live ones go on, and those still there shortly before
        `within_s` has passed are hung up, so that their wires can say so."""
        self._open = False
        self._tasks.start(self._hang_up_late(within_s - LAST_WORDS_S), "ending late calls")

    async def _hang_up_late(self, after_s: float) -> None:
        await asyncio.sleep(max(after_s, 0))
        for call in self.live:
            call.hang_up("hub-stopping")

    async def close(self) -> None:
        self._open = False
        await self._endings.drain(PUT_AWAY_S)
        await self._endings.close()
        for call in self.live:
            call.hang_up("hub-stopping")
            await self.finish(call)
        await self._tasks.close()


def waits_of(settings: Settings) -> Waits:
    """The declared waits, as they are set."""
    return Waits(
        start_ms=settings.vad_start_ms,
        stop_ms=settings.vad_stop_ms,
        wait_ms=settings.turn_wait_ms,
    )
