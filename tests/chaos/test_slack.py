"""Slack while something dies: nothing that was accepted is lost, nothing is answered twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from integrations.openai.behaviours import Reply, Slow
from integrations.openai.fake import FakeProvider
from integrations.slack.fake import FakeSlack
from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import eventually


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as workspace:
        yield workspace


async def start(
    hub: Hubs, fake: FakeProvider, slack: FakeSlack, *, socket: bool = False, **more: object
) -> RunningHub:
    running = await hub(
        OPENAI_BASE_URL=fake.base_url,
        OPENAI_API_KEY="sk-test",
        **slack.settings(socket=socket),
        **more,
    )
    if not socket:
        slack.deliver_to(running.base_url)
    return running


def shown(slack: FakeSlack, ts: str) -> list[str]:
    return [message.text for message in slack.thread(ts)]


@pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "edited"])
async def test_an_answer_cut_by_a_crash_is_finished_after_the_restart(
    hub: Hubs, fake: FakeProvider, slack: FakeSlack, streaming: bool
) -> None:
    slack.api.streaming = streaming
    running = await start(hub, fake, slack)
    story = Slow(token_ms=80, text="half " * 1_000)
    fake.script(story, Reply("The whole answer."), Reply("Next."))
    ts = await slack.mention("tell me a long story")
    await eventually(lambda: any("half" in text for text in shown(slack, ts)))
    await slack.say("and another thing", thread=ts)
    await running.kill()
    await running.restart()
    await eventually(lambda: "Next." in shown(slack, ts))
    assert shown(slack, ts) == ["The whole answer.", "Next."], "one message each, none cut"
    asked = [request.body["messages"][-1]["content"] for request in fake.requests]
    assert asked == ["tell me a long story", "tell me a long story", "and another thing"]
    said = [m["content"] for m in fake.requests[-1].body["messages"] if m["role"] == "user"]
    assert said == ["tell me a long story", "and another thing"], "nothing is said twice"


async def test_an_answer_that_was_complete_is_only_delivered(
    hub: Hubs, fake: FakeProvider, slack: FakeSlack
) -> None:
    running = await start(hub, fake, slack)
    fake.script(Reply("Kept before Slack had it."))
    slack.api.slow("chat.startStream", 5)
    ts = await slack.mention("quickly")

    async def kept() -> bool:
        async with running.http.get("/api/sessions") as answer:
            for session in await answer.json():
                async with running.http.get(f"/api/sessions/{session['key']}") as one:
                    messages = (await one.json())["messages"]
                    return any(message["role"] == "assistant" for message in messages)
        return False

    await eventually(kept)
    await running.kill()
    slack.api.slow("chat.startStream", 0)
    await running.restart()
    await eventually(lambda: "Kept before Slack had it." in shown(slack, ts))
    assert len(fake.requests) == 1, "the model was not asked again"


async def test_an_answer_that_kills_hubs_is_given_up_honestly(
    hub: Hubs, fake: FakeProvider, slack: FakeSlack
) -> None:
    running = await start(hub, fake, slack)
    fake.always = Slow(token_ms=80, text="half " * 1_000)
    ts = await slack.mention("crash, please")
    for time in (1, 2):
        await eventually(lambda: fake.active == 1)
        await eventually(lambda: bool(shown(slack, ts)))
        await running.kill()
        await eventually(lambda: fake.active == 0)
        assert len(fake.requests) == time
        await running.restart()
    await eventually(lambda: any("interrupted" in text for text in shown(slack, ts)))
    assert len(fake.requests) == 2


async def test_a_drained_hub_finishes_or_hands_over(
    hub: Hubs, fake: FakeProvider, slack: FakeSlack
) -> None:
    running = await start(hub, fake, slack)
    fake.hold = asyncio.Event()
    fake.script(Reply("short " * 20), Reply("Handed over."))
    ts = await slack.mention("one")
    await eventually(lambda: bool(shown(slack, ts)))
    await slack.say("two", thread=ts)
    stopping = asyncio.ensure_future(running.terminate())
    await eventually(lambda: "hub.draining" in running.log)
    fake.hold.set()
    assert await stopping == 0
    assert shown(slack, ts)[0].strip() == ("short " * 20).strip(), "what ran was finished"
    assert len(shown(slack, ts)) == 1
    await running.restart()
    await eventually(lambda: "Handed over." in shown(slack, ts))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_two_hubs_on_one_database_answer_once_and_in_order(
    hub: Hubs,
    fake: FakeProvider,
    slack: FakeSlack,
    database: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    url = request.getfixturevalue("sqlite_url" if database == "sqlite" else "postgres_url")
    one = await start(hub, fake, slack, TRON_DATABASE_URL=url)
    two = await start(hub, fake, slack, TRON_DATABASE_URL=url)
    slack.deliver_to(one.base_url, two.base_url)  # every try goes to the other hub
    slack.twice = True
    answers = ["a b c d e f g h", "second", "third", "fourth", "last"]
    fake.script(Slow(token_ms=60, text=answers[0]), *(Reply(text) for text in answers[1:]))
    ts = await slack.mention("1")
    for text in ("2", "3", "4"):
        await slack.say(text, thread=ts)
    await eventually(lambda: len(shown(slack, ts)) == 4)
    await slack.say("5", thread=ts)  # a thread is answered in its order: behind any second answer
    await eventually(lambda: "last" in shown(slack, ts))
    assert shown(slack, ts) == answers
    assert [r.body["messages"][-1]["content"] for r in fake.requests] == ["1", "2", "3", "4", "5"]


async def test_a_dead_hubs_messages_are_taken_over_by_its_peer(
    hub: Hubs, fake: FakeProvider, slack: FakeSlack, sqlite_url: str
) -> None:
    one = await start(hub, fake, slack, TRON_DATABASE_URL=sqlite_url)
    two = await start(hub, fake, slack, TRON_DATABASE_URL=sqlite_url)
    slack.deliver_to(one.base_url)
    fake.script(Slow(token_ms=80, text="half " * 1_000))
    fake.always = Reply("From the peer.")
    ts = await slack.mention("who is there?")
    await eventually(lambda: bool(shown(slack, ts)))
    await slack.say("and now?", thread=ts)
    await one.kill()
    slack.deliver_to(two.base_url)
    await slack.say("and then?", thread=ts)
    await eventually(lambda: shown(slack, ts) == ["From the peer."] * 3)


async def test_slack_away_while_the_answer_is_ready(
    hub: Hubs, fake: FakeProvider, slack: FakeSlack
) -> None:
    await start(hub, fake, slack)
    fake.script(Reply("Late but whole."))
    for method in ("chat.startStream", "chat.stopStream"):
        slack.api.limit(method, 1.0, 1.0)
    ts = await slack.mention("are you there?")
    assert await slack.answer_in(ts) == "Late but whole."


async def test_a_lost_socket_is_opened_again_and_nothing_is_missed(
    hub: Hubs, fake: FakeProvider, slack: FakeSlack
) -> None:
    await start(hub, fake, slack, socket=True)
    await eventually(lambda: slack.sockets == 1)
    fake.always = Reply("Back.")
    await slack.cut_sockets()
    ts = await slack.mention("did you hear that?")  # Slack tries again
    assert await slack.answer_in(ts) == "Back."


async def test_a_database_that_is_away_is_told_to_slack_which_comes_again(
    hub: Hubs,
    fake: FakeProvider,
    slack: FakeSlack,
    postgres_url: str,
    request: pytest.FixtureRequest,
) -> None:
    running = await start(hub, fake, slack, TRON_DATABASE_URL=postgres_url)
    running.allow("store", "life", "Connection")
    postgres = request.getfixturevalue("postgres")
    fake.always = Reply("Safe.")
    postgres.cut_off(postgres_url)
    ts = await slack.mention("now")
    assert await slack.answer_in(ts) == "Safe."
    assert len(fake.requests) == 1
