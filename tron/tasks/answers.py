"""Yes or no, when somebody is asked whether a step may be done. Pure.

Only a whole utterance that says nothing else is an answer: what is longer, or takes back with one
hand what it gives with the other ("yes, but…"), is None and goes to the persona as talk.
"""

import re

_WORD = re.compile(r"[a-z0-9']+")
_KEYS = re.compile(r"\(pressed the keys ([0-9*#]+)\)")
"""how a call tells the keys of a telephone"""
_LONGEST = 80
_QUOTES = str.maketrans("’‘ʼ", "'''")

_YES = frozenset(
    """
    yes|yeah|yep|yup|sure|ok|okay|1|one|go ahead|do it|do that|go for it|please do|of course|
    absolutely|certainly|definitely|you may|approve|approved|i approve|approve it|approve that|
    approve this|approve task|approve the task|approve this task|approve step|approve the step
    """.replace("\n", "")
    .replace("    ", "")
    .split("|")
)
_NO = frozenset(
    """
    no|nope|nah|2|two|don't|do not|don't do it|do not do it|don't do that|do not do that|no way|
    better not|rather not|i'd rather not|deny|denied|i deny|deny it|deny that|deny this|deny task|
    deny the task|deny this task|deny step|deny the step|reject|rejected|reject it|reject that|
    refuse
    """.replace("\n", "")
    .replace("    ", "")
    .split("|")
)
_FIRST_YES = re.compile(r"^(?:yes|yeah|yep|yup|sure|ok|okay) ")
_FIRST_NO = re.compile(r"^(?:no|nope|nah) ")
_EXPLICIT = re.compile(r"\b(?:approved?|deny|denied|reject(?:ed)?|refuse)\b")
_POLITE = ("please", "thanks", "thank you", "thank you very much", "then", "now", "sir", "ma'am")


def answer(text: str) -> bool | None:
    """True for a yes, False for a no, None for anything else."""
    words = _bare(text)
    if _forms(words, _FIRST_YES) & _YES:
        return True
    return False if _forms(words, _FIRST_NO) & _NO else None


def explicit(text: str) -> bool:
    """Whether an answer says itself that it is one to such a question: "approve", "deny"."""
    return bool(_EXPLICIT.search(_bare(text)))


def _bare(text: str) -> str:
    """Lower case, without punctuation; "" for what can't be an answer."""
    line = " ".join(text.translate(_QUOTES).lower().split())
    if len(line) > _LONGEST or "?" in line:
        return ""
    if keys := _KEYS.fullmatch(line):
        return keys.group(1)
    if re.sub(r"[\s.,!;:…\"]", "", line) != "".join(_WORD.findall(line)):
        return ""  # letters or signs that are no punctuation: not the same words
    return " ".join(_WORD.findall(line))


def _forms(words: str, first: re.Pattern[str]) -> set[str]:
    """`words`, and what is left of them without courtesies and without one `first`."""
    forms = {words, _plain(words)}
    forms |= {first.sub("", form, count=1) for form in forms}
    return forms | {_plain(form) for form in forms}


def _plain(words: str) -> str:
    for _ in range(2):
        for polite in _POLITE:
            words = words.removesuffix(f" {polite}").removeprefix(f"{polite} ")
    return words
