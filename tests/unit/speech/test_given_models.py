"""Engines whose model the operator brings, run for real: their own packages, on tiny models.

Skipped where the packages of an extra are not installed: `pip install tron[kokoro,piper,whisper]`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.harness import speech_models
from tests.harness.waiting import eventually
from tests.unit.speech.opened import Opened
from tests.unit.speech.sounds import gathered, said, sine
from tron.calls.audio import level, samples_of
from tron.errors import Invalid
from tron.speech.decoded import RATE, DecodedHearing
from tron.speech.espeak import Espeak

TEXT = "Good morning. It is late, but I am ready."
NOISE = sine(300, 1, RATE)


def needs(module: str, extra: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(module) is None, reason=f"needs tron[{extra}]")


KOKORO, PIPER = needs("kokoro_onnx", "kokoro"), needs("piper", "piper")
WHISPER = needs("faster_whisper", "whisper")


def pitch(pcm: bytes, rate: int) -> float:
    """Hz of the loudest tone in the first half second."""
    heard = np.abs(np.fft.rfft(samples_of(pcm)[: rate // 2]))
    return float(2 * np.argmax(heard))


@pytest.fixture
async def kokoro(tmp_path: Path) -> AsyncIterator[Opened]:
    speech_models.kokoro_model(tmp_path / "models" / "kokoro")
    opened = Opened(tmp_path, tts="kokoro")
    yield opened
    await opened.speech.close()


@pytest.fixture
async def piper(tmp_path: Path) -> AsyncIterator[Opened]:
    folder = tmp_path / "models" / "piper"
    speech_models.piper_voice(folder)
    speech_models.piper_voice(folder, "en_GB-two-low", rate=16_000, speakers=2)
    opened = Opened(tmp_path, tts="piper")
    yield opened
    await opened.speech.close()


@pytest.fixture
async def whisper(tmp_path: Path) -> AsyncIterator[Opened]:
    speech_models.whisper_model(tmp_path / "models" / "whisper")
    opened = Opened(tmp_path, stt="whisper")
    yield opened
    await opened.speech.close()


@KOKORO
async def test_kokoro_speaks_in_the_voices_it_can_read(kokoro: Opened) -> None:
    engine, rate = kokoro.speech.synthesiser, 24_000
    voices = await engine.voices()
    assert [voice.id for voice in voices] == ["af_heart", "af_bella", "bm_george"]
    assert voices[2].language == "en-gb"
    assert "British English, man" in voices[2].description
    usual = await said(engine, TEXT)
    assert pitch(usual, rate) == pytest.approx(speech_models.TONE_HZ["af_heart"], rel=0.02)
    man = await said(engine, TEXT, "bm_george")
    assert pitch(man, rate) == pytest.approx(speech_models.TONE_HZ["bm_george"], rel=0.02)
    fast = await gathered(engine.speak(TEXT, voice="", rate=1.6))
    assert len(fast) < 0.8 * len(usual)
    assert len(await said(engine, TEXT + TEXT)) > 1.9 * len(usual)
    for unknown in ("jf_alpha", "nobody"):
        with pytest.raises(Invalid):
            await said(engine, TEXT, unknown)
    assert await said(engine, "…") == b""
    assert kokoro.failures == []


@PIPER
async def test_piper_speaks_in_each_speakers_voice_at_one_rate(piper: Opened) -> None:
    engine, rate = piper.speech.synthesiser, 22_050
    usual = await said(engine, TEXT)
    lowest, step = speech_models.PIPER_HZ, speech_models.NEXT_SPEAKER_HZ
    for voice, hz in {
        "": lowest,  # the first English one there is
        "en_GB-two-low+p0": lowest,
        "en_GB-two-low+p1": lowest + step,
        "en_US-tiny-low": lowest,
    }.items():
        assert pitch(await said(engine, TEXT, voice), rate) == pytest.approx(hz, rel=0.02), voice
    assert len(await gathered(engine.speak(TEXT, voice="", rate=1.6))) < 0.8 * len(usual)
    with pytest.raises(Invalid):
        await said(engine, TEXT, "en_GB-two-low+p7")
    assert piper.failures == []


@KOKORO
@PIPER
async def test_the_hubs_own_voice_is_not_disturbed(
    kokoro: Opened, piper: Opened, espeak: Espeak
) -> None:
    """All of them bring espeak-ng, whose state is the process's."""
    alone = len(await said(espeak, TEXT))
    theirs = [said(opened.speech.synthesiser, TEXT) for opened in (kokoro, piper)]
    first, *_, last = await asyncio.gather(said(espeak, TEXT), *theirs, said(espeak, TEXT))
    for spoken in (first, last):  # it never says a thing twice alike, but in the same time
        assert len(spoken) == pytest.approx(alone, rel=0.05)
        assert level(spoken) > -40


