"""Answers to small talk, to questions about the hub, and to what this brain can never do.

Fixed lines; nothing here calls a tool or states what is not so. The intents are those of
rules_chat.py.
"""

from collections.abc import Callable

from tron.brain.offline.fallback import (
    OFFER_MESSAGE,
    OFFER_REMEMBER,
    named_in,
    somebody,
)
from tron.brain.offline.intents import Intent
from tron.brain.offline.languages import only_english
from tron.brain.offline.reading import Turn
from tron.brain.offline.voices import listed, name_of

_LINES: dict[str, tuple[str, ...]] = {
    "danger": (
        "I'm sorry you feel like this. I'm a program with fixed rules and can't be the help you "
        "deserve: please call your local emergency number, or someone you trust, now.",
    ),
    "human": ("Everyone here is an AI persona; there is no human on this line.",),
    "english": ("Only English, as far as my fixed rules go.",),
    "joke": (
        "There are two hard things in computing: naming, caching, and being off by one.",
        "A brain without a model walks into a bar. “What can you do?” asks the barman. It lists "
        "everything.",
        "My last joke was a fixed rule too. It matched nobody.",
        "I know one about the cloud, but it's somebody else's computer that tells it better.",
        "Two threads walk into a bar. Both order the last beer.",
    ),
    "why": (
        "I can't give reasons: I follow fixed rules and say what my tools return.",
        "No deep reason: a fixed rule fitted, or none did.",
    ),
    "sure": (
        "As sure as my tools and my memory are: I only pass on what they say.",
        "I don't guess. What I say comes from a tool, my memory or a fixed rule.",
    ),
    "laugh": ("Glad that landed.", "I'll take it.", "Good."),
    "cool": ("Good. What next?", "Glad to hear it.", "Right. Anything else?"),
    "sorry": ("No harm done.", "Nothing to be sorry for."),
    "praise": ("That's kind, thank you.", "Thank you. I'll try to deserve it."),
    "scold": (
        "Fair. I'm limited right now; “what can you do” shows what works.",
        "I hear you. I only do simple things well at the moment.",
    ),
    "sad": (
        "I'm sorry to hear that. I'm no good at comfort, but I can keep a note or pass on a "
        "message.",
        "That sounds hard. I can't advise you, but I can take a message for somebody who can.",
    ),
    "glad": ("Good to hear. What can I do?", "Glad to hear it. What's next?"),
    "where_you": ("On the machine that this hub runs on, nowhere else.",),
    "age": ("I have no age that I know of: I'm an AI persona.",),
    "opinion": (
        "I have no likes or feelings of my own: I'm an AI persona.",
        "None of my own: I'm an AI persona.",
    ),
    "busy": ("Not too busy for you. What do you need?", "Ready when you are."),
    "free": (
        "What I do by fixed rules costs nothing. With a language model connected, its provider "
        "charges for its use.",
    ),
    "privacy": (
        "What you say and what I remember is kept in this hub's own database, on its owner's "
        "side. By fixed rules I send nothing out, except web searches you ask for. “Forget …” "
        "drops a memory.",
    ),
    "maker": ("People wrote my rules; this hub's owner runs me. More than that I don't know.",),
    "no_music": ("I can't play, sing or switch things.", "No music or switches here, I'm afraid."),
}


def chat(turn: Turn, intent: Intent) -> str | None:
    """The answer to small talk; None if `intent` is none."""
    if intent.name in _LINES:
        return turn.pick(_LINES[intent.name])
    made = _MADE.get(intent.name)
    return made(turn, intent) if made else None


def _again(turn: Turn, intent: Intent) -> str:
    said = turn.before[1]
    return said[:2_000] if said else "I haven't said anything yet."


def _tron(turn: Turn, intent: Intent) -> str:
    names = [name_of(persona) for persona in turn.colleagues]
    company = f": {listed(names)}" if names else ""
    return (
        f"Tron is a hub where people and programs reach a small company of AI personas{company}. "
        "We remember people, use tools, ask each other and keep a journal. It runs on its "
        "owner's machine and speaks the OpenAI API."
    )


def _connect(turn: Turn, intent: Intent) -> str:
    if turn.ask.spoken:
        return "Whoever runs this hub can connect one."
    trouble = (
        "One is set up, but it can't be reached at the moment. " if (turn.model_configured) else ""
    )
    return (
        f"{trouble}Set OPENAI_API_KEY, or OPENAI_BASE_URL for any OpenAI-compatible server (also "
        "one on your own machine), in the environment or in a .env file where the hub starts, "
        "then start it again. docs/settings.md lists every setting."
    )


def _foreign(turn: Turn, intent: Intent) -> str:
    return f"{only_english(intent.slots['language'])} (Only English for now, sorry.)"


def _no_call(turn: Turn, intent: Intent) -> str:
    kept = f" {OFFER_REMEMBER}" if turn.has("remember") else ""
    return f"I can't ring you or keep a timer.{kept}"


def _no_mail(turn: Turn, intent: Intent) -> str:
    if not turn.has("take_message"):
        return "I can't send mail or texts."
    if named := named_in(turn, turn.said):
        return f"I can't send mail or texts. {OFFER_MESSAGE.format(name=turn.called(named))}"
    return (
        "I can't send mail or texts. A message inside the hub I can take: "
        f"“tell {somebody(turn)} that …”."
    )


def _no_calendar(turn: Turn, intent: Intent) -> str:
    if (named := named_in(turn, turn.said)) and turn.has("take_message"):
        return f"I have no calendar. {OFFER_MESSAGE.format(name=turn.called(named))}"
    kept = f" {OFFER_REMEMBER}" if turn.has("remember") and "?" not in turn.said else ""
    return f"I can't book or look into calendars.{kept}"


def _no_weather(turn: Turn, intent: Intent) -> str:
    if not turn.has("web_search"):
        return "I can't see the weather."
    place = intent.slots.get("place", "").strip()
    return (
        "I can't see the weather myself. If web search is set up here, "
        f"“search for weather{f' in {place}' if place else ' in …'}” finds it."
    )


def _keep(turn: Turn, intent: Intent) -> str:
    return "What should I remember? Say it like this: “remember that …”."


_MADE: dict[str, Callable[[Turn, Intent], str]] = {
    "again": _again,
    "tron": _tron,
    "connect": _connect,
    "foreign": _foreign,
    "no_call": _no_call,
    "no_mail": _no_mail,
    "no_calendar": _no_calendar,
    "no_weather": _no_weather,
    "keep": _keep,
}
