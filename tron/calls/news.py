"""What is to be said in a call without anybody having asked: in order, each told once.

The machine finds the moment; this remembers who waits to know what the caller heard of it.
"""

import asyncio
from collections import deque

LIMIT = 16
"""announcements that wait for a moment of quiet"""


class News:
    """Of one call."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, asyncio.Future[str]]] = deque()
        self._telling: tuple[int, str, asyncio.Future[str]] | None = None

    def add(self, text: str) -> "asyncio.Future[str] | None":
        """What will be heard of `text`; None if too much waits already."""
        if len(self._waiting) >= LIMIT:
            return None
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, told))
        return told

    def begin(self, turn: int) -> None:
        """The oldest is being told, as turn `turn`."""
        self._telling = (turn, *self._waiting.popleft())

    def over(self, turn: int, heard: str | None = None) -> None:
        """Turn `turn` is over, or was cut off after `heard`; nothing happens if it told no news."""
        if self._telling is None or self._telling[0] != turn:
            return
        _, text, told = self._telling
        self._telling = None
        if not told.done():
            told.set_result(text if heard is None else heard)

    def close(self) -> None:
        """The call has ended: the rest was never heard."""
        for _, told in self._waiting:
            if not told.done():
                told.set_result("")
        self._waiting.clear()
