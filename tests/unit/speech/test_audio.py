"""Audio arithmetic: exact G.711, seamless resampling, and nothing that bytes can break."""

import hashlib
import io
import math
import wave
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.speech.sounds import sine
from tron.calls import audio
from tron.calls.audio import Resampler, level, samples_of

EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = np.arange(65536, dtype="<u2").tobytes()
RATES = (8_000, 16_000, 22_050, 24_000, 48_000)


@pytest.mark.parametrize(
    ("convert", "everything", "digest"),
    [
        (
            audio.mulaw_decode,
            EVERY_CODE,
            "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827",
        ),
        (
            audio.alaw_decode,
            EVERY_CODE,
            "e04788d110e58ff8c70c93b8480190d973e3b67876b6119abbaec766cc75c174",
        ),
        (
            audio.mulaw_encode,
            EVERY_SAMPLE,
            "617fa4850d68d3906597e949f7625fb2fc46db479e29707f33159b3d131721cb",
        ),
        (
            audio.alaw_encode,
            EVERY_SAMPLE,
            "f77c76aa923ee25617453f87514828a12896227f82ff383bf3bb53d6ac7c2a0f",
        ),
    ],
    ids=["mulaw_decode", "alaw_decode", "mulaw_encode", "alaw_encode"],
)
def test_g711_is_the_reference_table(
    convert: Callable[[bytes], bytes], everything: bytes, digest: str
) -> None:
    """Every code and every sample; the digests are of CPython's `audioop`."""
    assert hashlib.sha256(convert(everything)).hexdigest() == digest


def test_known_values_of_g711() -> None:
    assert audio.mulaw_encode(b"\x00\x00") == b"\xff"
    assert audio.alaw_encode(b"\x00\x00") == b"\xd5"
    assert samples_of(audio.mulaw_decode(b"\x00\x80")).tolist() == [-32124, 32124]
    assert samples_of(audio.alaw_decode(b"\x2a\xaa")).tolist() == [-32256, 32256]


@given(st.binary(max_size=400))
def test_any_bytes_are_some_sound(data: bytes) -> None:
    for decode, encode in (
        (audio.mulaw_decode, audio.mulaw_encode),
        (audio.alaw_decode, audio.alaw_encode),
    ):
        pcm = decode(data)
        assert len(pcm) == 2 * len(data)
        assert decode(encode(pcm)) == pcm  # what was coded once is not changed by coding again
        assert len(encode(data)) == len(data) // 2
    assert audio.SILENT_DB <= level(data) <= 0
    assert audio.SILENT_DB <= audio.peak_level(data, window=20) <= 0
    assert len(audio.wav(data, 8000)) == 44 + len(data) // 2 * 2
    assert len(audio.stereo(data, b"")) == len(data) // 2 * 4


@pytest.mark.parametrize("source", RATES)
@pytest.mark.parametrize("target", RATES)
def test_resampling_keeps_the_sound(source: int, target: int) -> None:
    """In chunks of 20 ms, a tone comes out as the tone it would have been at the other rate."""
    tone = sine(1000, 0.5, source)
    resampler, step = Resampler(source, target), 2 * (source // 50)
    made = b"".join(resampler.feed(tone[at : at + step]) for at in range(0, len(tone), step))
    late_ms = 500 - audio.duration_ms(made, target)
    assert late_ms <= 3.1, "a call can't wait for a filter"
    made += resampler.flush()
    heard = samples_of(made).astype(float)
    assert abs(len(heard) - target / 2) <= 1
    wanted = samples_of(sine(1000, 0.5, target)).astype(float)
    inner = slice(target // 50, min(len(heard), len(wanted)) - target // 50)
    error = float(np.mean((heard[inner] - wanted[inner]) ** 2) / np.mean(wanted[inner] ** 2))
    assert 10 * math.log10(error + 1e-12) < -60


@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.lists(st.binary(max_size=700), max_size=12),
)
def test_resampling_has_no_seams(source: int, target: int, chunks: list[bytes]) -> None:
    """However a stream is cut up, odd bytes included, the same sound comes out, and all of it."""
    pieces, whole = Resampler(source, target), Resampler(source, target)
    one = b"".join(pieces.feed(chunk) for chunk in chunks) + pieces.flush()
    other = whole.feed(b"".join(chunks)) + whole.flush()
    assert len(one) == len(other)
    samples = len(b"".join(chunks)) // 2
    assert abs(len(one) // 2 - samples * target / source) <= 1
    if one:
        difference = samples_of(one).astype(int) - samples_of(other).astype(int)
        assert np.abs(difference).max() <= 1  # sums in another order


def test_what_the_lower_rate_cannot_hold_is_removed() -> None:
    assert level(Resampler(16_000, 8_000).feed(sine(6_000, 0.5, 16_000))[400:]) < -60


def test_a_flushed_resampler_begins_anew() -> None:
    resampler = Resampler(8_000, 16_000)
    first = resampler.feed(sine(500, 0.2, 8_000)) + resampler.flush()
    assert resampler.feed(sine(500, 0.2, 8_000)) + resampler.flush() == first


def test_levels() -> None:
    assert level(b"") == level(bytes(640)) == audio.SILENT_DB
    assert level(sine(440, 0.1, 8000, size=32767)) == pytest.approx(-3, abs=0.1)
    assert level(sine(440, 0.1, 8000, size=3277)) == pytest.approx(-23, abs=0.1)
    spoken = bytes(16_000) + sine(440, 0.1, 8000, size=3277) + bytes(16_000)
    assert audio.peak_level(spoken, window=160) == pytest.approx(-23, abs=0.2)
    assert level(spoken) < -30


def test_wav_is_read_by_others() -> None:
    with wave.open(io.BytesIO(audio.wav(sine(440, 0.1, 8000), 8000))) as read:
        assert (read.getframerate(), read.getnchannels(), read.getsampwidth()) == (8000, 1, 2)
        assert read.readframes(800) == sine(440, 0.1, 8000)


def test_stereo_puts_each_side_in_its_ear() -> None:
    left, right = sine(440, 0.1, 8000), sine(300, 0.05, 8000)
    file = audio.wav(audio.stereo(left, right), 8000, channels=2)
    with wave.open(io.BytesIO(file)) as read:
        assert (read.getnchannels(), read.getnframes()) == (2, 800)
        both = np.frombuffer(read.readframes(800), "<i2").reshape(-1, 2)
    assert both[:, 0].tobytes() == left
    assert both[:400, 1].tobytes() == right
    assert not both[400:, 1].any()


def test_whole_recordings_change_rate() -> None:
    made = audio.resample(sine(1000, 1, 22_050), 22_050, 16_000)
    assert abs(len(made) // 2 - 16_000) <= 1
    assert level(made) == pytest.approx(level(sine(1000, 1, 16_000)), abs=0.1)
