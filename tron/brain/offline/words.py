"""Text taken apart: tidying, the politeness around a request, and its content words.

Owns every list of words that carry no meaning of their own. Refuses to know what a request means
(intents.py). Everything here is linear in the length of the text.
"""

import re
from typing import NamedTuple
from zlib import crc32

_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "\u00a0": " "})
_EDGE = " \t.,;:!?…\"'()-–—"


def _phrases(text: str) -> frozenset[str]:
    return frozenset(text.replace("\n", "").split("|"))


GREETINGS = _phrases("""
hi|hello|hey|hiya|howdy|yo|greetings|hallo|good morning|good afternoon|good evening|
good day|morning|evening|hi there|hello there|hey there
""")
_FILLERS = _phrases("""
um|uh|uhm|er|erm|hmm|ah|oh|ok|okay|so|well|right|alright|all right|now|please|just|quickly|
quick question|quick one|one more thing|another thing|one question|by the way|btw|first|
finally|actually|and|also|then|like|yeah and|you know|i mean|excuse me|sorry
""")
_REQUESTS = _phrases("""
can you|could you|would you|will you|can u|i want you to|i'd like you to|id like you to|
i would like you to|i need you to|do me a favor and|do me a favour and|tell me|let me know|
i want to know|i'd like to know|id like to know|do you know|can you tell me|
could you tell me|can i ask|may i ask|go ahead and|would you mind|can we|
i would like to know|i was wondering|i'm wondering|i am wondering|i wonder|
just wondering|you should|i want to|i'd like to|id like to|i would like to|can i|
could i|may i|let's|lets|let me
""")
_LONGEST_OPENER = 5  # words

STOP_WORDS = frozenset(
    """
    a about above actually after again all also am an and any anybody anyone anything are as at
    be because been before being but by can cannot could did do does doing done don for from get
    gets getting give go goes going gonna got had has have having he hello her here hers hey hi
    him his how i if in into is it its itself just know let like made make makes making many may
    maybe me mean might mine more most much must my myself need needs no not now of off oh ok
    okay on one only or other our ours out over please quite rather really said same say says
    see she should so some somebody someone something still such sure take tell than thank
    thanks that the their theirs them then there these they thing things think this those though
    through to told too um uh under until up us use used using very want wants was way we well
    were what when where whether which while who whom whose why will with without would yes yet
    you your yours yourself im ive id ill youre youve dont doesnt didnt cant couldnt wont isnt
    arent wasnt whats whos hows thats theres lets remember called named actual bit lot kind sort
    hm thinking between during exactly
    worried wondering wonder feel feels feeling guess suppose talk talking speak speaking good
    bad new next last today tomorrow yesterday
    """.split()
)

_FLIP = {
    "i": "you",
    "me": "you",
    "my": "your",
    "mine": "yours",
    "myself": "yourself",
    "i'm": "you're",
    "im": "you're",
    "i've": "you've",
    "ive": "you've",
    "i'll": "you'll",
    "i'd": "you'd",
    "am": "are",
}

CALLERS = "The caller's"
CALLER_SAID = "The caller said:"


class Request(NamedTuple):
    """An utterance without its wrapping."""

    text: str
    """what is left once greetings, fillers and courtesies are off, in its own case"""
    greeted: bool
    """it opened with a greeting"""


def tidy(text: str) -> str:
    """One line, plain quotes, nothing that cannot be written as UTF-8."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(clean.translate(_QUOTES).split())


def unwrap(text: str, names: frozenset[str]) -> Request:
    """Take the wrapping off a tidied `text`; `names` are those of the one spoken to."""
    words = text.split(" ")
    bare = [word.strip(_EDGE).lower() for word in words]
    at, greeted = 0, False
    while at < len(words):
        taken, greeting = _opener(bare, at, names)
        if not taken:
            break
        greeted = greeted or greeting
        at += taken
    rest = " ".join(words[at:]).strip(" ,;:-–—")
    return Request(_without_tail(rest, names), greeted)


def _opener(bare: list[str], at: int, names: frozenset[str]) -> tuple[int, bool]:
    if not bare[at] or bare[at] in names:
        return 1, bare[at] in names
    for size in range(min(_LONGEST_OPENER, len(bare) - at), 0, -1):
        phrase = " ".join(bare[at : at + size])
        if phrase in GREETINGS:
            return size, True
        if phrase in _FILLERS or phrase in _REQUESTS:
            return size, False
    return 0, False


def _without_tail(text: str, names: frozenset[str]) -> str:
    """Without closing courtesies: `…, please`, `… please?`, `…, Tony.`, `…, thanks!`"""
    for _ in range(3):
        text = text.rstrip(" .,;:!?…")
        head, _, last = text.rpartition(" ")
        word = last.lower()
        closing = word in names or word in ("thanks", "ok", "okay")
        if (word in ("please", "pls", "plz") and head) or (closing and head.endswith(",")):
            text = head
        elif text.lower().endswith((", thank you", "? thank you")):
            text = text[: -len(" thank you")]
        else:
            break
    return text


def content_words(text: str) -> list[str]:
    """The words that carry meaning, in order, lower case, possessives off."""
    found = []
    for word in re.findall(r"[^\W_][\w']*", text.lower()):
        word = word.removesuffix("'s").replace("'", "")
        if word not in STOP_WORDS and len(word) > 1:
            found.append(word)
    return found


def to_second_person(text: str) -> str:
    """`my dog is called Rex` → `your dog is called Rex`; unchanged where that could mislead."""
    words = text.split(" ")
    bare = [word.strip(_EDGE).lower() for word in words]
    if {"you", "your", "yours"} & set(bare):
        return text
    return " ".join(
        word.lower().replace(core, _FLIP[core]) if core in _FLIP and core in word.lower() else word
        for word, core in zip(words, bare, strict=True)
    )


def as_fact(text: str) -> str:
    """`my dog is called Rex` → `The caller's dog is called Rex`: makes sense to others later."""
    first, _, rest = text.partition(" ")
    if first.lower() == "my" and not _personal(rest):
        return f"{CALLERS} {rest}"
    return f"{CALLER_SAID} {text}" if _personal(text) else text


def to_their_face(fact: str) -> str:
    """The opposite of `as_fact`: `your dog is called Rex`."""
    if fact.startswith(CALLERS):
        return f"your{fact.removeprefix(CALLERS)}"
    if fact.startswith("The caller asked "):
        return f"you{fact.removeprefix('The caller')}"
    return to_second_person(fact.removeprefix(CALLER_SAID).strip())


def _personal(text: str) -> bool:
    return any(word.strip(_EDGE).lower() in _FLIP for word in text.split(" "))


def sentence(text: str) -> str:
    """With a capital and an end."""
    text = text.strip()
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?…\"')" else text + "."


def choose(options: tuple[str, ...], turn: int, text: str) -> str:
    """One of `options`, the same for the same text and turn, another on the next turn."""
    return options[(crc32(text.encode("utf-8", "replace")) + turn) % len(options)]
