"""Talking while something is killed, slow, broken or locked: nothing accepted is lost, every
failure is plain, and the hub is well afterwards."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import pytest

from integrations.openai.behaviours import (
    Behaviour,
    BrokenAfter,
    DisconnectAfter,
    Garbage,
    Hang,
    HangAfter,
    NonJson,
    Reply,
    Status,
    Truncated,
    WrongContentType,
)
from integrations.openai.fake import FakeProvider
from tests.harness.hub import Hubs, RunningHub
from tests.harness.sse import SseEvent, read_sse, text_of
from tests.harness.waiting import eventually

ONE_TRY = {"TRON_PROVIDER_RETRIES": 0}
SILENT_S = 0.5


async def thinking(hub: Hubs, fake: FakeProvider, **more: Any) -> RunningHub:
    settings = {"TRON_BRAIN": "openai", "OPENAI_BASE_URL": fake.base_url}
    return await hub(**settings | more)


def asked(text: str, *, stream: bool = True, user: str = "ann") -> dict[str, Any]:
    return {"stream": stream, "user": user, "messages": [{"role": "user", "content": text}]}


async def say(running: RunningHub, text: str) -> list[SseEvent]:
    async with running.http.post("/v1/chat/completions", json=asked(text)) as answer:
        assert answer.status == 200, await answer.text()
        return [event async for event in read_sse(answer.content.iter_any())]


@asynccontextmanager
async def listening(running: RunningHub, text: str) -> AsyncIterator[AsyncIterator[SseEvent]]:
    """A stream that has given its first word."""
    async with running.http.post("/v1/chat/completions", json=asked(text)) as answer:
        assert answer.status == 200, await answer.text()
        events = read_sse(answer.content.iter_any())
        async for event in events:
            if event.data and event.json["choices"][0]["delta"].get("content"):
                break
        yield events


async def rest_of(events: AsyncIterator[SseEvent]) -> list[SseEvent]:
    return [event async for event in events]


async def transcript(running: RunningHub) -> list[str]:
    async with running.http.get("/api/sessions") as answer:
        [session] = await answer.json()
    async with running.http.get(f"/api/sessions/{session['key']}/export") as answer:
        return [f"{m['role']}: {m['content']}" for m in (await answer.json())["messages"]]


async def well(running: RunningHub, fake: FakeProvider) -> None:
    fake.script(Reply("Well again."))
    assert text_of(await say(running, "are you well?")) == "Well again."


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_killed_in_the_middle_of_an_answer(
    hub: Hubs, fake: FakeProvider, database: str, request: pytest.FixtureRequest
) -> None:
    more = {}
    if database == "postgresql":
        more["TRON_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    running = await thinking(hub, fake, **more)
    fake.script(HangAfter(3))
    async with listening(running, "the seventh word") as events:
        await running.kill()
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            await rest_of(events)
    await running.restart()
    assert await transcript(running) == ["user: the seventh word"]
    fake.script(Reply("Here."))
    assert text_of(await say(running, "go on")) == "Here."
    sent = [m["content"] for m in fake.requests[-1].body["messages"][1:]]
    assert sent == ["the seventh word", "go on"]
    assert await running.terminate() == 0


async def test_killed_before_the_first_word_and_asked_again(hub: Hubs, fake: FakeProvider) -> None:
    running = await thinking(hub, fake)
    fake.script(Hang())
    asking = asyncio.ensure_future(say(running, "only once"))
    await eventually(lambda: fake.active == 1)
    await running.kill()
    with pytest.raises(aiohttp.ClientError):
        await asking
    await running.restart()
    fake.script(Reply("Once."))
    assert text_of(await say(running, "only once")) == "Once."
    assert await transcript(running) == ["user: only once", "assistant: Once."]


EARLY: list[Behaviour] = [
    Status(500),
    Status(401),
    DisconnectAfter(0),
    Garbage(0),
    NonJson(),
    WrongContentType(),
    Truncated(0),
]
LATE: list[Behaviour] = [
    BrokenAfter(2),
    HangAfter(2),
    DisconnectAfter(2),
    Garbage(2),
    Truncated(2),
]


@pytest.mark.parametrize("fault", EARLY, ids=lambda fault: type(fault).__name__)
async def test_before_the_first_word_the_offline_brain_takes_over(
    hub: Hubs, fake: FakeProvider, fault: Behaviour
) -> None:
    running = await thinking(hub, fake, TRON_BRAIN="auto", **ONE_TRY)
    fake.script(fault)
    assert text_of(await say(running, "hello")), "never silence"
    await well(running, fake)


async def test_silence_before_the_first_word_does_so_too(hub: Hubs, fake: FakeProvider) -> None:
    running = await thinking(
        hub, fake, TRON_BRAIN="auto", TRON_FIRST_TOKEN_TIMEOUT_S=SILENT_S, **ONE_TRY
    )
    fake.script(Hang())
    assert text_of(await say(running, "hello")), "never silence"
    fake.always = Reply("Well again.")

    async def well_again() -> bool:  # a machine may be busy for longer than this hub waits
        return text_of(await say(running, "are you well?")) == "Well again."

    await eventually(well_again)


@pytest.mark.parametrize("fault", LATE, ids=lambda fault: type(fault).__name__)
async def test_after_it_the_failure_is_said(
    hub: Hubs, fake: FakeProvider, fault: Behaviour
) -> None:
    silent = {"TRON_TOKEN_TIMEOUT_S": SILENT_S} if isinstance(fault, HangAfter) else {}
    running = await thinking(hub, fake, TRON_BRAIN="auto", **ONE_TRY, **silent)
    fake.hold = asyncio.Event()
    fake.script(fault)
    async with listening(running, "hello") as listened:
        fake.hold.set()
        events = await rest_of(listened)
    assert events[-1].json["error"]["type"] == "provider_error"
    assert not any(event.done for event in events)
    fake.hold = None
    await well(running, fake)
    said = await transcript(running)
    assert said[0] == "user: hello"
    assert said[1].startswith("assistant: word1 ")
    assert said[2:] == ["user: are you well?", "assistant: Well again."]


async def test_a_provider_that_is_gone_costs_no_message(hub: Hubs, fake: FakeProvider) -> None:
    running = await thinking(hub, fake, **ONE_TRY)
    await fake.__aexit__()
    async with running.http.post("/v1/chat/completions", json=asked("hello")) as answer:
        assert answer.status == 502
        assert (await answer.json())["error"]["type"] == "provider_unavailable"
    assert await transcript(running) == ["user: hello"]
    async with running.http.get("/health") as answer:
        assert answer.status == 200
    await fake.__aenter__()
    await well(running, fake)


@contextmanager
def locked(running: RunningHub) -> Iterator[None]:
    """Somebody else holds the database's write lock."""
    database = sqlite3.connect(running.home / "data" / "tron.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        database.rollback()
        database.close()


async def test_a_locked_database_is_said_and_passes(hub: Hubs, fake: FakeProvider) -> None:
    running = await thinking(hub, fake)
    running.allow("store.write_failed", "history", "tool.audit_lost")
    await well(running, fake)
    with locked(running):
        async with running.http.post("/v1/chat/completions", json=asked("now?")) as answer:
            assert answer.status == 503
            assert (await answer.json())["error"]["type"] == "storage_unavailable"
            assert answer.headers["Retry-After"]
        assert len(fake.requests) == 1, "the model is not asked before the message is safe"
        async with running.http.get("/api/sessions") as answer:
            assert answer.status == 200, "reading goes on"
    fake.script(Reply("Now."))
    assert text_of(await say(running, "now?")) == "Now."
    assert (await transcript(running))[2:] == ["user: now?", "assistant: Now."]


async def test_an_answer_given_while_the_database_is_locked_is_saved_later(
    hub: Hubs, fake: FakeProvider
) -> None:
    running = await thinking(hub, fake)
    running.allow("store.write_failed", "history", "answer.unsaved")
    fake.hold = asyncio.Event()
    fake.script(Reply("one two three"))
    async with listening(running, "count") as events:
        with locked(running):
            fake.hold.set()
            assert [event async for event in events][-1].done
    await well(running, fake)
    assert await transcript(running) == [
        "user: count",
        "assistant: one two three",
        "user: are you well?",
        "assistant: Well again.",
    ]


@pytest.mark.parametrize("signals", [1, 2])
async def test_it_drains_when_told_to_stop(hub: Hubs, fake: FakeProvider, signals: int) -> None:
    running = await thinking(hub, fake)
    fake.hold = asyncio.Event()
    fake.script(Reply(" ".join(f"w{number}" for number in range(20))))
    async with listening(running, "count") as events:
        for _ in range(signals):
            os.kill(running.pid, signal.SIGTERM)
            await eventually(lambda: "hub.draining" in running.log)
        await eventually(lambda: refused(running))
        fake.hold.set()
        rest = [event async for event in events]
    assert rest[-1].done
    assert text_of(rest).endswith("w19")
    assert await running.terminate() == 0
    await running.start()
    assert (await transcript(running))[1].endswith("w19")


async def refused(running: RunningHub) -> bool:
    """Whether a new connection is refused; until then a new turn is."""
    try:
        async with (
            aiohttp.ClientSession(running.base_url) as another,
            another.post("/v1/chat/completions", json=asked("me too", user="bob")) as answer,
        ):
            assert answer.status == 503
            return False
    except aiohttp.ClientOSError:
        return True
    except aiohttp.ServerDisconnectedError:  # taken in the very moment the door was shut
        return False


async def test_draining_has_an_end(hub: Hubs, fake: FakeProvider) -> None:
    running = await thinking(hub, fake, TRON_DRAIN_S=0.5)
    running.allow("StreamReaderProtocol")  # how Hypercorn on 3.11 says that it hung up
    fake.script(HangAfter(2))
    async with listening(running, "for ever") as events:
        assert await running.terminate() == 0
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            await rest_of(events)
    await running.start()
    said = await transcript(running)
    assert said[0] == "user: for ever"
    assert said[1].startswith("assistant: word1"), "what was heard is kept"
