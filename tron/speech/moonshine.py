"""Hearing without a network: Moonshine's tiny English model, which comes inside its package.

The library is bound here by ctypes, from the package's own shared object, instead of through its
Python front: that one wants every sample as a Python float (which stops the event loop for
milliseconds), imports an HTTP client, and cuts the audio by a voice activity detector of its own,
which here made words out of breaths ("You", "Uh"). The call machine decides what an utterance
is. This holds for the exact version that is pinned; `_Model.load` refuses a library it does not
know.

One thread decodes for all callers, because the library decodes one thing at a time.
"""

import ctypes
import os
from importlib.util import find_spec
from pathlib import Path

from tron.calls.audio import samples_of
from tron.speech.contract import RecogniserFacts, SpeechFailed, Transcript
from tron.speech.decoded import RATE, DecodedHearing, Decoder
from tron.speech.worker import Worker

LONGEST_S = 12.0
"""longer speech is decoded in parts: the model is slower than linear, and loses words past 30 s"""

_HEADER = 30_000
_OPTIONS = {"vad_threshold": "0", "return_audio_data": "false", "vad_max_segment_duration": "60"}


class Moonshine:
    """The engine. Its model (140 MB of memory) is loaded with the first caller."""

    facts = RecogniserFacts(name="moonshine", local=True, partials=True, sample_rate=RATE)

    def __init__(self) -> None:
        self._model = _Model()
        self._worker = Worker("moonshine")
        self._decoder = Decoder(
            name="moonshine",
            text=self._model.text,
            worker=self._worker,
            longest_s=LONGEST_S,
            partials=True,
        )

    async def listen(self) -> DecodedHearing:
        if not self._model.loaded:
            await self._worker.do(self._model.load)
        return DecodedHearing(self._decoder)

    async def transcribe(self, pcm: bytes) -> Transcript:
        return await self._decoder.transcribe(pcm)

    async def close(self) -> None:
        await self._worker.close()
        self._model.free()


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
        """What is said in `pcm`."""
        import numpy as np

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
