"""OpenAI's Chat Completions as a wire: what is read, what is refused, what is sent."""

from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.harness.sse import SseEvent, read_sse
from tron.conversation.reply import Reply
from tron.conversation.thinking import ToolRecord
from tron.conversation.turns import (
    Batches,
    CallerToolCalls,
    Done,
    KeepAlive,
    Message,
    TextDelta,
    ToolCall,
    ToolFinished,
    ToolStarted,
    TurnEvent,
    Usage,
)
from tron.errors import Invalid, ProviderBroke, TronError
from tron.web.completions import Answer, messages_of, params_of, parse

HI = [{"role": "user", "content": "hi"}]
FUNCTION = {"type": "function", "function": {"name": "f"}}
CUSTOM = {"type": "custom", "custom": {"name": "c"}}

FORCED: list[Any] = [
    "required",
    FUNCTION,
    {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [FUNCTION]}},
]

DOCUMENTED: dict[str, list[Any]] = {
    "model": ["tony", "gpt-4o", None],
    "stream": [True, False, None],
    "stream_options": [{"include_usage": True, "include_obfuscation": False}, {}, None],
    "tools": [[FUNCTION], [CUSTOM], [], None],
    "tool_choice": ["auto", "none", None],
    "parallel_tool_calls": [True],
    "functions": [[{"name": "f"}]],
    "function_call": ["auto"],
    "response_format": [{"type": "json_object"}],
    "n": [1, None],
    "stop": ["\n", ["a", "b"], None],
    "max_tokens": [1, None],
    "max_completion_tokens": [1, None],
    "temperature": [0, 2, 0.5, None],
    "top_p": [0, 1, None],
    "presence_penalty": [-2],
    "frequency_penalty": [2],
    "logit_bias": [{"50256": -100}],
    "logprobs": [True],
    "top_logprobs": [5],
    "seed": [7, -1],
    "user": ["bob"],
    "safety_identifier": ["x"],
    "metadata": [{"a": "b"}],
    "store": [False],
    "service_tier": ["auto"],
    "reasoning_effort": ["low"],
    "verbosity": ["low"],
    "modalities": [["text"], None],
    "audio": [{"voice": "alloy", "format": "wav"}],
    "prediction": [{"type": "content", "content": "x"}],
    "web_search_options": [{}],
    "prompt_cache_key": ["k"],
    "prompt_cache_options": [{}],
    "prompt_cache_retention": ["24h"],
    "moderation": [{}],
    "not_a_field": [{"deep": [1, {"x": None}]}],
}


def read(**fields: Any) -> tuple[Any, dict[str, Any]]:
    return parse(msgspec.json.encode({"messages": HI, **fields}))


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in DOCUMENTED.items() for value in values]
)
def test_every_documented_field_is_accepted(name: str, value: Any) -> None:
    request, body = read(**{name: value})
    assert request.messages[0].content == "hi"
    passed = params_of(body)
    assert passed.get(name, value) == value


def test_what_a_model_understands_is_passed_on() -> None:
    fields = {name: values[0] for name, values in DOCUMENTED.items()}
    assert set(params_of(read(**fields)[1])) == {
        "temperature",
        "top_p",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "response_format",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning_effort",
        "verbosity",
        "max_tokens",
        "max_completion_tokens",
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [*HI, {"role": "user", "content": 7}]}, "messages[1].content"),
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [FUNCTION, {"type": "function"}]}, "tools[1]"),
        ({"tools": [{"type": "function", "function": {"name": 3}}]}, "tools[0]"),
        ({"tools": {}}, "tools"),
        ({"stop": 3}, "stop"),
        ({"model": 3}, "model"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"functions": [{"name": "f"}, {}]}, "functions[1]"),
        ({"functions": {}}, "functions"),
        *(({"tool_choice": choice}, "tool_choice") for choice in FORCED),
        *(({"tool_choice": choice, "tools": []}, "tool_choice") for choice in FORCED),
        ({"tools": [CUSTOM], "tool_choice": FORCED[1]}, "tool_choice"),
        ({"tools": [CUSTOM], "tool_choice": FORCED[2]}, "tool_choice"),
        ({"functions": [{"name": "g"}], "function_call": {"name": "f"}}, "tool_choice"),
    ],
)
def test_refusals_name_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(**fields)
    assert refused.value.param == param
    assert refused.value.status == 400


