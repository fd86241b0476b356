"""Speaking with Kokoro, when its model and voices are given as files: `pip install tron[kokoro]`.

Only voices are offered whose language it can read: it gets its phonemes from espeak-ng, which reads
Japanese and Mandarin too badly. The package phonemizes with a copy of the library of its own, so
the hub's own espeak-ng, which stands behind it, is not disturbed.
"""

import logging
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

from tron.calls.audio import pcm_of
from tron.errors import Invalid
from tron.speech.contract import SpeechFailed, SynthesiserFacts, Voice
from tron.speech.given import NotGiven, begin_loading, by_sentence, onnx_session, package, place
from tron.speech.worker import Worker

RATE = 24_000
DEFAULT = "af_heart"
"""a voice's first letter is its language, the second says woman or man"""
LANGUAGES = {
    "a": ("en-us", "American English"),
    "b": ("en-gb", "British English"),
    "e": ("es", "Spanish"),
    "f": ("fr-fr", "French"),
    "h": ("hi", "Hindi"),
    "i": ("it", "Italian"),
    "p": ("pt-br", "Brazilian Portuguese"),
}
PEOPLE = {"f": "woman", "m": "man"}
SLOWEST, FASTEST = 0.5, 2.0
PAUSES_S = {".": 0.25, "!": 0.25, "?": 0.25, ",": 0.1, ";": 0.1, ":": 0.1}
"""after a piece that ends so; the package cuts off the silence that the model makes"""


def given(named: str, home: Path) -> "Kokoro":
    """The engine with the files that are there. Raises NotGiven."""
    package("kokoro_onnx", "kokoro-onnx", "kokoro")
    at = place(named, home / "models" / "kokoro", setting="TRON_TTS_MODEL")
    folder = at if at.is_dir() else at.parent
    models = [at] if at.is_file() else sorted(folder.glob("*.onnx"))
    voices = sorted(folder.glob("voices*.bin")) + sorted(folder.glob("voices*.npz"))
    if len(models) != 1 or len(voices) != 1:
        raise NotGiven(
            f"{folder} should hold one model (*.onnx) and its voices (voices*.bin), and holds "
            f"{len(models)} and {len(voices)}; TRON_TTS_MODEL names the model, its voices beside it"
        )
    return Kokoro(models[0], voices[0])


class Kokoro:
    """The engine."""

    facts = SynthesiserFacts(name="kokoro", local=True, sample_rate=RATE)

    def __init__(self, model: Path, voices: Path) -> None:
        self._model = _Model(model, voices)
        self._worker = Worker("kokoro")

    def start(self) -> None:
        """Load the model in the background, so that no caller waits for it."""
        begin_loading(self._worker, self._model.load)

    async def voices(self) -> list[Voice]:
        return await self._worker.do(self._model.voices)

    def speak(self, text: str, *, voice: str, rate: float = 1.0) -> AsyncGenerator[bytes, None]:
        speed = min(FASTEST, max(SLOWEST, rate))
        make = partial(self._model.speak, voice=voice, speed=speed)
        return by_sentence(self._worker, text, make)

    async def close(self) -> None:
        await self._worker.close()
        self._model.free()


class _Model:
    """The package and the files. Used by one thread at a time."""

    def __init__(self, model: Path, voices: Path) -> None:
        self._files = model, voices
        self._kokoro: Any = None
        self._voices: dict[str, Voice] = {}

    def load(self) -> None:
        """Load both files, once. Raises SpeechFailed."""
        if self._kokoro is not None:
            return
        model, voices = self._files
        session = onnx_session(model)
        try:
            from kokoro_onnx import Kokoro as Package

            kokoro = Package.from_session(session, str(voices))
            names = kokoro.get_voices()
        except Exception as error:  # border: another's library and another's file
            raise SpeechFailed(f"{voices} can't be used: {error}") from error
        for chatty in ("kokoro_onnx", "phonemizer"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        usable = [name for name in names if name[:1] in LANGUAGES and name[2:3] == "_"]
        usable.sort(key=lambda name: (name != DEFAULT, name))
        if not usable:
            raise SpeechFailed(f"{voices} holds no voice of a language that can be read.")
        self._voices = {name: _voice(name) for name in usable}
        self._kokoro = kokoro

    def free(self) -> None:
        if self._kokoro is not None:
            self._kokoro.voices.close()  # a file it reads each voice from
        self._kokoro = None

    def voices(self) -> list[Voice]:
        self.load()
        return list(self._voices.values())

    def speak(self, text: str, *, voice: str, speed: float) -> bytes:
        """Raises SpeechFailed; Invalid for a voice there is not."""
        self.load()
        chosen = self._voices.get(voice) if voice else next(iter(self._voices.values()))
        if chosen is None:
            raise Invalid(f"There is no voice {voice!r}.", param="voice", code="unknown_voice")
        samples, _ = self._kokoro.create(text, chosen.id, speed=speed, lang=chosen.language)
        pause = bytes(2 * int(RATE * PAUSES_S.get(text[-1], 0.0)))
        return pcm_of(samples * 32767) + pause


def _voice(name: str) -> Voice:
    language, described = LANGUAGES[name[0]]
    person = PEOPLE.get(name[1], "voice")
    return Voice(
        id=name,
        name=name[3:].title(),
        language=language,
        engine="kokoro",
        description=f"{described}, {person}; synthetic, made on this machine",
    )
