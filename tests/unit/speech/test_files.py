"""Recordings as people upload them: every kind of WAV, with ffmpeg beside the hub and without."""

import asyncio
import gc
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.programs import program
from tests.unit.speech.sounds import sine
from tron.calls.audio import level, mulaw_encode, samples_of
from tron.errors import Invalid, TooLarge
from tron.speech import files

RATE = 16_000
TONE = sine(440, 0.5, RATE)
PCM, ADPCM, FLOAT, MULAW, EXTENSIBLE = 1, 2, 3, 7, 0xFFFE
GUID = bytes.fromhex("000000001000800000aa00389b71")
"""of a codec in an extensible header, after the codec's own two bytes"""


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def head(codec: int, bits: int, *, channels: int = 1, rate: int = RATE, more: bytes = b"") -> bytes:
    """The `fmt ` chunk; `more` follows its 16 bytes."""
    frame = channels * bits // 8
    fixed = struct.pack(
        "<HHIIHH", codec, channels, rate, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, bits
    )
    return chunk(b"fmt ", fixed + more)


def extensible(codec: int, bits: int, *, channels: int = 1, guid: bytes = GUID) -> bytes:
    more = struct.pack("<HHIH", 22, bits, 0, codec) + guid
    return head(EXTENSIBLE, bits, channels=channels, more=more)


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def rf64(fmt: bytes, samples: bytes) -> bytes:
    """As ffmpeg writes it: the sizes that a RIFF has no room for come first."""
    sizes = struct.pack("<QQQI", 0, len(samples), 0, 0)
    data = b"data" + b"\xff" * 4 + samples
    return b"RF64" + b"\xff" * 4 + b"WAVE" + chunk(b"ds64", sizes) + fmt + data


def floats(width: int, *, channels: int = 1) -> bytes:
    samples = samples_of(TONE).astype(f"<f{width}") / 32768
    return np.repeat(samples, channels).astype(f"<f{width}").tobytes()


def integers(width: int) -> bytes:
    """The tone in samples of this many bytes."""
    samples = samples_of(TONE).astype("<i4")
    if width == 1:
        return ((samples >> 8) + 128).astype("u1").tobytes()
    wide = (samples << 8 * (width - 2)).astype("<i4").tobytes()
    return b"".join(wide[at : at + width] for at in range(0, len(wide), 4))


WITHOUT_FFMPEG = {
    "16 bits": riff(head(PCM, 16), chunk(b"data", TONE)),
    "8 bits": riff(head(PCM, 8), chunk(b"data", integers(1))),
    "24 bits": riff(head(PCM, 24), chunk(b"data", integers(3))),
    "24 bits, extensible": riff(extensible(PCM, 24), chunk(b"data", integers(3))),
    "32 bits, extensible": riff(extensible(PCM, 32), chunk(b"data", integers(4))),
    "float": riff(head(FLOAT, 32), chunk(b"data", floats(4))),
    "float, extensible": riff(extensible(FLOAT, 32), chunk(b"data", floats(4))),
    "float, stereo": riff(extensible(FLOAT, 32, channels=2), chunk(b"data", floats(4, channels=2))),
    "double": riff(head(FLOAT, 64), chunk(b"data", floats(8))),
    "double, extensible": riff(extensible(FLOAT, 64), chunk(b"data", floats(8))),
    "µ-law": riff(head(MULAW, 8), chunk(b"data", mulaw_encode(TONE))),
    "µ-law, extensible": riff(extensible(MULAW, 8), chunk(b"data", mulaw_encode(TONE))),
    "µ-law that is told with 16 bits": riff(head(MULAW, 16), chunk(b"data", mulaw_encode(TONE))),
    "RF64": rf64(head(PCM, 16), TONE),
    "RF64 with more behind the sound": rf64(head(PCM, 16), TONE)
    + chunk(b"LIST", sine(3000, 0.5, RATE)),
    "RF64, float": rf64(head(FLOAT, 32), floats(4)),
    "half a frame at the end": riff(head(FLOAT, 32), chunk(b"data", floats(4) + b"\0\0")),
}


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("kind", list(WITHOUT_FFMPEG))
async def test_a_wav_holds_the_same_sound_however_its_samples_are_written(kind: str) -> None:
    made = samples_of(await files.read(WITHOUT_FFMPEG[kind], rate=RATE)).astype(float)
    wanted = samples_of(TONE).astype(float)
    assert len(made) == len(wanted)
    error = float(np.mean((made - wanted) ** 2) / np.mean(wanted**2))
    assert error < 1e-3


@pytest.mark.usefixtures("no_ffmpeg")
async def test_floats_that_are_no_level_are_clipped_or_silent() -> None:
    odd = [float("nan"), float("inf"), float("-inf"), 1e30, -1e30, 0.5]
    for bits in (32, 64):
        samples = np.array(odd, f"<f{bits // 8}").tobytes()
        made = await files.read(riff(head(FLOAT, bits), chunk(b"data", samples)), rate=RATE)
        assert samples_of(made).tolist() == [0, 32767, -32768, 32767, -32768, 16384]


