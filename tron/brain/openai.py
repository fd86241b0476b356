"""A provider that speaks OpenAI's Chat Completions: OpenAI, Anthropic's compatible endpoint,
Ollama, vLLM, LiteLLM, …

Tokens travel by aiohttp and msgspec, not by the `openai` SDK: `scripts/bench/upstream.py`
measures the difference on this path (docs/performance.md). Answers are always streamed, so the
first words are known early and a stream that is closed stops the provider.
"""

import asyncio
from typing import Any

import aiohttp
import msgspec

from tron.brain.contract import Answering, Ask, Finish, Part, Parts, Text, ToolFragment, Used
from tron.conversation.turns import Message, Usage
from tron.errors import ProviderBroke, ProviderError, ProviderRefused, ProviderUnavailable

DEFAULT_BASE_URL = "https://api.openai.com/v1"
CONNECT_TIMEOUT_S = 5.0
TRY_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
OUR_FAULT = {400, 413, 422}  # the request itself; no other provider would take it either
LINE_LIMIT = 4 * 1024 * 1024
MESSAGE_LIMIT = 300  # characters of a provider's own error text that are passed on


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
_encode = msgspec.json.Encoder().encode


class OpenAIProvider:
    """One OpenAI-compatible endpoint."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        api_key: str,
        model: str,
        first_token_timeout_s: float,
        token_timeout_s: float,
    ) -> None:
        self.name = name
        self.base_url = (base_url or DEFAULT_BASE_URL).rstrip("/")
        self.model = model
        self._first_token_timeout_s = first_token_timeout_s
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=token_timeout_s
        )
        self._client: aiohttp.ClientSession | None = None

    async def stream(self, ask: Ask) -> Parts:
        model = ask.model or self.model
        response: aiohttp.ClientResponse | None = None
        started = finished = False
        try:
            async with asyncio.timeout(self._first_token_timeout_s):
                response = await self._post(ask, model)
                await _check(response, self.name)
                reader = _Reader(response, self.name)
                batch = await reader.next()
            yield [Answering(provider=self.name, model=model), *batch]
            started = True
            while not reader.over:
                if batch := await reader.next():
                    yield batch
            finished = True
        except TimeoutError:  # aiohttp's own timeouts are TimeoutErrors too
            raise self._failed(started, "was silent for too long", retryable=False) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed(started, f"failed ({type(error).__name__})") from error
        except _Garbled as error:
            raise self._failed(started, f"sent something unreadable ({error})") from None
        finally:
            if response is not None:
                if finished:
                    response.release()  # back to the pool
                else:
                    response.close()  # stops the provider

    async def _post(self, ask: Ask, model: str) -> aiohttp.ClientResponse:
        if self._client is None:
            # The hub limits its own turns; a second limit here would queue them silently.
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=self._timeout,
            )
        body: dict[str, Any] = {
            **ask.params,
            "model": model,
            "messages": [openai_message(message) for message in ask.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if ask.tools:
            body["tools"] = ask.tools
        return await self._client.post(
            f"{self.base_url}/chat/completions",
            data=_encode(body),
            headers=self._headers,
            allow_redirects=False,
        )

    def _failed(self, started: bool, what: str, *, retryable: bool = True) -> ProviderError:
        message = f"The language model provider {self.name!r} {what}."
        if started:
            return ProviderBroke(message)
        error = ProviderUnavailable(message)
        error.retryable = retryable
        return error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


def openai_message(message: Message) -> dict[str, Any]:
    """A message in OpenAI's form."""
    out: dict[str, Any] = {"role": message.role, "content": message.parts or message.content}
    if message.tool_calls:
        out["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        out["tool_call_id"] = message.tool_call_id
    if message.name:
        out["name"] = message.name
    return out


class _Garbled(Exception):
    """The provider's bytes are not the protocol."""


async def _check(response: aiohttp.ClientResponse, name: str) -> None:
    if response.status == 200:
        if response.content_type != "text/event-stream":
            raise _Garbled(f"{response.content_type} instead of an event stream")
        return
    text = await response.content.read(64 * 1024)
    said = _error_text(text)
    if response.status in OUR_FAULT:
        raise ProviderRefused(
            f"The language model refused the request: {said}", status=response.status
        )
    error = ProviderUnavailable(
        f"The language model provider {name!r} answered {response.status}: {said}",
        code=f"upstream_{response.status}",
        retry_after=_retry_after(response),
    )
    error.retryable = response.status in TRY_AGAIN
    raise error


def _error_text(body: bytes) -> str:
    """What the provider says is wrong, if it says so in JSON; never its HTML."""
    try:
        error = msgspec.json.decode(body)["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (msgspec.DecodeError, KeyError, TypeError):
        return "no reason given"
    return str(message)[:MESSAGE_LIMIT]


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    for header, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return float(response.headers[header]) * scale
        except (KeyError, ValueError):
            continue
    return None


class _Reader:
    """Takes a provider's event stream apart, one network read at a time."""

    def __init__(self, response: aiohttp.ClientResponse, name: str) -> None:
        self.over = False
        self._content = response.content
        self._name = name
        self._rest = b""
        self._ended = False  # a finish reason or [DONE] was seen

    async def next(self) -> list[Part]:
        """The parts of the next read that has any; empty only when `over`."""
        while not self.over:
            data = await self._content.readany()
            if not data:
                self.over = True
                if not self._ended:
                    raise _Garbled("the stream ended in the middle")
                break
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            if len(self._rest) > LINE_LIMIT:
                raise _Garbled("an endless line")
            parts: list[Part] = []
            for line in lines:
                if line.startswith(b"data:"):
                    self._event(line[5:].strip(), parts)
            if parts:
                return parts
        return []

    def _event(self, data: bytes, parts: list[Part]) -> None:
        if data == b"[DONE]":
            self._ended = True
            return
        try:
            chunk = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise _Garbled("a broken event") from None
        if chunk.error is not None:
            raise _Garbled("an error in the middle")
        for choice in chunk.choices[:1]:
            delta = choice.delta
            if text := delta.content or delta.refusal:
                parts.append(Text(text))
            for call in delta.tool_calls or ():
                parts.append(
                    ToolFragment(
                        index=call.index,
                        id=call.id or "",
                        name=call.function.name or "",
                        arguments=call.function.arguments or "",
                    )
                )
            if choice.finish_reason:
                self._ended = True
                parts.append(Finish(choice.finish_reason))
        if (usage := chunk.usage) and usage.prompt_tokens is not None:
            parts.append(
                Used(
                    usage=Usage(
                        input_tokens=usage.prompt_tokens,
                        output_tokens=usage.completion_tokens or 0,
                    )
                )
            )
