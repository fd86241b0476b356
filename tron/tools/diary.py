"""Tools for a persona's day: what time it is, and its journal."""

from datetime import UTC, datetime
from functools import cache, partial
from importlib import resources
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from tron.agents.registry import Registry
from tron.clock import DAY_MS, Clock, iso
from tron.life.journal import NOTE, OWN, Journal
from tron.tools.contract import Tool, ToolContext, ToolFailed

ENTRIES_SHOWN = 50


class CurrentTime(msgspec.Struct):
    timezone: Annotated[
        str,
        Meta(
            max_length=64,
            description="IANA time zone such as Europe/Berlin, or its city. Left out: your own.",
        ),
    ] = ""


class WriteJournal(msgspec.Struct):
    text: Annotated[
        str,
        Meta(min_length=1, max_length=8_000, description="The entry, in your own words."),
    ]


class ReadJournal(msgspec.Struct):
    days: Annotated[int, Meta(ge=1, le=30, description="How many days back.")] = 1
    persona: Annotated[
        str, Meta(max_length=64, description="Whose journal, by name. Left out: your own.")
    ] = ""


def diary(journal: Journal, agents: Registry, clock: Clock) -> list[Tool[Any]]:
    """The tools of this file."""
    return [
        Tool(
            "current_time",
            "The date and time now. Use it whenever the answer depends on today's date, the "
            "weekday or the hour; do not guess.",
            CurrentTime,
            partial(_current_time, agents, clock),
            effect="read",
        ),
        Tool(
            "write_journal",
            "Write an entry in your own journal: what you did, decided or noticed. Colleagues can "
            "read it.",
            WriteJournal,
            partial(_write, journal),
            effect="write",
        ),
        Tool(
            "read_journal",
            "Read your own journal or a colleague's, newest entries first.",
            ReadJournal,
            partial(_read, journal, agents, clock),
            effect="read",
        ),
    ]


async def _current_time(
    agents: Registry, clock: Clock, context: ToolContext, args: CurrentTime
) -> str:
    persona = agents.get(context.process.agent)
    own = persona.timezone if persona else "UTC"
    zone = _zone(args.timezone.strip() or own)
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC).astimezone(zone)
    return f"{now:%A}, {now.day} {now:%B %Y, %H:%M} ({zone.key})"


async def _write(journal: Journal, context: ToolContext, args: WriteJournal) -> str:
    await journal.write(context.client_id, context.process.agent, NOTE, args.text.strip())
    return "Written."


async def _read(
    journal: Journal, agents: Registry, clock: Clock, context: ToolContext, args: ReadJournal
) -> str:
    agent = context.process.agent
    if args.persona.strip():
        persona = agents.get(args.persona.strip())
        if persona is None:
            names = ", ".join(persona.name for persona in agents.personas)
            raise ToolFailed(f"There is nobody by that name here. There are {names}.")
        agent = persona.id
    entries = await journal.entries(
        context.client_id,
        agent=agent,
        kinds=OWN,
        since_ms=clock.now_ms() - args.days * DAY_MS,
        limit=ENTRIES_SHOWN,
    )
    if not entries:
        return "No entries in that time."
    return "\n\n".join(f"{iso(e.created_at)} ({e.kind})\n{e.text}" for e in entries)


def _zone(name: str) -> ZoneInfo:
    known = _zones().get(name.casefold().replace(" ", "_"))
    if known is None:
        raise ToolFailed(
            f"{name!r} is no time zone. Use an IANA name such as Europe/Berlin, or UTC."
        )
    return ZoneInfo(known)


@cache
def _zones() -> dict[str, str]:
    """IANA names by their casefolded selves, and by their city (`tokyo` → `Asia/Tokyo`)."""
    names = resources.files("tzdata").joinpath("zones").read_text().split()
    by_city = {name.rpartition("/")[2].casefold(): name for name in reversed(names)}
    return by_city | {name.casefold(): name for name in names}
