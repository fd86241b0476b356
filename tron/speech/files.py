"""Audio files in and out: whatever people upload, whatever players want.

Raw PCM and WAV of integers, floats or G.711 need nothing but this hub. Every other format needs
ffmpeg, as a process beside it; without one, `NeedsFfmpeg` says so. An uploaded file is first
recognised by its own first bytes and ffmpeg is told what it is, so it can't be talked into a
playlist that makes it open other files.
"""

import asyncio
import contextlib
import shutil
import struct
import warnings
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import structlog

from tron.calls.audio import FULL, alaw_decode, mulaw_decode, pcm_of, resample, wav_header
from tron.errors import HubError, Invalid, TooLarge, TronError
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

LONGEST_S = 3600
"""of an uploaded recording"""
PATIENCE_S = 120.0
"""for ffmpeg to read one"""

FORMATS = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
}
"""what speech can be written as, and its content type"""
_ENCODERS = {
    "mp3": ("-f", "mp3", "-b:a", "64k"),
    "opus": ("-f", "ogg", "-c:a", "libopus", "-b:a", "32k"),
    "aac": ("-f", "adts", "-c:a", "aac", "-b:a", "64k"),
    "flac": ("-f", "flac"),
}
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_G711 = {_ALAW: alaw_decode, _MULAW: mulaw_decode}
_WIDTHS = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8)} | dict.fromkeys(_G711, (1,))
"""codecs of a WAV that are decoded here, with the bytes that a sample may have"""
_SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")
"""what follows the codec in the id that an extensible header names it by"""
_MOST_CHANNELS, _HIGHEST_RATE = 64, 768_000
"""nobody records with more: a header that says so is wrong"""
_SIGNED = bytes(code ^ 0x80 for code in range(256))
"""8-bit samples have their zero at 128"""


class NeedsFfmpeg(Invalid):
    """Only ffmpeg knows this format, and it is not installed."""

    def __init__(self, what: str, *, param: str) -> None:
        super().__init__(
            f"{what} needs ffmpeg, which is not installed on this machine; wav and pcm work "
            "without it.",
            param=param,
            code="needs_ffmpeg",
        )


async def read(data: bytes, *, rate: int) -> bytes:
    """An uploaded recording as mono PCM at `rate`.

    Raises Invalid (`unreadable_audio`, `needs_ffmpeg`) and TooLarge.
    """
    kind = _kind(data)
    if kind is None:
        raise _unreadable()
    what = f"A file of the kind {kind!r}"
    if kind == "wav":
        sound = await asyncio.to_thread(_sound_of, data)
        if sound.width in _WIDTHS.get(sound.codec, ()):
            return await asyncio.to_thread(_read_wav, sound, rate)
        what = f"A WAV file of the codec 0x{sound.codec:04x} at {sound.bits} bits"
    program = shutil.which("ffmpeg")
    if program is None:
        raise NeedsFfmpeg(what, param="file")
    return await _read_with(program, kind, data, rate)


def _unreadable() -> Invalid:
    return Invalid("The file can't be read as audio.", param="file", code="unreadable_audio")


def _too_long() -> TooLarge:
    return TooLarge(f"The recording is longer than {LONGEST_S // 60} minutes.", param="file")


def _kind(data: bytes) -> str | None:
    """ffmpeg's name of a container, by its first bytes."""
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return "wav"
    if data[4:8] == b"ftyp":
        return "mov"
    for start, kind in (
        (b"ID3", "mp3"),
        (b"OggS", "ogg"),
        (b"fLaC", "flac"),
        (b"\x1a\x45\xdf\xa3", "matroska"),
    ):
        if data.startswith(start):
            return kind
    if len(data) > 2 and data[0] == 0xFF:
        if data[1] & 0xF6 == 0xF0:
            return "aac"
        if data[1] & 0xE0 == 0xE0:
            return "mp3"
    return None


class _Sound(msgspec.Struct, frozen=True):
    """What is in a WAV file."""

    codec: int
    channels: int
    rate: int
    bits: int
    samples: bytes

    @property
    def width(self) -> int:
        """Bytes of one sample."""
        return 1 if self.codec in _G711 else (self.bits + 7) // 8


