"""What is to be sent on one socket: in order, bounded, and never waited for.

Whoever puts something in returns at once; one task sends. A client that has stopped reading is
noticed by a send that takes too long or by the box running full, and its conversation is ended
instead of growing.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

SEND_S = 5.0
MOST = 1_000
"""messages; most are a few words or 100 ms of speech"""
NORMAL = 1000


class Stalled(Exception):
    """The other side does not read."""


class Outbox:
    """See the module."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: deque[tuple[str, bool]] = deque()
        self._changed = asyncio.Event()
        self._full = False
        self.close_code: int | None = None
        """set once nothing more is taken"""
        self.close_reason = ""

    def put(self, frame: str | None, *, speech: bool = False) -> None:
        """`speech`: part of what `forget_speech` takes out again. None: nothing to send."""
        if frame is None or self.close_code is not None:
            return
        if len(self._waiting) >= MOST:
            self._full = True
        else:
            self._waiting.append((frame, speech))
        self._changed.set()

    def forget_speech(self) -> None:
        """Speech that was not sent yet never will be."""
        self._waiting = deque(entry for entry in self._waiting if not entry[1])

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Take no more; `run` ends once the rest is sent. The first code stands."""
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self._changed.set()

    async def run(self) -> None:
        """Send until closed. Raises Stalled."""
        while True:
            while self._waiting:
                if self._full:
                    raise Stalled
                frame, _ = self._waiting.popleft()
                try:
                    async with asyncio.timeout(SEND_S):
                        await self._send(frame)
                except TimeoutError:
                    raise Stalled from None
            if self.close_code is not None:
                return
            self._changed.clear()
            await self._changed.wait()
