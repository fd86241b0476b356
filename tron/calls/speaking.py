"""The persona's voice on its way to a wire: synthesised, resampled, encoded, in frames of 20 ms."""

from collections.abc import Callable
from contextlib import aclosing

import structlog

from tron.calls import cost
from tron.calls import signals as s
from tron.calls.audio import Resampler, alaw_encode, mulaw_encode
from tron.calls.signals import FRAME_MS, Signal
from tron.calls.wire import WireFacts
from tron.errors import TronError
from tron.speech.contract import Synthesiser, spoken_by

log = structlog.get_logger(__name__)

_ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "mulaw": mulaw_encode,
    "alaw": alaw_encode,
    "pcm16": bytes,
}
_SILENCE = {"mulaw": b"\xff", "alaw": b"\xd5", "pcm16": b"\0"}


class Speaking:
    """Of one call; tells its machine what is made."""

    def __init__(
        self,
        synthesiser: Synthesiser,
        *,
        voice: str,
        facts: WireFacts,
        signal: Callable[[Signal], None],
        call: str,
    ) -> None:
        self._synthesiser = synthesiser
        self._voice = voice
        self._facts = facts
        self._signal = signal
        self._call = call
        self._encode = _ENCODE[facts.played_as]
        width = 2 if facts.played_as == "pcm16" else 1
        self._chunk = facts.played_rate * FRAME_MS // 1000 * width

    async def say(self, say: s.Say, pace: float) -> None:
        """One piece, to its end. `pace`: as a part of the voice's own."""
        resampler = Resampler(self._synthesiser.facts.sample_rate, self._facts.played_rate)
        rest, failed, voiced = b"", False, False
        spoken_by.set("")
        try:
            async with aclosing(
                self._synthesiser.speak(say.text, voice=self._voice, rate=pace)
            ) as speech:
                async for pcm in speech:
                    rest += self._encode(resampler.feed(pcm))
                    whole = len(rest) - len(rest) % self._chunk
                    frames = [rest[i : i + self._chunk] for i in range(0, whole, self._chunk)]
                    rest = rest[whole:]
                    if frames:
                        self._signal(s.SpeechFrames(say.segment, frames))
                    if not voiced:
                        voiced = True
                        engine = spoken_by.get() or self._synthesiser.facts.name
                        self._signal(cost.synthesised(engine, say.text))
            rest += self._encode(resampler.flush())
        except TronError as error:
            log.error("call.mute", call=self._call, error=error.type)
            failed = True
        if rest:
            filled = rest.ljust(
                -(-len(rest) // self._chunk) * self._chunk, _SILENCE[self._facts.played_as]
            )
            frames = [filled[i : i + self._chunk] for i in range(0, len(filled), self._chunk)]
            self._signal(s.SpeechFrames(say.segment, frames))
        self._signal(s.SpeechOver(say.segment, failed=failed))
