"""The local engines on real sound: what one says the other understands, and nothing breaks them."""

import asyncio
import contextlib
import random
import threading
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.bench.everyday import EVERYDAY, mistakes
from tests.harness.waiting import PATIENCE_S
from tests.unit.speech.sounds import gathered, said, sine
from tron.calls.audio import Resampler, duration_ms, mulaw_decode, mulaw_encode, resample
from tron.errors import Invalid
from tron.speech.contract import Hearing, SpeechFailed, Transcript
from tron.speech.decoded import RATE, DecodedHearing, Decoder
from tron.speech.espeak import RATE as ESPEAK_RATE
from tron.speech.espeak import Espeak
from tron.speech.fake import FakeRecogniser, FakeSynthesiser
from tron.speech.moonshine import Moonshine
from tron.speech.silero import Silero
from tron.speech.worker import Worker

FRAME = RATE // 50 * 2
CLEAR = [EVERYDAY[at] for at in (0, 9, 11, 17, 4)]
"""sentences in which espeak's default voice is understood, on the phone as well"""


def feed(hearing: Hearing, pcm: bytes) -> None:
    for at in range(0, len(pcm), FRAME):
        hearing.feed(pcm[at : at + FRAME])


async def final(hearing: Hearing) -> Transcript:
    async for heard in hearing.results():
        if heard.final:
            return heard
    raise AssertionError("the hearing ended")


async def on_the_phone(espeak: Espeak, text: str) -> bytes:
    """`text` as a caller's telephone sends it, at the recogniser's rate."""
    pcm = Resampler(ESPEAK_RATE, 8_000).feed(await said(espeak, text))
    return Resampler(8_000, RATE).feed(mulaw_decode(mulaw_encode(pcm)))


async def understood(espeak: Espeak, moonshine: Moonshine, *, phone: bool) -> float:
    """The share of words that were wrong."""
    wrong = total = 0
    hearing = await moonshine.listen()
    for sentence in CLEAR:
        pcm = await said(espeak, sentence)
        narrow = resample(pcm, ESPEAK_RATE, RATE)
        feed(hearing, await on_the_phone(espeak, sentence) if phone else narrow)
        hearing.commit()
        mistaken, spoken = mistakes(sentence, (await final(hearing)).text)
        wrong, total = wrong + mistaken, total + spoken
    return wrong / total


async def test_what_is_said_is_understood(espeak: Espeak, moonshine: Moonshine) -> None:
    assert await understood(espeak, moonshine, phone=False) < 0.1


async def test_most_words_survive_the_telephone(espeak: Espeak, moonshine: Moonshine) -> None:
    assert await understood(espeak, moonshine, phone=True) < 0.2


