"""One OpenAI-compatible provider: what it sends is understood, whatever its bytes look like."""

import asyncio
from contextlib import aclosing

import pytest

from integrations.openai.behaviours import Hang, HangAfter, Reply, Slow, Status, ToolCalls
from integrations.openai.fake import FakeProvider
from tests.harness.waiting import PATIENCE_S, eventually, later
from tests.unit.brain.conftest import (
    CHUNKED,
    HELLO,
    STREAM,
    RawServer,
    answer,
    chunk,
    parts,
    provider,
    said,
)
from tron.brain import openai as module
from tron.brain.contract import Answering, Ask, Finish, Text, ToolFragment, Used
from tron.brain.openai import openai_message
from tron.conversation.turns import Message, ToolCall, Usage
from tron.errors import ProviderBroke, ProviderRefused, ProviderUnavailable

DONE = b"data: [DONE]\n\n"
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'


async def raw_answer(raw: RawServer, *pieces: bytes | None) -> str:
    raw.scripts.append(list(pieces))
    one = provider(raw.base_url)
    try:
        return await answer(one)
    finally:
        await one.close()


async def test_the_request_is_openais(fake: FakeProvider) -> None:
    tool = {"type": "function", "function": {"name": "time", "parameters": {}}}
    one = provider(fake.base_url + "/")
    await parts(one, Ask(messages=HELLO.messages, tools=[tool], params={"temperature": 0.5}))
    assert fake.requests[0].path == "/v1/chat/completions"
    assert fake.requests[0].body == {
        "model": "own-model",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [tool],
        "temperature": 0.5,
    }
    await one.close()


async def test_a_limit_refused_by_its_old_name_goes_by_its_new_one_from_then_on(
    fake: FakeProvider,
) -> None:
    fake.renamed = {"max_tokens": "max_completion_tokens"}
    one = provider(fake.base_url)
    short = Ask(messages=HELLO.messages, params={"max_tokens": 2})
    assert await answer(one, short) == "word1 word2 "
    assert await answer(one, short) == "word1 word2 "
    limits = [{k: v for k, v in r.body.items() if "tokens" in k} for r in fake.requests]
    assert limits == [{"max_tokens": 2}, {"max_completion_tokens": 2}, {"max_completion_tokens": 2}]
    fake.renamed = {}
    await parts(one, Ask(messages=HELLO.messages, params={"max_tokens": 2}, model="older"))
    assert fake.requests[-1].body["max_tokens"] == 2
    await one.close()


async def test_another_refusal_of_the_limit_is_told(fake: FakeProvider) -> None:
    fake.script(
        Status(400, "max_tokens is too large", code="invalid_value", param="max_tokens"),
        Reply("unheard"),
    )
    one = provider(fake.base_url)
    with pytest.raises(ProviderRefused, match="too large") as refused:
        await parts(one, Ask(messages=HELLO.messages, params={"max_tokens": 10**9}))
    assert refused.value.code == "invalid_value"
    assert len(fake.requests) == 1
    await one.close()


async def test_without_a_key_none_is_sent(fake: FakeProvider) -> None:
    one = provider(fake.base_url, api_key="")
    await parts(one)
    assert "authorization" not in fake.requests[0].headers
    await one.close()


async def test_usage_and_finish_reason_are_passed_on(fake: FakeProvider) -> None:
    fake.script(Reply("Two words", finish="length"))
    one = provider(fake.base_url)
    found = await parts(one)
    assert found[0] == Answering(provider="first", model="own-model")
    assert Finish("length") in found
    assert Used(usage=Usage(input_tokens=1, output_tokens=2)) in found
    await one.close()


async def test_tool_calls_arrive_in_fragments(fake: FakeProvider) -> None:
    city = '{"city": "Zürich", "units": "metric"}'
    fake.script(ToolCalls([("weather", city), ("time", {"zone": "UTC"})], text="Let me see."))
    one = provider(fake.base_url)
    found = await parts(one)
    fragments = [part for part in found if isinstance(part, ToolFragment)]
    assert len(fragments) > 4
    for index, name, arguments in ((0, "weather", city), (1, "time", '{"zone":"UTC"}')):
        mine = [f for f in fragments if f.index == index]
        assert (mine[0].name, [f.name for f in mine[1:]]) == (name, [""] * (len(mine) - 1))
        assert mine[0].id
        assert "".join(f.arguments for f in mine) == arguments
    assert Finish("tool_calls") in found
    await one.close()


