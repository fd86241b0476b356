"""Patterns of requests that carry a text, and of facts: tables of (intent, pattern), in order.

Each pattern is matched at the start of an utterance without its greetings and courtesies, in any
case. It holds at most one unbounded repeat of the same text, at its end, so matching is linear
however long the utterance is. Named groups become the slots of the intent.
"""

import re
from functools import cached_property

_PARTS = {
    "{who}": r"(?P<who>[\w.'-]{1,40})",
    "{that}": r"(?:,? that|:|,)? ",
    "{aside}": r"(?: (?:right now|now|today|currently|at the moment|again|here|there|then))?",
}


class Rule:
    """One row of a table: an intent and the pattern of the words that mean it.

    Line breaks and the space around them do not count. The pattern is compiled when it is first
    asked: all of them together take some 30 ms, and a hub that has a model may never ask.
    """

    def __init__(self, name: str, pattern: str) -> None:
        self.name = name
        self._source = pattern

    def match(self, wanted: str) -> re.Match[str] | None:
        """How `wanted` begins with the pattern."""
        return self._pattern.match(wanted)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        joined = "".join(line.strip() for line in self._source.strip().split("\n"))
        for part, meaning in _PARTS.items():
            joined = joined.replace(part, meaning)
        return re.compile(joined, re.IGNORECASE)


# Requests that carry a text of the person's, of any length.
CARRYING = [
    Rule(
        "journal_write",
        r"""
        (?:note|write|put|add|record|log|jot)(?: this| that| it)?(?: down)? (?:in|to|into) (?:your|
        the|my) (?:journal|diary|log)(?: that|:|,)? (?P<text>.+)
        """,
    ),
    Rule(
        "journal_write",
        r"""
        (?:journal|write a journal entry|make a journal entry|add a journal entry)
        (?: about| saying| that|:)* (?P<text>.+)
        """,
    ),
    Rule(
        "message",
        r"""
        (?:take|leave|write down|pass on|send)(?: down)? (?:a |this )?message (?:for|to) {who}
        (?: that| saying|:|,|\.)? (?P<text>.+)
        """,
    ),
    Rule("message", r"(?:leave|send|give) {who} a message(?: that| saying|:|,)? (?P<text>.+)"),
    Rule("message_to", r"(?:take|leave|pass on|send)(?: down)? a message (?:for|to) {who}"),
    Rule(
        "share",
        r"""
        (?:share (?:with|to) (?:the team|everyone|everybody|the others|all)|
        add (?:this )?to the knowledge ?base|let (?:the team|everyone|everybody) know){that}
        (?P<text>.+)
        """,
    ),
    Rule(
        "remember_shared",
        r"""
        remember (?:for|with) (?:everyone|everybody|the team|all of you|all){that}(?P<text>.+)
        """,
    ),
    Rule(
        "recall",
        r"""
        (?:do you remember|remember|recall|remind me) (?P<query>(?:what|where|when|who|which|
        how|about|of|if|whether)\b.+)
        """,
    ),
    Rule("remember_to", r"remind me to (?P<text>.+)"),
    Rule("remember_to", r"remind me (?P<when>(?:[\w:]{1,20} ){1,4}?)to (?P<text>.+)"),
    Rule("recall", r"do you remember (?P<query>(?!that\b|me\b|who i am).+)"),
    Rule(
        "remember_to",
        r"""
        (?:remember|don'?t forget|do not forget|remind me|make a note) to (?P<text>.+)
        """,
    ),
    Rule(
        "remember",
        r"""
        (?:remember|don'?t forget|do not forget|keep in mind|bear in mind|note down|make a note|
        take a note|note|for the record|save this|write down|memori[sz]e)(?! me$)(?! who i am)
        (?: the fact)?(?: that| this| these| the following|:|,)* (?P<text>.+)
        """,
    ),
    Rule(
        "web",
        r"""
        (?:search|look)(?: on| in)?(?: the)? (?:web|internet|online|net)
        (?: for| about)? (?P<query>.+)
        """,
    ),
    Rule(
        "web",
        r"""
        (?:(?:do )?a )?(?:web ?search|search|google|search up|look up|look online)
        (?: for| about| on)? (?P<query>.+)
        """,
    ),
    Rule("forget_all", r"(?:forget|delete|erase|clear|wipe) (?:everything|all|it all|my data)\b.*"),
    Rule(
        "never_mind",
        r"""
        (?:forget (?:it|that|about it|this)|never ?mind|no worries|cancel|stop|stop it|whatever|
        skip it)(?: then| for now)?$
        """,
    ),
    Rule(
        "forget",
        r"""
        (?:forget(?: the)?(?: memory| fact| note)?|
        (?:delete|erase|remove) (?:the |that )?(?:memory|fact|note)|(?:delete|erase)(?= my))
        (?: that| about| of| what i (?:said|told you) about)? (?P<text>.+)
        """,
    ),
    Rule(
        "contact_save",
        r"""
        (?:save|add|store|create) (?:a |the )?(?:new )?contact:? (?P<text>.+)
        """,
    ),
]

