"""From a stored event to an answer in Slack.

Finds who answers, has the turn through the door, brings the text to the thread while it is being
written, and settles the event: answered, or failed with a notice in the thread that says so and
a button to try again. An event that another hub left half done is taken up where it stands: an
answer that was complete is only delivered, anything else is asked once more into the messages
that are already there. Nothing ends in silence.
"""

import asyncio
from contextlib import aclosing
from typing import Any

import structlog

from integrations.slack import wire
from integrations.slack.client import Refused
from integrations.slack.commands import Commands
from integrations.slack.delivery import Delivery, Place
from integrations.slack.health import Health
from integrations.slack.inbox import Inbox, Letter
from integrations.slack.mrkdwn import escape, mrkdwn, split
from integrations.slack.routing import Route, Router
from integrations.slack.threads import Threads, call_id
from integrations.slack.wire import Command, Opened, Said
from integrations.slack.workspaces import Workspaces
from tron.agents.persona import Persona
from tron.conversation import turns
from tron.conversation.turns import Caller, Message, TextDelta, ToolStarted, TurnInput
from tron.errors import TronError
from tron.hub import Hub
from tron.storage.tables import HOUSE
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

TRIES = 2
"""times an event is taken up; one that takes hubs down with it is not tried for ever"""
PATIENCE_S = 60.0
"""how long a hub that is too busy is asked again before the sender is told"""
LONGEST_PAUSE_S = 5.0
RESPONSE_PARTS = 4
"""Slack takes five messages at a response URL"""
INTERRUPTED = "I was interrupted twice while answering this, so I stopped trying."
NOBODY = "No persona could be loaded here; the hub's operator can run `tron personas` to see why."