async def test_partials_come_while_somebody_speaks(espeak: Espeak, moonshine: Moonshine) -> None:
    hearing = await moonshine.listen()
    results = aiter(hearing.results())
    pcm = resample(await said(espeak, CLEAR[1]), ESPEAK_RATE, RATE)
    feed(hearing, pcm[: len(pcm) // 2])
    async with asyncio.timeout(PATIENCE_S):
        partial = await anext(results)
    assert not partial.final
    assert partial.text
    feed(hearing, pcm[len(pcm) // 2 :])
    hearing.commit()
    assert mistakes(CLEAR[1], (await final(hearing)).text)[0] <= 1


async def test_each_commit_has_one_final_in_order(espeak: Espeak, moonshine: Moonshine) -> None:
    """Also one with nothing said, and one where only silence was heard."""
    hearing = await moonshine.listen()
    pcm = resample(await said(espeak, "Thank you very much."), ESPEAK_RATE, RATE)
    for audio in (pcm, b"", bytes(2 * RATE), pcm):
        feed(hearing, audio)
        hearing.commit()
    texts = []
    async for heard in hearing.results():
        if heard.final:
            texts.append(heard.text)
        if len(texts) == 4:
            break
    assert texts[1:3] == ["", ""]
    assert "thank you" in texts[0].lower()
    assert texts[3] == texts[0]


async def test_a_long_speech_keeps_its_first_and_last_words(
    espeak: Espeak, moonshine: Moonshine
) -> None:
    hearing = await moonshine.listen()
    speech = [*CLEAR, *CLEAR, CLEAR[1]]
    pcm = b"".join([await said(espeak, sentence) for sentence in speech])
    assert duration_ms(pcm, ESPEAK_RATE) > 20_000
    feed(hearing, resample(pcm, ESPEAK_RATE, RATE))
    hearing.commit()
    text = (await final(hearing)).text
    assert text.lower().startswith("what time is it")
    assert text.lower().rstrip(".").endswith("the team")
    wrong, total = mistakes(" ".join(speech), text)
    assert wrong / total < 0.3


async def test_a_recording_is_understood_with_its_times(
    espeak: Espeak, moonshine: Moonshine
) -> None:
    pause = bytes(2 * RATE)
    one, two = [resample(await said(espeak, sentence), ESPEAK_RATE, RATE) for sentence in CLEAR[:2]]
    heard = await moonshine.transcribe(pause + one + pause + two)
    assert len(heard.pieces) == 2
    assert heard.text == " ".join(piece.text for piece in heard.pieces)
    second_ms = duration_ms(pause + one + pause, RATE)
    assert heard.pieces[0].start_ms >= 700
    assert abs(heard.pieces[1].start_ms - second_ms) < 500


async def test_callers_do_not_hear_each_other(espeak: Espeak, moonshine: Moonshine) -> None:
    hearings = [await moonshine.listen() for _ in range(4)]
    spoken = [resample(await said(espeak, sentence), ESPEAK_RATE, RATE) for sentence in CLEAR[:4]]
    for at in range(0, max(map(len, spoken)), FRAME):
        for hearing, pcm in zip(hearings, spoken, strict=True):
            hearing.feed(pcm[at : at + FRAME])
    for hearing in hearings:
        hearing.commit()
    for hearing, sentence in zip(hearings, CLEAR[:4], strict=True):
        wrong, total = mistakes(sentence, (await final(hearing)).text)
        assert wrong < total / 2


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=5000)), max_size=6))
def test_any_bytes_are_heard_as_something(script: list[bytes | None]) -> None:
    """Odd lengths, nothing at all, noise; None is a commit."""

    async def listen() -> None:
        engine = Moonshine()
        hearing = await engine.listen()
        for step in script:
            if step is None:
                hearing.commit()
            else:
                hearing.feed(step)
        for _ in [step for step in script if step is None]:
            assert (await final(hearing)).final
        await engine.transcribe(b"".join(step or b"" for step in script))
        await hearing.close()
        await engine.close()

    asyncio.run(listen())


async def test_a_caller_whose_speech_is_not_decoded_in_time_is_told() -> None:
    """The backlog of one caller is bounded."""
    held = threading.Event()
    worker = Worker("stuck")
    worker.submit(held.wait)
    decoder = Decoder(name="stuck", text=repr, worker=worker, longest_s=12, partials=True)
    hearing = DecodedHearing(decoder)
    for _ in range(80):
        hearing.feed(sine(300, 1, RATE))
    with pytest.raises(SpeechFailed, match="faster"):
        await anext(aiter(hearing.results()))
    held.set()
    await worker.close()


async def test_closing_ends_the_results(moonshine: Moonshine) -> None:
    hearing = await moonshine.listen()
    hearing.commit()
    await hearing.close()
    assert [heard async for heard in hearing.results()] == []


async def test_the_loop_runs_while_engines_work(espeak: Espeak, moonshine: Moonshine) -> None:
    """A whole recording is decoded, and meanwhile the loop turns hundreds of times."""
    pcm = resample(await said(espeak, " ".join(EVERYDAY[:8])), ESPEAK_RATE, RATE)
    turns = 0
    working = asyncio.ensure_future(moonshine.transcribe(pcm))
    while not working.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100


async def test_espeak_speaks_with_the_voice_and_pace_asked_for(espeak: Espeak) -> None:
    text = "The meeting has been moved."
    usual = await said(espeak, text)
    assert 1_000 < duration_ms(usual, ESPEAK_RATE) < 3_000
    assert abs(len(await said(espeak, text, "en-us")) - len(usual)) < ESPEAK_RATE / 20
    assert await said(espeak, text, "en-gb+m7") != await said(espeak, text, "en-us+f2")
    slow = await gathered(espeak.speak(text, voice="", rate=0.6))
    fast = await gathered(espeak.speak(text, voice="", rate=1.8))
    assert len(slow) > 1.3 * len(usual) > 1.3 * 1.3 * len(fast)


