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

from tron.brain.contract import (
    MODEL_NOT_FOUND,
    Answering,
    Ask,
    Finish,
    Part,
    Parts,
    Text,
    ToolFragment,
    Used,
)
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
        self._renames_limit: set[str] = set()
        """models that know `max_tokens` only as `max_completion_tokens`"""

    async def stream(self, ask: Ask) -> Parts:
        model = ask.model or self.model
        response: aiohttp.ClientResponse | None = None
        started = False
        try:
            async with asyncio.timeout(self._first_token_timeout_s):
                response = await self._post(ask, model)
                said = await self._check(response)
                if said is not None and self._learns_the_limit(said, ask, model):
                    response.close()
                    response = await self._post(ask, model)
                    said = await self._check(response)
                if said is not None:
                    raise self._refused(response, said)
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
        if model in self._renames_limit and "max_tokens" in body:
            body.setdefault("max_completion_tokens", body.pop("max_tokens"))
        return await self._client.post(
            f"{self.base_url}/chat/completions",
            data=_encode(body),
            headers=self._headers,
            allow_redirects=False,
        )

    async def _check(self, response: aiohttp.ClientResponse) -> "_Said | None":
        """What the provider says is wrong; None if it answers. Raises _Garbled."""
        if response.status != 200:
            return _said(await response.content.read(64 * 1024), self._api_key)
        if response.content_type != "text/event-stream":
            raise _Garbled(f"{response.content_type} instead of an event stream")
        return None

    def _learns_the_limit(self, said: "_Said", ask: Ask, model: str) -> bool:
        """Whether the model wants its limit under the newer name: it gets it so from now on."""
        if "max_tokens" not in ask.params or model in self._renames_limit:
            return False
        if said.param != "max_tokens" or said.code != "unsupported_parameter":
            return False
        self._renames_limit.add(model)
        return True

    def _refused(self, response: aiohttp.ClientResponse, said: "_Said") -> ProviderError:
        status = response.status
        if said.code == MODEL_NOT_FOUND or (status == 404 and said.about_a_model):
            unknown = ProviderUnavailable(
                f"The language model provider {self.name!r} has no such model: {said.text}",
                code=MODEL_NOT_FOUND,
            )
            unknown.retryable = False
            return unknown
        if status in OUR_FAULT:
            refused = ProviderRefused(
                f"The language model refused the request: {said.text}", status=status
            )
            refused.code = said.code
            return refused
        error = ProviderUnavailable(
            f"The language model provider {self.name!r} answered {status}: {said.text}",
            code=f"upstream_{status}",
            retry_after=_retry_after(response),
        )
        error.retryable = status in TRY_AGAIN
        return error

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


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says is wrong."""

    text: str = "no reason given"
    code: str | None = None
    param: str | None = None

    @property
    def about_a_model(self) -> bool:
        """Of a 404: no such model, and not: no such address."""
        return self.param == "model" or "model" in self.text.lower()


def _said(body: bytes, secret: str) -> _Said:
    """The error in the body, if it is told in JSON; never its HTML, nor the key."""
    try:
        error = msgspec.json.decode(body)["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (msgspec.DecodeError, KeyError, TypeError):
        return _Said()
    text = str(message)
    text = (text.replace(secret, "(key)") if secret else text)[:MESSAGE_LIMIT]
    code, param = (error.get("code"), error.get("param")) if isinstance(error, dict) else ("", "")
    return _Said(
        text=text,
        code=code if isinstance(code, str) and code else None,
        param=param if isinstance(param, str) and param else None,
    )


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
