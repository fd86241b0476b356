"""Slips of the keyboard in the first words of a request: `waht can yuo do`.

Only words that requests are made of are mended, so what a person wants kept stays as written.
"""

_ALIASES = {
    "rember": "remember",
    "remeber": "remember",
    "rembember": "remember",
    "wat": "what",
    "wut": "what",
    "wot": "what",
    "wats": "what's",
    "u": "you",
    "ur": "your",
    "r": "are",
    "plz": "please",
    "pls": "please",
    "hwo": "who",
    "thnks": "thanks",
    "tks": "thanks",
    "tiem": "time",
    "noe": "know",
    "jok": "joke",
}
_HESITATIONS = frozenset(("um", "uh", "uhm", "er", "erm", "hmm"))
_REQUEST_WORDS = (
    "what who where when which how time date today tell remember forget remind search find ask "
    "take message leave share note save contact transfer connect goodbye thanks hello team can "
    "you your about joke name know is it are does doing new running help language model for the "
    "have with that this please my me do"
).split()
_KNOWN = frozenset(_REQUEST_WORDS)
_LOOKED_AT = 6
"""words at the start that are mended"""


def _slips(word: str) -> set[str]:
    """`word` with two neighbours swapped, or one letter left out or doubled."""
    swapped = {
        word[:n] + word[n + 1] + word[n] + word[n + 2 :]
        for n in range(len(word) - 1)
        if word[n] != word[n + 1]
    }
    if len(word) < 4:
        return swapped
    shorter = {word[:n] + word[n + 1 :] for n in range(1, len(word))}
    doubled = {word[:n] + word[n - 1] + word[n:] for n in range(1, len(word) + 1)}
    return swapped | {slip for slip in shorter if len(slip) > 2} | doubled


_REAL = frozenset(
    "tame form ten tech sake hat ho note not now own won no teem noon then than hen fro tie tim "
    "met mine them see too car tall cat hoe tea lave fin hare mod thank hell son".split()
)
"""words of their own that a slip would turn into another"""
_MENDED = {
    slip: word
    for word in reversed(_REQUEST_WORDS)
    if len(word) > 2
    for slip in _slips(word)
    if slip not in _KNOWN and slip not in _REAL
}


def mended(text: str) -> str:
    """`text` with slips in its first words mended and hesitations off; `text` if there are none."""
    words = [word for word in text.split(" ") if word.lower().strip(",.") not in _HESITATIONS]
    for at, word in enumerate(words[:_LOOKED_AT]):
        core = word.strip(" .,;:!?").lower()
        right = _ALIASES.get(core) or ("" if core in _KNOWN else _MENDED.get(core, ""))
        if right:
            words[at] = word.lower().replace(core, right)
    return " ".join(words)
