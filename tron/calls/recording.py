"""Recordings: both sides of a call, opt-in, on its media clock.

Left is what the caller said, right what was really played to them: what a `clear` threw away is
cut out. The caller's side is also what `tron call replay` runs through today's code.

While the call lasts, each side lies in a file without a name in the folder of the recordings; the
system drops such a file with whoever held it open, so a hub that is killed leaves none behind. At
the call's end they are joined in a thread. Memory never holds more than a few blocks. A recording
that can't be written is lost and logged; its call goes on, and ends, as any other.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import structlog

from tron.calls.audio import resampled, stereo, wav_header
from tron.calls.signals import FRAME_MS

log = structlog.get_logger(__name__)

LONGEST_MS = 2 * 3_600_000
"""what comes later is not on a recording"""
BLOCK = 65_536
"""bytes that are written at once: 4 s of a telephone, 1.4 s at 24 kHz"""


class Track:
    """One side: PCM16 placed by time, gaps filled with silence. Methods raise OSError."""

    def __init__(self, rate: int, folder: Path) -> None:
        self.rate = rate
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._length = 0  # in bytes

    def place(self, pcm: bytes, at: int) -> None:
        """Sound that begins at `at` ms, or right behind what is there already."""
        begin = max(self._length, self._byte(max(at, 0)))
        if begin > self._byte(LONGEST_MS):
            return
        file = self._file or self._open()
        if begin - self._length > BLOCK:
            file.seek(begin)  # leaves a hole, which reads as silence
        else:
            file.write(bytes(begin - self._length))
        file.write(pcm)
        self._length = begin + len(pcm)

    def cut(self, at: int) -> None:
        """Nothing after `at` was heard."""
        end = self._byte(at)
        if self._file is not None and end < self._length:
            self._file.seek(end)
            self._file.truncate()
            self._length = end

    def blocks(self) -> Iterator[bytes]:
        """All of it, from its beginning."""
        if self._file is not None:
            self._file.truncate(self._length)  # a hole at its end becomes part of it
            self._file.seek(0)
            while block := self._file.read(BLOCK):
                yield block

    def close(self) -> None:
        """Drop it. Never fails."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is not written yet need not be
                self._file.close()

    def _byte(self, at: int) -> int:
        return at * self.rate // 1000 * 2

    def _open(self) -> IO[bytes]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Its owner's alone.
        self._file = TemporaryFile(dir=self._folder, buffering=BLOCK)  # noqa: SIM115 - `close`
        return self._file


class Recording:
    """One call's two tracks; `path` is the stereo WAV they become."""

    def __init__(
        self,
        path: Path,
        *,
        heard_rate: int,
        played_rate: int,
        decode_played: Callable[[bytes], bytes],
    ) -> None:
        self.path = path
        self._caller = Track(heard_rate, path.parent)
        self._persona = Track(played_rate, path.parent)
        self._decode = decode_played
        self._over = False
        """it is being joined, or lost"""

    def heard(self, pcm: bytes, at: int) -> None:
        """A frame of the caller that ended at `at`."""
        with self._kept():
            if not self._over:
                self._caller.place(pcm, at - FRAME_MS)

    def played(self, audio: bytes, at: int) -> None:
        """Audio handed to the wire at `at`, in its encoding; it plays after what went before."""
        with self._kept():
            if not self._over:
                self._persona.place(self._decode(audio), at)

    def cleared(self, at: int) -> None:
        with self._kept():
            if not self._over:
                self._persona.cut(at)

    async def close(self) -> None:
        """Never fails."""
        if not self._over:
            self._over = True
            with self._kept():
                await asyncio.to_thread(self._join)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """A disk that is full costs the recording, not the call."""
        try:
            yield
        except OSError as error:
            log.error("recording.lost", call=self.path.stem, error=str(error))
            self._over = True
            self._drop()

    def _drop(self) -> None:
        self._caller.close()
        self._persona.close()

    def _join(self) -> None:
        rate = self._caller.rate
        left = self._caller.blocks()
        right = _even(resampled(self._persona.blocks(), self._persona.rate, rate))
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".part")
        try:
            unfinished.touch()
            unfinished.chmod(0o600)  # it is people's voices
            with unfinished.open("wb") as file:
                file.write(wav_header(rate, channels=2, size=0))
                size = sum(
                    file.write(stereo(*both)) for both in zip_longest(left, right, fillvalue=b"")
                )
                file.seek(0)
                file.write(wav_header(rate, channels=2, size=size))
            unfinished.replace(self.path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        finally:
            self._drop()


async def remove(path: str) -> None:
    """Drop a recording, if it is there. Never fails: one that can't be dropped is logged."""
    try:
        await asyncio.to_thread(Path(path).unlink, missing_ok=True)
    except OSError as error:
        log.error("recording.not_removed", path=path, error=str(error))


def _even(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut after every BLOCK."""
    held = b""
    for piece in pieces:
        held += piece
        while len(held) >= BLOCK:
            yield held[:BLOCK]
            held = held[BLOCK:]
    if held:
        yield held