async def test_a_connection_is_used_again_after_a_whole_answer(fake: FakeProvider) -> None:
    one = provider(fake.base_url)
    await parts(one)
    assert fake._runner is not None
    assert fake._runner.server is not None
    first = set(fake._runner.server.connections)
    assert len(first) == 1
    for _ in range(3):
        await parts(one)
    assert set(fake._runner.server.connections) == first
    await one.close()


async def test_many_questions_at_once_do_not_queue(fake: FakeProvider) -> None:
    fake.always = Hang()
    one = provider(fake.base_url)
    asking = [asyncio.create_task(answer(one)) for _ in range(120)]
    await eventually(lambda: fake.active == 120)  # aiohttp alone would stop at 100
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    await one.close()


async def test_the_first_word_has_a_time_limit_of_its_own(fake: FakeProvider) -> None:
    # A local model may load for a minute and then speak fast.
    fake.script(Slow(first_ms=400, text="Here I am."))
    one = provider(fake.base_url, token_timeout_s=0.1)
    assert await answer(one) == "Here I am."
    fake.script(HangAfter(1))
    with pytest.raises(ProviderBroke, match="silent"):
        await answer(one)
    await one.close()


async def test_a_whole_answer_may_take_longer_than_any_limit(raw: RawServer) -> None:
    words = [b"one ", b"two ", b"three ", b"four ", b"five ", b"six ", b"seven ", b"eight"]
    raw.scripts.append([STREAM, *(said(word.decode()) for word in words), FINISH])
    one, heard = provider(raw.base_url), ""
    async with aclosing(one.stream(HELLO)) as batches:
        async for batch in batches:
            heard += "".join(part.text for part in batch if isinstance(part, Text))
            later(0.4 * PATIENCE_S)
    assert heard == b"".join(words).decode()
    await one.close()


