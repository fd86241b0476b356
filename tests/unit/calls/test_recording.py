"""Recordings hold what was heard and really played, in little memory.

One that can't be written costs no call its ending, and nothing half-written is left.
"""

import os
import resource
import tempfile
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.calls.test_switchboard import PERSONA, SilentWire
from tron.app import open_hub
from tron.calls import recording as recordings
from tron.calls.recording import BLOCK, LONGEST_MS, Recording
from tron.calls.signals import FRAME_MS
from tron.conversation.turns import Caller
from tron.environment import load_settings
from tron.storage.tables import HOUSE


def on_a_full_disk(*, dir: Path, buffering: int) -> object:
    return open("/dev/full", "w+b", buffering=buffering)


async def test_a_full_disk_costs_a_call_its_recording_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    personas = tmp_path / "personas"
    personas.mkdir()
    (personas / "tony.md").write_text(PERSONA)
    chosen = load_settings(
        {},
        home=tmp_path / "home",
        personas=personas,
        brain="offline",
        stt="fake",
        tts="fake",
        record_calls=True,
    )
    monkeypatch.setattr(recordings, "TemporaryFile", on_a_full_disk)
    async with open_hub(chosen) as hub:
        caller = Caller(id="+14155550100", known=True)
        call = await hub.switchboard.begin(SilentWire(), caller=caller)
        for _ in range(BLOCK // 1_600 + 1):
            call.audio(bytes(1_600))
        assert hub.switchboard.live == [call]
        call.ended("caller-hung-up")
        await hub.switchboard.finish(call)
        [record] = await hub.switchboard.ledger.listing(HOUSE)
        assert (record.cause, record.ended_at is not None) == ("caller-hung-up", True)
        assert hub.switchboard.live == []
    assert list((tmp_path / "home" / "recordings").iterdir()) == []


async def test_a_recording_is_its_owners_alone(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        file = tmp_path / "recordings" / "one.wav"
        recording = Recording(file, heard_rate=8_000, played_rate=8_000, decode_played=bytes)
        recording.heard(bytes(320), 20)
        await recording.close()
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(umask)


def made(file: Path, *, heard_rate: int = 8_000, played_rate: int = 8_000) -> Recording:
    return Recording(
        file, heard_rate=heard_rate, played_rate=played_rate, decode_played=lambda audio: audio
    )


def both_of(file: Path) -> "tuple[np.ndarray[tuple[int], np.dtype[np.int16]], ...]":
    """The caller's side and the persona's."""
    with wave.open(str(file)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (2, 2)
        pcm = sound.readframes(sound.getnframes())
        assert file.stat().st_size == 44 + len(pcm)
    both = np.frombuffer(pcm, "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


async def test_a_disk_that_fills_up_at_the_end_leaves_nothing_half_written(tmp_path: Path) -> None:
    recording = made(tmp_path / "one.wav")
    for second in range(120):
        recording.heard(bytes(16_000), 1_000 * (second + 1))
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, most[1]))  # of 120 s * 32 kB
    try:
        await recording.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert os.listdir(tmp_path) == []


async def test_while_a_call_lasts_its_sound_has_no_name_and_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nothing is left of a hub that is killed."""
    opened = []

    def remembered(*, dir: Path, buffering: int) -> object:
        file = tempfile.TemporaryFile(dir=dir, buffering=buffering)  # noqa: SIM115
        opened.append(file)
        return file

    monkeypatch.setattr(recordings, "TemporaryFile", remembered)
    recording = made(tmp_path / "one.wav")
    for frame in range(1_000):
        recording.heard(bytes(320), FRAME_MS * (frame + 1))
    recording.played(bytes(320), 0)
    assert os.listdir(tmp_path) == []
    assert [os.fstat(file.fileno()).st_mode & 0o777 for file in opened] == [0o600, 0o600]
    await recording.close()
    assert os.listdir(tmp_path) == ["one.wav"]
    assert all(file.closed for file in opened)


async def test_a_long_recording_takes_little_memory(tmp_path: Path) -> None:
    """Ten minutes through a browser are 48 MB."""
    heard, played = os.urandom(640), os.urandom(960)
    recording = made(tmp_path / "one.wav", heard_rate=16_000, played_rate=24_000)
    frames = 600_000 // FRAME_MS
    await made(tmp_path / "other.wav", played_rate=24_000).close()  # imports what it needs
    tracemalloc.start()
    try:
        for frame in range(frames):
            recording.heard(heard, FRAME_MS * (frame + 1))
            recording.played(played, FRAME_MS * frame)
        lasting = tracemalloc.get_traced_memory()[1]
        await recording.close()
        joined = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lasting < 1_000_000
    assert joined < 5_000_000
    left, right = both_of(tmp_path / "one.wav")
    assert len(left) == len(right) == 16_000 * 600
    assert left.tobytes() == heard * frames


async def test_both_sides_keep_time_when_one_is_played_at_another_rate(tmp_path: Path) -> None:
    """A tone of the persona after a minute and a half of silence lies where it was heard."""
    tone = (8_000 * np.sin(np.arange(24_000) * 2 * np.pi * 440 / 24_000)).astype("<i2")
    recording = made(tmp_path / "one.wav", heard_rate=16_000, played_rate=24_000)
    for frame in range(92_000 // FRAME_MS):
        recording.heard(b"\1\0" * 320, FRAME_MS * (frame + 1))
    recording.played(tone.tobytes(), 90_000)
    await recording.close()
    left, right = both_of(tmp_path / "one.wav")
    assert len(left) == 16_000 * 92
    assert (left == 1).all()
    sounding = np.flatnonzero(np.abs(right) > 100)
    assert sounding[0] / 16_000 == pytest.approx(90, abs=0.005)
    assert sounding[-1] / 16_000 == pytest.approx(91, abs=0.005)


async def test_nothing_is_kept_of_what_comes_after_the_longest_call(tmp_path: Path) -> None:
    recording = made(tmp_path / "one.wav")
    recording.played(b"\1\0" * 160, LONGEST_MS)
    recording.played(b"\1\0" * 160, LONGEST_MS)  # right behind, so it is later than that
    recording.cleared(10)
    recording.played(b"\1\0" * 160, 0)
    recording.heard(b"\1\0" * 160, LONGEST_MS + 2 * FRAME_MS)
    await recording.close()
    recording.heard(b"\1\0" * 160, 20)  # a frame that was still under way
    left, right = both_of(tmp_path / "one.wav")
    assert not left.any()
    assert right.tolist() == [0] * 80 + [1] * 160


class InMemory:
    """What a track holds, said as simply as possible."""

    def __init__(self) -> None:
        self.pcm = b""

    def place(self, pcm: bytes, at: int) -> None:
        self.pcm = self.pcm.ljust(at * 16, b"\0") + pcm

    def cut(self, at: int) -> None:
        self.pcm = self.pcm[: at * 16]


AROUND_A_BLOCK = BLOCK // 16  # ms


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["heard", "played", "cleared"]),
            st.integers(0, 3 * AROUND_A_BLOCK),  # ms since the one before
            st.sampled_from([0, 2, 320, BLOCK - 2, BLOCK, BLOCK + 2, 3 * BLOCK]),
        ),
        max_size=20,
    )
)
async def test_a_recording_is_what_memory_would_have_held(
    steps: list[tuple[str, int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        recording = made(Path(folder) / "one.wav")
        caller, persona = InMemory(), InMemory()
        at = FRAME_MS
        for number, (what, later, size) in enumerate(steps):
            # Backwards too: what is cleared may reach far behind what was placed.
            at = at + later if what != "cleared" else max(FRAME_MS, at - later)
            pcm = bytes([number + 1, 0]) * (size // 2)
            if what == "heard":
                recording.heard(pcm, at)
                caller.place(pcm, at - FRAME_MS)
            elif what == "played":
                recording.played(pcm, at)
                persona.place(pcm, at)
            else:
                recording.cleared(at)
                persona.cut(at)
        await recording.close()
        sides = [side.tobytes() for side in both_of(Path(folder) / "one.wav")]
    longest = max(len(caller.pcm), len(persona.pcm))
    assert sides == [side.pcm.ljust(longest, b"\0") for side in (caller, persona)]
