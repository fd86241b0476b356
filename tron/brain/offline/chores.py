"""What somebody wants done, taken apart: `ask Maya for three taglines, then text me`.

An utterance in, the chores in it out, in order; each has a kind and the words that fill it in. It
knows what belongs together (`call … and say …`), not which tool does it: the planner of tasks does
(tasks/wishes.py). Refuses to guess: a clause no rule fits is `unknown`.
"""

import re
from typing import NamedTuple

from tron.brain.offline.intents import Intent, Known, understand
from tron.brain.offline.rules import Rule
from tron.brain.offline.times import has_moment
from tron.brain.offline.words import tidy, unwrap

MOST = 12
LONGEST = 4_000

OWN_KINDS = frozenset("run fetch write read sms slack call remind".split())
"""chores that no conversation does by itself"""

_PROGRAMS = (
    "make|python3?|pytest|ls|cat|echo|git|npm|node|bash|sh|wc|grep|find|sort|head|tail|df|du|"
    "uname|date|sleep|mkdir|cp|mv|rm|touch|sed|awk|pip|ruff|mypy|cargo|go|curl|env|pwd"
)
_BEFORE = (
    r"(?:them|it|that|this|these|those|everything|(?:the|her|his|their|its) (?:[\w-]+ )?"
    r"(?:results?|answers?|outputs?|lists?|texts?|pages?|lines?|taglines?|replies|reply|summary|"
    r"ideas?|names?|contents?|findings)|what (?:it|she|he|they|that|maya|\w+) "
    r"(?:says?|said|answers?|answered|found|finds))"
)
_BEFORE_ONLY = re.compile(rf"{_BEFORE}$", re.IGNORECASE)
_PHONE = r"\+?[0-9][0-9 ().-]{4,24}[0-9]"
_WHO = rf"(?P<who>{_PHONE}|[^\W\d_][\w'-]{{0,40}}(?: [^\W\d_][\w'-]{{1,40}}){{0,2}}?)"
_FILE = r"[`\"“]?(?P<path>[\w./-]{1,120}\.[a-z0-9]{1,8})[`\"”]?"

_RULES = [
    Rule("remember", rf"(?:remember|memori[sz]e|note(?: down)?|keep) (?P<text>{_BEFORE})$"),
    Rule("fetch", r"(?:fetch|get|open|load|download|read|visit)(?: the page)?(?: at)? "
                  r"(?P<url>https?://\S+?)[.,;]?$"),
    Rule("run", r"(?:run|execute)(?: the)?(?: shell)?(?: command)? [`\"“](?P<command>.+)[`\"”]$"),
    Rule("run", rf"(?:run|execute)(?: the)?(?: shell)?(?: command:?)? "
                rf"(?P<command>(?:{_PROGRAMS})\b.*)"),
    Rule("run", r"(?:run|execute|start)(?: all)?(?: of)?(?: the| our| my)? (?P<tests>tests?)"
                r"(?: suite)?$"),
    Rule("write", rf"(?:write|save|put|store)(?: down)? (?P<text>.+?) "
                  rf"(?:to|in|into|as)(?: (?:a|the))?(?: file)?(?: (?:called|named))? {_FILE}$"),
    Rule("write", rf"(?:create|make|write)(?: a| the)? file(?: called| named)? {_FILE}"
                  rf"(?: (?:with|saying|containing|holding)|:) (?P<text>.+)"),
    Rule("read", rf"(?:read|show|open)(?: me)?(?: the)?(?: file)? {_FILE}$"),
    Rule("slack", r"(?:post|send|write|say|put)(?: (?P<text>.+?))? (?:to|in|into|on) "
                  r"(?P<who>[#@][\w.-]{1,80})(?: (?:on|in) slack)?$"),
    Rule("slack", r"(?:post|send|write|message|tell)(?: to| in)? (?P<who>[#@][\w.-]{1,80})"
                  r"(?: (?:on|in) slack)?(?: that| saying|:|,)? (?P<text>.+)"),
    Rule("sms", r"(?:text|sms) (?P<who>me)(?: back)?(?P<text>)$"),
    Rule("sms", r"(?:text|sms) (?P<who>me)(?: back)?(?: that| saying| with|:|,)? (?P<text>.+)"),
    Rule("sms", r"send (?P<who>me) (?:a |an )?(?:text|sms|text message)"
                r"(?:(?: that| saying| with|:|,)? (?P<text>.+))?$"),
    Rule("sms", r"send (?P<text>.+?) to (?P<who>me)(?: (?:by|as an?) (?:text|sms|text message))$"),
    Rule("sms", rf"(?:text|sms) {_WHO}(?: that| saying| with|:|,)? (?P<text>.+)"),
    Rule("sms", rf"send (?:a |an )?(?:text|sms|text message) to {_WHO}"
                rf"(?: that| saying| with|:|,)? (?P<text>.+)"),
    Rule("sms", rf"send {_WHO} (?:a |an )?(?:text|sms|text message)"
                rf"(?: that| saying| with|:|,)? (?P<text>.+)"),
    Rule("call", rf"(?:call|phone|ring)(?: up)? {_WHO}"
                 rf"(?:,? (?:and|to) (?:say|tell (?:them|him|her))|,? saying|,|:)(?: that)? "
                 rf"(?P<text>.+)"),
    Rule("call", rf"(?:call|phone|ring)(?: up)? {_WHO},? (?:and|to) (?P<text>ask .+)"),
]  # fmt: skip
_REMIND = Rule("remind", r"remind me (?P<text>.+)")
_ASK = Rule("ask", r"ask {who}(?:,|:)? (?P<text>.+)")
_NOT_CALLED = frozenset("me you us it them him her back this that a an the on for off in".split())
_NOT_TEXTED = frozenset("you us it them him her this that a an the editor file to".split())

