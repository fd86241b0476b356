"""Patterns of requests that carry a text, and of facts: tables of (intent, pattern), in order.

Each pattern is matched at the start of an utterance without its greetings and courtesies, in any
case. It holds at most one unbounded repeat of the same text, at its end, so matching is linear
however long the utterance is. Named groups become the slots of the intent.
"""

import re

Rule = tuple[str, re.Pattern[str]]

_PARTS = {
    "{who}": r"(?P<who>[\w.'-]{1,40})",
    "{that}": r"(?:,? that|:|,)? ",
    "{aside}": r"(?: (?:right now|now|today|currently|at the moment|again|here|there|then))?",
}


def rule(name: str, pattern: str) -> Rule:
    """One row of a table. Line breaks and the space around them do not count."""
    joined = "".join(line.strip() for line in pattern.strip().split("\n"))
    for part, meaning in _PARTS.items():
        joined = joined.replace(part, meaning)
    return name, re.compile(joined, re.IGNORECASE)


# Requests that carry a text of the person's, of any length.
CARRYING = [
    rule(
        "journal_write",
        r"""
        (?:note|write|put|add|record|log|jot)(?: this| that| it)?(?: down)? (?:in|to|into) (?:your|
        the|my) (?:journal|diary|log)(?: that|:|,)? (?P<text>.+)
        """,
    ),
    rule(
        "journal_write",
        r"""
        (?:journal|write a journal entry|make a journal entry|add a journal entry)
        (?: about| saying| that|:)* (?P<text>.+)
        """,
    ),
    rule(
        "message",
        r"""
        (?:take|leave|write down|pass on|send)(?: down)? (?:a |this )?message (?:for|to) {who}
        (?: that| saying|:|,|\.)? (?P<text>.+)
        """,
    ),
    rule("message", r"(?:leave|send|give) {who} a message(?: that| saying|:|,)? (?P<text>.+)"),
    rule("message_to", r"(?:take|leave|pass on|send)(?: down)? a message (?:for|to) {who}"),
    rule(
        "share",
        r"""
        (?:share (?:with|to) (?:the team|everyone|everybody|the others|all)|
        add (?:this )?to the knowledge ?base|let (?:the team|everyone|everybody) know){that}
        (?P<text>.+)
        """,
    ),
    rule(
        "remember_shared",
        r"""
        remember (?:for|with) (?:everyone|everybody|the team|all of you|all){that}(?P<text>.+)
        """,
    ),
    rule(
        "recall",
        r"""
        (?:do you remember|remember|recall|remind me) (?P<query>(?:what|where|when|who|which|
        how|about|of|if|whether)\b.+)
        """,
    ),
    rule("remember_to", r"remind me to (?P<text>.+)"),
    rule("remember_to", r"remind me (?P<when>(?:[\w:]{1,20} ){1,4}?)to (?P<text>.+)"),
    rule("recall", r"do you remember (?P<query>(?!that\b|me\b|who i am).+)"),
    rule(
        "remember_to",
        r"""
        (?:remember|don'?t forget|do not forget|remind me|make a note) to (?P<text>.+)
        """,
    ),
    rule(
        "remember",
        r"""
        (?:remember|don'?t forget|do not forget|keep in mind|bear in mind|note down|make a note|
        take a note|note|for the record|save this|write down|memori[sz]e)(?! me$)(?! who i am)
        (?: the fact)?(?: that| this| these| the following|:|,)* (?P<text>.+)
        """,
    ),
    rule(
        "web",
        r"""
        (?:search|look)(?: on| in)?(?: the)? (?:web|internet|online|net)
        (?: for| about)? (?P<query>.+)
        """,
    ),
    rule(
        "web",
        r"""
        (?:(?:do )?a )?(?:web ?search|search|google|search up|look up|look online)
        (?: for| about| on)? (?P<query>.+)
        """,
    ),
    rule("forget_all", r"(?:forget|delete|erase|clear|wipe) (?:everything|all|it all|my data)\b.*"),
    rule(
        "never_mind",
        r"""
        (?:forget (?:it|that|about it|this)|never ?mind|no worries|cancel|stop|stop it|whatever|
        skip it)(?: then| for now)?$
        """,
    ),
    rule(
        "forget",
        r"""
        (?:forget(?: the)?(?: memory| fact| note)?|
        (?:delete|erase|remove) (?:the |that )?(?:memory|fact|note)|(?:delete|erase)(?= my))
        (?: that| about| of| what i (?:said|told you) about)? (?P<text>.+)
        """,
    ),
    rule(
        "contact_save",
        r"""
        (?:save|add|store|create) (?:a |the )?(?:new )?contact:? (?P<text>.+)
        """,
    ),
]

# Something for somebody else; `who` must be a persona, except to be told something.
ASKING = [
    rule("ask", r"(?:ask|check with|consult(?: with)?) {who}(?:,|:)? (?P<text>.+)"),
    rule("ask", r"(?:see|find out) what {who} (?P<text>(?:thinks|says|feels)\b.*)"),
    rule("tell", r"say (?P<text>.{1,60}) to {who}$"),
    rule("tell", r"let {who} know(?:,|:)? (?P<text>.+)"),
    rule("delegate", r"(?:have|get|let) {who} (?:to )?(?P<text>.+)"),
    rule(
        "delegate",
        r"""
        (?:delegate|assign|hand|give|pass) (?:this |the task )?to {who}(?:,|:)? (?:to )?
        (?P<text>.+)
        """,
    ),
    rule("tell", r"(?:tell|inform|message) {who}(?:,|:)? (?P<text>.+)"),
]

# Facts about the person that are worth keeping without being asked to.
FACTS = [
    rule(
        "name",
        r"""
        (?:my (?:full |first |last )?name(?:'s| is)|(?:i am|i'm|im) (?:called|named)|call me|
        this is|people call me) (?P<value>(?!(?:back|later|when|if|at|on|not|a|an|the)\b)
        [^\W\d_][\w'-]{0,30}
        (?: (?!(?:and|but|so|i|i'm|im|from|what|who|please|thanks|by|with|at|on|in)\b)
        [^\W\d_][\w'-]{0,30}){0,2})
        """,
    ),
    rule(
        "named",
        r"""
        my (?P<key>[\w'-]{1,20}(?: [\w'-]{1,20})?)(?:'s name)?(?: is|'s) (?:(?:called|named) )
        (?P<value>.+)
        """,
    ),
    rule(
        "named",
        r"""
        my (?P<key>[\w-]{1,20}(?: [\w-]{1,20})?)'?s name(?: is|'s) (?P<value>.+)
        """,
    ),
    rule(
        "own",
        r"""
        my (?P<key>fav(?:ou?rite) [\w-]{1,20}(?: [\w-]{1,20})?|birthday|e-?mail(?: address)?|
        phone(?: number)?|number|address|job|wife|husband|partner|daughter|son|boss|company|
        team|time ?zone|native language|hobby|mother|father|brother|sister)(?: is|'s) (?P<value>.+)
        """,
    ),
    rule(
        "own",
        r"""
        i (?P<key>live in|work (?:at|for|as|in)|prefer|am allergic to|was born (?:in|on)) (?P<value>
        .+)
        """,
    ),
    rule("own", r"(?:i'm|im) (?P<key>allergic to|vegan|vegetarian)(?P<value>.*)"),
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
