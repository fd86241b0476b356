"""Engines whose model the operator brings: found or refused, listed as what they are, replaced.

`test_given_models.py` runs them for real where their packages are installed.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.harness import speech_models
from tests.unit.speech.opened import Opened
from tests.unit.speech.sounds import gathered, said
from tron.calls.audio import duration_ms, level
from tron.clock import ManualClock
from tron.errors import Invalid
from tron.events import Bus
from tron.settings import Settings, SettingsError
from tron.speech import given
from tron.speech.contract import SpeechFailed
from tron.speech.engines import Speech
from tron.speech.worker import Worker

TEXT = "Good morning. It is late, but I am ready."


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every extra were: what is tested is what comes before its packages are needed."""
    monkeypatch.setattr(given, "find_spec", lambda _: object())


def opened(home: Path, **chosen: Any) -> Speech:
    return Speech(Settings(home=home, **chosen), clock=ManualClock(), bus=Bus())


def refusal(home: Path, **chosen: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        opened(home, **chosen)
    return str(refused.value)


# What is missing


@pytest.mark.parametrize(
    ("setting", "engine", "package"),
    [
        ("tts", "kokoro", "kokoro-onnx"),
        ("tts", "piper", "piper-tts"),
        ("stt", "whisper", "faster-whisper"),
    ],
)
def test_a_missing_package_is_named_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, engine: str, package: str
) -> None:
    monkeypatch.setattr(given, "find_spec", lambda _: None)
    told = refusal(tmp_path, **{setting: engine})
    assert told.startswith(f"TRON_{setting.upper()}={engine}: ")
    assert package in told
    assert f"tron[{engine}]" in told


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("setting", "engine"), [("tts", "kokoro"), ("tts", "piper"), ("stt", "whisper")]
)
def test_a_missing_model_is_named_with_where_it_belongs(
    tmp_path: Path, setting: str, engine: str
) -> None:
    usual = tmp_path / "models" / engine
    model = f"TRON_{setting.upper()}_MODEL"
    for made in (False, True):
        if made:
            usual.mkdir(parents=True)
        told = refusal(tmp_path, **{setting: engine})
        assert told.startswith(f"TRON_{setting.upper()}={engine}: ")
        assert str(usual) in told
        assert model in told
    nowhere = str(tmp_path / "nowhere")
    told = refusal(tmp_path, **{setting: engine, f"{setting}_model": nowhere})
    assert f"{model}={nowhere}" in told


@pytest.mark.usefixtures("installed")
def test_a_voice_without_its_description_or_model_is_refused(tmp_path: Path) -> None:
    voice = speech_models.piper_voice(tmp_path / "models" / "piper")
    described = Path(f"{voice}.json")
    described.write_text("{}")
    assert described.name in refusal(tmp_path, tts="piper")
    described.unlink()
    assert described.name in refusal(tmp_path, tts="piper")
    kokoro = speech_models.kokoro_model(tmp_path / "models" / "kokoro")
    kokoro.with_name("another.onnx").touch()
    assert "holds 2 and 1" in refusal(tmp_path, tts="kokoro")
    (kokoro.parent / "voices-tiny.bin").unlink()
    assert "holds 1 and 0" in refusal(tmp_path, tts="kokoro", tts_model=str(kokoro))


@pytest.mark.usefixtures("installed")
def test_a_model_whose_words_would_be_fetched_is_refused(tmp_path: Path) -> None:
    """faster-whisper asks the network for a tokenizer that is not there."""
    folder = tmp_path / "models" / "whisper"
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json"):
        (folder / name).touch()
    assert "tokenizer.json" in refusal(tmp_path, stt="whisper")


# What is listed


@pytest.mark.usefixtures("installed")
async def test_pipers_voices_are_its_files_with_their_speakers(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "piper"
    speech_models.piper_voice(folder, "de_DE-two-low", speakers=2)
    speech_models.piper_voice(folder, "en_US-tiny-low")
    speech_models.piper_voice(folder, "zh_CN-other-low", phonemes="pinyin")
    speech = opened(tmp_path, tts="piper")
    voices = await speech.voices()
    assert [(voice.id, voice.language) for voice in voices] == [
        ("en_US-tiny-low", "en-us"),
        ("de_DE-two-low+p0", "de-de"),
        ("de_DE-two-low+p1", "de-de"),
    ]
    assert {voice.engine for voice in voices} == {"piper"}
    assert await speech.choose_voice(None, "en-us+m3") == ""
    assert await speech.choose_voice("de_DE-two-low+p1") == "de_DE-two-low+p1"
    with pytest.raises(Invalid):
        await speech.choose_voice("de_DE-two-low")
    await speech.close()


# By sentence


async def test_a_sentence_is_made_while_the_one_before_is_heard_and_none_after_the_end() -> None:
    worker, made = Worker("test"), list[str]()

    def make(text: str) -> bytes:
        made.append(text)
        return bytes(40_000)

    spoken = given.by_sentence(worker, "One. Two. Three. ", make)
    assert await anext(spoken)
    await spoken.aclose()
    assert made == ["One."]
    assert len(await gathered(given.by_sentence(worker, "One. Two.", make))) == 80_000
    long = "word " * 100
    made.clear()
    await gathered(given.by_sentence(worker, long, make))
    assert " ".join(made) == long.strip()
    assert max(map(len, made)) <= given.LONGEST
    await worker.close()


async def test_what_a_package_raises_is_a_failure_of_speech() -> None:
    def make(text: str) -> bytes:
        raise RuntimeError(text)

    worker = Worker("test")
    with pytest.raises(SpeechFailed) as failed:
        await gathered(given.by_sentence(worker, "A secret.", make))
    assert "secret" not in str(failed.value)
    await worker.close()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("engine", ["kokoro", "piper"])
async def test_a_broken_voice_is_replaced_by_the_local_one(tmp_path: Path, engine: str) -> None:
    """Also where only the package is broken, or not installed after all."""
    folder = tmp_path / "models" / engine
    (speech_models.kokoro_model if engine == "kokoro" else speech_models.piper_voice)(folder)
    for model in folder.glob("*.onnx"):
        model.write_bytes(b"not a model")
    opened = Opened(tmp_path, tts=engine)
    opened.speech.start()
    spoken = await said(opened.speech.synthesiser, TEXT)
    rate = opened.speech.synthesiser.facts.sample_rate
    assert duration_ms(spoken, rate) > 1_000
    assert level(spoken) > -40
    assert opened.failures == [(f"{engine}-tts", "espeak")]
    await opened.speech.close()


@pytest.mark.usefixtures("installed")
async def test_broken_ears_are_replaced_by_the_local_ones(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "whisper"
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (folder / name).write_text("not a model")
    opened = Opened(tmp_path, stt="whisper")
    hearing = await opened.speech.recogniser.listen()
    hearing.commit()
    async for heard in hearing.results():
        assert heard.final
        break
    await hearing.close()
    assert opened.failures == [("whisper-stt", "moonshine")]
    await opened.speech.close()
