"""What a voice session has to tell its client: in order, numbered, bounded, never waited for.

Lives as long as the session, so a client whose connection broke gets what it missed. A client that
reads too slowly loses deltas and sound, and is told how much; what it must not miss is kept, and
rather than dropping any of that its connection is closed (`Stalled`) and it may come back for it.
Sound is not sent again: its turn ended with the connection.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from tron.web.voice.messages import CONTROL, ErrorEvent, Outgoing, SpeechChunk, encode

MOST_UNSENT = 256
KEPT = 192
"""messages a client that comes back can have again; of more, deltas are forgotten first"""
SEND_S = 10.0


class Stalled(Exception):
    """The client does not read."""


class Outbox:
    """See the module. At most one connection is attached."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._seq = 0
        self._handed_over = 0
        """the latest message that was given to a connection"""
        self._kept: dict[int, tuple[str, bool]] = {}
        """by number: a message, and whether it must not be missed"""
        self._forgotten = 0
        """the latest message that should be kept and no longer is"""
        self._unsent: deque[tuple[int, str, bool]] = deque()
        self._attached = False
        self._closing = False
        self._stalled = False
        self._lost = 0
        self._changed = asyncio.Event()

    def put(self, message: Outgoing) -> None:
        """To be sent. With nobody attached it is kept for whoever comes back."""
        self._announce_losses()
        audio = isinstance(message, SpeechChunk)
        seq, text = self._number(message)
        if not audio:
            self._keep(seq, text, isinstance(message, CONTROL))
        if not self._attached:
            return
        if len(self._unsent) < MOST_UNSENT:
            self._unsent.append((seq, text, audio))
        elif isinstance(message, CONTROL):
            self._stalled = True
        else:
            self._lost += 1
        self._changed.set()

    def _number(self, message: Outgoing) -> tuple[int, str]:
        self._seq += 1
        message.session_id, message.event_seq = self._session_id, self._seq
        return self._seq, encode(message)

    def _keep(self, seq: int, text: str, control: bool) -> None:
        self._kept[seq] = (text, control)
        if len(self._kept) > KEPT:
            deltas = (seq for seq, (_, control) in self._kept.items() if not control)
            oldest = next(deltas, None) or next(iter(self._kept))
            del self._kept[oldest]
            self._forgotten = max(self._forgotten, oldest)

    def _announce_losses(self) -> None:
        if not self._lost or len(self._unsent) >= MOST_UNSENT:
            return
        lost, self._lost = self._lost, 0
        self.put(
            ErrorEvent(
                code="messages_lost",
                source="gateway",
                retryable=False,
                detail=f"{lost} messages were left out: the connection is too slow",
            )
        )

    def forget_audio(self) -> None:
        """Sound that was not sent yet never will be."""
        self._unsent = deque(entry for entry in self._unsent if not entry[2])

    def attach(self, seen: int | None) -> None:
        """A connection begins. It gets what came after `seen`; None: after what was sent last."""
        after = self._handed_over if seen is None else seen
        kept = self._kept.items()
        self._unsent = deque((seq, text, False) for seq, (text, _) in kept if seq > after)
        self._attached, self._closing, self._stalled, self._lost = True, False, False, 0
        if after < self._forgotten:
            self.put(
                ErrorEvent(
                    code="resume_gap",
                    source="gateway",
                    retryable=False,
                    detail=f"some messages up to {self._forgotten} are no longer kept",
                )
            )
        self._changed.set()

    def detach(self) -> None:
        """The connection is gone."""
        self._attached = False
        self._unsent.clear()

    def finish(self) -> None:
        """`run` ends once what is there now has been sent."""
        self._closing = True
        self._changed.set()

    async def run(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Send, until `finish`. Raises Stalled."""
        while True:
            while self._unsent:
                if self._stalled:
                    raise Stalled
                seq, text, _ = self._unsent.popleft()
                try:
                    async with asyncio.timeout(SEND_S):
                        await send(text)
                except TimeoutError:
                    raise Stalled from None
                self._handed_over = max(self._handed_over, seq)
            self._announce_losses()
            if self._unsent:
                continue
            if self._closing:
                return
            self._changed.clear()
            await self._changed.wait()