def test_a_missing_field_is_named_too() -> None:
    with pytest.raises(Invalid) as refused:
        parse(b"{}")
    assert refused.value.param == "messages"


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        (None, None),
        ("auto", "auto"),
        ("none", "none"),
        ({"name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
    ids=repr,
)
def test_functions_are_tools_by_an_older_name(given: Any, choice: Any) -> None:
    function = {"name": "f", "parameters": {"type": "object"}}
    request, body = read(functions=[function], function_call=given)
    assert request.tools == [{"type": "function", "function": function}]
    assert params_of(body).get("tool_choice") == choice


@pytest.mark.parametrize("choice", FORCED, ids=repr)
def test_a_call_may_be_demanded_of_the_callers_own_tools(choice: Any) -> None:
    _, body = read(tools=[FUNCTION, CUSTOM], tool_choice=choice)
    assert params_of(body)["tool_choice"] == choice


def test_tools_hold_where_there_are_functions_as_well() -> None:
    request, body = read(functions=[{"name": "old"}], function_call="none", tools=[FUNCTION])
    assert (request.tools, request.functions) == ([FUNCTION], None)
    assert "tool_choice" not in params_of(body)


def test_a_part_without_a_type_is_refused_by_its_place() -> None:
    request, _ = read(messages=[{"role": "user", "content": [{"type": "text", "text": "a"}, {}]}])
    with pytest.raises(Invalid) as refused:
        messages_of(request)
    assert refused.value.param == "messages[0].content[1]"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'"x"',
        b"{}",
        b"\xff\xfe",
        b'{"messages":"\xed\xa0\x80"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    ],
    ids=range(11),
)
def test_what_is_no_request_is_a_400(raw: bytes) -> None:
    with pytest.raises(Invalid):
        parse(raw)


@given(st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        request, body = parse(raw)
        messages_of(request)
        params_of(body)
    except Invalid:
        pass


def test_messages_of_every_role() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    request, _ = read(
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": "hi", "name": "Ann"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": "data:,"}},
                ],
            },
        ]
    )
    instructions, talk = messages_of(request)
    assert instructions == "Be kind.\n\nBe brief."
    assert talk[:4] == [
        Message(role="user", content="hi", name="Ann"),
        Message(role="assistant", tool_calls=[ToolCall(id="c", name="f", arguments="{}")]),
        Message(role="tool", content="42", tool_call_id="c"),
        Message(role="assistant", content="No."),
    ]
    assert talk[4].content == "see"
    assert [part["type"] for part in talk[4].parts or []] == ["text", "image_url"]


def test_the_old_form_of_functions_is_a_tool_call_too() -> None:
    request, _ = read(
        messages=[
            *HI,
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "f", "arguments": "{}"},
            },
            {"role": "function", "name": "f", "content": "42"},
        ]
    )
    _, talk = messages_of(request)
    assert talk[1].tool_calls == [ToolCall(id="f", name="f", arguments="{}")]
    assert talk[2].tool_call_id == "f"


DONE = Done(
    finish_reason="stop",
    usage=Usage(input_tokens=5, output_tokens=2),
    cost_usd=None,
    session="openai-1",
    process_id="p1",
    agent="tony",
    model="m",
    provider="p",
)
CALLS = [
    ToolCall(id="c1", name="f", arguments='{"a":"b"}'),
    ToolCall(id="c2", name="g", arguments=""),
]
LOOK = ToolCall(id="t", name="look\nevent: evil\n\ndata: {}", arguments="{}")


def answer() -> Answer:
    return Answer(now_ns=1_705_312_200_123_456_789, model="tony")


async def sent(*batches: list[TurnEvent] | Exception, usage: bool = False) -> list[SseEvent]:
    async def turn() -> AsyncIterator[list[TurnEvent]]:
        for batch in batches:
            if isinstance(batch, Exception):
                raise batch
            yield batch

    frames = answer().frames(cast(Batches, turn()), include_usage=usage)
    return [event async for event in read_sse(frames)]


