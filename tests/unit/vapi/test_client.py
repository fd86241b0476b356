"""Calls the hub makes through VAPI, against a VAPI that talks."""

from typing import Any

import aiohttp
import pytest
from aiohttp import web

from integrations.vapi.client import VapiClient
from integrations.vapi.fake import FakeVapi
from tests.unit.vapi.conftest import Answer, Wire, Wired
from tron.errors import NotConfigured, ProviderBroke, ProviderError, ProviderRefused
from tron.errors import ProviderUnavailable as Unavailable
from tron.storage.tables import HOUSE

BODY = {"phoneNumberId": "n", "customer": {"number": "+14155550123"}}


class Pauses:
    """Stands in for sleeping, and remembers."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


async def place(vapi: FakeVapi, pauses: Pauses, key: str = "k") -> str:
    client = VapiClient(vapi.url, key, sleep=pauses)
    try:
        return (await client.place_call(BODY)).status
    finally:
        await client.close()


async def test_a_call_is_placed() -> None:
    async with FakeVapi(key="k") as vapi:
        assert await place(vapi, Pauses()) == "queued"
        assert list(vapi.placed) == [BODY]


async def test_a_busy_vapi_is_asked_again_when_it_says() -> None:
    async with FakeVapi(key="k") as vapi:
        vapi.refusals.extend([(429, {}), (503, {})])
        pauses = Pauses()
        assert await place(vapi, pauses) == "queued"
        assert pauses.taken == [0.5, 1.0]


async def test_it_gives_up_after_a_few_tries() -> None:
    async with FakeVapi(key="k") as vapi:
        vapi.refusals.extend([(429, {})] * 9)
        with pytest.raises(Unavailable, match="429"):
            await place(vapi, Pauses())
        assert len(vapi.refusals) == 5


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_what_may_have_rung_somebody_is_not_asked_again(status: int) -> None:
    async with FakeVapi(key="k") as vapi:
        vapi.refusals.append((status, {}))
        pauses = Pauses()
        with pytest.raises(ProviderBroke, match="may have"):
            await place(vapi, pauses)
        assert (pauses.taken, list(vapi.placed)) == ([], [])


@pytest.mark.parametrize(
    ("status", "error", "passed_on"),
    [(400, ProviderRefused, 400), (422, ProviderRefused, 422), (402, ProviderRefused, 502)],
)
async def test_a_refusal_is_passed_on_without_anybodys_number(
    status: int, error: type[ProviderError], passed_on: int
) -> None:
    async with FakeVapi(key="k") as vapi:
        vapi.refusals.append((status, {"message": ["number +1 415 555 0123 is bad", "also this"]}))
        with pytest.raises(error, match=r"number … is bad; also this") as raised:
            await place(vapi, Pauses())
        assert raised.value.status == passed_on


async def test_a_wrong_key_is_a_setting_to_mend() -> None:
    async with FakeVapi(key="k") as vapi:
        with pytest.raises(NotConfigured, match="VAPI_API_KEY"):
            await place(vapi, Pauses(), key="wrong")
        with pytest.raises(NotConfigured, match="VAPI_API_KEY"):
            await place(vapi, Pauses(), key="")


async def test_nobody_there_is_tried_again_then_said() -> None:
    pauses = Pauses()
    client = VapiClient("http://127.0.0.1:9", "k", sleep=pauses)
    with pytest.raises(Unavailable, match="can't be reached"):
        await client.try_key()
    assert len(pauses.taken) == 3
    await client.close()


async def test_a_silent_vapi_is_given_up_and_not_asked_again() -> None:
    asked = 0

    async def silent(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        raise aiohttp.ClientError("the connection is dropped")

    app = web.Application()
    app.router.add_post("/call", silent)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = VapiClient(url, "k", sleep=Pauses())
    with pytest.raises(ProviderBroke, match="may have been done"):
        await client.place_call(BODY)
    assert asked == 1
    await client.close()
    await runner.cleanup()


# The route


def settings(vapi: FakeVapi, **more: Any) -> dict[str, Any]:
    return {
        "vapi_api_url": vapi.url,
        "vapi_api_key": "k",
        "vapi_phone_number_id": "pn-1",
        **more,
    }


async def ring(wired: Wired, **body: Any) -> Answer:
    return await wired.tell({"to": "+14155550123", **body}, path="/api/vapi/calls")


async def test_a_persona_rings_somebody(wire: Wire) -> None:
    async with FakeVapi(key="k") as vapi, wire(**settings(vapi)) as wired:
        answer = await ring(wired, name="Ada", agent="maya", first_message="Hi Ada!")
        assert answer.status == 200
        [body] = vapi.placed
        assert body["phoneNumberId"] == "pn-1"
        assert body["customer"] == {"number": "+14155550123", "name": "Ada"}
        assert body["assistant"]["firstMessage"] == "Hi Ada!"
        assert body["assistant"]["model"]["url"] == "https://hub.test"
        assert body["metadata"] == {"agent": "maya"}
        [call] = (await wired("GET", "/api/vapi/calls")).json["calls"]
        assert call["id"] == answer.json["id"]
        assert (call["status"], call["direction"]) == ("queued", "outbound")
        assert (call["agent"], call["caller"]) == ("maya", "+14155550123")


async def test_an_assistant_kept_at_vapi_is_given_its_variables(wire: Wire) -> None:
    async with FakeVapi(key="k") as vapi, wire(**settings(vapi)) as wired:
        variables = {"taskSummary": "done", "result": "x" * 500}
        answer = await ring(wired, assistant_id="as-1", variables=variables, first_message="Hi!")
        assert answer.status == 200
        overrides = vapi.placed[0]["assistantOverrides"]
        assert vapi.placed[0]["assistantId"] == "as-1"
        assert overrides["firstMessage"] == "Hi!"
        assert overrides["variableValues"]["agentName"] == "Tony"
        assert len(overrides["variableValues"]["result"]) == 200


@pytest.mark.parametrize(
    ("changed", "body", "status", "says"),
    [
        ({}, {"to": "4155550123"}, 400, "to"),
        ({}, {"to": "+0155550123"}, 400, "to"),
        ({}, {"agent": "zorro"}, 404, "zorro"),
        ({}, {"variables": {"a": "b"}}, 400, "assistant_id"),
        ({"vapi_api_key": ""}, {}, 503, "VAPI_API_KEY"),
        ({"vapi_phone_number_id": ""}, {}, 503, "VAPI_PHONE_NUMBER_ID"),
        ({"public_url": ""}, {}, 503, "TRON_PUBLIC_URL"),
        ({"vapi_api_key": "wrong"}, {}, 503, "VAPI_API_KEY"),
    ],
)
async def test_a_call_that_cannot_be_made_says_why(
    wire: Wire, changed: dict[str, Any], body: dict[str, Any], status: int, says: str
) -> None:
    async with FakeVapi(key="k") as vapi, wire(**settings(vapi, **changed)) as wired:
        answer = await ring(wired, **body)
        assert answer.status == status
        assert says in str(answer.json["error"])
        assert list(vapi.placed) == []
        assert await wired.vapi.ledger.latest(HOUSE, 1) == []


async def test_calls_need_a_token_that_may_write(wire: Wire) -> None:
    async with FakeVapi(key="k") as vapi, wire(**settings(vapi)) as wired:
        await wired.hub.security.set_owner("correct horse")
        assert (await ring(wired)).status == 401
        assert (await wired("GET", "/api/vapi/calls")).status == 401
        _, token = await wired.hub.security.create_token("t", ["read"], 1)
        bearer = f"Bearer {token}"
        assert (await wired("GET", "/api/vapi/calls", authorization=bearer)).status == 200
        assert (await wired("POST", "/api/vapi/calls", b"{}", authorization=bearer)).status == 403


# What operators see


async def test_the_channel_tells_the_truth(wire: Wire) -> None:
    async with wire() as wired:
        assert wired.vapi.channels() == []
    async with FakeVapi(key="k") as vapi, wire(**settings(vapi, vapi_secret="s")) as wired:
        [channel] = wired.vapi.channels()
        assert (channel.name, channel.status, channel.message_count) == ("vapi", "disconnected", 0)
        await wired.tell({"type": "hang"}, x_vapi_secret="wrong")
        assert wired.vapi.channels()[0].status == "disconnected"
        await wired.tell({"type": "hang"}, x_vapi_secret="s")
        [channel] = wired.vapi.channels()
        assert (channel.status, channel.message_count) == ("connected", 1)
        assert channel.last_activity is not None
        vapi.refusals.append((500, {}))
        await ring(wired)
        [channel] = wired.vapi.channels()
        assert channel.status == "error"
        assert "HTTP 500" in str(channel.error)
    async with wire(vapi_hmac='{"algorithm": "sha1"}') as wired:
        assert wired.vapi.channels()[0].status == "error"


async def findings(wired: Wired) -> list[str]:
    return [found.state async for found in wired.vapi.check()]


async def test_the_doctor_tries_the_key(wire: Wire) -> None:
    async with wire() as wired:
        assert await findings(wired) == ["off", "off"]
    async with FakeVapi(key="k") as vapi:
        async with wire(**settings(vapi, vapi_secret="s")) as wired:
            assert await findings(wired) == ["ok", "ok"]
        async with wire(**settings(vapi, vapi_api_key="wrong", vapi_secret="s")) as wired:
            assert await findings(wired) == ["ok", "failed"]
        bare = settings(vapi, vapi_phone_number_id="", vapi_hmac='{"secret": ""}')
        async with wire(**bare) as wired:
            assert await findings(wired) == ["failed", "warning"]
