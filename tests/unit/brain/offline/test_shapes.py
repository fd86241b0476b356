"""The form the caller asked for: limits, stops, JSON, schemas, tool choice."""

import json
import time
from typing import Any

import jsonschema_rs
import pytest

from tests.unit.brain.offline.conftest import Say, arguments, tool
from tron.brain.offline.schema import instance
from tron.conversation.turns import Message

SCHEMAS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "object": {
        "type": "object",
        "properties": {"answer": {"type": "string"}, "sure": {"type": "boolean"}},
        "required": ["answer", "sure"],
        "additionalProperties": False,
    },
    "enum and const": {
        "type": "object",
        "properties": {
            "mood": {"enum": ["calm", "glad"]},
            "kind": {"const": "note"},
            "why": {"type": "string"},
        },
        "required": ["mood", "kind", "why"],
    },
    "numbers": {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "minimum": 3, "maximum": 9},
            "b": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "c": {"type": "integer", "multipleOf": 7, "minimum": 10},
            "d": {"type": "number", "maximum": -5},
            "e": {"type": "integer", "exclusiveMinimum": 4},
            "f": {"type": "number"},
            "g": {"type": "integer", "maximum": -3, "multipleOf": 2},
        },
        "required": list("abcdefg"),
    },
    "arrays": {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3},
            "unique": {
                "type": "array",
                "items": {"type": "integer"},
                "minItems": 4,
                "uniqueItems": True,
            },
            "words": {
                "type": "array",
                "items": {"type": "string", "maxLength": 12},
                "minItems": 3,
                "uniqueItems": True,
            },
            "none": {"type": "array", "items": {"type": "string"}, "maxItems": 0},
            "pair": {
                "type": "array",
                "prefixItems": [{"type": "string"}, {"type": "integer"}],
                "items": False,
            },
        },
        "required": ["tags", "unique", "words", "none", "pair"],
    },
    "nested with refs": {
        "$defs": {
            "step": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "rank": {"type": "integer"}},
                "required": ["text", "rank"],
                "additionalProperties": False,
            }
        },
        "type": "object",
        "properties": {
            "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 1},
            "last": {"$ref": "#/$defs/step"},
        },
        "required": ["steps", "last"],
        "additionalProperties": False,
    },
    "recursive": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["text", "next", "children"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
    "anyOf": {
        "type": "object",
        "properties": {
            "one": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "two": {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 2}]},
            "three": {"oneOf": [{"type": "boolean"}, {"type": "array", "items": {}}]},
        },
        "required": ["one", "two", "three"],
    },
    "allOf": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "integer", "minimum": 1}}, "required": ["b"]},
        ]
    },
    "type lists": {
        "type": "object",
        "properties": {"a": {"type": ["string", "null"]}, "b": {"type": ["null", "integer"]}},
        "required": ["a", "b"],
    },
    "string limits": {
        "type": "object",
        "properties": {
            "short": {"type": "string", "maxLength": 5},
            "long": {"type": "string", "minLength": 4000},
            "when": {"type": "string", "format": "date-time"},
            "mail": {"type": "string", "format": "email"},
            "code": {"type": "string", "pattern": "^[A-Z]{3}$"},
        },
        "required": ["short", "long", "when", "mail", "code"],
    },
    "least properties": {"type": "object", "minProperties": 2},
    "nothing required": {"type": "object", "properties": {"reply": {"type": "string"}}},
}


@pytest.mark.parametrize("name", SCHEMAS)
async def test_a_schema_is_met(say: Say, name: str) -> None:
    schema = SCHEMAS[name]
    form = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
    reply = await say("why is the sky blue?", response_format=form)
    jsonschema_rs.validate(schema, json.loads(reply.text), validate_formats=True)


async def test_the_schemas_text_is_the_reply(say: Say) -> None:
    plain = await say("who are you")
    for name, field in (("object", "answer"), ("nothing required", "reply")):
        form = {"type": "json_schema", "json_schema": {"schema": SCHEMAS[name]}}
        reply = await say("who are you", response_format=form)
        assert json.loads(reply.text)[field] == plain.text


