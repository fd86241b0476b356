"""Text messages: answered by a persona, once, in time or later."""

import asyncio
from typing import Any
from xml.etree import ElementTree

import pytest

from integrations.twilio import texts, twiml
from tests.harness.waiting import eventually
from tests.unit.twilio.conftest import Office, Offices
from tron.errors import ProviderUnavailable
from tron.storage.tables import HOUSE


async def text(office: Office, body: str, **fields: str) -> list[str]:
    form = {"MessageSid": "SM1", "From": "+14155550100", "Body": body, "NumMedia": "0"} | fields
    status, document = await office.request("POST", "/twilio/sms", form)
    assert status == 200, document
    return ["".join(m.itertext()) for m in ElementTree.fromstring(document).iter("Message")]


async def test_a_text_is_answered_in_the_conversation_of_its_number(office: Office) -> None:
    (said,) = await text(office, "What time is it?")
    assert ":" in said
    await text(office, "And what can you do?", MessageSid="SM2")
    (session,) = await office.hub.sessions.listing(HOUSE)
    assert (session.caller, session.channel, session.message_count) == ("+14155550100", "sms", 4)


async def test_one_delivered_twice_is_answered_once(office: Office) -> None:
    first, second = await asyncio.gather(text(office, "Hi"), text(office, "Hi"))
    assert first == second
    (session,) = await office.hub.sessions.listing(HOUSE)
    assert session.message_count == 2


async def test_what_needs_no_answer(office: Office) -> None:
    assert await text(office, "STOP", OptOutType="STOP") == []
    assert await text(office, "  ") == []
    assert await office.hub.sessions.listing(HOUSE) == []
    assert await text(office, "", NumMedia="2", MessageSid="SM3")


async def test_somebody_without_a_number(office: Office) -> None:
    status, _ = await office.request("POST", "/twilio/sms", {"Body": "hi"})
    assert status == 400


async def test_an_answer_that_takes_long_is_sent_later(
    offices: Offices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "PATIENCE_S", 0.0)
    async with offices(twilio_account_sid="AC1", twilio_auth_token="") as office:
        sent: list[tuple[str, str]] = []

        async def send(to: str, body: str) -> None:
            sent.append((to, body))

        client: Any = office.twilio._client
        client._token = "t"
        monkeypatch.setattr(client, "text", send)
        assert await text(office, "What time is it?") == []
        await eventually(lambda: len(sent) == 1)
        assert sent[0][0] == "+14155550100"
        assert ":" in sent[0][1]


async def test_the_sender_is_told_when_nothing_works(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(turn: Any) -> Any:
        raise ProviderUnavailable("down")

    monkeypatch.setattr(office.hub.door, "ask", broken)
    assert await text(office, "Hi") == [texts.SORRY]


def test_long_answers_are_cut_between_words() -> None:
    words = " ".join(f"word{number}" for number in range(1_000))
    parts = twiml.parts(words)
    assert " ".join(parts) == words
    assert all(len(part) <= twiml.LONGEST_TEXT for part in parts)
    assert twiml.parts("x" * 3_201) == ["x" * 1_600, "x" * 1_600, "x"]
    assert twiml.parts(" ") == []
