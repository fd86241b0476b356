"""Hearing without a network: Moonshine's tiny English model, which comes inside its package.

The library is bound here by ctypes, from the package's own shared object, instead of through its
Python front: that one wants every sample as a Python float (which stops the event loop for
milliseconds), imports an HTTP client, and cuts the audio by a voice activity detector of its own,
which here made words out of breaths ("You", "Uh"). The call machine decides what an utterance
is. This holds for the exact version that is pinned; `_Model.load` refuses a library it does not
know.

One thread decodes for all callers, because the library decodes one thing at a time: finals first,
then partials, then recordings. A partial is asked for after each half second of new audio unless
one is still under way, so a hub with much to do gives fewer partials and no late finals.
"""

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import msgspec
import structlog

from tron.calls.audio import duration_ms, peak_level, samples_of
from tron.speech.contract import Piece, RecogniserFacts, SpeechFailed, Transcript
from tron.speech.pieces import quietest, stretches
from tron.speech.results import Results
from tron.speech.worker import LATER, NOW, SOON, Worker

log = structlog.get_logger(__name__)

RATE = 16_000
PARTIAL_S = 0.5
LONGEST_S = 12.0
"""longer speech is decoded in parts: the model is slower than linear, and loses words past 30 s"""
BACKLOG_S = 60.0
"""a caller whose undecoded speech is longer than this is not understood any more"""
SILENCE_DB = -55.0
"""the model hears words in silence, so it is not asked about it"""
SHORTEST_S = 0.1

_HEADER = 30_000
_OPTIONS = {"vad_threshold": "0", "return_audio_data": "false", "vad_max_segment_duration": "60"}


class Moonshine:
    """The engine. Its model (140 MB of memory) is loaded with the first caller."""

    facts = RecogniserFacts(name="moonshine", local=True, partials=True, sample_rate=RATE)

    def __init__(self) -> None:
        self._model = _Model()
        self._worker = Worker("moonshine")

    async def listen(self) -> "MoonshineHearing":
        if not self._model.loaded:
            await self._worker.do(self._model.load)
        return MoonshineHearing(self._model, self._worker)

    async def transcribe(self, pcm: bytes) -> Transcript:
        cuts = await asyncio.to_thread(stretches, pcm, RATE, longest_s=LONGEST_S)
        pieces = []
        for start, end in cuts:
            part = pcm[2 * start : 2 * end]
            text = await self._worker.do(partial(self._model.text, part), urgency=LATER)
            if text:
                ms = 1000 / RATE
                pieces.append(Piece(start_ms=int(start * ms), end_ms=int(end * ms), text=text))
        text = " ".join(piece.text for piece in pieces)
        return Transcript(text=text, final=True, pieces=tuple(pieces))

    async def close(self) -> None:
        await self._worker.close()
        self._model.free()


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


class MoonshineHearing:
    """One caller."""

    def __init__(self, model: "_Model", worker: Worker) -> None:
        self._model = model
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._results = Results()
        self._now = _Utterance()
        self._partial: Future[str] | None = None
        self._closed = False

    def feed(self, pcm: bytes) -> None:
        now = self._now
        now.audio += pcm
        now.unheard += len(pcm)
        if len(now.audio) >= LONGEST_S * RATE * 2:
            self._settle()
        elif now.unheard >= PARTIAL_S * RATE * 2 and self._partial is None:
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
        cut = 2 * quietest(bytes(now.audio), RATE, after_s=LONGEST_S * 2 / 3)
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
            future = self._worker.submit(partial(self._model.text, pcm), urgency=urgency)
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
            log.error("speech.failed", engine="moonshine", error=repr(error))
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


class _Line(ctypes.Structure):
    """A line of a transcript, as the library lays it out."""

    _fields_ = (
        ("text", ctypes.c_char_p),
        ("audio", ctypes.c_void_p),
        ("audio_count", ctypes.c_size_t),
        ("start", ctypes.c_float),
        ("duration", ctypes.c_float),
        ("id", ctypes.c_uint64),
        ("flags", ctypes.c_int8 * 5),
        ("spans", ctypes.c_void_p),
        ("span_count", ctypes.c_uint64),
        ("latency_ms", ctypes.c_uint32),
        ("words", ctypes.c_void_p),
        ("word_count", ctypes.c_uint64),
    )


class _Lines(ctypes.Structure):
    _fields_ = (("lines", ctypes.POINTER(_Line)), ("count", ctypes.c_uint64))


class _Option(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("value", ctypes.c_char_p))


class _Model:
    """The library and the model. Used by one thread at a time."""

    def __init__(self) -> None:
        self._library: ctypes.CDLL | None = None
        self._handle = -1

    @property
    def loaded(self) -> bool:
        return self._handle >= 0

    def load(self) -> None:
        """Load both, once. Raises SpeechFailed."""
        if self.loaded:
            return
        spec = find_spec("moonshine_voice")
        if spec is None or spec.origin is None:
            raise SpeechFailed("moonshine-voice is not installed.")
        folder = Path(spec.origin).parent
        # One caller's few seconds are decoded twice as fast, and for half the CPU, on one thread.
        os.environ.setdefault("MOONSHINE_ORT_SINGLE_THREAD", "1")
        try:
            library = ctypes.CDLL(str(folder / "libmoonshine.so"))
        except OSError as error:
            raise SpeechFailed(f"moonshine-voice can't be loaded: {error}") from None
        options = (_Option * len(_OPTIONS))(
            *(_Option(name.encode(), value.encode()) for name, value in _OPTIONS.items())
        )
        model = str(folder / "assets" / "tiny-en").encode()
        handle = library.moonshine_load_transcriber_from_files(
            model, 0, options, len(options), _HEADER
        )
        if handle < 0:
            raise SpeechFailed(f"Moonshine's model can't be loaded (error {handle}).")
        library.moonshine_transcribe_without_streaming.argtypes = (
            ctypes.c_int32,
            ctypes.c_void_p,
            ctypes.c_uint64,
            ctypes.c_int32,
            ctypes.c_uint32,
            ctypes.POINTER(ctypes.POINTER(_Lines)),
        )
        self._library, self._handle = library, handle

    def text(self, pcm: bytes) -> str:
        """What is said in `pcm`; empty if it is silent."""
        import numpy as np

        too_short = duration_ms(pcm, RATE) < SHORTEST_S * 1000
        if too_short or peak_level(pcm, window=RATE // 50) < SILENCE_DB:
            return ""
        self.load()
        assert self._library is not None
        samples = samples_of(pcm).astype(np.float32) / 32768
        found = ctypes.POINTER(_Lines)()
        fault = self._library.moonshine_transcribe_without_streaming(
            self._handle, samples.ctypes.data, len(samples), RATE, 0, ctypes.byref(found)
        )
        if fault:
            raise SpeechFailed(f"Moonshine failed (error {fault}).")
        if not found:
            return ""
        lines = [found.contents.lines[at].text for at in range(found.contents.count)]
        return " ".join(line.decode(errors="replace").strip() for line in lines if line).strip()

    def free(self) -> None:
        if self._library is not None and self.loaded:
            self._library.moonshine_free_transcriber(self._handle)
        self._library, self._handle = None, -1