@PIPER
async def test_a_voice_that_fails_in_mid_call_is_replaced(
    piper: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sentence is its own; of the second, which it can't make, nothing is lost."""
    models = piper.speech.mouth._models  # type: ignore[attr-defined]
    really = models.speak

    def once(text: str, **more: Any) -> bytes:
        if text != "Good morning.":
            raise RuntimeError
        made: bytes = really(text, **more)
        return made

    monkeypatch.setattr(models, "speak", once)
    rest: list[str] = []
    local = piper.speech.local_mouth
    speak = local.speak

    def listened(text: str, *, voice: str, rate: float = 1.0) -> AsyncGenerator[bytes, None]:
        rest.append(text)
        return speak(text, voice=voice, rate=rate)

    monkeypatch.setattr(local, "speak", listened)
    assert level(await said(piper.speech.synthesiser, TEXT)) > -40
    assert len(rest) == 1
    assert TEXT.endswith(rest[0])
    assert piper.failures == [("piper-tts", "espeak")]


@WHISPER
async def test_whisper_hears(whisper: Opened) -> None:
    """What is committed and whole recordings; nothing in silence, and nothing before the commit."""
    sentence = " ".join(speech_models.SENTENCE)
    whisper.speech.start()
    engine = whisper.speech.recogniser
    assert not engine.facts.partials
    hearing = await engine.listen()
    texts = []
    for audio in (NOISE, bytes(2 * RATE), NOISE):
        hearing.feed(audio)
        hearing.commit()
    async for heard in hearing.results():
        assert heard.final
        texts.append(heard.text)
        if len(texts) == 3:
            break
    assert texts == [sentence, "", sentence]
    await hearing.close()
    recording = await engine.transcribe(3 * NOISE + bytes(4 * RATE) + 3 * NOISE)
    assert recording.text == f"{sentence} {sentence}"
    assert len(recording.pieces) == 2
    assert whisper.failures == []


@KOKORO
@PIPER
@WHISPER
async def test_the_loop_runs_while_models_load_and_work(
    whisper: Opened, kokoro: Opened, piper: Opened
) -> None:
    """Loading takes a second, and meanwhile the loop turns hundreds of times."""
    turns = 0
    working = asyncio.gather(
        whisper.speech.recogniser.transcribe(NOISE * 40),
        said(kokoro.speech.synthesiser, TEXT),
        said(piper.speech.synthesiser, TEXT),
    )
    while not working.done():
        await asyncio.sleep(0)
        turns += 1
    await working
    assert turns > 300


@KOKORO
@PIPER
@WHISPER
async def test_loading_begins_with_the_hub(whisper: Opened, kokoro: Opened, piper: Opened) -> None:
    for opened in (whisper, kokoro, piper):
        opened.speech.start()
    assert isinstance(await whisper.speech.ears.listen(), DecodedHearing)
    await eventually(lambda: kokoro.speech.mouth._model._kokoro is not None)  # type: ignore[attr-defined]
    await eventually(lambda: piper.speech.mouth._models._loaded)  # type: ignore[attr-defined]
