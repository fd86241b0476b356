"""The engines this hub hears and speaks with, as its settings say.

Owns them all: which one is used, that the local one stands behind every other, and their end.
Nothing is loaded here: a model, a connection or a library comes with the first caller who needs
it, so a hub that nobody phones pays nothing for its ears. Only models that the operator brings as
files are loaded when the hub starts to serve (`start`): they are large, and were asked for.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from tron import events
from tron.breaker import CircuitBreaker
from tron.clock import Clock
from tron.errors import Invalid
from tron.events import Bus
from tron.settings import Settings, SettingsError
from tron.speech import deepgram, elevenlabs, kokoro, openai, piper, whisper
from tron.speech.contract import Recogniser, SpeechFailed, Synthesiser, Voice, VoiceActivity
from tron.speech.espeak import Espeak
from tron.speech.fake import FakeRecogniser, FakeSynthesiser
from tron.speech.fallback import FallbackRecogniser, FallbackSynthesiser
from tron.speech.given import NotGiven
from tron.speech.moonshine import Moonshine
from tron.speech.remote import Remote
from tron.speech.silero import Silero
from tron.storage.tables import HOUSE

RECOGNISERS: dict[str, Any] = {
    "openai": openai.OpenAIRecogniser,
    "elevenlabs": elevenlabs.ElevenLabsRecogniser,
    "deepgram": deepgram.DeepgramRecogniser,
}
SYNTHESISERS: dict[str, Any] = {
    "openai": openai.OpenAISynthesiser,
    "elevenlabs": elevenlabs.ElevenLabsSynthesiser,
    "deepgram": deepgram.DeepgramSynthesiser,
}

GIVEN_VOICES: dict[str, Callable[[str, Path], kokoro.Kokoro | piper.Piper]] = {
    "kokoro": kokoro.given,
    "piper": piper.given,
}
ALONE = ("local", "fake")
"""engines with nothing behind them"""

log = structlog.get_logger(__name__)


class Speech:
    """See the module."""

    def __init__(self, settings: Settings, *, clock: Clock, bus: Bus) -> None:
        """Raises SettingsError if an engine is asked for whose model or package is not there."""
        self._settings = settings
        self._clock = clock
        self._bus = bus
        self._silero = Silero()
        self.local_ears: Recogniser = Moonshine()
        """behind every other, as is `local_mouth`"""
        self.local_mouth: Synthesiser = Espeak()
        self._given: list[whisper.Whisper | kokoro.Kokoro | piper.Piper] = []
        self.ears: Recogniser = self._chosen_ears()
        """the engine that was chosen, without the one behind it"""
        self.mouth: Synthesiser = self._chosen_mouth()
        self.recogniser: Recogniser = self._recogniser()
        self.synthesiser: Synthesiser = self._synthesiser()

    def start(self) -> None:
        """Begin to load the models that were given, in their threads."""
        for engine in self._given:
            engine.start()

    async def activity(self, sample_rate: int) -> VoiceActivity:
        """A detector for one caller whose audio comes at `sample_rate`; its own rate may differ
        (it says so). Raises SpeechFailed."""
        return await self._silero.listen(8_000 if sample_rate < 16_000 else 16_000)

    async def voices(self) -> list[Voice]:
        """The voices that can be asked for; the first is the default. Raises SpeechFailed."""
        return await self.synthesiser.voices()

    async def choose_voice(self, asked: str | None, usual: str = "") -> str:
        """The voice to speak with: the one asked for, else the usual one if this engine has it,
        else the engine's default (empty).

        Raises Invalid for one that was asked for and does not exist. A provider that can't say
        which voices it has is not waited for: its default is used.
        """
        if not asked and not usual:
            return ""
        try:
            known = await self.has_voice(asked or usual)
        except SpeechFailed as error:
            log.warning(
                "speech.voices_unknown", engine=self.synthesiser.facts.name, error=str(error)
            )
            return ""
        if asked and not known:
            raise Invalid(f"There is no voice {asked!r}.", param="voice_id", code="unknown_voice")
        return (asked or usual) if known else ""

    async def has_voice(self, id: str) -> bool:
        """Whether the engine in use has this voice. Raises SpeechFailed."""
        return any(voice.id == id for voice in await self.synthesiser.voices())

    async def close(self) -> None:
        for engine in (self.recogniser, self.synthesiser, self.local_ears, self.local_mouth):
            await engine.close()

    def _chosen_ears(self) -> Recogniser:
        settings = self._settings
        match settings.stt:
            case "local":
                return self.local_ears
            case "fake":
                return FakeRecogniser(
                    text=settings.fake_transcript, delay_s=settings.fake_stt_delay_ms / 1000
                )
            case "whisper":
                with _asked_for("TRON_STT", settings.stt):
                    ears = whisper.given(settings.stt_model, settings.home)
                self._given.append(ears)
                return ears
            case provider:
                made: Recogniser = RECOGNISERS[provider](
                    self._remote(provider), model=settings.stt_model
                )
                return made

    def _chosen_mouth(self) -> Synthesiser:
        settings = self._settings
        match settings.tts:
            case "local":
                return self.local_mouth
            case "fake":
                return FakeSynthesiser(delay_s=settings.fake_tts_delay_ms / 1000)
            case "kokoro" | "piper" as name:
                with _asked_for("TRON_TTS", name):
                    mouth = GIVEN_VOICES[name](settings.tts_model, settings.home)
                self._given.append(mouth)
                return mouth
            case provider:
                made: Synthesiser = SYNTHESISERS[provider](
                    self._remote(provider), model=settings.tts_model
                )
                return made

    def _recogniser(self) -> Recogniser:
        if self._settings.stt in ALONE:
            return self.ears
        return FallbackRecogniser(
            self.ears,
            self.local_ears,
            breaker=CircuitBreaker(self._clock),
            silence_s=self._settings.speech_timeout_s,
            failed=partial(self._failed, "stt"),
        )

    def _synthesiser(self) -> Synthesiser:
        if self._settings.tts in ALONE:
            return self.mouth
        return FallbackSynthesiser(
            self.mouth,
            self.local_mouth,
            breaker=CircuitBreaker(self._clock),
            silence_s=self._settings.speech_timeout_s,
            failed=partial(self._failed, "tts"),
        )

    def _remote(self, provider: str) -> Remote:
        settings = self._settings
        connect, url, key = {
            "openai": (openai.remote, settings.openai_base_url, settings.openai_api_key),
            "elevenlabs": (
                elevenlabs.remote,
                settings.elevenlabs_api_url,
                settings.elevenlabs_api_key,
            ),
            "deepgram": (deepgram.remote, settings.deepgram_api_url, settings.deepgram_api_key),
        }[provider]
        return connect(url, key, silence_s=settings.speech_timeout_s)

    def _failed(self, kind: str, provider: str, error: SpeechFailed) -> None:
        """The local engine has taken over from the chosen one."""
        log.warning("speech.fell_back", kind=kind, provider=provider, error=error.message)
        local = (self.local_ears if kind == "stt" else self.local_mouth).facts.name
        self._bus.publish(
            events.ProviderFailed(
                at=self._clock.now_ms(),
                client_id=HOUSE,
                provider=f"{provider}-{kind}",
                error=error.code or error.type,
                fallback=local,
            )
        )


@contextmanager
def _asked_for(setting: str, engine: str) -> Iterator[None]:
    """Makes what is missing for an engine a fault of the setting that asks for it."""
    try:
        yield
    except NotGiven as error:
        raise SettingsError(f"{setting}={engine}: {error}") from None
