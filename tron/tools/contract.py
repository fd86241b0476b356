"""What a tool is: a name, a JSON schema made from its arguments, a limit, and a function.

A tool's arguments are a msgspec struct: its schema is what the model sees, and what the model
sends is checked against it before the function runs. The function returns text for the model, or
raises `ToolFailed` to tell the model (and so the caller) plainly why it could not.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from tron.orchestrator.process import Process

Args = TypeVar("Args", bound=msgspec.Struct)


class ToolFailed(Exception):
    """A tool could not do it; the text is for the model and holds no secret."""


class ToolRefused(ToolFailed):
    """The tool was not even started: no such tool, or arguments that do not fit."""


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """In whose name a tool runs."""

    client_id: str
    process: "Process"
    session: str
    """key of the session, empty for work outside a conversation"""
    caller: str
    """caller id of the person being talked to, empty if there is none"""
    caller_name: str = ""
    tools: tuple[str, ...] | None = None
    """names of the tools this persona has; None: every tool"""

    wire_tools: tuple["Tool[Any]", ...] = ()
    """tools of the wire that carries this turn; they win over the hub's"""

    def may_use(self, name: str) -> bool:
        return self.tools is None or name in self.tools


class Tool(Generic[Args]):
    """One capability a persona can use."""

    def __init__(
        self,
        name: str,
        description: str,
        args: type[Args],
        run: Callable[[ToolContext, Args], Awaitable[str]],
        *,
        timeout_s: float = 20.0,
    ) -> None:
        self.name = name
        self.description = description
        self.args = args
        self.run = run
        self.timeout_s = timeout_s

    @property
    def definition(self) -> dict[str, Any]:
        """The tool as an OpenAI `tools` entry."""
        schema = msgspec.json.schema(self.args)
        _, components = msgspec.json.schema_components([self.args])
        parameters = dict(components[self.args.__name__])
        parameters.pop("title", None)
        shared = {k: v for k, v in components.items() if k != self.args.__name__}
        if shared:
            parameters["$defs"] = schema["$defs"]
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": parameters,
            },
        }

    async def call(self, context: ToolContext, arguments: str) -> str:
        """Check `arguments` (JSON text) and run. Raises ToolRefused on arguments that don't fit.

        Checked kindly: small models write numbers as text, and `null` or nothing for no arguments.
        """
        given = "{}" if arguments.strip() in ("", "null") else arguments
        try:
            args = msgspec.json.decode(given, type=self.args, strict=False)
        except (msgspec.MsgspecError, UnicodeEncodeError) as error:
            raise ToolRefused(f"Those arguments do not fit {self.name}: {error}") from None
        return await self.run(context, args)
