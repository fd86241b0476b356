"""News in a real call: said, kept in the transcript, and known as far as it was heard."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.waiting import eventually
from tron.app import open_hub
from tron.calls import signals as s
from tron.calls.call import Call
from tron.calls.wire import WireFacts
from tron.conversation.turns import Caller
from tron.hub import Hub
from tron.settings import Settings
from tron.storage.tables import HOUSE

ROOT = Path(__file__).parents[3]
NEWS = "Your task is done. It took a while."


class Wire:
    """A line that plays nothing and remembers what clients were told."""

    facts = WireFacts(
        name="test",
        heard_as="pcm16",
        heard_rate=8_000,
        played_as="pcm16",
        played_rate=8_000,
        marks=False,
    )

    def __init__(self) -> None:
        self.told: list[s.Tell] = []
        self.played = 0

    def play(self, audio: bytes) -> None:
        self.played += len(audio)

    def mark(self, mark: int) -> None: ...

    def clear(self) -> None: ...

    def tell(self, told: s.Tell) -> None:
        self.told.append(told)

    def hang_up(self, cause: str) -> None: ...

    def turns(self) -> list[str]:
        return [told.text for told in self.told if told.what == "turn_end"]


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    settings = Settings(
        home=tmp_path,
        personas=ROOT / "personas",
        brain="offline",
        stt="fake",
        tts="fake",
        call_greeting=False,
    )
    async with open_hub(settings) as hub:
        hub.switchboard.start()
        yield hub


@pytest.fixture
async def call(hub: Hub) -> AsyncIterator[Call]:
    """A call in which something has been said already."""
    wire = Wire()
    caller = Caller(id="+14155550100", known=True, call_id="call-1")
    call = await hub.switchboard.begin(wire, caller=caller)
    call.signal(s.Typed("what time is it"))
    await eventually(lambda: wire.turns() == ["completed"])
    yield call
    await hub.switchboard.finish(call)


def wire_of(call: Call) -> Wire:
    wire = call._wire
    assert isinstance(wire, Wire)
    return wire


async def said(hub: Hub, call: Call) -> list[str]:
    _, entries = await hub.sessions.detail(HOUSE, call.session_key)
    return [f"{entry.message.role}: {entry.message.content}" for entry in entries]


async def test_news_is_spoken_and_in_the_transcript(hub: Hub, call: Call) -> None:
    played = wire_of(call).played
    assert await call.announce(NEWS) == NEWS
    assert wire_of(call).turns() == ["completed", "completed"]
    assert wire_of(call).played > played
    assert (await said(hub, call))[-1] == f"assistant: {NEWS}"
    assert len(await said(hub, call)) == 3


async def test_what_the_caller_spoke_into_was_not_heard(hub: Hub, call: Call) -> None:
    told = call.announce(NEWS)
    await eventually(lambda: any(t.what == "text" and t.text == NEWS for t in wire_of(call).told))
    call.signal(s.Interrupt())
    heard = await told
    assert heard != NEWS
    await eventually(lambda: wire_of(call).turns() == ["completed", "interrupted"])

    async def cut() -> bool:
        return not any(NEWS in line for line in await said(hub, call))

    await eventually(cut)


async def test_a_call_that_ends_first_heard_nothing(hub: Hub, call: Call) -> None:
    call.signal(s.StartTalking())
    first, second = call.announce("One."), call.announce("Two.")
    await hub.switchboard.finish(call)
    assert await second == ""
    assert await first in ("", "One.")
    assert await call.announce(NEWS) == ""


async def test_more_news_than_anybody_could_hear_is_refused(call: Call) -> None:
    told = [call.announce(f"Number {n}.") for n in range(40)]
    assert any(one.done() and one.result() == "" for one in told)
    call.ended("test")