async def test_espeak_lists_its_voices_and_refuses_others(espeak: Espeak) -> None:
    voices = await espeak.voices()
    ids = [voice.id for voice in voices]
    assert ids[0] == "en-us"
    assert len(set(ids)) == len(ids)
    assert {"en-gb+m7", "en-us+f4", "en-us+m3", "de", "de+f2", "fr-fr"} <= set(ids)
    assert all(voice.name and voice.language and voice.engine == "espeak" for voice in voices)
    for unknown in ("nope", "en-us+nope", "en-us+", "+f2", "../../etc/passwd", "EN-US"):
        with pytest.raises(Invalid) as refused:
            await said(espeak, "hello", unknown)
        assert (refused.value.code, refused.value.param) == ("unknown_voice", "voice")


async def test_every_listed_voice_can_speak(espeak: Espeak) -> None:
    voices = await espeak.voices()
    for voice in random.Random(7).sample(voices, 60):
        assert await said(espeak, "12", voice.id), voice.id


async def test_closing_a_speech_stops_the_engine(
    espeak: Espeak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next caller waits for no more than the sentence's rest."""
    begun: list[str] = []
    speak = espeak._library.speak

    def noted(text: str, *more: Any) -> None:
        begun.append(text)
        speak(text, *more)

    monkeypatch.setattr(espeak._library, "speak", noted)
    first = espeak.speak(" ".join(EVERYDAY * 50), voice="")
    await anext(first)
    await first.aclose()
    assert await said(espeak, "Hello.")
    assert len(begun) == 2


async def test_callers_speak_at_once_in_their_own_voices(espeak: Espeak) -> None:
    voices = ["en-us+f2", "de", "es", "tr"]
    alone = [await said(espeak, "One two three.", voice) for voice in voices]
    together = await asyncio.gather(*(said(espeak, "One two three.", voice) for voice in voices))
    lengths = [len(pcm) for pcm in alone]
    # It is not the same twice, but nearly, and these voices are further apart.
    assert all(late > 1.04 * soon for soon, late in pairwise(sorted(lengths)))
    for pcm, length in zip(together, lengths, strict=True):
        assert abs(len(pcm) - length) < 0.02 * length


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.floats(0.1, 10))
def test_any_text_is_said_somehow(text: str, rate: float) -> None:
    async def speak() -> None:
        engine = Espeak()
        pcm = await gathered(engine.speak(text, voice="", rate=rate))
        assert len(pcm) % 2 == 0
        await engine.close()

    asyncio.run(speak())


async def test_speech_is_noticed_and_noise_is_not(espeak: Espeak, silero: Silero) -> None:
    speech = await said(espeak, " ".join(EVERYDAY[:3]))
    noise = random.Random(3)
    for rate in (8_000, 16_000):
        frame = rate // 50 * 2
        hiss = b"".join(
            max(-32768, min(32767, round(noise.gauss(0, 2000)))).to_bytes(2, "little", signed=True)
            for _ in range(rate * 2)
        )
        for sound, low, high in (
            (resample(speech, ESPEAK_RATE, rate), 0.5, 1.0),
            (hiss, 0.0, 0.05),
            (bytes(rate * 4), 0.0, 0.0),
        ):
            activity = await silero.listen(rate)
            assert activity.sample_rate == rate
            frames = [sound[at : at + frame] for at in range(0, len(sound) - frame, frame)]
            voiced = sum(activity.speech(one) > 0.5 for one in frames) / len(frames)
            assert low <= voiced <= high


