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
from tron.environment import load_settings
from tron.errors import Overloaded
from tron.hub import Hub
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
    chosen = load_settings(
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


async def test_a_call_is_put_away_although_whoever_asks_is_cancelled(hub: Hub) -> None:
    board, letting_go, go_on = hub.switchboard, asyncio.Event(), asyncio.Event()
    call = await board.begin(SilentWire(), caller=Caller(id="+14155550100", known=True))

    async def let_go() -> None:
        letting_go.set()
        await go_on.wait()

    call.ended("carrier-lost")
    asked = asyncio.create_task(board.put_away(call, let_go))
    await letting_go.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert board.live == [call], "its wire is not let go of yet"
    go_on.set()
    await eventually(lambda: board.live == [], what="the call's end")
    (record,) = await listed(hub)
    assert record.cause == "carrier-lost"


async def test_a_call_is_put_away_although_its_wire_makes_trouble(hub: Hub) -> None:
    call = await hub.switchboard.begin(SilentWire(), caller=Caller(id="ada", known=True))

    async def let_go() -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await hub.switchboard.put_away(call, let_go)
    assert hub.switchboard.live == []
    (record,) = await listed(hub)
    assert record.ended_at is not None


async def test_a_hub_that_closes_lets_calls_be_put_away_and_then_only_wires(hub: Hub) -> None:
    board, closed, go_on, gone = hub.switchboard, asyncio.Event(), asyncio.Event(), []
    caller = Caller(id="ada", known=True)
    early, late = [await board.begin(SilentWire(), caller=caller) for _ in range(2)]

    async def let_go_early() -> None:
        closed.set()
        await go_on.wait()

    async def let_go_late() -> None:
        gone.append(late)

    early.ended("carrier-lost")
    asked = asyncio.create_task(board.put_away(early, let_go_early))
    await closed.wait()
    closing = asyncio.create_task(board.close())
    await asyncio.sleep(0)
    go_on.set()
    await asked
    await closing
    causes = {record.id: record.cause for record in await listed(hub)}
    assert causes == {early.record.id: "carrier-lost", late.record.id: "hub-stopping"}
    await board.put_away(late, let_go_late)  # which its socket asks for when it notices
    assert gone == [late]
    with pytest.raises(Overloaded):
        await board.begin(SilentWire(), caller=caller)


async def test_who_goes_while_the_engines_open_has_not_met_a_hub_that_failed(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = asyncio.Event()

    async def listen() -> None:
        opening.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(hub.speech.recogniser, "listen", listen)
    caller = Caller(id="+14155550100", known=True)
    beginning = asyncio.create_task(hub.switchboard.begin(SilentWire(), caller=caller))
    await opening.wait()
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    (record,) = await listed(hub)
    assert (record.cause, hub.switchboard.live) == ("wire-closed", [])
