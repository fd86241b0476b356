"""Audio files in and out: whatever people upload, whatever players want.

WAV and raw PCM need nothing but this hub. Every other format needs ffmpeg, as a process beside it;
without one, `NeedsFfmpeg` says so. An uploaded file is first recognised by its own first bytes and
ffmpeg is told what it is, so it can't be talked into a playlist that makes it open other files.
"""

import asyncio
import contextlib
import shutil
import struct
import warnings
from collections.abc import AsyncGenerator
from typing import Any

import structlog

from tron.calls.audio import alaw_decode, mulaw_decode, resample, wav_header
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
_MULAW, _ALAW = 7, 6


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
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return await asyncio.to_thread(_read_wav, data, rate)
    kind = _kind(data)
    if kind is None:
        raise _unreadable()
    program = shutil.which("ffmpeg")
    if program is None:
        raise NeedsFfmpeg(f"A file of the kind {kind!r}", param="file")
    return await _read_with(program, kind, data, rate)


def _unreadable() -> Invalid:
    return Invalid("The file can't be read as audio.", param="file", code="unreadable_audio")


def _too_long() -> TooLarge:
    return TooLarge(f"The recording is longer than {LONGEST_S // 60} minutes.", param="file")


def _kind(data: bytes) -> str | None:
    """ffmpeg's name of a container, by its first bytes."""
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


def _read_wav(data: bytes, rate: int) -> bytes:
    """In a thread."""
    code, channels, source, body = _wav_parts(data)
    if not source or not channels:
        raise _unreadable()
    if code in (_MULAW, _ALAW):
        decoded = mulaw_decode(body) if code == _MULAW else alaw_decode(body)
        data = wav_header(source, channels=channels, size=len(decoded)) + decoded
    pydub = _pydub()
    try:
        # Given whole, it is parsed as WAV and as nothing else; widths and channels it converts.
        sound = pydub.AudioSegment(data=data).set_channels(1).set_sample_width(2)
        pcm, source = bytes(sound.raw_data), int(sound.frame_rate)
    except Exception as error:  # border: pydub raises what it happens to run into
        raise _unreadable() from error
    if len(pcm) > LONGEST_S * source * 2:
        raise _too_long()
    return resample(pcm, source, rate)


def _wav_parts(data: bytes) -> tuple[int, int, int, bytes]:
    """(codec, channels, rate, samples) of a WAV file."""
    at, found = 12, (0, 0, 0)
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"fmt " and len(data) >= at + 16:
            found = struct.unpack_from("<HHI", data, at)
        if name == b"data":
            return (*found, data[at : at + size])
        at += size + (size & 1)
    raise _unreadable()


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
