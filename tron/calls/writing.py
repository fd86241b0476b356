"""How languages are written, as far as speaking them needs it.

What ends a sentence or a clause, where words end, and how long a text usually takes to say. Pure;
callers: whatever cuts, times or judges text on a call.
"""

import re
from unicodedata import east_asian_width

STOPS = ".!?؟।॥۔"
"""end a sentence where a space follows"""
WIDE_STOPS = "。！？｡"
"""end one of Chinese or Japanese, where none does"""
COMMAS = ",،"
WIDE_COMMAS = "，､、"
QUESTION_MARKS = "?？؟"

MS_PER_CHARACTER = 65
"""of text in letters, as a voice usually takes"""
MS_PER_SYLLABLE = 190
"""of text with a character for each: Mandarin has about five syllables in a second"""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]"
)
"""letters of scripts without spaces between words: Chinese, Japanese, Thai, Lao, Burmese, Khmer"""


def whole_words(text: str, reached: int) -> int:
    """Where the last word that ends in the first `reached` characters does; without spaces every
    character is one."""
    spaced = text.rfind(" ", 0, reached + 1) + 1
    while reached > spaced and not _UNSPACED.match(text, reached - 1):
        reached -= 1
    return max(spaced, reached)


def usual_ms(text: str) -> int:
    """How long a voice usually takes for `text`."""
    syllables = sum(east_asian_width(character) in "WF" for character in text)
    return syllables * MS_PER_SYLLABLE + (len(text) - syllables) * MS_PER_CHARACTER
