"""Tools for people: who is calling, finding and saving contacts, taking a message."""

from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tron.agents.registry import Registry
from tron.life.journal import MESSAGE, Journal
from tron.memory.contacts import FIELD_LIMIT, Contact, Contacts, e164
from tron.tools.contract import Tool, ToolContext, ToolFailed

Field = Annotated[str, Meta(max_length=FIELD_LIMIT)]


class WhoIsCalling(msgspec.Struct):
    pass


class FindContact(msgspec.Struct):
    query: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description="Name, company, role, e-mail, or a phone number with country code.",
        ),
    ]


class SaveContact(msgspec.Struct):
    name: Annotated[Field, Meta(min_length=1, description="Full name.")]
    phone: Annotated[
        str,
        Meta(
            max_length=40,
            description="With country code, such as +49 30 901820. A contact with this number is "
            "completed instead of added.",
        ),
    ] = ""
    email: Annotated[Field, Meta(description="E-mail address.")] = ""
    company: Annotated[Field, Meta(description="Where they work.")] = ""
    role: Annotated[Field, Meta(description="What they do there.")] = ""
    notes: Annotated[
        str, Meta(max_length=2_000, description="Anything else worth having on the card.")
    ] = ""


class TakeMessage(msgspec.Struct):
    to: Annotated[
        str, Meta(min_length=1, max_length=64, description="The persona it is for, by name.")
    ]
    message: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4_000,
            description="The message in full, with how to reach the caller if they said so.",
        ),
    ]


def people(contacts: Contacts, journal: Journal, agents: Registry) -> list[Tool[Any]]:
    """The tools of this file."""
    return [
        Tool(
            "who_is_calling",
            "Look up who you are talking to: their contact card if their number is known.",
            WhoIsCalling,
            partial(_who_is_calling, contacts),
            effect="read",
        ),
        Tool(
            "find_contact",
            "Search the address book by name, company, role, e-mail or phone number.",
            FindContact,
            partial(_find_contact, contacts),
            effect="read",
        ),
        Tool(
            "save_contact",
            "Add a person to the address book, or complete the card with the same phone number. "
            "Use it when somebody gives their details or asks you to note somebody else's.",
            SaveContact,
            partial(_save_contact, contacts),
            effect="write",
            repeatable=True,
        ),
        Tool(
            "take_message",
            "Take a message for a colleague (or for yourself) who gets it in their next "
            "conversations. Use it when the caller wants to leave word; it brings no answer back.",
            TakeMessage,
            partial(_take_message, journal, agents),
            effect="write",
        ),
    ]


async def _who_is_calling(contacts: Contacts, context: ToolContext, _: WhoIsCalling) -> str:
    if not context.caller:
        return "Nobody: this is not a conversation with a caller."
    if contact := await contacts.by_phone(context.client_id, context.caller):
        return f"The caller is {_card(contact)}."
    named = f" They are called {context.caller_name}." if context.caller_name else ""
    if number := e164(context.caller):
        return f"The caller's number is {number}; it is not in the address book.{named}"
    return f"The caller is not identified: no phone number came with this conversation.{named}"


async def _find_contact(contacts: Contacts, context: ToolContext, args: FindContact) -> str:
    found = await contacts.find(context.client_id, args.query)
    if not found:
        return "Nobody like that is in the address book."
    return "\n".join(f"- {_card(contact)}" for contact in found)


async def _save_contact(contacts: Contacts, context: ToolContext, args: SaveContact) -> str:
    contact = await contacts.save(context.client_id, **msgspec.structs.asdict(args))
    return f"Saved: {_card(contact)}."


async def _take_message(
    journal: Journal, agents: Registry, context: ToolContext, args: TakeMessage
) -> str:
    persona = agents.get(args.to.strip())
    if persona is None:
        names = ", ".join(persona.name for persona in agents.personas)
        raise ToolFailed(f"There is nobody by that name here. Messages can be taken for {names}.")
    if context.caller_name and context.caller:
        sender = f"{context.caller_name} ({context.caller})"
    else:
        sender = context.caller_name or context.caller or context.process.agent
    text = f"From {sender}, taken by {context.process.agent}: {args.message.strip()}"
    await journal.write(context.client_id, persona.id, MESSAGE, text)
    return f"The message for {persona.name} is taken."


def _card(contact: Contact) -> str:
    details = (
        ("", contact.role),
        ("", contact.company),
        ("phone ", contact.phone),
        ("e-mail ", contact.email),
        ("notes: ", contact.notes),
    )
    return ", ".join([contact.name, *(f"{label}{value}" for label, value in details if value)])