_HARD = (
    r"(?P<hard>\s*[;\n]\s*|(?<=[.!?])\s+(?:(?:and )?(?:then|next|after that|afterwards|finally|"
    r"lastly)\b,? )?|,? (?:and )?(?:then|next|after that|afterwards|finally|lastly)\b,? )"
)
_CUT = re.compile(rf"{_HARD}|(?P<soft>,? (?:and|and also|also) |, )", re.IGNORECASE)
_ORDER = re.compile(
    r"(?:first|firstly|then|next|finally|lastly|after that|and)\b,? ", re.IGNORECASE
)
_QUOTED = re.compile(r"`[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”")
_AS_TASK = re.compile(
    r"(?P<a>(?:as a (?:background |durable )?task|in the background)\b[,:]? )"
    r"|(?P<b>(?:make|create|start|open|begin|add) (?:a |it a |this a )?(?:new )?"
    r"(?:background |durable )?task\b(?: to| that| for)?[,:]? )"
    r"|(?P<c>,? (?:as a (?:background |durable )?task|in the background))$",
    re.IGNORECASE,
)


class Chore(NamedTuple):
    """One thing to do."""

    kind: str
    """of `OWN_KINDS`, `ask`, the name of an intent (`remember`, `time`, …), or `unknown`"""
    slots: dict[str, str]
    text: str
    """the clause it was found in"""

    @property
    def passes_on(self) -> bool:
        """Whether it works with what the chore before it brought."""
        return self.kind in ("write", "sms", "slack", "call", "remember", "message", "share") and (
            refers_back(self.slots.get("text", ""))
        )


def refers_back(text: str) -> bool:
    """Whether `text` only stands for something before: `them`, `the answer`, or nothing at all."""
    return not text.strip() or bool(_BEFORE_ONLY.match(text.strip(" .,!?")))


def chores(text: str, known: Known) -> list[Chore]:
    """What `text` wants done, in its order; at least one."""
    found: list[Chore] = []
    dictated = False
    for cut, clause in _clauses(_plain(text, known)[:LONGEST]):
        chore = chore_of(clause, known)
        alone = cut == "hard" or (chore.kind != "unknown" and not dictated)
        if found and not alone:
            joined = f"{found[-1].text}{cut}{clause}"
            found[-1] = chore_of(joined, known)
        elif len(found) < MOST:
            found.append(chore)
        else:
            found[-1] = Chore("unknown", {}, f"{found[-1].text}; {clause}")
        dictated = ":" in found[-1].text.replace("://", "")
    return found or [Chore("unknown", {}, text)]


def chore_of(clause: str, known: Known) -> Chore:
    """The chore that one clause names."""
    line = _line(clause)
    if order := _ORDER.match(line):
        line = line[order.end() :]
    wanted = unwrap(line, known.me).text
    if (reminded := _REMIND.match(wanted)) and has_moment(reminded["text"]):
        return Chore("remind", {"text": reminded["text"]}, clause)
    for rule in _RULES:
        found = rule.match(wanted)
        if found is not None and _means(rule.name, found):
            slots = {key: value.strip() for key, value in found.groupdict().items() if value}
            return Chore(rule.name, slots, clause)
    if (asked := _ASK.match(wanted)) and (who := known.names.get(asked["who"].lower())):
        return Chore("ask", {"who": who, "text": asked["text"].strip()}, clause)
    intent = understand(wanted, known)
    if intent.name in ("unknown", "question") or intent.name not in _KEPT:
        return Chore("unknown", {}, clause)
    return _from(intent, clause)


