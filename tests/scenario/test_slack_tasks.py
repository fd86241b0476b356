"""A task in Slack, from the wish to its end: asked in the thread, answered with a button."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from integrations.slack.fake import FakeSlack
from integrations.slack.fake_api import Message
from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import eventually

WISH = "as a task, create a file notes.txt with hello there, and ask me before every step"


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as workspace:
        workspace.api.people["U0ANN"] = {"name": "ann", "real_name": "Ann"}
        yield workspace


async def start(hub: Hubs, slack: FakeSlack, *, socket: bool = False, **more: Any) -> RunningHub:
    running = await hub(TRON_BRAIN="offline", **slack.settings(socket=socket), **more)
    if socket:
        await eventually(lambda: slack.sockets > 0)
    else:
        slack.deliver_to(running.base_url)
    return running


def buttons(message: Message) -> list[str]:
    found = [element for block in message.blocks for element in block.get("elements", [])]
    return [one["text"]["text"] for one in found if one["type"] == "button"]


async def question(slack: FakeSlack, ts: str) -> Message:
    """The question in a thread, once it is there."""
    await eventually(lambda: any(map(buttons, slack.thread(ts))), what="a question")
    (found,) = [message for message in slack.thread(ts) if buttons(message)]
    return found


async def the_task(running: RunningHub) -> dict[str, Any]:
    async with running.http.get("/v1/tasks") as answer:
        (task,) = (await answer.json())["tasks"]
    return dict(task)


@pytest.mark.parametrize("socket", [False, True], ids=["webhooks", "socket mode"])
async def test_a_task_is_asked_about_approved_and_its_end_told(
    hub: Hubs, slack: FakeSlack, socket: bool
) -> None:
    running = await start(hub, slack, socket=socket)
    ts = await slack.mention(WISH)
    asked = await question(slack, ts)
    assert slack.thread(ts)[-1] is asked, "below the persona's answer"
    assert len(slack.thread(ts)) == 2
    assert "notes.txt" in str(asked.blocks)
    assert (await the_task(running))["status"] == "awaiting_approval"
    await asyncio.gather(*(slack.click(asked, "Approve", user=who) for who in ("U0ANN",) * 3))
    await eventually(lambda: not buttons(asked))
    assert "Approved by <@U0ANN>" in str(asked.blocks)
    await eventually(lambda: "is done:" in slack.thread(ts)[-1].text)
    assert (await the_task(running))["status"] == "completed"
    assert len(slack.thread(ts)) == 3, "each thing is told once"
    assert slack.responses == type(slack.responses)(), "a second click of the same is no news"
    assert slack.in_channel(slack.general) == []


async def test_a_click_that_slack_did_not_sign_is_none(hub: Hubs, slack: FakeSlack) -> None:
    running = await start(hub, slack)
    ts = await slack.mention(WISH)
    asked = await question(slack, ts)
    secret, slack.signing_secret = slack.signing_secret, "another"
    with pytest.raises(AssertionError, match="401"):
        await slack.click(asked, "Approve")
    slack.signing_secret = secret
    assert (await the_task(running))["status"] == "awaiting_approval"
    await slack.click(asked, "Deny")
    await eventually(lambda: "Denied" in str(asked.blocks))


async def test_what_was_answered_elsewhere_is_shown_and_its_button_is_stale(
    hub: Hubs, slack: FakeSlack
) -> None:
    running = await start(hub, slack)
    ts = await slack.mention(WISH)
    asked = await question(slack, ts)
    stale = Message(**vars(asked))
    task = await the_task(running)
    body = {"approved": False, "through": "panel"}
    async with running.http.post(f"/v1/tasks/{task['id']}/approve", json=body) as answer:
        assert answer.status == 200
    await eventually(lambda: not buttons(asked))
    assert "Denied by" in str(asked.blocks)
    assert "on the hub’s page" in str(asked.blocks)
    await slack.click(stale, "Approve")
    await eventually(lambda: bool(slack.responses))
    assert "Nothing was changed" in slack.responses[0][1]["text"]
    assert (await the_task(running))["status"] == "failed"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_two_hubs_one_of_which_dies(
    hub: Hubs, slack: FakeSlack, request: pytest.FixtureRequest, database: str
) -> None:
    url = request.getfixturevalue("sqlite_url" if database == "sqlite" else "postgres_url")
    one = await start(hub, slack, TRON_DATABASE_URL=url)
    two = await start(hub, slack, TRON_DATABASE_URL=url)
    slack.deliver_to(one.base_url)
    ts = await slack.mention(WISH)
    asked = await question(slack, ts)
    await one.kill()
    slack.deliver_to(two.base_url)
    await slack.click(asked, "Approve")
    await eventually(lambda: not buttons(asked))
    await eventually(lambda: "is done:" in slack.thread(ts)[-1].text)
    told = [message.text for message in slack.thread(ts)]
    assert sum("is done:" in text for text in told) == 1, told


async def test_commands_about_tasks(hub: Hubs, slack: FakeSlack) -> None:
    running = await start(hub, slack)
    assert "No task" in (await slack.command("tasks"))["text"]
    ts = await slack.mention(WISH)
    asked = await question(slack, ts)
    listed = slack.shown(await slack.command("tasks", user="U0ANN"))
    assert buttons(listed) == ["Approve", "Deny"]
    assert "awaiting approval" in listed.text
    assert "No task" in (await slack.command("tasks", user="U0ANN", channel="C0MAYA"))["text"]
    task = await the_task(running)
    told = await slack.command(f"deny {task['approval']['approval_id']}", user="U0ANN")
    assert "Denied by <@U0ANN>" in told["text"]
    await eventually(lambda: not buttons(asked))
    assert (await the_task(running))["code"] == "approval_denied"
    assert "No such question" in (await slack.command(f"approve {task['id']}"))["text"]
    await slack.click(listed, "Approve", user="U0ANN", ephemeral=True)
    await eventually(lambda: bool(slack.responses))
    assert slack.responses[0][1]["replace_original"] is True
    assert (await the_task(running))["code"] == "approval_denied"


async def test_what_was_asked_in_private_is_asked_back_in_private(
    hub: Hubs, slack: FakeSlack
) -> None:
    running = await start(hub, slack)
    await slack.command(f"ask {WISH}")
    private = slack.dm_of()
    await eventually(lambda: any(map(buttons, slack.in_channel(private))))
    asked = slack.in_channel(private)[-1]
    await slack.click(asked, "Approve", user="U0ANN")
    await eventually(lambda: bool([b for _, b in slack.responses if "not asked here" in b["text"]]))
    await slack.click(asked, "Approve")
    await eventually(lambda: "is done:" in slack.in_channel(private)[-1].text)
    assert (await the_task(running))["status"] == "completed"
