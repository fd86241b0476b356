"""Slack, as people in a workspace meet it: a real hub beside the fake workspace."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from integrations.openai.behaviours import HangAfter, Reply, Slow
from integrations.openai.fake import FakeProvider
from integrations.slack.fake import FakeSlack
from tests.harness.hub import REPOSITORY, TRON, Hubs, RunningHub
from tests.harness.waiting import eventually

Connect = Callable[..., Awaitable[RunningHub]]


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as workspace:
        yield workspace


@pytest.fixture
def connected(hub: Hubs, fake: FakeProvider, slack: FakeSlack) -> Connect:
    """Starts a hub that thinks with the fake provider and is told by the fake workspace."""

    async def start(*, socket: bool = False, **settings: Any) -> RunningHub:
        running = await hub(
            OPENAI_BASE_URL=fake.base_url,
            OPENAI_API_KEY="sk-test",
            **slack.settings(socket=socket),
            **settings,
        )
        if socket:
            await eventually(lambda: slack.sockets == 1)
        else:
            slack.deliver_to(running.base_url)
        return running

    return start


def asked(fake: FakeProvider, number: int = -1) -> str:
    """What the model was asked last (or at `number`)."""
    return str(fake.requests[number].body["messages"][-1]["content"])


# Talking


@pytest.mark.parametrize("socket", [False, True], ids=["webhooks", "socket mode"])
async def test_a_mention_is_answered_in_its_thread(
    connected: Connect, slack: FakeSlack, fake: FakeProvider, socket: bool
) -> None:
    await connected(socket=socket)
    fake.script(Reply("Ship it, then measure."))
    ts = await slack.mention("what do we do &amp; when? see <https://x.example/a|the plan>")
    assert await slack.answer_in(ts) == "Ship it, then measure."
    assert asked(fake) == "what do we do & when? see the plan (https://x.example/a)"
    assert [m.channel for m in slack.thread(ts)] == [slack.general]
    assert slack.in_channel(slack.general) == []
    assert slack.api.statuses, "people were shown that somebody is thinking"


async def test_a_thread_goes_on_without_another_mention(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    await connected()
    fake.script(Reply("Forty-two."), Reply("Because you asked."))
    ts = await slack.mention("what is the answer?")
    await slack.answer_in(ts)
    await slack.say("why is that?", thread=ts)
    assert await slack.answer_in(ts, count=2) == "Because you asked."
    said = [m["content"] for m in fake.requests[-1].body["messages"] if m["role"] != "system"]
    assert said == ["what is the answer?", "Forty-two.", "why is that?"]


async def test_what_is_not_for_us_is_left_alone(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    await connected()
    thread = await slack.say("lunch, anybody?")
    await slack.say("yes!", thread=thread)
    await slack.say(f"<@{slack.bot.user}> beep", bot_id="B0OTHER", subtype="bot_message")
    await slack.say(f"<@{slack.bot.user}> beep", bot_id="B0OTHER", kind="app_mention")
    await slack.say(f"<@{slack.bot.user}> me again", user=slack.bot.user)
    await slack.say(f"<@{slack.bot.user}> edited", subtype="message_changed")
    await slack.deliver({"type": "reaction_added", "user": slack.person})
    assert all(delivery.acknowledged for delivery in slack.deliveries)
    fake.script(Reply("Here."))
    ts = await slack.mention("and you?")
    await slack.answer_in(ts)
    assert len(fake.requests) == 1


async def test_a_direct_message_is_answered_beside_it_and_remembered(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    await connected()
    fake.script(Reply("Hello Sam."), Reply("You said hi."))
    await slack.dm("hi")
    assert await slack.answer_outside(slack.dm_of()) == "Hello Sam."
    await slack.dm("what did I say?")
    assert await slack.answer_outside(slack.dm_of(), count=2) == "You said hi."
    said = [m["content"] for m in fake.requests[-1].body["messages"] if m["role"] != "system"]
    assert said == ["hi", "Hello Sam.", "what did I say?"]


async def test_the_assistant_pane_greets_suggests_and_answers(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    await connected()
    ts = await slack.open_pane()
    assert "Tony here" in await slack.answer_in(ts)
    await eventually(lambda: bool(slack.api.called("assistant.threads.setSuggestedPrompts")))
    fake.script(Reply("A lot."))
    await slack.dm("What can you do for me?", thread=ts)
    assert await slack.answer_in(ts, count=2) == "A lot."
    await eventually(lambda: bool(slack.api.called("assistant.threads.setTitle")))


# Who answers


async def test_the_persona_is_chosen_remembered_and_switched(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    await connected()
    fake.always = Reply("Fine.")

    def spoke() -> str:
        system = str(fake.requests[-1].body["messages"][0]["content"])
        return next(
            n for n in ("Tony", "Maya", "Alex", "Jordan", "Riley") if f"You are {n}" in system
        )

    ts = await slack.mention("how are you?")
    await slack.answer_in(ts)
    assert spoke() == "Tony"
    await slack.mention("Maya: and you?", thread=ts)
    await slack.answer_in(ts, count=2)
    assert spoke() == "Maya"
    assert asked(fake) == "and you?"
    await slack.say("still there?", thread=ts)
    await slack.answer_in(ts, count=3)
    assert spoke() == "Maya"
    room = await slack.mention("what now?", channel="C0MAYA")
    await slack.answer_in(room)
    assert spoke() == "Maya"
    words = await slack.mention("how long is our runway, and what of fundraising?")
    await slack.answer_in(words)
    assert spoke() == "Jordan"


async def test_a_persona_with_an_app_of_its_own_answers_as_itself(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    maya = slack.api.add_bot("maya", token="xoxb-maya", persona="maya", secret="maya-secret")
    running = await connected(
        SLACK_BOT_TOKEN_MAYA="xoxb-maya", SLACK_SIGNING_SECRET_MAYA="maya-secret"
    )
    fake.always = Reply("Numbers first.")
    ts = await slack.mention("tony: what do you think?", bot=maya)
    await slack.answer_in(ts)
    assert [m.bot for m in slack.thread(ts)] == [maya.id]
    assert "You are Maya" in str(fake.requests[-1].body["messages"][0]["content"])
    status, _ = await slack.post("/slack/events/maya", b'{"type":"url_verification"}')
    assert status == 401, "the shared secret does not open Maya's door"
    status, _ = await slack.post("/slack/events/nobody", b"{}")
    assert status == 404
    async with running.http.post("/slack/events/tony", json={}) as answer:
        assert answer.status == 401, "a persona without an app of its own uses the shared one's"


async def test_commands(connected: Connect, slack: FakeSlack, fake: FakeProvider) -> None:
    await connected()
    told = await slack.command("help")
    assert told["response_type"] == "ephemeral"
    assert "/tron ask" in told["text"]
    assert "slack connected" in (await slack.command("status"))["text"]
    assert "Maya" in (await slack.command("agents"))["text"]
    assert "No task of yours" in (await slack.command("tasks"))["text"]
    assert "schedules" in (await slack.command("life"))["text"]
    assert "don't know" in (await slack.command("fly"))["text"]
    fake.script(Reply("By word of **mouth**."))
    await slack.command("ask maya: how do we grow?")
    await eventually(lambda: bool(slack.responses))
    assert slack.responses[0][1]["text"] == "*Maya*: By word of *mouth*."
    ts = await slack.mention("tronagents")
    assert "Riley" in await slack.answer_in(ts)
    ts = await slack.mention("tronclearsessions")
    assert "administrator" in await slack.answer_in(ts)


# How answers look


async def test_without_the_streaming_api_a_message_is_edited(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    slack.api.streaming = False
    await connected()
    fake.script(Slow(token_ms=60, text="**Bold** words and `a < b`. " * 12), Reply("ok"))
    ts = await slack.mention("say it slowly")
    answer = await slack.answer_in(ts)
    assert answer.startswith("*Bold* words and `a &lt; b`.")
    (message,) = slack.thread(ts)
    assert 1 <= message.edits <= 12, "paced, not once a word"
    await slack.mention("and again", thread=ts)
    await slack.answer_in(ts, count=2)
    assert len(slack.api.called("chat.startStream")) == 1, "a refusal is remembered"


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_long_answer_goes_on_in_further_messages(
    connected: Connect, slack: FakeSlack, fake: FakeProvider, streaming: bool
) -> None:
    slack.api.streaming = streaming
    await connected()
    lines = [f"line {number} of the listing" for number in range(1200)]
    fake.script(Reply("Here:\n```python\n" + "\n".join(lines) + "\n```\nThat is all."))
    ts = await slack.mention("show me everything")
    limit = 11_600 if streaming else 4_000
    await eventually(lambda: any("That is all." in m.text for m in slack.thread(ts)))
    parts = slack.thread(ts)
    assert len(parts) > 2
    assert all(len(part.text) <= limit for part in parts)
    assert all(part.text.count("```") == 2 for part in parts), "no fence is left open"
    shown = "\n".join(part.text for part in parts)
    assert [line for line in shown.splitlines() if line.startswith("line ")] == lines


@pytest.mark.parametrize("method", ["chat.startStream", "chat.appendStream", "chat.postMessage"])
async def test_a_429_is_waited_out_and_loses_nothing(
    connected: Connect, slack: FakeSlack, fake: FakeProvider, method: str
) -> None:
    slack.api.streaming = method != "chat.postMessage"
    await connected()
    slack.api.limit(method, 0.7, 0.7)
    text = "A sentence that matters. " * 40
    fake.script(Slow(token_ms=10, text=text))
    ts = await slack.mention("go on")
    answer = await slack.answer_in(ts)
    assert answer.strip() == text.strip()
    assert len(slack.thread(ts)) == 1


async def test_a_model_that_breaks_off_is_told_and_can_be_tried_again(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    await connected(TRON_TOKEN_TIMEOUT_S=0.5)
    fake.script(HangAfter(3))
    ts = await slack.mention("tell me")
    await eventually(lambda: any(m.blocks for m in slack.thread(ts)))
    broken, notice = slack.thread(ts)
    assert "could not answer this" in broken.text
    assert "not complete" in notice.text
    fake.script(Reply("All of it, this time."))
    await slack.click(notice)
    await eventually(lambda: [m.text for m in slack.thread(ts)] == ["All of it, this time."])


# Order


async def test_messages_of_a_busy_thread_wait_in_order(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    await connected()
    fake.script(Slow(token_ms=100, text="one two three four five six"), Reply("B"), Reply("C"))
    ts = await slack.mention("first")
    await eventually(lambda: fake.active == 1)
    await slack.say("second", thread=ts)
    await slack.say("third", thread=ts)
    await slack.answer_in(ts, count=3)
    assert [m.text for m in slack.thread(ts)] == ["one two three four five six", "B", "C"]
    assert [asked(fake, n) for n in range(3)] == ["first", "second", "third"]


async def test_an_event_is_handled_once_however_often_it_comes(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    running = await connected()
    fake.always = Reply("Once.")
    slack.twice = True
    ts = await slack.mention("twice at the same moment")
    slack.twice = False
    await slack.answer_in(ts)
    (delivery,) = slack.deliveries
    await slack.send(delivery.body)
    body = json.loads(json.dumps(delivery.body))
    body["event_id"] = "EvANOTHER"
    body["event"] |= {"type": "message", "channel_type": "channel"}
    await slack.send(body)  # the same message, told as a message of the channel
    await running.restart()
    await slack.send(delivery.body)
    after = await slack.mention("another")
    await slack.answer_in(after)
    assert [m.text for m in slack.thread(ts)] == ["Once."]
    assert len(fake.requests) == 2


async def test_socket_mode_survives_an_exchange_of_sockets(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    await connected(socket=True)
    fake.always = Reply("Still here.")
    await slack.refresh_sockets()
    await eventually(lambda: len(slack.api.called("apps.connections.open")) == 2)
    await eventually(lambda: slack.sockets == 1)
    ts = await slack.mention("hello?")
    assert await slack.answer_in(ts) == "Still here."


# Who may come in


async def test_only_slack_comes_in(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    running = await connected()
    challenge = b'{"type": "url_verification", "challenge": "abc", "token": "t"}'
    status, body = await slack.post("/slack/events", challenge)
    assert (status, json.loads(body)) == (200, {"challenge": "abc"})
    event = json.dumps(
        slack.envelope({"type": "app_mention", "user": "U1", "channel": "C0GENERAL", "ts": "1.2"})
    ).encode()
    forged = (
        {"X-Slack-Signature": "v0=" + "0" * 64},
        {"X-Slack-Request-Timestamp": "1500000000"},
        {"X-Slack-Request-Timestamp": "99999999999"},
        {"X-Slack-Request-Timestamp": "soon"},
        {"X-Slack-Request-Timestamp": "-1"},
        {"X-Slack-Request-Timestamp": "٣"},
        {"X-Slack-Signature": ""},
    )
    for headers in forged:
        status, _ = await slack.post("/slack/events", event, headers)
        assert status == 401, headers
    for path in ("/slack/events", "/slack/commands", "/slack/interactivity"):
        async with running.http.post(path, data=b"payload={}") as answer:
            assert answer.status in (400, 401)
            assert "json" in answer.content_type or not await answer.text()
    for raw in (
        b"not json",
        b"[]",
        b"7",
        b'{"type": "event_callback"}',
        b'{"type": "event_callback", "event": "x"}',
        b'{"type": "event_callback", "event": {"type": "message"}}',
        b"[" * 100_000,
    ):
        status, body = await slack.post("/slack/events", raw)
        assert status == 400, raw[:40]
        assert "Traceback" not in body
    async with running.http.post("/slack/events", data=b"\xff\xfe") as answer:
        assert answer.status == 400
    for form in (b"payload=notjson", b"payload=%5B%5D", b"payload=%7B%7D", b"command=/tron"):
        status, _ = await slack.post(
            "/slack/interactivity", form, kind="application/x-www-form-urlencoded"
        )
        assert status in (200, 400), form
    assert len(fake.requests) == 0


async def test_without_settings_the_routes_say_how_to_set_it_up(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    for path in ("/slack/events", "/slack/events/maya", "/slack/commands", "/slack/interactivity"):
        async with running.http.post(path, json={}) as answer:
            assert answer.status == 503
            assert "SLACK_BOT_TOKEN" in (await answer.json())["error"]["message"]
    async with running.http.get("/slack/install") as answer:
        assert answer.status == 503


async def test_a_challenge_without_a_secret_is_not_answered(hub: Hubs, slack: FakeSlack) -> None:
    running = await hub(TRON_BRAIN="offline", **slack.settings(socket=True))
    async with running.http.post("/slack/events", json={"type": "url_verification"}) as answer:
        assert answer.status == 503
        assert "SLACK_SIGNING_SECRET" in (await answer.json())["error"]["message"]


# Several workspaces


async def install(running: RunningHub, slack: FakeSlack) -> int:
    """Go through the installation as a browser does; the status it ends with."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.get(running.base_url + "/slack/install") as page:
            assert page.status == 200
            html = await page.text()
            cookie = page.headers["Set-Cookie"].partition(";")[0]
        url = html.partition('<a href="')[2].partition('"')[0].replace("&amp;", "&")
        state = parse_qs(urlsplit(url).query)["state"][0]
        back = f"{running.base_url}/slack/oauth_redirect"
        query = {"code": slack.api.new_code(), "state": state}
        async with browser.get(back, params=query, headers={"Cookie": cookie}) as done:
            first = done.status
        async with browser.get(back, params=query, headers={"Cookie": cookie}) as again:
            assert again.status != 200, "a state is good once"
        return first


