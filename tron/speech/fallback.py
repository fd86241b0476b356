"""A provider's engine with the local one behind it, for callers who must not notice.

When the provider refuses, fails, falls silent or breaks off, the local engine goes on with the
same call: what was heard since the last final is heard again by it, and of a sentence that broke
off it says the rest. After some failures in a row the provider is left alone for a while
(a circuit breaker), so its outage costs a call nothing.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from tron.breaker import CircuitBreaker
from tron.calls.audio import Resampler, duration_ms
from tron.speech.contract import (
    Hearing,
    Recogniser,
    RecogniserFacts,
    SpeechFailed,
    Synthesiser,
    SynthesiserFacts,
    Transcript,
    Voice,
    spoken_by,
)
from tron.speech.results import Results
from tron.supervise import Tasks

Failed = Callable[[str, SpeechFailed], None]
"""called with the provider's name when the local engine takes over"""

KEPT_S = 60.0
"""seconds of unanswered speech kept for the local engine; of more, the beginning is lost to it"""
CHARACTERS_PER_S = 15.0
"""how fast voices read English, roughly"""
PARTING_S = 2.0
OVERLAP_S = 0.7
"""said twice rather than not at all"""


class FallbackRecogniser:
    """Hears with `engine` while that works, else with `local`, which wants the same rate."""

    def __init__(
        self,
        engine: Recogniser,
        local: Recogniser,
        *,
        breaker: CircuitBreaker,
        silence_s: float,
        failed: Failed,
    ) -> None:
        """`silence_s`: how long a final may take."""
        assert engine.facts.sample_rate == local.facts.sample_rate
        self.facts: RecogniserFacts = engine.facts
        self._engine = engine
        self._local = local
        self._breaker = breaker
        self._silence_s = silence_s
        self._failed = failed
        self._parting = Tasks("parting")

    async def listen(self) -> Hearing:
        if self._breaker.allow():
            try:
                hearing = await self._engine.listen()
            except SpeechFailed as error:
                self.give_up(error)
            except asyncio.CancelledError:
                self._breaker.abandoned()
                raise
            else:
                return FallbackHearing(self, hearing, silence_s=self._silence_s)
        return await self._local.listen()

    async def transcribe(self, pcm: bytes) -> Transcript:
        if self._breaker.allow():
            try:
                heard = await self._engine.transcribe(pcm)
            except SpeechFailed as error:
                self.give_up(error)
            except asyncio.CancelledError:
                self._breaker.abandoned()
                raise
            else:
                self._breaker.succeeded()
                return heard
        return await self._local.transcribe(pcm)

    def give_up(self, error: SpeechFailed) -> None:
        self._breaker.failed()
        self._failed(self.facts.name, error)

    def answered(self) -> None:
        self._breaker.succeeded()

    async def listen_locally(self) -> Hearing:
        return await self._local.listen()

    def part_with(self, hearing: Hearing) -> None:
        """Close what a caller needs no more; the call may be over before that is done."""
        self._parting.start(hearing.close(), "close")

    async def close(self) -> None:
        await self._parting.drain(PARTING_S)
        await self._parting.close()
        await self._engine.close()


