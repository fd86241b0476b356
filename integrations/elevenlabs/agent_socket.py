"""One agent socket, from its acceptance to its end.

`WS /v1/convai/conversation` and `/ws/elevenlabs` are ElevenLabs' agents protocol. A client of the
original browser page on the second address is known by its first message, or by saying nothing
until it has been told that the session started. Whatever ends first (the client, the
conversation, a socket that does not read) ends the rest with it.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import structlog
from quart.wrappers import Websocket

from integrations.elevenlabs import wire
from integrations.elevenlabs.conversation import Conversation
from integrations.elevenlabs.frames import Agents, Dialect, Original
from integrations.elevenlabs.typed import TypedTalk
from integrations.elevenlabs.voice import VoiceTalk
from integrations.elevenlabs.wire import ClientMessage, Refused, Setup, Start
from tron.agents.persona import Persona
from tron.calls.outbox import Outbox, Stalled
from tron.errors import TronError
from tron.supervise import Tasks

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

FIRST_S = 10.0
ORIGINAL_FIRST_S = 2.0
"""how long the first frame may take; then the client gets a conversation as it is usual"""
PING_S = 2.0
SILENCE_S = 60.0
"""a client that answers no ping for so long is gone"""
CLOSE_S = 5.0
FRAMES_PER_S, FRAMES_AT_ONCE = 200, 2_000
"""a client with frames of 20 ms sends 50 a second"""
Opening = tuple[Dialect, Start, ClientMessage | None]


class Talk(Protocol):
    """A conversation, by voice or in writing."""

    async def begin(self) -> None: ...

    async def take(self, message: ClientMessage) -> None: ...

    async def close(self, cause: str) -> None: ...


class AgentSocket:
    """See the module."""

    def __init__(
        self,
        hub: "Hub",
        endings: Tasks,
        socket: Websocket,
        *,
        persona: Persona,
        client_id: str,
        maybe_original: bool,
    ) -> None:
        """`endings` outlives the socket: what must be done at its end is done there."""
        self._hub = hub
        self._endings = endings
        self._socket = socket
        self._persona = persona
        self._client_id = client_id
        self._maybe_original = maybe_original
        self._outbox = Outbox(socket.send)
        self._tasks = Tasks("elevenlabs socket")
        self._dialect: Dialect = Agents
        self._began_at = self._heard_at = hub.clock.monotonic()
        self._frames = 0
        self._pinged: tuple[int, float] | None = None
        self._ping_ms: int | None = None
        self._cause = "client-hung-up"

    async def run(self) -> None:
        """Serve it. Ends by itself, or is cancelled when the client is gone."""
        talk: Talk | None = None
        try:
            reader: asyncio.Task[None] | None = None
            try:
                self._dialect, start, first = await self._opening()
                conversation = Conversation(
                    self._hub,
                    self._outbox,
                    persona=self._persona,
                    client_id=self._client_id,
                    start=start,
                    dialect=self._dialect,
                )
                talk = TypedTalk(conversation) if start.text_only else VoiceTalk(conversation)
                await talk.begin()
                reader = self._tasks.start(self._read(talk, first), "reader")
                self._tasks.start(self._ping(conversation), "ping")
            except Refused as refused:
                self._refuse(refused.code, refused.error_type, refused.message)
            except TronError as error:
                code = wire.POLICY if error.status < 500 else wire.FAILED
                self._refuse(code, error.code or error.type, error.message)
            sender = self._tasks.start(self._send(), "sender")
            ends = {sender} if reader is None else {sender, reader}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            self._outbox.close(wire.FAILED, "ended")  # unless it was closed with a reason
            await asyncio.wait({sender}, timeout=CLOSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    reason = self._outbox.close_reason
                    await self._socket.close(self._outbox.close_code or wire.NORMAL, reason)
        finally:
            await self._end(talk)

    async def _opening(self) -> Opening:
        """How the client begins: its dialect, its wishes, and what it said besides."""
        setup: Setup | None = None
        patience = ORIGINAL_FIRST_S if self._maybe_original else FIRST_S
        try:
            async with asyncio.timeout(patience):
                while True:
                    message = wire.decode(await self._socket.receive())
                    if self._maybe_original and wire.is_original(message):
                        return Original, Start(), wire.parse_original(message)
                    said = wire.parse(message, setup)
                    if isinstance(said, Start):
                        return Agents, said, None
                    if not isinstance(said, Setup):
                        return Agents, Start(), said
                    if setup is not None:
                        raise Refused(wire.POLICY, "The set-up comes once.")
                    setup = said
        except TimeoutError:
            return Original if self._maybe_original else Agents, Start(), None

    async def _read(self, talk: Talk, first: ClientMessage | None) -> None:
        message = first
        try:
            while True:
                if isinstance(message, wire.End):
                    self._cause = "client-ended"
                    self._outbox.close(wire.NORMAL, "")
                    return
                if isinstance(message, wire.Pong):
                    self._ponged(message.event_id)
                elif message is not None:
                    await talk.take(message)
                decoded = wire.decode(await self._socket.receive())
                self._heard_at = self._hub.clock.monotonic()
                self._count_frame()
                message = (
                    wire.parse(decoded) if self._dialect is Agents else wire.parse_original(decoded)
                )
        except Refused as refused:
            self._cause = f"client-refused-{refused.error_type.replace('_', '-')}"
            self._refuse(refused.code, refused.error_type, refused.message)

    def _count_frame(self) -> None:
        """Raises Refused for a flood of them."""
        self._frames += 1
        usual = (self._heard_at - self._began_at) * FRAMES_PER_S
        if self._frames - usual > FRAMES_AT_ONCE:
            raise Refused(wire.POLICY, "Too many frames at once.", "too_fast")

    async def _send(self) -> None:
        try:
            await self._outbox.run()
        except Stalled:
            self._cause = "client-stalled"
            self._outbox.close(wire.POLICY, "not reading")

    async def _ping(self, conversation: Conversation) -> None:
        """Ask for a sign of life, and measure how long it takes."""
        if self._dialect is not Agents:
            return
        while True:
            now = self._hub.clock.monotonic()
            if now - self._heard_at > SILENCE_S:
                self._cause = "client-silent"
                self._refuse(wire.POLICY, "timeout", "Nothing was heard from the client.")
                return
            if self._pinged is None or now - self._pinged[1] > SILENCE_S:
                id = next(conversation.ids)
                self._pinged = (id, now)
                self._outbox.put(self._dialect.ping(id, self._ping_ms))
            await asyncio.sleep(PING_S)

    def _ponged(self, event_id: int) -> None:
        if self._pinged is not None and self._pinged[0] == event_id:
            self._ping_ms = round((self._hub.clock.monotonic() - self._pinged[1]) * 1000)
            self._pinged = None

    def _refuse(self, code: int, error_type: str, message: str) -> None:
        log.info("elevenlabs.refused", code=code, error=error_type)
        self._outbox.put(self._dialect.error(code, error_type, message))
        self._outbox.close(code, error_type)

    def stop(self) -> None:
        """The hub is stopping: tell the client, and end."""
        self._cause = "hub-stopping"
        self._refuse(wire.FAILED, self._cause, "The hub is stopping.")

    async def _end(self, talk: Talk | None) -> None:
        async def end() -> None:
            await self._tasks.close()
            if talk is not None:
                await talk.close(self._cause)

        # Whoever cancels this (a client that left, a server that stops) must not cut it short.
        await asyncio.shield(self._endings.start(end(), "end"))
