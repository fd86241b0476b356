"""What speech is to the hub: hearing, speaking, and noticing that somebody speaks.

All audio in here is PCM16 little-endian mono. An engine works in threads or over the network and
never blocks the loop; what belongs to one call is opened from it and closed with the call. An
engine that fails raises `SpeechFailed`; the call goes on with the local one.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextvars import ContextVar
from typing import Protocol

import msgspec

from tron.errors import ProviderError

spoken_by: ContextVar[str] = ContextVar("spoken_by", default="")
"""in the task that reads from `Synthesiser.speak`: the engine that took over from the one asked.
Whoever wants to know sets it to "" before"""


class SpeechFailed(ProviderError):
    """A speech engine could not do it; `retryable` says whether trying again makes sense."""

    type = "speech_failed"


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a recording and what was said in it; times from the recording's beginning."""

    start_ms: int
    end_ms: int
    text: str


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard."""

    text: str
    final: bool
    """False: a partial, which later ones replace; True: the answer to a `commit`"""
    confidence: float | None = None
    """0 to 1; None where the engine does not say"""
    engine: str = ""
    """who heard it; `Results` fills it in of finals"""
    pieces: tuple[Piece, ...] = ()
    """of a whole recording, in order; empty where the engine gives no times"""


class RecogniserFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine can do."""

    name: str
    local: bool
    partials: bool
    sample_rate: int
    """Hz it wants to be fed"""
    languages: tuple[str, ...] = ("en",)


class Hearing(Protocol):
    """One caller being listened to."""

    def feed(self, pcm: bytes) -> None:
        """More audio at the engine's rate. Never blocks; an engine that can't keep up raises
        SpeechFailed in `results`."""
        ...

    def commit(self) -> None:
        """The utterance is over: a final transcript of all that was fed since the last one is due,
        empty if nothing was understood."""
        ...

    def results(self) -> AsyncIterator[Transcript]:
        """Partials as they come, and exactly one final per `commit`. Raises SpeechFailed."""
        ...

    async def close(self) -> None: ...


class Recogniser(Protocol):
    """A speech recognition engine."""

    facts: RecogniserFacts

    async def listen(self) -> Hearing:
        """Begin to listen to one caller. The first one loads the model. Raises SpeechFailed."""
        ...

    async def transcribe(self, pcm: bytes) -> Transcript:
        """A whole recording at once, at the engine's rate. Raises SpeechFailed."""
        ...

    async def close(self) -> None: ...


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """A voice that can be chosen."""

    id: str
    name: str
    language: str
    engine: str
    description: str = ""


class SynthesiserFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine can do."""

    name: str
    local: bool
    sample_rate: int
    """Hz it speaks at"""


class Synthesiser(Protocol):
    """A speech synthesis engine."""

    facts: SynthesiserFacts

    async def voices(self) -> list[Voice]:
        """The voices it has; the first is its default."""
        ...

    def speak(self, text: str, *, voice: str, rate: float = 1.0) -> AsyncGenerator[bytes, None]:
        """Audio of `text` in chunks, the first as early as possible. Closing it early stops the
        engine. `voice`: empty is the default one. `rate`: 1 is the voice's own pace. Raises
        SpeechFailed; Invalid for a voice it does not have."""
        ...

    async def close(self) -> None: ...


class VoiceActivity(Protocol):
    """Notices speech in one caller's audio. Synchronous: it runs for every frame."""

    sample_rate: int

    def speech(self, frame: bytes) -> float:
        """How likely the 20 ms `frame` (at `sample_rate`) holds speech, 0 to 1."""
        ...
