"""From an intent to the tool that serves it, with its arguments.

The one place that knows the hub's tools by name. An intent without a row here is answered in
words (phrasing.py).
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tron.brain.offline.clauses import requests
from tron.brain.offline.fallback import nothing_in
from tron.brain.offline.intents import Intent, key_of, understand
from tron.brain.offline.places import zone_of
from tron.brain.offline.reading import Turn, arguments_of
from tron.brain.offline.results import empty
from tron.brain.offline.rules import QUESTION
from tron.brain.offline.words import as_fact, content_words, sentence, tidy
from tron.conversation.turns import ToolCall

Arguments = dict[str, Any]


class Action(NamedTuple):
    """A tool call that would serve the person."""

    tool: str
    arguments: Arguments


_VERBS = {"thinks": "think", "says": "say", "feels": "feel", "wants": "want", "needs": "need"}
_THIRD_PERSON = re.compile(
    r"(?:what|how) (?:he|she|they|[\w-]{1,40}) (?P<verb>think|say|feel|want|need)s?\b(?P<rest>.*)$",
    re.IGNORECASE,
)
_LONGEST_KEPT = 500
"""characters of an answer that are remembered"""
_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{3,24}[0-9]")


def action_for(turn: Turn, intent: Intent) -> Action | None:
    """The tool call that serves `intent`, offered or not; None if none could."""
    builder = _BUILDERS.get(intent.name)
    return builder(turn, intent.slots) if builder else None


def _remember(turn: Turn, slots: dict[str, str], *, shared: bool = False) -> Action:
    key = slots.get("key", "") or understand(slots["text"], turn.known).slots.get("key", "")
    if shared:
        return Action("remember", {"fact": slots["text"], "key": key, "shared": True})
    return Action("remember", {"fact": as_fact(slots["text"]), "key": key})


def _remember_to(turn: Turn, slots: dict[str, str]) -> Action:
    when = f" {slots['when']}" if "when" in slots else ""
    fact = f"The caller asked to be reminded{when} to {slots['text']}"
    return Action("remember", {"fact": fact, "key": ""})


def _recall(turn: Turn, slots: dict[str, str]) -> Action:
    return Action("recall", {"query": query_of(slots.get("query", ""))})


def query_of(text: str) -> str:
    """`my dog called` → `dog`; what cannot be shortened stays."""
    return (key_of(text) or text)[:400]


def _forget(turn: Turn, slots: dict[str, str]) -> Action:
    key = slots["text"]
    if " " in key:  # a single word may well be a key as recall shows it
        key = key_of(key) or key
    return Action("forget", {"key": key[:60]})


def follow_up(turn: Turn, intent: Intent, call: ToolCall, result: str) -> Action | None:
    """A second look where the first tool found nothing; None if there is none to take."""
    if call.name == "forget" and result.startswith("Nothing") and intent.name == "forget":
        return Action("recall", {"query": query_of(intent.slots["text"])})
    if call.name == "query_knowledge" and empty(result):
        return Action("recall", {"query": query_of(intent.slots.get("query", ""))})
    if call.name == "who_is_calling" and not re.search(
        r"\bis called|are called|caller is [A-Z]", result
    ):
        return Action("recall", {"query": "name"})
    return None


def kept_answer(turn: Turn, result: tuple[ToolCall, str] | None) -> Action | None:
    """To remember what a tool or a colleague answered; None if that was nothing."""
    if result is None or nothing_in(*result):
        return None
    call, text = result
    about = arguments_of(call)
    said = " ".join(text.split())[:_LONGEST_KEPT]
    if call.name == "ask_persona":
        name = turn.called(str(about.get("persona", "")))
        return Action("remember", {"fact": f"{name} said: {said} ({about.get('question')})"})
    return Action("remember", {"fact": f"Found on “{about.get('query', '')}”: {said}"})


def _keep(turn: Turn, slots: dict[str, str]) -> Action | None:
    """`remember that`: a colleague's answer or a statement of the person just before."""
    earlier, answer = turn.before
    said = " ".join(answer.split())[:_LONGEST_KEPT]
    if " says: " in said[:60]:
        return Action("remember", {"fact": said, "key": ""})
    if earlier and "?" not in earlier and requests(earlier, turn.known)[0].name == "unknown":
        return Action("remember", {"fact": as_fact(tidy(earlier)[:_LONGEST_KEPT]), "key": ""})
    return None


def _time(turn: Turn, slots: dict[str, str]) -> Action | None:
    place = slots.get("place", "")
    zone = zone_of(place) if place else ""
    return None if zone is None else Action("current_time", {"timezone": zone})


def _ask(turn: Turn, slots: dict[str, str]) -> Action | None:
    if slots["who"] == turn.ask.agent:
        return None
    return Action(
        "ask_persona",
        {"persona": slots["who"], "question": _question(slots["text"]), "context": ""},
    )


