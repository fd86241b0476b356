"""Engines of providers over real HTTP and sockets, and the local engine behind them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from integrations.speech_fakes.fake import RATE as THEIR_RATE
from integrations.speech_fakes.fake import FakeSpeech
from tests.harness.waiting import PATIENCE_S, eventually
from tests.unit.speech.sounds import gathered, said, sine
from tron import events
from tron.calls.audio import duration_ms, level
from tron.clock import ManualClock
from tron.environment import load_settings
from tron.errors import Invalid
from tron.events import Bus, Event
from tron.settings import SettingsError
from tron.speech import deepgram
from tron.speech.contract import Hearing, SpeechFailed, Transcript, spoken_by
from tron.speech.engines import Speech
from tron.speech.fallback import remainder

PROVIDERS = ("openai", "elevenlabs", "deepgram")
VOICE = {"openai": "nova", "elevenlabs": "josh1", "deepgram": "aura-2-thalia-en"}
SECOND = sine(300, 1, 16_000)


@pytest.fixture
async def provider() -> AsyncIterator[FakeSpeech]:
    async with FakeSpeech(key="good") as fake:
        yield fake


class Opened:
    """Speech with its bus."""

    def __init__(self, fake: FakeSpeech, name: str, **given: Any) -> None:
        usual: dict[str, Any] = {
            "stt": name,
            "tts": name,
            "openai_base_url": f"{fake.url}/v1",
            "openai_api_key": "good",
            "elevenlabs_api_url": fake.url,
            "elevenlabs_api_key": "good",
            "deepgram_api_url": fake.url,
            "deepgram_api_key": "good",
            "speech_timeout_s": 3600.0,
        }
        settings = load_settings({}, **(usual | given))
        self.clock, self.bus = ManualClock(), Bus()
        self.events: list[Event] = []
        self.bus.add(self.events.append)
        self.speech = Speech(settings, clock=self.clock, bus=self.bus)

    @property
    def failures(self) -> list[str]:
        return [e.provider for e in self.events if isinstance(e, events.ProviderFailed)]


@pytest.fixture(params=PROVIDERS)
async def opened(request: pytest.FixtureRequest, provider: FakeSpeech) -> AsyncIterator[Opened]:
    opened = Opened(provider, request.param)
    yield opened
    await opened.speech.close()


def feed(hearing: Hearing, pcm: bytes) -> None:
    for at in range(0, len(pcm), 640):
        hearing.feed(pcm[at : at + 640])


async def final(hearing: Hearing) -> Transcript:
    async with asyncio.timeout(PATIENCE_S):
        async for heard in hearing.results():
            if heard.final:
                return heard
    raise AssertionError("the hearing ended")


async def test_a_provider_hears(opened: Opened, provider: FakeSpeech) -> None:
    """Twice in one call, and all of the audio arrives there."""
    name = opened.speech.recogniser.facts.name
    hearing = await opened.speech.recogniser.listen()
    for _ in range(2):
        feed(hearing, SECOND)
        hearing.commit()
        heard = await final(hearing)
        assert (heard.text, heard.engine) == ("hello there", name)
    await hearing.close()
    assert bytes(provider.heard).count(SECOND[:600]) >= 2
    assert opened.failures == []


async def test_a_provider_hears_a_recording(opened: Opened, provider: FakeSpeech) -> None:
    assert (await opened.speech.recogniser.transcribe(SECOND)).text == "hello there"
    assert bytes(provider.heard).startswith(b"RIFF")
    assert opened.failures == []


async def test_a_commit_with_nothing_said_is_answered(opened: Opened) -> None:
    hearing = await opened.speech.recogniser.listen()
    hearing.commit()
    assert (await final(hearing)).final
    await hearing.close()


@pytest.mark.parametrize("name", ["elevenlabs", "deepgram"])
async def test_a_provider_gives_partials(provider: FakeSpeech, name: str) -> None:
    opened = Opened(provider, name)
    hearing = await opened.speech.recogniser.listen()
    results = aiter(hearing.results())
    feed(hearing, SECOND)
    async with asyncio.timeout(PATIENCE_S):
        sure = 0.9 if name == "deepgram" else None
        found = await anext(results)
        assert found == Transcript(text="hello", final=False, confidence=sure)
    await hearing.close()
    await opened.speech.close()


async def test_a_provider_speaks(opened: Opened, provider: FakeSpeech) -> None:
    """All of it, whole samples whatever the network does, in the voice and at the pace asked."""
    name = opened.speech.synthesiser.facts.name
    engine = opened.speech.synthesiser
    assert engine.facts.sample_rate == THEIR_RATE
    chunks = [chunk async for chunk in engine.speak("x" * 20, voice=VOICE[name], rate=1.1)]
    assert all(len(chunk) % 2 == 0 for chunk in chunks)
    assert duration_ms(b"".join(chunks), THEIR_RATE) == pytest.approx(1200, abs=1)
    asked = provider.said[0]
    assert VOICE[name] in (asked.get("voice"), asked.get("model"))
    assert "1.1" in str(asked)
    assert opened.failures == []


async def test_voices_are_listed_and_others_refused(opened: Opened) -> None:
    voices = await opened.speech.voices()
    assert VOICE[opened.speech.synthesiser.facts.name] in [voice.id for voice in voices]
    assert all(voice.name and voice.engine for voice in voices)
    with pytest.raises(Invalid, match="nobody"):
        await said(opened.speech.synthesiser, "hello", "nobody")
    with pytest.raises(Invalid):
        await opened.speech.choose_voice("nobody")
    assert await opened.speech.choose_voice(None, "en-us+m3") == ""  # the persona's local voice
    assert await opened.speech.choose_voice(voices[1].id, "en-us+m3") == voices[1].id
    assert opened.failures == []


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("trouble", ["key", "status", "silent", "garbage", "away"])
async def test_a_provider_in_trouble_is_replaced(
    provider: FakeSpeech, name: str, trouble: str
) -> None:
    """The caller is heard and answered all the same; only silence has to be waited for."""
    opened = Opened(provider, name, **({"speech_timeout_s": 0.3} if trouble == "silent" else {}))
    match trouble:
        case "key":
            provider.key = "another"
        case "status":
            provider.status = 503
        case "silent":
            provider.silent = True
        case "garbage":
            provider.garbage = True
        case "away":
            await provider.__aexit__()
    spoken_by.set("")
    async with asyncio.timeout(PATIENCE_S):
        spoken = await said(opened.speech.synthesiser, "One. Two. Three.")
    assert spoken_by.get() == "espeak"
    assert level(spoken) > -40
    assert 1_000 < duration_ms(spoken, THEIR_RATE) < 5_000
    assert opened.failures == [f"{name}-tts"]
    hearing = await opened.speech.recogniser.listen()
    feed(hearing, bytes(32_000))
    hearing.commit()
    assert (await final(hearing)).engine == "moonshine"
    await hearing.close()
    assert opened.failures == [f"{name}-tts", f"{name}-stt"]
    await opened.speech.close()


@pytest.mark.parametrize("name", ["elevenlabs", "deepgram"])
async def test_an_address_in_capitals_is_the_same_address(provider: FakeSpeech, name: str) -> None:
    address = provider.url.replace("http://", "HTTP://")
    opened = Opened(provider, name, **{f"{name}_api_url": address})
    hearing = await opened.speech.recogniser.listen()
    feed(hearing, SECOND)
    hearing.commit()
    assert (await final(hearing)).engine in (name, "")
    assert opened.failures == []
    await hearing.close()
    await opened.speech.close()


@pytest.mark.parametrize("name", ["elevenlabs", "deepgram"])
async def test_a_socket_that_breaks_in_mid_speech_loses_no_words(
    provider: FakeSpeech, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local engine hears what was not answered yet, from its beginning."""
    opened = Opened(provider, name)
    local = Recorder()
    monkeypatch.setattr(opened.speech.recogniser, "_local", local)
    hearing = await opened.speech.recogniser.listen()
    feed(hearing, SECOND)
    hearing.commit()
    assert (await final(hearing)).text == "hello there"
    provider.cut_after = 60  # chunks; 51 went before
    second, third = sine(400, 1, 16_000), sine(500, 0.5, 16_000)
    feed(hearing, second)
    hearing.commit()
    await eventually(lambda: local.hearing is not None)
    feed(hearing, third)
    hearing.commit()
    assert (await final(hearing)).text == "local 32000"
    assert (await final(hearing)).text == "local 16000"
    assert local.hearing is not None
    assert bytes(local.hearing.heard) == second + third
    assert opened.failures == [f"{name}-stt"]
    await hearing.close()
    await opened.speech.close()


