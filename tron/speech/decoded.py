"""Listening with a model that takes a stretch of audio and gives its text.

Owns what such models have in common: one thread decodes for all callers (finals first, then
partials, then recordings), long speech is decoded in parts cut where it is quietest, and silence is
never shown to a model, because models hear words in it. A partial is asked for after each half
second of new audio unless one is still under way, so a hub with much to do gives fewer partials and
no late finals.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial

import msgspec
import structlog

from tron.calls.audio import duration_ms, peak_level
from tron.speech.contract import Piece, SpeechFailed, Transcript
from tron.speech.pieces import quietest, stretches
from tron.speech.results import Results
from tron.speech.worker import LATER, NOW, SOON, Worker

log = structlog.get_logger(__name__)

RATE = 16_000
PARTIAL_S = 0.5
BACKLOG_S = 60.0
"""a caller whose undecoded speech is longer than this is not understood any more"""
SILENCE_DB = -55.0
SHORTEST_S = 0.1


class Decoder(msgspec.Struct, frozen=True, kw_only=True):
    """A model and the thread it works in."""

    name: str
    text: Callable[[bytes], str]
    """of PCM at 16 kHz; called in the thread"""
    worker: Worker
    longest_s: float
    """longer speech is decoded in parts"""
    partials: bool
    """it is quick enough to be asked while somebody speaks"""

    def text_of(self, pcm: bytes) -> str:
        """What is said in `pcm`; empty if it is silent."""
        too_short = duration_ms(pcm, RATE) < SHORTEST_S * 1000
        if too_short or peak_level(pcm, window=RATE // 50) < SILENCE_DB:
            return ""
        return self.text(pcm)

    async def transcribe(self, pcm: bytes) -> Transcript:
        """A whole recording, its pieces with their times."""
        cuts = await asyncio.to_thread(stretches, pcm, RATE, longest_s=self.longest_s)
        pieces = []
        for start, end in cuts:
            part = pcm[2 * start : 2 * end]
            text = await self.worker.do(partial(self.text_of, part), urgency=LATER)
            if text:
                ms = 1000 / RATE
                pieces.append(Piece(start_ms=int(start * ms), end_ms=int(end * ms), text=text))
        text = " ".join(piece.text for piece in pieces)
        return Transcript(text=text, final=True, pieces=tuple(pieces))


class _Utterance(msgspec.Struct):
    """What one caller is saying until the next commit."""

    audio: bytearray = msgspec.field(default_factory=bytearray)
    """not decoded for good yet"""
    decoding: int = 0
    """bytes of it that were cut off and are being decoded for good"""
    said: list[str] = msgspec.field(default_factory=list)
    """text of what was"""
    unheard: int = 0
    """bytes since the last partial was asked for"""


class DecodedHearing:
    """One caller."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._loop = asyncio.get_running_loop()
        self._results = Results(decoder.name)
        self._now = _Utterance()
        self._partial: Future[str] | None = None
        self._closed = False

    def feed(self, pcm: bytes) -> None:
        now = self._now
        now.audio += pcm
        now.unheard += len(pcm)
        due = self._decoder.partials and now.unheard >= PARTIAL_S * RATE * 2
        if len(now.audio) >= self._decoder.longest_s * RATE * 2:
            self._settle()
        elif due and self._partial is None:
            now.unheard = 0
            self._partial = self._decode(bytes(now.audio), now, "partial")

    def commit(self) -> None:
        now, self._now = self._now, _Utterance()
        if self._partial is not None:
            self._partial.cancel()
            self._partial = None
        self._decode(bytes(now.audio), now, "final")

    def results(self) -> AsyncIterator[Transcript]:
        return self._results.read()

    async def close(self) -> None:
        self._closed = True
        self._results.close()

    def _settle(self) -> None:
        """Decode the beginning of a long utterance for good, up to its last quiet moment."""
        now = self._now
        cut = 2 * quietest(bytes(now.audio), RATE, after_s=self._decoder.longest_s * 2 / 3)
        part = bytes(now.audio[:cut])
        del now.audio[:cut]
        now.decoding += len(part)
        if now.decoding > BACKLOG_S * RATE * 2:
            self._results.fail(SpeechFailed("Speech comes faster than it is understood."))
        else:
            self._decode(part, now, "part")

    def _decode(self, pcm: bytes, utterance: _Utterance, kind: str) -> Future[str] | None:
        urgency = SOON if kind == "partial" else NOW
        try:
            future = self._decoder.worker.submit(
                partial(self._decoder.text_of, pcm), urgency=urgency
            )
        except SpeechFailed as error:
            if kind != "partial":  # a partial is not missed
                self._results.fail(error)
            return None

        def tell(done: Future[str]) -> None:
            with suppress(RuntimeError):  # the loop has gone, and the caller with it
                self._loop.call_soon_threadsafe(self._decoded, done, utterance, kind, len(pcm))

        future.add_done_callback(tell)
        return future

    def _decoded(self, done: Future[str], utterance: _Utterance, kind: str, size: int) -> None:
        if kind == "partial" and done is self._partial:
            self._partial = None
        if self._closed:
            return
        try:
            text = done.result()
        except CancelledError:
            return  # a partial that a final has overtaken
        except Exception as error:  # noqa: BLE001 - border: another's library, in another thread
            log.error("speech.failed", engine=self._decoder.name, error=repr(error))
            self._results.fail(SpeechFailed("The recogniser failed."))
            return
        whole = " ".join(part for part in (*utterance.said, text) if part)
        if kind == "part":
            utterance.said.append(text)
            utterance.decoding -= size
        elif kind == "final":
            self._results.add(Transcript(text=whole, final=True))
        elif utterance is self._now and whole:
            self._results.add(Transcript(text=whole, final=False))
