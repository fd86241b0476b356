"""VAPI's calls are put through by their control URL, and by its request for a destination."""

from typing import Any

import pytest

from integrations.vapi.fake import FakeVapi
from integrations.vapi.transfers import NOT_NOW, control_url
from tests.unit.vapi.conftest import Wire, Wired, fixture

SECRET = {"x_vapi_secret": "s3cret"}
LINE = "+14155550100"
GRACE = "+14155550188"


async def ask(wired: Wired, to: str, *, url: str = "", line: str = LINE) -> dict[str, Any]:
    """What VAPI is told of one call of the tool."""
    message = {
        "type": "tool-calls",
        "call": {"id": "c-1", "monitor": {"controlUrl": url}},
        "phoneNumber": {"number": line},
        "toolCallList": [
            {"id": "t1", "function": {"name": "transfer_call", "arguments": {"to": to}}}
        ],
    }
    answer = await wired.tell({"message": message}, **SECRET)
    assert answer.status == 200
    (result,) = answer.json["results"]
    return dict(result)


async def test_an_assistant_has_the_tool(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        made = (await wired.tell(fixture("assistant-request"), **SECRET)).json["assistant"]
        (tool,) = made["model"]["tools"]
        assert tool["function"]["name"] == "transfer_call"
        assert "to" in tool["function"]["parameters"]["properties"]


async def test_where_a_call_is_not_controlled_the_persona_is_told(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        assert "Nobody can be put through" in (await ask(wired, GRACE))["error"]


async def test_a_number_that_is_refused_is_not_sent(wire: Wire) -> None:
    async with FakeVapi() as vapi, wire(vapi_secret="s3cret", vapi_api_url=vapi.url) as wired:
        vapi.refusals.append((500, {}))
        url = f"{vapi.url}/c-1/control"
        assert "costs extra" in (await ask(wired, "+19005551234", url=url))["error"]
        assert len(vapi.refusals) == 1, "VAPI was not asked"


@pytest.mark.parametrize("status", [404, 403, 500, 503])
async def test_vapi_refuses_and_the_persona_is_told(wire: Wire, status: int) -> None:
    async with FakeVapi() as vapi, wire(vapi_secret="s3cret", vapi_api_url=vapi.url) as wired:
        vapi.refusals.append((status, {"message": "no"}))
        result = await ask(wired, GRACE, url=f"{vapi.url}/c-1/control")
        assert result["error"] == NOT_NOW


@pytest.mark.parametrize(
    ("url", "believed"),
    [
        ("https://aws-us-west-2-production1-phone-call-websocket.vapi.ai/c-1/control", True),
        ("https://api.vapi.ai/c-1/control", True),
        ("http://127.0.0.1:9/c-1/control", True),
        ("http://phone.vapi.ai/c-1/control", False),
        ("https://vapi.ai.evil.example/c-1/control", False),
        ("https://evilvapi.ai/c-1/control", False),
        ("https://api.vapi.ai@evil.example/control", False),
        ("http://169.254.169.254/latest", False),
        ("https://[oops", False),
        ("", False),
        (5, False),
    ],
)
def test_only_vapis_own_addresses_are_told_anything(url: Any, believed: bool) -> None:
    body = {"call": {"monitor": {"controlUrl": url}}}
    assert bool(control_url(body, api_url="http://127.0.0.1:9")) is believed


@pytest.mark.parametrize(
    ("wanted", "line", "answer"),
    [(GRACE, LINE, GRACE), (GRACE, "", None), ("+4313101234", LINE, None)],
)
async def test_a_destination_that_vapi_asks_for(
    wire: Wire, wanted: str, line: str, answer: str | None
) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        asked = {
            "type": "transfer-destination-request",
            "phoneNumber": {"number": line},
            "parameters": {"destination": wanted},
        }
        told = (await wired.tell({"message": asked}, **SECRET)).json
        assert told.get("destination", {}).get("number") == answer
        assert ("error" in told) is (answer is None)
