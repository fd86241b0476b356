"""The door: the one way in to a persona.

Every wire hands a `TurnInput` to `converse()` and reads batches of `TurnEvent`s back. The door
finds the session, takes its floor, stores what was said before the model is asked and what was
answered before it says so, and turns every ending (done, failed, hung up, taken back) into one
`TurnEnded`. Nothing else reaches a persona on behalf of somebody.
"""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

import structlog

from tron import events
from tron.agents.persona import Persona
from tron.agents.registry import Registry
from tron.clock import Clock
from tron.conversation.aside import HUB, Aside
from tron.conversation.context import Context
from tron.conversation.delegation import Delegations
from tron.conversation.floor import Floor
from tron.conversation.floors import Floors
from tron.conversation.reconcile import reconcile, split
from tron.conversation.reply import Reply, whole
from tron.conversation.session import Session, Stale
from tron.conversation.sessions import Sessions
from tron.conversation.summary import Summaries
from tron.conversation.thinking import Thinking, Thought
from tron.conversation.turns import Batches, Done, Message, Opened, TextDelta, TurnInput
from tron.errors import (
    CallerError,
    Invalid,
    Overloaded,
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


class _Inside:
    """How far a turn that was let in has come."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.thought = Thought()
        self.admitted = False
        """it has the floor"""
        self.heard = False
        """some of the answer has been given"""
        self.kept = False
        """the whole answer is stored, or being stored"""
        self.outcome: str | None = "failed"
        """None: it was none, and begins anew"""


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
        aside: Aside,
    ) -> None:
        self._aside = aside
        self._clock = clock
        self._bus = bus
        self._agents = agents
        self._orchestrator = orchestrator
        self._sessions = sessions
        self._floors = Floors(
            orchestrator=orchestrator,
            sessions=sessions,
            process_idle_s=settings.process_idle_s,
            turn_timeout_s=settings.turn_timeout_s,
        )
        self._thinking = thinking
        self._context = Context(
            tokens=settings.context_tokens, agents=agents, briefing=briefing, clock=clock
        )
        self._summaries = summaries
        self._delegations = delegations
        self._tasks = Tasks("door")
        self._open = True

    async def converse(self, turn: TurnInput, *, whole: bool = False) -> Batches:
        """One turn, from `Opened` to `Done`; a failure is raised as a `TronError`.

        Closing the stream early ends the turn, stops the model, and keeps what was said so far.
        `whole`: nothing is given to the caller before the end, so nothing less is kept either.
        """
        history, new = self._let_in(turn)
        agent = self._persona(turn.agent).id
        session = await self._sessions.open(turn, agent)
        aside = self._aside.turn(turn.client_id, session.key)
        with aside, self._inside(turn, session) as inside:
            floor, thought = inside.floor, inside.thought
            process = await self._floors.claim(
                floor, session, turn.channel, turn.reason, turn.parent
            )
            floor.hold()
            inside.admitted = True
            speaking = session.agent if turn.agent is None else agent
            self._context.check(turn, self._persona(speaking), new)
            talk = await self._store_said(turn, session, history, new)
            if turn.agent is not None and session.agent != agent:
                self._sessions.hand_over(session, agent)
            persona = self._persona(session.agent)  # another hub may have handed it over
            yield [Opened(session=session.key, process_id=process.id, agent=session.agent)]
            floor.hold()  # whoever asks for more is who would be interrupted
            told: list[str] = []
            stream = await self._answered(thought, turn, session)
            if stream is None:
                news, told = await self._delegations.report(turn.client_id, session.key)
                messages = await self._context.of(turn, session, persona, talk, len(new), news)
                stream = self._think(thought, turn, session, persona, process, messages)
            async with aclosing(stream) as batches:
                async for batch in batches:
                    inside.heard = not whole
                    yield batch
                    floor.hold()
            if text := await self._aside.closing(turn, session, thought):
                thought.pieces.append(text)  # what the hub itself has to say, behind the answer
                inside.heard = not whole
                yield [TextDelta(text)]
                floor.hold()
            inside.kept = True  # even if the caller leaves while it is being stored
            await self._sessions.answer(session, _answer(thought), thought.tools)
            if told:
                await self._tell(turn.client_id, session.key, told)
            inside.outcome = "done"
            yield [_done(session, process, thought)]
            return
        async with aclosing(self.converse(turn, whole=whole)) as anew:
            async for batch in anew:
                yield batch

    @contextmanager
    def _inside(self, turn: TurnInput, session: Session) -> Iterator[_Inside]:
        """From asking for the floor to leaving it, whatever ends the turn.

        An answer that breaks off is stored as far as it was given, before the floor is left. A turn
        that belongs to another session than this ends without an error.
        """
        inside = _Inside(self._floors.enter())
        floor = inside.floor
        started = self._clock.monotonic()
        try:
            yield inside
        except Stale:
            inside.outcome = None
        except asyncio.CancelledError:
            if floor.taken_back is not None and (task := asyncio.current_task()) is not None:
                task.uncancel()
                raise floor.taken_back from None
            inside.outcome = "abandoned"
            raise
        except TronError as error:
            if not isinstance(error, CallerError):
                self._failed(turn, session, error)
            raise
        except GeneratorExit:  # the stream was closed early, or after its end
            if inside.outcome != "done":
                inside.outcome = "abandoned"
            raise
        finally:
            if inside.heard and not inside.kept:
                # The caller may be gone, so somebody else keeps what was said, then leaves.
                self._tasks.start(self._keep_partly(session, inside.thought, floor), "keep")
            else:
                if inside.admitted and not inside.kept:
                    self._sessions.unanswered(session)
                self._floors.leave(floor)
            if inside.outcome is not None:
                self._report(turn, session, inside.outcome, started)
                self._summaries.consider(session)

    async def ask(self, turn: TurnInput) -> Reply:
        """A whole turn at once. Raises what `converse` raises."""
        async with aclosing(self.converse(turn, whole=True)) as batches:
            return await whole(batches)

    async def heard(self, client_id: str, session_key: str, text: str) -> None:
        """The last answer of a session was spoken, and only `text` of it was heard.

        The transcript keeps no more than that, so that nobody refers to words the listener never
        got. Raises NotFound, StorageUnavailable.
        """
        session = await self._sessions.named(client_id, session_key)
        floor = self._floors.enter()
        try:
            await self._floors.claim(floor, session, session.channel)
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
            self._floors.leave(floor)

    async def remark(self, client_id: str, session_key: str, text: str) -> None:
        """The persona says `text` of its own accord; it becomes part of the transcript.

        Raises NotFound, StorageUnavailable, and what asking for the floor raises.
        """
        session = await self._sessions.named(client_id, session_key)
        floor = self._floors.enter()
        try:
            await self._floors.claim(floor, session, session.channel)
            await self._sessions.append(session, [Message(role="assistant", content=text)])
        finally:
            self._floors.leave(floor)

    def _persona(self, agent: str | None) -> Persona:
        """The persona asked for. Raises NotFound for an unknown one, NotConfigured if there is
        nobody at all."""
        return self._agents.wanted(agent, param="model", code="model_not_found")

    def _let_in(self, turn: TurnInput) -> tuple[list[Message], list[Message]]:
        """What the turn brings, as (history, new). Raises Overloaded, Invalid."""
        # What a colleague asks, or a caller on the line says, is part of something inside.
        if not (self._open or turn.parent or turn.in_call):
            raise Overloaded("The hub is shutting down.", retry_after=5)
        history, new = split(turn.messages)
        if not new and (history or not turn.instructions):
            raise Invalid("The last message must be from the user or a tool.", param="messages")
        return history, new

    async def _store_said(
        self, turn: TurnInput, session: Session, history: list[Message], new: list[Message]
    ) -> list[Message]:
        """Store what was said; returns the talk that the model is to read."""
        followed = {place for place, entry in enumerate(session.entries) if entry.follows}
        known = reconcile(session.messages, history, new, followed=followed)
        behind = await self._sessions.append(
            session, known.add, keep=known.keep, follows=known.follows, turn=turn
        )
        return session.messages if behind else known.context

    def _think(
        self,
        thought: Thought,
        turn: TurnInput,
        session: Session,
        persona: Persona,
        process: Process,
        messages: list[Message],
    ) -> Batches:
        return self._thinking.run(
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
            spoken=turn.spoken,
        )

    async def _answered(
        self, thought: Thought, turn: TurnInput, session: Session
    ) -> Batches | None:
        """The reply to an answer that the hub itself had asked for; None: the persona is meant."""
        text = await self._aside.answered(turn, session)
        if text is None:
            return None
        thought.provider = thought.model = HUB

        async def reply() -> Batches:
            thought.pieces.append(text)
            yield [TextDelta(text)]

        return reply()

    async def _tell(self, client_id: str, session: str, ids: list[str]) -> None:
        try:
            await self._delegations.told(client_id, session, ids)
        except StorageUnavailable:  # they are told once more: better than never
            log.warning("delegation.told_unsaved", session=session)

    async def _keep_partly(self, session: Session, thought: Thought, floor: Floor) -> None:
        try:
            if thought.pieces or thought.tools:
                await self._sessions.answer(
                    session, _answer(thought), thought.tools, interrupted=True
                )
            else:
                self._sessions.unanswered(session)
        finally:
            self._floors.leave(floor)

    def _failed(self, turn: TurnInput, session: Session, error: TronError) -> None:
        self._bus.publish(
            events.Failure(
                at=self._clock.now_ms(),
                client_id=turn.client_id,
                where=turn.channel,
                agent=session.agent,
                process_id=session.process.id if session.process else "",
                error=error.type,
            )
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
        await self._floors.close()
        await self._tasks.drain(5)
        await self._tasks.close()


def _answer(thought: Thought) -> Message:
    return Message(role="assistant", content=thought.text, tool_calls=thought.caller_calls or None)


def _done(session: Session, process: Process, thought: Thought) -> Done:
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
