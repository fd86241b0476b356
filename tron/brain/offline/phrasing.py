"""What the offline brain says in its own words: small talk, what it is, and what it can't do.

Nothing here states a fact it was not given. Tool results are put into words by results.py.
"""

from tron.brain.offline.chat import chat
from tron.brain.offline.fallback import fallback, no_model, rest
from tron.brain.offline.intents import Intent
from tron.brain.offline.reading import Turn
from tron.brain.offline.voices import areas, lines, listed, name_of, title_of
from tron.brain.offline.words import content_words, sentence, to_second_person

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
    ("transfer_call", "transfer you"),
)
_EXAMPLES = (
    ("current_time", "what time is it in Tokyo"),
    ("remember", "remember that my dog is called Rex"),
    ("take_message", "tell Maya that I'll be late"),
)


def unavailable(tool: str) -> str:
    """A tool that would have served is not offered."""
    if tool == "transfer_call":
        return "I can only transfer phone calls, and this isn't one."
    return f"I can't {_MISSING.get(tool, 'do that')} here: that isn't among my tools right now."


def explanation(turn: Turn) -> str:
    """The words that say why there is no model; "" if they were said before."""
    return "" if turn.explained else no_model(turn)


def answer(turn: Turn, intent: Intent, *, alone: bool) -> str:
    """The answer to an intent that takes no tool, or none that would help.

    `alone`: nothing else was asked for in the same message.
    """
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
            return _help(turn)
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
    small_talk = chat(turn, intent)
    if small_talk is not None:
        return small_talk
    return fallback(turn, intent) if alone else rest(turn, intent)


def without_tool(turn: Turn, intent: Intent, tool: str) -> str:
    """The person wanted what `tool` does, and it is not offered."""
    if intent.name == "goodbye":
        return turn.pick(lines(turn.speaker, "goodbye"))
    if tool == "remember":
        hello = f"Nice to meet you, {intent.slots['value']}. " if intent.name == "told_name" else ""
        return f"{hello}I'll have it for as long as we talk, but I can't keep a memory here."
    if tool in ("recall", "who_is_calling"):
        return told_before(turn, intent) or (
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


def told_before(turn: Turn, intent: Intent) -> str:
    """What the person said earlier in this conversation that answers the question; "" if nothing.

    The caller's own words, so they are given back as such.
    """
    if intent.name == "recall_all":
        facts = [to_second_person(fact.slots["text"]) for fact in turn.told[:8]]
        return f"In this conversation you told me: {'; '.join(facts)}." if facts else ""
    wanted = set(content_words(intent.slots.get("query", "")))
    if intent.name == "caller":
        wanted = {"name"}
    now = {to_second_person(found.slots.get("text", "")) for found in turn.intents}
    best, best_hits = "", 0
    for fact in turn.told:
        words = set(content_words(fact.slots["text"])) | set(fact.slots.get("key", "").split())
        if len(words & wanted) > best_hits:
            best, best_hits = to_second_person(fact.slots["text"]), len(words & wanted)
    when = " earlier" if best not in now else ""
    return f"You told me{when}: {best.rstrip('.')}." if best else ""


def _greeting(turn: Turn) -> str:
    if turn.number > 1:
        return turn.pick(lines(turn.speaker, "greeting_again"))
    hint = "No language model is connected, so ask “what can you do” to hear what works."
    if turn.model_configured:
        hint = "My language model can't be reached right now, so I can only do simple things."
    return f"{turn.pick(lines(turn.speaker, 'greeting'))} {hint}"


def abilities(turn: Turn) -> list[str]:
    """What can really be done in this turn."""
    found = [words for tool, words in _ABILITIES if turn.has(tool)]
    return [*found, "do simple sums", "tell you who is on the team"]


def _help(turn: Turn) -> str:
    examples = [f"“{words}”" for tool, words in _EXAMPLES if turn.has(tool)]
    such = f" For example: {', '.join(examples)}." if examples else ""
    return f"I can {listed(abilities(turn))}.{such} {explanation(turn)}".rstrip()


def _who(turn: Turn) -> str:
    title = title_of(turn.speaker)
    if turn.speaker is None:
        return "I'm one of the voices of this hub."
    return f"I'm {name_of(turn.speaker)}{f', the {title}' if title else ''}."


def _identity(turn: Turn) -> str:
    focus = areas(turn.speaker.focus) if turn.speaker else []
    cares = f" I look after {listed(focus[:4])}." if focus else ""
    return f"{_who(turn)}{cares} I'm an AI persona. {explanation(turn)}".rstrip()


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
