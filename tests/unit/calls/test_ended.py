"""What a real call leaves in its ledger when it ends in the middle of things."""

from pathlib import Path

from tests.unit.calls.test_announcing import ROOT, Wire
from tron.app import open_hub
from tron.calls import signals as s
from tron.calls.cost import cost
from tron.conversation.turns import Caller
from tron.settings import Settings
from tron.storage.tables import HOUSE

FRAME = bytes(320)


async def heard_s(tmp_path: Path, *, spoken_ms: int) -> float:
    """The seconds a recogniser is to be paid for of a call that ends while the caller speaks."""
    settings = Settings(
        home=tmp_path, personas=ROOT / "personas", brain="offline", stt="fake", tts="fake"
    )
    async with open_hub(settings) as hub:
        hub.switchboard.start()
        caller = Caller(id="+14155550100", known=True)
        call = await hub.switchboard.begin(Wire(), caller=caller)
        for _ in range(spoken_ms // s.FRAME_MS):
            call.signal(s.Heard(FRAME, 0.9))
        call.ended("caller-hung-up")
        await hub.switchboard.finish(call)
        await hub.switchboard.ledger.flush()
        record, lines = await hub.switchboard.ledger.read(HOUSE, call.record.id)
        assert [line.kind for line in lines][-1] == "ended", "and nothing is noted behind it"
        return sum(ear.seconds for ear in cost(record, lines, hub.brain.prices, now=0).recognition)


async def test_what_was_heard_of_the_last_words_is_paid_for(tmp_path: Path) -> None:
    assert 0.9 < await heard_s(tmp_path, spoken_ms=1_000) <= 1.0


async def test_who_said_nothing_costs_nothing(tmp_path: Path) -> None:
    assert await heard_s(tmp_path, spoken_ms=100) == 0
