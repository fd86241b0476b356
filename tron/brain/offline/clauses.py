"""One message, several requests: `What time is it, and who else lives here?`

Cuts a message at line breaks, sentence ends, commas and words such as `and`, and joins again what
belongs together: the rest of a fact, a message or a question for a colleague stays with it unless
it clearly starts a request of its own. Refuses to guess: what no rule fits is one rest, `unknown`.
"""

import re
from typing import NamedTuple

from tron.brain.offline.followups import followed
from tron.brain.offline.intents import Intent, Known, understand
from tron.brain.offline.places import place_in
from tron.brain.offline.words import tidy, unwrap

MOST_PIECES = 24
MOST_REQUESTS = 8

_CUT = re.compile(
    r"\n"
    r"|(?<=[.!?;…]) (?:and then |and also |and |then |also )?"
    r"|,? (?:and then|and also|and after that|then|also|plus|but also) "
    r"|,(?: and| but)? "
    r"| and ",
    re.IGNORECASE,
)
_STARTS = frozenset(
    """
    what what's whats who who's whos where where's when when's why how how's which is are am do
    does did can could will would should have has remember remind tell ask take leave search look
    google find share note write forget save transfer connect let say show list give check catch
    inspect calculate send don't anything
    """.split()
)
_FREE = frozenset(
    "goodbye thanks wellbeing told told_name sum greeting pleased joke sorry sure danger".split()
)
"""what may come without a word from `_STARTS`"""
_SPOKEN = frozenset("message ask delegate share journal_write".split())
_OPEN = _SPOKEN | frozenset(
    "remember remember_to remember_shared told told_name web knowledge recall forget contact "
    "contact_save".split()
)
"""requests that carry a text, which may go on behind a cut"""
_FACTS = frozenset(("told", "told_name"))
_LOST = frozenset(("unknown", "question"))
_NOISE = frozenset("nothing no greeting thanks hear cool laugh again never_mind".split())
"""not worth an answer beside a request"""
_BULLET = re.compile(r"[-*•] |[0-9]{1,2}[.)] ")
_WRAPPED = 60
"""characters; a line this long may have been broken by an editor"""
_LONGEST_LOST = 400


class _Piece(NamedTuple):
    text: str
    cut: str
    """what stood before it, without the spaces: "", "\\n", "stop", "," or a word"""
    intent: Intent
    starts: bool
    """its first word, with or without courtesies, is one that requests start with"""


def requests(text: str, known: Known) -> list[Intent]:
    """What `text` asks for, in its order; at least one intent."""
    whole = understand(text, known)
    clauses = _clauses(text, known)
    if len(clauses) < 2:
        return [whole]
    found: list[Intent] = []
    for clause in clauses:
        intent = _here(understand(clause, known), clause, text)
        if intent.name in _LOST and found:
            intent = followed(f"and {clause}", found[-1], "", known) or intent
        found.append(intent)
    telling = [
        intent
        for intent, clause in zip(found, clauses, strict=True)
        if intent.name not in _NOISE and unwrap(tidy(clause), known.me).text
    ]
    if all(intent.name in _LOST for intent in telling):
        return [whole if telling or whole.name not in _LOST else found[-1]]
    if len(telling) > 1 and telling[0].name == "yes" and telling[1].name in _LOST:
        telling = telling[1:]
    return _gathered(telling)


def _clauses(text: str, known: Known) -> list[str]:
    lines = "\n".join(line for line in map(tidy, text.splitlines()) if line)
    clauses: list[str] = []
    head: _Piece | None = None
    for piece in _pieces(lines, known):
        if head is None or _starts(piece, head, clauses[-1]) or _goes_on(piece, head, known):
            clauses.append(piece.text)
            head = piece
        else:
            clauses[-1] += piece.cut + piece.text
    return clauses


def _pieces(lines: str, known: Known) -> list[_Piece]:
    pieces: list[_Piece] = []
    at, cut = 0, ""
    for found in _CUT.finditer(lines):
        if len(pieces) >= MOST_PIECES:
            break
        if found.start() > at and not lines.startswith(":", found.start() - 1):
            pieces.append(_piece(lines[at : found.start()], cut, known))
            at, cut = found.end(), found.group()
    return [*pieces, _piece(lines[at:], cut, known)]


def _piece(text: str, cut: str, known: Known) -> _Piece:
    line = tidy(text)
    firsts = {_first(line), _first(unwrap(line, known.me).text)}
    return _Piece(text, cut, understand(text, known), bool(firsts & _STARTS))


def _first(text: str) -> str:
    return text[:40].split(" ", 1)[0].lower().strip(" ,:;.!?…")


def _goes_on(piece: _Piece, head: _Piece, known: Known) -> bool:
    """`and in Tokyo` behind a question for the time: the same request once more."""
    if head.intent.name in _OPEN or piece.intent.name not in _LOST:
        return False
    return followed(f"and {piece.text}", head.intent, "", known) is not None


def _starts(piece: _Piece, head: _Piece, before: str) -> bool:
    """Whether `piece` is a request of its own and does not go on with what `head` began."""
    kind = head.intent.name
    line, sentence_end = piece.cut == "\n", piece.cut.startswith(" ") and before[-1] in ".!?;…"
    lost = piece.intent.name in _LOST
    request = not lost and (piece.starts or piece.intent.name in _FREE)
    if line and not lost:
        return True
    if line and (_BULLET.match(piece.text) or len(before) >= _WRAPPED):
        return kind not in _OPEN and kind not in _LOST
    if line:
        return True
    if kind not in _OPEN:
        asks = piece.starts and kind not in _LOST
        return request or asks or sentence_end
    if kind in _SPOKEN:
        return request and _leaves(piece, head)
    if sentence_end and lost:
        return piece.text.endswith("?")
    return request


def _leaves(piece: _Piece, head: _Piece) -> bool:
    """Whether a request behind a message or a task is one for the one spoken to."""
    if ":" in head.text or piece.intent.name in _FACTS:  # dictated; or said in their own name
        return False
    bare = piece.cut == " and "
    ordered = piece.text.lower().startswith(("tell me ", "show me ", "give me "))
    questioned = piece.intent.name not in (*_OPEN, "keep") and not ordered
    return not (bare and (questioned or head.intent.name == "delegate"))


def _here(intent: Intent, clause: str, text: str) -> Intent:
    """`the weather in Paris and what time is it there`: there is Paris."""
    if intent.name != "time" or "place" in intent.slots or " there" not in clause.lower():
        return intent
    place = place_in(text)
    return Intent("time", {"place": place}) if place else intent


def _gathered(intents: list[Intent]) -> list[Intent]:
    """Each request once, all that was lost as one, at most `MOST_REQUESTS`."""
    found: list[Intent] = []
    lost: list[Intent] = []
    for intent in intents:
        if intent.name in _LOST or (len(found) >= MOST_REQUESTS and intent not in found):
            lost.append(intent)
        elif intent not in found:
            found.append(intent)
    if lost:
        asked = any(intent.name == "question" for intent in lost)
        texts = [intent.slots.get("text", "") for intent in lost]
        text = "; ".join(text for text in texts if text)[:_LONGEST_LOST]
        found.append(Intent("question" if asked else "unknown", {"text": text}))
    return found