# Something for somebody else; `who` must be a persona, except to be told something.
ASKING = [
    Rule("ask", r"(?:ask|check with|consult(?: with)?) {who}(?:,|:)? (?P<text>.+)"),
    Rule("ask", r"(?:see|find out) what {who} (?P<text>(?:thinks|says|feels)\b.*)"),
    Rule("tell", r"say (?P<text>.{1,60}) to {who}$"),
    Rule("tell", r"let {who} know(?:,|:)? (?P<text>.+)"),
    Rule("delegate", r"(?:have|get|let) {who} (?:to )?(?P<text>.+)"),
    Rule(
        "delegate",
        r"""
        (?:delegate|assign|hand|give|pass) (?:this |the task )?to {who}(?:,|:)? (?:to )?
        (?P<text>.+)
        """,
    ),
    Rule("tell", r"(?:tell|inform|message) {who}(?:,|:)? (?P<text>.+)"),
]

# Facts about the person that are worth keeping without being asked to. One under the same key
# replaces the other, except for what a person may say of several things.
FACTS = [
    Rule(
        "name",
        r"""
        (?:my (?:full |first |last )?name(?:'s| is)|(?:i am|i'm|im) (?:called|named)|call me|
        this is|people call me) (?P<value>(?!(?:back|later|when|if|at|on|not|a|an|the)\b)
        [^\W\d_][\w'-]{0,30}
        (?: (?!(?:and|but|so|i|i'm|im|from|what|who|please|thanks|by|with|at|on|in)\b)
        [^\W\d_][\w'-]{0,30}){0,2})
        """,
    ),
    Rule(
        "named",
        r"""
        my (?P<key>[\w'-]{1,20}(?: [\w'-]{1,20})?)(?:'s name)?(?: is|'s) (?:(?:called|named) )
        (?P<value>.+)
        """,
    ),
    Rule(
        "named",
        r"""
        my (?P<key>[\w-]{1,20}(?: [\w-]{1,20})?)'?s name(?: is|'s) (?P<value>.+)
        """,
    ),
    Rule(
        "own",
        r"""
        my (?P<key>fav(?:ou?rite) [\w-]{1,20}(?: [\w-]{1,20})?|birthday|e-?mail(?: address)?|
        phone(?: number)?|number|address|job|wife|husband|partner|daughter|son|boss|company|
        team|time ?zone|native language|hobby|mother|father|brother|sister)(?: is|'s) (?P<value>.+)
        """,
    ),
    Rule("birthday", r"i was born (?:on|in(?= (?:\w{3,9} )?[0-9])) (?P<value>.+)"),
    Rule("own", r"i (?P<key>live in|work (?:at|for)|was born in) (?P<value>.+)"),
    Rule("own", r"(?:i'm|im) (?P<key>vegan|vegetarian)(?P<value>.*)"),
    Rule(
        "one_of_many",
        r"""
        (?:i|i'm|im|i am)(?: also)? (?:prefer|allergic to|work (?:as|in)) (?P<value>.+)
        """,
    ),
]

SUM = re.compile(
    r"(?:(?:what(?:'?s| is)|calculate|compute|work out|how much is|solve) )?(?P<sum>.{1,120})$",
    re.IGNORECASE,
)
QUESTION = re.compile(
    r"(?:what|whats|who|whos|where|when|why|how|hows|which|is|are|am|was|were|do|does|did|can|"
    r"could|should|would|will|have|has)\b",
    re.IGNORECASE,
)
NO_ONE = frozenset(
    ("me", "you", "him", "her", "them", "us", "it", "this", "that", "the", "a", "everyone")
)
CONTACT_ME = re.compile(
    r"(?:please )?(?:call|ring|phone|text|e?-?mail|message|contact|meet|wait|come|get back|"
    r"write)\b",
    re.IGNORECASE,
)
