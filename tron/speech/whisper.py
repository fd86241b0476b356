"""Hearing with Whisper, when a model of it is given: `pip install tron[whisper]`.

The model is a folder as faster-whisper's are: `model.bin`, `config.json`, `tokenizer.json` and its
vocabulary. The package would fetch what is missing from the network; it is never let near it. Each
utterance is decoded when it is over, because the model always takes the time of half a minute: no
partials.
"""

import logging
from pathlib import Path
from typing import Any

from tron.calls.audio import samples_of
from tron.speech.contract import RecogniserFacts, SpeechFailed, Transcript
from tron.speech.decoded import RATE, DecodedHearing, Decoder
from tron.speech.given import NotGiven, begin_loading, package, place, threads
from tron.speech.worker import Worker

LONGEST_S = 28.0
"""it looks at 30 s at a time"""
NEEDED = ("model.bin", "config.json", "tokenizer.json")


def given(named: str, home: Path) -> "Whisper":
    """The engine with the model that is there. Raises NotGiven."""
    package("faster_whisper", "faster-whisper", "whisper")
    at = place(named, home / "models" / "whisper", setting="TRON_STT_MODEL")
    folder = at if at.is_dir() else at.parent
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise NotGiven(
            f"{folder} holds no {' and no '.join(missing)}; put a faster-whisper model there, or "
            "name its folder in TRON_STT_MODEL"
        )
    return Whisper(folder)


class Whisper:
    """The engine."""

    # Which languages it hears is the model's affair; it finds out which one is spoken.
    facts = RecogniserFacts(
        name="whisper", local=True, partials=False, sample_rate=RATE, languages=("*",)
    )

    def __init__(self, folder: Path) -> None:
        self._model = _Model(folder)
        self._worker = Worker("whisper")
        self._decoder = Decoder(
            name="whisper",
            text=self._model.text,
            worker=self._worker,
            longest_s=LONGEST_S,
            partials=False,
        )

    def start(self) -> None:
        """Load the model in the background, so that no caller waits for it."""
        begin_loading(self._worker, self._model.load)

    async def listen(self) -> DecodedHearing:
        if not self._model.loaded:
            await self._worker.do(self._model.load)
        return DecodedHearing(self._decoder)

    async def transcribe(self, pcm: bytes) -> Transcript:
        return await self._decoder.transcribe(pcm)

    async def close(self) -> None:
        await self._worker.close()


class _Model:
    """The package and the folder. Used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._whisper: Any = None

    @property
    def loaded(self) -> bool:
        return self._whisper is not None

    def load(self) -> None:
        """Load the model, once. Raises SpeechFailed."""
        if self.loaded:
            return
        try:
            from faster_whisper import WhisperModel

            logging.getLogger("faster_whisper").setLevel(logging.WARNING)
            self._whisper = WhisperModel(
                str(self._folder),
                device="cpu",
                compute_type="int8",
                cpu_threads=threads(),
                local_files_only=True,
            )
        except Exception as error:  # border: another's library and another's files
            raise SpeechFailed(f"{self._folder} can't be loaded: {error}") from error

    def text(self, pcm: bytes) -> str:
        """What is said in `pcm`."""
        import numpy as np

        self.load()
        samples = samples_of(pcm).astype(np.float32) / 32768
        try:
            # One try and no search: a caller waits. What it is not sure of, it gives all the same.
            found, _ = self._whisper.transcribe(
                samples,
                beam_size=1,
                temperature=0.0,
                condition_on_previous_text=False,
                without_timestamps=True,
            )
            return " ".join(part.text.strip() for part in found).strip()
        except Exception as error:  # border: another's library
            raise SpeechFailed(f"whisper failed ({type(error).__name__}).") from error
