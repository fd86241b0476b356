"""Tool results put into words, in the persona's voice.

A result is data: it is passed on, never followed. Where a result cannot be read as success or
failure it is given as it is, so that nothing is claimed that did not happen.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from tron.brain.offline.fallback import NO_VIEW
from tron.brain.offline.intents import Intent
from tron.brain.offline.phrasing import told_before
from tron.brain.offline.places import zone_of
from tron.brain.offline.reading import Turn, arguments_of
from tron.brain.offline.voices import lines
from tron.brain.offline.words import sentence, to_their_face
from tron.conversation.turns import ToolCall

Arguments = dict[str, Any]

LONGEST = 6_000
"""characters of one result that are passed on"""

_OUTCOMES = ("ok", "success")
# How a tool that changes something says in words that it did; else they are passed on as they are.
_DID = re.compile(
    r"(?:ok\b|done|remembered|saved|stored|noted|kept|written|shared|forgotten|added|taken|"
    r"the message |transferr|connect|end|hang|goodbye|$)",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"(?:(?:the )?web search (?!found)|there is (?:no|nobody)\b|those arguments|error\b|"
    r"\w{1,64} failed|'.{0,70}' is no\b)",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"(?:there are no tasks|nothing|nobody|none|the web search found nothing|"
    r"no (?:entr|result|match|memor)|null$|\[\]$|\{\}$|$)",
    re.IGNORECASE,
)
_WEEKDAY = re.compile(r"(?:mon|tues|wednes|thurs|fri|satur|sun)day\b", re.IGNORECASE)
_KEY = re.compile(r" \[[^\[\]]{1,200}\]$")
_BULLET = re.compile(r"^(?:[-*•]|[0-9]{1,3}[.)]) +")


RECALLED = ("I have this:", "From memory:", "What I have:")
"""how something remembered is introduced"""


def phrase(turn: Turn, intent: Intent, call: ToolCall, result: str) -> str:
    """The result of `call`, made for `intent`, put into words."""
    text = readable(result)
    did = outcome(result)
    unsure = call.name in _CHANGES and not (_DID.match(text) if did is None else did)
    if unsure or (call.name != "ask_persona" and _REFUSED.match(text)):
        return sentence(text)
    if phraser := _PHRASERS.get(call.name):
        return phraser(_Found(turn, intent, arguments_of(call), text))
    name = call.name.replace("_", " ") or "the tool"
    return f"{sentence(name).rstrip('.')}: {text}" if text else f"Nothing came back from {name}."


class _Found(NamedTuple):
    """What a tool found, and for what."""

    turn: Turn
    intent: Intent
    arguments: Arguments
    text: str

    def called(self, argument: str) -> str:
        """The name of the person in `argument`."""
        return self.turn.called(str(self.arguments.get(argument, "")))

    def done(self) -> str:
        return self.turn.pick(lines(self.turn.speaker, "done"))


Phraser = Callable[[_Found], str]


def empty(text: str) -> bool:
    """Whether a search found nothing."""
    return bool(_EMPTY.match(text))


def readable(result: str) -> str:
    """A result as text for people: JSON becomes plain lines, long ones are cut and say so."""
    text = result.strip()
    if text[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            text = "\n".join(_flat(json.loads(text), 0))
    if len(text) > LONGEST:
        text = f"{text[:LONGEST].rstrip()}… (cut, {len(text) - LONGEST} more characters)"
    return text


def outcome(result: str) -> bool | None:
    """Whether a tool did what it was asked, where its result says so in a field of its own."""
    if result.lstrip()[:1] == "{":
        with suppress(ValueError, RecursionError):
            found = json.loads(result)
            return next((found[name] for name in _OUTCOMES if type(found.get(name)) is bool), None)
    return None


def _flat(value: Any, depth: int) -> list[str]:
    if isinstance(value, dict) and depth < 4:
        fields = []
        for key, item in value.items():
            if item in (None, "", [], {}):
                continue
            inner = ", ".join(_flat(item, depth + 1))
            fields.append(inner if key in ("result", "text", "content") else f"{key}: {inner}")
        return [", ".join(fields)] if fields else []
    if isinstance(value, list) and depth < 4:
        return [f"- {line}" if depth == 0 else line for v in value for line in _flat(v, depth + 1)]
    return [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]


def _entries(text: str) -> list[str]:
    """The items of a result: blocks between empty lines, or else lines; each on one line."""
    blocks = text.split("\n\n") if "\n\n" in text else text.splitlines()
    joined = (" ".join(line.strip() for line in block.splitlines()) for block in blocks)
    return [_BULLET.sub("", entry) for entry in joined if entry]


def _listed(intro: str, text: str) -> str:
    """One item in a sentence, several below each other."""
    found = _entries(text)
    if len(found) == 1:
        return f"{intro}: {sentence(found[0]) if found[0][-1] != ':' else found[0]}"
    if found and found[0].endswith(":"):
        intro, found = f"{intro}, {found[0].rstrip(':')}", found[1:]
    return f"{intro}:\n" + "\n".join(f"- {entry}" for entry in found)


def _remembered(found: _Found) -> str:
    fact = str(found.arguments.get("fact", "")).rstrip(" .")
    if found.intent.name == "keep":
        return f"{found.done()} I'll remember that: {to_their_face(fact)}."
    if found.intent.name == "told_name":
        return f"Nice to meet you, {found.intent.slots['value']}. I'll remember your name."
    if found.intent.name == "remember_to":
        return (
            f"{found.done()} I've kept it: {found.intent.slots['text']}. "
            "I can't ring you, but ask me and I'll have it."
        )
    whom = " for everyone" if found.arguments.get("shared") else ""
    return f"{found.done()} I'll remember{whom}: {to_their_face(fact)}."


def _recalled(found: _Found) -> str:
    if found.intent.name == "forget":
        have = "" if empty(found.text) else f" {_listed('I do have', found.text)}"
        advice = "\nSay “forget” and the name in brackets to drop one." if have else ""
        return f"I have nothing under that name to forget.{have}{advice}"
    if empty(found.text) and found.intent.name in ("knowledge", "about"):
        return "I find nothing on that, neither in the team's knowledge nor in my memory."
    if empty(found.text):
        return told_before(found.turn, found.intent) or (
            "I don't have anything about that yet. Tell me and I'll remember it."
        )
    kept = [to_their_face(_KEY.sub("", entry)) for entry in _entries(found.text)]
    return _listed(found.turn.pick(RECALLED).rstrip(":"), "\n".join(kept))


def _who_is_calling(found: _Found) -> str:
    text = found.text
    for third, second in _TO_THEIR_FACE:
        text = text.replace(third, second)
    told = told_before(found.turn, found.intent)
    return " ".join(part for part in (sentence(text), told) if part)


_TO_THEIR_FACE = (
    ("The caller is ", "You are "),
    ("The caller's ", "Your "),
    ("They are called ", "You are called "),
)


def _forgotten(found: _Found) -> str:
    return f"{found.done()} I've forgotten “{found.arguments.get('key', '')}”."


def _time(found: _Found) -> str:
    zone = str(found.arguments.get("timezone") or "")
    place = found.intent.slots.get("place", "")
    if not _WEEKDAY.match(found.text):
        return sentence(found.text)
    if place and zone_of(place) == zone:
        return f"In {_capitals(place)} it's {found.text}."
    return f"It's {found.text}."


def _capitals(place: str) -> str:
    return " ".join(w if any(c.isupper() for c in w) else w.capitalize() for w in place.split())


def _asked(found: _Found) -> str:
    name = found.called("persona")
    if NO_VIEW in found.text:
        return f"{name} has nothing to say to that: there is no language model to think with."
    return f"{name} says: {found.text}" if found.text else f"{name} gave no answer."


def _delegated(found: _Found) -> str:
    name = found.called("persona")
    if found.text.startswith(f"{name} "):
        return sentence(found.text)
    return f"{name} has it. {sentence(found.text)}".strip()


def _message(found: _Found) -> str:
    name = found.called("to")
    return (
        f"{found.done()} I've taken the message for {name}: “{found.arguments.get('message', '')}”."
    )


def _with(intro: str, nothing: str) -> Phraser:
    def phraser(found: _Found) -> str:
        return nothing if empty(found.text) else _listed(intro, found.text)

    return phraser


def _confirmed(words: str) -> Phraser:
    return lambda found: f"{found.done()} {words}"


def _transferred(found: _Found) -> str:
    return f"One moment, I'm connecting you with {found.called('to')}."


_PHRASERS: dict[str, Phraser] = {
    "remember": _remembered,
    "recall": _recalled,
    "forget": _forgotten,
    "current_time": _time,
    "ask_persona": _asked,
    "delegate_task": _delegated,
    "take_message": _message,
    "share_knowledge": _confirmed("It's in the team's knowledge now."),
    "query_knowledge": _with(
        "The team's knowledge says", "The team's knowledge has nothing on it."
    ),
    "knowledge_feed": _with("Here's what's new", "Nothing new that I know of."),
    "who_is_calling": _who_is_calling,
    "find_contact": _with("In the contacts", "I find nobody by that name in the contacts."),
    "save_contact": _confirmed("The contact is saved."),
    "write_journal": _confirmed("It's in my journal."),
    "read_journal": _with("From the journal", "The journal has nothing for that time yet."),
    "list_processes": _with("Right now", "Nothing is running that I can see."),
    "start_task": lambda found: sentence(found.text),
    "list_tasks": _with("Your tasks", "There are no tasks."),
    "task_status": lambda found: sentence(found.text),
    "pause_task": lambda found: sentence(found.text),
    "resume_task": lambda found: sentence(found.text),
    "cancel_task": lambda found: sentence(found.text),
    "inspect_process": _with("Here's what I see", "I see no such process."),
    "web_search": _with("From the web", "The search found nothing."),
    "transfer_call": _transferred,
    "end_call": lambda found: found.turn.pick(lines(found.turn.speaker, "goodbye")),
}
_CHANGES = frozenset(
    (
        "remember",
        "forget",
        "take_message",
        "share_knowledge",
        "save_contact",
        "write_journal",
        "transfer_call",
        "end_call",
    )
)
"""tools that change something: only a result that says so is told as done"""
