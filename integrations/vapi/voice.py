"""The hub as a custom voice of VAPI's: text comes in, raw sound goes out.

VAPI pipes what it gets to the caller as it comes: PCM16, mono, at the rate it asked for, streamed.
What fails before the first sound has its own status; what fails or is late after it breaks the
body off, so that VAPI does not take half a sentence for the whole.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from integrations.vapi import wire
from integrations.vapi.wire import Event
from tron.agents.persona import Persona
from tron.errors import Invalid
from tron.speech.contract import SpeechFailed
from tron.speech.streams import at_rate, begun

if TYPE_CHECKING:
    from tron.hub import Hub

TYPE = "voice-request"
RATES = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MOST_CHARS = 5_000
DEADLINE_S = wire.TOOL_TIMEOUT_S - 1.0
"""for all of it; VAPI's server timeout is this long unless it is set otherwise"""


async def speak(hub: "Hub", event: Event, persona: Persona) -> AsyncGenerator[bytes, None]:
    """The sound of a `voice-request`, once its beginning is there.

    Raises Invalid for what can't be said or an unknown rate or voice, SpeechFailed.
    """
    text, rate = _asked(event.body)
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    asked = wire.text(event.body.get("voiceId"), 200)
    try:
        async with asyncio.timeout_at(deadline):
            voice = await hub.speech.choose_voice(asked or None, persona.voice)
            engine = hub.speech.synthesiser
            audio = await begun(engine.speak(text, voice=voice))
    except TimeoutError:
        raise SpeechFailed("No speech in time.") from None
    return _in_time(at_rate(rate, audio, engine.facts.sample_rate), deadline)


def _asked(body: dict[str, Any]) -> tuple[str, int]:
    text, rate = body.get("text"), body.get("sampleRate")
    if not isinstance(text, str) or not text.strip():
        raise Invalid("text: what to say is missing.", param="text")
    if len(text) > MOST_CHARS:
        raise Invalid(f"text: at most {MOST_CHARS} characters at once.", param="text")
    if isinstance(rate, bool) or rate not in RATES:
        rates = ", ".join(map(str, RATES))
        raise Invalid(f"sampleRate: one of {rates}.", param="sampleRate")
    return text, int(rate)


async def _in_time(
    audio: AsyncGenerator[bytes, None], deadline: float
) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(audio):
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    chunk = await anext(audio, None)
            except TimeoutError:
                raise SpeechFailed("The speech did not end in time.") from None
            if chunk is None:
                return
            if chunk:
                yield chunk
