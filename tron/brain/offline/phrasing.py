"""What the offline brain says in its own words: small talk, what it is, and what it can't do.

Nothing here states a fact it was not given. Tool results are put into words by results.py.
"""

from tron.brain.offline.intents import Intent
from tron.brain.offline.reading import Turn
from tron.brain.offline.voices import areas, lines, listed, name_of, title_of
from tron.brain.offline.words import content_words, sentence, subject, to_second_person

OFFER_MESSAGE = "Shall I leave {name} a message about it?"
OFFER_ASK = "Shall I put it to {name}?"
OFFER_REMEMBER = "Shall I remember it?"

_MISSING = {
    "remember": "keep a memory",
    "recall": "look into my memory",
    "forget": "change my memory",
    "share_knowledge": "share that with the team",
    "query_knowledge": "search the team's knowledge",
    "knowledge_feed": "read the team's news",
    "who_is_calling": "see who is calling",
    "find_contact": "look up contacts",
    "save_contact": "save contacts",
    "current_time": "look at a clock",
    "write_journal": "write in my journal",
    "read_journal": "read the journal",
    "take_message": "take messages",
    "list_processes": "see what is running",
    "inspect_process": "look into a process",
    "web_search": "search the web",
    "ask_persona": "ask a colleague",
    "delegate_task": "hand work to a colleague",
    "transfer_call": "transfer you",
}

_ABILITIES = (
    ("current_time", "tell the time anywhere"),
    ("remember", "remember what you tell me"),
    ("recall", "look up what you told me"),
    ("take_message", "take a message"),
    ("ask_persona", "ask a colleague"),
    ("delegate_task", "hand a task to a colleague"),
    ("knowledge_feed", "read you what's new"),
    ("read_journal", "say what I did today"),
    ("find_contact", "look up a contact"),
    ("list_processes", "say what is running"),
    ("web_search", "search the web"),
    ("transfer_call", "transfer you"),
)


def unavailable(tool: str) -> str:
    """A tool that would have served is not offered."""
    return f"I can't {_MISSING.get(tool, 'do that')} here: that isn't among my tools right now."


def no_model(turn: Turn) -> str:
    """Why the answers are as plain as they are, and what would change that; brief when repeated."""
    if _explained(turn):
        return "As I said, no language model, just fixed rules."
    if turn.model_configured:
        return "My language model can't be reached at the moment, so I work by fixed rules."
    return (
        "No language model is connected to this hub, so I work by fixed rules "
        "(setting OPENAI_API_KEY or OPENAI_BASE_URL would change that)."
    )


def answer(turn: Turn, intent: Intent) -> str:
    """The answer to an intent that takes no tool, or none that would help."""
    match intent.name:
        case "greeting":
            return _greeting(turn)
        case "wellbeing" | "thanks" | "goodbye":
            return turn.pick(lines(turn.speaker, intent.name))
        case "identity":
            return _identity(turn)
        case "is_ai":
            return f"I'm an AI, not a person. {_who(turn)} {no_model(turn)}"
        case "which_model":
            return f"None right now. {no_model(turn)}"
        case "help":
            return f"I can {listed(abilities(turn), 'or')}. {no_model(turn)}"
        case "team":
            return _team(turn)
        case "who_is":
            return _colleague(turn, intent.slots["who"])
        case "sum":
            return f"{sentence(intent.slots['text']).rstrip('.?!')} = {intent.slots['value']}."
        case "pleased":
            return f"Nice to meet you too. {_who(turn)}"
        case "maybe_name":
            name = intent.slots["value"]
            return f"If that's your name, say “my name is {name}” and I'll use it."
        case "said_before":
            said = turn.before[0]
            return f"You said: “{said[:500]}”" if said else "Nothing before this, that I can see."
        case "hear":
            return "Yes, I'm here. Go ahead."
        case "yes":
            return turn.pick(("All right. What next?", "Good. Anything else?", "Right."))
        case "no" | "never_mind":
            return turn.pick(("All right.", "No problem.", "Fine, leaving it."))
        case "forget_all":
            return "I only forget one thing at a time. Name what I should forget."
        case "message_to":
            return f"What should I tell {turn.called(intent.slots['who'])}? Say it like this: " + (
                f"“tell {turn.called(intent.slots['who'])} that …”."
            )
        case "nothing":
            return turn.pick(("I didn't catch anything.", "That came through empty."))
    return fallback(turn, intent)


def without_tool(turn: Turn, intent: Intent, tool: str) -> str:
    """The person wanted what `tool` does, and it is not offered."""
    if intent.name == "goodbye":
        return turn.pick(lines(turn.speaker, "goodbye"))
    if tool == "remember":
        hello = f"Nice to meet you, {intent.slots['value']}. " if intent.name == "told_name" else ""
        return f"{hello}I'll have it for as long as we talk, but I can't keep a memory here."
    if tool in ("recall", "who_is_calling"):
        return told_before(turn) or (
            f"{unavailable(tool)} And I don't see it in this conversation."
        )
    return unavailable(tool)


def not_possible(turn: Turn, intent: Intent) -> str | None:
    """A request that was understood but lacks something; None if that is not the trouble."""
    match intent.name:
        case "time" if "place" in intent.slots:
            return (
                f"I don't know which time zone “{intent.slots['place']}” is in. "
                "Name a larger city, or a zone such as Europe/Paris."
            )
        case "ask" | "delegate":
            return f"That's me, you are talking to {name_of(turn.speaker)} already. Go ahead."
        case "contact_save":
            return "I need a name and a number, for example “save contact Bob +1 415 555 0100”."
    return None


