"""Real speech both ways, with no network: a caller's voice is understood over the telephone, and
what the persona answers aloud is transcribed back to the words it meant."""

import asyncio
import re

import pytest

from integrations.twilio.fake import FakeTwilio
from integrations.twilio.fake_call import RATE, FakeCall
from scripts.bench.everyday import mistakes
from scripts.bench.speech import Say, programs
from scripts.bench.talk import told
from tests.harness.hub import Hubs
from tests.harness.programs import program
from tron.calls.audio import resample
from tron.speech.decoded import RATE as HEARD_RATE
from tron.speech.moonshine import Moonshine

CONVERSATION = (
    ("What is seven times six?", r"forty.two|42"),
    ("What time is it in Berlin right now?", r"berlin"),
    ("What is ten times ten?", r"hundred|100"),
)
"""what the caller asks, and what must be heard in the answer"""


def caller(voice: str) -> Say:
    program("flite")
    return programs(RATE)[f"flite {voice}"]


async def asked(call: FakeCall, say: Say, question: str) -> bytes:
    """The answer's sound, as the caller's telephone played it."""
    began, media = len(call.heard), call.count("media")
    await call.speak(await say(question))
    await call.until(lambda: call.count("media") > media, within_s=30)
    await call.until_quiet(for_ms=1_500)
    return call.heard[began:]


def share_back(said: str, heard: str) -> float:
    """Of the longer words that were said, how many were heard."""
    words = re.findall(r"[a-z]{4,}", said.lower())
    return sum(word in heard.lower() for word in words) / max(1, len(words))


@pytest.mark.parametrize("voice", ["rms", "slt"])
async def test_a_spoken_conversation(hub: Hubs, voice: str) -> None:
    """By a man's and a woman's voice over G.711, through `/twilio/media`."""
    say = caller(voice)
    running = await hub(TRON_BRAIN="offline")
    async with FakeTwilio(hub=running.base_url) as twilio:
        call = await twilio.dial("+14155550100", agent="alex")
        await call.until_quiet()
        answers = [await asked(call, say, question) for question, _ in CONVERSATION]
        await call.hang_up()
        ledger = await told(running.http, call.sid)
    assert ledger["cause"] == "caller-hung-up"
    assert len(ledger["turns"]) == len(CONVERSATION), [turn["said"] for turn in ledger["turns"]]
    wrong = total = 0
    ears = Moonshine()
    for (question, expected), turn, pcm in zip(CONVERSATION, ledger["turns"], answers, strict=True):
        mistaken, spoken = mistakes(question, turn["said"])
        wrong, total = wrong + mistaken, total + spoken
        said = " ".join(
            line["text"]
            for line in ledger["timeline"]
            if line["kind"] == "say" and line["turn"] == turn["turn"]
        )
        wide = await asyncio.to_thread(resample, pcm, RATE, HEARD_RATE)
        heard = (await ears.transcribe(wide)).text
        assert re.search(expected, heard.lower()), (said, heard)
        assert share_back(said, heard) >= 0.4, (said, heard)
    await ears.close()
    assert wrong / total <= 0.15, [turn["said"] for turn in ledger["turns"]]
