"""The unmodified openai SDK, and curl-like requests, against a real hub."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from integrations.openai.behaviours import (
    BrokenAfter,
    Hang,
    HangAfter,
    Reply,
    Slow,
    Status,
    ToolCalls,
)
from integrations.openai.fake import FakeProvider
from tests.harness.hub import TRON, Hubs, RunningHub
from tests.harness.sse import read_sse, text_of
from tests.harness.waiting import PATIENCE_S, eventually

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there, Tony"}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
async def thinking(hub: Hubs, fake: FakeProvider) -> RunningHub:
    """A hub whose only brain is the fake provider."""
    return await hub(
        TRON_BRAIN="openai",
        OPENAI_BASE_URL=fake.base_url,
        OPENAI_API_KEY="sk-test",
        TRON_PROVIDER_RETRIES=0,
        TRON_PRICES='{"gpt-4.1-mini": [1, 10]}',
    )


@pytest.fixture
async def sdk(thinking: RunningHub) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client(thinking) as sdk:
        yield sdk


def client(running: RunningHub, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=running.base_url + "/v1",
        api_key=key,
        max_retries=0,
        timeout=PATIENCE_S,
        _strict_response_validation=True,
    )


async def streamed(sdk: openai.AsyncOpenAI, **more: Any) -> str:
    given: dict[str, Any] = {"model": "tony", "messages": HELLO, "stream": True} | more
    stream = await sdk.chat.completions.create(**given)
    return "".join(
        [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
    )


def talk_with(base_url: str) -> tuple[str, str, list[str]]:
    """The synchronous client, as a program without asyncio uses it."""
    with openai.OpenAI(
        base_url=base_url + "/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as sdk:
        whole = sdk.chat.completions.create(model="tony", messages=HELLO)
        stream = sdk.chat.completions.create(model="tony", messages=HELLO, stream=True)
        text = "".join(c.delta.content or "" for chunk in stream for c in chunk.choices)
        return whole.choices[0].message.content or "", text, [m.id for m in sdk.models.list()]


async def test_the_synchronous_client(thinking: RunningHub, fake: FakeProvider) -> None:
    fake.script(Reply("Morning."), Reply("Still here."))
    whole, text, models = await asyncio.to_thread(talk_with, thinking.base_url)
    assert (whole, text) == ("Morning.", "Still here.")
    assert "tony" in models


async def test_offline_it_answers_and_says_who_it_is(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    async with client(running) as sdk:
        whole = await sdk.chat.completions.create(model="maya", messages=HELLO)
        assert whole.model == "maya"
        assert whole.choices[0].message.content
        assert whole.usage is not None
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
        assert await streamed(sdk)
        form: Any = {"type": "json_object"}
        said = await streamed(sdk, response_format=form, user="json")
        assert isinstance(json.loads(said), dict)
        cut = await sdk.chat.completions.create(
            model="tony", messages=HELLO, max_completion_tokens=2, user="short"
        )
        assert cut.choices[0].finish_reason == "length"
        assert cut.usage is not None
        assert cut.usage.completion_tokens == 2


async def test_whole_and_streamed_answers(sdk: openai.AsyncOpenAI, fake: FakeProvider) -> None:
    fake.script(Reply("One two three."), Reply("One two three."))
    whole = await sdk.chat.completions.create(model="tony", messages=HELLO)
    assert whole.choices[0].message.content == "One two three."
    assert whole.choices[0].finish_reason == "stop"
    assert await streamed(sdk) == "One two three."


async def test_usage_is_the_providers(sdk: openai.AsyncOpenAI, fake: FakeProvider) -> None:
    stream = await sdk.chat.completions.create(
        model="tony", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    last = chunks[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == fake.tokens
    about = (last.model_extra or {})["tron"]
    assert about["estimated"] is False
    assert about["cost_usd"] == pytest.approx(
        (last.usage.prompt_tokens + 10 * last.usage.completion_tokens) / 1e6
    )


async def test_the_callers_tools_make_a_round_trip(
    sdk: openai.AsyncOpenAI, fake: FakeProvider
) -> None:
    fake.script(ToolCalls([("weather", {"city": "Oslo"})]), Reply("Snow in Oslo."))
    asked = await sdk.chat.completions.create(model="tony", messages=HELLO, tools=[WEATHER])
    assert asked.choices[0].finish_reason == "tool_calls"
    [call] = asked.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    told = await sdk.chat.completions.create(
        model="tony",
        messages=[
            *HELLO,
            asked.choices[0].message.model_dump(exclude_none=True),  # type: ignore[list-item]
            {"role": "tool", "tool_call_id": call.id, "content": "snow"},
        ],
        tools=[WEATHER],
    )
    assert told.choices[0].message.content == "Snow in Oslo."
    roles = [message["role"] for message in fake.requests[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    assert fake.requests[-1].body["messages"][-1]["content"] == "snow"


async def test_streamed_tool_calls_are_put_together(
    sdk: openai.AsyncOpenAI, fake: FakeProvider
) -> None:
    fake.script(ToolCalls([("weather", {"city": "Oslo in winter"}), ("weather", "{}")]))
    async with sdk.chat.completions.stream(model="tony", messages=HELLO, tools=[WEATHER]) as stream:
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == [
        {"city": "Oslo in winter"},
        {},
    ]
    assert len({call.id for call in calls}) == 2


async def test_the_hubs_own_tools_run_inside(sdk: openai.AsyncOpenAI, fake: FakeProvider) -> None:
    fake.script(ToolCalls([("current_time", {})]), Reply("It is late."))
    assert await streamed(sdk) == "It is late."
    result = fake.requests[-1].body["messages"][-1]
    assert result["role"] == "tool"
    assert result["content"]


async def test_parameters_reach_the_model(sdk: openai.AsyncOpenAI, fake: FakeProvider) -> None:
    form: Any = {"type": "json_object"}
    await sdk.chat.completions.create(
        model="tony",
        messages=[{"role": "system", "content": "Answer in Welsh."}, *HELLO],
        temperature=0.3,
        max_completion_tokens=5,
        stop=["word9"],
        seed=7,
        response_format=form,
    )
    body = fake.requests[-1].body
    assert {k: body[k] for k in ("temperature", "max_completion_tokens", "stop", "seed")} == {
        "temperature": 0.3,
        "max_completion_tokens": 5,
        "stop": ["word9"],
        "seed": 7,
    }
    assert body["response_format"] == form
    assert "Answer in Welsh." in body["messages"][0]["content"]
    assert await streamed(sdk, max_tokens=3) == "word1 word2 word3 "
    assert await streamed(sdk, stop="word3") == "word1 word2 "


async def test_faults_are_typed(sdk: openai.AsyncOpenAI, thinking: RunningHub) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        await streamed(sdk, n=3)
    assert bad.value.param == "n"
    assert bad.value.response.headers["x-request-id"]
    with pytest.raises(openai.BadRequestError):
        await streamed(sdk, messages=[])
    with pytest.raises(openai.NotFoundError) as missing:
        await sdk.models.retrieve("nobody")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        await sdk.embeddings.create(model="tony", input="x")


async def test_a_provider_that_is_down(
    sdk: openai.AsyncOpenAI, thinking: RunningHub, fake: FakeProvider
) -> None:
    fake.script(Status(500))
    with pytest.raises(openai.InternalServerError) as down:
        await streamed(sdk)
    assert down.value.status_code == 502
    assert down.value.type == "provider_unavailable"
    fake.script(Status(400, message="Too odd.", type="invalid_request_error"))
    with pytest.raises(openai.BadRequestError, match="Too odd"):
        await streamed(sdk)
    fake.script(Reply("Well again."))
    assert await streamed(sdk) == "Well again."


async def until_told(stream: openai.AsyncStream[ChatCompletionChunk], go_on: asyncio.Event) -> None:
    """Read all of it, of which no more is sent than the first word until that has come."""
    async for chunk in stream:
        if any(choice.delta.content for choice in chunk.choices):
            go_on.set()


async def test_a_break_in_the_middle_is_an_error(
    sdk: openai.AsyncOpenAI, fake: FakeProvider
) -> None:
    fake.hold = asyncio.Event()
    fake.script(BrokenAfter(2), BrokenAfter(2))
    stream = await sdk.chat.completions.create(model="tony", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as broke:
        await until_told(stream, fake.hold)
    assert broke.value.type == "provider_error"
    with pytest.raises(openai.InternalServerError):
        await sdk.chat.completions.create(model="tony", messages=HELLO)


async def test_models(sdk: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in sdk.models.list()]
    assert listed[0] == "tony"
    assert {"maya", "alex", "jordan", "riley"} < set(listed)
    assert (await sdk.models.retrieve("maya")).owned_by == "tron"


async def test_a_named_user_is_remembered(sdk: openai.AsyncOpenAI, fake: FakeProvider) -> None:
    fake.script(Reply("Noted."), Reply("Seven."), Reply("Who?"))
    await streamed(sdk, user="ann", messages=[{"role": "user", "content": "Remember seven."}])
    await streamed(sdk, user="ann", messages=[{"role": "user", "content": "Which number?"}])
    said = [m["content"] for m in fake.requests[-1].body["messages"][1:]]
    assert said == ["Remember seven.", "Noted.", "Which number?"]
    await streamed(sdk, user="bob", messages=[{"role": "user", "content": "And I?"}])
    assert [m["content"] for m in fake.requests[-1].body["messages"][1:]] == ["And I?"]


async def test_a_request_id_is_kept_and_names_the_caller(thinking: RunningHub) -> None:
    body = {"messages": HELLO}
    for _ in range(2):
        async with thinking.http.post(
            "/v1/chat/completions", json=body, headers={"X-Request-ID": "abc-1"}
        ) as answer:
            assert answer.status == 200
            assert answer.headers["x-request-id"] == "abc-1"
    async with thinking.http.get("/api/sessions") as answer:
        assert [s["caller_id"] for s in await answer.json()] == ["req-abc-1"]


@pytest.mark.parametrize("silence", [Hang(), HangAfter(2)])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_model(
    sdk: openai.AsyncOpenAI, fake: FakeProvider, silence: Any, stream: bool
) -> None:
    fake.script(silence)
    asking = asyncio.ensure_future(
        streamed(sdk, user="ann")
        if stream
        else sdk.chat.completions.create(model="tony", messages=HELLO, user="ann")
    )
    await eventually(lambda: fake.active == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await eventually(lambda: fake.disconnected == 1 and fake.active == 0)
    fake.script(Reply("Again."))
    assert await streamed(sdk, user="ann") == "Again."


async def tron(running: RunningHub, *arguments: str, given: str = "") -> str:
    """The command line on the hub's home; what it printed."""
    program = await asyncio.create_subprocess_exec(
        str(TRON),
        *arguments,
        cwd=running.home,
        env=running._environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await program.communicate(given.encode())
    assert program.returncode == 0
    return out.decode()


async def test_protected_mode_asks_for_a_token(hub: Hubs) -> None:
    running = hub.home(TRON_BRAIN="offline")
    await tron(running, "owner", "set", given="correct horse battery\n")
    printed = await tron(running, "token", "create", "sdk", "--scope", "chat")
    token = next(word for word in printed.split() if len(word) > 30)
    await running.start()
    async with client(running, "wrong") as sdk:
        with pytest.raises(openai.AuthenticationError) as refused:
            await streamed(sdk)
        assert refused.value.code == "invalid_api_key"
    async with client(running, token) as sdk:
        assert await streamed(sdk)
        assert [model.id async for model in sdk.models.list()]
        with pytest.raises(openai.PermissionDeniedError):
            await sdk.get("../api/sessions", cast_to=object)


async def test_requests_as_curl_sends_them(thinking: RunningHub) -> None:
    """No content type of its own, an unknown field, text parts, either path."""
    body = json.dumps(
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "x": 1}
    )
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/chat/completions", "/v1/chat/completions", "/v1/elevenlabs-llm"):
        for headers in (form, {}):
            async with thinking.http.post(
                path, data=body.encode(), headers=headers, skip_auto_headers=["Content-Type"]
            ) as answer:
                assert answer.status == 200
                assert (await answer.json())["object"] == "chat.completion"
    async with thinking.http.get("/v1/chat/completions") as answer:
        assert answer.status == 405
        assert (await answer.json())["error"]["type"]