def told_before(turn: Turn) -> str:
    """What the person said earlier in this conversation that answers the question; "" if nothing.

    The caller's own words, so they are given back as such.
    """
    if turn.intent.name == "recall_all":
        facts = [to_second_person(fact.slots["text"]) for fact in turn.told[:8]]
        return f"In this conversation you told me: {'; '.join(facts)}." if facts else ""
    wanted = set(content_words(turn.intent.slots.get("query", "")))
    if turn.intent.name == "caller":
        wanted = {"name"}
    best, best_hits = "", 0
    for fact in turn.told:
        words = set(content_words(fact.slots["text"])) | set(fact.slots.get("key", "").split())
        if len(words & wanted) > best_hits:
            best, best_hits = to_second_person(fact.slots["text"]), len(words & wanted)
    return f"You told me earlier: {best.rstrip('.')}." if best else ""


def fallback(turn: Turn, intent: Intent) -> str:
    """Not understood: say so, say why, and offer what would really help."""
    text = intent.slots.get("text", "")
    about = subject(text)
    if _explained(turn):
        honest = turn.pick(
            (
                "That still takes a language model, which I don't have right now.",
                "That one is beyond my fixed rules, I'm afraid.",
                "I can't think that through without a language model.",
                "I'd only be guessing, so I won't.",
            )
        )
    else:
        kind = "answer that" if intent.name == "question" else "do much with that"
        honest = f"I can't {kind}. {no_model(turn)}"
    caught = ""
    if about:
        caught = turn.pick(
            (
                f"I caught “{about}”.",
                f"“{about}” is what I can make out.",
                f"I did hear “{about}”.",
            )
        )
    return " ".join(part for part in (honest, caught, _offer(turn, text)) if part)


def _offer(turn: Turn, text: str) -> str:
    """The most useful thing that can really be done with `text`."""
    if (named := _named_in(turn, text)) and turn.has("take_message"):
        return OFFER_MESSAGE.format(name=turn.called(named))
    colleague = _whose_field(turn, text)
    if colleague and turn.has("take_message"):
        name = turn.called(colleague)
        return f"That sounds like {name}'s field. {OFFER_MESSAGE.format(name=name)}"
    if colleague and turn.has("ask_persona"):
        name = turn.called(colleague)
        return f"That sounds like {name}'s field. {OFFER_ASK.format(name=name)}"
    offers = ["Ask “what can you do” to hear what works."]
    if turn.intent.name == "unknown" and text.count(" ") > 2 and turn.has("remember"):
        offers = [OFFER_REMEMBER]
    elif subject(text) and turn.has("query_knowledge"):
        offers.append(f"I can look it up: “what do you know about {subject(text)}”.")
    if turn.has("take_message"):
        offers.append(f"I can take a message: “tell {_somebody(turn)} that …”.")
    return turn.pick(tuple(offers))


def _explained(turn: Turn) -> bool:
    """Whether it was already said in this conversation that there is no model."""
    return any(m.role == "assistant" and "language model" in m.content for m in turn.ask.messages)


def _greeting(turn: Turn) -> str:
    if turn.number > 1:
        return turn.pick(lines(turn.speaker, "greeting_again"))
    hint = "No language model is connected, so ask “what can you do” to hear what works."
    if turn.model_configured:
        hint = "My language model can't be reached right now, so I can only do simple things."
    return f"{turn.pick(lines(turn.speaker, 'greeting'))} {hint}"


def _somebody(turn: Turn) -> str:
    others = [name_of(p) for p in turn.colleagues if p.id != turn.ask.agent]
    return turn.pick(tuple(others)) if others else "Alex"


def _named_in(turn: Turn, text: str) -> str | None:
    """The first colleague that `text` names."""
    spoken = (turn.known.names.get(word) for word in content_words(text[:2_000]))
    return next((who for who in spoken if who and who != turn.ask.agent), None)


def _whose_field(turn: Turn, text: str) -> str | None:
    """The colleague whose focus the text touches most, if any."""
    said = {_stem(word) for word in content_words(text[:2_000])}
    best, best_hits = None, 0
    for persona in turn.colleagues:
        field = {_stem(word) for area in areas(persona.focus) for word in content_words(area)}
        hits = len(field & said)
        if hits > best_hits:
            best, best_hits = persona.id, hits
    return None if best == turn.ask.agent else best


def _stem(word: str) -> str:
    """Singular and plural alike."""
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def abilities(turn: Turn) -> list[str]:
    """What can really be done in this turn."""
    found = [words for tool, words in _ABILITIES if turn.has(tool)]
    return [*found, "do simple sums", "tell you who is on the team"]


def _who(turn: Turn) -> str:
    title = title_of(turn.speaker)
    if turn.speaker is None:
        return "I'm one of the voices of this hub."
    return f"I'm {name_of(turn.speaker)}{f', the {title}' if title else ''}."


def _identity(turn: Turn) -> str:
    focus = areas(turn.speaker.focus) if turn.speaker else []
    cares = f" I look after {listed(focus[:4])}." if focus else ""
    return f"{_who(turn)}{cares} I'm an AI persona. {no_model(turn)}"


def _colleague(turn: Turn, who: str) -> str:
    persona = next(p for p in turn.colleagues if p.id == who)
    if persona.id == turn.ask.agent:
        return _identity(turn)
    focus = areas(persona.focus)
    cares = f" and looks after {listed(focus[:4])}" if focus else ""
    role = f"our {title_of(persona)}" if title_of(persona) else "a colleague"
    return f"{name_of(persona)} is {role}{cares}."


def _team(turn: Turn) -> str:
    others = [
        f"{name_of(p)}, {title_of(p)}" if title_of(p) else name_of(p)
        for p in turn.colleagues
        if p.id != turn.ask.agent
    ]
    if not others:
        return "I see nobody else on the team right now."
    return f"Besides me: {'; '.join(others)}."
