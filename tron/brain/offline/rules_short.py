"""Patterns of short requests that need no text of the person's; see rules.py for their form."""

from tron.brain.offline.rules import Rule

# Everything else; only tried on short utterances.
SMALL = [
    Rule(
        "yes",
        r"""
        (?:yes|yeah|yep|yup|sure|go ahead|do it|do that|please do|of course|absolutely|
        that would be (?:great|nice|good)|sounds good|correct)
        (?:,? (?:please|do|do it|do that|go ahead|thanks|thank you|sure|ok|okay|that))*$
        """,
    ),
    Rule(
        "no",
        r"""
        (?:no|nope|nah|not now|don't|no need|not really)
        (?:,? (?:thanks|thank you|that's fine|it's fine|leave it|never ?mind|don't))*$
        """,
    ),
    Rule(
        "goodbye",
        r"""
        (?:(?:(?:great|cool|perfect|okay|ok),? )?(?:thanks|thank you)(?: a lot| so much|
         very much)?,? )?
        (?:(?:good ?)?bye(?: bye)?|
        see (?:you|ya)|so long|talk (?:to you )?(?:later|soon)|farewell|good ?night|
        have a (?:good|nice|great) (?:day|evening|night|weekend|one)|hang up|end the call|
        i have to go|i've got to go|gotta go|catch you later|take care|cya|later)
        (?: now| then| later| soon| for now| tomorrow| around)*(?:,? [\w'-]{1,20})?$
        """,
    ),
    Rule(
        "thanks",
        r"""
        (?:thanks|thank you|thx|cheers|much appreciated|i appreciate (?:it|that)|great job|
        good job|done|nice work|perfect|great|that'?s (?:great|perfect|helpful|all|nice))
        (?: a lot| very much| so much| then| again)*(?: for .{1,60})?(?:,? [\w'-]{1,20})?$
        """,
    ),
    Rule("pleased", r"(?:it's )?(?:very )?(?:nice|pleased|good|great|glad) to meet you(?: too)?$"),
    Rule("maybe_name", r"(?:i'm|i am|im|it's) (?P<value>[^\W\d_][\w'-]{0,30})$"),
    Rule(
        "wellbeing",
        r"""
        (?:how (?:are|r) (?:you|u|things)|how'?s it going|how do you do|how have you been|
        what'?s up|sup|are you (?:ok|okay|well|alright)|you (?:ok|alright))
        (?: doing| going| today| there)*$
        """,
    ),
    Rule(
        "hear",
        r"""
        (?:(?:are )?you (?:still )?there|hear me|is (?:anybody|anyone|someone) there|
        test(?:ing)?(?: one two.*| 1 2.*)?|ping|can you hear me)(?: now| ok| okay)?$
        """,
    ),
    Rule(
        "is_ai",
        r"""
        (?:so )?(?:are|r) (?:you|u) (?:really )?(?:an? |just an? )?(?:real|human|ai|a\.i\.|
        person|bot|robot|machine|computer|chat ?gpt|gpt|language model|llm|artificial)\b.{0,40}$
        """,
    ),
    Rule(
        "is_ai",
        r"""
        (?:am i (?:talking|speaking) (?:to|with)|is this) (?:an? )?(?:real|human|ai|person|bot|
        robot|machine|computer|recording)\b.{0,40}$
        """,
    ),
    Rule("which_model", r"(?:what|which) (?:language )?(?:model|llm|ai)\b.{0,40}$"),
    Rule(
        "help",
        r"""
        (?:help(?: me)?|i need (?:some |your )?help|what (?:all )?(?:can|could) (?:you|
        i)(?: (?:all |actually |really |even )?(?:do|ask|say|help)\b.{0,30})?|
what should i (?:ask|say|do)\b.{0,30}|
        what are (?:you|your) (?:able|capab).{0,30}|how (?:do|can) (?:i use|you help|
        does) .{0,20}|how does this work|how can you help|what (?:commands|things) .{0,40}|
        options|menu)$
        """,
    ),
    Rule(
        "identity",
        r"""
        (?:who (?:are|r) (?:you|u)|who you are|who'?s this|who is this|who am i (?:talking|
        speaking) (?:to|with)|what (?:are you|is your name|'?s your name)|what'?s your name|
        your name|what (?:do|is it) you do|what'?s your (?:job|role|title)|what is your (?:job|
        role|title)|introduce yourself|(?:about|describe) yourself|something about yourself|
        what do you do)(?: exactly| again| here| then| for a living)*$
        """,
    ),
    Rule(
        "caller",
        r"""
        (?:who am i|who i am|do you (?:know|remember|recogni[sz]e) me|(?:do you )?remember (?:me|
        who i am)|who'?s calling|who is calling|what(?:'?s| is) my (?:caller id|number|
        phone number)|recogni[sz]e me|which number am i calling from)$
        """,
    ),
    Rule(
        "transfer",
        r"""
        (?:transfer|connect|put|patch)(?: me)? (?:through |over )?(?:to|with) {who}.{0,40}$
        """,
    ),
    Rule(
        "transfer",
        r"""
        (?:(?:speak|talk) (?:to|with)|(?:get|give|hand) me(?: over)?(?: to)?) (?P<who>(?!you\b|
        me\b)[\w.'-]{1,40}).{0,20}$
        """,
    ),
    Rule(
        "time",
        r"""
        (?:(?:what(?:'?s| is)?|check|show me|give me) )?(?:the )?(?:current |local )?(?:time|
        date|day|clock)(?: of day)?(?: it is| is it|(?: and (?:the )?date)| is)?{aside}(?: (?:in|
        at|for|over in) (?P<place>.{1,60}))?{aside}$
        """,
    ),
    Rule(
        "time",
        r"""
        (?:what|which) (?:day|date|month|year|time zone|timezone)(?: of the week)?
        (?: is it| it is| is today| are we in)?{aside}(?: (?:in|at|for) (?P<place>.{1,60}))?$
        """,
    ),
    Rule(
        "time",
        r"(?:(?:do you have|have you got|got) the time|how late is it|what hour is it){aside}$",
    ),
    Rule(
        "journal_read",
        r"""
        (?:what (?:have|did|has|were) (?P<who>[\w'-]{1,40}) (?:been )?(?:do|doing|done|up to|
        get up to)|what'?s (?P<who2>[\w'-]{1,40}) been (?:doing|up to)|
        (?:read|show)(?: me)? (?:your|the|(?P<who3>[\w-]{1,40})'s) (?:journal|diary)|
        how (?:was|is|has) your (?:day|week)(?: been)?|what'?s in your (?:journal|
        diary))(?P<when>(?:\b.{0,40})?)$
        """,
    ),
    Rule(
        "inspect",
        r"""
        (?:inspect|show|details? (?:of|on|about))(?: me)?(?: the)? process (?P<id>[\w.:-]{1,80})$
        """,
    ),
    Rule(
        "tasks",
        r"""
        (?:(?:(?:list|show)(?: me)?|what are|check) )?(?:all )?(?:of )?(?:my|the|your|our) tasks|
        (?:what|which) tasks (?:are there|are running|do (?:i|you|we) have){aside}$
        """,
    ),
    Rule(
        "task_status",
        r"""
        (?:how(?:'?s| is| far is| did)|what(?:'?s| is| happened to| became of)|check(?: on)?)
        (?: the (?:status|result|state) of)? (?:my|the|that|this)(?: last| latest)? task
        (?: (?:number|about|to|with) (?P<query>.{1,80}?))?(?: going| doing| go| done)?{aside}$
        """,
    ),
    Rule(
        "task_pause",
        r"""
        (?:pause|hold|halt) (?:(?:my|the|that|this)(?: last| latest)? )?task
        (?: (?:number |about |to |with )?(?P<query>.{1,80}))?$
        """,
    ),
    Rule(
        "task_resume",
        r"""
        (?:resume|continue|unpause|go on with|begin) (?:(?:my|the|that|this)(?: last| latest)? )?
        task(?: (?:number |about |to |with )?(?P<query>.{1,80}))?$
        """,
    ),
    Rule(
        "task_cancel",
        r"""
        (?:cancel|stop|abort|end|drop) (?:(?:my|the|that|this)(?: last| latest)? )?task
        (?: (?:number |about |to |with )?(?P<query>.{1,80}))?$
        """,
    ),
    Rule(
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
    Rule(
        "team",
        r"""
        (?:who(?:'?s| is| are|s)?(?: all)?(?: else)? (?:on|in|part of) (?:the|your) team|
        how many (?:people|personas|colleagues|of you)\b.{0,40}|who (?:else )?(?:works|lives|
        is there) (?:here|with you|there|in (?:this|the) hub)|
        who (?:else )?is there|(?:the|your) team|who are (?:your|the) (?:colleagues|
        team(?: ?mates)?|others|personas|people)|who (?:else )?(?:can|could) i (?:talk|speak) (?:to|
        with)|(?:list|show)(?: me)? (?:the )?(?:team|personas|people|colleagues|roster)|
        (?:about )?(?:your|the) (?:colleagues|team|personas)|(?:introduce|meet) (?:me to )?
        (?:the|your) team){aside}$
        """,
    ),
    Rule(
        "who_is",
        r"""
        (?:who(?:'?s| is)|about|what does|what is) (?P<who>[\w-]{1,40})(?:'s (?:job|role|title|
        focus))?(?: do| doing| responsible for| good at| here)*$
        """,
    ),
    Rule(
        "about",
        r"""
        (?:about|what(?:'?s| is| are)(?= our )|what can you (?:tell|say)(?: me|
         us)? about) (?P<query>(?!me\b|myself\b|you\b|
        your\b|yourself\b|tron\b|this\b|it\b|the hub\b|that\b).{1,120})$
        """,
    ),
    Rule(
        "news",
        r"""
        (?:(?:is there |have you got |got |do you have )?any(?:thing)? (?:new|news|interesting|
        updates?)|what'?s (?:new|the latest|the news|happening)|what is (?:new|the latest|
        the news|happening)|(?:the )?(?:latest|news|updates?|knowledge feed)|catch me up|
        what did i miss)(?: (?:news|updates?|today|for me|lately|going on|here|on the team|with you|
        with the team|in the world|this week|feed))*$
        """,
    ),
    Rule(
        "knowledge",
        r"""
        what (?:do|does) (?:you|we|the team|the hub) know about (?P<query>(?!me\b|myself\b|
        you\b).{1,120})$
        """,
    ),
    Rule(
        "knowledge",
        r"""
        (?:check|search|look in|query) (?:the )?knowledge(?: ?base)?
        (?: for| about)? (?P<query>.{1,120})$
        """,
    ),
    Rule(
        "recall_all",
        r"""
        (?:what (?:do|can) you (?:know|remember)(?: about)? (?:me|myself)|what (?:have|did) (?:i|
        you) (?:told|tell|learned?)(?: you)?(?: about me)?|what do you remember|
        everything you know about me|what you know about me)(?: so far| yet)?$
        """,
    ),
    Rule(
        "recall",
        r"""
        (?:what|who|where|when|which)(?:'?s| is| are| was| were)? (?P<query>my .{1,100})$
        """,
    ),
    Rule("recall", r"(?P<query>my (?:name|[\w' -]{1,40} name))$"),
    Rule(
        "recall",
        r"""
        (?P<query>who (?:likes|loves|hates|drinks|eats|has|owns|knows|wants)\b.{1,60}|
        (?:when|where)(?:'?s| is| are| was| were) (?:the|our|my) .{1,80}|
        (?:(?:where|when|who|which)\b.{0,60}\b(?:do|am|did|was|have) i\b|
        what\b.{0,60}\bdo i (?:like|prefer|love|hate|want|drink|eat|drive|work|study)\b|
        (?:what (?:else )?)?am i (?:also )?allergic\b).{0,60})$
        """,
    ),
    Rule(
        "reminders",
        r"""
        (?:what (?:did i ask you to remind me|should you remind me|are my reminders|reminders)|
        my reminders|(?:list|show)(?: me)? my reminders)\b.{0,30}$
        """,
    ),
    Rule("said_before", r"what did i (?:just )?(?:say|ask)(?: you)?(?: just now| before| last)?$"),
    Rule("recall", r"what did i (?:say|tell you)(?: about)? (?P<query>.{1,100})$"),
    Rule(
        "contact",
        r"""
        (?:(?:find|look up|search|show)(?: me)? (?:the )?contacts?(?: for| of)? |(?:what
        (?:'?s| is) )?(?:the )?(?:phone )?number (?:of|for) )(?P<query>.{1,60})$
        """,
    ),
    Rule(
        "contact",
        r"""
        what(?:'?s| is) (?P<query>[\w. -]{1,60}?)'s (?:phone )?(?:number|contact)\b.{0,20}$
        """,
    ),
]
