"""Audio arithmetic: G.711, sample rates, levels, WAV. No engine, no socket, no clock.

PCM here is 16-bit little-endian. Half a sample at the end of a chunk is dropped, except by a
`Resampler`, which waits for its other half. Nothing raises on odd bytes from a wire.

numpy is imported when it is first needed, not with this module: it is a sixth of the memory of a
hub that nobody phones. `warm()` does it ahead of time, in a thread.
"""

import math
import struct
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

with warnings.catch_warnings():  # gone from Python 3.13, where `audioop-lts` is the same module
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FULL = 32768.0
SILENT_DB = -96.0
"""dBFS of nothing at all"""

_CROSSINGS = 24
"""zero crossings of the filter on each side: 3 ms of delay at 8 kHz"""
_KAISER = 7.0
"""about 70 dB between what passes and what does not"""
_CUTOFF = 0.45
"""of the lower rate; the transition ends at its Nyquist frequency"""


def warm() -> None:
    """Import numpy, so that the first frame is as quick as the others."""
    import numpy  # noqa: F401


# G.711 -------------------------------------------------------------------------------------------


def mulaw_decode(data: bytes) -> bytes:
    """µ-law bytes as PCM."""
    return audioop.ulaw2lin(data, 2)


def alaw_decode(data: bytes) -> bytes:
    """A-law bytes as PCM."""
    return audioop.alaw2lin(data, 2)


def mulaw_encode(pcm: bytes) -> bytes:
    """PCM as µ-law bytes."""
    return audioop.lin2ulaw(_whole(pcm), 2)


def alaw_encode(pcm: bytes) -> bytes:
    """PCM as A-law bytes."""
    return audioop.lin2alaw(_whole(pcm), 2)


# Samples and levels ------------------------------------------------------------------------------


def _whole(pcm: bytes) -> bytes:
    return pcm[:-1] if len(pcm) % 2 else pcm


