"""Calls in which something breaks: the caller is answered all the same, and the call ends once."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from integrations.speech_fakes.fake import FakeSpeech
from integrations.twilio.fake import FakeTwilio
from integrations.twilio.fake_call import FakeCall
from tests.harness.hub import TRON, Hubs, RunningHub
from tests.harness.waiting import PATIENCE_S
from tests.scenario.test_twilio import (
    CALLER,
    answered,
    detail,
    spoken,
    telephones,
    understood,
)

World = tuple[FakeTwilio, RunningHub, FakeSpeech]
Worlds = Callable[..., AbstractAsyncContextManager[World]]
WORDS = "What time is it?"


@pytest.fixture
def worlds(hub: Hubs) -> Worlds:
    """A hub that hears or speaks by a provider that is told to misbehave."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[World]:
        async with FakeSpeech(key="key", text=WORDS) as speech:
            provider = {"ELEVENLABS_API_KEY": "key", "ELEVENLABS_API_URL": speech.url}
            async with telephones(hub, **provider, **settings) as (twilio, running):
                yield twilio, running, speech

    return make


async def ended_once(running: RunningHub, call: FakeCall) -> dict[str, Any]:
    """Hang up; the call as the hub tells of it, which has one ending with its cause."""
    await call.hang_up()
    told = await detail(running, call)
    endings = [e["text"] for e in told["timeline"] if e["kind"] == "ended"]
    assert endings == [told["cause"]] == ["caller-hung-up"]
    return told


async def ask_and_listen(running: RunningHub, call: FakeCall) -> bytes:
    """What the caller hears in answer to a question."""
    before = len(call.heard)
    await call.speak(await spoken(WORDS))
    await answered(running, call)
    await call.until_quiet(for_ms=1_000)
    return bytes(call.heard[before:])


def said_in(told: dict[str, Any]) -> str:
    return " ".join(e["text"] for e in told["timeline"] if e["kind"] == "say" and e["turn"])


@pytest.mark.parametrize("trouble", ["status", "silent"])
async def test_a_voice_that_fails_in_mid_call_is_replaced(worlds: Worlds, trouble: str) -> None:
    async with worlds(TRON_TTS="elevenlabs", TRON_SPEECH_TIMEOUT_S=1) as (twilio, running, speech):
        call = await twilio.dial(CALLER)
        await call.until_quiet(for_ms=1_000)
        assert speech.said, "the greeting came from the provider"
        setattr(speech, trouble, 500 if trouble == "status" else True)
        heard = await understood(await ask_and_listen(running, call))
        told = await ended_once(running, call)
        assert told["turns"][0]["ending"] == "completed"
        words = [w.strip(".,") for w in said_in(told).lower().split() if len(w) > 4]
        assert any(word in heard for word in words), (said_in(told), heard)


async def test_a_voice_that_breaks_off_in_the_middle_is_not_taken_for_having_said_it_all(
    worlds: Worlds,
) -> None:
    async with worlds(TRON_TTS="elevenlabs") as (twilio, running, speech):
        call = await twilio.dial(CALLER)
        await call.until_quiet(for_ms=1_000)
        speech.cut_after = 4  # 400 ms of each piece
        heard = await understood(await ask_and_listen(running, call))
        told = await ended_once(running, call)
        assert told["turns"][0]["ending"] == "completed"
        words = [w.strip(".,") for w in said_in(told).lower().split() if len(w) > 4]
        assert any(word in heard for word in words), (said_in(told), heard)


@pytest.mark.parametrize("trouble", ["status", "silent", "cut_after"])
async def test_ears_that_fail_in_mid_call_are_replaced(worlds: Worlds, trouble: str) -> None:
    async with worlds(TRON_STT="elevenlabs", TRON_SPEECH_TIMEOUT_S=1) as (twilio, running, speech):
        if trouble != "cut_after":
            setattr(speech, trouble, 500 if trouble == "status" else True)
        else:
            speech.cut_after = 10
        speech.text = "something else"  # so that it shows who has heard
        call = await twilio.dial(CALLER)
        await call.until_quiet(for_ms=1_000)
        await ask_and_listen(running, call)
        told = await ended_once(running, call)
        (turn,) = told["turns"]
        assert "time" in turn["said"].lower()
        assert turn["ending"] == "completed"


async def test_the_demo_says_goodbye_in_words(hub: Hubs, tmp_path: Path) -> None:
    running = await hub(TRON_BRAIN="offline")
    said = await demo(tmp_path, "--url", running.base_url, "--say", "Please hang up.")
    assert "hang up" in said.lower()
    assert "call ends" not in said.lower()
    answer = said.lower().rpartition("hang up")[2]
    assert re.search(r"\b(?:bye|goodbye|next time|later|take care)\b", answer), said


async def test_the_demo_starts_no_hub_where_it_was_told_of_one(tmp_path: Path) -> None:
    said = await demo(tmp_path, "--url", "http://127.0.0.1:9", ok=False)
    assert "No hub answers at http://127.0.0.1:9" in said


async def demo(folder: Path, *options: str, ok: bool = True) -> str:
    """What `tron call demo` prints."""
    process = await asyncio.create_subprocess_exec(
        TRON,
        "call",
        "demo",
        "--out",
        str(folder / "call.wav"),
        *options,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE_S * 4):
            printed, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert (process.returncode == 0) is ok, printed
    return printed.decode()
