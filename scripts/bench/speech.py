"""What the speech engines of this machine are worth: `python -m scripts.bench.speech`.

Speaks everyday sentences with every local voice that is installed, sends them through a
telephone (8 kHz, µ-law) and lets the recogniser write down what it hears. Prints the share of
words that were wrong, how long each engine takes for a second of audio (RTF), and how long it
takes to the first sound. With `--stt`/`--tts` it does the same for a provider whose key is set.
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from scripts.bench.everyday import EVERYDAY, mistakes
from tron.calls.audio import Resampler, duration_ms, mulaw_decode, mulaw_encode, resample
from tron.clock import SystemClock
from tron.environment import load_settings
from tron.events import Bus
from tron.speech import files
from tron.speech.contract import Recogniser, Synthesiser
from tron.speech.engines import Speech

ESPEAK = ("en-us", "en-us+f2", "en-us+f3", "en-us+f4", "en-us+m3", "en-gb", "en-gb+f3", "en-gb+m7")
FLITE = ("rms", "slt", "kal16")
FESTIVAL = {"slt-hts": "voice_cmu_us_slt_arctic_hts"}

Say = Callable[[str], Awaitable[bytes]]
"""a sentence as PCM at the recogniser's rate"""


class Took:
    """Seconds of work and of audio."""

    def __init__(self) -> None:
        self.work: list[float] = []
        self.audio_s = 0.0

    @property
    def rtf(self) -> float:
        return sum(self.work) / self.audio_s

    def ms(self, share: float) -> float:
        return sorted(self.work)[min(len(self.work) - 1, int(share * len(self.work)))] * 1000


async def speaking(engine: Synthesiser, voice: str) -> tuple[Took, Took]:
    """(to the first sound, to the last)."""
    first, whole = Took(), Took()
    for sentence in EVERYDAY:
        began, size = time.perf_counter(), 0
        async for chunk in engine.speak(sentence, voice=voice):
            if not size:
                first.work.append(time.perf_counter() - began)
            size += len(chunk)
        whole.work.append(time.perf_counter() - began)
        whole.audio_s += size / 2 / engine.facts.sample_rate
    return first, whole


async def hearing(engine: Recogniser, say: Say, *, phone: bool) -> tuple[float, int, Took]:
    """(share of words that were wrong, sentences without a mistake, commit to final)."""
    wrong = spoken = exact = 0
    took, rate = Took(), engine.facts.sample_rate
    ear = await engine.listen()
    for sentence in EVERYDAY:
        pcm = await say(sentence)
        if phone:
            narrow = mulaw_decode(mulaw_encode(Resampler(rate, 8_000).feed(pcm)))
            pcm = Resampler(8_000, rate).feed(narrow)
        took.audio_s += duration_ms(pcm, rate) / 1000
        for at in range(0, len(pcm), rate // 25):
            ear.feed(pcm[at : at + rate // 25])
        began = time.perf_counter()
        ear.commit()
        async for heard in ear.results():
            if heard.final:
                break
        took.work.append(time.perf_counter() - began)
        mistaken, words = mistakes(sentence, heard.text)
        wrong, spoken, exact = wrong + mistaken, spoken + words, exact + (not mistaken)
    await ear.close()
    return wrong / spoken, exact, took


def from_engine(engine: Synthesiser, voice: str, rate: int) -> Say:
    async def say(text: str) -> bytes:
        pcm = b"".join([chunk async for chunk in engine.speak(text, voice=voice)])
        return await asyncio.to_thread(resample, pcm, engine.facts.sample_rate, rate)

    return say


def from_program(command: list[str], rate: int) -> Say:
    """A command that takes a text file and `-o` a WAV file."""

    async def say(text: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            spoken, written = Path(folder) / "a.wav", Path(folder) / "a.txt"
            written.write_text(text)
            program = await asyncio.create_subprocess_exec(
                *command, str(written), "-o", str(spoken)
            )
            await program.wait()
            return await files.read(spoken.read_bytes(), rate=rate)

    return say


def programs(rate: int) -> dict[str, Say]:
    """Voices of Debian's `flite` and `festival`, where they are installed."""
    found: dict[str, Say] = {}
    if shutil.which("flite"):
        for voice in FLITE:
            found[f"flite {voice}"] = from_program(["flite", "-voice", voice, "-f"], rate)
    if shutil.which("text2wave"):
        for name, voice in FESTIVAL.items():
            found[f"festival {name}"] = from_program(["text2wave", "-eval", f"({voice})"], rate)
    return found


async def many_callers(engine: Synthesiser, callers: int) -> tuple[float, float]:
    """Time to the first sound, p50 and p95 in ms, when all begin a sentence at once."""

    async def one(sentence: str) -> float:
        began = time.perf_counter()
        audio = engine.speak(sentence, voice="")
        await anext(audio)
        took = time.perf_counter() - began
        async for _ in audio:
            pass
        return took * 1000

    took = sorted(
        await asyncio.gather(*(one(EVERYDAY[at % len(EVERYDAY)]) for at in range(callers)))
    )
    return statistics.median(took), took[int(0.95 * len(took))]


async def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--stt", help="instead of TRON_STT")
    given.add_argument("--tts", help="instead of TRON_TTS")
    asked = given.parse_args()
    settings = load_settings(stt=asked.stt, tts=asked.tts)
    speech = Speech(settings, clock=SystemClock(), bus=Bus())
    ears, mouth = speech.recogniser, speech.synthesiser
    rate = ears.facts.sample_rate
    names = ESPEAK if settings.tts == "local" else [v.id for v in (await speech.voices())[:4]]
    voices = {f"{mouth.facts.name} {v}": from_engine(mouth, v, rate) for v in names}
    voices |= programs(rate)

    print(f"{mouth.facts.name}: first sound p50 / p95, RTF, {len(EVERYDAY)} sentences")
    for voice in names:
        await speaking(mouth, voice)
        first, whole = await speaking(mouth, voice)
        print(f"  {voice:12} {first.ms(0.5):6.2f} / {first.ms(0.95):6.2f} ms  {whole.rtf:.4f}")
    for callers in (10, 50, 100):
        p50, p95 = await many_callers(mouth, callers)
        print(f"  {callers} callers at once: {p50:.1f} / {p95:.1f} ms")

    print(f"\n{ears.facts.name}: wrong words, exact sentences: wide band | phone; final p50/p95")
    for name, say in voices.items():
        wide, wide_exact, _ = await hearing(ears, say, phone=False)
        phone, phone_exact, took = await hearing(ears, say, phone=True)
        print(
            f"  {name:18} {wide:6.1%} {wide_exact:2} | {phone:6.1%} {phone_exact:2}"
            f"  {took.ms(0.5):4.0f} / {took.ms(0.95):4.0f} ms  RTF {took.rtf:.3f}"
        )
    await speech.close()


if __name__ == "__main__":
    asyncio.run(main())
