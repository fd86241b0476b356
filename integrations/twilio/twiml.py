"""The TwiML this hub answers with."""

from collections.abc import Iterable

RING_S = 25
"""how long somebody's telephone rings before the persona takes the caller back"""
LONGEST_TEXT = 1_600
"""characters of one text message; Twilio's limit"""


def stream(url: str, *, ticket: str, action: str) -> str:
    """Connect the call to a media stream; then ask `action` what next."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.connect(action=action, method="POST").stream(url=url).parameter(
        name="token", value=ticket
    )
    return str(response)


def relay(url: str, *, ticket: str, action: str, greeting: str) -> str:
    """Connect the call to a ConversationRelay; then ask `action` what next."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    told = {"welcome_greeting": greeting} if greeting else {}
    response.connect(action=action, method="POST").conversation_relay(
        url=url, dtmf_detection=True, interruptible="speech", **told
    ).parameter(name="token", value=ticket)
    return str(response)


def dial(number: str, *, action: str) -> str:
    """Put the caller through; then ask `action` what next."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.dial(action=action, method="POST", timeout=RING_S).number(number)
    return str(response)


def hang_up() -> str:
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.hangup()
    return str(response)


def busy() -> str:
    """Not answered at all: the caller hears a busy tone and nobody pays."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.reject(reason="busy")
    return str(response)


def again(url: str, *, after_s: int) -> str:
    """Hold the line and ask `url` again."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.pause(length=after_s)
    response.redirect(url, method="POST")
    return str(response)


def texts(bodies: Iterable[str]) -> str:
    """Answer a text message; with none, say nothing."""
    from twilio.twiml.messaging_response import MessagingResponse

    response = MessagingResponse()
    for body in bodies:
        response.message(body)
    return str(response)


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
