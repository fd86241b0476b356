"""What is said to a request that no rule fits: that it is beyond this brain, and what would help.

Says why once in a conversation, stays short after that, and offers only what can really be done.
"""

import re

from tron.brain.offline.intents import Intent
from tron.brain.offline.reading import Turn
from tron.brain.offline.voices import areas, name_of
from tron.brain.offline.words import content_words, tidy
from tron.conversation.turns import ToolCall

OFFER_MESSAGE = "Shall I leave {name} a message about it?"
OFFER_ASK = "Shall I put it to {name}?"
OFFER_REMEMBER = "Shall I remember it?"
NO_VIEW = "I can't say: I have no language model to think with right now."
"""the answer to a colleague"""

_NOTHING = re.compile(r"(?:nothing|nobody|no |the web search|web search|\w{1,40} could not)", re.I)
_STATES = frozenset(
    "i i'm i've we we're we've my our the he she they it there today yesterday it's some".split()
)
_PHRASE = re.compile(
    r"\b(?:the|my|our|your|about|this) (?P<noun>[^\W\d_][\w-]{2,20}(?: [^\W\d_][\w-]{2,20})?)",
    re.IGNORECASE,
)
_LONGEST_QUOTE = 80


def fallback(turn: Turn, intent: Intent) -> str:
    """Not understood: say so, say why, and offer what would really help."""
    text = intent.slots.get("text", "")
    if turn.colleague_asks:
        return NO_VIEW
    if turn.explained:
        honest = turn.pick(
            (
                "That one is beyond me.",
                "I can't help with that one.",
                "I'd only be guessing, so I won't.",
                "That's outside what I can do.",
            )
        )
    else:
        kind = "answer that" if intent.name == "question" else "do much with that"
        honest = f"I can't {kind}. {no_model(turn)}"
    return f"{honest} {offer(turn, intent, text)}"


def rest(turn: Turn, intent: Intent) -> str:
    """Other requests were served; this one was not understood."""
    text = intent.slots.get("text", "").strip(" .;")
    named = f": “{text}”" if 0 < len(text) <= _LONGEST_QUOTE else ""
    why = "" if turn.explained or turn.colleague_asks else f" {no_model(turn)}"
    return f"The rest is beyond me{named or ', sorry'}.{why}"


def no_model(turn: Turn) -> str:
    """Why the answers are as plain as they are, and what would change that; brief when repeated."""
    if turn.explained:
        return "No language model, just fixed rules."
    if turn.model_configured:
        return "My language model can't be reached at the moment, so I work by fixed rules."
    if turn.ask.spoken:  # whoever rings did not set this up
        return "No language model is connected here, so I work by fixed rules."
    return (
        "No language model is connected to this hub, so I work by fixed rules "
        "(setting OPENAI_API_KEY or OPENAI_BASE_URL would change that)."
    )


def nothing_in(call: ToolCall, result: str) -> bool:
    """Whether an answer holds nothing worth keeping."""
    text = result.strip()
    if call.name == "ask_persona":
        return not text or NO_VIEW in text or "could not answer" in text
    return not text or bool(_NOTHING.match(text))


def offer(turn: Turn, intent: Intent, text: str) -> str:
    """The most useful thing that can really be done with `text`."""
    if (named := named_in(turn, text)) and turn.has("take_message"):
        return OFFER_MESSAGE.format(name=turn.called(named))
    if colleague := _whose_field(turn, text):
        name = turn.called(colleague)
        if turn.has("take_message"):
            return f"That sounds like {name}'s field. {OFFER_MESSAGE.format(name=name)}"
        if turn.has("ask_persona"):
            return f"That sounds like {name}'s field. {OFFER_ASK.format(name=name)}"
    first = tidy(text[:40]).split(" ")[0].lower()
    if intent.name == "unknown" and first in _STATES and turn.has("remember"):
        return OFFER_REMEMBER
    offers = ["Ask “what can you do” to hear what works."]
    if (about := _noun(text)) and turn.has("query_knowledge"):
        offers.append(f"“What do you know about {about}” would search the team's notes.")
    if turn.has("take_message"):
        offers.append(f"I can pass a message on: “tell {somebody(turn)} that …”.")
    if turn.has("remember") and turn.has("current_time"):
        offers.append("The time, a note to keep, a message to pass on: those I can do.")
    return turn.pick(tuple(offers))


def somebody(turn: Turn) -> str:
    """The name of a colleague to take as an example."""
    others = [name_of(p) for p in turn.colleagues if p.id != turn.ask.agent]
    return turn.pick(tuple(others)) if others else "Alex"


def named_in(turn: Turn, text: str) -> str | None:
    """The first colleague that `text` names."""
    spoken = (turn.known.names.get(word) for word in content_words(text[:2_000]))
    return next((who for who in spoken if who and who != turn.ask.agent), None)


def _noun(text: str) -> str:
    """What `text` is about, if that plainly is a thing: `the launch date`; "" if unsure."""
    for found in _PHRASE.finditer(text[:200]):
        words = found["noun"].split(" ")
        if found.end() == len(text) and len(content_words(found["noun"])) == len(words):
            return f"the {found['noun']}"
    return ""


def _whose_field(turn: Turn, text: str) -> str | None:
    """The colleague whose focus the text touches most, if any."""
    said = {_stem(word) for word in content_words(text[:2_000])}
    best, best_hits = None, 0
    for persona in turn.colleagues:
        field = {_stem(word) for area in areas(persona.focus) for word in content_words(area)}
        hits = len(field & said)
        if hits > best_hits:
            best, best_hits = persona.id, hits
    return None if best == turn.ask.agent else best


def _stem(word: str) -> str:
    """Singular and plural alike."""
    return word[:-1] if word.endswith("s") and len(word) > 3 else word