async def test_sessions_as_clawft_has_them(thinking: RunningHub, fake: FakeProvider) -> None:
    http = thinking.http
    fake.script(Reply("Numbers first."))
    async with http.post("/api/sessions", json={"agent_id": "maya"}) as answer:
        made = await answer.json()
    key = made["key"]
    assert (made["agent_id"], made["message_count"]) == ("maya", 0)
    async with http.post(f"/api/sessions/{key}/messages", json={"content": "Launch?"}) as answer:
        said = await answer.json()
    assert (said["role"], said["content"]) == ("assistant", "Numbers first.")
    async with http.get(f"/api/sessions/{key}") as answer:
        detail = await answer.json()
    assert [m["content"] for m in detail["messages"]] == ["Launch?", "Numbers first."]
    assert detail["agent"] == "Maya"
    async with http.get(f"/api/sessions/{key}/export") as answer:
        assert (await answer.json())["messages"] == detail["messages"]
    async with http.get("/api/sessions") as answer:
        assert [s["key"] for s in await answer.json()] == [key]
    async with http.delete(f"/api/sessions/{key}") as answer:
        assert answer.status == 200
    for method, path in (
        ("GET", ""),
        ("GET", "/export"),
        ("DELETE", ""),
        ("POST", "/messages"),
    ):
        async with http.request(
            method, f"/api/sessions/{key}{path}", json={"content": "x"}
        ) as answer:
            assert answer.status == 404
    async with http.post("/api/sessions", json={"agent_id": "nobody"}) as answer:
        assert answer.status == 404


