"""The fake is true enough for Slack's own clients: what they can do here the hub may rely on."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from integrations.slack.fake import FakeSlack
from tests.harness.waiting import eventually


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as workspace:
        yield workspace


def web(slack: FakeSlack, token: str = "xoxb-fake") -> AsyncWebClient:
    return AsyncWebClient(token=token, base_url=f"{slack.url}/api/")


async def test_the_web_client_posts_edits_and_deletes(slack: FakeSlack) -> None:
    client = web(slack)
    assert (await client.auth_test())["bot_id"] == slack.bot.id
    posted = await client.chat_postMessage(channel=slack.general, text="one")
    await client.chat_update(channel=slack.general, ts=posted["ts"], text="two")
    assert [m.text for m in slack.in_channel(slack.general)] == ["two"]
    await client.chat_delete(channel=slack.general, ts=posted["ts"])
    assert slack.in_channel(slack.general) == []
    with pytest.raises(SlackApiError, match="message_not_found"):
        await client.chat_update(channel=slack.general, ts="1.1", text="x")


async def test_the_sdks_chat_stream(slack: FakeSlack) -> None:
    ts = slack.api.post(slack.general, user=slack.person, text="hi").ts
    stream = await web(slack).chat_stream(
        channel=slack.general,
        thread_ts=ts,
        recipient_team_id=slack.team,
        recipient_user_id=slack.person,
        buffer_size=8,
    )
    for word in ("Streamed ", "by ", "the ", "SDK."):
        await stream.append(markdown_text=word)
    await stream.stop()
    assert await slack.answer_in(ts) == "Streamed by the SDK."


async def test_the_sdks_socket_mode_client(slack: FakeSlack) -> None:
    client = SocketModeClient(
        app_token=slack.app_token, web_client=web(slack), auto_reconnect_enabled=False
    )
    heard: list[str] = []

    async def listen(client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        heard.append(request.payload["event"]["text"])
        await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))

    client.socket_mode_request_listeners.append(listen)
    await client.connect()  # type: ignore[no-untyped-call]
    await eventually(lambda: slack.sockets == 1)
    await slack.mention("over the socket")
    assert heard == [f"<@{slack.bot.user}> over the socket"]
    assert slack.deliveries[-1].acknowledged
    await client.close()  # type: ignore[no-untyped-call]
    await asyncio.sleep(0)


async def test_a_wrong_app_token_gets_no_socket(slack: FakeSlack) -> None:
    with pytest.raises(SlackApiError, match="invalid_auth"):
        await web(slack).apps_connections_open(app_token="xapp-other")


async def test_limits_and_refusals_are_slacks(slack: FakeSlack) -> None:
    slack.api.limit("auth.test", 7)
    with pytest.raises(SlackApiError) as limited:
        await web(slack).auth_test()
    assert limited.value.response.status_code == 429
    assert limited.value.response.headers["Retry-After"] == "7"
    slack.api.refuse("auth.test", "account_inactive")
    with pytest.raises(SlackApiError, match="account_inactive"):
        await web(slack).auth_test()
    with pytest.raises(SlackApiError, match="msg_too_long"):
        await web(slack).chat_postMessage(channel=slack.general, text="x" * 40_001)
    with pytest.raises(SlackApiError, match="missing_recipient_team_id"):
        await web(slack).chat_startStream(channel=slack.general, thread_ts="1.1", markdown_text="x")


async def test_what_is_not_acknowledged_is_told_again(slack: FakeSlack) -> None:
    slack.retry_s = 0.01
    slack.deliver_to("http://127.0.0.1:9")
    await slack.mention("anybody?")
    (delivery,) = slack.deliveries
    await eventually(lambda: len(delivery.tries) == 4)
    assert not delivery.acknowledged