async def test_install_answer_rotate_uninstall(
    hub: Hubs, fake: FakeProvider, slack: FakeSlack
) -> None:
    slack.api.expires_in = 43_200
    running = await hub(
        OPENAI_BASE_URL=fake.base_url,
        OPENAI_API_KEY="sk-test",
        SLACK_SIGNING_SECRET=slack.signing_secret,
        SLACK_CLIENT_ID="1.2",
        SLACK_CLIENT_SECRET="shh",
        SLACK_API_URL=f"{slack.url}/api/",
    )
    slack.deliver_to(running.base_url)
    assert await install(running, slack) == 200
    bot = next(bot for bot in slack.api.bots.values() if bot.team == "T0OTHER")
    database = (running.home / "data" / "tron.db").read_bytes()
    wal = running.home / "data" / "tron.db-wal"
    database += wal.read_bytes() if wal.exists() else b""
    assert bot.token.encode() not in database, "tokens are encrypted at rest"

    async def talk(text: str) -> str:
        fake.script(Reply(f"Re: {text}"))
        message = slack.api.post(slack.general, user=slack.person, text=text)
        event = {
            "type": "app_mention",
            "user": slack.person,
            "text": f"<@{bot.user}> {text}",
            "ts": message.ts,
            "channel": slack.general,
        }
        await slack.deliver(event, bot=bot, team="T0OTHER")
        return await slack.answer_in(message.ts)

    assert await talk("one") == "Re: one"
    await slack.uninstall(team="T0OTHER")
    message = slack.api.post(slack.general, user=slack.person, text="two")
    event = {
        "type": "app_mention",
        "user": slack.person,
        "text": "two",
        "ts": message.ts,
        "channel": slack.general,
    }
    delivery = await slack.deliver(event, bot=bot, team="T0OTHER")
    assert delivery.acknowledged
    await eventually(lambda: "not_installed" in running.log)
    assert slack.thread(message.ts) == []


