"""Tools for facts about people: remember, recall, forget.

A fact belongs to the person being talked to unless it is shared; outside a conversation there is
no such person and every fact is shared.
"""

import hashlib
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tron.memory.memory import KEY_LIMIT, Memory
from tron.memory.search import words
from tron.tools.contract import Tool, ToolContext, ToolFailed

FACT_LIMIT = 4_000
SLUG_WORDS = 6
SLUG_CHARACTERS = 80

Key = Annotated[str, Meta(max_length=KEY_LIMIT)]


class Remember(msgspec.Struct):
    fact: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=FACT_LIMIT,
            description="One fact as a full sentence that makes sense on its own later, such as "
            '"The caller\'s dog is called Rex".',
        ),
    ]
    key: Annotated[
        Key,
        Meta(
            description="Short name of the fact, such as `dog-name`. A fact under the same key is "
            "replaced, so reuse the key to correct one. Left out: made from the fact."
        ),
    ] = ""
    shared: Annotated[
        bool,
        Meta(
            description="True only for facts that every caller and colleague may know. "
            "False keeps it between you, your colleagues and this caller."
        ),
    ] = False


class Recall(msgspec.Struct):
    query: Annotated[
        str,
        Meta(max_length=1_000, description="What you want to know, as a question or key words."),
    ]


class Forget(msgspec.Struct):
    key: Annotated[
        Key,
        Meta(min_length=1, description="Key of the fact, as recall shows it in brackets."),
    ]


def remembering(memory: Memory) -> list[Tool[Any]]:
    """The tools of this file."""
    return [
        Tool(
            "remember",
            "Keep a fact for later conversations. Use it when the caller asks you to remember "
            "something or tells you something lasting about themselves or their work.",
            Remember,
            partial(_remember, memory),
            effect="write",
            repeatable=True,
        ),
        Tool(
            "recall",
            "Search what you remember of this caller and what everyone here knows. Use it before "
            "saying that you do not know something the caller may have told you.",
            Recall,
            partial(_recall, memory),
            effect="read",
        ),
        Tool(
            "forget",
            "Delete a remembered fact by its key: this caller's own, or else the shared one.",
            Forget,
            partial(_forget, memory),
            effect="write",
            repeatable=True,
        ),
    ]


async def _remember(memory: Memory, context: ToolContext, args: Remember) -> str:
    person = "" if args.shared else context.caller
    entry = await memory.remember(
        context.client_id,
        person=person,
        key=args.key.strip() or _key(args.fact),
        content=args.fact.strip(),
        author=context.process.agent,
    )
    whose = "for this caller" if person else "for everyone"
    return f"Remembered {whose} [{entry.key}]: {entry.content}"


async def _recall(memory: Memory, context: ToolContext, args: Recall) -> str:
    found = await memory.recall(context.client_id, person=context.caller, query=args.query)
    if not found:
        return "Nothing is remembered about that."
    return "\n".join(f"- {entry.content} [{entry.key}]" for entry in found)


async def _forget(memory: Memory, context: ToolContext, args: Forget) -> str:
    key = args.key.strip()
    for person in dict.fromkeys((context.caller, "")):
        if await memory.forget(context.client_id, person=person, key=key):
            return f"Forgotten [{key}]."
    raise ToolFailed(f"Nothing is remembered under the key {key!r}; recall shows the keys.")


def _key(fact: str) -> str:
    # The digest keeps apart what only small words tell apart ("from A to B", "to A from B").
    slug = "-".join(words(fact)[:SLUG_WORDS])[:SLUG_CHARACTERS]
    digest = hashlib.sha256(fact.strip().casefold().encode(errors="replace")).hexdigest()[:6]
    return f"{slug}-{digest}" if slug else digest
