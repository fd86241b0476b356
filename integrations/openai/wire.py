"""The shapes of OpenAI's chat answers, built from what is to be said. No I/O.

The fake provider speaks them. A stream is a list of SSE events ready to be sent, because a load
test asks for thousands a second: the parts that are the same in every event are encoded once.
"""

import secrets
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from integrations.openai.behaviours import (
    Behaviour,
    BrokenAfter,
    DisconnectAfter,
    Garbage,
    HangAfter,
    Truncated,
)

ENCODER = msgspec.json.Encoder()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is said, before it takes the shape of a stream or of one object."""

    pieces: list[str]
    calls: list[tuple[str, str, str]]
    """(id, name, arguments)"""
    finish: str


def events(body: dict[str, Any], said: Answer, todo: Behaviour | None) -> Iterator[bytes]:
    """The stream, one SSE event each; the last item holds everything after the last word."""
    usage = bool((body.get("stream_options") or {}).get("include_usage"))
    head = _event_head(str(body.get("model", "")), usage)
    pieces = said.pieces
    if isinstance(todo, BrokenAfter | Garbage | Truncated | DisconnectAfter | HangAfter):
        pieces = pieces[: todo.after]
    yield head + _choice({"role": "assistant", "content": "", "refusal": None})
    for piece in pieces:
        yield head + _said(piece)
    match todo:
        case BrokenAfter():
            message = "The server had an error while processing your request."
            error = {"message": message, "type": "server_error", "param": None, "code": None}
            yield b"data: " + ENCODER.encode({"error": error}) + b"\n\n"
            return
        case Garbage():
            yield b'data: {"id": <html>\n\n'
            return
        case Truncated() | DisconnectAfter() | HangAfter():
            return
    for index, (id, name, arguments) in enumerate(said.calls):
        opening = {"index": index, "id": id, "type": "function"}
        yield head + _choice({"tool_calls": [opening | {"function": _function(name, "")}]})
        for start in range(0, len(arguments), 12):
            part = {"index": index, "function": {"arguments": arguments[start : start + 12]}}
            yield head + _choice({"tool_calls": [part]})
    end = head + _choice({}, said.finish)
    if usage:
        counted = b'"choices":[],"usage":' + ENCODER.encode(_usage(body, said)) + b"}\n\n"
        end += head.replace(b'"usage":null,', b"") + counted
    yield end + b"data: [DONE]\n\n"


def _event_head(model: str, usage: bool) -> bytes:
    head: dict[str, Any] = {
        "id": new_id("chatcmpl"),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }
    if usage:
        head["usage"] = None
    return b"data: " + ENCODER.encode(head)[:-1] + b","


def _choice(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return ENCODER.encode({"choices": [choice]})[1:] + b"\n\n"


@lru_cache(4096)
def _said(piece: str) -> bytes:
    return _choice({"content": piece})


def completion(body: dict[str, Any], said: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(said.pieces) if said.pieces or not said.calls else None,
        "refusal": None,
        "annotations": [],
    }
    if said.calls:
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": _function(name, arguments)}
            for id, name, arguments in said.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.finish}
    return {
        "id": new_id("chatcmpl"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model", ""),
        "choices": [choice],
        "usage": _usage(body, said),
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def _usage(body: dict[str, Any], said: Answer) -> dict[str, Any]:
    """Words for tokens: simple enough for a test to foretell."""
    asked = sum(len(text_of(message).split()) for message in body["messages"])
    given = len(said.pieces) + sum(1 + len(arguments) // 12 for _, _, arguments in said.calls)
    return {
        "prompt_tokens": asked,
        "completion_tokens": given,
        "total_tokens": asked + given,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


@lru_cache(16)
def numbered(tokens: int) -> list[str]:
    return [f"word{number} " for number in range(1, tokens + 1)]


def pieces_of(text: str) -> list[str]:
    """Text as a model gives it: word by word, each with the space after it."""
    return [part for word in text.splitlines(keepends=True) for part in _spaced(word)]


def _spaced(line: str) -> list[str]:
    words = line.split(" ")
    return [word + " " for word in words[:-1]] + ([words[-1]] if words[-1] else [])


def limited(pieces: list[str], body: dict[str, Any], finish: str = "stop") -> Answer:
    """Obey `stop` and the two names of the token limit."""
    stops = body.get("stop") or []
    text = "".join(pieces)
    cuts = [text.find(stop) for stop in ([stops] if isinstance(stops, str) else stops)]
    if found := [cut for cut in cuts if cut >= 0]:
        pieces = pieces_of(text[: min(found)])
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None and len(pieces) > limit:
        pieces, finish = pieces[:limit], "length"
    return Answer(pieces=pieces, calls=[], finish=finish)


def calling(calls: list[tuple[str, dict[str, Any] | str]], text: str = "") -> Answer:
    made = [
        (new_id("call"), name, given if isinstance(given, str) else ENCODER.encode(given).decode())
        for name, given in calls
    ]
    return Answer(pieces=pieces_of(text), calls=made, finish="tool_calls")


def arguments_in(said: str) -> str:
    try:
        msgspec.json.decode(said, type=dict[str, Any])
    except msgspec.MsgspecError:
        return "{}"
    return said


def _function(name: str, arguments: str) -> dict[str, str]:
    return {"name": name, "arguments": arguments}


def last_said(messages: list[Any]) -> str:
    return next((text_of(m) for m in reversed(messages) if m.get("role") == "user"), "")


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def model_card(id: str) -> dict[str, Any]:
    return {"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "fake"}


def new_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(12)}"
