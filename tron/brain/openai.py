"""A provider that speaks OpenAI's Chat Completions: OpenAI, Anthropic's compatible endpoint,
Ollama, vLLM, LiteLLM, …

Tokens travel by aiohttp and msgspec, not by the `openai` SDK: `scripts/bench/upstream.py`
measures the difference on this path (docs/performance.md). Answers are always streamed, so the
first words are known early and a stream that is closed stops the provider.
"""

import asyncio
import math
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
LEAVING_S = 1.0  # for the connection to end after [DONE], so that it can be used again
LINE_LIMIT = 4 * 1024 * 1024
MESSAGE_LIMIT = 300  # characters of a provider's own error text that are passed on


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
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
        self._token_timeout_s = token_timeout_s
        self._api_key = api_key
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._client: aiohttp.ClientSession | None = None

    async def stream(self, ask: Ask) -> Parts:
        model = ask.model or self.model
        response: aiohttp.ClientResponse | None = None
        started = False
        try:
            async with asyncio.timeout(self._first_token_timeout_s):
                response = await self._post(ask, model)
                await self._check(response)
                reader = _Reader(response.content)
                batch = await reader.next()
            if not batch:
                raise _Garbled("an answer with nothing in it")
            yield [Answering(provider=self.name, model=model), *batch]
            started = True
            silence = _Silence(response, LEAVING_S if reader.done else self._token_timeout_s)
            try:
                while not reader.over:
                    batch = await reader.next()
                    silence.broken(LEAVING_S if reader.done else self._token_timeout_s)
                    if batch:
                        yield batch
            except (aiohttp.ClientError, OSError):
                if silence.too_long and not reader.done:
                    raise TimeoutError from None
                if not reader.done:  # else everything was said; only the connection is lost
                    raise
            finally:
                silence.end()
        except TimeoutError:  # aiohttp's own timeouts are TimeoutErrors too
            raise self._failed(started, "was silent for too long", retryable=False) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed(started, f"failed ({type(error).__name__})") from error
        except _Garbled as error:
            raise self._failed(started, f"sent something unreadable ({error})") from None
        finally:
            if response is not None:
                response.close()  # stops the provider; read to its end, it has left already

    async def _post(self, ask: Ask, model: str) -> aiohttp.ClientResponse:
        if self._client is None:
            # The hub limits its own turns; a second limit here would queue them silently.
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                # How long a provider may be silent is measured in `stream`.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
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

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        """Raises what the status and content type say is wrong."""
        if response.status == 200:
            if response.content_type != "text/event-stream":
                raise _Garbled(f"{response.content_type} instead of an event stream")
            return
        said = _error_text(await response.content.read(64 * 1024), self._api_key)
        if response.status in OUR_FAULT:
            raise ProviderRefused(
                f"The language model refused the request: {said}", status=response.status
            )
        error = ProviderUnavailable(
            f"The language model provider {self.name!r} answered {response.status}: {said}",
            code=f"upstream_{response.status}",
            retry_after=_retry_after(response),
        )
        error.retryable = response.status in TRY_AGAIN
        raise error

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


def _error_text(body: bytes, secret: str) -> str:
    """What the provider says is wrong, if it says so in JSON; never its HTML, nor the key."""
    try:
        error = msgspec.json.decode(body)["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (msgspec.DecodeError, KeyError, TypeError):
        return "no reason given"
    text = str(message)
    return (text.replace(secret, "(key)") if secret else text)[:MESSAGE_LIMIT]


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    for header, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(response.headers[header]) * scale
        except (KeyError, ValueError):
            continue
        if seconds >= 0 and math.isfinite(seconds):
            return seconds
    return None


class _Silence:
    """Ends a stream whose provider says nothing for too long.

    One timer looks now and then at when something came last: one for every token would cost more
    than reading the token does.
    """

    def __init__(self, response: aiohttp.ClientResponse, limit_s: float) -> None:
        self.too_long = False
        self._response = response
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._broken_at = self._loop.time()
        self._timer = self._loop.call_later(limit_s, self._look)

    def broken(self, limit_s: float) -> None:
        """Something came; the next may take `limit_s`."""
        self._broken_at = self._loop.time()
        if limit_s < self._limit_s:
            self._timer.cancel()
            self._timer = self._loop.call_later(limit_s, self._look)
        self._limit_s = limit_s

    def _look(self) -> None:
        left = self._broken_at + self._limit_s - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self.too_long = True
            self._response.close()  # whoever reads from it is told so

    def end(self) -> None:
        self._timer.cancel()


class _Reader:
    """Takes a provider's event stream apart, one network read at a time."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self.over = False
        self.done = False
        """[DONE] was seen; only the end of the connection is missing"""
        self._content = content
        self._rest = b""
        self._ended = False  # a finish reason or [DONE] was seen
        self._calls: dict[str | int | None, int] = {}  # tool calls by their id and index
        self._calls_begun = 0

    async def next(self) -> list[Part]:
        """The parts of the next read that has any; empty only when `done` or `over`."""
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
            if parts or self.done:
                return parts
        return []

    def _event(self, data: bytes, parts: list[Part]) -> None:
        if data == b"[DONE]":
            self._ended = self.done = True
            return
        try:
            chunk = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise _Garbled("a broken event") from None
        if chunk.error is not None:
            raise _Garbled("an error in the middle")
        for choice in (chunk.choices or ())[:1]:
            if delta := choice.delta:
                if text := delta.content or delta.refusal:
                    parts.append(Text(text))
                for call in delta.tool_calls or ():
                    parts.append(self._fragment(call))
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

    def _fragment(self, call: _ToolCall) -> ToolFragment:
        # A new id is a new call: Gemini's endpoint leaves `index` out or always 0.
        key = call.id or call.index
        if key not in self._calls:
            self._calls[key] = self._calls_begun
            self._calls_begun += 1
        self._calls[call.index] = self._calls[key]
        function = call.function or _Function()
        return ToolFragment(
            index=self._calls[key],
            id=call.id or "",
            name=function.name or "",
            arguments=function.arguments or "",
        )
