"""Calls to Slack: patience with limits, plain errors, and the token that works."""

from collections.abc import AsyncIterator

import pytest

from integrations.slack import client as module
from integrations.slack.apps import apps_of
from integrations.slack.client import Refused, SlackClient
from integrations.slack.fake import FakeSlack
from integrations.slack.health import Health
from integrations.slack.workspaces import Workspaces
from tron.clock import ManualClock
from tron.settings import Settings


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as workspace:
        yield workspace


@pytest.fixture
async def client(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SlackClient]:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    client = SlackClient(f"{slack.url}/api")
    yield client
    await client.close()


async def test_a_limit_is_waited_out(client: SlackClient, slack: FakeSlack) -> None:
    slack.api.limit("auth.test", 0.05, 0.05)
    assert (await client.call("xoxb-fake", "auth.test"))["team"] == "Fake"
    assert len(slack.api.called("auth.test")) == 3


async def test_but_not_for_ever(client: SlackClient, slack: FakeSlack) -> None:
    slack.api.limit("auth.test", 30)
    with pytest.raises(Refused, match="rate_limited"):
        await client.call("xoxb-fake", "auth.test", patience_s=1)


async def test_a_refusal_has_slacks_own_word(client: SlackClient) -> None:
    with pytest.raises(Refused, match="channel_not_found") as raised:
        await client.call("xoxb-fake", "chat.postMessage", channel="C9", text="x")
    assert raised.value.error == "channel_not_found"


async def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    client = SlackClient("http://127.0.0.1:9/api/")
    with pytest.raises(Refused, match="unreachable"):
        await client.call("xoxb-fake", "auth.test")
    with pytest.raises(Refused, match="unreachable"):
        await client.respond("http://127.0.0.1:9/x", {})
    await client.close()


class Tokens:
    """An installation whose token changes under us."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    async def token(self, team: str) -> str | None:
        return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]


def workspaces(client: SlackClient, tokens: Tokens) -> Workspaces:
    settings = Settings(slack_client_id="1", slack_client_secret="2")
    health = Health(ManualClock())
    health.add("", socket=False)
    return Workspaces(
        apps=apps_of(settings),
        client=client,
        installations=tokens,  # type: ignore[arg-type]
        health=health,
        clock=ManualClock(),
    )


async def test_a_token_that_was_rotated_meanwhile_is_read_again(client: SlackClient) -> None:
    found = workspaces(client, Tokens("xoxb-old", "xoxb-fake"))
    assert (await found.call("", "T1", "auth.test"))["team"] == "Fake"


async def test_a_token_that_is_worth_nothing_is_said_so(client: SlackClient) -> None:
    with pytest.raises(Refused, match="invalid_auth"):
        await workspaces(client, Tokens("xoxb-old")).call("", "T1", "auth.test")


async def test_names_are_asked_once(client: SlackClient, slack: FakeSlack) -> None:
    found = workspaces(client, Tokens("xoxb-fake"))
    for _ in range(3):
        person = await found.person("", "T1", slack.person)
        assert person is not None
        assert (person.name, person.admin) == ("sam", False)
        assert await found.person("", "T1", "U9") is None
        assert await found.channel_name("", "T1", "C0MAYA") == "tron-maya"
    assert len(slack.api.called("users.info")) == 2
    assert len(slack.api.called("conversations.info")) == 1