def _read_wav(sound: _Sound, rate: int) -> bytes:
    """A sound whose codec is known here, as mono PCM at `rate`. In a thread."""
    frame, width = sound.width * sound.channels, sound.width
    samples = sound.samples[: len(sound.samples) // frame * frame]
    if sound.codec == _FLOAT:
        samples, width = _float_decode(samples, width), 2
    elif sound.codec in _G711:
        samples, width = _G711[sound.codec](samples), 2
    elif width == 1:
        samples = samples.translate(_SIGNED)
    if not samples:
        return b""
    if len(samples) > LONGEST_S * sound.rate * width * sound.channels:
        raise _too_long()
    segment = _pydub().AudioSegment(
        data=samples, sample_width=width, frame_rate=sound.rate, channels=sound.channels
    )
    mono = segment.set_channels(1).set_sample_width(2)
    return resample(bytes(mono.raw_data), sound.rate, rate)


def _float_decode(samples: bytes, width: int) -> bytes:
    """Samples between -1 and 1 as PCM; those beyond are clipped, and what is no number is 0."""
    import numpy as np

    values = np.nan_to_num(np.frombuffer(samples, f"<f{width}"), posinf=1, neginf=-1)
    return pcm_of(np.clip(values, -1, 1) * FULL)


def _sound_of(data: bytes) -> _Sound:
    """What a WAV file says it holds. In a thread, for it may have very many parts. Raises Invalid
    for one that holds no sound."""
    at, fmt, long = 12, b"", len(data)
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"ds64" and len(data) >= at + 16:  # the real sizes of an RF64
            long = struct.unpack_from("<8xQ", data, at)[0]
        elif name == b"fmt ":
            fmt = data[at : at + size]
        elif name == b"data":
            end = at + (long if size == 0xFFFFFFFF else size)
            return _as_told(fmt, data[at:end])
        at += size + (size & 1)
    raise _unreadable()


def _as_told(fmt: bytes, samples: bytes) -> _Sound:
    """`samples` as the `fmt ` chunk says they are."""
    if len(fmt) < 16:
        raise _unreadable()
    codec, channels, rate, bits = struct.unpack_from("<HHI6xH", fmt)
    if codec == _EXTENSIBLE and fmt[26:40] == _SUBFORMAT:
        codec = struct.unpack_from("<H", fmt, 24)[0]
    possible = 0 < channels <= _MOST_CHANNELS and 0 < rate <= _HIGHEST_RATE
    sound = _Sound(codec, channels, rate, bits, samples)
    if not possible or (codec in _WIDTHS and not sound.width):
        raise _unreadable()
    return sound


def _pydub() -> Any:
    with warnings.catch_warnings():  # that there is no ffmpeg is no matter here
        warnings.simplefilter("ignore")
        import pydub
    return pydub


async def _read_with(program: str, kind: str, data: bytes, rate: int) -> bytes:
    process = await asyncio.create_subprocess_exec(
        program,
        *("-nostdin", "-v", "error", "-protocol_whitelist", "cache,pipe", "-f", kind),
        *("-i", "cache:pipe:0", "-t", str(LONGEST_S + 1)),
        *("-vn", "-ac", "1", "-ar", str(rate), "-f", "s16le", "pipe:1"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            pcm, _ = await process.communicate(data)
    except TimeoutError:
        raise TooLarge("Reading the recording takes too long.", param="file") from None
    finally:
        await _end(process)
    if process.returncode or not pcm:
        raise _unreadable()
    if len(pcm) > LONGEST_S * rate * 2:
        raise _too_long()
    return pcm


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    # What it did not read any more: its exit code tells. Older Pythons log it if nobody asks.
    assert process.stdin is not None
    process.stdin.close()
    with contextlib.suppress(OSError):
        await process.stdin.wait_closed()


def check_writable(format: str) -> None:
    """Raises Invalid for a format that speech can't be written as here."""
    if format not in FORMATS:
        raise Invalid(f"response_format: one of {', '.join(FORMATS)}.", param="response_format")
    if format in _ENCODERS and shutil.which("ffmpeg") is None:
        raise NeedsFfmpeg(f"response_format {format!r}", param="response_format")


async def write(
    audio: AsyncGenerator[bytes, None], format: str, *, rate: int
) -> AsyncGenerator[bytes, None]:
    """Mono PCM at `rate` as it comes, in `format` (see `check_writable`)."""
    if format in _ENCODERS:
        async with contextlib.aclosing(_encode(audio, format, rate)) as encoded:
            async for chunk in encoded:
                yield chunk
        return
    async with contextlib.aclosing(audio):
        if format == "wav":
            yield wav_header(rate)
        async for chunk in audio:
            yield chunk


async def _encode(
    audio: AsyncGenerator[bytes, None], format: str, rate: int
) -> AsyncGenerator[bytes, None]:
    process = await asyncio.create_subprocess_exec(
        "ffmpeg",
        *("-nostdin", "-v", "error", "-f", "s16le", "-ar", str(rate), "-ac", "1"),
        *("-i", "pipe:0", *_ENCODERS[format], "-flush_packets", "1", "pipe:1"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def give() -> TronError | None:
        """Feed the encoder; what went wrong on the side of the speech."""
        try:
            async with contextlib.aclosing(audio):
                async for chunk in audio:
                    stdin.write(chunk)
                    await stdin.drain()
        except TronError as error:
            return error
        except OSError:  # the encoder has gone; its exit code says so
            pass
        finally:
            stdin.close()
        return None

    tasks = Tasks("encoder")
    giving = tasks.start(give(), format)
    try:
        while chunk := await stdout.read(16_384):
            yield chunk
        if (failure := await giving) is not None:
            raise failure
        await process.wait()
    finally:
        await tasks.close()
        await _end(process)
    if process.returncode:
        log.error("speech.encoder_failed", format=format, code=process.returncode)
        raise HubError("The audio could not be encoded.")
