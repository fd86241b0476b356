"""OpenAI's Chat Completions as a wire: requests in, JSON or an event stream out.

Owns what is particular to that protocol (fields, chunks, usage, finish reasons) and nothing else:
`openai.py` has the routes. Unknown fields are accepted and ignored; what would mislead if it were
ignored (several choices, spoken output) is refused; functions, as tools were called first, are
tools in all but the shape of the answer. Frames follow OpenAI's rules to the letter:
never an `id:` line, never an event without data, keep-alives as comments, and a failure in the
middle as an error frame instead of a clean end.
"""

import re
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from sse_starlette import ServerSentEvent

from tron.brain.contract import LIMITS
from tron.conversation.params import tool_name
from tron.conversation.reply import Reply
from tron.conversation.turns import (
    Batches,
    CallerToolCalls,
    Done,
    KeepAlive,
    Message,
    TextDelta,
    ToolCall,
    ToolStarted,
    Usage,
)
from tron.errors import Invalid, TronError
from tron.web import errors

PASSED_ON = (
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
)
DONE_FRAME = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode
_MISSING = re.compile(r"missing required field `(.+?)`")


class FunctionCall(msgspec.Struct):
    name: str
    arguments: str = ""


class CallIn(msgspec.Struct):
    id: str
    function: FunctionCall | None = None


