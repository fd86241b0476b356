"""The door: the one way in to a persona.

Every wire hands a `TurnInput` to `converse()` and reads batches of `TurnEvent`s back. The door
finds the session and its process, takes the floor, stores what was said before the model is asked
and what was answered before it says so, and turns every ending (done, failed, hung up, taken
back) into one `TurnEnded`. Nothing else reaches a persona on behalf of somebody.
"""

import asyncio
from contextlib import aclosing

import msgspec
import structlog

from tron import events
from tron.agents.persona import Persona
from tron.agents.registry import Registry
from tron.brain.tokens import estimate
from tron.clock import Clock
from tron.conversation.delegation import Delegations
from tron.conversation.floor import Floor
from tron.conversation.prompt import roster, system_prompt
from tron.conversation.reconcile import reconcile, split
from tron.conversation.sessions import Session, Sessions
from tron.conversation.summary import Summaries
from tron.conversation.thinking import Thinking, Thought, ToolRecord, record
from tron.conversation.turns import (
    Batches,
    CallerToolCalls,
    Done,
    Message,
    Opened,
    TextDelta,
    ToolCall,
    ToolFinished,
    TurnInput,
)
from tron.conversation.window import window
from tron.errors import (
    Invalid,
    NotConfigured,
    NotFound,
    Overloaded,
    ProcessEnded,
    StorageUnavailable,
    TronError,
)
from tron.events import Bus
from tron.memory.briefing import Briefing
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process
from tron.settings import Settings
from tron.supervise import Tasks
from tron.tools.contract import ToolContext

log = structlog.get_logger(__name__)

CLAIM_TRIES = 3


class Reply(msgspec.Struct, kw_only=True):
    """A whole turn, for callers that don't stream."""

    text: str
    done: Done
    calls: list[ToolCall]
    """calls of the caller's own tools"""
    tools: list[ToolRecord]
    """tools of the hub that were used"""


