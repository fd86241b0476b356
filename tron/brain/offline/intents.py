"""What a person wants, found by rules: an utterance in, an `Intent` out.

The patterns (rules.py) are tried in order, the first that fits wins. Refuses to guess: what no
rule fits is `unknown`, or `question` if it was one.
"""

import re

import msgspec

from tron.brain.offline.languages import language_of
from tron.brain.offline.rules import (
    ASKING,
    CARRYING,
    CONTACT_ME,
    FACTS,
    NO_ONE,
    QUESTION,
    SUM,
    Rule,
)
from tron.brain.offline.rules_chat import CHAT
from tron.brain.offline.rules_short import SMALL
from tron.brain.offline.spelling import mended
from tron.brain.offline.sums import work_out
from tron.brain.offline.words import content_words, tidy, unwrap

LONGEST_SMALL_TALK = 160
"""characters; longer texts are only read for requests that carry a text (remember, search, …)"""
KEY_WORDS = 4
"""content words of a fact that its key may have"""

CHAT_FIRST = [rule for rule in CHAT if rule.name in ("danger", "human", "no_call", "privacy")]
"""would otherwise be taken for a fact or something to look up"""
_BULLETS = re.compile(r"(?:^| )[-*•] ")
PRONOUNS = frozenset(("it", "that", "this", "what she said", "what he said", "what they said",
                      "her answer", "his answer", "the answer", "their answer"))  # fmt: skip


class Intent(msgspec.Struct, frozen=True):
    """What is wanted, and the words that fill it in."""

    name: str
    slots: dict[str, str] = {}


class Known(msgspec.Struct, frozen=True):
    """The people a sentence can name: spoken name (lower case) → persona id."""

    names: dict[str, str]
    me: frozenset[str]
    """names of the one spoken to"""


def understand(text: str, known: Known) -> Intent:
    """What `text`, one request, asks for."""
    line = tidy(text)
    found = _understood(line, known)
    if found.name not in ("unknown", "question") or len(line) > LONGEST_SMALL_TALK:
        return found
    better = mended(line)
    if better != line:
        second = _understood(better, known)
        if second.name not in ("unknown", "question"):
            return second
    language = language_of(line)
    return Intent("foreign", {"language": language}) if language else found


def _understood(line: str, known: Known) -> Intent:
    request = unwrap(line, known.me)
    wanted = request.text
    if not wanted:
        if request.greeted:
            return Intent("greeting")
        if "sorry" in line.lower():
            return Intent("sorry")
        return Intent("yes" if any(map(str.isalnum, line)) else "nothing")  # `ok`, `right`
    asked = line.rstrip().endswith("?") or bool(QUESTION.match(wanted))
    return (
        _asking(wanted, known)
        or _looked_up_here(wanted)
        or _first(CHAT_FIRST, wanted, known)
        or _first(CARRYING, wanted, known)
        or _fact(wanted, asked)
        or _small(wanted, known)
        or _small(_without_name(wanted, known), known)
        or Intent("question" if asked else "unknown", {"text": wanted})
    )


def _looked_up_here(wanted: str) -> Intent | None:
    """Contacts and knowledge are looked up before the web: `look up contact Bob`."""
    if len(wanted) > LONGEST_SMALL_TALK:
        return None
    for rule in SMALL:
        if rule.name in ("contact", "knowledge", "goodbye") and (found := rule.match(wanted)):
            return Intent(rule.name, _slots(found))
    return None


def _first(rules: list[Rule], wanted: str, known: Known) -> Intent | None:
    for rule in rules:
        name, found = rule.name, rule.match(wanted)
        if found is None:
            continue
        slots = _slots(found)
        if "who" in slots and name.startswith("message"):
            slots["who"] = _named(slots["who"], known)
        if name == "remember" and slots["text"].lower().rstrip(".!") in PRONOUNS:
            return Intent("keep")
        if "text" in slots and _BULLETS.match(slots["text"]):
            slots["text"] = _BULLETS.sub(", ", slots["text"]).strip(", ")
        return Intent(name, slots)
    return None


def _slots(found: re.Match[str]) -> dict[str, str]:
    return {key: value.strip(" ,:;") for key, value in found.groupdict().items() if value}


