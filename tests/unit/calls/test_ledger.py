"""The ledger of calls: what was noted is found at once, once, and no longer than it is kept."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tron.calls.ledger import PRUNED_AT_ONCE, Ledger, Record
from tron.calls.signals import Note
from tron.clock import DAY_MS, ManualClock
from tron.errors import NotFound, StorageUnavailable
from tron.storage.store import Store
from tron.storage.tables import HOUSE, call_events, call_tapes, calls

KEEP_MS = 30 * DAY_MS


def record(id: str, recording: str | None = None) -> Record:
    return Record(
        id=id,
        client_id=HOUSE,
        wire="twilio",
        direction="inbound",
        caller="+14155550100",
        called="",
        external_id=None,
        agent="tony",
        session_key="",
        started_at=0,
        recording=recording,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ledger(store: Store, clock: ManualClock) -> Ledger:
    return Ledger(store, clock, "hub-a")


async def texts(ledger: Ledger, id: str) -> list[str]:
    _, lines = await ledger.read(HOUSE, id)
    return [line.text for line in lines]


async def test_who_reads_finds_what_is_being_written_at_that_moment(ledger: Ledger) -> None:
    call = record("one")
    await ledger.begin(call)
    for seq in range(20):
        ledger.note(call, seq, 0, Note("partial", text=str(seq)))
        writing = asyncio.ensure_future(ledger.flush())
        await asyncio.sleep(0)  # the writer has the line now
        assert await texts(ledger, "one") == [str(n) for n in range(seq + 1)]
        await writing


async def test_a_batch_whose_answer_got_lost_is_written_once(
    ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = record("one")
    await ledger.begin(call)
    ledger.note(call, 0, 0, Note("final", text="hello"))
    ledger.keep(call, 0, b"tape")
    write = store.write

    async def lost(unit: object) -> None:
        await write(unit)  # type: ignore[arg-type]
        raise StorageUnavailable("The connection broke before it could say so.")

    monkeypatch.setattr(store, "write", lost)
    await ledger.flush()
    monkeypatch.undo()
    ledger.note(call, 1, 5, Note("final", text="you"))
    assert await texts(ledger, "one") == ["hello", "you"]
    assert await ledger.tape(HOUSE, "one") == [b"tape"]


async def test_calls_are_forgotten_with_all_that_was_kept_of_them(
    ledger: Ledger, store: Store, clock: ManualClock, tmp_path: Path
) -> None:
    kept = PRUNED_AT_ONCE + 3
    for n in range(kept):
        sound = tmp_path / f"{n}.wav"
        sound.write_bytes(b"RIFF")
        call = record(f"old-{n}", recording=str(sound))
        await ledger.begin(call)
        ledger.note(call, 0, 0, Note("final", text="my number is …"))
        ledger.keep(call, 0, b"tape")
        await ledger.end(call, "caller-hung-up", "")
    (tmp_path / "0.wav").unlink()  # somebody was faster
    (tmp_path / "1.wav").unlink()
    (tmp_path / "1.wav").mkdir()  # which can't be dropped as a file
    await ledger.begin(record("open"))
    clock.advance(KEEP_MS / 1000 - 1)
    assert await ledger.prune(KEEP_MS) == 0
    clock.advance(2)
    new = record("new")
    await ledger.begin(new)
    await ledger.end(new, "caller-hung-up", "")
    assert await ledger.prune(KEEP_MS) == kept
    assert {call.id for call in await ledger.listing(HOUSE)} == {"open", "new"}
    with pytest.raises(NotFound):
        await ledger.read(HOUSE, "old-0")
    async with store.read() as connection:
        for table in (call_events, call_tapes):
            assert await connection.scalar(select(func.count()).select_from(table)) == 0
        assert await connection.scalar(select(func.count()).select_from(calls)) == 2
    assert [*tmp_path.glob("*.wav")] == [tmp_path / "1.wav"]  # noqa: ASYNC240 - a few names
