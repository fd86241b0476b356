"""Whatever is said, there is one well-formed answer, and it comes in time."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.brain.offline.conftest import COMPANY, HUB_TOOLS, collect, tool
from tron.brain.contract import Ask
from tron.brain.offline import OfflineBrain
from tron.brain.offline.sums import work_out
from tron.conversation.turns import Message, ToolCall

BRAIN = OfflineBrain(COMPANY.get, lambda: list(COMPANY))
TOOLS = [tool(name) for name in [*HUB_TOOLS, "transfer_call", "end_call"]]

starts = st.sampled_from(
    (
        "",
        "hey tony ",
        "remember that ",
        "ask maya ",
        "tell riley ",
        "my name is ",
        "what's my ",
        "search for ",
        "take a message for Alex: ",
        "forget ",
        "what time is it in ",
        "what is ",
    )
)
texts = st.builds(str.__add__, starts, st.text(max_size=300))
messages = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["user", "assistant", "system", "tool"]),
        content=texts,
        tool_call_id=st.sampled_from([None, "call_1"]),
        tool_calls=st.sampled_from(
            [None, [ToolCall(id="call_1", name="recall", arguments='{"query"')]]
        ),
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(talk=messages, with_tools=st.booleans(), agent=st.sampled_from(["tony", "", "nobody"]))
async def test_any_conversation_ends_well(
    talk: list[Message], with_tools: bool, agent: str
) -> None:
    ask = Ask(messages=talk, tools=TOOLS if with_tools else [], agent=agent)
    reply = await collect(BRAIN, ask)
    assert bool(reply.calls) == (reply.finish == "tool_calls")
    assert reply.calls or reply.text
    assert (await collect(BRAIN, ask)).parts == reply.parts


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "json_schema", "schema", "function", "name", "anyOf", "enum"])
            | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    params=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("stop", "max_tokens", "response_format", "tool_choice", "temperature"), junk
        ),
    ),
    tools=st.lists(st.dictionaries(st.sampled_from(["type", "function"]), junk), max_size=3),
    schema=junk,
)
async def test_any_parameters_end_well(
    params: dict[str, Any], tools: list[dict[str, Any]], schema: Any
) -> None:
    offered = [*tools, {"type": "function", "function": {"name": "f", "parameters": schema}}]
    talk = [Message(role="user", content="what time is it?")]
    await collect(BRAIN, Ask(messages=talk, tools=offered, params=params))
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    await collect(BRAIN, Ask(messages=talk, params={**params, "response_format": form}))


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        "a " * 50_000,
        "um " * 33_000,
        "remember that " * 8_000,
        "remember" + " that" * 20_000,
        "thanks" + " for a" * 16_000,
        "thanks" + " for a" * 24,
        "my dog's name " * 8_000,
        "tell riley " + "that " * 20_000,
        "what " * 20_000,
        "((((" * 25_000,
        "(" * 119 + "1",
        "1" + "+1" * 50_000,
        "where " + "do i " * 20_000,
        "," * 100_000,
        "\n" * 100_000,
        "please " * 15_000,
        "search for " + "🙂" * 50_000,
        "what time is it, " * 6_000,
        "what time is it and " * 5_000,
        "my name is Ana. " * 6_000,
        "remember that a, " * 6_000,
        "tell riley a\n" * 8_000,
        "- \n" * 30_000,
        "the the " * 12_000,
    ],
    ids=lambda text: text[:24],
)
async def test_a_long_message_takes_no_long_time(text: str) -> None:
    began = time.process_time()
    talk = [Message(role="user", content=text), Message(role="assistant", content=text)] * 2
    await collect(BRAIN, Ask(messages=[*talk, Message(role="user", content=text)], tools=TOOLS))
    assert time.process_time() - began < 3


@given(st.text(alphabet="0123456789+-*/().% x,", max_size=130))
@settings(max_examples=300, deadline=None)
def test_a_sum_never_raises(text: str) -> None:
    work_out(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1+2*3", "7"),
        ("2 plus two", "4"),
        ("(1,000 - 1) / 3", "333"),
        ("10/3", "about 3.333333"),
        ("-5 - -5", "0"),
        ("0.1 + 0.2", "0.3"),
        ("200 + 10%", "200.1"),
        ("7", None),
        ("1/0", None),
        ("2**8", None),
        ("1+", None),
        ("one day", None),
    ],
)
def test_sums(text: str, value: str | None) -> None:
    assert work_out(text) == value
