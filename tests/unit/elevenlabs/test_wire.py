"""What a client's frames mean, and that no frame can do harm."""

import base64
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.elevenlabs import frames, wire
from integrations.elevenlabs.wire import Refused, Start
from tron.calls.signals import FRAME_MS

TOOL = {"type": "client", "name": "weather", "description": "Looks outside."}


def begin(setup: wire.Setup | None = None, **fields: Any) -> Start:
    said = wire.parse({"type": "conversation_initiation_client_data", **fields}, setup)
    assert isinstance(said, Start)
    return said


def override(**fields: Any) -> Start:
    return begin(conversation_config_override=fields)


def test_the_usual_start_is_by_voice_at_16_khz() -> None:
    start = begin()
    facts = start.facts()
    assert not start.text_only
    assert (facts.heard_as, facts.heard_rate) == ("pcm16", 16_000)
    assert (facts.played_as, facts.played_rate) == ("pcm16", 16_000)


def test_both_sdks_ways_to_ask_for_text_are_understood() -> None:
    assert override(text_only=True).text_only
    assert override(conversation={"text_only": True}).text_only
    assert not override(conversation={"text_only": "yes"}).text_only


def test_a_client_may_choose_its_formats() -> None:
    start = override(
        asr={"user_input_audio_format": "ulaw_8000"},
        tts={"agent_output_audio_format": "pcm_24000"},
    )
    assert (start.facts().heard_as, start.facts().heard_rate) == ("mulaw", 8_000)
    assert start.facts().played_rate == 24_000


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_every_documented_rate_may_be_chosen(rate: int) -> None:
    name = f"pcm_{rate}"
    facts = override(
        asr={"user_input_audio_format": name}, tts={"agent_output_audio_format": name}
    ).facts()
    assert (facts.heard_as, facts.heard_rate) == (facts.played_as, facts.played_rate)
    assert facts.heard_rate == rate
    assert rate * FRAME_MS % 1000 == 0, "a frame is a whole number of samples"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(Refused) as refusal:
        override(tts={"agent_output_audio_format": "mp3_44100"})
    assert refusal.value.code == 1008


def test_variables_are_put_in() -> None:
    start = begin(dynamic_variables={"name": "Ada", "age": 36, "bad": [1]})
    assert start.filled("Hi {{name}}, {{ age }}, {{bad}}") == "Hi Ada, 36, {{bad}}"


def test_tools_that_run_in_the_client_are_found() -> None:
    tools = [TOOL, {"type": "webhook", "name": "elsewhere"}, {"type": "system", "name": "end_call"}]
    start = override(agent={"prompt": {"prompt": "Be brief.", "tools": tools}})
    assert [tool.name for tool in start.tools] == ["weather"]
    assert start.prompt == "Be brief."
    assert start.tools[0].wait_s == 20


def test_the_self_hosted_set_up_is_the_agent_unless_overridden() -> None:
    setup = wire.parse(
        {
            "type": "enclave_setup_config",
            "agent_config_dict": {"agent": {"first_message": "Set up.", "language": "en"}},
            "tools_config_list": [{"tool_config": TOOL | {"response_timeout_secs": 500}}],
        }
    )
    assert isinstance(setup, wire.Setup)
    start = begin(setup)
    assert start.first_message == "Set up."
    assert (start.tools[0].name, start.tools[0].wait_s) == ("weather", 120)
    changed = begin(setup, conversation_config_override={"agent": {"first_message": "Mine."}})
    assert changed.first_message == "Mine."


def test_results_of_tools_may_be_anything() -> None:
    for result, text in (("warm", "warm"), ({"c": 20}, '{"c":20}'), (None, "null"), (7, "7")):
        said = wire.parse({"type": "client_tool_result", "tool_call_id": "c1", "result": result})
        assert said == wire.ToolResult("c1", text, False)


def test_a_file_that_cannot_be_read_is_admitted() -> None:
    file = {"type": "file_input", "file_id": "f1"}
    said = wire.parse({"type": "multimodal_message", "text": {"text": "Look."}, "file": file})
    assert said == wire.Said("Look.\n[A file was attached. It can't be opened here.]")


def test_unknown_types_mean_nothing() -> None:
    for type in ("user_activity", "mcp_tool_approval_result", "tomorrow", None, 3):
        assert wire.parse({"type": type}) == wire.Nothing()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\0\1", 1002),
        ("{", 1002),
        ("[]", 1002),
        ('"x"', 1002),
        ("[" * 100_000, 1002),
        ('{"a":' * 50_000, 1002),
        ('{"user_audio_chunk":"' + "A" * wire.FRAME_BYTES + '"}', 1008),
        ('{"user_audio_chunk":"%%%"}', 1002),
        ('{"user_audio_chunk":5}', 1002),
        ('{"user_audio_chunk":"ä"}', 1002),
        ('{"type":"user_message","text":{"deep":1}}', 1002),
        ('{"type":"user_message","text":"' + "x" * 16_001 + '"}', 1008),
    ],
)
def test_bad_frames_are_refused_with_the_protocols_codes(raw: str | bytes, code: int) -> None:
    with pytest.raises(Refused) as refusal:
        wire.parse(wire.decode(raw))
    assert refusal.value.code == code


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
TYPES = (
    "conversation_initiation_client_data enclave_setup_config user_message multimodal_message "
    "contextual_update client_tool_result feedback pong audio text end"
).split()
FIELDS = (
    "user_audio_chunk conversation_config_override dynamic_variables custom_llm_extra_body user_id "
    "agent_config_dict tools_config_list text file result tool_call_id event_id score audio"
).split()


@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(FIELDS), json))
def test_whatever_fields_hold_a_frame_is_read_or_refused(type: str, fields: dict[str, Any]) -> None:
    for read in (wire.parse, wire.parse_original):
        with suppress(Refused):
            assert isinstance(read({"type": type, **fields}), wire.ClientMessage)


def test_frames_of_the_hub_are_the_documented_ones() -> None:
    def frame(text: str | None) -> Any:
        return msgspec.json.decode(text or "null")

    assert frame(frames.Agents.started("c", Start())) == {
        "type": "conversation_initiation_metadata",
        "conversation_initiation_metadata_event": {
            "conversation_id": "c",
            "agent_output_audio_format": "pcm_16000",
            "user_input_audio_format": "pcm_16000",
        },
    }
    audio = frame(frames.Agents.audio(b"\1\2", 7))["audio_event"]
    assert base64.b64decode(audio["audio_base_64"]) == b"\1\2"
    assert audio["event_id"] == 7
    assert frame(frames.Agents.ping(3, None))["ping_event"] == {"event_id": 3, "ping_ms": None}
    assert frame(frames.Original.started("s", Start())) == {
        "type": "session_started",
        "session_id": "s",
    }
    assert frame(frames.Original.heard("hi", 1)) == {
        "type": "transcript",
        "role": "user",
        "text": "hi",
        "is_final": True,
    }
