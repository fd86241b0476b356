"""Calls begin and end at the switchboard, also those that never come about."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.waiting import eventually
from tron.app import open_hub
from tron.calls.ledger import Record
from tron.calls.signals import Tell
from tron.calls.wire import WireFacts
from tron.conversation.turns import Caller
from tron.hub import Hub
from tron.settings import Settings
from tron.storage.tables import HOUSE

PERSONA = "---\nname: Tony\ntitle: Chief\nfocus: [work]\ntone: dry\n---\nYou are Tony.\n"


class SilentWire:
    """Somebody who is there and nothing else."""

    facts = WireFacts(
        name="test",
        heard_as="mulaw",
        heard_rate=8_000,
        played_as="mulaw",
        played_rate=8_000,
        marks=False,
    )

    def play(self, audio: bytes) -> None:
        pass

    def mark(self, mark: int) -> None:
        pass

    def clear(self) -> None:
        pass

    def tell(self, told: Tell) -> None:
        pass

    def hang_up(self, cause: str) -> None:
        pass


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    personas = tmp_path / "personas"
    personas.mkdir()
    (personas / "tony.md").write_text(PERSONA)
    chosen = Settings.load(
        {}, home=tmp_path / "home", personas=personas, brain="offline", stt="fake", tts="fake"
    )
    async with open_hub(chosen) as opened:
        yield opened


async def listed(hub: Hub) -> list[Record]:
    return await hub.switchboard.ledger.listing(HOUSE)


async def test_a_wire_that_goes_while_its_call_begins_leaves_no_open_call(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = hub.switchboard.ledger.begin

    async def begin(record: Record) -> None:
        asyncio.get_running_loop().call_soon(beginning.cancel)
        await write(record)

    monkeypatch.setattr(hub.switchboard.ledger, "begin", begin)
    beginning = asyncio.create_task(
        hub.switchboard.begin(SilentWire(), caller=Caller(id="+14155550100", known=True))
    )
    with pytest.raises(asyncio.CancelledError):
        await beginning

    async def written() -> bool:
        return bool(await listed(hub))

    await eventually(written, what="the row of the call")
    (record,) = await listed(hub)
    assert record.ended_at is not None
    assert record.cause == "wire-closed"
    assert hub.switchboard.live == []