def _named(who: str, known: Known) -> str:
    """The persona id for a spoken name, or the name as it was said."""
    bare = who.strip(".,:;'").removesuffix("'s")
    return known.names.get(bare.lower(), bare)


def _asking(wanted: str, known: Known) -> Intent | None:
    """Something for somebody else: a question, a task or a message."""
    for rule in ASKING:
        name, found = rule.name, rule.match(wanted)
        if found is None:
            continue
        who = _named(found["who"], known)
        text = found["text"].strip(" ,:;")
        colleague = who in known.names.values()
        if (
            not text
            or text.lower().startswith("and ")
            or who.lower() in NO_ONE
            or (not colleague and name != "tell")
        ):
            continue
        task = text[3:] if text.lower().startswith("to ") else None
        if name == "ask" and task:
            name, text = "delegate", task
        elif name == "tell":
            if task and colleague and not CONTACT_ME.match(task):
                name, text = "delegate", task
            else:
                name, text = "message", task or text.removeprefix("that ")
        return Intent(name, {"who": who, "text": text})
    return None


def _fact(wanted: str, asked: bool) -> Intent | None:
    if asked or len(wanted) > LONGEST_SMALL_TALK:
        return None
    for rule in FACTS:
        name, found = rule.name, rule.match(wanted)
        if found is None:
            continue
        if name == "name" and not _all_name(found["value"], wanted):
            continue
        value = found["value"].strip(" .,'-")
        if name == "name":
            value = value.title() if value.islower() else value
            text = wanted if wanted[:3].lower() == "my " else f"my name is {value}"
            return Intent("told_name", {"text": text, "key": "name", "value": value})
        if name == "one_of_many":
            key = _own_key(wanted, value)
        else:
            key = key_of(found["key"]) if "key" in found.groupdict() else name
        return Intent("told", {"text": wanted, "key": key, "value": value})
    return None


def _own_key(wanted: str, value: str) -> str:
    """A key that another such fact does not have; "" if the few words of a key can't tell it."""
    whole = len(content_words(wanted)) <= KEY_WORDS and bool(content_words(value))
    return key_of(wanted) if whole else ""


def _all_name(value: str, wanted: str) -> bool:
    """`this is Ana` tells a name, `this is urgent` and `this is about the launch` do not."""
    if not wanted.lower().startswith("this is "):
        return True
    return all(word[0].isupper() for word in value.split()) and wanted.endswith(value)


def _small(wanted: str, known: Known) -> Intent | None:
    if len(wanted) > LONGEST_SMALL_TALK:
        return None
    found = SUM.match(wanted)
    if found and (value := work_out(found["sum"])) is not None:
        return Intent("sum", {"text": found["sum"].strip(), "value": value})
    for rule in (*SMALL, *CHAT):
        name, match = rule.name, rule.match(wanted)
        if match is None:
            continue
        slots = _slots(match)
        who = slots.pop("who2", None) or slots.pop("who3", None) or slots.get("who")
        if who:
            slots["who"] = _named(who, known)
        if name == "journal_read" and not _a_persona(slots.get("who", "you"), known):
            continue
        if name == "transfer" and not _reachable(wanted, slots["who"], known):
            continue
        if name == "maybe_name" and not slots["value"][0].isupper():
            continue
        if name == "who_is" and slots["who"] not in known.names.values():
            continue
        return Intent(name, slots)
    return None


def _reachable(wanted: str, who: str, known: Known) -> bool:
    """`give me Maya` wants to be put through, `give me a recipe` does not."""
    if wanted.lower().startswith(("give", "get", "hand")):
        return who in known.names.values()
    return who.lower() not in NO_ONE


def _without_name(wanted: str, known: Known) -> str:
    """`are you there tony` → `are you there`; "" where there is no name at the end."""
    head, _, last = wanted.rpartition(" ")
    return head if last.lower() in known.me else ""


def _a_persona(who: str, known: Known) -> bool:
    return who.lower() in ("you", "ya", "u") or who in known.names.values()


def key_of(text: str) -> str:
    """A short key for a thing to remember or forget: `my dog's name` → `dog`."""
    words = content_words(text)
    if not words:
        return ""
    if len(words) > 1 and words[-1] == "name":
        words = words[:-1]
    return " ".join(words[:KEY_WORDS])
