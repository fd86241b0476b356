"""What a tool is: a name, a JSON schema made from its arguments, a limit, and a function.

A tool's arguments are a msgspec struct: its schema is what the model sees, and what the model
sends is checked against it before the function runs. The function returns text for the model, or
raises `ToolFailed` to tell the model (and so the caller) plainly why it could not.
"""

from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from tron.tasks.contract import Effect

if TYPE_CHECKING:
    from tron.orchestrator.process import Process

Args = TypeVar("Args", bound=msgspec.Struct)


class ToolFailed(Exception):
    """A tool could not do it; the text is for the model and holds no secret."""


class ToolRefused(ToolFailed):
    """The tool was not even started: no such tool, or arguments that do not fit."""


class TryLater(Exception):
    """A step of a task has to wait: the tool is called again at `at` (ms since the epoch).

    Only for tools called with a `StepScope`. What it waits for is told by `why`.
    """

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at = at
        self.why = why


class StepScope(msgspec.Struct, frozen=True, kw_only=True):
    """The step of a task that a tool runs for."""

    task_id: str
    step_id: str
    key: str
    """the same whenever this step is run again: what has an effect outside passes it on, so that
    it happens once"""
    begun_at: int
    """when the step was first begun, ms since the epoch"""
    workspace: Path
    """the task's own folder; made when a tool first needs it"""
    log: Callable[[str], None]
    """a line for whoever watches the task"""


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
    step: StepScope | None = None
    """None outside a task"""

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
        effect: Effect,
        repeatable: bool = False,
        task_only: bool = False,
        timeout_s: float = 20.0,
        why_not: Callable[[Args], str | None] | None = None,
    ) -> None:
        """`effect`: what it does to the world; policies go by it. `repeatable`: running it again
        with the same `StepScope.key` does no more than running it once (`read` always is).
        `task_only`: needs a `StepScope`, so it is offered to plans and not to conversations.
        `why_not`: what speaks against these arguments, or against the tool as the hub is set up;
        it is known before a person is asked for approval. None: nothing."""
        self.name = name
        self.effect = effect
        self.repeatable = repeatable or effect == "read"
        self.task_only = task_only
        self.description = description
        self.args = args
        self.run = run
        self.timeout_s = timeout_s
        self.why_not = why_not

    @cached_property
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
        """Check `arguments` (JSON text) and run. Raises ToolRefused if they can't be used."""
        return await self.run(context, self.checked(arguments))

    def checked(self, arguments: str) -> Args:
        """`arguments` (JSON text) as they are used. Raises ToolRefused if they can't be.

        Read kindly: small models write numbers as text, and `null` or nothing for no arguments.
        """
        given = "{}" if arguments.strip() in ("", "null") else arguments
        try:
            args = msgspec.json.decode(given, type=self.args, strict=False)
        except (msgspec.MsgspecError, UnicodeEncodeError) as error:
            raise ToolRefused(f"Those arguments do not fit {self.name}: {error}") from None
        if self.why_not is not None and (reason := self.why_not(args)):
            raise ToolRefused(reason)
        return args