async def test_a_token_about_to_expire_is_rotated_without_anyone_noticing(
    hub: Hubs, fake: FakeProvider, slack: FakeSlack
) -> None:
    slack.api.expires_in = 600  # within the two hours before which a token is exchanged
    running = await hub(
        OPENAI_BASE_URL=fake.base_url,
        OPENAI_API_KEY="sk-test",
        SLACK_SIGNING_SECRET=slack.signing_secret,
        SLACK_CLIENT_ID="1.2",
        SLACK_CLIENT_SECRET="shh",
        SLACK_API_URL=f"{slack.url}/api/",
    )
    slack.deliver_to(running.base_url)
    assert await install(running, slack) == 200
    bot = next(bot for bot in slack.api.bots.values() if bot.team == "T0OTHER")
    before = bot.token
    slack.api.expires_in = 43_200
    fake.always = Reply("Yes.")
    for text in ("one", "two"):
        message = slack.api.post(slack.general, user=slack.person, text=text)
        event = {
            "type": "app_mention",
            "user": slack.person,
            "text": text,
            "ts": message.ts,
            "channel": slack.general,
        }
        await slack.deliver(event, bot=bot, team="T0OTHER")
        assert await slack.answer_in(message.ts) == "Yes."
    assert bot.token != before
    refreshed = [c for c in slack.api.called("oauth.v2.access") if "refresh_token" in c]
    assert len(refreshed) == 1