ADPCM_FILE = riff(head(ADPCM, 4), chunk(b"data", bytes(1_000)))
AMBISONIC = extensible(PCM, 16, guid=bytes.fromhex("0000210721d3118644c8c1ca000000"[:28]))


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize(
    "file",
    [
        ADPCM_FILE,
        riff(extensible(ADPCM, 4), chunk(b"data", bytes(1_000))),
        riff(AMBISONIC, chunk(b"data", TONE)),
        riff(head(EXTENSIBLE, 16), chunk(b"data", TONE)),
        riff(head(PCM, 64), chunk(b"data", TONE)),
    ],
)
async def test_a_codec_that_is_not_known_here_needs_ffmpeg(file: bytes) -> None:
    with pytest.raises(Invalid, match="ffmpeg") as refused:
        await files.read(file, rate=RATE)
    assert (refused.value.code, refused.value.param) == ("needs_ffmpeg", "file")


async def encoded(tmp_path: object, *options: str) -> bytes:
    """The tone, as ffmpeg writes it."""
    plain, made = f"{tmp_path}/plain.wav", f"{tmp_path}/made.wav"
    with open(plain, "wb") as file:  # noqa: ASYNC230 - a small file of a test
        file.write(WITHOUT_FFMPEG["16 bits"])
    process = await asyncio.create_subprocess_exec(
        program("ffmpeg"), "-v", "error", "-i", plain, *options, made
    )
    assert await process.wait() == 0
    with open(made, "rb") as file:  # noqa: ASYNC230
        return file.read()


@pytest.mark.parametrize(
    "options",
    [
        ("-c:a", "pcm_f32le"),
        ("-c:a", "pcm_f64le"),
        ("-c:a", "adpcm_ms"),
        ("-c:a", "adpcm_ima_wav"),
        ("-rf64", "always"),
        ("-rf64", "always", "-c:a", "pcm_f32le"),
    ],
)
async def test_what_ffmpeg_writes_is_read(tmp_path: object, options: tuple[str, ...]) -> None:
    made = await files.read(await encoded(tmp_path, *options), rate=RATE)
    assert abs(len(made) - len(TONE)) < 3_000
    assert level(made) == pytest.approx(level(TONE), abs=1)


HOSTILE = {
    "no samples": riff(head(PCM, 16)),
    "no format": riff(chunk(b"data", TONE)),
    "half a format": riff(b"fmt \x10\0\0\0\1\0"),
    "no channels": riff(head(PCM, 16, channels=0), chunk(b"data", TONE)),
    "no rate": riff(head(PCM, 16, rate=0), chunk(b"data", TONE)),
    "no bits": riff(head(PCM, 0), chunk(b"data", TONE)),
    "no bits of a float": riff(head(FLOAT, 0), chunk(b"data", TONE)),
    "an impossible rate": riff(head(PCM, 16, rate=0xFFFFFFFF), chunk(b"data", TONE)),
    "µ-law at an impossible rate": riff(head(MULAW, 8, rate=0xFFFFFFFF), chunk(b"data", TONE)),
    "more channels than there is sound": riff(head(PCM, 16, channels=0xFFFF), chunk(b"data", TONE)),
    "a codec nobody has": riff(head(0x4242, 16), chunk(b"data", TONE)),
    "no codec": riff(head(0, 16), chunk(b"data", TONE)),
    "an empty RF64": b"RF64" + bytes(4) + b"WAVE",
}


@pytest.mark.parametrize("kind", list(HOSTILE))
@pytest.mark.parametrize("beside", ["ffmpeg", ""])
async def test_a_header_that_makes_no_sense_is_refused(
    kind: str, beside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if beside:
        program(beside)
    else:
        monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Invalid) as refused:
        await files.read(HOSTILE[kind], rate=RATE)
    assert refused.value.param == "file"


async def test_a_program_that_stops_reading_leaves_no_trace() -> None:
    program("ffmpeg")
    seen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))

    async def speech() -> AsyncGenerator[bytes, None]:
        while True:
            yield bytes(500_000)

    with pytest.raises(Invalid):
        await files.read(b"ID3\x04" + bytes(1_000_000), rate=RATE)
    async with aclosing(files.write(speech(), "mp3", rate=RATE)) as encoded:
        assert await anext(encoded)  # and then the listener leaves
    gc.collect()
    await asyncio.sleep(0)
    assert seen == []


@given(
    st.sampled_from([b"RIFF", b"RF64"]),
    st.binary(max_size=60),
    st.binary(max_size=60),
    st.sampled_from([PCM, FLOAT, MULAW, EXTENSIBLE, 0]),
)
def test_no_file_breaks_anything(kind: bytes, fmt: bytes, samples: bytes, codec: int) -> None:
    body = chunk(b"fmt ", codec.to_bytes(2, "little") + fmt) + chunk(b"data", samples)
    with pytest.MonkeyPatch.context() as patched, suppress(Invalid, TooLarge):
        patched.setenv("PATH", "/nowhere")
        asyncio.run(files.read(kind + bytes(4) + b"WAVE" + body, rate=RATE))
