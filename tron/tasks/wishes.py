"""A plan by rules, where no language model makes one: each thing asked for becomes a step. Pure.

Reuses how the offline brain reads a request (brain/offline/chores.py). A wish it can't map to a
tool that is there is refused with the reason, or left to the persona (`work_out`) where a model is
only away for the moment. Nothing is guessed: who has no number is not called.
"""

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from tron.brain.contract import Ask
from tron.brain.offline.actions import action_for
from tron.brain.offline.chores import Chore, as_task, chores, refers_back
from tron.brain.offline.intents import Intent, Known
from tron.brain.offline.reading import Turn
from tron.brain.offline.times import moment
from tron.brain.offline.voices import Speaker
from tron.brain.offline.words import sentence
from tron.clock import iso
from tron.errors import Invalid
from tron.memory.contacts import e164
from tron.tasks.contract import PlannedStep
from tron.tasks.plan import MOST_STEPS
from tron.tasks.working_out import NAME as WORK_OUT

TITLE_CHARS = 80
SMS_CHARS = 1_000
FACT_CHARS = 3_500
LOOKED_UP = frozenset(("sms", "call"))
"""chores that name somebody who has a number"""

_BEHIND_TIME = re.compile(r"(?:to|that|about|of)\b ?", re.IGNORECASE)
_AGAIN = re.compile(r"\b(?:every|each) (?:\w+ )?(?:day|week|month|hour|morning|evening|night|"
                    r"minute|monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b|"
                    r"\b(?:daily|weekly|hourly|monthly)\b", re.IGNORECASE)  # fmt: skip