class FallbackHearing:
    """One caller. Keeps what is not answered yet, to let the local engine hear it if need be."""

    def __init__(self, engine: FallbackRecogniser, hearing: Hearing, *, silence_s: float) -> None:
        self._engine = engine
        self._hearing: Hearing | None = hearing
        self._silence_s = silence_s
        self._unanswered: deque[bytearray] = deque([bytearray()])
        """the utterances whose final is due, and the present one"""
        self._deadlines: deque[asyncio.TimerHandle] = deque()
        self._local = False
        self._results = Results()
        self._tasks = Tasks("hearing")
        self._tasks.start(self._listen(hearing), "listen")

    def feed(self, pcm: bytes) -> None:
        if not self._local:
            kept = self._unanswered[-1]
            kept += pcm
            excess = len(kept) - int(KEPT_S * self._engine.facts.sample_rate) * 2
            if excess > 0:
                del kept[: excess + (excess & 1)]
        if self._hearing is not None:
            self._hearing.feed(pcm)
        elif self._local:  # it is being opened
            self._unanswered[-1] += pcm

    def commit(self) -> None:
        self._unanswered.append(bytearray())
        if self._hearing is not None:
            self._hearing.commit()
        if not self._local:
            loop = asyncio.get_running_loop()
            self._deadlines.append(loop.call_later(self._silence_s, self._too_late))

    def results(self) -> AsyncIterator[Transcript]:
        return self._results.read()

    async def close(self) -> None:
        self._results.close()
        for deadline in self._deadlines:
            deadline.cancel()
        await self._tasks.close()
        if self._hearing is not None:
            await self._hearing.close()

    async def _listen(self, hearing: Hearing) -> None:
        try:
            async for heard in hearing.results():
                if self._hearing is not hearing:
                    return  # too late
                if not heard.final or self._answered():
                    self._results.add(heard)
        except SpeechFailed as error:
            if self._hearing is not hearing:
                return
            if self._local:
                self._results.fail(error)
            else:
                self._take_over(error)

    def _answered(self) -> bool:
        """A final came: whether one was due."""
        if len(self._unanswered) == 1:
            return False
        self._unanswered.popleft()
        if self._deadlines:
            self._deadlines.popleft().cancel()
        if not self._local:
            self._engine.answered()
        return True

    def _too_late(self) -> None:
        if not self._local:
            self._take_over(SpeechFailed("No final transcript in time."))

    def _take_over(self, error: SpeechFailed) -> None:
        self._engine.give_up(error)
        for deadline in self._deadlines:
            deadline.cancel()
        self._deadlines.clear()
        if self._hearing is not None:
            self._engine.part_with(self._hearing)
        self._hearing, self._local = None, True
        self._tasks.start(self._open_local(), "fallback")

    async def _open_local(self) -> None:
        try:
            hearing = await self._engine.listen_locally()
        except SpeechFailed as error:
            self._results.fail(error)
            return
        # No await from here to the end of the replay: nothing said meanwhile is lost or reordered.
        for at, audio in enumerate(self._unanswered):
            hearing.feed(bytes(audio))
            audio.clear()
            if at < len(self._unanswered) - 1:
                hearing.commit()
        self._hearing = hearing
        self._tasks.start(self._listen(hearing), "listen")


class FallbackSynthesiser:
    """Speaks with `engine` while that works, else with `local`, at the rate of `engine`."""

    def __init__(
        self,
        engine: Synthesiser,
        local: Synthesiser,
        *,
        breaker: CircuitBreaker,
        silence_s: float,
        failed: Failed,
    ) -> None:
        """`silence_s`: how long the first or a further chunk may take."""
        self.facts: SynthesiserFacts = engine.facts
        self._engine = engine
        self._local = local
        self._breaker = breaker
        self._silence_s = silence_s
        self._failed = failed

    async def voices(self) -> list[Voice]:
        return await self._engine.voices()

    async def speak(
        self, text: str, *, voice: str, rate: float = 1.0
    ) -> AsyncGenerator[bytes, None]:
        said_ms = 0.0
        if self._breaker.allow():
            try:
                async with contextlib.aclosing(self._in_time(text, voice, rate)) as audio:
                    async for chunk in audio:
                        said_ms += duration_ms(chunk, self.facts.sample_rate)
                        yield chunk
                self._breaker.succeeded()
            except SpeechFailed as error:
                self._breaker.failed()
                self._failed(self.facts.name, error)
            except BaseException:
                self._breaker.abandoned()
                raise
            else:
                return
        rest = remainder(text, said_ms / 1000, rate)
        async with contextlib.aclosing(self._say_locally(rest, rate)) as audio:
            async for chunk in audio:
                yield chunk

    async def close(self) -> None:
        await self._engine.close()

    async def _in_time(self, text: str, voice: str, rate: float) -> AsyncGenerator[bytes, None]:
        silent = True
        async with contextlib.aclosing(self._engine.speak(text, voice=voice, rate=rate)) as audio:
            while True:
                try:
                    async with asyncio.timeout(self._silence_s):
                        chunk = await anext(audio)
                except StopAsyncIteration:
                    break
                except TimeoutError:
                    raise SpeechFailed("No speech in time.") from None
                silent = silent and not chunk
                yield chunk
        if silent and any(character.isalnum() for character in text):
            raise SpeechFailed("The answer holds no speech.")

    async def _say_locally(self, text: str, rate: float) -> AsyncGenerator[bytes, None]:
        spoken_by.set(self._local.facts.name)
        resampler = Resampler(self._local.facts.sample_rate, self.facts.sample_rate)
        async with contextlib.aclosing(self._local.speak(text, voice="", rate=rate)) as audio:
            async for chunk in audio:
                if made := resampler.feed(chunk):
                    yield made
        if rest := resampler.flush():
            yield rest


def remainder(text: str, said_s: float, rate: float = 1.0) -> str:
    """What is left to say of a text of which `said_s` seconds were spoken, from a word's start.

    Where the voice was is an estimate, so the last words before it are said again.
    """
    if said_s <= 0:
        return text
    at = int((said_s - OVERLAP_S) * CHARACTERS_PER_S * rate)
    if at <= 0:
        return text
    at = min(at, len(text) - 1)
    return text[text.rfind(" ", 0, at) + 1 :]