async def test_deleting_a_session_ends_the_answer_in_it(
    thinking: RunningHub, fake: FakeProvider
) -> None:
    fake.script(HangAfter(2))
    body = {"messages": HELLO, "stream": True, "user": "ann"}
    async with thinking.http.post("/v1/chat/completions", json=body) as answer:
        key = answer.headers["x-tron-session"]
        async with thinking.http.delete(f"/api/sessions/{key}") as deleted:
            assert deleted.status == 200
        events = [event async for event in read_sse(answer.content.iter_any())]
    assert events[-1].json["error"]["type"] == "process_ended"
    async with thinking.http.get("/api/sessions") as listed:
        assert await listed.json() == []


async def test_elevenlabs_gets_words_to_be_spoken(thinking: RunningHub, fake: FakeProvider) -> None:
    body = {"messages": HELLO, "stream": True, "elevenlabs_extra_body": {"user_id": "ann"}}
    for path in ("/v1/elevenlabs-llm", "/v1/elevenlabs-llm/chat/completions"):
        async with thinking.http.post(path, json=body) as answer:
            assert text_of([e async for e in read_sse(answer.content.iter_any())])
    assert "spoken aloud" in fake.requests[-1].body["messages"][0]["content"]


async def test_a_body_that_is_too_large(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline", TRON_MAX_BODY_BYTES=10_000)
    body = {"messages": [{"role": "user", "content": "x" * 20_000}]}
    async with (
        aiohttp.ClientSession(running.base_url) as http,
        http.post("/v1/chat/completions", json=body) as answer,
    ):
        assert answer.status == 413
        assert (await answer.json())["error"]["type"] == "request_too_large"


FORECAST: Any = {"name": "weather", "parameters": WEATHER["function"]["parameters"]}


@pytest.mark.parametrize("whole", [True, False], ids=["whole history", "only what is new"])
async def test_functions_of_the_time_before_tools(
    sdk: openai.AsyncOpenAI, fake: FakeProvider, whole: bool
) -> None:
    fake.script(ToolCalls([("weather", {"city": "Oslo"})]), Reply("It rains."))
    given: dict[str, Any] = {"model": "tony", "functions": [FORECAST], "user": f"old-{whole}"}
    asked = await sdk.chat.completions.create(
        messages=HELLO, function_call={"name": "weather"}, **given
    )
    assert asked.choices[0].finish_reason == "function_call"
    message = asked.choices[0].message
    assert message.function_call is not None
    assert (message.function_call.name, message.tool_calls) == ("weather", None)
    assert json.loads(message.function_call.arguments) == {"city": "Oslo"}
    body = fake.requests[-1].body
    assert [tool["function"] for tool in body["tools"]] == [FORECAST]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}

    result: Any = {"role": "function", "name": "weather", "content": "rain"}
    before: Any = [*HELLO, message.model_dump(exclude_none=True)] if whole else []
    answer = await sdk.chat.completions.create(messages=[*before, result], **given)
    assert answer.choices[0].message.content == "It rains."
    call, told = fake.requests[-1].body["messages"][-2:]
    assert told["content"] == "rain"
    assert told["tool_call_id"] == call["tool_calls"][0]["id"]


