"""The phone: a caller who behaves as Twilio does, and a whole hub."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from integrations.twilio.fake import FakeTwilio
from integrations.twilio.fake_call import RATE, FakeCall, Line
from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import eventually
from tron.calls.audio import level, resample
from tron.speech.espeak import Espeak
from tron.speech.moonshine import Moonshine

TOKEN = "a secret of twilio's"
PUBLIC = "https://hub.example"
CALLER = "+14155550100"

Phones = Callable[..., AbstractAsyncContextManager[tuple[FakeTwilio, RunningHub]]]


@asynccontextmanager
async def telephones(hub: Hubs, **settings: Any) -> AsyncIterator[tuple[FakeTwilio, RunningHub]]:
    """A carrier and a hub that know each other."""
    # The hub must know the account's address, and the account the hub's.
    async with FakeTwilio(hub="http://127.0.0.1:1", auth_token=TOKEN) as twilio:
        running = await hub(
            TRON_BRAIN="offline",
            TWILIO_ACCOUNT_SID=twilio.account_sid,
            TWILIO_AUTH_TOKEN=TOKEN,
            TWILIO_PHONE_NUMBER="+15005550006",
            TWILIO_API_URL=twilio.rest_url,
            TRON_PUBLIC_URL=PUBLIC,
            **settings,
        )
        twilio.hub, twilio.public_url = running.base_url, PUBLIC
        yield twilio, running


@pytest.fixture
def phones(hub: Hubs) -> Phones:
    """`async with phones(TRON_TWILIO_MODE="relay") as (twilio, running):`"""
    return partial(telephones, hub)


async def spoken(text: str) -> bytes:
    engine = Espeak()
    pcm = b"".join([chunk async for chunk in engine.speak(text, voice="")])
    rate = engine.facts.sample_rate
    await engine.close()
    return resample(pcm, rate, RATE)


async def understood(pcm: bytes) -> str:
    engine = Moonshine()
    heard = await engine.transcribe(
        await asyncio.to_thread(resample, pcm, RATE, engine.facts.sample_rate)
    )
    await engine.close()
    return heard.text.lower()


async def calls(running: RunningHub) -> list[dict[str, Any]]:
    async with running.http.get("/api/calls") as answer:
        assert answer.status == 200
        found: list[dict[str, Any]] = await answer.json()
        return found


async def detail(running: RunningHub, call: FakeCall) -> dict[str, Any]:
    """The call as the hub tells of it, once it has ended there."""

    async def over() -> bool:
        mine = [c for c in await calls(running) if c["external_id"] == call.sid]
        return bool(mine) and all(c["cause"] is not None for c in mine)

    await eventually(over, what="the call's end")
    (mine,) = [c for c in await calls(running) if c["external_id"] == call.sid]
    async with running.http.get(f"/api/calls/{mine['id']}") as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def answered(running: RunningHub, call: FakeCall) -> None:
    """Wait until the caller has heard an answer to its end."""

    async def heard() -> bool:
        (mine,) = [c for c in await calls(running) if c["external_id"] == call.sid]
        async with running.http.get(f"/api/calls/{mine['id']}") as answer:
            turns = (await answer.json())["turns"]
        return bool(turns) and turns[0]["ending"] is not None

    await eventually(heard, what="the answer's end")


async def test_a_whole_call_offline(phones: Phones) -> None:
    """Understood, answered, and the answer can be understood in turn."""
    async with phones() as (twilio, running):
        call = await twilio.dial(CALLER, agent="maya")
        await call.until_quiet(for_ms=1_500)
        greeting = len(call.heard)
        asked_ms = call.at_ms
        await call.speak(await spoken("What time is it?"))
        await answered(running, call)
        answered_ms = call.at_ms
        await call.hang_up()
        told = await detail(running, call)
        assert (told["cause"], told["agent"], told["caller"]) == (
            "caller-hung-up",
            "maya",
            CALLER,
        )
        (turn,) = told["turns"]
        assert "time" in turn["said"].lower()
        assert turn["ending"] == "completed"
        assert 0 < turn["total_ms"] < answered_ms - asked_ms
        assert turn["total_ms"] >= turn["waited_ms"]
        assert "hello" in await understood(call.heard[:greeting])
        said = next(e["text"] for e in told["timeline"] if e["kind"] == "say" and e["turn"])
        answer = await understood(call.heard[greeting:])
        words = [word for word in re.findall(r"[a-z]{4,}", said.lower()) if word in answer]
        assert len(words) >= 2, (said, answer)
        assert call.recording()[:4] == b"RIFF"


async def test_speaking_into_the_answer_silences_it(phones: Phones) -> None:
    async with phones() as (twilio, running):
        call = await twilio.dial(CALLER)
        await call.until_quiet()
        await call.speak(await spoken("What can you do?"))
        before = call.count("media")
        await call.until(lambda: call.count("media") > before + 5)
        some = len(call.heard) + RATE * 2  # a second later, by the telephone's own clock
        await call.until(lambda: call.playing and len(call.heard) > some)
        await call.speak(await spoken("Stop it now please, that is enough for me."))
        await call.until(lambda: call.count("clear") > 0)  # of the carrier's buffer
        await call.hang_up()
        told = await detail(running, call)
        assert told["turns"][0]["ending"] == "interrupted"
        dropped = next(e for e in told["timeline"] if e["kind"] == "turn_dropped")
        said = "".join(e["text"] for e in told["timeline"] if e["kind"] == "say")
        assert len(dropped["text"]) < len(said)
        async with running.http.get(f"/api/sessions/{told['session_key']}") as answer:
            messages = (await answer.json())["messages"]
        answers = [m["content"] for m in messages if m["role"] == "assistant"]
        assert dropped["text"].strip() in [text.strip() for text in answers]


async def test_a_call_whose_socket_dies_goes_on(phones: Phones) -> None:
    async with phones(TRON_STT="fake", TRON_TTS="fake") as (twilio, running):
        call = await twilio.dial(CALLER, line=Line(dies_after_s=0.6))
        await call.until(lambda: call.count("connected") == 2)
        media = call.count("media")
        await call.until(lambda: call.count("media") > media)  # and is spoken to
        await call.hang_up()

        async def both_over() -> bool:
            causes = sorted(str(c["cause"]) for c in await calls(running))
            # On one machine the new socket may come before the old one's end is noticed.
            return causes in (["caller-hung-up", how] for how in ("carrier-lost", "replaced"))

        await eventually(both_over)


async def test_a_hub_that_was_killed_takes_its_calls_up_again(phones: Phones) -> None:
    async with phones(TRON_STT="fake", TRON_TTS="fake") as (twilio, running):
        call = await twilio.dial(CALLER)
        await call.until(lambda: call.count("media") > 0)
        asked = asyncio.Event()
        really_post = twilio.post

        async def post_later(url: str, fields: dict[str, str]) -> tuple[int, str]:
            await asked.wait()  # the carrier's retry, or the load balancer's other hub
            return await really_post(url, fields)

        twilio.post = post_later  # type: ignore[method-assign]
        await running.kill()
        await running.restart()
        asked.set()
        await call.until(lambda: call.count("connected") == 2)
        await call.hang_up()


async def test_a_bad_line_is_understood_all_the_same(phones: Phones) -> None:
    async with phones() as (twilio, running):
        line = Line(jitter_ms=120, loss=0.01, duplicates=0.05)
        call = await twilio.dial(CALLER, line=line)
        await call.until_quiet(for_ms=1_500)
        await call.speak(await spoken("What time is it?"))
        await answered(running, call)
        await call.hang_up()
        told = await detail(running, call)
        assert "time" in told["turns"][0]["said"].lower()


async def test_a_carrier_that_does_not_read_loses_its_call_and_nobody_elses(
    phones: Phones,
) -> None:
    async with phones(TRON_STT="fake", TRON_TTS="fake") as (twilio, _running):
        good = await twilio.dial("+14155550101")
        bad = await twilio.dial("+14155550102", line=Line(reads=False))
        await good.until_quiet()
        assert level(good.heard) > -60
        await bad.break_line()
        await good.press("1#")
        media = good.count("media")
        await good.until(lambda: good.count("media") > media)
        await good.hang_up()


async def test_a_call_that_is_placed(phones: Phones) -> None:
    async with phones(TRON_STT="fake", TRON_TTS="fake") as (twilio, running):
        body = {"to": CALLER, "agent": "maya", "message": "Your report is ready."}
        async with running.http.post("/api/calls", json=body) as answer:
            assert answer.status == 200, await answer.text()
            sid = (await answer.json())["id"]
        call = twilio.calls[sid]
        await call.until_quiet()
        async with running.http.get(f"/twilio/calls/{sid}") as answer:
            assert (await answer.json())["status"] == "in-progress"
        async with running.http.delete(f"/api/calls/{sid}") as answer:
            assert answer.status == 200
        told = await detail(running, call)
        assert (told["direction"], told["agent"], told["cause"]) == (
            "outbound",
            "maya",
            "operator-hung-up",
        )
        assert told["timeline"][1]["text"] == "Your report is ready."
        await call.until(lambda: call.status == "completed")
        twilio.outcomes["+14155550199"] = "no-answer"
        async with running.http.post("/api/calls", json={"to": "+14155550199"}) as answer:
            assert answer.status == 200

        async def listed() -> bool:
            return any(c["cause"] == "not-answered-no-answer" for c in await calls(running))

        await eventually(listed)


async def test_by_relay(phones: Phones) -> None:
    async with phones(TRON_TWILIO_MODE="relay") as (twilio, running):
        call = await twilio.dial(CALLER)
        await call.prompt("What can you do?")
        await call.until(lambda: len(call.words) == 1)
        heard = " ".join(call.words[0].split()[:4])
        await call.interrupt(heard)
        await call.prompt("What time is it?")
        await call.until(lambda: any(":" in words for words in call.words[1:]))
        await call.hang_up()
        told = await detail(running, call)
        async with running.http.get(f"/api/sessions/{told['session_key']}") as answer:
            messages = (await answer.json())["messages"]
        assert heard in [m["content"] for m in messages if m["role"] == "assistant"]


async def test_texts(phones: Phones) -> None:
    async with phones() as (twilio, running):
        (said,) = await twilio.text(CALLER, "What time is it?")
        assert ":" in said
        async with running.http.get("/api/sessions") as answer:
            (session,) = await answer.json()
        assert (session["channel"], session["caller_id"]) == ("sms", CALLER)


async def test_forged_upgrades_get_a_real_403(phones: Phones) -> None:
    async with phones() as (twilio, running):
        for signature in ("forged", twilio.sign(f"{PUBLIC}/twilio/media", {})):
            with pytest.raises(WSServerHandshakeError) as refused:
                await running.http.ws_connect(
                    "/twilio/media", headers={"x-twilio-signature": signature}
                )
            assert refused.value.status == 403
        call = await twilio.dial(CALLER)
        assert call.count("connected") == 1, "and the real one gets in"
        await call.hang_up()


async def test_a_hub_that_stops_lets_its_calls_finish(phones: Phones) -> None:
    async with phones(TRON_STT="fake", TRON_TTS="fake", TRON_DRAIN_S="6") as (twilio, running):
        call = await twilio.dial(CALLER)
        await call.until(lambda: call.count("media") > 0)
        running.allow("StreamReaderProtocol")  # Python 3.11 logs connections that a stop cancels
        stopping = asyncio.create_task(running.terminate())
        await call.until(lambda: call.count("closed") > 0)
        assert await stopping == 0