async def test_a_late_final_is_given_by_the_local_engine(
    provider: FakeSpeech, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(provider, "elevenlabs", speech_timeout_s=0.3)
    local = Recorder()
    monkeypatch.setattr(opened.speech.recogniser, "_local", local)
    hearing = await opened.speech.recogniser.listen()
    provider.silent = True
    feed(hearing, SECOND)
    hearing.commit()
    assert (await final(hearing)).text == "local 32000"
    await hearing.close()
    await opened.speech.close()


@pytest.mark.parametrize("said", ["nothing", "a guess"])
async def test_deepgram_fallen_silent_is_not_taken_for_a_caller_who_said_nothing(
    provider: FakeSpeech, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may leave a commit with nothing new unanswered; this one has words that must not go."""
    monkeypatch.setattr(deepgram._Live, "flush_s", 0.01)
    opened = Opened(provider, "deepgram", speech_timeout_s=0.5)
    local = Recorder()
    monkeypatch.setattr(opened.speech.recogniser, "_local", local)
    hearing = await opened.speech.recogniser.listen()
    provider.silent = said == "nothing"
    feed(hearing, SECOND)
    if said == "a guess":
        async with asyncio.timeout(PATIENCE_S):
            assert not (await anext(aiter(hearing.results()))).final
        provider.silent = True
    hearing.commit()
    assert (await final(hearing)).text == "local 32000"
    feed(hearing, SECOND[:16_000])
    hearing.commit()
    assert (await final(hearing)).text == "local 16000"
    assert opened.failures == ["deepgram-stt"]
    await hearing.close()
    await opened.speech.close()


async def test_a_commit_that_deepgram_leaves_unanswered_after_it_listened_is_empty(
    provider: FakeSpeech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepgram._Live, "flush_s", 0.01)
    provider.text = ""  # it says that nobody spoke
    opened = Opened(provider, "deepgram")
    hearing = await opened.speech.recogniser.listen()
    feed(hearing, SECOND)
    await eventually(lambda: len(provider.heard) == len(SECOND))
    provider.unfinalized = True
    hearing.commit()
    assert (await final(hearing)).text == ""
    assert opened.failures == []
    await hearing.close()
    await opened.speech.close()


async def test_a_sentence_that_breaks_off_is_said_to_its_end(
    opened: Opened, provider: FakeSpeech, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen."
    provider.cut_after = 20
    rest: list[str] = []
    local = opened.speech.local_mouth
    speak = local.speak

    def listened(text: str, *, voice: str, rate: float = 1.0) -> AsyncGenerator[bytes, None]:
        rest.append(text)
        return speak(text, voice=voice, rate=rate)

    monkeypatch.setattr(local, "speak", listened)
    spoken = await said(opened.speech.synthesiser, text)
    assert duration_ms(spoken, THEIR_RATE) > 2_000
    assert len(rest) == 1
    assert text.endswith(rest[0])
    assert 30 < len(rest[0]) < len(text) - 10
    assert opened.failures == [f"{opened.speech.synthesiser.facts.name}-tts"]


def test_what_is_left_to_say_begins_with_a_word_and_repeats_rather_than_skips() -> None:
    text = "One two three four five six seven eight nine ten."
    assert remainder(text, 0) == remainder(text, 0.5) == text
    assert remainder(text, 2.0) == "five six seven eight nine ten."
    assert remainder(text, 60.0) == "ten."
    assert len(remainder(text, 2.0, 1.5)) < len(remainder(text, 2.0))


async def test_a_provider_that_keeps_failing_is_left_alone_for_a_while(
    provider: FakeSpeech,
) -> None:
    opened = Opened(provider, "openai")
    provider.status = 500
    for _ in range(5):
        assert await said(opened.speech.synthesiser, "Hello.")
    assert len(opened.failures) == 3
    provider.status = 200
    assert await said(opened.speech.synthesiser, "Hello.")
    assert provider.said == []
    opened.clock.advance(31)
    assert await said(opened.speech.synthesiser, "Hello.")
    assert len(provider.said) == 1
    await opened.speech.close()


async def test_barge_in_ends_the_request(opened: Opened, provider: FakeSpeech) -> None:
    spoken = opened.speech.synthesiser.speak("x" * 400, voice="")
    await anext(spoken)
    await spoken.aclose()
    assert opened.failures == []
    assert await gathered(opened.speech.synthesiser.speak("hello", voice=""))


async def test_a_hearing_that_is_closed_leaves_nothing_behind(opened: Opened) -> None:
    before = len(asyncio.all_tasks())
    hearing = await opened.speech.recogniser.listen()
    feed(hearing, SECOND)
    hearing.commit()
    await hearing.close()
    assert [heard async for heard in hearing.results()] == []
    await eventually(lambda: len(asyncio.all_tasks()) <= before)


def test_a_provider_without_its_key_is_refused_at_start() -> None:
    for name, key in (("deepgram", "DEEPGRAM_API_KEY"), ("elevenlabs", "ELEVENLABS_API_KEY")):
        with pytest.raises(SettingsError, match=key):
            load_settings({"TRON_STT": name})
        with pytest.raises(SettingsError, match=key):
            load_settings({"TRON_TTS": name})
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        load_settings({"TRON_TTS": "openai"})
    load_settings({"TRON_TTS": "openai", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})


class Recorder:
    """A local engine that says how much it heard."""

    def __init__(self) -> None:
        self.hearing: RecorderHearing | None = None

    async def listen(self) -> "RecorderHearing":
        self.hearing = RecorderHearing()
        return self.hearing


class RecorderHearing:
    def __init__(self) -> None:
        self.heard = bytearray()
        self._at = 0
        self._finals: asyncio.Queue[Transcript] = asyncio.Queue()

    def feed(self, pcm: bytes) -> None:
        self.heard += pcm

    def commit(self) -> None:
        fresh, self._at = len(self.heard) - self._at, len(self.heard)
        self._finals.put_nowait(Transcript(text=f"local {fresh}", final=True))

    async def results(self) -> AsyncIterator[Transcript]:
        while True:
            yield await self._finals.get()

    async def close(self) -> None:
        pass


def test_failures_of_speech_are_errors_of_a_provider() -> None:
    assert (SpeechFailed("x").status, SpeechFailed("x").type) == (502, "speech_failed")