def samples_of(pcm: bytes) -> "NDArray[np.int16]":
    """PCM as an array; shares the bytes."""
    import numpy as np

    return np.frombuffer(pcm, "<i2", len(pcm) // 2)


def pcm_of(samples: "NDArray[Any]") -> bytes:
    """Samples on the scale of 16 bits, rounded and clipped, as PCM."""
    import numpy as np

    clipped = np.minimum(np.maximum(np.rint(samples), -32768), 32767)
    return bytes(clipped.astype("<i2").tobytes())


def level(pcm: bytes) -> float:
    """Loudness in dBFS: 0 is a full-scale square wave, SILENT_DB nothing at all."""
    import numpy as np

    samples = samples_of(pcm).astype(np.float32)
    if not len(samples):
        return SILENT_DB
    power = float(np.dot(samples, samples)) / len(samples) / FULL**2
    return max(SILENT_DB, 10 * math.log10(power)) if power > 0 else SILENT_DB


def peak(pcm: bytes) -> int:
    """The largest sample, without its sign, of 32768; 0 for nothing at all."""
    return audioop.max(_whole(pcm), 2)


def peak_level(pcm: bytes, *, window: int) -> float:
    """Loudness in dBFS of the loudest `window` samples: tells speech with silence around it from
    silence."""
    import numpy as np

    samples = samples_of(pcm).astype(np.float32)
    if len(samples) < window:
        return level(pcm)
    whole = samples[: len(samples) // window * window].reshape(-1, window)
    power = float(np.einsum("ij,ij->i", whole, whole).max()) / window / FULL**2
    return max(SILENT_DB, 10 * math.log10(power)) if power > 0 else SILENT_DB


def duration_ms(pcm: bytes, rate: int) -> float:
    """How long mono PCM plays at `rate` Hz."""
    return len(pcm) // 2 * 1000 / rate


# Sample rates ------------------------------------------------------------------------------------


class Resampler:
    """Changes the sample rate of one stream, chunk by chunk, with no seam between chunks.

    A polyphase windowed sinc with 24 zero crossings a side: 3 ms behind at 8 kHz. (A `soxr` stream
    is better still on paper, but hands out its work in blocks: measured, it kept an 8 kHz stream
    waiting for 115 ms. It does the whole files.)
    """

    def __init__(self, source: int, target: int) -> None:
        """`source` and `target` in Hz."""
        if source <= 0 or target <= 0:
            raise ValueError("a sample rate is a positive number of Hz")
        common = math.gcd(source, target)
        self._up, self._down = target // common, source // common
        self._odd = b""
        self._position = 0
        """of the next output sample, in steps of 1/up of an input sample"""
        self._kept: NDArray[np.float32] | None = None

    def feed(self, pcm: bytes) -> bytes:
        """What can be said of the stream with `pcm` added; empty while there is too little."""
        if self._up == self._down:
            return self._whole(pcm)
        pcm = self._whole(pcm)
        return self._convert(samples_of(pcm)) if pcm else b""

    def flush(self) -> bytes:
        """The end of the stream; the next `feed` begins another."""
        if self._up == self._down or self._kept is None:
            self._odd = b""
            return b""
        import numpy as np

        half = _filter(self._up, self._down).shape[1] // 2
        rest = self._convert(np.zeros(half, np.int16))
        self._odd, self._position, self._kept = b"", 0, None
        return rest

    def _whole(self, pcm: bytes) -> bytes:
        if self._odd:
            pcm = self._odd + pcm
        cut = len(pcm) & ~1
        self._odd = pcm[cut:]
        return pcm[:cut] if self._odd else pcm

    def _convert(self, fresh: "NDArray[np.int16]") -> bytes:
        import numpy as np

        up, down = self._up, self._down
        taps = _filter(up, down)
        width = taps.shape[1]
        kept = np.zeros(width // 2 - 1, np.float32) if self._kept is None else self._kept
        held = np.concatenate((kept, fresh), dtype=np.float32)
        ready = len(held) - width + 1
        """input samples whose whole neighbourhood is known"""
        count = max(0, -(-(ready * up - self._position) // down))
        if not count:
            self._kept = held
            return b""
        windows: NDArray[np.float32] = np.ndarray((ready, width), np.float32, held, 0, (4, 4))
        if up == 1:
            made = windows[self._position :: down] @ taps[0]
        elif down == 1:
            made = (windows @ taps.T).ravel()
        else:
            where, phase = np.divmod(self._position + down * np.arange(count), up)
            made = np.einsum("ij,ij->i", windows[where], taps[phase])
        # In the next round what is kept begins at sample 0 again.
        self._position += down * count
        passed = min(self._position // up, ready)
        self._position -= passed * up
        self._kept = held[passed:].copy()
        return pcm_of(made)


@cache
def _filter(up: int, down: int) -> "NDArray[np.float32]":
    """Taps for each of the `up` positions between two input samples."""
    import numpy as np

    cutoff = _CUTOFF * min(1.0, up / down)
    half = math.ceil(_CROSSINGS * max(1.0, down / up))
    offset = np.arange(-half + 1, half + 1)[None, :] - np.arange(up)[:, None] / up
    inside = np.clip(1 - (offset / half) ** 2, 0, None)
    taps = 2 * cutoff * np.sinc(2 * cutoff * offset) * np.i0(_KAISER * np.sqrt(inside))
    made: NDArray[np.float32] = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return made


def resample(pcm: bytes, source: int, target: int) -> bytes:
    """A whole recording at another rate. Takes its time: run it in a thread."""
    return b"".join(resampled((pcm,), source, target))


def resampled(blocks: Iterable[bytes], source: int, target: int) -> Iterator[bytes]:
    """A recording that comes in blocks, at another rate. Only the last may end in half a sample."""
    if source == target:
        yield from map(_whole, blocks)
        return
    import soxr

    stream = soxr.ResampleStream(source, target, 1, dtype="int16")
    for block in blocks:
        yield stream.resample_chunk(samples_of(block)).tobytes()
    yield stream.resample_chunk(samples_of(b""), last=True).tobytes()


# WAV ---------------------------------------------------------------------------------------------


def wav_header(rate: int, *, channels: int = 1, size: int | None = None) -> bytes:
    """The 44 bytes before `size` bytes of PCM; without a size, of a stream whose end nobody knows
    yet."""
    known = 0xFFFFFFFF if size is None else size
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        min(0xFFFFFFFF, known + 36),
        b"WAVE",
        b"fmt ",
        16,
        1,
        channels,
        rate,
        rate * channels * 2,
        channels * 2,
        16,
        b"data",
        known,
    )


def wav(pcm: bytes, rate: int, *, channels: int = 1) -> bytes:
    """PCM as a WAV file."""
    pcm = pcm[: len(pcm) // (2 * channels) * 2 * channels]
    return wav_header(rate, channels=channels, size=len(pcm)) + pcm


def stereo(left: bytes, right: bytes) -> bytes:
    """Two mono recordings that began together, one in each ear; the shorter ends in silence."""
    import numpy as np

    both = np.zeros((max(len(left), len(right)) // 2, 2), "<i2")
    for ear, pcm in enumerate((left, right)):
        samples = samples_of(pcm)
        both[: len(samples), ear] = samples
    return both.tobytes()
