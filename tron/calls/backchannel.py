"""What a caller says into the persona's speech without wanting the floor, and what is an answer.

"Mm-hm" and "yes" in the middle of a sentence mean that somebody listens. At the end of a question
"yes" is what was asked for, also if it came a syllable early. Pure; callers: the call machine.
"""

import re

from tron.calls.writing import QUESTION_MARKS, usual_ms

BACKCHANNEL = frozenset(
    (
        "mm mmm hm hmm mhm mmhm mm-hm mm-hmm uh-huh uhuh uh um ah oh right yeah yep yes ok "
        "okay sure i see got it go on"
    ).split()
)
NO_ANSWER = frozenset("mm mmm hm hmm uh um ah oh i see".split())
"""of these, those that say neither yes nor no"""
NEARLY_OVER_MS = 1_000
"""of a question; who answers before that has not heard what is asked"""
_WORDS = re.compile(r"\w[\w'-]*")
_ASKS = re.compile(
    rf"[{QUESTION_MARKS}][\"')\]*_]*\s*(?:(?:please\s+)?(?:say|answer)\s+yes\s+or\s+no\W*)?$",
    re.IGNORECASE,
)


def backchannel(text: str) -> bool:
    """Whether `text` only says "I'm listening"."""
    words = _WORDS.findall(text.lower())
    return len(words) <= 3 and (" ".join(words) in BACKCHANNEL or set(words) <= BACKCHANNEL)


def answers(text: str, heard: str, rest: str) -> bool:
    """Whether `text`, said when of an answer `heard` was heard and `rest` was not, answers a
    question at its end."""
    if not set(_WORDS.findall(text.lower())) - NO_ANSWER:
        return False
    nearly_over = usual_ms(rest.strip()) <= NEARLY_OVER_MS
    return nearly_over and _ASKS.search((heard + rest).rstrip()) is not None
