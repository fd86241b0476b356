"""OpenAI's audio routes through the unmodified SDK, on the hub's own engines."""

import io
import json
import wave
from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI

from tests.harness.hub import Hubs, RunningHub
from tests.harness.programs import program
from tron.calls.audio import level, wav

SENTENCE = "What time is it in Berlin right now?"


@pytest.fixture
async def running(hub: Hubs) -> RunningHub:
    return await hub()


@pytest.fixture
async def client(running: RunningHub) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{running.base_url}/v1", api_key="x", max_retries=0) as made:
        yield made


async def spoken(client: AsyncOpenAI, format: str = "wav", voice: str = "alloy") -> bytes:
    answer = await client.audio.speech.create(
        input=SENTENCE,
        model="tts-1",
        voice=voice,
        response_format=format,  # type: ignore[arg-type]
    )
    return answer.content


async def test_what_the_hub_says_it_understands(client: AsyncOpenAI) -> None:
    said = await spoken(client)
    with wave.open(io.BytesIO(said)) as read:
        assert read.getnchannels() == 1
    heard = await client.audio.transcriptions.create(file=("a.wav", said), model="whisper-1")
    assert heard.text.lower().startswith("what time is it in")


async def test_pcm_is_24_khz_and_speed_counts(client: AsyncOpenAI) -> None:
    usual = await spoken(client, "pcm")
    assert 1.5 < len(usual) / 48_000 < 4
    assert level(usual) > -40
    fast = await client.audio.speech.create(
        input=SENTENCE, model="x", voice="alloy", response_format="pcm", speed=2.0
    )
    assert len(fast.content) < 0.75 * len(usual)


async def test_it_is_streamed(client: AsyncOpenAI) -> None:
    async with client.audio.speech.with_streaming_response.create(
        input=SENTENCE * 20, model="x", voice="alloy", response_format="pcm"
    ) as answer:
        chunks = [chunk async for chunk in answer.iter_bytes()]
    assert len(chunks) > 5


async def test_a_persona_has_a_voice_of_its_own(client: AsyncOpenAI) -> None:
    tony, maya, local = [await spoken(client, "pcm", who) for who in ("tony", "maya", "en-us+m3")]
    assert abs(len(tony) - len(local)) < 2_000
    assert tony != maya


async def test_unknown_voices_and_formats_are_refused(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await spoken(client, voice="nobody")
    assert refused.value.code == "unknown_voice"
    with pytest.raises(openai.BadRequestError) as refused:
        await spoken(client, "mp4")
    assert refused.value.param == "response_format"
    with pytest.raises(openai.BadRequestError):
        await client.audio.speech.create(input="", model="x", voice="alloy")


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac"])
async def test_other_formats_with_ffmpeg(client: AsyncOpenAI, format: str) -> None:
    program("ffmpeg")
    said = await spoken(client, format)
    heard = await client.audio.transcriptions.create(file=(f"a.{format}", said), model="x")
    assert heard.text.lower().startswith("what time is it in")


async def test_without_ffmpeg_the_answer_names_it(hub: Hubs) -> None:
    empty = await hub(PATH="/nowhere")
    async with AsyncOpenAI(base_url=f"{empty.base_url}/v1", api_key="x", max_retries=0) as client:
        for attempt in (
            client.audio.speech.create(input="hi", model="x", voice="alloy"),
            client.audio.transcriptions.create(file=("a.mp3", b"ID3" + bytes(99)), model="x"),
        ):
            with pytest.raises(openai.BadRequestError, match="ffmpeg") as refused:
                await attempt
            assert refused.value.code == "needs_ffmpeg"
        assert await spoken(client)


async def test_every_shape_of_a_transcription(client: AsyncOpenAI) -> None:
    file = ("a.wav", await spoken(client))
    create = client.audio.transcriptions.create
    verbose = await create(file=file, model="x", response_format="verbose_json")
    assert verbose.segments is not None
    assert [segment.text for segment in verbose.segments] == [verbose.text]
    assert 0 < verbose.segments[0].end <= float(verbose.duration) + 0.1
    text = await create(file=file, model="x", response_format="text")
    assert text.strip() == verbose.text
    srt = await create(file=file, model="x", response_format="srt")
    assert srt.startswith("1\n00:00:00,")
    vtt = await create(file=file, model="x", response_format="vtt")
    assert vtt.startswith("WEBVTT\n\n00:00:00.")
    stream = await create(file=file, model="x", stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]


@pytest.mark.parametrize(
    "file",
    [b"", b"raw file contents", b"RIFF\x00\x00\x00\x00WAVE", b"#EXTM3U\nfile:///etc/passwd"],
)
async def test_what_is_no_audio_is_refused(client: AsyncOpenAI, file: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.audio.transcriptions.create(file=("a.wav", file), model="x")
    assert refused.value.code == "unreadable_audio"


async def test_silence_is_no_words(client: AsyncOpenAI) -> None:
    silence = ("a.wav", wav(bytes(64_000), 16_000))
    heard = await client.audio.transcriptions.create(file=silence, model="x")
    assert heard.text == ""


async def test_events_instead_of_audio(running: RunningHub) -> None:
    asked = {"input": "Hi.", "voice": "alloy", "response_format": "pcm", "stream_format": "sse"}
    async with running.http.post("/v1/audio/speech", json=asked) as answer:
        frames = (await answer.text()).strip().split("\n\n")
    types = [json.loads(frame.removeprefix("data: "))["type"] for frame in frames]
    assert types[-1] == "speech.audio.done"
    assert set(types[:-1]) == {"speech.audio.delta"}