async def test_functions_stream(sdk: openai.AsyncOpenAI, fake: FakeProvider) -> None:
    fake.script(ToolCalls([("weather", {"city": "Oslo"})]))
    stream = await sdk.chat.completions.create(
        model="tony", messages=HELLO, functions=[FORECAST], stream=True
    )
    choices = [choice async for chunk in stream for choice in chunk.choices]
    calls = [choice.delta.function_call for choice in choices if choice.delta.function_call]
    assert "".join(call.name or "" for call in calls) == "weather"
    assert json.loads("".join(call.arguments or "" for call in calls)) == {"city": "Oslo"}
    assert choices[-1].finish_reason == "function_call"


async def test_a_stream_begins_while_the_model_thinks(
    thinking: RunningHub, fake: FakeProvider
) -> None:
    """Headers, and a sign of life; what fails after that is told inside the stream."""
    body = {"messages": HELLO, "stream": True}
    for then in (Reply("At last."), None):
        fake.script(Slow(first_ms=4_000, text="At last.") if then else Hang())
        async with (
            aiohttp.ClientSession(thinking.base_url) as http,
            http.post("/v1/chat/completions", json=body) as answer,
        ):
            assert answer.status == 200
            assert answer.headers["x-tron-session"]
            early = await answer.content.readuntil(b"keep-alive\n\n")
            assert b'"role":"assistant"' in early
            assert b"At last" not in early
            if then:
                assert "At" in (await answer.content.read()).decode()