class Door:
    """Lets turns in, one at a time for each session."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        bus: Bus,
        agents: Registry,
        orchestrator: Orchestrator,
        sessions: Sessions,
        thinking: Thinking,
        briefing: Briefing,
        summaries: Summaries,
        delegations: Delegations,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._bus = bus
        self._agents = agents
        self._orchestrator = orchestrator
        self._sessions = sessions
        self._thinking = thinking
        self._briefing = briefing
        self._summaries = summaries
        self._delegations = delegations
        self._tasks = Tasks("door")
        self._open = True

    async def converse(self, turn: TurnInput) -> Batches:
        """One turn, from `Opened` to `Done`; a failure is raised as a `TronError`.

        Closing the stream early ends the turn, stops the model, and keeps what was said so far.
        """
        if not self._open:
            raise Overloaded("The hub is shutting down.", retry_after=5)
        history, new = split(turn.messages)
        if not new:
            raise Invalid("The last message must be from the user or a tool.", param="messages")
        session = await self._sessions.open(turn, self._persona(turn.agent).id)
        floor = Floor()
        started = self._clock.monotonic()
        outcome = "failed"
        thought = Thought()
        heard = False
        try:
            process = await self._claim(floor, session, turn)
            floor.hold()
            persona = self._persona(session.agent)
            known = reconcile(session.messages, history, new)
            await self._sessions.append(session, known.add, keep=known.keep)
            yield [Opened(session=session.key, process_id=process.id, agent=session.agent)]
            floor.hold()  # whoever asks for more is who would be interrupted
            messages = await self._context(turn, session, persona, known.context, len(new))
            stream = self._thinking.run(
                thought,
                persona=persona,
                messages=messages,
                context=ToolContext(
                    client_id=turn.client_id,
                    process=process,
                    session=session.key,
                    caller=session.caller,
                    caller_name=turn.caller.name or "",
                    tools=persona.tools,
                ),
                params=turn.params,
                caller_tools=turn.tools,
                separator=" " if turn.spoken else "\n\n",
            )
            async with aclosing(stream) as batches:
                async for batch in batches:
                    heard = True
                    yield batch
                    floor.hold()
            await self._keep(session, thought)
            outcome = "done"
            yield [self._done(session, process, thought)]
        except asyncio.CancelledError:
            if floor.taken_back is not None and (task := asyncio.current_task()) is not None:
                task.uncancel()
                raise floor.taken_back from None
            outcome = "abandoned"
            raise
        except GeneratorExit:
            outcome = outcome if outcome == "done" else "abandoned"
            raise
        finally:
            if outcome == "done" or not heard:
                floor.leave()
            else:
                # The caller may be gone, so somebody else keeps what was said, then leaves.
                self._tasks.start(self._keep_partly(session, thought, floor), "keep")
            self._report(turn, session, outcome, started)
            self._summaries.consider(session)

    async def ask(self, turn: TurnInput) -> Reply:
        """A whole turn at once. Raises what `converse` raises."""
        pieces: list[str] = []
        calls: list[ToolCall] = []
        tools: list[ToolRecord] = []
        done: Done | None = None
        async with aclosing(self.converse(turn)) as batches:
            async for batch in batches:
                for event in batch:
                    if isinstance(event, TextDelta):
                        pieces.append(event.text)
                    elif isinstance(event, CallerToolCalls):
                        calls = event.calls
                    elif isinstance(event, ToolFinished):
                        tools.append(record(event))
                    elif isinstance(event, Done):
                        done = event
        assert done is not None  # converse ends with Done or raises
        return Reply(text="".join(pieces), done=done, calls=calls, tools=tools)

    def _persona(self, agent: str | None) -> Persona:
        """The persona asked for. Raises NotFound for an unknown one."""
        name = agent or self._settings.default_agent
        persona = self._agents.get(name)
        if persona is not None:
            return persona
        if agent is None:
            everyone = self._agents.personas
            if everyone:
                return everyone[0]
            raise NotConfigured("No persona could be loaded; `tron personas` says why.")
        raise NotFound(f"There is no agent {agent!r}.", param="model", code="model_not_found")

    async def _claim(self, floor: Floor, session: Session, turn: TurnInput) -> Process:
        """The floor of the session, in a process that is alive."""
        for _ in range(CLAIM_TRIES):
            process = session.process
            if process is None or not process.live:
                process = self._revive(session, turn)
            try:
                await floor.claim(process)
            except ProcessEnded:
                if process.error is not None:  # it was stopped, not just put to rest
                    raise
                if session.process is process:
                    session.process = None
            else:
                return process
        raise Overloaded("This conversation could not be picked up just now.", retry_after=1)

    def _revive(self, session: Session, turn: TurnInput) -> Process:
        parent = self._orchestrator.get(turn.parent) if turn.parent else None

        async def take_turns(process: Process) -> None:
            try:
                while True:
                    floor: Floor | None = await process.receive(self._settings.process_idle_s)
                    if floor is None:
                        return
                    if floor.grant():
                        try:
                            await floor.until_over(self._settings.turn_timeout_s)
                        except asyncio.CancelledError:
                            floor.take_back(ProcessEnded(f"Process {process.id} was stopped."))
                            raise
            finally:
                if session.process is process:
                    session.process = None
                    self._sessions.release(session)

        try:
            self._sessions.hold(session)
            session.process = self._orchestrator.spawn(
                session.agent,
                take_turns,
                task=f"Talk with a caller ({turn.channel})",
                reason=turn.reason or turn.channel,
                parent=parent if parent is not None and parent.live else None,
                client_id=session.client_id,
            )
        except Exception:
            self._sessions.release(session)  # a refused request leaves nothing behind
            raise
        return session.process

    async def _context(
        self,
        turn: TurnInput,
        session: Session,
        persona: Persona,
        conversation: list[Message],
        newest: int,
    ) -> list[Message]:
        """All that the model reads: system prompt and as much of the talk as fits."""
        # Nothing can be remembered of somebody whose name was made up a moment ago.
        stranger = not turn.caller.known and len(conversation) == newest
        briefing = await self._briefing.brief(
            turn.client_id, agent=persona.id, person="" if stranger else session.caller
        )
        if news := await self._delegations.report(turn.client_id, session.key):
            briefing = f"{briefing}\n\n{news}".strip()
        system = system_prompt(
            persona,
            colleagues=roster(self._agents.personas, persona),
            now_ms=self._clock.now_ms(),
            spoken=turn.spoken,
            briefing=briefing,
            summary=session.summary,
            instructions=turn.instructions,
        )
        budget = max(self._settings.context_tokens - estimate(system), 0)
        talk = window(conversation, budget_tokens=budget, newest=newest)
        return [Message(role="system", content=system), *talk]

    async def _keep(self, session: Session, thought: Thought) -> None:
        """Store the answer. If the store is away it is held in memory: it has been given."""
        answer = _answer(thought)
        try:
            await self._sessions.append(session, [answer], tools=thought.tools)
        except StorageUnavailable:
            log.error("answer.unsaved", session=session.key)
            self._sessions.keep_unsaved(session, answer, thought.tools)

    async def _keep_partly(self, session: Session, thought: Thought, floor: Floor) -> None:
        try:
            if thought.pieces or thought.tools:
                await self._sessions.append(
                    session, [_answer(thought)], tools=thought.tools, interrupted=True
                )
        except TronError as error:
            log.error("answer.unsaved", session=session.key, error=str(error))
        finally:
            floor.leave()

    def _done(self, session: Session, process: Process, thought: Thought) -> Done:
        return Done(
            finish_reason=thought.finish_reason,
            usage=thought.usage,
            cost_usd=thought.cost_usd,
            session=session.key,
            process_id=process.id,
            agent=session.agent,
            model=thought.model,
            provider=thought.provider,
        )

    def _report(self, turn: TurnInput, session: Session, outcome: str, started: float) -> None:
        self._bus.publish(
            events.TurnEnded(
                at=self._clock.now_ms(),
                client_id=turn.client_id,
                session=session.key,
                agent=session.agent,
                process_id=session.process.id if session.process else "",
                channel=turn.channel,
                outcome=outcome,
                duration_ms=round((self._clock.monotonic() - started) * 1000),
            )
        )

    async def end(self, client_id: str, key: str) -> None:
        """End and remove a session; a running turn in it is stopped. Raises NotFound."""
        for session in self._sessions.live:
            if (session.client_id, session.key) == (client_id, key) and session.process:
                await self._orchestrator.kill(session.process.id)
                await self._tasks.drain(5)  # what was said so far is being kept; then it all goes
        await self._sessions.delete(client_id, key)

    def shut(self) -> None:
        """Let no new turn in; those inside go on."""
        self._open = False

    async def close(self) -> None:
        await self._tasks.drain(5)
        await self._tasks.close()


def _answer(thought: Thought) -> Message:
    return Message(role="assistant", content=thought.text, tool_calls=thought.caller_calls or None)