class Answering:
    """Answers one event at a time; any number at once."""

    def __init__(
        self,
        *,
        hub: Hub,
        inbox: Inbox,
        threads: Threads,
        router: Router,
        workspaces: Workspaces,
        commands: Commands,
        health: Health,
    ) -> None:
        self._hub = hub
        self._inbox = inbox
        self._threads = threads
        self._router = router
        self._workspaces = workspaces
        self._commands = commands
        self._health = health
        self._tasks = Tasks("slack-status")
        self.stopping = False
        """the hub takes no more turns"""

    async def answer(self, letter: Letter) -> bool:
        """Settle `letter`. False if the hub is stopping and it was not settled."""
        try:
            match letter.event:
                case Said():
                    error = await self._said(letter, letter.event)
                case Command():
                    error = await self._command(letter, letter.event)
                case Opened():
                    await self._opened(letter, letter.event)
                    error = None
        except _Stopping:
            return False
        except Refused as fault:
            self._health.failed(letter.app, str(fault))
            error = str(fault)
        except TronError as fault:
            error = fault.type
        except Exception as fault:  # border: one event's failure is its own
            log.exception("slack.answer_failed", letter=letter.id)
            error = type(fault).__name__
            await self._apologise(letter)
        if error:
            log.warning("slack.not_answered", letter=letter.id, error=error)
        await self._settle(letter, "failed" if error else "done")
        return True

    async def close(self) -> None:
        await self._tasks.close()

    # A message

    async def _said(self, letter: Letter, event: Said) -> str | None:
        """Returns what went wrong, or None."""
        route = await self._router.route(letter.app, event, await self._threads.agent(event))
        delivery = self._delivery(letter, event)
        try:
            if route is None:
                await self._tell(delivery, NOBODY)
                return "no persona"
            if route.settle:
                await self._threads.settle(event, route.persona.id)
            said = await self._commands.exact(letter.app, event.team, event.user, route.text)
            if said is None and not route.text:
                said = f"{route.persona.name} here. What can I do for you?"
            if said is not None:
                await self._tell(delivery, said)
                return None
            if letter.attempts > TRIES:
                await delivery.fail(INTERRUPTED, letter.id)
                return "interrupted"
            if letter.session_key is not None or letter.replies:
                await self._end_streams(letter, event)
                if (known := await self._stored_answer(letter, route.text)) is not None:
                    await self._tell(delivery, known)
                    return None
            self._say_status(letter.app, event, f"{route.persona.name} is thinking…")
            if event.direct and event.thread_ts and route.settle:
                self._start_call(
                    letter.app, event, "assistant.threads.setTitle", title=route.text[:80]
                )
            return await self._converse(letter, event, route, delivery)
        finally:
            if delivery.stream_refused:
                self._workspaces.cannot(letter.app, event.team, "stream")
            await delivery.close()

    def _delivery(self, letter: Letter, event: Said) -> Delivery:
        async def record(replies: list[str]) -> None:
            await self._inbox.note(letter, replies=list(replies))

        return Delivery(
            call=self._workspaces.calls(letter.app, event.team),
            place=Place(
                channel=event.channel, thread=event.thread, team=event.team, user=event.user
            ),
            record=record,
            written=letter.replies,
            may_stream=self._workspaces.may(letter.app, event.team, "stream"),
        )

    async def _tell(self, delivery: Delivery, text: str) -> None:
        delivery.add(text)
        await delivery.finish()

    async def _converse(
        self, letter: Letter, event: Said, route: Route, delivery: Delivery
    ) -> str | None:
        turn = await self._turn(letter, event, route)
        waited = 0.0
        while True:
            try:
                await self._listen(letter, event, turn, delivery)
                break
            except TronError as error:
                if self.stopping and not delivery.text:
                    raise _Stopping from error
                pause = min(error.retry_after or 1.0, LONGEST_PAUSE_S)
                waited += pause
                if not error.retryable or delivery.text or waited > PATIENCE_S:
                    await delivery.fail(_notice(route.persona, error), letter.id)
                    return error.type
                await asyncio.sleep(pause)
        if not delivery.text.strip():
            delivery.add(f"_{route.persona.name} had nothing to say to that._")
        await delivery.finish()
        if letter.session_key is not None:
            await self._threads.answered(event, letter.session_key)
        return None

    async def _listen(
        self, letter: Letter, event: Said, turn: TurnInput, delivery: Delivery
    ) -> None:
        async with aclosing(self._hub.door.converse(turn)) as batches:
            async for batch in batches:
                for what in batch:
                    if isinstance(what, TextDelta):
                        delivery.add(what.text)
                    elif isinstance(what, turns.Opened):
                        await self._inbox.note(letter, session_key=what.session)
                    elif isinstance(what, ToolStarted):
                        self._say_status(letter.app, event, f"is using {what.call.name}…")

    async def _turn(self, letter: Letter, event: Said, route: Route) -> TurnInput:
        person = await self._workspaces.person(letter.app, event.team, event.user)
        return TurnInput(
            caller=Caller(
                id=f"slack:{event.team}:{event.user}",
                known=True,
                call_id=call_id(event),
                name=person.name if person else None,
            ),
            channel="slack",
            agent=route.persona.id,
            messages=[Message(role="user", content=route.text)],
            instructions=_instructions(event, person.name if person else ""),
        )

    # What another try left behind

    async def _stored_answer(self, letter: Letter, text: str) -> str | None:
        """The answer, if the earlier try got as far as keeping it."""
        if letter.session_key is None:
            return None
        try:
            _, entries = await self._hub.sessions.detail(HOUSE, letter.session_key)
        except TronError:
            return None
        asked = [entry for entry in entries if entry.message.role == "user"]
        last = entries[-1] if entries else None
        if last is None or last.message.role != "assistant" or last.interrupted or not asked:
            return None
        return last.message.content if asked[-1].message.content == text else None

    async def _end_streams(self, letter: Letter, event: Said) -> None:
        """A stream that its hub left open takes no edits."""
        for ts in letter.replies[-1:]:
            try:
                await self._workspaces.call(
                    letter.app, event.team, "chat.stopStream", channel=event.channel, ts=ts
                )
            except Refused as fault:
                log.info("slack.stream_was_over", error=fault.error)

    # The other kinds

    async def _command(self, letter: Letter, command: Command) -> str | None:
        """`/tron ask`: the answer goes to the one who asked."""
        words = self._commands.question(command)
        said = Said(
            team=command.team,
            channel=command.channel,
            user=command.user,
            text=words,
            ts="",
            thread_ts=None,
            direct=True,  # no channel name is looked up for it
            addressed=True,
            event_id=command.event_id,
        )
        route = await self._router.route(letter.app, said, None)
        error: str | None
        if route is None:
            text, error = NOBODY, "no persona"
        elif letter.attempts > TRIES:
            text, error = INTERRUPTED, "interrupted"
        else:
            text, error = await self._ask(command, route)
        parts = split(text)
        shown = [mrkdwn(part) for part in parts[:RESPONSE_PARTS]]
        if len(parts) > RESPONSE_PARTS:
            shown[-1] += "\n_(The rest does not fit here. Mention me in a channel for all of it.)_"
        for part in shown:
            await self._workspaces.respond(command.response_url, wire.ephemeral(part))
        return error

    async def _ask(self, command: Command, route: Route) -> tuple[str, str | None]:
        person = f"slack:{command.team}:{command.user}"
        turn = TurnInput(
            caller=Caller(id=person, known=True, call_id=f"{person}:command"),
            channel="slack",
            agent=route.persona.id,
            messages=[Message(role="user", content=route.text or "Hello.")],
        )
        try:
            reply = await self._hub.door.ask(turn)
        except TronError as error:
            if self.stopping:
                raise _Stopping from error
            return _notice(route.persona, error), error.type
        return f"**{route.persona.name}**: {reply.text}", None

    async def _opened(self, letter: Letter, event: Opened) -> None:
        """The assistant pane was opened: greet, and suggest what to say."""
        persona = (self._hub.agents.get(letter.app) if letter.app else None) or (
            self._router.default()
        )
        name = persona.name if persona else "Tron"
        call = self._workspaces.calls(letter.app, event.team)
        where = {"channel_id": event.channel, "thread_ts": event.thread}
        await call(
            "chat.postMessage",
            channel=event.channel,
            thread_ts=event.thread,
            text=f"{escape(name)} here. What can I do for you?",
        )
        await call("assistant.threads.setSuggestedPrompts", **where, prompts=wire.prompts(name))

    # Small things

    def _say_status(self, app: str, event: Said, status: str) -> None:
        """What Slack shows under the thread; nobody waits for it."""
        if event.thread:
            self._start_call(app, event, "assistant.threads.setStatus", status=status)

    def _start_call(self, app: str, event: Said, method: str, **given: Any) -> None:
        if not self._workspaces.may(app, event.team, method) or len(self._tasks) > 200:
            return

        async def call() -> None:
            try:
                await self._workspaces.call(
                    app,
                    event.team,
                    method,
                    patience_s=2.0,
                    channel_id=event.channel,
                    thread_ts=event.thread,
                    **given,
                )
            except Refused as fault:
                log.debug("slack.no_status", method=method, error=fault.error)
                self._workspaces.cannot(app, event.team, method)

        self._tasks.start(call(), method)

    async def _apologise(self, letter: Letter) -> None:
        event = letter.event
        if not isinstance(event, Said):
            return
        notice = "Something broke inside the hub while I answered this; its log has the details."
        delivery = self._delivery(letter, event)
        try:
            await delivery.fail(notice, letter.id)
        except (Refused, TronError) as fault:
            log.warning("slack.not_delivered", letter=letter.id, error=str(fault))
        finally:
            await delivery.close()

    async def _settle(self, letter: Letter, status: str) -> None:
        """Write down how it ended; while the store is away, that is tried again."""
        while True:
            try:
                await self._inbox.finish(letter, status)
                return
            except TronError as fault:
                log.warning("slack.not_settled", letter=letter.id, error=fault.type)
                if self.stopping:
                    return
                await asyncio.sleep(1.0)


class _Stopping(Exception):
    """The hub is stopping before the answer began."""


def _notice(persona: Persona, error: TronError) -> str:
    return f"{persona.name} could not answer this: {error.message}"


def _instructions(event: Said, name: str) -> str:
    place = "in a direct message" if event.direct else "in a thread that others may read"
    who = f" The one who writes now is {name}." if name else ""
    return f"You are talking in Slack, {place}.{who} Answer in Markdown, as briefly as fits."
