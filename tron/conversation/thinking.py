"""Thinking: a persona's model and its tools, in rounds, until there is an answer.

Owns the loop between the brain and the toolbox, and the accounting of both on the process that
thinks. It knows nothing of sessions or wires; the door and the personas' life call it.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from tron.agents.persona import Persona
from tron.brain.brain import Brain
from tron.brain.contract import Answering, Ask, Finish, Text, ToolFragment, Used
from tron.brain.tokens import estimate, estimate_messages
from tron.clock import Clock
from tron.conversation.prompt import system_prompt
from tron.conversation.turns import (
    Batches,
    CallerToolCalls,
    KeepAlive,
    Message,
    TextDelta,
    ToolCall,
    ToolFinished,
    ToolStarted,
    TurnEvent,
    Usage,
)
from tron.metrics import Metrics
from tron.orchestrator.process import Process
from tron.supervise import Tasks
from tron.tools.contract import ToolContext
from tron.tools.toolbox import Toolbox

KEEP_ALIVE_S = 5.0


class ToolRecord(msgspec.Struct, kw_only=True):
    """A hub tool that was used, as it is kept with the answer."""

    id: str
    name: str
    arguments: str
    result: str
    ok: bool


def record(event: ToolFinished) -> ToolRecord:
    call = event.call
    return ToolRecord(
        id=call.id, name=call.name, arguments=call.arguments, result=event.result, ok=event.ok
    )


class Thought(msgspec.Struct):
    """What came of thinking; filled in while it goes on."""

    pieces: list[str] = []
    """the text, as it came"""
    finish_reason: str = "stop"
    usage: Usage = msgspec.field(default_factory=Usage)
    cost_usd: float | None = 0.0
    model: str = ""
    provider: str = ""
    tools: list[ToolRecord] = []
    caller_calls: list[ToolCall] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class _Round:
    """One answer of the model, as its parts arrive."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.fragments: dict[int, list[ToolFragment]] = {}
        self.finish_reason = "stop"
        self.usage: Usage | None = None
        self.begun = False

    def calls(self) -> list[ToolCall]:
        return [
            ToolCall(
                id=next((f.id for f in pieces if f.id), f"call_{index}"),
                name=next((f.name for f in pieces if f.name), ""),
                arguments="".join(f.arguments for f in pieces),
            )
            for index, pieces in sorted(self.fragments.items())
        ]


