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
    Caller,
    CallerToolCalls,
    Done,
    Message,
    Opened,
    TextDelta,
    ToolCall,
    ToolFinished,
    TurnInput,
)
from tron.conversation.window import settled, window
from tron.errors import (
    Invalid,
    NotConfigured,
    NotFound,
    Overloaded,
    ProcessEnded,
    StorageUnavailable,
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
        self._floors: set[Floor] = set()
        """of the turns inside"""
        self._open = True

    async def converse(self, turn: TurnInput) -> Batches:
        """One turn, from `Opened` to `Done`; a failure is raised as a `TronError`.

        Closing the stream early ends the turn, stops the model, and keeps what was said so far.
        """
        # What a colleague asks, or a caller on the line says, is part of something inside.
        if not (self._open or turn.parent or turn.in_call):
            raise Overloaded("The hub is shutting down.", retry_after=5)
        history, new = split(turn.messages)
        if not new and (history or not turn.instructions):
            raise Invalid("The last message must be from the user or a tool.", param="messages")
        agent = self._persona(turn.agent).id
        session = await self._sessions.open(turn, agent)
        floor = Floor()
        self._floors.add(floor)
        started = self._clock.monotonic()
        outcome = "failed"
        thought = Thought()
        heard = kept = False
        try:
            process = await self._claim(floor, session, turn)
            floor.hold()
            if turn.agent is not None and session.agent != agent:
                self._sessions.hand_over(session, agent)
            persona = self._persona(session.agent)
            known = reconcile(session.messages, history, new)
            behind = await self._sessions.append(session, known.add, keep=known.keep)
            talk = session.messages if behind else known.context
            yield [Opened(session=session.key, process_id=process.id, agent=session.agent)]
            floor.hold()  # whoever asks for more is who would be interrupted
            news, told = await self._delegations.report(turn.client_id, session.key)
            messages = await self._context(turn, session, persona, talk, len(new), news)
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
                    wire_tools=turn.wire_tools,
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
            kept = True  # even if the caller leaves while it is being stored
            await self._keep(session, thought)
            if told:
                await self._tell(turn.client_id, session.key, told)
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
            if kept or not heard:
                self._leave(floor)
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

    async def heard(self, client_id: str, session_key: str, text: str) -> None:
        """The last answer of a session was spoken, and only `text` of it was heard.

        The transcript keeps no more than that, so that nobody refers to words the listener never
        got. Raises NotFound, StorageUnavailable.
        """
        session = await self._sessions.named(client_id, session_key)
        floor = Floor()
        self._floors.add(floor)
        try:
            turn = TurnInput(
                caller=Caller(id=session.caller, known=True),
                channel=session.channel,
                messages=[],
                client_id=client_id,
            )
            await self._claim(floor, session, turn)
            answer = session.entries[-1] if session.entries else None
            if answer is None or answer.message.role != "assistant":
                return  # nothing of the answer had been stored
            if answer.message.content.strip() == text.strip():
                return
            left = [Message(role="assistant", content=text)] if text.strip() else []
            await self._sessions.append(
                session, left, tools=answer.tools, interrupted=True, keep=len(session.entries) - 1
            )
        finally:
            self._leave(floor)

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
                if process.error is not None or floor.taken_back is not None:
                    raise  # it was stopped, not just put to rest
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
        news: str,
    ) -> list[Message]:
        """All that the model reads: system prompt and as much of the talk as fits."""
        # Nothing can be remembered of somebody whose name was made up a moment ago.
        stranger = not turn.caller.known and len(conversation) == newest
        briefing = await self._briefing.brief(
            turn.client_id, agent=persona.id, person="" if stranger else session.caller
        )
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
        return [Message(role="system", content=system), *settled(talk)]

    async def _keep(self, session: Session, thought: Thought, *, interrupted: bool = False) -> None:
        """Store the answer. If the store is away it is held in memory: it has been given."""
        answer = _answer(thought)
        try:
            await self._sessions.append(
                session, [answer], tools=thought.tools, interrupted=interrupted
            )
        except (StorageUnavailable, Overloaded):
            log.error("answer.unsaved", session=session.key)
            self._sessions.keep_unsaved(session, answer, thought.tools, interrupted=interrupted)

    async def _tell(self, client_id: str, session: str, ids: list[str]) -> None:
        try:
            await self._delegations.told(client_id, session, ids)
        except StorageUnavailable:  # they are told once more: better than never
            log.warning("delegation.told_unsaved", session=session)

    async def _keep_partly(self, session: Session, thought: Thought, floor: Floor) -> None:
        try:
            if thought.pieces or thought.tools:
                await self._keep(session, thought, interrupted=True)
        finally:
            self._leave(floor)

    def _leave(self, floor: Floor) -> None:
        floor.leave()
        self._floors.discard(floor)

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
        session = self._sessions.get(client_id, key)
        if session is not None and session.process is not None:
            session.deleted = True  # whatever is still being said in it is not kept
            await self._orchestrator.kill(session.process.id)
        await self._sessions.delete(client_id, key)

    def shut(self) -> None:
        """Let no new turn in; those inside go on."""
        self._open = False

    async def close(self) -> None:
        """End the turns that are still inside; what was said in them is kept."""
        stopping = ProcessEnded("The hub is stopping.")
        await asyncio.gather(*(floor.end(stopping) for floor in tuple(self._floors)))
        await self._tasks.drain(5)
        await self._tasks.close()


def _answer(thought: Thought) -> Message:
    return Message(role="assistant", content=thought.text, tool_calls=thought.caller_calls or None)
