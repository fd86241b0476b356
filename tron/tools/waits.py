"""Tools that wait: for a time, or for somebody to answer. They work in tasks alone.

Nothing is kept busy by waiting: the tool says when it wants to be called again, and until then its
task holds nothing but its row. What it waits for is looked up in the store each time, so it is
found whichever hub looks.
"""

from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta
from sqlalchemy import and_, func, select

from tron.agents.registry import Registry
from tron.clock import Clock, duration, iso
from tron.conversation.session import INTERNAL_CHANNELS
from tron.memory.contacts import e164
from tron.storage.store import Store
from tron.storage.tables import messages, sessions, task_steps
from tron.tools.contract import StepScope, Tool, ToolContext, ToolFailed, ToolRefused, TryLater

LONGEST_S = 30 * 86_400
LOOK_MS = 3_000
LOOK_SELDOM_MS = 15_000
"""how often is looked for a reply that has not come within `SOON_MS`"""
SOON_MS = 600_000
REPLIES = 10
REPLY_CHARS = 4_000


class WaitUntil(msgspec.Struct):
    time: Annotated[
        str,
        Meta(
            max_length=40,
            description="Date and time such as 2027-03-01T09:00, in your own time zone, or with "
            "one (2027-03-01T09:00+01:00). Left out: `seconds` says how long.",
        ),
    ] = ""
    seconds: Annotated[
        int,
        Meta(ge=0, le=LONGEST_S, description="How long to wait, from the beginning of this step."),
    ] = 0


class WaitForReply(msgspec.Struct):
    sender: Annotated[
        str,
        Meta(
            max_length=200,
            description="Whose reply: a phone number with country code, or a caller id. Left out: "
            "whoever says something in the conversation that this task belongs to.",
        ),
    ] = ""
    seconds: Annotated[
        int, Meta(ge=1, le=LONGEST_S, description="Seconds after which nobody is waited for.")
    ] = 3_600


def waits(store: Store, agents: Registry, clock: Clock) -> list[Tool[Any]]:
    """The tools of this file."""
    return [
        Tool(
            "wait_until",
            "Wait until a time, or for a while, before the next step of the task.",
            WaitUntil,
            partial(_until, agents, clock),
            effect="read",
            task_only=True,
        ),
        Tool(
            "wait_for_reply",
            "Wait until somebody answers, and hand on what they said. Use it after a step that "
            "asked them something.",
            WaitForReply,
            partial(_for_reply, store, clock),
            effect="read",
            task_only=True,
        ),
    ]


def _scope(context: ToolContext) -> StepScope:
    if context.step is None:
        raise ToolRefused("Only a task can wait.")
    return context.step


async def _until(agents: Registry, clock: Clock, context: ToolContext, args: WaitUntil) -> str:
    begun_at = _scope(context).begun_at
    if args.time.strip():
        persona = agents.get(context.process.agent)
        at = _time(args.time.strip(), ZoneInfo(persona.timezone) if persona else UTC)
    elif args.seconds:
        at = begun_at + args.seconds * 1000
    else:
        raise ToolFailed("Say until when, or for how many seconds.")
    if at > begun_at + LONGEST_S * 1000:
        raise ToolFailed(f"A task waits for {LONGEST_S // 86_400} days at most.")
    if clock.now_ms() < at:
        raise TryLater(at, f"Waits until {iso(at)}.")
    return f"It is {iso(clock.now_ms())}."


def _time(text: str, zone: tzinfo) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ToolFailed(f"{text!r} is no date and time such as 2027-03-01T09:00.") from None
    return round((found if found.tzinfo else found.replace(tzinfo=zone)).timestamp() * 1000)


async def _for_reply(store: Store, clock: Clock, context: ToolContext, args: WaitForReply) -> str:
    scope, sender = _scope(context), args.sender.strip()
    if not sender and not context.session:
        raise ToolFailed("This task belongs to no conversation, so say whose reply it waits for.")
    now = clock.now_ms()
    said = await _said(store, context, scope, sender)
    if said:
        return said
    until = scope.begun_at + args.seconds * 1000
    if now >= until:
        raise ToolFailed(f"No reply came within {duration(args.seconds)}.")
    pause = LOOK_MS if now - scope.begun_at < SOON_MS else LOOK_SELDOM_MS
    raise TryLater(min(now + pause, until), f"Waits for a reply until {iso(until)}.")


async def _said(store: Store, context: ToolContext, scope: StepScope, sender: str) -> str:
    """What was said since the step before was begun, oldest first; empty if nothing.

    Since then and not since this step was: an answer may be quicker than we are.
    """
    before = select(func.max(task_steps.c.started_at)).where(
        task_steps.c.client_id == context.client_id,
        task_steps.c.task_id == scope.task_id,
        task_steps.c.status == "completed",
    )
    whose = (
        and_(
            sessions.c.caller.in_((sender, e164(sender) or sender)),
            sessions.c.channel.not_in(INTERNAL_CHANNELS),
        )
        if sender
        else sessions.c.key == context.session
    )
    query = (
        select(messages.c.content)
        .join(sessions, sessions.c.key == messages.c.session_key)
        .where(
            sessions.c.client_id == context.client_id,
            messages.c.client_id == context.client_id,
            whose,
            messages.c.role == "user",
            messages.c.superseded.is_(False),
            messages.c.created_at >= func.coalesce(before.scalar_subquery(), scope.begun_at),
        )
        .order_by(messages.c.created_at, messages.c.session_key, messages.c.seq)
        .limit(REPLIES)
    )
    async with store.read() as connection:
        found = [text.strip() for text in (await connection.execute(query)).scalars()]
    return "\n".join(text for text in found if text)[:REPLY_CHARS]
