"""Listening to one caller through a provider's WebSocket.

The sockets of all providers are handled alike: audio waits in a bounded queue for a slow network
(5 s of it; more, and the hearing fails), every send has a time limit, and a commit is answered by
exactly one final. A provider is described by a `Dialect`: how it is spoken to and what its
messages mean.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Protocol

import aiohttp
import msgspec

from tron.speech.contract import SpeechFailed, Transcript
from tron.speech.remote import Remote
from tron.speech.results import Results
from tron.supervise import Tasks

WAITING = 250
"""messages that may wait to be sent; a frame of 20 ms is one"""
SEND_S = 5.0


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a message of a provider says."""

    text: str = ""
    confidence: float | None = None
    """in this text, 0 to 1; None: it does not say"""
    partial: bool = False
    """the text is a guess at what comes after all that is settled"""
    answers: bool = False
    """nothing more will come for the commit that waits longest"""
    fault: str = ""


class Dialect(Protocol):
    """How to talk with one provider."""

    def audio(self, pcm: bytes) -> bytes | str: ...

    def commit(self) -> str: ...

    def heard(self, message: Any) -> Heard | None:
        """What a decoded message says; None: nothing that matters here."""
        ...

    keep_alive: str
    """sent when nothing else was for 4 s; empty: not needed"""
    flush_s: float
    """a provider may leave a commit without an answer when it has nothing new to say: after this
    long, what it has settled is the answer, if it has shown that it listened. 0: it always
    answers"""


KEEP_ALIVE_S = 4.0


class _Due(msgspec.Struct):
    """A commit whose final has not come yet."""

    spoken: bool
    """audio went before it"""
    flush: asyncio.TimerHandle | None = None


class SocketHearing:
    """One caller."""

    def __init__(
        self, remote: Remote, socket: aiohttp.ClientWebSocketResponse, dialect: Dialect
    ) -> None:
        self._remote = remote
        self._socket = socket
        self._dialect = dialect
        self._results = Results(remote.name)
        self._outgoing: asyncio.Queue[bytes | str] = asyncio.Queue(WAITING)
        self._settled: list[str] = []
        self._guessed = False
        """it has understood something that it has not settled"""
        self._listened = False
        """it has said something, be it that nobody spoke, since the last final"""
        self._spoken = False
        """audio was sent since the last commit"""
        self._due: deque[_Due] = deque()
        self._tasks = Tasks(f"{remote.name}-hearing")
        self._tasks.start(self._send(), "send")
        self._tasks.start(self._receive(), "receive")

    def feed(self, pcm: bytes) -> None:
        if pcm:
            self._spoken = True
            self._put(self._dialect.audio(pcm))

    def commit(self) -> None:
        due, self._spoken = _Due(spoken=self._spoken), False
        self._due.append(due)
        self._put(self._dialect.commit())
        if self._dialect.flush_s:
            loop = asyncio.get_running_loop()
            due.flush = loop.call_later(self._dialect.flush_s, self._flush)

    def results(self) -> AsyncIterator[Transcript]:
        return self._results.read()

    async def close(self) -> None:
        self._results.close()
        for due in self._due:
            if due.flush is not None:
                due.flush.cancel()
        await self._tasks.close()
        await self._socket.close()

    def _put(self, message: bytes | str) -> None:
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self._results.fail(self._remote.failed("it does not take the audio"))

    async def _send(self) -> None:
        try:
            while True:
                try:
                    # not `wait_for`: in Python 3.11 it can swallow the cancellation of a close
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        message = await self._outgoing.get()
                except TimeoutError:
                    if not self._dialect.keep_alive:
                        continue
                    message = self._dialect.keep_alive
                async with asyncio.timeout(SEND_S):
                    if isinstance(message, bytes):
                        await self._socket.send_bytes(message)
                    else:
                        await self._socket.send_str(message)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._results.fail(self._remote.failed(error))

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                heard = self._dialect.heard(msgspec.json.decode(message.data))
            except (msgspec.DecodeError, KeyError, IndexError, TypeError, AttributeError):
                self._results.fail(self._remote.failed("an answer that can't be read"))
                return
            if heard is not None:
                self._take(heard)
        self._results.fail(self._remote.failed("the connection ended"))

    def _take(self, heard: Heard) -> None:
        if heard.fault:
            self._results.fail(SpeechFailed(f"{self._remote.name}: {heard.fault}."))
            return
        self._listened = True
        if heard.partial:
            self._guessed = bool(heard.text)
            whole = " ".join([*self._settled, heard.text]).strip()
            # What is heard while a final is due belongs to an utterance that is over.
            if whole and not self._due:
                found = Transcript(text=whole, final=False, confidence=heard.confidence)
                self._results.add(found)
            return
        self._guessed = False
        if heard.text:
            self._settled.append(heard.text)
        if heard.answers and self._due:
            self._answer()

    def _flush(self) -> None:
        """It left a commit without an answer: either there was nothing new, or it has fallen
        silent. In the second case nothing is answered for it, and whoever waits gives it up."""
        if not self._due[0].spoken or (self._listened and not self._guessed):
            self._answer()

    def _answer(self) -> None:
        """The commit that waits longest has its final."""
        due = self._due.popleft()
        if due.flush is not None:
            due.flush.cancel()
        self._listened = self._guessed = False
        text, self._settled = " ".join(self._settled).strip(), []
        self._results.add(Transcript(text=text, final=True))
