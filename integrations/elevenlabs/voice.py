"""A conversation by voice: the agent socket as a wire of the call machine."""

import asyncio
from collections import OrderedDict

import msgspec

from integrations.elevenlabs import wire
from integrations.elevenlabs.conversation import Conversation
from integrations.elevenlabs.wire import ClientMessage, Refused
from tron.calls.call import Call
from tron.calls.manner import Manner
from tron.calls.signals import Remark, Tell, Typed

SLICE_MS = 200
"""of sound handed over at a time, so that a long chunk does not keep others waiting"""
AHEAD_MS = 30_000
"""how much more sound than time a client may send"""
EVENTS_KEPT = 100


class VoiceWire:
    """What the call wants said, as frames. One turn's sound has one event id, and a new one after
    each interruption, because clients drop what has an id up to the interrupted one's."""

    def __init__(self, conversation: Conversation) -> None:
        self.facts = conversation.start.facts()
        self._ids = conversation.ids
        self._dialect = conversation.dialect
        self._outbox = conversation.outbox
        self._turn = 0
        self._text = ""
        self._announced = False
        self._said_id = 0
        self._turns: OrderedDict[int, int] = OrderedDict()
        self._sound_id = 0
        self._next_sound()
        self._answer_id = self._sound_id
        """of what is said now; after a cough its sound has another"""

    def play(self, audio: bytes) -> None:
        self._outbox.put(self._dialect.audio(audio, self._sound_id), speech=True)

    def mark(self, mark: int) -> None:
        pass  # clients do not say what they have played

    def clear(self) -> None:
        self._outbox.forget_speech()
        self._outbox.put(self._dialect.interrupted(self._sound_id))
        self._next_sound()

    def hang_up(self, cause: str) -> None:
        if cause.startswith("hub-"):
            self._outbox.put(self._dialect.error(wire.FAILED, cause, "The hub ends this call."))
            self._outbox.close(wire.FAILED, cause)
        else:
            self._outbox.close(wire.NORMAL, cause)

    def tell(self, told: Tell) -> None:
        match told.what:
            case "partial":
                self._outbox.put(self._dialect.hearing(told.text, self._utterance()))
            case "committed":
                self._outbox.put(self._dialect.heard(told.text, self._utterance()))
                self._said_id = 0
            case "turn":
                self._turn, self._text, self._announced = told.turn, "", False
                self._next_sound()
                self._answer_id = self._sound_id
            case "text":
                self._text += told.text
            case "answer_over":
                self._announce()
            case "heard":
                self._correct(told.text.strip())

    def greet(self, greeting: str) -> None:
        """What is said first, which nobody asked for."""
        self._text = greeting
        self._announce()

    def turn_of(self, event_id: int) -> int | None:
        """Which turn an event belonged to, if that is still known."""
        return self._turns.get(event_id)

    def _announce(self) -> None:
        if self._text.strip() and not self._announced:
            self._announced = True
            self._outbox.put(self._dialect.answered(self._text.strip(), self._answer_id))

    def _correct(self, heard: str) -> None:
        """The turn was cut off: the client's transcript should say no more than was heard."""
        original = self._text.strip()
        if heard:
            self._announce()
        if self._announced and heard != original:
            self._outbox.put(self._dialect.corrected(original, heard, self._answer_id))

    def _utterance(self) -> int:
        """The id of what is being said; its partials share it."""
        self._said_id = self._said_id or next(self._ids)
        return self._said_id

    def _next_sound(self) -> None:
        self._sound_id = next(self._ids)
        self._turns[self._sound_id] = self._turn
        if len(self._turns) > EVENTS_KEPT:
            self._turns.popitem(last=False)


class VoiceTalk:
    """One conversation by voice."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._wire = VoiceWire(conversation)
        self._call: Call | None = None
        self._began = 0.0
        self._sound_ms = 0.0
        facts = self._wire.facts
        self._width = 2 if facts.heard_as == "pcm16" else 1
        self._bytes_per_ms = facts.heard_rate * self._width / 1000

    async def begin(self) -> None:
        """Raises what beginning a call raises."""
        talk = self._conversation

        def adjust(manner: Manner) -> Manner:
            return msgspec.structs.replace(manner, greeting=talk.greeting)

        self._call = await talk.hub.switchboard.begin(
            self._wire,
            caller=talk.caller,
            agent=talk.agent,
            external_id=talk.id,
            client_id=talk.client_id,
            adjust=adjust,
            voice=talk.start.voice,
        )
        self._call.tools = talk.tools.tools
        self._call.instructions = talk.instructions
        self._began = talk.hub.clock.monotonic()
        talk.outbox.put(talk.dialect.started(talk.id, talk.start))
        if talk.greeting:
            self._wire.greet(talk.greeting)

    async def take(self, message: ClientMessage) -> None:
        """Something the client sent. Raises Refused."""
        talk, call = self._conversation, self._call
        assert call is not None
        match message:
            case wire.Audio():
                await self._hear(call, message.data)
            case wire.Said():
                if text := talk.typed(message.text):
                    call.signal(Typed(text))
            case wire.Context():
                talk.add_context(message.text)
                call.instructions = talk.instructions
            case wire.ToolResult():
                talk.tools.answered(message)
            case wire.Feedback():
                turn = self._wire.turn_of(message.event_id)
                if turn is not None:
                    call.signal(Remark("feedback", turn, message.score))

    async def _hear(self, call: Call, data: bytes) -> None:
        if len(data) % self._width:
            raise Refused(wire.MALFORMED, "Sound must be whole samples.", "invalid_audio")
        self._sound_ms += len(data) / self._bytes_per_ms
        passed_ms = (self._conversation.hub.clock.monotonic() - self._began) * 1000
        if self._sound_ms - passed_ms > AHEAD_MS:
            raise Refused(wire.POLICY, "Sound came faster than it is spoken.", "too_fast")
        # A client that was silent for a while has not earned the right to hurry.
        self._sound_ms = max(self._sound_ms, passed_ms)
        step = int(SLICE_MS * self._bytes_per_ms)
        for start in range(0, len(data), step):
            call.audio(data[start : start + step])
            await asyncio.sleep(0)

    async def close(self, cause: str) -> None:
        if self._call is not None:
            self._call.ended(cause)
            await self._conversation.hub.switchboard.finish(self._call)
