"""Calls the hub makes: by Twilio's own SDK, against an account that talks."""

import msgspec
import pytest

from integrations.twilio.client import TwilioClient
from integrations.twilio.fake import FakeTwilio
from tests.harness.waiting import eventually
from tests.unit.twilio.conftest import Office, Offices
from tron.environment import load_settings
from tron.errors import NotConfigured, ProviderRefused, ProviderUnavailable
from tron.settings import Settings


def settings(twilio: FakeTwilio, **more: str) -> Settings:
    given = {
        "twilio_account_sid": twilio.account_sid,
        "twilio_auth_token": "token,older",
        "twilio_number": "+15005550006",
        "twilio_api_url": twilio.rest_url,
    }
    return load_settings({}, **(given | more))


async def test_texts_refusals_and_a_wrong_token() -> None:
    async with FakeTwilio(hub="http://127.0.0.1:9", auth_token="token") as twilio:
        client = TwilioClient(settings(twilio))
        await client.text("+14155550100", "hello")
        assert twilio.texts[0]["Body"] == "hello"
        assert await client.try_account() == "active"
        with pytest.raises(ProviderRefused, match="21211"):
            await client.call("+99", url="http://x", status_url="http://x")
        await client.hang_up("CA-over-already")
        await client.close()
        wrong = TwilioClient(settings(twilio, twilio_auth_token="wrong"))
        with pytest.raises(ProviderRefused, match="20003"):
            await wrong.text("+14155550100", "hello")
        await wrong.close()


async def test_what_is_missing_is_named() -> None:
    with pytest.raises(NotConfigured, match="TWILIO_ACCOUNT_SID"):
        await TwilioClient(load_settings({})).text("+1", "x")
    numberless = load_settings({}, twilio_account_sid="AC1", twilio_auth_token="t")
    client = TwilioClient(numberless)
    with pytest.raises(NotConfigured, match="TWILIO_PHONE_NUMBER"):
        await client.text("+1", "x")
    await client.close()


async def test_nobody_there() -> None:
    async with FakeTwilio(hub="http://127.0.0.1:9", auth_token="token") as twilio:
        client = TwilioClient(settings(twilio, twilio_api_url="http://127.0.0.1:9"))
        with pytest.raises(ProviderUnavailable):
            await client.text("+14155550100", "hello")
        await client.close()


async def test_a_call_is_placed_for_a_reason(offices: Offices) -> None:
    """What Twilio is told leads back here, with who talks and what they say first."""
    async with FakeTwilio(hub="http://127.0.0.1:9", auth_token="token") as twilio:
        twilio.outcomes["+14155550100"] = "busy"  # so it does not try to reach a server
        async with offices(
            twilio_account_sid=twilio.account_sid,
            twilio_auth_token="token",
            twilio_number="+15005550006",
            twilio_api_url=twilio.rest_url,
            public_url="https://hub.example",
        ) as office:
            body = {"to": "+1 (415) 555-0100", "agent": "maya", "message": "It is done."}
            status, answer = await office.request("POST", "/api/calls", json=body)
            assert status == 200, answer
            placed = msgspec.json.decode(answer)
            assert placed["id"].startswith("CA")
            form = twilio.requests[0]
            assert form["To"] == "+14155550100"
            assert form["StatusCallback"] == "https://hub.example/twilio/status"
            path = form["Url"].removeprefix("https://hub.example")
            assert path.startswith("/twilio/voice?errand=")
            fields = {
                "CallSid": "CA1",
                "From": "+15005550006",
                "To": "+14155550100",
                "Direction": "outbound-api",
            }
            signature = twilio.sign(form["Url"], fields)
            status, document = await office.request(
                "POST", path, fields, X_Twilio_Signature=signature
            )
            assert status == 200, document
            await check_errand(office, document)
            status, _ = await office.request("DELETE", f"/twilio/calls/{placed['id']}")
            assert status == 200
            await eventually(lambda: bool(twilio.calls))


async def check_errand(office: Office, document: str) -> None:
    ticket = document.split('value="')[1].split('"')[0]
    grant = office.twilio._exchange.redeem(ticket)
    assert grant is not None
    assert (grant.agent, grant.greeting, grant.direction) == ("maya", "It is done.", "outbound")


@pytest.mark.parametrize("to", ["", "12", "+0123456789", "+1415555010x", "call me"])
async def test_numbers_that_are_none(office: Office, to: str) -> None:
    status, _ = await office.request("POST", "/api/calls", json={"to": to})
    assert status == 400


async def test_without_an_account(office: Office) -> None:
    status, body = await office.request("POST", "/api/calls", json={"to": "+14155550100"})
    assert status == 503
    assert "TWILIO_ACCOUNT_SID" in body
    status, _ = await office.request(
        "POST", "/api/calls", json={"to": "+14155550100", "agent": "nobody"}
    )
    assert status == 404
