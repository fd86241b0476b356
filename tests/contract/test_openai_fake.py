"""The fake provider against the unmodified SDK: what it says must be what a real one says."""

import asyncio
import json

import aiohttp
import openai
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
    Slow,
    Status,
    ToolCalls,
    Truncated,
    WrongContentType,
)
from integrations.openai.fake import FakeProvider
from tests.harness.sse import read_sse, text_of
from tests.harness.waiting import PATIENCE_S, eventually

HELLO = [{"role": "user", "content": "Hello there, Tony"}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


def client(fake: FakeProvider, retries: int = 0) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=fake.base_url, api_key="sk-test", max_retries=retries, timeout=PATIENCE_S
    )


async def said(sdk: openai.AsyncOpenAI, model: str = "gpt-4.1-mini", **more: object) -> str:
    text = ""
    stream = await sdk.chat.completions.create(model=model, messages=HELLO, stream=True, **more)  # type: ignore[call-overload]
    async for chunk in stream:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return text


async def test_streams_and_whole_answers_are_the_same(fake: FakeProvider) -> None:
    async with client(fake) as sdk:
        whole = await sdk.chat.completions.create(model="gpt-4.1-mini", messages=HELLO)  # type: ignore[arg-type]
        assert await said(sdk) == whole.choices[0].message.content
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 50)
    assert whole.choices[0].finish_reason == "stop"
    assert fake.requests[0].headers["authorization"] == "Bearer sk-test"
    assert [received.body.get("stream") for received in fake.requests] == [None, True]


async def test_echo_obeys_stop_and_limits(fake: FakeProvider) -> None:
    async with client(fake) as sdk:
        assert await said(sdk, "echo") == "Hello there, Tony"
        assert await said(sdk, "echo", stop=", T") == "Hello there"
        assert await said(sdk, "echo", max_completion_tokens=1) == "Hello "


async def test_chunks_have_the_documented_shape(fake: FakeProvider) -> None:
    body = {
        "model": "echo",
        "messages": HELLO,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with (
        aiohttp.ClientSession() as http,
        http.post(fake.base_url + "/chat/completions", json=body) as answer,
    ):
        events = [event async for event in read_sse(answer.content.iter_any())]
    assert events[-1].done
    chunks = [event.json for event in events[:-1]]
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert chunks[-2]["choices"][0]["delta"] == {}
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 6
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert text_of(events) == "Hello there, Tony"


async def test_tools_are_called_in_pieces_and_answered(fake: FakeProvider) -> None:
    fake.script(ToolCalls([("weather", {"city": "Oslo in winter"}), ("weather", "{}")]))
    async with client(fake) as sdk:
        async with sdk.chat.completions.stream(
            model="gpt-4.1-mini",
            messages=HELLO,  # type: ignore[arg-type]
            tools=[WEATHER],  # type: ignore[list-item]
        ) as stream:
            final = await stream.get_final_completion()
        calls = final.choices[0].message.tool_calls
        assert calls is not None
        assert [call.function.arguments for call in calls] == ['{"city":"Oslo in winter"}', "{}"]
        assert final.choices[0].finish_reason == "tool_calls"
        asked = await sdk.chat.completions.create(model="tool:weather", messages=HELLO)  # type: ignore[arg-type]
        call = (asked.choices[0].message.tool_calls or [])[0]
        result = {"role": "tool", "tool_call_id": call.id, "content": "snow"}
        told = await sdk.chat.completions.create(
            model="tool:weather",
            messages=[*HELLO, asked.choices[0].message, result],  # type: ignore[list-item]
        )
        assert told.choices[0].message.content == "The tool said: snow"


async def test_errors_are_typed_and_retries_wait(fake: FakeProvider) -> None:
    fake.script(Status(401, code="invalid_api_key"), Status(429, retry_after=0.02), Status(500))
    async with client(fake) as sdk:
        with pytest.raises(openai.AuthenticationError) as refused:
            await said(sdk)
        assert refused.value.code == "invalid_api_key"
    async with client(fake, retries=2) as sdk:
        assert (await said(sdk)).startswith("word1 word2 ")
    assert fake.unused == []
    assert len(fake.requests) == 4


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (BrokenAfter(2), openai.APIError),
        (Garbage(2), json.JSONDecodeError),
        (DisconnectAfter(), openai.APIConnectionError),
        (DisconnectAfter(2), openai.APIConnectionError),
    ],
)
async def test_faults_reach_the_client(
    fake: FakeProvider, fault: Behaviour, seen: type[Exception]
) -> None:
    fake.script(fault, Reply("well again"))
    async with client(fake) as sdk:
        with pytest.raises(seen):
            await said(sdk)
        assert await said(sdk) == "well again"


@pytest.mark.parametrize("page", [NonJson(), WrongContentType()])
async def test_a_page_instead_of_a_stream(fake: FakeProvider, page: Behaviour) -> None:
    fake.script(page)
    body = {"messages": HELLO, "stream": True}
    async with (
        aiohttp.ClientSession() as http,
        http.post(fake.base_url + "/chat/completions", json=body) as answer,
    ):
        assert answer.status == 200
        assert (answer.content_type == "text/html") == isinstance(page, WrongContentType)
        assert (await answer.text()).startswith("<!doctype html>")


async def test_a_truncated_stream_has_no_ending(fake: FakeProvider) -> None:
    fake.script(Truncated(3))
    async with client(fake) as sdk:
        assert await said(sdk) == "word1 word2 word3 "


@pytest.mark.parametrize("silence", [Hang(), HangAfter(2)])
async def test_a_client_that_leaves_is_counted(fake: FakeProvider, silence: Behaviour) -> None:
    fake.script(silence)
    async with client(fake) as sdk:
        waiting = asyncio.ensure_future(said(sdk))
        await eventually(lambda: fake.active == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await eventually(lambda: fake.disconnected == 1 and fake.active == 0)


async def test_it_paces_by_the_clock(fake: FakeProvider) -> None:
    fake.script(Slow(first_ms=30, token_ms=10, text="one two three"))
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with client(fake) as sdk:
        assert await said(sdk) == "one two three"
    assert loop.time() - started >= 0.06


async def test_models(fake: FakeProvider) -> None:
    async with client(fake) as sdk:
        listed = [model.id async for model in sdk.models.list()]
        assert "gpt-4.1-mini" in listed
        assert (await sdk.models.retrieve("echo")).owned_by == "fake"
        with pytest.raises(openai.NotFoundError):
            await sdk.models.retrieve("nobody")