async def test_a_number_that_is_not_known_is_null_where_it_may_be() -> None:
    made = instance(SCHEMAS["anyOf"], "hello")
    assert made["one"] is None
    assert made["two"] == "hello"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/other"},
        {"anyOf": [{"$ref": "#"}]},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {
            "type": "object",
            "properties": {c: {"$ref": "#"} for c in "abcdefgh"},
            "required": list("abcdefgh"),
        },
        {"type": "array", "minItems": 10**9, "items": {"type": "string"}},
        {"type": "string", "minLength": 10**12},
        {"type": "string", "pattern": "^(a+)+$"},
        {"type": "string", "pattern": "(((("},
        {"type": "integer", "minimum": 10**30},
        {"type": "nonsense", "enum": [], "required": 3, "properties": 4},
        {"type": "number", "multipleOf": 0, "minimum": "x"},
        {"type": []},
        True,
        None,
        [],
    ],
)
def test_an_awkward_schema_costs_no_time_and_breaks_nothing(schema: Any) -> None:
    began = time.process_time()
    json.dumps(instance(schema, "some text " * 50))
    assert time.process_time() - began < 2


async def test_json_object(say: Say) -> None:
    plain = await say("who are you")
    reply = await say("who are you", response_format={"type": "json_object"})
    assert json.loads(reply.text) == {"reply": plain.text}


async def test_text_comes_word_by_word_and_is_counted(say: Say) -> None:
    reply = await say("who are you")
    assert len(reply.pieces) >= len(reply.text.split())
    assert all(len(piece.split()) <= 1 for piece in reply.pieces)
    assert reply.used.usage.output_tokens == len(reply.pieces)
    assert reply.used.usage.input_tokens > 0
    assert reply.used.usage.estimated


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_a_token_limit_cuts_and_says_so(say: Say, name: str) -> None:
    whole = await say("who are you")
    cut = await say("who are you", **{name: 5})
    assert cut.pieces == whole.pieces[:5]
    assert cut.finish == "length"
    assert (await say("who are you", **{name: len(whole.pieces)})).finish == "stop"


@pytest.mark.parametrize("stop", ["AI", ["nowhere", "AI"], ["persona", "AI"]])
async def test_a_stop_sequence_ends_before_it(say: Say, stop: Any) -> None:
    whole = await say("who are you")
    cut = await say("who are you", stop=stop)
    assert cut.text == whole.text[: whole.text.index("AI")]
    assert cut.finish == "stop"


async def test_tool_choice_none_means_words(say: Say) -> None:
    reply = await say("what time is it", tool_choice="none")
    assert not reply.calls
    assert "clock" in reply.text


WEATHER = tool(
    "get_weather",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 10},
        },
        "required": ["city", "unit", "days"],
        "additionalProperties": False,
    },
)


async def test_a_forced_tool_of_the_caller_is_called_with_what_was_said(say: Say) -> None:
    reply = await say(
        "weather in fahrenheit over 3 days in Paris?",
        tools=["remember", WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    assert reply.calls[0].name == "get_weather"
    assert arguments(reply.calls[0]) == {"city": "Paris", "unit": "fahrenheit", "days": 3}
    assert reply.finish == "tool_calls"


async def test_a_call_is_required_in_longer_words_too(say: Say) -> None:
    allowed = {"mode": "required", "tools": [WEATHER]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    reply = await say("hello", tools=[WEATHER], tool_choice=choice)
    assert [call.name for call in reply.calls] == ["get_weather"]


async def test_a_required_tool_is_called_once(say: Say) -> None:
    reply = await say("weather in Paris?", tools=[WEATHER], tool_choice="required")
    assert reply.calls[0].name == "get_weather"
    talk = [
        Message(role="user", content="weather in Paris?"),
        Message(role="assistant", tool_calls=reply.calls),
        Message(role="tool", tool_call_id=reply.calls[0].id, content="Sunny."),
    ]
    after = await say(talk, tools=[WEATHER], tool_choice="required")
    assert after.text == "Get weather: Sunny."


async def test_arguments_fit_the_schema_the_tool_has(say: Say) -> None:
    strict = tool(
        "remember",
        {
            "type": "object",
            "properties": {"fact": {"type": "string"}, "scope": {"enum": ["person", "all"]}},
            "required": ["fact", "scope"],
        },
    )
    reply = await say("remember that tea is at four", tools=[strict])
    assert arguments(reply.calls[0]) == {"fact": "tea is at four", "scope": "person"}