def _question(text: str) -> str:
    """`what she thinks about the launch` → `What do you think about the launch?`"""
    found = _THIRD_PERSON.match(text)
    if found:
        start = text.split(" ", 1)[0].capitalize()
        return f"{start} do you {found['verb'].lower()}{found['rest'].rstrip(' .?!')}?"
    if text.lower().startswith(("thinks ", "says ", "feels ")):  # see what Maya thinks of it
        verb, _, rest = text.partition(" ")
        return f"What do you {_VERBS[verb.lower()]} {rest.rstrip(' .?!')}?"
    if text.lower().startswith(("if ", "whether ")):
        return f"Can you say whether {text.partition(' ')[2].rstrip(' .?!')}?"
    if text.lower().startswith("about "):
        return f"What can you tell me {text.rstrip(' .?!')}?"
    return sentence(text) if not QUESTION.match(text) else f"{sentence(text).rstrip('.?')}?"


def _delegate(turn: Turn, slots: dict[str, str]) -> Action | None:
    if slots["who"] == turn.ask.agent:
        return None
    return Action("delegate_task", {"persona": slots["who"], "task": slots["text"], "context": ""})


def _message(turn: Turn, slots: dict[str, str]) -> Action:
    return Action("take_message", {"to": slots["who"], "message": slots["text"]})


def _share(turn: Turn, slots: dict[str, str]) -> Action:
    text = slots["text"]
    return Action(
        "share_knowledge",
        {
            "type": "insight",
            "title": text if len(text) <= 80 else text[:79].rstrip() + "…",
            "content": text,
            "domain": "general",
            "tags": content_words(text[:200])[:3],
        },
    )


def _journal(turn: Turn, slots: dict[str, str]) -> Action:
    when = slots.get("when", "").lower()
    days = 7 if "week" in when or "lately" in when else 2 if "yesterday" in when else 1
    who = slots.get("who", "").lower()
    persona = who if who in turn.known.names.values() and who != turn.ask.agent else ""
    return Action("read_journal", {"days": days, "persona": persona})


def _start_task(turn: Turn, slots: dict[str, str]) -> Action:
    manner: Arguments = {name: slots[name] for name in ("mode", "priority") if name in slots}
    return Action("start_task", {"intent": slots["text"], **manner})


def _save_contact(turn: Turn, slots: dict[str, str]) -> Action | None:
    phone = _PHONE.search(slots["text"][:200])
    if phone is None:
        return None
    words = slots["text"][: phone.start()].replace(",", " ").split()
    name = [w for w in words if w.lower().strip(":") not in {"number", "phone", "is", "with", "at"}]
    if not name:
        return None
    return Action("save_contact", {"name": " ".join(name).strip(" :"), "phone": phone.group()})


_BUILDERS: dict[str, Callable[[Turn, dict[str, str]], Action | None]] = {
    "remember": _remember,
    "told": _remember,
    "told_name": _remember,
    "remember_to": _remember_to,
    "keep": _keep,
    "remember_shared": lambda turn, s: _remember(turn, s, shared=True),
    "recall": _recall,
    "recall_all": lambda turn, s: Action("recall", {"query": "what do you know about me"}),
    "reminders": lambda turn, s: Action("recall", {"query": "reminded"}),
    "forget": _forget,
    "caller": lambda turn, s: Action("who_is_calling", {}),
    "contact": lambda turn, s: Action("find_contact", {"query": s["query"]}),
    "contact_save": _save_contact,
    "time": _time,
    "ask": _ask,
    "delegate": _delegate,
    "message": _message,
    "share": _share,
    "news": lambda turn, s: Action("knowledge_feed", {}),
    "about": lambda turn, s: Action("query_knowledge", {"query": s["query"]}),
    "knowledge": lambda turn, s: Action("query_knowledge", {"query": s["query"]}),
    "journal_read": _journal,
    "journal_write": lambda turn, s: Action("write_journal", {"text": sentence(s["text"])}),
    "status": lambda turn, s: Action("list_processes", {}),
    "task": _start_task,
    "tasks": lambda turn, s: Action("list_tasks", {}),
    "task_status": lambda turn, s: Action("task_status", {"task": s.get("query", "")}),
    "task_pause": lambda turn, s: Action("pause_task", {"task": s.get("query", "")}),
    "task_resume": lambda turn, s: Action("resume_task", {"task": s.get("query", "")}),
    "task_cancel": lambda turn, s: Action("cancel_task", {"task": s.get("query", "")}),
    "inspect": lambda turn, s: Action("inspect_process", {"id": s["id"]}),
    "web": lambda turn, s: Action("web_search", {"query": s["query"][:400]}),
    "transfer": lambda turn, s: Action("transfer_call", {"to": s["who"]}),
    "goodbye": lambda turn, s: Action("end_call", {}),
}
