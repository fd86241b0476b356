"""How a persona sounds: a few lines for each occasion, in five manners chosen by its tone.

Owns small talk only; facts and tool results are phrased in phrasing.py. Fields in braces:
`{name}` of the persona.
"""

from collections.abc import Sequence
from typing import Protocol


class Speaker(Protocol):
    """What is needed of a persona."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def focus(self) -> Sequence[str] | str: ...
    @property
    def tone(self) -> Sequence[str] | str: ...


_MANNERS = {
    "dry": ("dry", "wit", "pragmatic", "sardonic", "laconic"),
    "blunt": ("blunt", "direct", "numeric", "sharp", "punchy"),
    "warm": ("warm", "anecd", "friendly", "kind", "encourag"),
    "curious": ("hypothes", "curious", "question", "explor"),
    "plain": ("plain", "clear", "calm"),
}

_LINES: dict[str, dict[str, tuple[str, ...]]] = {
    "greeting": {
        "dry": (
            "Hello, {name} here. What are we fixing?",
            "Hi, this is {name}. What's on the list?",
        ),
        "blunt": (
            "{name} here. What do you need?",
            "Hi, {name} speaking. Straight to it: what do you need?",
        ),
        "warm": (
            "Hello, lovely to hear from you. {name} here. What's on your mind?",
            "Hi, this is {name}. Good to have you here. How can I help?",
        ),
        "curious": (
            "Hi, {name} here. What are we trying to find out?",
            "Hello, this is {name}. What would you like to look at?",
        ),
        "plain": (
            "Hello, this is {name}. How can I help?",
            "Hi, {name} here. What would you like to do?",
        ),
    },
    "greeting_again": {
        "dry": ("Still here.", "Hello again. What's next?", "And hello to you, again."),
        "blunt": ("Hi again. What's next?", "Still here. Go.", "Yes. What do you need?"),
        "warm": ("Hello again!", "Hi once more. How can I help?", "Good to hear you again."),
        "curious": ("Hi again. What's next?", "Hello again. Anything new?", "Still curious."),
        "plain": ("Hello again.", "Hi again. What can I do?", "Still here. How can I help?"),
    },
    "wellbeing": {
        "dry": ("Running, which is all I ask. And you?", "No alarms. What can I do for you?"),
        "blunt": ("Fine, and ready. What do you need?", "All good. You?"),
        "warm": ("Very well, thank you for asking. And you?", "All the better for your company."),
        "curious": ("Well, and curious. How are you?", "All good here. What brings you?"),
        "plain": ("Well, thank you. How can I help?", "All fine here. And you?"),
    },
    "thanks": {
        "dry": ("Any time.", "That's what I'm plugged in for.", "Don't mention it."),
        "blunt": ("Sure. What's next?", "No problem.", "Good. Anything else?"),
        "warm": ("You're very welcome.", "My pleasure, truly.", "Always glad to help."),
        "curious": ("Glad that worked. Anything else?", "You're welcome.", "Happy to."),
        "plain": ("You're welcome.", "Happy to help.", "Any time."),
    },
    "goodbye": {
        "dry": ("Goodbye. I'll keep the lights on.", "Bye for now.", "Until next time."),
        "blunt": ("Bye. Talk soon.", "Goodbye.", "Later."),
        "warm": ("Goodbye, and take good care.", "Bye for now. It was good to talk.", "Take care."),
        "curious": ("Goodbye. Tell me how it goes.", "Bye for now.", "Until next time."),
        "plain": ("Goodbye.", "Goodbye, speak soon.", "Bye for now."),
    },
    "done": {
        "dry": ("Done.", "Noted.", "Filed."),
        "blunt": ("Done.", "Got it.", "Logged."),
        "warm": ("Of course.", "Gladly done.", "With pleasure."),
        "curious": ("Got it.", "Noted.", "Done."),
        "plain": ("Done.", "Noted.", "All right."),
    },
}


def manner_of(speaker: Speaker | None) -> str:
    """Which manner of speaking fits the persona's tone."""
    tone = " ".join(areas(speaker.tone)).lower() if speaker else ""
    places = {
        manner: min((tone.find(word) for word in words if word in tone), default=len(tone) + 1)
        for manner, words in _MANNERS.items()
    }
    first = min(places, key=lambda manner: places[manner])
    return first if places[first] <= len(tone) else "plain"


def lines(speaker: Speaker | None, occasion: str) -> tuple[str, ...]:
    """What this persona might say on `occasion`."""
    found = _LINES[occasion][manner_of(speaker)]
    return tuple(line.format(name=name_of(speaker)) for line in found)


def name_of(speaker: Speaker | None) -> str:
    return (speaker.name if speaker else "") or "Tron"


def title_of(speaker: Speaker | None) -> str:
    return speaker.title if speaker else ""


def areas(value: Sequence[str] | str) -> list[str]:
    """A focus or tone as a list, whether it was written as one line or several."""
    if isinstance(value, str):
        value = value.split(",")
    return [item.strip() for item in value if item.strip()]


def listed(items: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"
