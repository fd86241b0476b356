"""Recordings that can't be written cost no call its ending, and nothing half-written is left."""

import errno
import os
from pathlib import Path

import pytest

from tests.unit.calls.test_switchboard import PERSONA, SilentWire
from tron.app import open_hub
from tron.calls.recording import Recording
from tron.conversation.turns import Caller
from tron.settings import Settings
from tron.storage.tables import HOUSE


async def test_a_full_disk_costs_a_call_its_recording_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    personas = tmp_path / "personas"
    personas.mkdir()
    (personas / "tony.md").write_text(PERSONA)
    chosen = Settings.load(
        {},
        home=tmp_path / "home",
        personas=personas,
        brain="offline",
        stt="fake",
        tts="fake",
        record_calls=True,
    )
    write = Path.write_bytes

    def until_full(path: Path, data: bytes) -> int:
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    async with open_hub(chosen) as hub:
        caller = Caller(id="+14155550100", known=True)
        call = await hub.switchboard.begin(SilentWire(), caller=caller)
        call.audio(bytes(1_600))
        monkeypatch.setattr(Path, "write_bytes", until_full)
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