async def test_a_failure_after_the_sign_of_life_is_an_error_in_the_stream(
    hub: Hubs, fake: FakeProvider
) -> None:
    running = await hub(
        TRON_BRAIN="openai",
        OPENAI_BASE_URL=fake.base_url,
        TRON_PROVIDER_RETRIES=0,
        TRON_FIRST_TOKEN_TIMEOUT_S=4,
    )
    fake.script(Hang())
    async with client(running) as sdk:
        with pytest.raises(openai.APIError, match="silent") as failed:
            await streamed(sdk)
    assert not isinstance(failed.value, openai.APIStatusError)


async def test_a_refusal_before_it_keeps_its_status(
    sdk: openai.AsyncOpenAI, fake: FakeProvider
) -> None:
    fake.script(Status(400, "No such parameter."))
    with pytest.raises(openai.BadRequestError, match="No such parameter"):
        await streamed(sdk)


async def test_what_is_too_long_is_refused_in_openais_words(sdk: openai.AsyncOpenAI) -> None:
    for stream in (True, False):
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.chat.completions.create(
                model="tony", messages=[{"role": "user", "content": "x" * 200_000}], stream=stream
            )
        assert refused.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}]
)
async def test_a_demanded_call_comes_back_without_a_model_too(hub: Hubs, choice: Any) -> None:
    running = await hub(TRON_BRAIN="offline")
    async with client(running) as sdk:
        for said in ("Remember that my dog is called Rex.", "What time is it?", "Hello"):
            answer = await sdk.chat.completions.create(
                model="tony",
                messages=[{"role": "user", "content": said}],
                tools=[WEATHER],
                tool_choice=choice,
                user="ann",
            )
            assert answer.choices[0].finish_reason == "tool_calls"
            [call] = answer.choices[0].message.tool_calls or []
            assert call.type == "function"
            assert (call.function.name, call.function.arguments) == ("weather", "{}")
        answer = await sdk.chat.completions.create(
            model="tony",
            messages=[{"role": "user", "content": "What is my dog called?"}],
            user="somebody-else",
        )
        assert "Rex" not in (answer.choices[0].message.content or "")


async def test_withheld_numbers_share_nothing(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    sessions = set()
    async with aiohttp.ClientSession(running.base_url) as http:
        for said in ("Remember that my door code is 4711.", "What is my door code?"):
            async with http.post(
                "/v1/chat/completions",
                json={"messages": [{"role": "user", "content": said}]},
                headers={"X-Vapi-Caller-Phone": "anonymous"},
            ) as response:
                answer = await response.json()
                sessions.add(answer["tron"]["session"])
    assert "4711" not in answer["choices"][0]["message"]["content"]
    assert len(sessions) == 2


async def test_options_have_no_body_of_any_type(thinking: RunningHub) -> None:
    async with (
        aiohttp.ClientSession(thinking.base_url) as http,
        http.options("/v1/models") as answer,
    ):
        assert answer.status == 200
        assert "GET" in answer.headers["Allow"]
        assert "content-type" not in answer.headers
        assert await answer.read() == b""
