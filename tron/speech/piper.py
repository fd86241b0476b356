"""Speaking with Piper, when its voices are given as files: `pip install tron[piper]`.

Each voice is a model (`en_US-lessac-medium.onnx`) with its description beside it
(`en_US-lessac-medium.onnx.json`). A voice of many speakers is listed once for each of them. Voices
are loaded when they are first spoken with, the default one at start; a few stay loaded.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from tron.calls.audio import resample
from tron.errors import Invalid
from tron.speech.contract import SpeechFailed, SynthesiserFacts, Voice
from tron.speech.given import NotGiven, begin_loading, by_sentence, onnx_session, package, place
from tron.speech.worker import Worker

RATE = 22_050
"""of most voices; the others are converted"""
MOST_LOADED = 4
"""models kept in memory, of 20 to 120 MB each"""
READ = ("espeak", "text")
"""how a voice's text becomes phonemes; other ways need further packages, and downloads"""
SLOWEST, FASTEST = 0.25, 4.0


class Speaker(msgspec.Struct, frozen=True, kw_only=True):
    """One who can be chosen."""

    voice: Voice
    model: Path
    number: int | None
    """among the model's speakers; None: it has one"""


def given(named: str, home: Path) -> "Piper":
    """The engine with the voices that are there. Raises NotGiven."""
    package("piper", "piper-tts", "piper")
    at = place(named, home / "models" / "piper", setting="TRON_TTS_MODEL")
    models = [at] if at.is_file() else sorted(at.glob("*.onnx"))
    found = [speaker for model in models for speaker in _speakers(model)]
    if not found:
        raise NotGiven(
            f"{at} holds no voice that can be used (a *.onnx with its *.onnx.json beside it); put "
            "one there, or name it in TRON_TTS_MODEL"
        )
    found.sort(key=lambda speaker: not speaker.voice.language.startswith("en"))
    return Piper({speaker.voice.id: speaker for speaker in found})


def _speakers(model: Path) -> list[Speaker]:
    """Those of one model; none if its text can't be read here. Raises NotGiven."""
    described = model.with_name(f"{model.name}.json")
    try:
        config = json.loads(described.read_bytes())
        if config.get("phoneme_type", "espeak") not in READ:
            return []
        code = (config.get("language") or {}).get("code") or config["espeak"]["voice"]
        quality = config["audio"].get("quality")
        names = config.get("speaker_id_map") or {}
        count = config["num_speakers"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotGiven(f"{described} can't be read ({type(error).__name__})") from None
    numbers = names or {str(number): number for number in range(count)}
    about = ", ".join(part for part in (quality and f"{quality} quality", "synthetic") if part)

    def speaker(name: str | None, number: int | None) -> Speaker:
        voice = Voice(
            id=model.stem if name is None else f"{model.stem}+{name}",
            name=model.stem if name is None else f"{model.stem}, speaker {name}",
            language=code.replace("_", "-").lower(),
            engine="piper",
            description=f"{about}, made on this machine",
        )
        return Speaker(voice=voice, model=model, number=number)

    if count <= 1:
        return [speaker(None, None)]
    return [speaker(name, number) for name, number in numbers.items()]


class Piper:
    """The engine."""

    facts = SynthesiserFacts(name="piper", local=True, sample_rate=RATE)

    def __init__(self, speakers: dict[str, Speaker]) -> None:
        """`speakers`: by voice id, the default first."""
        self._speakers = speakers
        self._models = _Models()
        self._worker = Worker("piper")

    def start(self) -> None:
        """Load the default voice in the background, so that no caller waits for it."""
        first = next(iter(self._speakers.values()))
        begin_loading(self._worker, partial(self._models.load, first.model))

    async def voices(self) -> list[Voice]:
        return [speaker.voice for speaker in self._speakers.values()]

    def speak(self, text: str, *, voice: str, rate: float = 1.0) -> AsyncGenerator[bytes, None]:
        pace = min(FASTEST, max(SLOWEST, rate))
        return by_sentence(self._worker, text, partial(self._say, voice=voice, rate=pace))

    async def close(self) -> None:
        await self._worker.close()

    def _say(self, text: str, *, voice: str, rate: float) -> bytes:
        speaker = self._speakers.get(voice or next(iter(self._speakers)))
        if speaker is None:
            raise Invalid(f"There is no voice {voice!r}.", param="voice", code="unknown_voice")
        return self._models.speak(text, speaker=speaker, rate=rate)


class _Models:
    """The package and the files. Used by one thread at a time."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[Path, Any] = OrderedDict()

    def load(self, model: Path) -> Any:
        """The package's voice for a model; loaded unless it still is. Raises SpeechFailed."""
        if (voice := self._loaded.get(model)) is None:
            session = onnx_session(model)
            try:
                from piper import PiperConfig, PiperVoice

                logging.getLogger("piper").setLevel(logging.ERROR)
                config = json.loads(model.with_name(f"{model.name}.json").read_bytes())
                voice = PiperVoice(
                    session=session,
                    config=PiperConfig.from_dict(config),
                    download_dir=model.parent,
                )
            except Exception as error:  # border: another's library and another's file
                raise SpeechFailed(f"{model} can't be used: {error!r}") from error
            self._loaded[model] = voice
            if len(self._loaded) > MOST_LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(model)
        return voice

    def speak(self, text: str, *, speaker: Speaker, rate: float) -> bytes:
        voice = self.load(speaker.model)
        from piper import SynthesisConfig

        manner = SynthesisConfig(
            speaker_id=speaker.number, length_scale=voice.config.length_scale / rate
        )
        pcm = b"".join(made.audio_int16_bytes for made in voice.synthesize(text, manner))
        theirs = voice.config.sample_rate
        return pcm if theirs == RATE else resample(pcm, theirs, RATE)
