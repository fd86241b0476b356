"""Patterns of small talk, of questions about the hub, and of what this brain can never do.

Tried last, on short utterances only; see rules.py for their form.
"""

from tron.brain.offline.rules import Rule

CHAT = [
    Rule(
        "danger",
        r"""
        (?:(?:i(?:'m| am)? (?:going to|gonna|wanna) )?(?:die|kill myself|hurt myself|
        end (?:it all|my life))|i(?:'m| am) suicidal|i don'?t want to live)\b.{0,60}$
        """,
    ),
    Rule(
        "human",
        r"""
        (?:(?:speak|talk|transfer me|connect me|put me through)(?: to| with)? )
        (?:an? |some ?)?(?:real |live |actual )?(?:human|person|body|one|operator|agent)\b.{0,20}$
        """,
    ),
    Rule(
        "english",
        r"""
        (?:(?:what|which|how many) languages? .{0,30}|
        (?:do you |you |can you )?(?:speak|understand) (?:
        german|french|spanish|italian|portuguese|dutch|russian|chinese|japanese|polish|english|
        arabic|hindi|turkish|korean|swedish|other languages))$
        """,
    ),
    Rule(
        "joke",
        r"""
        (?:(?:say|make|crack|got|do you (?:know|have)|know|give me|another|i need)? ?(?:me )?
        (?:a|any|another|some|one more)? ?(?:good |funny )?(?:jokes?|something funny)|
        make me laugh)(?: about .{1,40})?$
        """,
    ),
    Rule("why", r"(?:(?:but )?why(?: not| is that| so)?|how come|why (?:can't|won't) you.{0,40})$"),
    Rule(
        "sure",
        r"""
        (?:are you (?:sure|certain|serious)|really|is that (?:true|right|so)|seriously|
        how do you know(?: that)?)$
        """,
    ),
    Rule(
        "again",
        r"""
        (?:(?:can you )?(?:repeat|say) (?:that|it|this)(?: again)?|repeat|pardon(?: me)?|come again|
        what did you (?:just )?say|i didn'?t (?:hear|catch|get) (?:that|you)|once more|say again|
        what)$
        """,
    ),
    Rule("laugh", r"(?:lol|rofl|lmao|(?:ha){2,8}h?|(?:he){2,8}|that(?:'s| is| was) funny|funny)$"),
    Rule(
        "cool",
        r"""
        (?:(?:that(?:'s| is) )?(?:cool|nice|awesome|amazing|wow|interesting|good|fine|lovely|super|
        excellent|brilliant|neat)|i see|got it|understood|makes sense|fair enough|good to know|
        good one)$
        """,
    ),
    Rule("sorry", r"(?:i'm |i am |im )?(?:so |very )?(?:sorry|apologies)(?: about that)?$"),
    Rule(
        "praise",
        r"""
        (?:i (?:really )?(?:love|like|adore) (?:you|it|this)|(?:you are|you're|ur|youre)
        (?: so| very| really| such)?(?: an?)? (?:great|good|funny|nice|smart|clever|awesome|amazing|
        the best|sweet|kind|cute|helpful|star|genius)|good (?:bot|boy|girl|robot)|well done)$
        """,
    ),
    Rule(
        "scold",
        r"""
        (?:(?:you are|you're|ur|youre|that(?:'s| is| was)|this is|it(?:'s| is))
        (?: so| very| really| just| such)?(?: an?)? (?:
        stupid|dumb|useless|bad|terrible|awful|wrong|not (?:helpful|good|true|right|what .{1,40})|
        unhelpful|idiot|rubbish|crap|boring|annoying|broken|disappointing|nonsense)|
        (?:fuck|screw) (?:you|off|this)|shut up|you (?:suck|know nothing|don'?t understand.{0,30}))$
        """,
    ),
    Rule(
        "sad",
        r"""
        (?:i'm|i am|im|i feel|i'm feeling|i am feeling)(?: so| very| really| a bit| quite)? (?:sad|
        tired|stressed|lonely|depressed|anxious|unhappy|exhausted|scared|overwhelmed|angry|
        upset|not (?:well|ok|okay|good|happy)|sick|ill|bored)(?: today| now)?$
        """,
    ),
    Rule(
        "glad",
        r"""
        (?:i'm|i am|im|i feel)(?: very| really| so| all| doing)? (?:fine|good|great|well|ok|okay|
        happy|alright)(?:,? (?:thanks|thank you))?(?:,? (?:and|how about|what about) you)?$
        """,
    ),
    Rule("where_you", r"where (?:are|do) you(?: live| from| now| located| based| come from| at)*$"),
    Rule(
        "age",
        r"(?:how old are you|what(?:'s| is) your age|when (?:were you born|is your birthday))$",
    ),
    Rule(
        "opinion",
        r"""
        (?:do you (?:like|love|hate|enjoy|believe|dream|sleep|eat|feel)\b.{0,60}|what(?:'?s|
         is) your (?:fav(?:ou?rite)|opinion).{0,60}|are you (?:happy|sad|conscious|alive|sentient|
        single|married|tired|bored|free|hungry|in love)\b.{0,20}|have you (?:got )?(?:a )?(?:family|
        feelings|friends).{0,20})$
        """,
    ),
    Rule("busy", r"(?:are you (?:busy|awake|asleep|working|ready|available)|am i disturbing you)$"),
    Rule(
        "tron",
        r"""
        (?:(?:what(?:'?s| is| exactly is)|explain|about|describe) (?:tron|this|this place|
        this (?:thing|hub|site|page|app|system)|the hub|a hub|tron exactly)(?: about| for)?|
        where am i|what is going on here|what does (?:tron|this|this hub) do)$
        """,
    ),
    Rule(
        "connect",
        r"""
        (?:(?:how (?:do|can|would|should|to)(?: i| we| you)?|where do i|help me(?: to)?|
        i want to) )?(?:connect|add|set ?up|set|use|enable|configure|plug in|hook up|give you|
        get|put|
        enter|attach|link)(?: you)? (?:to )?(?:(?:an?|the|my|your|another|some|better|real|own|
        local|language|open ?ai|gpt|ai) ){0,4}(?:model|llm|api[ -]?key|key|open ?ai|chat ?gpt|gpt|
        ollama|brain|claude)\b.{0,40}$
        """,
    ),
    Rule(
        "free",
        r"""
        (?:(?:is|are) (?:this|it|tron|you) (?:for )?free.{0,20}|(?:what|how much) (?:does|do)
        (?:this|it|tron|you) cost.{0,20}|do i (?:have to|need to) pay.{0,30}|
        how much is (?:this|it))$
        """,
    ),
    Rule(
        "privacy",
        r"""
        (?:where (?:is|are|does|do) (?:my|the|our|your) (?:data|memory|memories|messages|
        words).{0,30}|
        (?:is|are) (?:this|my|our|it) ?(?:data|conversation|chat|messages)?
        (?:private|secure|safe|confidential|recorded|stored)\b.{0,30}|(?:do|are|will) you
        (?:share|sell|record|store|keep|recording|storing|send)(?:ing)? .{0,40}|who can (?:see|read)
        .{0,40})$
        """,
    ),
    Rule(
        "maker",
        r"""
        who (?:made|built|created|wrote|programmed|trained|designed|owns|invented) (?:you|this|tron|
        it)$
        """,
    ),
    Rule(
        "no_call",
        r"""
        (?:(?:call|ring|phone|wake)(?: me)?(?: back| up)? (?:at|in|on|tomorrow|tonight|later|back|
        this|when|next|before|after)\b.{0,80}|(?:call|ring|wake) me(?: up| back)?|
        (?:set|start|create) (?:an? |the )?(?:timer|alarm|reminder|countdown)\b.{0,80}|
        remind me (?!.{0,60} to )(?:at|in|on|about|tomorrow|later)\b.{0,80})$
        """,
    ),
    Rule(
        "no_mail",
        r"""
        (?:(?:send|write)(?: (?!an?\b|the\b)[\w'-]{1,30})?(?: an?| the)? (?:e-?mail|
        text(?: message)?|
        sms|letter|fax|whatsapp|tweet|mail)\b.{0,100}|(?:e-?mail|text) [\w'-]{1,30}\b.{0,100}|
        check (?:my )?(?:e-?mail|mail|inbox).{0,30})$
        """,
    ),
    Rule(
        "no_calendar",
        r"""
        (?:book|schedule|arrange|set up|organi[sz]e|plan|reserve|order|buy)(?: me)?(?: an?| the| my|
        some)? (?:meeting|appointment|call|table|flight|room|hotel|taxi|ticket|lunch|dinner|pizza|
        demo|event|trip)s?\b.{0,100}$
        """,
    ),
    Rule(
        "no_calendar",
        r"""
        (?:what(?:'s| is) (?:on |in )?my (?:calendar|schedule|agenda)|
        do i have (?:any )?(?:meetings|
        appointments|plans))\b.{0,40}$
        """,
    ),
    Rule(
        "no_music",
        r"(?:play|sing|hum|whistle|turn (?:on|off)|switch (?:on|off)|open|start)\b.{1,80}$",
    ),
    Rule(
        "no_weather",
        r"""
        (?:(?:what(?:'?s| is)|how(?:'?s| is)) (?:the )?(?:weather|temperature|forecast)|
        (?:the )?weather|(?:is|will) it (?:going to )?(?:rain|raining|snow|snowing|sunny|cold|hot|
        warm))\b(?: like)?(?:.{0,40} in (?P<place>[\w' -]{1,40}?)|.{0,60}?)
        (?: today| tomorrow| now| right now)?$
        """,
    ),
]
"""tried after everything else"""