def chunks(events: list[SseEvent]) -> list[ChatCompletionChunk]:
    assert events[-1].done
    assert all(event.id is None and not event.event for event in events)
    return [
        ChatCompletionChunk.model_validate(event.json, strict=True)
        for event in events[:-1]
        if event.data is not None
    ]


NASTY = 'line\r\nbreak \u2028 "quotes" \\ \0 \U0001f600 data: [DONE]\n\n'


async def test_a_stream_is_openais() -> None:
    got = chunks(await sent([TextDelta("Hel"), TextDelta("lo")], [TextDelta(NASTY)], [DONE]))
    assert len({(c.id, c.created, c.model, c.object) for c in got}) == 1
    assert (got[0].id, got[0].created) == ("chatcmpl-1705312200123456789", 1_705_312_200)
    assert got[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in got) == "Hello" + NASTY
    assert [c.choices[0].finish_reason for c in got] == [None] * (len(got) - 1) + ["stop"]
    assert all(c.usage is None for c in got)


async def test_usage_comes_last_when_asked_for() -> None:
    got = chunks(await sent([TextDelta("x")], [DONE], usage=True))
    assert got[-1].choices == []
    assert got[-1].usage is not None
    assert got[-1].usage.total_tokens == 7
    assert got[-2].choices[0].finish_reason == "stop"


async def test_tool_calls_come_in_order_with_their_index() -> None:
    ending = msgspec.structs.replace(DONE, finish_reason="tool_calls")
    got = chunks(await sent([TextDelta("Wait.")], [CallerToolCalls(CALLS)], [ending]))
    pieces = [call for c in got for call in c.choices[0].delta.tool_calls or []]
    assert [piece.index for piece in pieces] == [0, 0, 1, 1]
    assert [piece.id for piece in pieces] == ["c1", None, "c2", None]
    arguments = [p.function.arguments for p in pieces if p.function is not None]
    assert arguments == ["", '{"a":"b"}', "", ""]
    assert got[-1].choices[0].finish_reason == "tool_calls"


async def test_the_hubs_own_tools_are_only_comments() -> None:
    events = await sent([ToolStarted(LOOK)], [KeepAlive()], [ToolFinished(LOOK, "x", True)], [DONE])
    silent = [event for event in events if event.data is None]
    assert len(silent) == 2
    assert all(event.comments and not event.event for event in silent)
    assert len(chunks(events)) == 2


@pytest.mark.parametrize("before", [[], [[TextDelta("Hel")]]])
async def test_a_failure_is_an_error_frame_and_no_clean_end(before: Any) -> None:
    events = await sent(*before, ProviderBroke("It broke."))
    assert not any(event.done for event in events)
    assert events[-1].json == {
        "error": {"message": "It broke.", "type": "provider_error", "param": None, "code": None}
    }


async def test_closing_the_frames_closes_the_turn() -> None:
    closed = False

    async def turn() -> AsyncIterator[list[TurnEvent]]:
        nonlocal closed
        try:
            yield [TextDelta("x")]
            raise TronError("not reached")
        finally:
            closed = True

    frames = answer().frames(cast(Batches, turn()), include_usage=False)
    await anext(frames)
    await anext(frames)
    await frames.aclose()
    assert closed


@pytest.mark.parametrize("calls", [[], CALLS])
@pytest.mark.parametrize("text", ["", "Hello"])
def test_the_whole_answer_is_openais(text: str, calls: list[ToolCall]) -> None:
    tools = [ToolRecord(id="t", name="look", arguments="{}", result="x", ok=True)]
    done = msgspec.structs.replace(DONE, finish_reason="tool_calls" if calls else "stop")
    whole = answer().whole(Reply(text=text, done=done, calls=calls, tools=tools))
    got = ChatCompletion.model_validate_json(whole, strict=True)
    assert got.choices[0].message.content == (None if calls and not text else text)
    made = got.choices[0].message.tool_calls or []
    assert [call.id for call in made] == [call.id for call in calls]
    assert got.usage is not None
    assert got.usage.total_tokens == 7
    about = msgspec.json.decode(whole)["tron"]
    assert about["tools"] == ["look"]
    assert about["cost_usd"] is None
    assert about["session"] == "openai-1"