async def test_the_first_silent_frame_after_a_word_is_silent(
    espeak: Espeak, silero: Silero
) -> None:
    speech = resample(await said(espeak, EVERYDAY[0]), ESPEAK_RATE, 8_000)
    frames = [speech[at : at + 320] for at in range(0, len(speech) - 320, 320)]
    activity = await silero.listen(8_000)
    likely = [activity.speech(frame) for frame in frames[: len(frames) // 2]]
    while likely[-1] <= 0.5:  # stop inside a word
        likely.append(activity.speech(frames[len(likely)]))
    line_noise = b"\x08\0\xf8\xff" * 80
    assert [activity.speech(line_noise) for _ in range(3)] == [0.0, 0.0, 0.0]


async def test_silero_sleeps_while_the_gate_hears_nothing(
    silero: Silero, monkeypatch: pytest.MonkeyPatch
) -> None:
    activity = await silero.listen(16_000)
    asked: list[bytes] = []

    def ask(window: bytes) -> float:
        asked.append(window)
        return 1.0

    monkeypatch.setattr(activity, "_ask", ask)
    for _ in range(100):
        assert activity.speech(bytes(640)) == 0.0
    assert asked == []
    for _ in range(10):
        activity.speech(sine(300, 0.02, 16_000))
    assert asked


async def test_silero_hears_all_of_a_word_in_order_and_nothing_of_the_silence_in_it(
    silero: Silero, monkeypatch: pytest.MonkeyPatch
) -> None:
    activity = await silero.listen(8_000)
    asked: list[bytes] = []

    def ask(window: bytes) -> float:
        asked.append(window)
        return 1.0

    monkeypatch.setattr(activity, "_ask", ask)
    tone = sine(300, 1.0, 8_000)
    frames = [tone[at : at + 320] for at in range(0, len(tone), 320)]
    gap = [bytes(320)] * 4
    for frame in frames[:25] + gap + frames[25:]:
        activity.speech(frame)
    told = b"".join(asked)
    assert len(told) > 0.8 * len(tone)
    assert told in tone


async def test_silero_is_asked_at_once_when_the_voice_falls(
    silero: Silero, monkeypatch: pytest.MonkeyPatch
) -> None:
    activity = await silero.listen(8_000)
    answers = [1.0]
    monkeypatch.setattr(activity, "_ask", lambda _: answers[0])
    loud, faint = sine(300, 0.02, 8_000), sine(300, 0.02, 8_000, size=500)
    for _ in range(40):
        activity.speech(loud)
    assert activity.speech(loud) == 1.0
    answers[0] = 0.0
    # A window is 32 ms long: the second frame completes one for certain.
    assert [activity.speech(faint) for _ in range(2)][-1] == 0.0


async def test_callers_share_the_model_and_nothing_else(espeak: Espeak, silero: Silero) -> None:
    pcm = resample(await said(espeak, EVERYDAY[0]), ESPEAK_RATE, 16_000)
    frames = [pcm[at : at + 640] for at in range(0, len(pcm) - 640, 640)]
    alone = await silero.listen(16_000)
    expected = [alone.speech(frame) for frame in frames]
    one, other = await silero.listen(16_000), await silero.listen(16_000)
    found = []
    for frame in frames:
        found.append(one.speech(frame))
        other.speech(sine(250, 0.02, 16_000))
    assert found == expected


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=1500), max_size=10), st.sampled_from([8_000, 16_000]))
def test_any_frames_have_a_likelihood(frames: list[bytes], rate: int) -> None:
    async def watch() -> None:
        activity = await SHARED.listen(rate)
        for frame in frames:
            assert 0 <= activity.speech(frame) <= 1

    SHARED._loading = asyncio.Lock()
    asyncio.run(watch())


SHARED = Silero()


async def test_the_fakes_say_and_hear_what_they_are_set_to() -> None:
    hearing = await FakeRecogniser(text="hello", delay_s=0.01).listen()
    hearing.commit()
    assert (await final(hearing)).text == ""
    hearing.feed(bytes(320))
    hearing.commit()
    assert (await final(hearing)).text == "hello"
    engine = FakeSynthesiser()
    tone = await said(engine, "One. Two! Three?")
    assert duration_ms(tone, engine.facts.sample_rate) == 3 * 1200
    with pytest.raises(Invalid):
        await said(engine, "hello", "en-us")


async def test_a_worker_does_the_urgent_first_and_refuses_what_is_too_much() -> None:
    held, done = threading.Event(), []
    worker = Worker("test", size=3)
    busy = threading.Event()

    def hold() -> None:
        busy.set()
        held.wait()

    running = worker.submit(hold)
    await asyncio.to_thread(busy.wait)
    later = worker.submit(lambda: done.append("later"), urgency=2)
    soon = worker.submit(lambda: done.append("soon"), urgency=1)
    worker.submit(lambda: done.append("now"))
    with pytest.raises(SpeechFailed) as refused:
        worker.submit(lambda: None)
    assert refused.value.retryable
    soon.cancel()
    held.set()
    await asyncio.wrap_future(running)
    await asyncio.wrap_future(later)
    assert done == ["now", "later"]
    await worker.close()
    with contextlib.suppress(SpeechFailed):
        worker.submit(lambda: None)
        raise AssertionError("a closed worker took a job")
