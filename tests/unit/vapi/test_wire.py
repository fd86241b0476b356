"""VAPI's messages: every shape seen in the wild is read the same way, and nothing odd hurts."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.vapi import wire
from tests.unit.vapi.conftest import FIXTURES, fixture
from tron.errors import Invalid

CALL = "0d9c6c2e-5d5f-4c0a-9a51-3f5c4a7d8e10"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.json"))


def read(body: Any) -> wire.Event:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return wire.parse(raw, now_ns=1)


def tools(**body: Any) -> list[tuple[str, str, Any]]:
    calls = wire.tool_calls(read({"message": {"type": "tool-calls", **body}}).body)
    return [(call.id, call.name, msgspec.json.decode(call.arguments)) for call in calls]


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_shape_has_its_type_and_its_call(name: str) -> None:
    event = read(fixture(name))
    assert event.type == name.removeprefix("2024-").removeprefix("flat-").removesuffix(
        "-ended" if name.startswith("status") else "-final" if "final" in name else "-partial"
    )
    expected = "call-123" if name.startswith("flat-") else CALL
    assert event.call_id == (None if name == "campaign.predial" else expected)


@pytest.mark.parametrize("name", ["assistant-request", "2024-assistant-request"])
def test_the_caller_is_the_customer(name: str) -> None:
    event = read(fixture(name))
    assert (event.caller.id, event.caller.known) == ("+14155550123", True)
    assert event.direction == "inbound"


def test_a_flat_event_names_the_caller_in_from() -> None:
    event = read(fixture("flat-call.started"))
    assert (event.caller.id, event.direction) == ("+14155551234", "inbound")


def test_a_call_without_a_number_is_still_that_call() -> None:
    event = read({"message": {"type": "hang", "call": {"id": "c-1", "type": "webCall"}}})
    assert (event.call_id, event.direction, event.caller.known) == ("c-1", "web", False)


def test_early_call_ids_are_read_too() -> None:
    assert read({"type": "x", "call": {"callId": "c-2"}}).call_id == "c-2"
    assert read({"type": "call.started", "call_id": "c-3"}).call_id == "c-3"


@pytest.mark.parametrize(
    "body",
    [
        {"call": {"metadata": {"agent": "Maya"}}},
        {"call": {"assistantOverrides": {"metadata": {"agent": "Maya"}}}},
        {"call": {"assistantOverrides": {"variableValues": {"agent": "Maya"}}}},
        {"assistant": {"metadata": {"agent": "Maya"}}},
        {"phoneNumber": {"name": "Maya"}},
    ],
)
def test_the_persona_is_named_by_metadata_or_by_the_number(body: dict[str, Any]) -> None:
    assert read({"message": {"type": "assistant-request", **body}}).agent == "Maya"


ARGUMENTS = {"city": "Ulm"}
SHAPES = [
    {"id": "t", "type": "function", "function": {"name": "f", "arguments": ARGUMENTS}},
    {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"city": "Ulm"}'}},
    {"id": "t", "name": "f", "parameters": ARGUMENTS},
    {"id": "t", "name": "f", "arguments": ARGUMENTS},
]


@pytest.mark.parametrize("item", SHAPES)
def test_all_shapes_of_tool_arguments_are_one(item: dict[str, Any]) -> None:
    wanted = [("t", "f", ARGUMENTS)]
    assert tools(toolCallList=[item]) == wanted
    assert tools(toolCalls=[item]) == wanted
    described = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert tools(toolWithToolCallList=[{**described, "toolCall": item}]) == wanted


def test_lists_that_repeat_a_call_do_not_run_it_twice() -> None:
    assert len(tools(toolCalls=[SHAPES[0]], toolCallList=[SHAPES[0]])) == 1


def test_results_are_single_lines_under_the_right_key() -> None:
    [call] = wire.tool_calls({"toolCallList": [SHAPES[0]]})
    good = wire.tool_result(call, "one\ntwo\r\n\tthree", ok=True)
    assert good == {"toolCallId": "t", "name": "f", "result": "one two three"}
    assert wire.tool_result(call, "no", ok=False) == {"toolCallId": "t", "name": "f", "error": "no"}


def test_a_report_of_today_is_read() -> None:
    report = wire.report_of(read(fixture("end-of-call-report")).body)
    assert report.summary == "The caller moved the launch to Friday."
    assert report.recording_url == "https://storage.vapi.example/mono.wav"
    assert (report.started_at, report.ended_at) == ("2026-08-20T10:00:00Z", "2026-08-20T10:00:12Z")
    assert report.cost_usd == 0.0731
    assert [line.role for line in report.lines] == ["assistant", "user", "assistant"]


def test_a_report_of_2024_is_read_although_its_artifact_is_empty() -> None:
    report = wire.report_of(read(fixture("2024-end-of-call-report")).body)
    assert report.summary == "The caller asked to move a meeting."
    assert report.recording_url == "https://storage.vapi.example/2024-mono.wav"
    assert [line.text for line in report.lines] == ["Hi there.", "I want to move our meeting."]


def test_a_transcript_alone_is_enough() -> None:
    lines = wire.messages_of({"artifact": {"transcript": "AI: Hi.\nUser: Bye.\nnoise\n"}})
    assert lines == [wire.Line("assistant", "Hi."), wire.Line("user", "Bye.")]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("transcript-final", wire.Line("user", "My dog is called Rex.")),
        ("transcript-partial", None),
        ("flat-speech.recognized", wire.Line("user", "My dog is called Rex.")),
        ("flat-assistant.message", wire.Line("assistant", "I will remember that.")),
    ],
)
def test_what_was_said_is_read_from_its_event(name: str, line: wire.Line | None) -> None:
    assert wire.line_of(read(fixture(name))) == line


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("That is all.", 0.3), ("My number is 4 1 5", 1.2), ("I would like to", 1.5), ("Yes", 0.8)],
)
def test_silence_is_judged_by_what_was_said_before_it(said: str, seconds: float) -> None:
    assert wire.endpointing_s([wire.Line("user", said)]) == seconds


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(Invalid):
        wire.parse(raw, now_ns=1)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
FIELDS = (
    "type call customer phoneNumber assistant artifact messages toolCallList toolCalls analysis "
    "toolWithToolCallList functionCall parameters transcript message cost endedReason contact"
).split()


@given(st.dictionaries(st.sampled_from(FIELDS), JUNK), st.booleans())
def test_no_shape_of_a_message_breaks_the_reading(body: dict[str, Any], nested: bool) -> None:
    """Whatever comes: read or refused, never an accident, and always fit to be stored."""
    raw = msgspec.json.encode({"message": body} if nested else body)
    try:
        event = wire.parse(raw, now_ns=1)
    except Invalid:
        return
    for read_it in (wire.tool_calls, wire.report_of, wire.messages_of, wire.function_call):
        msgspec.json.encode(read_it(event.body))
    wire.line_of(event)
    wire.wanted_destination(event.body)


def test_a_report_full_of_oddities_stays_small_and_clean() -> None:
    body = {
        "type": "end-of-call-report",
        "artifact": {"messages": [{"role": "user", "message": "a\x00b" * 5_000}] * 2_000},
        "analysis": {"summary": "x" * 100_000},
        "cost": 10**400,
        "startedAt": "yesterday",
        "endedAt": "0001-01-01T00:00:00+14:00",
    }
    report = wire.report_of(body)
    assert len(report.lines) == wire.MOST_LINES
    assert report.lines[0].text.startswith("abab")
    assert len(report.lines[0].text) == wire.LINE_CHARS
    assert len(report.summary) == 4_000
    assert (report.cost_usd, report.started_at, report.ended_at) == (None, "", "")