class MessageIn(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[CallIn] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None
    """the form before tools; such a call's id is its name"""


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class ChatRequest(msgspec.Struct):
    """The fields the hub looks at; the rest is passed on or ignored."""

    messages: list[MessageIn]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    modalities: list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    functions: list[dict[str, Any]] | None = None
    """set: the answer has the shape of the time before tools"""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    tool_choice: str | dict[str, Any] | None = None


def parse(raw: bytes) -> tuple[ChatRequest, dict[str, Any]]:
    """The request and its whole JSON object. Raises Invalid naming the field."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Invalid("The body is not valid JSON.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.", code="invalid_json")
    body = _with_tools(body)
    try:
        request = msgspec.convert(body, ChatRequest)
    except msgspec.ValidationError as error:
        raise _misfit(str(error)) from None
    _refuse_misleading(request)
    return request, body


def _misfit(fault: str) -> Invalid:
    """msgspec's complaint, with the field it is about."""
    what, _, where = fault.partition(" - at `$.")
    places = [where.rstrip("`"), *_MISSING.findall(what)]
    param = ".".join(filter(None, places)) or None
    return Invalid(f"{what}{f' (at {param})' if param else ''}.", param=param)


def _with_tools(body: dict[str, Any]) -> dict[str, Any]:
    """`body` with its functions as tools; where there are tools as well, these hold."""
    functions, choice = body.get("functions"), body.get("function_call")
    if not isinstance(functions, list) or not functions:
        return body
    if body.get("tools"):
        return {name: value for name, value in body.items() if name != "functions"}
    for place, function in enumerate(functions):
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Invalid("Every function needs a name.", param=f"functions[{place}]")
    if isinstance(choice, dict):
        choice = {"type": "function", "function": choice}
    # That shape has room for one call.
    return body | {
        "tools": [{"type": "function", "function": function} for function in functions],
        "tool_choice": choice,
        "parallel_tool_calls": False,
    }


def _refuse_misleading(request: ChatRequest) -> None:
    if not request.messages:
        raise Invalid("messages must not be empty.", param="messages")
    if request.n not in (None, 1):
        raise Invalid("Only one choice can be given (n=1).", param="n")
    if "audio" in (request.modalities or ()):
        raise Invalid("Answers are text; audio output is not given here.", param="modalities")
    for name, low, high in (("temperature", 0, 2), ("top_p", 0, 1)):
        value = getattr(request, name)
        if value is not None and not low <= value <= high:
            raise Invalid(f"{name} must lie between {low} and {high}.", param=name)
    for name in LIMITS:
        if (getattr(request, name) or 0) < 0:
            raise Invalid(f"{name} must not be negative.", param=name)
    for place, tool in enumerate(request.tools or ()):
        kind = tool.get("type")
        body = tool.get(kind) if isinstance(kind, str) else None
        if not isinstance(body, dict) or not isinstance(body.get("name"), str):
            raise Invalid("Every tool needs a type and a name.", param=f"tools[{place}]")
    _refuse_choice(request)


def _refuse_choice(request: ChatRequest) -> None:
    """A call can be demanded of the caller's own tools; the hub's are the persona's to use."""
    choice = request.tool_choice
    if choice in (None, "none", "auto"):
        return
    if not request.tools:
        raise Invalid("tool_choice is only allowed when tools are given.", param="tool_choice")
    if not isinstance(choice, dict):
        return
    allowed = choice.get("allowed_tools")
    chosen = allowed.get("tools") if isinstance(allowed, dict) else [choice]
    given = {tool_name(tool) for tool in request.tools}
    for one in chosen if isinstance(chosen, list) else [{}]:
        if not isinstance(one, dict) or tool_name(one) not in given:
            raise Invalid("tool_choice names what is not among the tools.", param="tool_choice")


def params_of(body: dict[str, Any]) -> dict[str, Any]:
    """What is passed on to the model."""
    params = {name: body[name] for name in PASSED_ON if body.get(name) is not None}
    # Zero means that no limit was set.
    return params | {name: body[name] for name in LIMITS if body.get(name)}


def messages_of(request: ChatRequest) -> tuple[str, list[Message]]:
    """The caller's instructions (system messages, joined) and the conversation."""
    instructions: list[str] = []
    conversation: list[Message] = []
    for place, given in enumerate(request.messages):
        message = _message(given, place)
        if message.role == "system":
            instructions.append(message.content)
        else:
            conversation.append(message)
    return "\n\n".join(filter(None, instructions)), conversation


def _message(given: MessageIn, place: int) -> Message:
    text, parts = _content(given.content, place)
    if given.role in ("system", "developer"):
        return Message(role="system", content=text)
    if given.role in ("tool", "function"):
        return Message(role="tool", content=text, tool_call_id=given.tool_call_id or given.name)
    calls = [
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in given.tool_calls or ()
        if call.function is not None
    ]
    if (old := given.function_call) is not None:
        calls.append(ToolCall(id=old.name, name=old.name, arguments=old.arguments))
    return Message(
        role=given.role, content=text, parts=parts, tool_calls=calls or None, name=given.name
    )


def _content(
    content: str | list[dict[str, Any]] | None, place: int
) -> tuple[str, list[dict[str, Any]] | None]:
    """The text of a message's content, and its parts where there is more than text."""
    if content is None or isinstance(content, str):
        return content or "", None
    texts: list[str] = []
    for number, part in enumerate(content):
        said = part.get("text", part.get("refusal"))
        if isinstance(said, str):
            texts.append(said)
        elif not isinstance(part.get("type"), str) or part["type"] in ("text", "refusal"):
            raise Invalid(
                "A content part needs a type and what belongs to it.",
                param=f"messages[{place}].content[{number}]",
            )
    more = len(texts) < len(content)
    return "\n".join(texts), content if more else None


class Answer:
    """One completion, as JSON or as frames."""

    def __init__(self, *, now_ns: int, model: str, functions: bool = False) -> None:
        """`functions`: calls have the shape of the time before tools, one for each answer."""
        self._functions = functions
        self._head = {
            "id": f"chatcmpl-{now_ns}",
            "created": now_ns // 1_000_000_000,
            "model": model,
        }
        head = _encode({**self._head, "object": "chat.completion.chunk"})[:-1]
        # A chunk differs from the next only in its text: everything before it is made once.
        self._text_head = (
            b"data: " + head + b',"choices":[{"index":0,"finish_reason":null,"delta":{"content":'
        )
        self._text_tail = b"}}]}\n\n"

    def whole(self, reply: Reply) -> bytes:
        """The non-streaming body."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
        if reply.calls:
            message |= self._called(reply.calls)
            message["content"] = reply.text or None
        return _encode(
            {
                **self._head,
                "object": "chat.completion",
                "choices": [
                    {
                        "index": 0,
                        "message": message,
                        "logprobs": None,
                        "finish_reason": self._reason(reply.done),
                    }
                ],
                "usage": _usage(reply.done.usage),
                "tron": _about(reply.done, [tool.name for tool in reply.tools]),
            }
        )

    async def frames(self, batches: Batches, *, include_usage: bool) -> Any:
        """The stream, one `bytes` per batch."""
        out = self._chunk({"role": "assistant", "content": ""})  # goes with what comes first
        used: list[str] = []
        try:
            async with aclosing(batches):
                async for batch in batches:
                    for event in batch:
                        if isinstance(event, TextDelta):
                            out += self._text_head + _encode(event.text) + self._text_tail
                        elif isinstance(event, ToolStarted):
                            used.append(event.call.name)
                            out += _comment(f"tool {event.call.name}")
                        elif isinstance(event, KeepAlive):
                            out += _comment("keep-alive")
                        elif isinstance(event, CallerToolCalls):
                            out += self._calls(event.calls)
                        elif isinstance(event, Done):
                            out += self._end(event, used, include_usage)
                    if out:
                        yield out
                        out = b""
        except TronError as error:
            yield out + _frame(errors.body(error))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _frame({**self._head, "object": "chat.completion.chunk", "choices": [choice]})

    def _calls(self, calls: list[ToolCall]) -> bytes:
        """Each call's name first, then its arguments, as the protocol has it."""
        if self._functions:
            named = {"name": calls[0].name, "arguments": ""}
            rest = {"arguments": calls[0].arguments}
            return self._chunk({"function_call": named}) + self._chunk({"function_call": rest})
        out = b""
        for index, call in enumerate(calls):
            opened = _call(call) | {"index": index}
            opened["function"] = {"name": call.name, "arguments": ""}
            out += self._chunk({"tool_calls": [opened]})
            piece = {"index": index, "function": {"arguments": call.arguments}}
            out += self._chunk({"tool_calls": [piece]})
        return out

    def _called(self, calls: list[ToolCall]) -> dict[str, Any]:
        made = [_call(call) for call in calls]
        return {"function_call": made[0]["function"]} if self._functions else {"tool_calls": made}

    def _reason(self, done: Done) -> str:
        called = done.finish_reason == "tool_calls"
        return "function_call" if called and self._functions else done.finish_reason

    def _end(self, done: Done, used: list[str], include_usage: bool) -> bytes:
        out = self._chunk({}, self._reason(done))
        if include_usage:
            out += _frame(
                {
                    **self._head,
                    "object": "chat.completion.chunk",
                    "choices": [],
                    "usage": _usage(done.usage),
                    "tron": _about(done, used),
                }
            )
        return out + DONE_FRAME


def _frame(payload: dict[str, Any]) -> bytes:
    return ServerSentEvent(data=_encode(payload).decode(), sep="\n").encode()


def _comment(text: str) -> bytes:
    return ServerSentEvent(comment=text, sep="\n").encode()


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _about(done: Done, used: list[str]) -> dict[str, Any]:
    """What the hub adds: OpenAI's clients ignore it, Tron's own show it."""
    return {
        "session": done.session,
        "process": done.process_id,
        "agent": done.agent,
        "provider": done.provider,
        "model": done.model,
        "cost_usd": done.cost_usd,
        "estimated": done.usage.estimated,
        "tools": used,
    }
