"""What a `Hearing` has heard, on its way to whoever listens.

Partials replace each other while nobody reads; finals never do. So it holds at most one partial
and the finals of commits that were not read yet, and of those at most `MOST`: a reader further
behind than that has gone, and the hearing fails.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import msgspec

from tron.speech.contract import SpeechFailed, Transcript

MOST = 64


class Results:
    """A mailbox with one reader. Everything here runs on the loop."""

    def __init__(self, engine: str = "") -> None:
        """`engine`: who hears; empty: whoever the transcripts name."""
        self._engine = engine
        self._waiting: deque[Transcript] = deque()
        self._failure: SpeechFailed | None = None
        self._closed = False
        self._changed = asyncio.Event()

    def add(self, transcript: Transcript) -> None:
        if self._closed or self._failure is not None:
            return
        if self._engine and transcript.final:
            transcript = msgspec.structs.replace(transcript, engine=self._engine)
        if self._waiting and not self._waiting[-1].final:
            self._waiting.pop()
        if len(self._waiting) >= MOST:
            self.fail(SpeechFailed("Nobody reads what was heard."))
            return
        self._waiting.append(transcript)
        self._changed.set()

    def fail(self, error: SpeechFailed) -> None:
        """Nothing more will be heard: raised to the reader after what was heard before."""
        self._failure = self._failure or error
        self._changed.set()

    def close(self) -> None:
        """The reader's iteration ends."""
        self._closed = True
        self._changed.set()

    async def read(self) -> AsyncIterator[Transcript]:
        while True:
            if self._closed:
                return
            if self._waiting:
                yield self._waiting.popleft()
            elif self._failure is not None:
                raise self._failure
            else:
                self._changed.clear()
                await self._changed.wait()
