"""Speech Engine: ElevenLabs hears, speaks and decides whose turn it is; the hub only thinks.

ElevenLabs opens `WS /elevenlabs/speech-engine` with the whole talk so far each time the caller has
said something. A higher event id ends the answer under way, a lower one came too late, the same
one again is a duplicate. The persona cannot speak first.
"""

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from quart.wrappers import Websocket

from integrations.elevenlabs import wire
from integrations.elevenlabs.wire import Refused
from tron.calls.outbox import Outbox, Stalled
from tron.conversation.caller import identify
from tron.conversation.turns import Message, TextDelta, TurnInput
from tron.errors import TronError
from tron.storage.tables import HOUSE
from tron.supervise import Tasks

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

CLOSE_S = 5.0
ID_LIMIT = 128
MESSAGES_LIMIT = 2_000
APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again?"
_encode = msgspec.json.Encoder().encode


class SpeechEngineSocket:
    """One conversation. The socket has proven itself and is accepted."""

    def __init__(self, hub: "Hub", socket: Websocket, *, agent: str) -> None:
        self._hub = hub
        self._socket = socket
        self._agent = agent
        self._outbox = Outbox(socket.send)
        self._tasks = Tasks("elevenlabs speech engine")
        self._conversation = ""
        self._event_id = -1
        self._answering: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve it. Ends by itself, or is cancelled when ElevenLabs is gone."""
        try:
            reader = self._tasks.start(self._read(), "reader")
            sender = self._tasks.start(self._send(), "sender")
            await asyncio.wait({reader, sender}, return_when=asyncio.FIRST_COMPLETED)
            self._outbox.close(wire.FAILED, "ended")  # unless it was closed with a reason
            await asyncio.wait({sender}, timeout=CLOSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    reason = self._outbox.close_reason
                    await self._socket.close(self._outbox.close_code or wire.NORMAL, reason)
        finally:
            await self._tasks.close()

    def stop(self) -> None:
        """The hub is stopping: end."""
        self._outbox.close(wire.FAILED, "hub-stopping")

    async def _send(self) -> None:
        try:
            await self._outbox.run()
        except Stalled:
            self._outbox.close(wire.POLICY, "not reading")

    async def _read(self) -> None:
        try:
            while True:
                message = wire.decode(await self._socket.receive())
                match message.get("type"):
                    case "init":
                        self._conversation = str(message.get("conversation_id"))[:ID_LIMIT]
                    case "user_transcript":
                        await self._heard(message)
                    case "ping":
                        self._outbox.put('{"type":"pong"}')
                    case "close":
                        self._outbox.close(wire.NORMAL, "")
                        return
                    case "error":
                        log.warning("elevenlabs.speech_engine_error", id=self._conversation)
        except Refused as refused:
            log.info("elevenlabs.refused", code=refused.code, error=refused.error_type)
            self._outbox.close(refused.code, refused.error_type)

    async def _heard(self, message: dict[str, Any]) -> None:
        event_id = message.get("event_id")
        if not isinstance(event_id, int) or isinstance(event_id, bool):
            raise Refused(wire.MALFORMED, "user_transcript needs an event_id.")
        if event_id < self._event_id:
            return
        if event_id == self._event_id and self._answering and not self._answering.done():
            return
        messages = _messages(message.get("user_transcript"))
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.wait({self._answering})
        self._event_id = event_id
        self._answering = self._tasks.start(self._answer(event_id, messages), "answer")

    async def _answer(self, event_id: int, messages: list[Message]) -> None:
        made_up = identify({}, {}, now_ns=self._hub.clock.now_ns())
        turn = TurnInput(
            caller=msgspec.structs.replace(made_up, call_id=self._conversation or None),
            channel="elevenlabs",
            agent=self._agent,
            messages=messages,
            spoken=True,
            in_call=True,
            client_id=HOUSE,
        )
        said = False
        try:
            async with aclosing(self._hub.door.converse(turn)) as batches:
                async for batch in batches:
                    more = "".join(event.text for event in batch if isinstance(event, TextDelta))
                    if more:
                        said = True
                        self._say(event_id, more)
        except TronError as error:
            log.warning("elevenlabs.turn_failed", id=self._conversation, error=error.type)
            self._say(event_id, f" {APOLOGY}" if said else APOLOGY)
        self._say(event_id, "", final=True)

    def _say(self, event_id: int, content: str, *, final: bool = False) -> None:
        frame = {
            "type": "agent_response",
            "event_id": event_id,
            "content": content,
            "is_final": final,
        }
        self._outbox.put(_encode(frame).decode())


def _messages(given: Any) -> list[Message]:
    """The talk so far. Raises Refused."""
    found = []
    for entry in given[-MESSAGES_LIMIT:] if isinstance(given, list) else ():
        role, content = (
            (entry.get("role"), entry.get("content")) if isinstance(entry, dict) else (None, None)
        )
        if role not in ("user", "agent") or not isinstance(content, str):
            raise Refused(wire.MALFORMED, "A line of the talk needs a role and its content.")
        found.append(Message(role="user" if role == "user" else "assistant", content=content))
    return found