class Thinking:
    """Runs the rounds."""

    def __init__(
        self,
        *,
        brain: Brain,
        toolbox: Toolbox,
        clock: Clock,
        metrics: Metrics,
        tool_rounds: int,
    ) -> None:
        self._brain = brain
        self._metrics = metrics
        self._toolbox = toolbox
        self._clock = clock
        self._tool_rounds = tool_rounds
        self._tasks = Tasks("tools")

    async def run(
        self,
        thought: Thought,
        *,
        persona: Persona,
        messages: list[Message],
        context: ToolContext,
        params: dict[str, Any],
        caller_tools: Sequence[dict[str, Any]] = (),
        separator: str = "\n\n",
    ) -> Batches:
        """Answer `messages`, filling `thought`. `separator` goes between the texts of rounds.

        Raises what the brain raises, and BudgetExhausted.
        """
        process = context.process
        caller_names = {name for tool in caller_tools if (name := _tool_name(tool))}
        wires = [tool.definition for tool in context.wire_tools]
        own = [
            definition
            for definition in [*self._toolbox.definitions(persona.tools), *wires]
            if _tool_name(definition) not in caller_names
        ]
        if persona.temperature is not None:
            params = {"temperature": persona.temperature, **params}
        messages = list(messages)
        for left in range(self._tool_rounds, -1, -1):
            process.check_budget()
            last = left == 0  # no more tools: an answer must come
            ask = Ask(
                messages=messages,
                model=persona.model,
                tools=[] if last else [*own, *caller_tools],
                params=_without_tools(params) if last or not (own or caller_tools) else params,
                agent=persona.id,
            )
            round = _Round()
            try:
                async with aclosing(self._listen(ask, round, thought, separator)) as batches:
                    async for batch in batches:
                        yield batch
            finally:  # what was begun is paid for, also if nobody waited for its end
                if round.begun:
                    self._account(process, ask, round, thought)
            calls = [] if last else round.calls()
            if not calls:
                # No tools were offered in the last round: what was called all the same is nothing.
                asked_in_vain = round.finish_reason == "tool_calls"
                thought.finish_reason = "stop" if asked_in_vain else round.finish_reason
                return
            if asked := [call for call in calls if call.name in caller_names]:
                thought.caller_calls = asked
                thought.finish_reason = "tool_calls"
                yield [CallerToolCalls(asked)]
                return
            messages.append(
                Message(role="assistant", content="".join(round.text), tool_calls=calls)
            )
            async with aclosing(self._use_tools(calls, context, thought, messages)) as batches:
                async for batch in batches:
                    yield batch
            params = _free_choice(params)

    async def _listen(self, ask: Ask, round: _Round, thought: Thought, separator: str) -> Batches:
        """Pass one answer of the model on, and remember it."""
        gap = separator if thought.pieces else ""
        async with aclosing(self._brain.stream(ask)) as batches:
            async for parts in batches:
                out: list[TurnEvent] = []
                for part in parts:
                    if isinstance(part, Text):
                        text = gap + part.text
                        gap = ""
                        round.text.append(part.text)
                        thought.pieces.append(text)
                        out.append(TextDelta(text))
                    elif isinstance(part, ToolFragment):
                        round.fragments.setdefault(part.index, []).append(part)
                    elif isinstance(part, Finish):
                        round.finish_reason = part.reason
                    elif isinstance(part, Used):
                        round.usage = part.usage
                    elif isinstance(part, Answering):
                        thought.provider, thought.model = part.provider, part.model
                        round.begun = True
                if out:
                    yield out

    def _account(self, process: Process, ask: Ask, round: _Round, thought: Thought) -> None:
        usage = round.usage or Usage(
            input_tokens=estimate_messages(ask.messages),
            output_tokens=estimate("".join(round.text))
            + sum(estimate(call.name + call.arguments) for call in round.calls()),
            estimated=True,
        )
        cost = self._brain.prices.cost_usd(thought.model, usage)
        process.charge(usage, cost)
        self._metrics.used(thought.model, usage, cost)
        thought.usage.add(usage)
        known = cost is not None and thought.cost_usd is not None
        thought.cost_usd = (thought.cost_usd or 0) + (cost or 0) if known else None

    async def _use_tools(
        self,
        calls: list[ToolCall],
        context: ToolContext,
        thought: Thought,
        messages: list[Message],
    ) -> Batches:
        """Run the calls side by side; their results join `messages` in the order asked."""
        running = {
            self._tasks.start(self._toolbox.run(context, call), call.name): call for call in calls
        }
        finished: dict[int, ToolFinished] = {}
        try:
            yield [ToolStarted(call) for call in calls]
            waiting = set(running)
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
                )
                batch: list[TurnEvent] = []
                for task, call in running.items():
                    if task in done:
                        event = ToolFinished(call, *task.result())
                        finished[id(call)] = event
                        batch.append(event)
                        self._metrics.tool_called(call.name, "ok" if event.ok else "failed")
                yield batch or [KeepAlive()]
        finally:
            for task in running:
                task.cancel()
        for call in calls:
            event = finished[id(call)]
            messages.append(Message(role="tool", content=event.result, tool_call_id=call.id))
            thought.tools.append(record(event))

    async def think(
        self,
        process: Process,
        persona: Persona,
        prompt: str,
        *,
        offline: str,
        max_tokens: int | None = None,
        form: dict[str, Any] | None = None,
    ) -> str:
        """One answer of `persona` to `prompt`, without tools.

        `offline` is what it says if no model can be reached, `form` an OpenAI `response_format`.
        Raises what the brain raises.
        """
        process.check_budget()
        system = system_prompt(
            persona,
            colleagues="",
            now_ms=self._clock.now_ms(),
            spoken=False,
            briefing="",
            summary=None,
            instructions="",
        )
        ask = Ask(
            messages=[
                Message(role="system", content=system),
                Message(role="user", content=prompt),
            ],
            model=persona.model,
            params={
                name: value
                for name, value in (("max_tokens", max_tokens), ("response_format", form))
                if value is not None
            },
            agent=persona.id,
            offline=offline,
        )
        thought, round = Thought(), _Round()
        async with aclosing(self._listen(ask, round, thought, "")) as batches:
            async for _ in batches:
                pass
        self._account(process, ask, round, thought)
        return thought.text.strip()

    async def close(self) -> None:
        await self._tasks.close()


def _tool_name(definition: dict[str, Any]) -> str:
    body = definition.get(str(definition.get("type", "function")))
    return str(body.get("name", "")) if isinstance(body, dict) else ""


def _without_tools(params: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k not in ("tool_choice", "parallel_tool_calls")}


def _free_choice(params: dict[str, Any]) -> dict[str, Any]:
    """After a first round of tools a forced choice has been served; keeping it would loop."""
    if isinstance(params.get("tool_choice"), dict) or params.get("tool_choice") == "required":
        return {k: v for k, v in params.items() if k != "tool_choice"}
    return params
