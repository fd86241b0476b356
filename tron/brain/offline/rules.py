"""The patterns of intents.py: tables of (intent, pattern), in the order they are tried.

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


def _rule(name: str, pattern: str) -> Rule:
    """Line breaks and the space around them do not count."""
    joined = "".join(line.strip() for line in pattern.strip().split("\n"))
    for part, meaning in _PARTS.items():
        joined = joined.replace(part, meaning)
    return name, re.compile(joined, re.IGNORECASE)


# Requests that carry a text of the person's, of any length.
CARRYING = [
    _rule(
        "journal_write",
        r"""
        (?:note|write|put|add|record|log|jot)(?: this| that| it)?(?: down)? (?:in|to|into) (?:your|
        the|my) (?:journal|diary|log)(?: that|:|,)? (?P<text>.+)
        """,
    ),
    _rule(
        "journal_write",
        r"""
        (?:journal|write a journal entry|make a journal entry|add a journal entry)
        (?: about| saying| that|:)* (?P<text>.+)
        """,
    ),
    _rule(
        "message",
        r"""
        (?:take|leave|write down|pass on|send)(?: down)? (?:a |this )?message (?:for|to) {who}
        (?: that| saying|:|,|\.)? (?P<text>.+)
        """,
    ),
    _rule("message", r"(?:leave|send|give) {who} a message(?: that| saying|:|,)? (?P<text>.+)"),
    _rule("message_to", r"(?:take|leave|pass on|send)(?: down)? a message (?:for|to) {who}"),
    _rule(
        "share",
        r"""
        (?:share (?:with|to) (?:the team|everyone|everybody|the others|all)|
        add (?:this )?to the knowledge ?base|let (?:the team|everyone|everybody) know){that}
        (?P<text>.+)
        """,
    ),
    _rule(
        "remember_shared",
        r"""
        remember (?:for|with) (?:everyone|everybody|the team|all of you|all){that}(?P<text>.+)
        """,
    ),
    _rule(
        "recall",
        r"""
        (?:do you remember|remember|recall|remind me) (?P<query>(?:what|where|when|who|which|
        how|about|of|if|whether)\b.+)
        """,
    ),
    _rule("remember_to", r"remind me (?P<when>(?:[\w:]{1,20} ){1,4}?)to (?P<text>.+)"),
    _rule("recall", r"do you remember (?P<query>(?!that\b|me\b|who i am).+)"),
    _rule(
        "remember_to",
        r"""
        (?:remember|don'?t forget|do not forget|remind me|make a note) to (?P<text>.+)
        """,
    ),
    _rule(
        "remember",
        r"""
        (?:remember|don'?t forget|do not forget|keep in mind|bear in mind|note down|make a note|
        take a note|note|for the record|save this|write down|memori[sz]e)(?! me$)(?! who i am)
        (?: the fact)?(?: that| this|:|,)* (?P<text>.+)
        """,
    ),
    _rule(
        "web",
        r"""
        (?:search|look)(?: on| in)?(?: the)? (?:web|internet|online|net)
        (?: for| about)? (?P<query>.+)
        """,
    ),
    _rule(
        "web",
        r"""
        (?:(?:do )?a )?(?:web ?search|search|google|search up|look up|look online)
        (?: for| about| on)? (?P<query>.+)
        """,
    ),
    _rule("forget_all", r"forget (?:everything|all|all of it|it all)\b.*"),
    _rule(
        "never_mind",
        r"""
        (?:forget (?:it|that|about it|this)|never ?mind|no worries|cancel)(?: then| for now)?$
        """,
    ),
    _rule(
        "forget",
        r"""
        (?:forget(?: the)?(?: memory| fact| note)?|
        (?:delete|erase|remove) (?:the |that )?(?:memory|fact|note)|(?:delete|erase)(?= my))
        (?: that| about| of| what i (?:said|told you) about)? (?P<text>.+)
        """,
    ),
    _rule(
        "contact_save",
        r"""
        (?:save|add|store|create) (?:a |the )?(?:new )?contact:? (?P<text>.+)
        """,
    ),
]

# Something for somebody else; `who` must be a persona, except to be told something.
ASKING = [
    _rule("ask", r"(?:ask|check with|consult(?: with)?) {who}(?:,|:)? (?P<text>.+)"),
    _rule("ask", r"(?:see|find out) what {who} (?P<text>(?:thinks|says|feels)\b.*)"),
    _rule("tell", r"say (?P<text>.{1,60}) to {who}$"),
    _rule("tell", r"let {who} know(?:,|:)? (?P<text>.+)"),
    _rule("delegate", r"(?:have|get|let) {who} (?:to )?(?P<text>.+)"),
    _rule(
        "delegate",
        r"""
        (?:delegate|assign|hand|give|pass) (?:this |the task )?to {who}(?:,|:)? (?:to )?
        (?P<text>.+)
        """,
    ),
    _rule("tell", r"(?:tell|inform|message) {who}(?:,|:)? (?P<text>.+)"),
]

# Facts about the person that are worth keeping without being asked to.
FACTS = [
    _rule(
        "name",
        r"""
        (?:my (?:full |first |last )?name(?:'s| is)|(?:i am|i'm|im) (?:called|named)|call me|
        this is|people call me) (?P<value>(?!(?:back|later|when|if|at|on|not|a|an|the)\b)
        [^\W\d_][\w'-]{0,30}
        (?: (?!(?:and|but|so|i|i'm|im|from|what|who|please|thanks|by|with|at|on|in)\b)
        [^\W\d_][\w'-]{0,30}){0,2})
        """,
    ),
    _rule(
        "named",
        r"""
        my (?P<key>[\w'-]{1,20}(?: [\w'-]{1,20})?)(?:'s name)?(?: is|'s) (?:(?:called|named) )
        (?P<value>.+)
        """,
    ),
    _rule(
        "named",
        r"""
        my (?P<key>[\w-]{1,20}(?: [\w-]{1,20})?)'?s name(?: is|'s) (?P<value>.+)
        """,
    ),
    _rule(
        "own",
        r"""
        my (?P<key>fav(?:ou?rite) [\w-]{1,20}(?: [\w-]{1,20})?|birthday|e-?mail(?: address)?|
        phone(?: number)?|number|address|job|wife|husband|partner|daughter|son|boss|company|
        team|time ?zone|native language|hobby|mother|father|brother|sister)(?: is|'s) (?P<value>.+)
        """,
    ),
    _rule(
        "own",
        r"""
        i (?P<key>live in|work (?:at|for|as|in)|prefer|am allergic to|was born (?:in|on)) (?P<value>
        .+)
        """,
    ),
    _rule("own", r"(?:i'm|im) (?P<key>allergic to|vegan|vegetarian)(?P<value>.*)"),
]

# Everything else; only tried on short utterances.
SMALL = [
    _rule(
        "yes",
        r"""
        (?:yes|yeah|yep|yup|sure|go ahead|do it|do that|please do|of course|absolutely|
        that would be (?:great|nice|good)|sounds good|correct)
        (?:,? (?:please|do|do it|do that|go ahead|thanks|thank you|sure|ok|okay|that))*$
        """,
    ),
    _rule(
        "no",
        r"""
        (?:no|nope|nah|not now|don't|no need|not really)
        (?:,? (?:thanks|thank you|that's fine|it's fine|leave it|never ?mind|don't))*$
        """,
    ),
    _rule(
        "goodbye",
        r"""
        (?:(?:thanks|thank you)(?: a lot| so much| very much)?,? )?(?:(?:good ?)?bye(?: bye)?|
        see (?:you|ya)|so long|talk (?:to you )?(?:later|soon)|farewell|good ?night|
        have a (?:good|nice|great) (?:day|evening|night|weekend|one)|hang up|end the call|
        i have to go|i've got to go|gotta go|catch you later|take care|cya|later)
        (?: now| then| later| soon| for now| tomorrow| around)*(?:,? [\w'-]{1,20})?$
        """,
    ),
    _rule(
        "thanks",
        r"""
        (?:thanks|thank you|thx|cheers|much appreciated|i appreciate (?:it|that)|great job|
        good job|done|nice work|perfect|great|that'?s (?:great|perfect|helpful|all|nice))
        (?: a lot| very much| so much| then| again)*(?: for .{1,60})?(?:,? [\w'-]{1,20})?$
        """,
    ),
    _rule("pleased", r"(?:it's )?(?:very )?(?:nice|pleased|good|great|glad) to meet you(?: too)?$"),
    _rule("maybe_name", r"(?:i'm|i am|im|it's) (?P<value>[^\W\d_][\w'-]{0,30})$"),
    _rule(
        "wellbeing",
        r"""
        (?:how (?:are|r) (?:you|u|things)|how'?s it going|how do you do|how have you been|
        what'?s up|sup|are you (?:ok|okay|well|alright)|you (?:ok|alright))
        (?: doing| going| today| there)*$
        """,
    ),
    _rule(
        "hear",
        r"""
        (?:(?:are )?you (?:still )?there|hear me|is (?:anybody|anyone|someone) there|
        test(?:ing)?(?: one two.*| 1 2.*)?|ping|can you hear me)(?: now| ok| okay)?$
        """,
    ),
    _rule(
        "is_ai",
        r"""
        (?:so )?(?:are|r) (?:you|u) (?:really )?(?:an? |just an? )?(?:real|human|ai|a\.i\.|
        person|bot|robot|machine|computer|chat ?gpt|gpt|language model|llm|artificial)\b.{0,40}$
        """,
    ),
    _rule(
        "is_ai",
        r"""
        (?:am i (?:talking|speaking) (?:to|with)|is this) (?:an? )?(?:real|human|ai|person|bot|
        robot|machine|computer|recording)\b.{0,40}$
        """,
    ),
    _rule("which_model", r"(?:what|which) (?:language )?(?:model|llm|ai)\b.{0,40}$"),
    _rule(
        "help",
        r"""
        (?:help(?: me)?|i need (?:some |your )?help|what (?:all )?(?:can|could) (?:you|
        i)(?: do| ask| say)?\b.{0,30}|
        what are (?:you|your) (?:able|capab).{0,30}|how (?:do|can) (?:i use|you help|
        does) .{0,20}|how does this work|how can you help|what (?:commands|things) .{0,40}|
        options|menu)$
        """,
    ),
    _rule(
        "identity",
        r"""
        (?:who (?:are|r) (?:you|u)|who you are|who'?s this|who is this|who am i (?:talking|
        speaking) (?:to|with)|what (?:are you|is your name|'?s your name)|what'?s your name|
        your name|what (?:do|is it) you do|what'?s your (?:job|role|title)|what is your (?:job|
        role|title)|introduce yourself|(?:about|describe) yourself|something about yourself|
        what do you do)(?: exactly| again| here| then| for a living)*$
        """,
    ),
    _rule(
        "caller",
        r"""
        (?:who am i|who i am|do you (?:know|remember|recogni[sz]e) me|(?:do you )?remember (?:me|
        who i am)|who'?s calling|who is calling|what(?:'?s| is) my (?:caller id|number|
        phone number)|recogni[sz]e me|which number am i calling from)$
        """,
    ),
    _rule(
        "transfer",
        r"""
        (?:transfer|connect|put|patch)(?: me)? (?:through |over )?(?:to|with) {who}.{0,40}$
        """,
    ),
    _rule(
        "transfer",
        r"""
        (?:(?:speak|talk) (?:to|with)|(?:get|give|hand) me(?: over)?(?: to)?) (?P<who>(?!you\b|
        me\b)[\w.'-]{1,40}).{0,20}$
        """,
    ),
    _rule(
        "time",
        r"""
        (?:(?:what(?:'?s| is)?|check|show me|give me) )?(?:the )?(?:current |local )?(?:time|
        date|day|clock)(?: of day)?(?: it is| is it|(?: and (?:the )?date)| is)?{aside}(?: (?:in|
        at|for|over in) (?P<place>.{1,60}))?{aside}$
        """,
    ),
    _rule(
        "time",
        r"""
        (?:what|which) (?:day|date|month|year|time zone|timezone)(?: of the week)?
        (?: is it| it is| is today| are we in)?{aside}(?: (?:in|at|for) (?P<place>.{1,60}))?$
        """,
    ),
    _rule(
        "time",
        r"(?:(?:do you have|have you got|got) the time|how late is it|what hour is it){aside}$",
    ),
    _rule(
        "journal_read",
        r"""
        (?:what (?:have|did|has|were) (?P<who>[\w'-]{1,40}) (?:been )?(?:do|doing|done|up to|
        get up to)|what'?s (?P<who2>[\w'-]{1,40}) been (?:doing|up to)|
        (?:read|show)(?: me)? (?:your|the|(?P<who3>[\w-]{1,40})'s) (?:journal|diary)|
        how (?:was|is|has) your (?:day|week)(?: been)?|what'?s in your (?:journal|
        diary))(?P<when>(?:\b.{0,40})?)$
        """,
    ),
    _rule(
        "inspect",
        r"""
        (?:inspect|show|details? (?:of|on|about))(?: me)?(?: the)? process (?P<id>[\w.:-]{1,80})$
        """,
    ),
    _rule(
        "status",
        r"""
        (?:how(?:'?s| is| are) (?:the )?(?:hub|system|server|everything|things)
        (?: doing| running| going)?|(?:what(?:'?s| is)|who(?:'?s| is)) (?:currently )?
        (?:running|active|going on)|(?:list|show)(?: me)?(?: all)?(?: the)?
        (?: running| active)? process(?:es)?|who (?:else )?is (?:else )?(?:here|around|online)|
        who'?s (?:else )?(?:here|around|online)|who else is (?:here|around|online|running)|
        (?:hub|system) status|status(?: report)?|(?:which|what) process(?:es)? (?:are|
        is) .{0,20}|(?:the )?status of the hub){aside}$
        """,
    ),
    _rule(
        "team",
        r"""
        (?:who(?:'?s| is| are|s)?(?: all)?(?: else)? (?:on|in|part of) (?:the|your) team|
        who works (?:here|with you|there)|(?:the|your) team|who are (?:your|the) (?:colleagues|
        team(?: ?mates)?|others|personas|people)|who (?:else )?(?:can|could) i (?:talk|speak) (?:to|
        with)|(?:list|show)(?: me)? (?:the )?(?:team|personas|people|colleagues|roster)|
        (?:about )?(?:your|the) (?:colleagues|team|personas)|(?:introduce|meet) (?:me to )?
        (?:the|your) team){aside}$
        """,
    ),
    _rule(
        "who_is",
        r"""
        (?:who(?:'?s| is)|about|what does|what is) (?P<who>[\w-]{1,40})(?:'s (?:job|role|title|
        focus))?(?: do| doing| responsible for| good at| here)*$
        """,
    ),
    _rule(
        "news",
        r"""
        (?:(?:is there |have you got |got |do you have )?any(?:thing)? (?:new|news|interesting|
        updates?)|what'?s (?:new|the latest|the news|happening)|what is (?:new|the latest|
        the news|happening)|(?:the )?(?:latest|news|updates?|knowledge feed)|catch me up|
        what did i miss)(?: (?:news|updates?|today|for me|lately|going on|here|on the team|with you|
        with the team|in the world|this week|feed))*$
        """,
    ),
    _rule(
        "knowledge",
        r"""
        what (?:do|does) (?:you|we|the team|the hub) know about (?P<query>(?!me\b|myself\b|
        you\b).{1,120})$
        """,
    ),
    _rule(
        "knowledge",
        r"""
        (?:check|search|look in|query) (?:the )?knowledge(?: ?base)?
        (?: for| about)? (?P<query>.{1,120})$
        """,
    ),
    _rule(
        "recall_all",
        r"""
        (?:what (?:do|can) you (?:know|remember)(?: about)? (?:me|myself)|what (?:have|did) (?:i|
        you) (?:told|tell|learned?)(?: you)?(?: about me)?|what do you remember|
        everything you know about me|what you know about me)(?: so far| yet)?$
        """,
    ),
    _rule(
        "recall",
        r"""
        (?:what|who|where|when|which)(?:'?s| is| are| was| were)? (?P<query>my .{1,100})$
        """,
    ),
    _rule("recall", r"(?P<query>my (?:name|[\w' -]{1,40} name))$"),
    _rule(
        "recall",
        r"""
        (?P<query>(?:(?:where|when|who|which)\b.{0,60}\b(?:do|am|did|was|have) i\b|
        what\b.{0,60}\bdo i (?:like|prefer|love|hate|want|drink|eat|drive|work|study)\b).{0,60})$
        """,
    ),
    _rule("said_before", r"what did i (?:just )?(?:say|ask)(?: you)?(?: just now| before| last)?$"),
    _rule("recall", r"what did i (?:say|tell you)(?: about)? (?P<query>.{1,100})$"),
    _rule(
        "contact",
        r"""
        (?:(?:find|look up|search|show)(?: me)? (?:the )?contacts?(?: for| of)? |(?:what
        (?:'?s| is) )?(?:the )?(?:phone )?number (?:of|for) )(?P<query>.{1,60})$
        """,
    ),
    _rule(
        "contact",
        r"""
        what(?:'?s| is) (?P<query>[\w. -]{1,60}?)'s (?:phone )?(?:number|contact)\b.{0,20}$
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
