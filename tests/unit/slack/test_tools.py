"""A persona writes in Slack on its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from integrations.slack import client as client_module
from integrations.slack.fake import FakeSlack
from integrations.slack.integration import Slack
from tron.app import open_hub
from tron.conversation.turns import ToolCall
from tron.environment import load_settings
from tron.hub import Hub
from tron.orchestrator.process import Process
from tron.storage.tables import HOUSE
from tron.tools.contract import StepScope, ToolContext
from tron.tools.toolbox import Outcome


async def use(hub: Hub, agent: str = "tony", **arguments: Any) -> Outcome:
    async def idle(process: Process) -> None:
        await process.receive(3600)

    context = ToolContext(
        client_id=HOUSE,
        process=hub.orchestrator.spawn(agent, idle),
        session="s1",
        caller="ann",
        step=StepScope(
            task_id="t1", step_id="t1.n1", key="k", begun_at=0, workspace=Path("/x"), log=print
        ),
    )
    given = msgspec.json.encode(arguments).decode()
    call = ToolCall(id="c", name="send_slack_message", arguments=given)
    return await hub.toolbox.perform(context, call)


@pytest.fixture
async def slack(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeSlack]:
    monkeypatch.setattr(client_module, "PAUSE_S", 0.01)
    async with FakeSlack() as workspace:
        yield workspace


@pytest.fixture
async def hub(slack: FakeSlack, tmp_path: Path) -> AsyncIterator[Hub]:
    maya = slack.api.add_bot("maya", token="xoxb-maya")
    environ = slack.settings() | {"SLACK_BOT_TOKEN_MAYA": maya.token}
    async with open_hub(load_settings(environ, home=tmp_path, brain="offline", life=False)) as made:
        attached = Slack(made)
        yield made
        await attached.close()


def posted(slack: FakeSlack) -> list[tuple[str, str, str]]:
    names = {bot.user: bot.name for bot in slack.api.bots.values()}
    return [(names[m.user], m.channel, m.text) for m in slack.api.messages if m.bot]


async def test_in_a_channel_as_the_persona_that_writes(hub: Hub, slack: FakeSlack) -> None:
    outcome = await use(hub, channel=slack.general, text="**Done** at last")
    assert outcome.status == "ok"
    assert slack.general in outcome.text
    assert (await use(hub, "maya", channel=slack.general, text="Indeed")).status == "ok"
    assert posted(slack) == [
        ("tron", slack.general, "*Done* at last"),
        ("maya", slack.general, "Indeed"),
    ]


async def test_in_a_thread(hub: Hub, slack: FakeSlack) -> None:
    first = await slack.say("Anything new?")
    await use(hub, channel=slack.general, text="No", thread=first)
    assert [m.text for m in slack.api.messages if m.thread == first] == ["No"]


async def test_what_slack_refuses_is_told(hub: Hub, slack: FakeSlack) -> None:
    outcome = await use(hub, channel="C0NOWHERE", text="x")
    assert outcome.status == "failed"
    assert "no such channel" in outcome.text
    slack.api.limit("chat.postMessage", 300)
    outcome = await use(hub, channel=slack.general, text="x")
    assert "fewer messages" in outcome.text
    assert posted(slack) == []


async def test_a_message_that_may_have_arrived_is_not_sent_again(
    hub: Hub, slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    async def broken(self: Any, method: str, **_: Any) -> Any:
        tries.append(method)
        raise TimeoutError

    monkeypatch.setattr(AsyncWebClient, "api_call", broken)
    outcome = await use(hub, channel=slack.general, text="x")
    assert outcome.status == "failed"
    assert "whether the message arrived is not known" in outcome.text
    assert tries == ["chat.postMessage"]


async def test_without_slack_the_missing_setting_is_named(tmp_path: Path) -> None:
    async with open_hub(load_settings({}, home=tmp_path, brain="offline", life=False)) as hub:
        Slack(hub)
        outcome = await use(hub, channel="#general", text="x")
        assert outcome.status == "refused"
        assert "SLACK_BOT_TOKEN" in outcome.text
