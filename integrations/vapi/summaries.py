"""After a call: the persona that took it writes down what it should remember of it.

Owns the work in the background between a call's end and its summary: 2 to 4 bullets in the first
person, put into the memory of that caller, and the caller's contact card. What is due is in the
ledger, so a hub that is killed in the middle leaves nothing behind that another would not finish,
and each step may be done twice. On a hub that VAPI is not set up for nothing is looked for until
the first call has ended.
"""

import asyncio
import re
from typing import TYPE_CHECKING

import structlog

from integrations.vapi import wire
from integrations.vapi.ledger import Call, Ledger
from integrations.vapi.wire import Line
from tron.agents.persona import Persona
from tron.brain.offline import summarise
from tron.clock import DAY_MS, iso
from tron.conversation.sessions import call_key
from tron.errors import NotFound, ProviderError, TronError
from tron.memory.contacts import e164
from tron.orchestrator.process import Process
from tron.storage.tables import HOUSE
from tron.supervise import Tasks

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

LOOK_S = 2.0
AT_ONCE = 4
DRAIN_S = 3.0
PRUNE_EVERY_S = 3600.0
"""looks, which is about once an hour"""
TALK_CHARS = 24_000
BULLET_CHARS = 250
MOST_BULLETS = 4
UNKNOWN = "Unknown Caller"
_MARK = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s*")
_FIRST_PERSON = {
    "Told": "I was told:",
    "Promised": "I promised:",
    "Wanted": "I was asked:",
    "Said": "I heard:",
    "Answered": "I answered:",
}
"""kinds of sentences the offline summary tells apart, the most telling first"""


class Summaries:
    """See the module."""

    def __init__(self, hub: "Hub", ledger: Ledger) -> None:
        self._hub = hub
        self._ledger = ledger
        self._watch = Tasks("vapi")
        self._work = Tasks("vapi summaries")
        self._busy: dict[int, Call] = {}
        self._wake = asyncio.Event()
        self._needed = False
        self._started = False
        self._looking: asyncio.Task[None] | None = None

    def start(self, *, set_up: bool) -> None:
        """`set_up`: VAPI is, so calls of before may be due."""
        self._started = True
        self._needed = self._needed or set_up
        self._look_if_needed()

    def due(self) -> None:
        """Something may be due now."""
        self._needed = True
        self._look_if_needed()
        self._wake.set()

    def _look_if_needed(self) -> None:
        if self._started and self._needed and self._looking is None:
            self._looking = self._watch.repeat(self._look, "due", every_s=LOOK_S, soon=self._wake)
            self._watch.repeat(self._prune, "pruning", every_s=PRUNE_EVERY_S)

    async def close(self) -> None:
        """Let what is being written be finished, within a few seconds; the rest is put back."""
        await self._watch.close()
        await self._work.drain(DRAIN_S)
        await self._work.close()
        for call in list(self._busy.values()):
            try:
                await self._ledger.put_back(call)
            except TronError as error:  # another hub will find it left behind
                log.warning("vapi.summary_not_put_back", error=error.type)

    async def _prune(self) -> None:
        await self._ledger.prune(self._hub.settings.history_days * DAY_MS)

    async def _look(self) -> None:
        free = AT_ONCE - len(self._busy)
        if free <= 0:
            return
        for call in await self._ledger.take(list(self._busy), free):
            self._busy[call.id] = call
            self._work.start(self._attend(call), call.call_id)

    async def _attend(self, call: Call) -> None:
        try:
            done = await self._sum_up(call)
            if not done:
                await self._ledger.failed(call)
        except TronError as error:
            log.warning("vapi.summary_failed", call=call.call_id, error=error.type)
            try:
                await self._ledger.failed(call)
            except TronError:  # it is found again: see `Ledger.take`
                log.warning("vapi.summary_not_marked", call=call.call_id)
        del self._busy[call.id]  # not in a `finally`: a cancelled one is to be put back
        self._wake.set()

    async def _sum_up(self, call: Call) -> bool:
        hub = self._hub
        persona = hub.agents.get(call.agent) or hub.agents.get(hub.settings.default_agent)
        if persona is None:
            return False
        name = await self._save_contact(call)
        lines = await self._lines(call)
        if not lines:
            await self._ledger.summed_up(call, "")
            return True

        async def work(process: Process) -> list[str]:
            try:
                written = await hub.thinking.think(
                    process,
                    persona,
                    _prompt(name, lines),
                    offline="\n".join(offline_bullets(name, lines)),
                    max_tokens=300,
                )
            except ProviderError as error:  # not the persona's failure: it goes on taking calls
                log.warning("vapi.summary_unwritten", call=call.call_id, error=error.type)
                return []
            return bullets(written) or offline_bullets(name, lines)

        process = hub.orchestrator.spawn(
            persona.id, work, task="Sum up a call (vapi)", reason="vapi", restarts=0
        )
        try:
            await process.wait()
        finally:
            await hub.orchestrator.kill(process.id)
        if process.status != "completed" or not process.result:
            return False
        await self._remember(call, persona, process.result)
        await self._ledger.summed_up(call, "\n".join(f"- {b}" for b in process.result))
        return True

    async def _lines(self, call: Call) -> list[Line]:
        """What was said: from the report, else from our own transcript, else from events."""
        if call.report is not None and call.report.lines:
            return call.report.lines
        try:
            _, entries = await self._hub.sessions.detail(HOUSE, call_key(HOUSE, call.call_id))
        except NotFound:
            entries = []
        said = [{"role": e.message.role, "content": e.message.content} for e in entries]
        return wire.lines_of(said) or call.lines

    async def _save_contact(self, call: Call) -> str:
        """The caller's card, made or completed; returns what they are called."""
        if call.caller is None or e164(call.caller) is None:
            return call.name or UNKNOWN
        known = await self._hub.contacts.by_phone(HOUSE, call.caller)
        named = known.name if known and known.name != UNKNOWN else call.name or UNKNOWN
        if known is None or known.name != named:
            await self._hub.contacts.save(HOUSE, name=named, phone=call.caller)
        return named

    async def _remember(self, call: Call, persona: Persona, written: list[str]) -> None:
        if call.caller is None:  # nobody whom it could be told again
            return
        day = iso(call.started_at)[:10]
        for place in range(1, MOST_BULLETS + 1):
            key = f"phone call {day} {call.call_id[:64]} {place}"
            if place > len(written):  # an earlier try may have written more
                await self._hub.memory.forget(HOUSE, person=call.caller, key=key)
                continue
            await self._hub.memory.remember(
                HOUSE,
                person=call.caller,
                key=key,
                content=f"Phone call of {day}: {written[place - 1]}",
                author=persona.id,
                tags=["call"],
            )