class PlanRefused(Invalid):
    """A task can't be done, and why; the text is for whoever asked."""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known when a plan is made."""

    agent: str
    tools: frozenset[str]
    now_ms: int
    zone: str
    known: Known
    speaker: Speaker | None
    my_number: str = ""
    """of whoever asked; empty: not known"""
    my_slack: str = ""
    """their Slack user id, if they asked there"""
    numbers: dict[str, str] = {}
    """people named in the wish, in lower case, whose number is known"""
    model: bool = False
    """there is a language model, if not at this moment"""


def named(text: str, known: Known) -> list[str]:
    """The people whose numbers a plan for `text` will need."""
    wanted = [c.slots.get("who", "") for c in _wanted(text, known) if c.kind in LOOKED_UP]
    return [who for who in wanted if who.lower() != "me" and not e164(who)]


def _wanted(text: str, known: Known) -> list[Chore]:
    return chores(as_task(text, known) or text, known)


def steps_for(text: str, now: Situation) -> tuple[PlannedStep, ...]:
    """The plan for `text`. Raises PlanRefused."""
    wish = as_task(text, now.known) or text
    if _AGAIN.search(wish):
        raise PlanRefused("I can't do something again and again by myself yet, only once.")
    plan = _Plan(now)
    first = moment(wish, now.now_ms, now.zone)
    if first is not None and first.rest and not wish.startswith(first.rest):
        plan.wait(first.at)
        wish = first.rest
    for chore in chores(wish, now.known):
        plan.add(chore)
    if len(plan.steps) > MOST_STEPS:
        raise PlanRefused(f"That is more than {MOST_STEPS} steps; ask for less at once.")
    return tuple(plan.steps)


class _Plan:
    """Steps as they are found, one after the other."""

    def __init__(self, now: Situation) -> None:
        self._now = now
        self.steps: list[PlannedStep] = []
        self._source = ""
        """the latest step that found something to hand on"""
        self._makers = {
            "run": self._run,
            "fetch": self._fetch,
            "write": self._write,
            "read": self._read,
            "sms": self._sms,
            "slack": self._slack,
            "call": self._call,
            "remind": self._remind,
            "ask": self._ask,
        }

    def wait(self, at: int) -> None:
        when = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(self._now.zone))
        title = f"Wait until {when:%A, %-d %B, %H:%M}"
        self._step(title, "wait_until", {"time": iso(at)})

    def add(self, chore: Chore) -> None:
        if maker := self._makers.get(chore.kind):
            maker(chore)
        elif chore.kind == "unknown" or not self._by_intent(chore):
            self._unknown(chore)

    def _step(
        self, title: str, tool: str, arguments: dict[str, Any], *, finds: bool = False
    ) -> None:
        if tool not in self._now.tools:
            raise PlanRefused(f"I have no tool for this: {title[:TITLE_CHARS]}")
        node = f"n{len(self.steps) + 1}"
        needs = (self.steps[-1].node,) if self.steps else ()
        title = title if len(title) <= TITLE_CHARS else f"{title[: TITLE_CHARS - 1]}…"
        self.steps.append(
            PlannedStep(node=node, title=title, tool=tool, arguments=arguments, needs=needs)
        )
        if finds:
            self._source = node

    def _text(self, chore: Chore, limit: int | None = None) -> str:
        """What is to be said or written: the words of the wish, or what an earlier step found."""
        text = chore.slots.get("text", "")
        if not refers_back(text):
            return text
        if not self._source:
            raise PlanRefused(f"It is not said what: {chore.text.strip()}")
        return f"{{{{{self._source}{f':{limit}' if limit else ''}}}}}"

    # What conversations do not do

    def _run(self, chore: Chore) -> None:
        command = "make test" if "tests" in chore.slots else chore.slots["command"]
        self._step(f"Run {command}", "run_command", {"command": command}, finds=True)

    def _fetch(self, chore: Chore) -> None:
        url = chore.slots["url"]
        self._step(f"Fetch {url}", "fetch_page", {"url": url}, finds=True)

    def _write(self, chore: Chore) -> None:
        path = chore.slots["path"]
        self._step(f"Write {path}", "write_file", {"path": path, "content": self._text(chore)})

    def _read(self, chore: Chore) -> None:
        path = chore.slots["path"]
        self._step(f"Read {path}", "read_file", {"path": path}, finds=True)

    def _sms(self, chore: Chore) -> None:
        who = chore.slots["who"]
        if who.lower() == "me" and not self._now.my_number and self._now.my_slack:
            arguments = {"channel": self._now.my_slack, "text": self._text(chore, SMS_CHARS)}
            self._step("Write to you in Slack", "send_slack_message", arguments)
            return
        arguments = {"to": self._number(who), "text": self._text(chore, SMS_CHARS)}
        self._step(f"Text {'you' if who.lower() == 'me' else who}", "send_sms", arguments)

    def _slack(self, chore: Chore) -> None:
        who = chore.slots["who"]
        self._step(
            f"Post to {who}", "send_slack_message", {"channel": who, "text": self._text(chore)}
        )

    def _call(self, chore: Chore) -> None:
        who = chore.slots["who"]
        arguments = {"to": self._number(who), "message": self._text(chore, SMS_CHARS)}
        self._step(f"Call {who}", "place_call", arguments)

    def _remind(self, chore: Chore) -> None:
        found = moment(chore.slots["text"], self._now.now_ms, self._now.zone)
        if found is None:
            raise PlanRefused(f"I don't understand when: {chore.text.strip()}")
        about = found.rest.strip(" ,.")
        if begins := _BEHIND_TIME.match(about):
            about = about[begins.end() :]
        self.wait(found.at)
        title = f"Remind you: {about}" if about else "Remind you"
        self._step(title, "remind", {"text": sentence(about or "it is time")})

    def _ask(self, chore: Chore) -> None:
        who, text = chore.slots["who"], chore.slots["text"]
        if who == self._now.agent:
            self._unknown(chore)
            return
        action = action_for(self._turn(chore), Intent("ask", chore.slots))
        question = str(action.arguments["question"]) if action else sentence(text)
        for start, please in (("for ", "Please give me "), ("to ", "Please ")):
            if text.lower().startswith(start):
                question = sentence(please + text[len(start) :])
        title = chore.text.strip(" .,")
        self._step(
            title[:1].upper() + title[1:],
            "ask_persona",
            {"persona": who, "question": question},
            finds=True,
        )

    # What they do, and the rest

    def _by_intent(self, chore: Chore) -> bool:
        """A step for what the offline brain has a tool for. False: it has none."""
        slots = dict(chore.slots)
        if chore.passes_on:
            limit = f"{{{{{self._source}:{FACT_CHARS}}}}}" if self._source else ""
            slots["text"] = f"{self._title_of_source()}: {limit}" if limit else self._text(chore)
        action = action_for(self._turn(chore), Intent(chore.kind, slots))
        if action is None:
            return False
        title = sentence(chore.text.strip(" ,")).rstrip(".")
        self._step(title, action.tool, action.arguments, finds=not chore.passes_on)
        return True

    def _title_of_source(self) -> str:
        return next(step.title for step in self.steps if step.node == self._source)

    def _unknown(self, chore: Chore) -> None:
        wish = chore.text.strip(" .,")
        if not self._now.model or WORK_OUT not in self._now.tools:
            raise PlanRefused(
                f"Without a language model I don't know how to do this: {wish[:200]}. I can ask "
                "a colleague, run a command, fetch a page, write a file, send a message, place a "
                "call, remember something or remind you."
            )
        material = f"{{{{{self._source}}}}}" if self._source else ""
        self._step(
            wish[:1].upper() + wish[1:],
            WORK_OUT,
            {"request": sentence(wish), "material": material},
            finds=True,
        )

    def _number(self, who: str) -> str:
        if who.lower() == "me":
            if not self._now.my_number:
                raise PlanRefused("I have no phone number of yours. Tell me the number as well.")
            return self._now.my_number
        number = e164(who) or self._now.numbers.get(who.lower(), "")
        if not number:
            raise PlanRefused(f"I have no phone number for {who}.")
        return number

    def _turn(self, chore: Chore) -> Turn:
        return Turn(
            ask=Ask(messages=[], agent=self._now.agent),
            speaker=self._now.speaker,
            colleagues=[],
            known=self._now.known,
            model_configured=self._now.model,
        )
