"""Many people talk at once: nobody hears another's answer, and nobody waits for a slow reader."""

import asyncio
import socket

import msgspec

from integrations.openai.behaviours import Reply
from integrations.openai.fake import FakeProvider
from tests.harness.hub import Hubs, RunningHub
from tests.harness.sse import read_sse, text_of
from tests.harness.waiting import PATIENCE_S, eventually

STREAMS = 200
TOKENS = 100


async def thinking(hub: Hubs, fake: FakeProvider) -> RunningHub:
    return await hub(
        TRON_BRAIN="openai",
        OPENAI_BASE_URL=fake.base_url,
        TRON_MODEL="echo",
        TRON_LOG_FORMAT="json",
    )


def words(who: int, turn: int) -> str:
    return " ".join(f"p{who}t{turn}w{number}" for number in range(TOKENS))


async def say(running: RunningHub, who: int, text: str) -> tuple[str, str]:
    """(session, answer)"""
    body = {
        "model": "tony",
        "stream": True,
        "user": f"person-{who}",
        "messages": [{"role": "user", "content": text}],
    }
    async with running.http.post("/v1/chat/completions", json=body) as answer:
        assert answer.status == 200, await answer.text()
        events = [event async for event in read_sse(answer.content.iter_any())]
        assert events[-1].done
        return answer.headers["x-tron-session"], text_of(events)


async def test_200_streams_each_in_its_own_session(hub: Hubs, fake: FakeProvider) -> None:
    running = await thinking(hub, fake)
    connector = running.http.connector
    assert connector is not None
    connector._limit = 0  # all at once, not aiohttp's hundred
    first = await asyncio.gather(*(say(running, who, words(who, 1)) for who in range(STREAMS)))
    second = await asyncio.gather(*(say(running, who, words(who, 2)) for who in range(STREAMS)))
    for who in range(STREAMS):
        assert first[who][1] == words(who, 1)
        assert second[who][1] == words(who, 2)
        assert first[who][0] == second[who][0]
    assert len({session for session, _ in first}) == STREAMS
    for who in range(0, STREAMS, 20):
        async with running.http.get(f"/api/sessions/{first[who][0]}/export") as answer:
            said = [message["content"] for message in (await answer.json())["messages"]]
        assert said == [words(who, 1), words(who, 1), words(who, 2), words(who, 2)]
    async with running.http.get("/api/status") as answer:
        assert (await answer.json())["session_count"] == STREAMS


async def test_a_slow_reader_slows_nobody(hub: Hubs, fake: FakeProvider) -> None:
    """It asks for several megabytes and reads nothing until all others have finished."""
    running = await thinking(hub, fake)
    long = " ".join(f"word-{number:06}-{'x' * 100}" for number in range(60_000))
    fake.script(Reply(long))
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, ("127.0.0.1", running.port))
    body = msgspec.json.encode(
        {"stream": True, "user": "slow", "messages": [{"role": "user", "content": "all of it"}]}
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    await loop.sock_sendall(slow, head.encode() + body)
    await eventually(lambda: len(fake.requests) == 1)
    answers = await asyncio.gather(*(say(running, who, words(who, 1)) for who in range(40)))
    assert [text for _, text in answers] == [words(who, 1) for who in range(40)]
    assert fake.active == 1, "the slow one was still being answered when all others had ended"

    reader, writer = await asyncio.open_connection(sock=slow)
    raw = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    assert raw.startswith(b"HTTP/1.1 200")
    assert raw.count(b"word-") == 60_000
    assert b"data: [DONE]" in raw
