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
from tron.brain.contract import (
    Answering,
    Ask,
    Finish,
    Part,
    Parts,
    Text,
    ToolFragment,
    Used,
)
from tron.brain.tokens import estimate, estimate_messages
from tron.clock import Clock
from tron.conversation.params import (
    all_said,
    demanded,
    free_choice,
    has_form,
    tool_name,
    with_less,
    without_tools,
)
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
from tron.errors import TronError
from tron.metrics import Metrics
from tron.orchestrator.process import Process
from tron.supervise import Tasks
from tron.tools.contract import ToolContext
from tron.tools.toolbox import Toolbox

KEEP_ALIVE_S = 5.0
FIRST_KEEP_ALIVE_S = 2.0
"""how long a model may think before whoever waits is told that it does"""


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

    def __init__(self, thought: Thought, *, separator: str = "", aloud: bool = True) -> None:
        """`aloud`: its text is part of what the caller hears, and is passed on as it comes."""
        self.thought = thought
        self._gap = separator if thought.pieces else ""
        self._aloud = aloud
        self.text: list[str] = []
        self.fragments: dict[int, list[ToolFragment]] = {}
        self.finish_reason = "stop"
        self.usage: Usage | None = None
        self.begun = False

    def take(self, parts: list[Part]) -> list[TurnEvent]:
        """Remember what came; returns what the caller is to hear of it."""
        out: list[TurnEvent] = []
        for part in parts:
            if isinstance(part, Text):
                self.text.append(part.text)
                if self._aloud:
                    out.append(self._said(part.text))
            elif isinstance(part, ToolFragment):
                self.fragments.setdefault(part.index, []).append(part)
            elif isinstance(part, Finish):
                self.finish_reason = part.reason
            elif isinstance(part, Used):
                self.usage = part.usage
            elif isinstance(part, Answering):
                self.thought.provider, self.thought.model = part.provider, part.model
                self.begun = True
        return out

    @property
    def heard(self) -> int:
        """Tokens of the text that the caller was given."""
        said = estimate("".join(self.text)) if self._aloud else 0
        # The provider's figure counts calls of tools as well.
        return said if self.usage is None else min(said, self.usage.output_tokens)

    def withheld(self) -> list[TurnEvent]:
        """The text of a round that was not aloud, once it has turned out to be the answer."""
        text = "".join(self.text)
        return [self._said(text)] if text and not self._aloud else []

    def _said(self, text: str) -> TextDelta:
        text = self._gap + text
        self._gap = ""
        self.thought.pieces.append(text)
        return TextDelta(text)

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
        spoken: bool = False,
    ) -> Batches:
        """Answer `messages`, filling `thought`. `spoken`: the answer is heard, not read.

        Raises what the brain raises, and BudgetExhausted.
        """
        process = context.process
        theirs = {name for tool in caller_tools if (name := tool_name(tool))}
        hubs = self._toolbox.definitions(persona.tools)
        hubs = [*hubs, *(tool.definition for tool in context.wire_tools)]
        own = [definition for definition in hubs if tool_name(definition) not in theirs]
        if persona.temperature is not None:
            params = {"temperature": persona.temperature, **params}
        messages = list(messages)
        for left in range(self._tool_rounds, -1, -1):
            process.check_budget()
            # A caller who demands a call means its own tools.
            offered = list(caller_tools) if demanded(params, theirs) else [*own, *caller_tools]
            offered = offered if left else []  # an answer must come
            ask = Ask(
                messages=messages,
                model=persona.model,
                tools=offered,
                params=params if offered else without_tools(params),
                agent=persona.id,
                spoken=spoken,
            )
            # Of an answer that has a form nothing else may be heard, so it must be known as such.
            aloud = not (offered and has_form(params))
            round = _Round(thought, separator=" " if spoken else "\n\n", aloud=aloud)
            async with aclosing(self._listen(ask, round, process)) as batches:
                async for batch in batches:
                    yield batch
            calls = round.calls() if offered else []
            ours = [call for call in calls if call.name not in theirs]
            if ours:
                text = "".join(round.text)
                messages.append(Message(role="assistant", content=text, tool_calls=ours))
                async with aclosing(self._use_tools(ours, context, thought, messages)) as batches:
                    async for batch in batches:
                        yield batch
            if len(ours) < len(calls):
                thought.caller_calls = [call for call in calls if call.name in theirs]
                thought.finish_reason = "tool_calls"
                yield [*round.withheld(), CallerToolCalls(thought.caller_calls)]
                return
            if not ours:
                # Where no tools were offered, what was called all the same is nothing.
                in_vain = round.finish_reason == "tool_calls"
                thought.finish_reason = "stop" if in_vain else round.finish_reason
                if text_after_all := round.withheld():
                    yield text_after_all
                return
            params = with_less(free_choice(params), round.heard)
            if all_said(params):
                thought.finish_reason = "length"
                return

    async def _listen(self, ask: Ask, round: _Round, process: Process) -> Batches:
        """Pass one answer of the model on, and remember it. While it is silent, say so."""
        try:
            async with aclosing(self._brain.stream(ask)) as stream:
                async with aclosing(self._first(stream, round)) as batches:
                    async for batch in batches:
                        yield batch
                quiet_since: float | None = None
                async for parts in stream:
                    if out := round.take(parts):
                        quiet_since = None
                        yield out
                        continue
                    now = self._clock.monotonic()  # not for every word: while nothing is heard
                    if quiet_since is None:
                        quiet_since = now
                    elif now - quiet_since >= KEEP_ALIVE_S:
                        quiet_since = now
                        yield [KeepAlive()]
        finally:  # what was begun is paid for, also if nobody waited for its end
            if round.begun:
                self._account(process, ask, round)

    async def _first(self, stream: Parts, round: _Round) -> Batches:
        """The beginning of an answer: it may be long in coming."""
        came = asyncio.Event()  # heard of one turn of the loop earlier than the task's own end
        first = self._tasks.start(_first_of(stream, came), "first words")
        try:
            patience = FIRST_KEEP_ALIVE_S
            while not came.is_set():
                try:
                    async with asyncio.timeout(patience):
                        await came.wait()
                except TimeoutError:
                    yield [KeepAlive()]
                    patience = KEEP_ALIVE_S
        finally:
            if not first.done():
                first.cancel()
                await asyncio.wait({first})  # the stream can be closed only when it is not read
        parts = first.result()
        if isinstance(parts, TronError):
            raise parts
        if out := round.take(parts):
            yield out

    def _account(self, process: Process, ask: Ask, round: _Round) -> None:
        thought = round.thought
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
        thought = Thought()
        round = _Round(thought)
        async with aclosing(self._listen(ask, round, process)) as batches:
            async for _ in batches:
                pass
        return thought.text.strip()

    async def close(self) -> None:
        await self._tasks.close()


async def _first_of(stream: Parts, came: asyncio.Event) -> list[Part] | TronError:
    """The first batch; empty if there is none. A failure is no failure of the task that waits."""
    try:
        return await anext(stream, [])
    except TronError as error:
        return error
    finally:
        came.set()
