"""Speaking without a network: espeak-ng, from the shared library inside `espeakng-loader`.

The library has one state for the whole process (voice, rate, callback), so one thread speaks for
all callers. That is enough: it makes a sentence in about 3 ms, so even a hundred callers hardly
wait for each other. A text is spoken sentence by sentence, the next one when the one before has
been taken: what is held is bounded by a sentence, callers take turns, and closing a `speak`
stops it within 20 ms of audio.
"""

import asyncio
import ctypes
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tron.errors import Invalid
from tron.speech.contract import SpeechFailed, SynthesiserFacts, Voice
from tron.speech.pieces import sentences
from tron.speech.worker import Worker

RATE = 22_050
DEFAULT = "en-us"
"""a voice is `<language>` or `<language>+<variant>`"""
LONGEST = 400
"""characters spoken in one go, about 25 s"""
FIRST_BYTES, CHUNK_BYTES = RATE * 2 // 25, RATE * 2 // 5
"""the first chunk holds 40 ms, the others 200 ms"""

_WORDS_PER_MINUTE = 175
_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_BUFFER_MS = 60
_UTF8, _END_PAUSE = 0x01, 0x1000
_RATE_PARAMETER = 1

VARIANTS = {f"m{n}": f"man {n}" for n in range(1, 9)} | {f"f{n}": f"woman {n}" for n in range(1, 6)}
ENGLISH = ("en-us", "en-gb")
"""come in every variant; other languages in the language's own voice (a man's) and a woman's"""
WOMAN = "f2"


class Espeak:
    """The engine. The library is loaded with the first word or question."""

    facts = SynthesiserFacts(name="espeak", local=True, sample_rate=RATE)

    def __init__(self) -> None:
        self._library = _Library()
        self._worker = Worker("espeak")
        self._voices: dict[str, tuple[Voice, str]] = {}
        """by id: the voice and what the library calls it"""

    async def voices(self) -> list[Voice]:
        return [voice for voice, _ in (await self._known()).values()]

    async def speak(
        self, text: str, *, voice: str, rate: float = 1.0
    ) -> AsyncGenerator[bytes, None]:
        name = await self._name(voice or DEFAULT)
        for sentence in sentences(text.replace("\0", " "), longest=LONGEST):
            spoken = _Spoken()
            done = self._worker.submit(
                partial(self._library.speak, sentence, name, rate, spoken.take)
            )
            done.add_done_callback(spoken.end)
            try:
                while (chunk := await spoken.next()) is not None:
                    yield chunk
            finally:
                spoken.wanted = False
                done.cancel()

    async def close(self) -> None:
        await self._worker.close()

    async def _known(self) -> dict[str, tuple[Voice, str]]:
        if not self._voices:
            languages = await self._worker.do(self._library.languages)
            for language in [*ENGLISH, *sorted(languages)]:
                name, theirs = languages[language]
                for variant in ("", *(VARIANTS if language in ENGLISH else (WOMAN,))):
                    voice = _voice(language, name, variant)
                    suffix = f"+{variant}" if variant else ""
                    self._voices.setdefault(voice.id, (voice, theirs + suffix))
        return self._voices

    async def _name(self, voice: str) -> str:
        """What the library calls a voice. Raises Invalid."""
        found = (await self._known()).get(voice)
        if found is None:
            raise Invalid(f"There is no voice {voice!r}.", param="voice", code="unknown_voice")
        return found[1]


def _voice(language: str, name: str, variant: str) -> Voice:
    return Voice(
        id=f"{language}+{variant}" if variant else language,
        name=f"{name}, {VARIANTS[variant]}" if variant else name,
        language=language,
        engine="espeak",
        description="synthetic, made on this machine",
    )


class _Spoken:
    """One sentence's audio on its way from the thread to the loop."""

    def __init__(self) -> None:
        self.wanted = True
        self._loop = asyncio.get_running_loop()
        self._gathered = bytearray()
        self._enough = FIRST_BYTES
        self._ready: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()

    def take(self, pcm: bytes) -> bool:
        """In the thread: more audio; False to stop."""
        self._gathered += pcm
        if len(self._gathered) >= self._enough:
            self._enough = CHUNK_BYTES
            self._send(bytes(self._gathered))
            self._gathered.clear()
        return self.wanted

    def end(self, done: Any) -> None:
        """The job is over, well or not."""
        if done.cancelled() or not self.wanted:
            return
        if (error := done.exception()) is not None:
            self._send(error)
            return
        if self._gathered:
            self._send(bytes(self._gathered))
        self._send(None)

    def _send(self, what: bytes | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop has gone, and the listener with it
            self._loop.call_soon_threadsafe(self._ready.put_nowait, what)

    async def next(self) -> bytes | None:
        """The next chunk; None at the end."""
        chunk = await self._ready.get()
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk


class _VoiceRecord(ctypes.Structure):
    """As the library lists a voice."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Heard = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class _Library:
    """The shared library. Used by one thread at a time."""

    def __init__(self) -> None:
        self._library: Any = None
        self._take: Callable[[bytes], bool] | None = None
        self._callback = _Heard(self._heard)  # must live as long as the library may call it
        self._voice = ""

    def languages(self) -> dict[str, tuple[str, str]]:
        """Language code -> (its name, what the library calls its voice)."""
        library = self._loaded()
        listed = library.espeak_ListVoices(None)
        found: dict[str, tuple[str, str]] = {}
        at = 0
        while listed[at]:
            record = listed[at].contents
            at += 1
            if not record.languages:
                continue
            # one byte of priority, then the code; only the first is looked at
            language = ctypes.string_at(record.languages + 1).decode(errors="replace")
            name = record.name.decode(errors="replace")
            # By its file: the library does not find every voice by its language ("en-gb").
            found.setdefault(language, (name, record.identifier.decode()))
        return found

    def speak(self, text: str, voice: str, rate: float, take: Callable[[bytes], bool]) -> None:
        """Say `text`, handing 20 ms at a time to `take` until it returns False."""
        library = self._loaded()
        if library.espeak_SetVoiceByName(voice.encode()):
            raise SpeechFailed(f"espeak-ng has no voice {voice!r}.")
        library.espeak_SetParameter(_RATE_PARAMETER, round(_WORDS_PER_MINUTE * rate), 0)
        said = text.encode(errors="replace")
        self._take = take
        try:
            fault = library.espeak_Synth(
                said, len(said) + 1, 0, 0, 0, _UTF8 | _END_PAUSE, None, None
            )
        finally:
            self._take = None
        if fault:
            raise SpeechFailed(f"espeak-ng failed (error {fault}).")

    def _heard(self, samples: int | None, count: int, events: int | None) -> int:
        if not samples or count <= 0 or self._take is None:
            return 0
        return 0 if self._take(ctypes.string_at(samples, 2 * count)) else 1

    def _loaded(self) -> Any:
        if self._library is not None:
            return self._library
        try:
            import espeakng_loader

            library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = Path(espeakng_loader.get_data_path())
        except (ImportError, OSError, RuntimeError) as error:
            raise SpeechFailed(f"espeak-ng can't be loaded: {error}") from None
        rate = library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, str(data).encode(), _DONT_EXIT)
        if rate != RATE:
            raise SpeechFailed(f"espeak-ng can't be started ({rate}).")
        library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceRecord))
        library.espeak_SetSynthCallback(self._callback)
        self._library = library
        return library
