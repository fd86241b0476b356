"""Whom a call may be put through to, and the tool by which a persona does it.

Owns the rule and the words; each carrier has its own way to do it. A caller talks the persona into
things, so the rule is not the persona's: numbers that cost extra and numbers nobody answers are
refused always, numbers of another country than the line's unless the owner has given the contact
the tag `transfer`. No caller can give it to anybody.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec

from tron.memory.contacts import Contact, Contacts, e164
from tron.memory.search import folded, words
from tron.tools.contract import Tool, ToolContext, ToolFailed

TAG = "transfer"
TRANSFERRED = "transferred"
"""the cause of the ending of a call that was put through"""
_SHORT = re.compile(r"\+?\d{2,6}")
_DEAR = ("PREMIUM_RATE", "SHARED_COST", "PAGER", "PERSONAL_NUMBER")
MOST_NAMES = 5


class TransferCall(msgspec.Struct):
    to: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=200,
            description="A contact's name, or a phone number with its country code.",
        ),
    ]


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a call may be put through to."""

    number: str
    """E.164"""
    name: str
    """the contact's, else the number"""


PutThrough = Callable[[Destination], Awaitable[str]]
"""Have the call put through, now or when the persona has finished speaking; what the persona is
told of it. Raises TronError."""


def transfer_tool(
    contacts: Contacts, put_through: PutThrough | None, *, line: str
) -> Tool[TransferCall]:
    """`transfer_call` of one call. `line`: the number that was called; None for `put_through`: its
    wire can't do it, and the persona is told so."""

    async def run(context: ToolContext, args: TransferCall) -> str:
        if put_through is None:
            raise ToolFailed(
                "Nobody can be put through to a telephone from here. "
                "A message can be taken instead."
            )
        found = await destination(contacts, context.client_id, args.to, line=line)
        return await put_through(found)

    return Tool(
        "transfer_call",
        "Put the caller through to somebody's telephone; you leave the call. Only when the caller "
        "wants it or has agreed to it.",
        TransferCall,
        run,
        effect="send",
    )


def when_spoken(to: Destination) -> str:
    """What a persona is told whose last sentence is waited for."""
    return (
        f"Transferring to {to.name} as soon as you have finished speaking. "
        "Tell the caller in one short sentence."
    )


async def destination(contacts: Contacts, client_id: str, to: str, *, line: str) -> Destination:
    """Whom `to`, a name or a number, means. Raises ToolFailed if it is nobody who may be called,
    StorageUnavailable."""
    to = to.strip()
    number = e164(to)
    if number is not None:
        contact = await contacts.by_phone(client_id, number)
    elif _SHORT.fullmatch(re.sub(r"[\s().-]", "", to)):
        raise ToolFailed(
            f"{to} is a short or emergency number, and calls can't be put through to those. "
            "In an emergency the caller must hang up and dial it."
        )
    elif not any(character.isalpha() for character in to):
        raise ToolFailed("The number must be complete, with its country code (+49 30 901820).")
    else:
        contact = _only(await contacts.find(client_id, to), to)
        number = contact.phone or ""
    if reason := _refusal(number, line, chosen=contact is not None and TAG in contact.tags):
        raise ToolFailed(reason)
    return Destination(number=number, name=contact.name if contact else number)


def _only(found: list[Contact], to: str) -> Contact:
    """The one contact with a number that `to` names; those the owner has chosen come first."""
    asked = words(folded(to)) or folded(to).split()
    named = [
        contact
        for contact in found
        if contact.phone
        and all(
            word in folded(f"{contact.name} {contact.company or ''} {contact.role or ''}")
            for word in asked
        )
    ]
    if not named:
        raise ToolFailed(
            f"Nobody called {to!r} with a phone number is in the address book. "
            "A message can be taken instead."
        )
    exact = [contact for contact in named if folded(contact.name) == folded(to)]
    chosen = [contact for contact in exact or named if TAG in contact.tags]
    fits = chosen or exact or named
    if len(fits) > 1:
        names = ", ".join(contact.name for contact in fits[:MOST_NAMES])
        raise ToolFailed(f"Several contacts fit: {names}. Ask which of them is meant.")
    return fits[0]


def _refusal(number: str, line: str, *, chosen: bool) -> str:
    """Why this number is not called; empty if it may be."""
    import phonenumbers  # felt at start, and most hubs never transfer a call

    parsed = phonenumbers.parse(number, None)
    if not phonenumbers.is_valid_number(parsed):
        return f"{number} is not a telephone number that exists."
    kind = phonenumbers.PhoneNumberType.to_string(phonenumbers.number_type(parsed))
    if kind in _DEAR:
        return f"{number} is a number that costs extra; calls are not put through to those."
    if number == e164(line):
        return f"{number} is this line's own number."
    home = _country(line)
    if not chosen and (home is None or _country(number) != home):
        return (
            f"{number} is not in this line's country. Calls go there only to contacts that the "
            "owner has given the tag “transfer”."
        )
    return ""


def _country(number: str) -> str | None:
    import phonenumbers

    if e164(number) is None:
        return None
    return phonenumbers.region_code_for_number(phonenumbers.parse(number, None))
