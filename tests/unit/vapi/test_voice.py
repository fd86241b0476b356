"""The hub as VAPI's custom voice: raw sound at the rate that is asked for, in words that are
understood."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from integrations.vapi import voice
from integrations.vapi.wire import Event
from tests.unit.speech.sounds import gathered
from tests.unit.vapi.conftest import Answer, Wire, Wired, fixture
from tron.calls.audio import level, resample
from tron.conversation.turns import Caller
from tron.speech.contract import SpeechFailed, Voice
from tron.speech.moonshine import Moonshine

SECRET = {"x_vapi_secret": "s3cret"}
WORDS = "What time is it? Please call me back in the morning."


async def ask(wired: Wired, **more: Any) -> Answer:
    body = {"type": "voice-request", "text": WORDS, "sampleRate": 24_000, "call": {"id": "c-1"}}
    return await wired.tell({"message": body | more}, **SECRET)


async def understood(pcm: bytes, rate: int) -> str:
    engine = Moonshine()
    wanted = engine.facts.sample_rate
    heard = await engine.transcribe(await asyncio.to_thread(resample, pcm, rate, wanted))
    await engine.close()
    return heard.text.lower()


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000])
async def test_it_says_the_words_at_the_rate_asked_for(wire: Wire, rate: int) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        answer = await ask(wired, sampleRate=rate)
        assert answer.status == 200
        assert len(answer.raw) % 2 == 0
        assert 1.5 < len(answer.raw) / 2 / rate < 6, "seconds of speech"
        assert level(answer.raw) > -40
        heard = await understood(answer.raw, rate)
        assert sum(word in heard for word in ("what", "time", "call", "back", "morning")) >= 4, (
            heard
        )
        assert wired.vapi.counts["voice-request"] == 1


async def test_vapis_own_example(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        answer = await wired.tell(fixture("voice-request"), **SECRET)
        assert answer.status == 200
        assert level(answer.raw) > -40


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sampleRate", 0),
        ("sampleRate", -8_000),
        ("sampleRate", "24000"),
        ("sampleRate", 10**12),
        ("sampleRate", True),
        ("sampleRate", None),
        ("sampleRate", [8_000]),
        ("text", ""),
        ("text", "  "),
        ("text", None),
        ("text", {"a": 1}),
        ("text", "a" * 5_001),
        ("voiceId", "nobody's voice"),
    ],
)
async def test_what_can_not_be_said_is_refused(wire: Wire, field: str, value: Any) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        answer = await ask(wired, **{field: value})
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")


async def test_it_asks_for_proof_first(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        assert (await wired.tell(fixture("voice-request"))).status == 401


class Mouth:
    """An engine that does as it is told."""

    def __init__(self, wired: Wired, *chunks: bytes, failing: bool = False) -> None:
        self.facts = wired.hub.speech.synthesiser.facts
        self.closed = False
        self._chunks = chunks
        self._failing = failing

    async def voices(self) -> list[Voice]:
        return []

    async def close(self) -> None:
        pass

    async def speak(
        self, text: str, *, voice: str, rate: float = 1.0
    ) -> AsyncGenerator[bytes, None]:
        try:
            for chunk in self._chunks:
                yield chunk
            if self._failing:
                raise SpeechFailed("The engine broke.")
            await asyncio.Event().wait()
        finally:
            self.closed = True


async def test_an_engine_that_fails_has_its_status(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        mouth = Mouth(wired, failing=True)
        monkeypatch.setattr(wired.hub.speech, "synthesiser", mouth)
        answer = await ask(wired)
        assert (answer.status, answer.json["error"]["type"]) == (502, "speech_failed")


async def test_an_engine_that_hangs_is_not_waited_for(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "DEADLINE_S", 0.05)
    async with wire(vapi_secret="s3cret") as wired:
        mouth = Mouth(wired)
        monkeypatch.setattr(wired.hub.speech, "synthesiser", mouth)
        answer = await ask(wired)
        assert (answer.status, answer.json["error"]["type"]) == (502, "speech_failed")
        assert mouth.closed


async def test_what_breaks_off_is_not_taken_for_the_whole(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "DEADLINE_S", 0.5)
    async with wire(vapi_secret="s3cret") as wired:
        event = Event(
            type=voice.TYPE,
            body={"text": WORDS, "sampleRate": 8_000},
            call_id="c-1",
            caller=Caller(id="anonymous-1", known=False),
            direction="",
            agent="",
        )
        for mouth in (Mouth(wired, bytes(8_000), failing=True), Mouth(wired, bytes(8_000))):
            monkeypatch.setattr(wired.hub.speech, "synthesiser", mouth)
            audio = await wired.vapi.speak(event)
            with pytest.raises(SpeechFailed):
                await gathered(audio)
            assert mouth.closed
