"""The documents Twilio is answered with: well-formed, whatever text is in them."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.twilio import twiml
from integrations.twilio.exchange import Errand
from tests.unit.twilio.conftest import Office, Offices

ANY = st.text(st.characters(exclude_categories=()))
"""control characters, lone surrogates and what is no character included"""


def words(text: str | None) -> str:
    return "".join((text or "").split())


def allowed(text: str) -> str:
    """What XML 1.0 can say of `text`, without its blanks."""
    return words(
        "".join(
            char
            for char in text
            if char in "\t\n\r"
            or " " <= char <= "\ud7ff"
            or "\ue000" <= char <= "\ufffd"
            or char >= "\U00010000"
        )
    )


def parsed(document: str) -> ElementTree.Element:
    return ElementTree.fromstring(document.encode())


@given(ANY)
def test_every_document_is_well_formed_and_says_what_can_be_said(text: str) -> None:
    connected = parsed(twiml.relay(text, ticket=text, action=text, greeting=text))
    assert words(connected[0].get("action")) == allowed(text)
    assert words(connected[0][0].get("welcomeGreeting")) == allowed(text)
    assert words(connected[0][0][0].get("value")) == allowed(text)
    streamed = parsed(twiml.stream(text, ticket=text, action=text))
    assert words(streamed[0][0].get("url")) == allowed(text)
    dialled = parsed(twiml.dial(text, action=text))
    assert words("".join(dialled.itertext())) == allowed(text)
    held = parsed(twiml.again(text, after_s=3))
    assert words("".join(held.itertext())) == allowed(text)
    answered = parsed(twiml.texts([text, text]))
    assert words("".join(answered.itertext())) == 2 * allowed(text)


def test_documents_without_text_are_well_formed() -> None:
    assert [verb.tag for verb in parsed(twiml.hang_up())] == ["Hangup"]
    assert [verb.tag for verb in parsed(twiml.busy())] == ["Reject"]
    assert twiml.hang_up().startswith('<?xml version="1.0" encoding="UTF-8"?>')


@pytest.mark.parametrize("message", ["Hello\u000b there\u0000.", "Hello there\ufffe."])
async def test_who_is_rung_is_greeted_whatever_the_message_has_in_it(
    offices: Offices, message: str
) -> None:
    async with offices(twilio_mode="relay") as office:
        document, ticket = await answered(office, message)
        noun = document.find("Connect/ConversationRelay")
        assert noun is not None
        assert noun.get("welcomeGreeting") == "Hello there."
        assert ticket


async def answered(office: Office, message: str) -> tuple[ElementTree.Element, str]:
    """What the carrier is told once somebody who was rung answers."""
    errand = office.twilio._exchange.send_out(Errand(agent=None, message=message))
    return await office.voice(f"/twilio/voice?errand={errand}", Direction="outbound-api")