async def test_giving_up_while_it_is_still_silent_hangs_up(fake: FakeProvider) -> None:
    fake.script(Hang())
    one = provider(fake.base_url)
    waiting = asyncio.create_task(answer(one))
    await eventually(lambda: fake.active == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await eventually(lambda: fake.active == 0)
    assert fake.disconnected == 1
    await one.close()


async def test_an_answer_cut_into_single_bytes_is_the_same(raw: RawServer) -> None:
    whole = (
        b": hello\r\n\r\n" + said("Grüße, ").replace(b"\n", b"\r\n") + said("🙂") + FINISH + DONE
    )
    assert await raw_answer(raw, STREAM, *(whole[i : i + 7] for i in range(0, len(whole), 7))) == (
        "Grüße, 🙂"
    )


@pytest.mark.parametrize("end", [FINISH, DONE, FINISH + DONE], ids=["finish", "done", "both"])
async def test_a_finish_reason_or_done_ends_an_answer(raw: RawServer, end: bytes) -> None:
    assert await raw_answer(raw, STREAM, said("All."), end) == "All."


async def test_a_connection_lost_after_the_end_hurts_nobody(raw: RawServer) -> None:
    # No closing chunk: some servers just hang up after [DONE].
    assert await raw_answer(raw, CHUNKED, chunk(said("All.") + FINISH + DONE)) == "All."


async def test_a_connection_that_stays_open_after_the_end_is_not_waited_for(
    raw: RawServer,
) -> None:
    raw.scripts.append([CHUNKED, chunk(said("All.") + FINISH + DONE), None])
    one = provider(raw.base_url, first_token_timeout_s=3600, token_timeout_s=3600)
    async with asyncio.timeout(PATIENCE_S):
        assert await answer(one) == "All."
    await one.close()


async def test_nulls_where_objects_should_be_are_nothing(raw: RawServer) -> None:
    # Azure and some gateways end like this.
    nulls = b'data: {"choices":[{"delta":null,"finish_reason":"stop"}]}\n\n'
    nulls += b'data: {"choices":null,"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
    assert await raw_answer(raw, STREAM, said("All."), nulls, DONE) == "All."


@pytest.mark.parametrize("index", ['"index":0,', ""], ids=["always 0", "none"])
async def test_calls_are_told_apart_by_their_ids_where_the_index_does_not(
    raw: RawServer, index: str
) -> None:
    # As Gemini's compatible endpoint sends them.
    def call(fields: str) -> bytes:
        call = "{" + index + fields + "}"
        return b'data: {"choices":[{"delta":{"tool_calls":[%s]}}]}\n\n' % call.encode()

    raw.scripts.append(
        [
            STREAM,
            call('"id":"a","function":{"name":"time","arguments":"{\\"zone\\":"}'),
            call('"function":{"arguments":"1}"}'),
            call('"id":"b","function":{"name":"date","arguments":"{}"}'),
            FINISH,
        ]
    )
    one = provider(raw.base_url)
    found = [part for part in await parts(one) if isinstance(part, ToolFragment)]
    assert [(f.index, f.id, f.name, f.arguments) for f in found] == [
        (0, "a", "time", '{"zone":'),
        (0, "", "", "1}"),
        (1, "b", "date", "{}"),
    ]
    await one.close()


async def test_an_error_event_is_an_error_also_if_the_stream_then_ends_well(
    raw: RawServer,
) -> None:
    with pytest.raises(ProviderBroke, match="an error in the middle"):
        await raw_answer(raw, STREAM, said("So."), b'data: {"error":{"message":"x"}}\n\n', DONE)


async def test_an_answer_with_nothing_in_it_is_none(raw: RawServer) -> None:
    with pytest.raises(ProviderUnavailable):
        await raw_answer(raw, STREAM, DONE)


async def test_a_line_without_end_is_given_up(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_LIMIT", 10_000)
    with pytest.raises(ProviderBroke, match="endless"):
        await raw_answer(raw, STREAM, said("So."), b"data: ", *[b"x" * 5000] * 10, None)


async def test_a_long_line_is_fine(raw: RawServer) -> None:
    long = "x" * 1_000_000
    assert await raw_answer(raw, STREAM, said(long), FINISH) == long


@pytest.mark.parametrize("wait", ["nan", "inf", "-inf", "-5", "soon", ""])
async def test_a_wait_that_makes_no_sense_is_none(raw: RawServer, wait: str) -> None:
    head = f"HTTP/1.1 429 Too Many\r\nretry-after: {wait}\r\ncontent-length: 0\r\n\r\n"
    with pytest.raises(ProviderUnavailable, match="no reason given") as failed:
        await raw_answer(raw, head.encode())
    assert failed.value.retry_after is None


async def test_a_provider_is_not_followed_elsewhere(fake: FakeProvider, raw: RawServer) -> None:
    head = f"HTTP/1.1 307 Go\r\nlocation: {fake.base_url}/chat/completions\r\n"
    with pytest.raises(ProviderUnavailable, match="307"):
        await raw_answer(raw, head.encode() + b"content-length: 0\r\n\r\n")
    assert list(fake.requests) == []  # nor is the key


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error": {"message": "too busy"}}', "too busy"),
        (b'{"error": "too busy"}', "too busy"),
        (b"<html>proxy</html>", "no reason given"),
        (b'{"detail": []}', "no reason given"),
        (b"[1]", "no reason given"),
        (b'{"error": {"message": "%s"}}' % (b"x" * 10_000), "x" * 300),
    ],
)
async def test_the_providers_own_words_are_told_but_not_its_pages(
    raw: RawServer, body: bytes, told: str
) -> None:
    head = b"HTTP/1.1 503 Busy\r\ncontent-length: %d\r\n\r\n" % len(body)
    with pytest.raises(ProviderUnavailable) as failed:
        await raw_answer(raw, head + body)
    assert failed.value.message.endswith(f"answered 503: {told}")


async def test_closing_lets_go_of_connections(fake: FakeProvider) -> None:
    fake.script(Status(500))
    one = provider(fake.base_url)
    with pytest.raises(ProviderUnavailable):
        await answer(one)
    async with aclosing(one.stream(HELLO)) as batches:
        await anext(batches)
    await one.close()
    await one.close()


def test_messages_in_openais_form() -> None:
    call = ToolCall(id="c1", name="time", arguments="{}")
    image = [{"type": "image_url", "image_url": {"url": "data:…"}}]
    asked = {"id": "c1", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    for message, form in (
        (Message(role="user", content="Hi", name="Ada"), {"content": "Hi", "name": "Ada"}),
        (Message(role="user", parts=image), {"content": image}),
        (Message(role="assistant", tool_calls=[call]), {"content": "", "tool_calls": [asked]}),
        (
            Message(role="tool", content="noon", tool_call_id="c1"),
            {"content": "noon", "tool_call_id": "c1"},
        ),
    ):
        assert openai_message(message) == {"role": message.role, **form}
