"""What the hub tells of its own accord: life posts to a channel, quiet threads to memory."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from integrations.slack.apps import apps_of
from integrations.slack.client import SlackClient
from integrations.slack.digests import IDLE_MS, Digests
from integrations.slack.fake import FakeSlack
from integrations.slack.health import Health
from integrations.slack.news import News
from integrations.slack.threads import Threads
from integrations.slack.wire import Said
from integrations.slack.workspaces import Workspaces
from tests.harness.hub import REPOSITORY
from tests.harness.waiting import eventually
from tests.unit.slack.test_inbox import accept, hub, said
from tron.agents.registry import Registry
from tron.clock import ManualClock
from tron.conversation.turns import Message
from tron.environment import load_settings
from tron.errors import NotFound
from tron.events import Bus, Event, LifeRan, ProviderFailed
from tron.memory.memory import Memory
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.supervise import Tasks


@pytest.fixture
def agents() -> Registry:
    registry = Registry(REPOSITORY / "personas", ManualClock(), default="tony")
    registry.refresh()
    return registry


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as workspace:
        yield workspace


def ran(agent: str, activity: str, result: str, status: str = "completed") -> LifeRan:
    return LifeRan(
        at=0, client_id=HOUSE, agent=agent, activity=activity, status=status, result=result
    )


def failed(at: int) -> ProviderFailed:
    return ProviderFailed(at=at, client_id=HOUSE, provider="openai", error="x", fallback="offline")


async def test_posts_and_notable_events_reach_the_channel(
    slack: FakeSlack, agents: Registry
) -> None:
    maya = slack.api.add_bot("maya", token="xoxb-maya")
    apps = apps_of(
        load_settings({"SLACK_BOT_TOKEN": "xoxb-fake", "SLACK_BOT_TOKEN_MAYA": "xoxb-maya"})
    )
    client, clock, bus = SlackClient(f"{slack.url}/api/"), ManualClock(), Bus()
    news = News(
        bus=bus,
        clock=clock,
        agents=agents,
        apps=apps,
        workspaces=Workspaces(
            apps=apps,
            client=client,
            installations=None,  # type: ignore[arg-type]
            health=Health(clock),
            clock=clock,
        ),
        channel=slack.general,
    )
    tasks = Tasks("test")
    tasks.start(news.run(), "news")
    await eventually(lambda: bool(bus._listeners))
    untold: list[Event] = [
        ran("tony", "post", "Not posted: nothing new."),
        ran("tony", "post", "Failed: x", "failed"),
        ran("tony", "journal", "A quiet day."),
        ran("tony", "reflection", "I wonder."),
    ]
    for event in untold:
        bus.publish(event)
    bus.publish(ran("tony", "post", "Posted: Ship <it> & measure."))
    bus.publish(ran("maya", "team_check", "All well."))
    bus.publish(failed(1_000))
    bus.publish(failed(2_000))
    bus.publish(failed(4_000_000))
    await eventually(lambda: len(slack.in_channel(slack.general)) == 4)
    told = slack.in_channel(slack.general)
    assert told[0].text.endswith("*Tony*: Ship &lt;it&gt; &amp; measure.")
    assert (told[1].bot, told[1].text.endswith("*Maya*: All well.")) == (maya.id, True)
    assert all("openai" in message.text for message in told[2:])
    await tasks.close()
    await client.close()


class Sessions:
    """One transcript."""

    def __init__(self) -> None:
        self.messages = [
            Message(role="user", content="We launch on Friday."),
            Message(role="assistant", content="Noted: Friday."),
        ]

    async def detail(self, client_id: str, key: str) -> tuple[None, list[Any]]:
        if key != "call-x":
            raise NotFound("gone")
        return None, [SimpleNamespace(message=message) for message in self.messages]


async def test_a_quiet_thread_becomes_a_memory_of_its_person_once(
    store: Store, agents: Registry
) -> None:
    clock = ManualClock()
    memory, threads = Memory(store, clock), Threads(store, clock)
    asked: list[str] = []

    async def think(_: Any, persona: Any, prompt: str, **__: Any) -> str:
        asked.append(prompt)
        return f"{persona.name}: launch on Friday."

    class Orchestrator:
        def spawn(self, agent: str, work: Any, **_: Any) -> Any:
            process = SimpleNamespace(status="running", result=None)

            async def wait() -> None:
                process.result, process.status = await work(process), "completed"

            process.wait = wait
            return process

    parts = SimpleNamespace(
        clock=clock,
        agents=agents,
        sessions=Sessions(),
        memory=memory,
        thinking=SimpleNamespace(think=think),
        orchestrator=Orchestrator(),
    )
    digests = Digests(parts, threads)  # type: ignore[arg-type]
    inbox = await hub(store, clock, "one")
    event: Said = said(1)
    await accept(inbox, event)
    await accept(inbox, said(2, thread_ts="9.9"))  # never answered
    await threads.settle(event, "maya")
    await threads.answered(event, "call-x")
    assert await digests.sweep() == 0, "it is not quiet yet"
    clock.advance(IDLE_MS / 1000)
    assert await digests.sweep() == 1
    assert await digests.sweep() == 0, "told once"
    (entry,) = await memory.about(HOUSE, "slack:T1:U1")
    assert entry.content == "Maya: launch on Friday."
    assert "We launch on Friday." in asked[0]
    assert await memory.about(HOUSE, "") == [], "it is nobody else's"
    clock.advance(1)
    await threads.answered(event, "call-x")
    clock.advance(IDLE_MS / 1000)
    assert await digests.sweep() == 1, "it went on, and fell silent again"
    clock.advance(1)
    await threads.answered(event, "call-deleted")
    clock.advance(IDLE_MS / 1000)
    assert await digests.sweep() == 0, "a deleted talk is not remembered"
