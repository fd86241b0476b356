"""Which persona answers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from integrations.slack.routing import Router, by_words
from integrations.slack.wire import Said
from integrations.slack.workspaces import Workspaces
from tests.harness.hub import REPOSITORY
from tron.agents.registry import Registry
from tron.brain.contract import Answering, Ask, Part, Text
from tron.clock import ManualClock
from tron.errors import ProviderUnavailable


class Brain:
    """Says what it is told to, and remembers that it was asked."""

    def __init__(self) -> None:
        self.says = "jordan"
        self.asked: list[Ask] = []
        self.away = False

    async def stream(self, ask: Ask) -> AsyncIterator[list[Part]]:
        self.asked.append(ask)
        if self.away:
            raise ProviderUnavailable("away")
        yield [Answering(provider="x", model="y"), Text(self.says)]


class Rooms:
    """Channel names."""

    names = {"C1": "general", "CT": "tron", "CM": "tron-maya", "CX": "tron-nobody"}  # noqa: RUF012

    async def channel_name(self, app: str, team: str, channel: str) -> str:
        return self.names.get(channel, "")


@pytest.fixture
def brain() -> Brain:
    return Brain()


@pytest.fixture
def agents() -> Registry:
    registry = Registry(Path(REPOSITORY / "personas"), ManualClock(), default="tony")
    registry.refresh()
    return registry


@pytest.fixture
def router(brain: Brain, agents: Registry) -> Router:
    return Router(
        agents=agents,
        brain=cast(Any, brain),
        workspaces=cast(Workspaces, Rooms()),
        default="tony",
    )


def said(text: str, channel: str = "C1") -> Said:
    return Said(
        team="T1",
        channel=channel,
        user="U1",
        text=text,
        ts="1.1",
        thread_ts=None,
        direct=channel.startswith("D"),
        addressed=True,
        event_id="Ev1",
    )


async def who(
    router: Router, text: str, *, channel: str = "C1", app: str = "", before: str | None = None
) -> tuple[str, str, bool]:
    route = await router.route(app, said(text, channel), before)
    assert route is not None
    return route.persona.id, route.text, route.settle


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("maya: how do we grow?", ("maya", "how do we grow?", True)),
        ("Maya, how?", ("maya", "how?", True)),
        ("@maya : how?", ("maya", "how?", True)),
        ("MAYA:how\nis it?", ("maya", "how\nis it?", True)),
        ("maya:", ("maya", "", True)),
        ("hello: there", ("tony", "hello: there", True)),
        ("what is 12:30?", ("tony", "what is 12:30?", True)),
    ],
)
async def test_a_name_in_front(router: Router, text: str, found: tuple[str, str, bool]) -> None:
    assert await who(router, text) == found


async def test_a_thread_stays_with_whom_it_has_until_somebody_is_named(router: Router) -> None:
    assert await who(router, "and our runway?", before="maya") == ("maya", "and our runway?", False)
    assert await who(router, "riley: and you?", before="maya") == ("riley", "and you?", True)
    assert await who(router, "maya: you", before="maya") == ("maya", "you", False)
    assert (await who(router, "hi", before="somebody-who-left"))[0] == "tony"


async def test_an_app_of_ones_own_is_stronger_than_any_name(router: Router) -> None:
    assert await who(router, "tony: hi", app="maya", before="tony") == ("maya", "tony: hi", True)


async def test_rooms(router: Router, brain: Brain) -> None:
    assert (await who(router, "hi", channel="CM"))[0] == "maya"
    assert (await who(router, "riley: hi", channel="CM"))[0] == "riley"
    assert (await who(router, "hi", channel="CX"))[0] == "tony"
    assert (await who(router, "hi", channel="D1"))[0] == "tony"
    assert brain.asked == []


async def test_the_model_decides_in_the_common_room_alone(router: Router, brain: Brain) -> None:
    assert (await who(router, "can we afford it?", channel="CT"))[0] == "jordan"
    brain.says = "I think Maya should!"
    assert (await who(router, "can we afford it?", channel="CT"))[0] == "tony"
    brain.away = True
    assert (await who(router, "can we afford it?", channel="CT"))[0] == "tony"


def test_words(agents: Registry) -> None:
    def named(text: str) -> str | None:
        found = by_words(agents.personas, text)
        return found.id if found else None

    assert named("What does Riley say about the roadmap?") == "riley"
    assert named("how long is our runway?") == "jordan"
    assert named("hello") is None
    assert named("marketing and finance") is None, "nobody is ahead"
    assert named("he said so") is None, "no subject hides in a word"