def _prompt(name: str, lines: list[Line]) -> str:
    talk = "\n".join(f"{'I' if line.role == 'assistant' else name}: {line.text}" for line in lines)
    return (
        f"You have just had a phone call with {name}. Write down what you should remember of it: "
        "2 to 4 bullets, one line each, in the first person (“I …”): what they wanted, what they "
        "told you, what was decided, what you promised. Only what was said; nothing else.\n\n"
        f"The call:\n{talk[-TALK_CHARS:]}"
    )


def bullets(written: str) -> list[str]:
    """The bullets of a text, without their marks, at most 4."""
    lines = [_MARK.sub("", line).strip() for line in written.splitlines() if line.strip()]
    marked = [_MARK.sub("", line).strip() for line in written.splitlines() if _MARK.match(line)]
    return [line[:BULLET_CHARS] for line in (marked or lines) if line][:MOST_BULLETS]


def offline_bullets(name: str, lines: list[Line]) -> list[str]:
    """What can be said without a model: the telling sentences, in the first person."""
    told = summarise(wire.as_messages(lines), TALK_CHARS).splitlines()
    kinds = list(_FIRST_PERSON)
    telling = sorted(told, key=lambda line: kinds.index(line.partition(": ")[0]))
    chosen = telling[: MOST_BULLETS - 1]
    found = [f"I spoke with {name} on the phone."]
    for line in told:  # in the order it was said
        kind, _, words = line.partition(": ")
        if line in chosen:
            found.append(f"{_FIRST_PERSON[kind]} {words}"[:BULLET_CHARS])
    if len(found) == 1:
        found.append(f"I heard: {lines[-1].text}"[:BULLET_CHARS])
    return found
