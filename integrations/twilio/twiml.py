"""The TwiML this hub answers with.

It is well-formed whatever texts are put in: what XML can't say of them is left out.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from twilio.twiml import TwiML

RING_S = 25
"""how long somebody's telephone rings before the persona takes the caller back"""
LONGEST_TEXT = 1_600
"""characters of one text message; Twilio's limit"""
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def stream(url: str, *, ticket: str, action: str) -> str:
    """Connect the call to a media stream; then ask `action` what next."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.connect(action=action, method="POST").stream(url=url).parameter(
        name="token", value=ticket
    )
    return _written(response)


def relay(url: str, *, ticket: str, action: str, greeting: str) -> str:
    """Connect the call to a ConversationRelay; then ask `action` what next."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    told = {"welcome_greeting": greeting} if greeting else {}
    response.connect(action=action, method="POST").conversation_relay(
        url=url, dtmf_detection=True, interruptible="speech", **told
    ).parameter(name="token", value=ticket)
    return _written(response)


def dial(number: str, *, action: str) -> str:
    """Put the caller through; then ask `action` what next."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.dial(action=action, method="POST", timeout=RING_S).number(number)
    return _written(response)


def hang_up() -> str:
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.hangup()
    return _written(response)


def busy() -> str:
    """Not answered at all: the caller hears a busy tone and nobody pays."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.reject(reason="busy")
    return _written(response)


def again(url: str, *, after_s: int) -> str:
    """Hold the line and ask `url` again."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.pause(length=after_s)
    response.redirect(url, method="POST")
    return _written(response)


def texts(bodies: Iterable[str]) -> str:
    """Answer a text message; with none, say nothing."""
    from twilio.twiml.messaging_response import MessagingResponse

    response = MessagingResponse()
    for body in bodies:
        response.message(body)
    return _written(response)


def _written(response: "TwiML") -> str:
    """As a document, without the characters that XML 1.0 does not allow."""
    tree = response.xml()
    for element in tree.iter():
        element.text = _NOT_XML.sub("", element.text or "")
        for name, value in element.items():
            element.set(name, _NOT_XML.sub("", value))
    body = ElementTree.tostring(tree, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>{body}'


def parts(text: str) -> list[str]:
    """A long answer as several messages, cut between words."""
    found = []
    rest = text.strip()
    while len(rest) > LONGEST_TEXT:
        space = rest.rfind(" ", 1, LONGEST_TEXT)
        cut = space if space > 0 else LONGEST_TEXT
        found.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*found, rest] if rest else found