async def test_many_threads_at_once(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    await connected()
    fake.always = Slow(token_ms=20, text="word " * 20)
    said = await asyncio.gather(*(slack.mention(f"question {n}") for n in range(30)))
    for ts in said:
        assert (await slack.answer_in(ts)).strip() == ("word " * 20).strip()
    assert all(len(slack.thread(ts)) == 1 for ts in said)


async def test_life_posts_reach_the_channel(
    connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    running = await connected(TRON_LIFE_SLACK_CHANNEL=slack.general)
    fake.always = Reply("We ship on Fridays and sleep on Saturdays.")
    async with running.http.post(
        "/internal/life/trigger", params={"activity": "post", "persona": "tony"}
    ) as answer:
        result = (await answer.json())["result"]
    assert "We ship" in str(result)
    await eventually(lambda: len(slack.in_channel(slack.general)) == 1)
    (post,) = slack.in_channel(slack.general)
    assert "*Tony*: We ship on Fridays" in post.text


async def test_the_demo_needs_no_account(tmp_path: Path) -> None:
    demo = await asyncio.create_subprocess_exec(
        str(TRON),
        "slack",
        "demo",
        "--say",
        "maya: who are you?",
        "--say",
        "tronagents",
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "TRON_BRAIN": "offline",
            "TRON_PERSONAS": str(REPOSITORY / "personas"),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(demo.communicate(), 60)
    assert demo.returncode == 0, err.decode()
    assert "I'm Maya" in out.decode()
    assert "Riley" in out.decode()
    assert "Traceback" not in err.decode()
    assert "error" not in err.decode()


async def test_channels_tell_the_truth(
    hub: Hubs, connected: Connect, slack: FakeSlack, fake: FakeProvider
) -> None:
    async def channels(running: RunningHub) -> list[Any]:
        async with running.http.get("/api/channels") as answer:
            assert answer.status == 200
            found: list[Any] = await answer.json()
            return found

    assert await channels(await hub()) == []  # nothing is set up, so nothing is claimed
    running = await connected()
    fake.script(Reply("Yes."))
    await slack.answer_in(await slack.mention("are you there?"))
    [channel] = [c for c in await channels(running) if c["type"] == "slack"]
    assert channel["status"] == "connected"
    assert channel["message_count"] >= 1
    assert channel["last_activity"]
