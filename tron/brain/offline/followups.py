"""What only makes sense after what was said before: `and in Tokyo?`, `another one`, `and Maya?`.

Takes a message that no rule fits and the request before it. Refuses to guess: without a request
that it can go on from there is no follow-up.
"""

import re

from tron.brain.offline.intents import Intent, Known
from tron.brain.offline.places import place_in, zone_of
from tron.brain.offline.words import tidy

_ABOUT = re.compile(
    r"(?:(?:and|or|also|then|ok|okay|so|now|but)[, ]+)*"
    r"(?P<how>(?:(?:what|how) (?:about|is it|time is it)|and|the same for|in|at|for)\b,? ?)?"
    r"(?:(?:in|at|for|with|about) )?(?P<rest>[^?!.]{1,60})[?!. ]*$",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"(?:and |ok |okay |please )?(?:another|one more|more|again|next|a different one)"
    r"(?: one| joke| please)*[?!. ]*$",
    re.IGNORECASE,
)
_PERSON = {"who_is": "who_is", "team": "who_is", "identity": "who_is", "journal_read": "",
           "ask": "", "message": "", "delegate": ""}  # fmt: skip


def followed(text: str, earlier: Intent, earlier_text: str, known: Known) -> Intent | None:
    """What `text` means after `earlier`; None if it goes on with nothing."""
    line = tidy(text[:200])
    if len(text) > 120:
        return None
    if earlier.name == "joke" and _MORE.match(line):
        return earlier
    if line.lower().rstrip("?! .").endswith("time is it there") and (at := place_in(earlier_text)):
        return Intent("time", {"place": at})
    found = _ABOUT.match(line)
    if found is None:
        return None
    rest = found["rest"].strip(" ,;:'\"")
    going_on = line.lower().startswith(("and ", "what about", "how about", "or "))
    who = known.names.get(rest.lower())
    if earlier.name == "time" and (going_on or found["how"]) and zone_of(rest) is not None:
        return Intent("time", {"place": rest})
    if who and earlier.name in _PERSON and going_on:
        return Intent(_PERSON[earlier.name] or earlier.name, {**earlier.slots, "who": who})
    if going_on and earlier.name == "recall" and rest.lower().startswith("my "):
        return Intent("recall", {"query": rest})
    if going_on and not who and earlier.name in ("web", "knowledge", "contact"):
        return Intent(earlier.name, {"query": rest})
    return None
