"""A conversation in writing: straight through the door, without the call machine."""

import asyncio
from contextlib import aclosing

import structlog

from integrations.elevenlabs import frames, wire
from integrations.elevenlabs.conversation import Conversation
from integrations.elevenlabs.wire import ClientMessage, Refused
from tron.conversation.turns import Message, TextDelta, TurnInput
from tron.errors import TronError
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

WAITING = 16
"""messages that may wait for the answer to the one before"""


class TypedTalk:
    """One conversation in writing. Messages are answered one after the other."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._messages: asyncio.Queue[str] = asyncio.Queue(WAITING)
        self._greeting = conversation.greeting
        self._tasks = Tasks("elevenlabs text")

    async def begin(self) -> None:
        talk = self._conversation
        talk.outbox.put(talk.dialect.started(talk.id, talk.start))
        if talk.greeting:
            talk.outbox.put(talk.dialect.answered(talk.greeting, next(talk.ids)))
        self._tasks.start(self._answer_all(), "answers")

    async def take(self, message: ClientMessage) -> None:
        """Something the client sent; sound is no part of this. Raises Refused."""
        talk = self._conversation
        match message:
            case wire.Said():
                if text := talk.typed(message.text):
                    self._add(text)
            case wire.Context():
                talk.add_context(message.text)
            case wire.ToolResult():
                talk.tools.answered(message)
            case wire.Feedback():
                log.info("elevenlabs.feedback", conversation=talk.id, score=message.score)

    def _add(self, text: str) -> None:
        try:
            self._messages.put_nowait(text)
        except asyncio.QueueFull:
            raise Refused(wire.POLICY, "Too many messages are waiting.", "too_many") from None

    async def _answer_all(self) -> None:
        while True:
            text = await self._messages.get()
            try:
                await self._answer(text)
            except TronError as error:
                code = wire.POLICY if error.status < 500 else wire.FAILED
                self._conversation.outbox.put(
                    self._conversation.dialect.error(code, error.type, error.message)
                )
                self._conversation.outbox.close(code, error.type)
                return

    async def _answer(self, text: str) -> None:
        talk, id = self._conversation, next(self._conversation.ids)
        messages = [Message(role="user", content=text)]
        if self._greeting:  # part of what was said, so part of what the persona remembers
            messages.insert(0, Message(role="assistant", content=self._greeting))
            self._greeting = ""
        turn = TurnInput(
            caller=talk.caller,
            channel="elevenlabs",
            agent=talk.agent,
            messages=messages,
            instructions=talk.instructions,
            client_id=talk.client_id,
            wire_tools=talk.tools.tools,
        )
        pieces: list[str] = []
        talk.outbox.put(frames.part("start", "", id))
        async with aclosing(talk.hub.door.converse(turn)) as batches:
            async for batch in batches:
                more = "".join(event.text for event in batch if isinstance(event, TextDelta))
                if more:
                    pieces.append(more)
                    talk.outbox.put(frames.part("delta", more, id))
        talk.outbox.put(frames.part("stop", "", id))
        talk.outbox.put(talk.dialect.answered("".join(pieces).strip(), id))

    async def close(self, cause: str) -> None:
        log.info("elevenlabs.text_ended", conversation=self._conversation.id, cause=cause)
        await self._tasks.close()
