"""Tools that run in the client: asked for over the socket, answered over the socket.

Each is a tool of the wire like any other to the persona. A result that comes for a call nobody
waits for any more (too late, interrupted, made up) is dropped.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from integrations.elevenlabs.wire import ToolResult, ToolSpec
from tron.tools.contract import Tool, ToolContext, ToolFailed, ToolRefused

Send = Callable[[str, str, dict[str, Any]], None]
"""(tool, call id, parameters)"""


class ClientTools:
    """The tools of one client."""

    def __init__(self, specs: Iterable[ToolSpec], send: Send) -> None:
        self.tools: tuple[Tool[Any], ...] = tuple(
            ClientTool(spec, self) for spec in {spec.name: spec for spec in specs}.values()
        )
        self._send = send
        self._waiting: dict[str, asyncio.Future[ToolResult]] = {}

    async def run(self, spec: ToolSpec, parameters: dict[str, Any]) -> str:
        """Have the client do it. Raises ToolFailed if the client says that it could not."""
        id = f"call_{secrets.token_hex(12)}"
        if not spec.answers:
            self._send(spec.name, id, parameters)
            return "It was asked for; no result will come."
        self._waiting[id] = asyncio.get_running_loop().create_future()
        try:
            self._send(spec.name, id, parameters)
            result = await self._waiting[id]
        finally:
            del self._waiting[id]
        if result.is_error:
            raise ToolFailed(result.text)
        return result.text

    def answered(self, result: ToolResult) -> None:
        waiting = self._waiting.get(result.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)


class ClientTool(Tool[msgspec.Struct]):
    """One of them; its schema is the client's, so its arguments are the client's to check."""

    def __init__(self, spec: ToolSpec, client: ClientTools) -> None:
        super().__init__(
            spec.name,
            spec.description,
            msgspec.Struct,
            _never,
            effect="send",
            timeout_s=spec.wait_s,
        )
        self._spec = spec
        self._client = client

    @property
    def definition(self) -> dict[str, Any]:
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self._spec.parameters,
        }
        return {"type": "function", "function": function}

    async def call(self, context: ToolContext, arguments: str) -> str:
        given = "{}" if arguments.strip() in ("", "null") else arguments
        try:
            parameters = msgspec.json.decode(given, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError) as error:
            raise ToolRefused(f"Those arguments do not fit {self.name}: {error}") from None
        return await self._client.run(self._spec, parameters)


async def _never(context: ToolContext, args: msgspec.Struct) -> str:
    raise AssertionError("a client's tool is run by the client")