_KEPT = frozenset(
    """
    remember remember_shared recall forget told time ask delegate message share
    journal_write journal_read news knowledge about web contact contact_save status
    """.split()
)


def _from(intent: Intent, clause: str) -> Chore:
    if intent.name == "delegate":
        return Chore("ask", {**intent.slots, "text": f"to {intent.slots['text']}"}, clause)
    return Chore(intent.name, dict(intent.slots), clause)


def _means(name: str, found: re.Match[str]) -> bool:
    """Whether a rule that fits means it: `call me back` is no call, `text it` no message."""
    who = (found.groupdict().get("who") or "").lower().split(" ")[0]
    if name == "call":
        return who not in _NOT_CALLED
    return not (name == "sms" and who in _NOT_TEXTED)


def as_task(text: str, known: Known) -> str:
    """What is to be a task, if `text` says in so many words that it is to be one; else ""."""
    line = unwrap(_line(text), known.me).text
    found = _AS_TASK.match(line) or _AS_TASK.search(line)
    if found is None or (found["c"] is None and found.start() > 0):
        return ""
    return (line[: found.start()] + line[found.end() :]).strip(" ,.:")


_EACH = re.compile(
    r"[,;]? ?\b(?:and )?(?:ask me|confirm(?: with me)?|check with me) (?:before|at|for) "
    r"(?:each|every) (?:single )?step\b[,:;]?",
    re.IGNORECASE,
)
_URGENT = re.compile(
    r"^(?:urgent(?:ly)?|with high priority)\b[,:]? |,? (?:urgently|with high priority)[.!]?$",
    re.IGNORECASE,
)


def in_which_manner(text: str) -> tuple[str, dict[str, str]]:
    """A wish without the words that say how it is to be done, and what they say."""
    manner = {}
    if _EACH.search(text):
        manner["mode"] = "confirm_each"
    if _URGENT.search(text):
        manner["priority"] = "high"
    return _URGENT.sub("", _EACH.sub("", text)).strip() or text, manner


def task_in(text: str, known: Known) -> Intent | None:
    """The intent to hand in a task, if that is what `text` means; its slots are `text` and what is
    said of `mode` and `priority`."""
    wish, manner = in_which_manner(text)
    if named := as_task(wish, known):
        return Intent("task", {"text": named, **manner})
    return Intent("task", {"text": wish.strip(), **manner}) if is_task(wish, known) else None


def is_task(text: str, known: Known) -> bool:
    """Whether `text` is more than a conversation does by itself: several steps of which one has an
    effect outside, something for later, a command, a file."""
    if len(text) > LONGEST:
        return False
    found = chores(text, known)
    if found[0].passes_on:  # nothing was before it
        return False
    return any(chore.kind in OWN_KINDS for chore in found) or _begins_later(text, found, known)


def _begins_later(text: str, found: list[Chore], known: Known) -> bool:
    """`tomorrow at nine ask Maya …`: an order with its time in front."""
    line = unwrap(_line(text), known.me).text
    return (
        bool(found)
        and found[0].kind == "unknown"
        and bool(_LATER.match(line))
        and any(c.kind in ("ask", "message") for c in chores(_LATER.sub("", line, 1), known))
    )


_LATER = re.compile(
    r"(?:in (?:half an hour|(?:\d+|an?|one|two|three|four|five|ten|twenty|thirty) "
    r"(?:seconds?|minutes?|hours?|days?))|(?:today|tonight|tomorrow)(?: morning| evening| "
    r"afternoon)?(?:,? at [\w:]+(?: ?[ap]m)?)?|at [\w:]+(?: ?[ap]m| o'clock)?),? ",
    re.IGNORECASE,
)


def _line(text: str) -> str:
    """One line as `tidy` makes it, but for backquotes: they say where a command ends."""
    return tidy(text.replace("`", "\x02")).replace("\x02", "`")


def _plain(text: str, known: Known) -> str:
    lines = "\n".join(line for line in map(_line, text.splitlines()) if line)
    return lines if "\n" in lines else unwrap(lines, known.me).text or lines


def _clauses(text: str) -> list[tuple[str, str]]:
    """(the cut before it: "hard" or the words of a soft one, clause)"""
    covered = _QUOTED.sub(lambda quoted: "\x00" * len(quoted.group()), text)
    found: list[tuple[str, str]] = []
    at, cut = 0, "hard"
    for mark in _CUT.finditer(covered):
        if mark.start() > at:
            found.append((cut, text[at : mark.start()]))
            cut = "hard" if mark["hard"] else text[mark.start() : mark.end()]
        at = mark.end()
    if text[at:].strip():
        found.append((cut, text[at:]))
    return found
