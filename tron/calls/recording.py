"""Recordings: both sides of a call, opt-in, on its media clock.

Left is what the caller said, right what was really played to them: what a `clear` threw away is
cut out. The caller's side is also what `tron call replay` runs through today's code. A recording
is kept in memory while the call lasts and written in a thread at its end. One that can't be written
is lost and logged; its call ends as any other.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from tron.calls.audio import resample, stereo, wav
from tron.calls.signals import FRAME_MS

log = structlog.get_logger(__name__)

LONGEST_MS = 2 * 3_600_000


class Track:
    """One side: PCM16 placed by time, gaps filled with silence."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._pcm = bytearray()

    def place(self, pcm: bytes, at: int) -> None:
        """Sound that begins at `at` ms, or right behind what is there already."""
        if at > LONGEST_MS:
            return
        begin = max(at, 0) * self.rate // 1000 * 2
        if len(self._pcm) < begin:
            self._pcm.extend(bytes(begin - len(self._pcm)))
        self._pcm.extend(pcm)

    def cut(self, at: int) -> None:
        """Nothing after `at` was heard."""
        del self._pcm[at * self.rate // 1000 * 2 :]

    def pcm(self) -> bytes:
        return bytes(self._pcm)


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
        self._caller = Track(heard_rate)
        self._persona = Track(played_rate)
        self._decode = decode_played

    def heard(self, pcm: bytes, at: int) -> None:
        """A frame of the caller that ended at `at`."""
        self._caller.place(pcm, at - FRAME_MS)

    def played(self, audio: bytes, at: int) -> None:
        """Audio handed to the wire at `at`, in its encoding; it plays after what went before."""
        self._persona.place(self._decode(audio), at)

    def cleared(self, at: int) -> None:
        self._persona.cut(at)

    async def close(self) -> None:
        """Never fails."""
        try:
            await asyncio.to_thread(self._write)
        except OSError as error:  # the disk is full, mostly
            log.error("recording.lost", call=self.path.stem, error=str(error))

    def _write(self) -> None:
        left, rate = self._caller.pcm(), self._caller.rate
        right = self._persona.pcm()
        if self._persona.rate != rate:
            right = resample(right, self._persona.rate, rate)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".part")
        try:
            unfinished.touch()
            unfinished.chmod(0o600)  # it is people's voices
            unfinished.write_bytes(wav(stereo(left, right), rate, channels=2))
            unfinished.replace(self.path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
