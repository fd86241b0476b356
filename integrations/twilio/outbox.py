"""What is to be sent on one carrier's socket: in order, bounded, and never waited for.

Whoever puts something in returns at once; one task sends. A carrier that has stopped reading is
noticed by a send that takes too long or by the box running full, and its call is ended instead of
growing.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

SEND_S = 5.0
MOST = 128
"""messages; about 12 s of speech"""


class Stalled(Exception):
    """The other side does not read."""


class Outbox:
    """See the module."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: deque[tuple[str, bool]] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self._full = False

    def put(self, message: str, *, speech: bool = False) -> None:
        """`speech`: part of what `forget_speech` takes out again."""
        if self._closed:
            return
        if len(self._waiting) >= MOST:
            self._full = True
        else:
            self._waiting.append((message, speech))
        self._changed.set()

    def forget_speech(self) -> None:
        """Speech that was not sent yet never will be."""
        self._waiting = deque(entry for entry in self._waiting if not entry[1])

    def close(self) -> None:
        """Take no more; `run` ends once the rest is sent."""
        self._closed = True
        self._changed.set()

    async def run(self) -> None:
        """Send until closed. Raises Stalled."""
        while True:
            while self._waiting:
                message, _ = self._waiting.popleft()
                try:
                    async with asyncio.timeout(SEND_S):
                        await self._send(message)
                except TimeoutError:
                    raise Stalled from None
                if self._full:
                    raise Stalled
            if self._closed:
                return
            self._changed.clear()
            await self._changed.wait()
