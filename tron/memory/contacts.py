"""Who people are: the address book that tells a persona who is calling.

Owns the table `contacts`. A phone number is kept as E.164 and names at most one contact of a
tenant; contacts without one are each their own. A number without a country code is refused
rather than guessed at.

Callers: the tools, the briefing, the contact routes.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, case, insert, literal, or_, select, update

from tron.clock import Clock
from tron.errors import Invalid
from tron.memory.search import folded, words
from tron.storage.store import Store
from tron.storage.tables import contacts
from tron.storage.text import storable

FOUND_LIMIT = 10
FIELD_LIMIT = 200
"""characters of a name, e-mail, company or role: what the columns hold"""
_NUMBER_LIKE = re.compile(r"\s*(tel:)?\s*(\+|00)[\d\s().\-/]{5,}")


class Contact(msgspec.Struct, kw_only=True, frozen=True):
    """One person or office."""

    id: int
    name: str
    phone: str | None
    """E.164"""
    email: str | None
    company: str | None
    role: str | None
    notes: str
    tags: list[str]
    updated_at: int
    """ms since the epoch"""


def e164(phone: str) -> str | None:
    """`phone` as E.164 (`+14155551234`), or None if it is no number with a country code."""
    if not _NUMBER_LIKE.match(phone):
        return None
    # Here because its import is felt at start, and many a hub never sees a phone number.
    import phonenumbers

    international = re.sub(r"^\s*(tel:)?\s*00", "+", phone)
    try:
        number = phonenumbers.parse(international, None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


class Contacts:
    """See the module."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.changed = 0
        """counts this process's writes, so that a cache knows when to ask again"""

    async def by_phone(self, client_id: str, phone: str) -> Contact | None:
        """Whose number this is, however it is written."""
        number = e164(phone)
        if number is None:
            return None
        async with self._store.read() as connection:
            row = (await connection.execute(_with_phone(client_id, number))).first()
        return _contact(row) if row else None

    async def find(self, client_id: str, text: str) -> list[Contact]:
        """Contacts whose name, company, role or e-mail has any word of `text` in it, or whose
        number it is; those with the most words first, at most 10."""
        if number := e164(text):
            contact = await self.by_phone(client_id, number)
            return [contact] if contact else []
        asked = words(folded(text)) or folded(text).split()[:1]
        if not asked:
            return []
        matches = [contacts.c.found_by.contains(word, autoescape=True) for word in asked]
        found = sum((case((match, 1), else_=0) for match in matches), start=literal(0))
        statement = (
            select(contacts)
            .where(contacts.c.client_id == client_id, or_(*matches))
            .order_by(found.desc(), contacts.c.name, contacts.c.id)
            .limit(FOUND_LIMIT)
        )
        async with self._store.read() as connection:
            return [_contact(row) for row in await connection.execute(statement)]

    async def save(
        self,
        client_id: str,
        *,
        name: str,
        phone: str = "",
        email: str = "",
        company: str = "",
        role: str = "",
        notes: str = "",
        tags: Sequence[str] = (),
    ) -> Contact:
        """Add a contact, or complete the one that has this phone number: what is empty here
        stays as it was there.

        Raises Invalid without a name, for a phone number without a country code, or a field that
        is too long.
        """
        number = e164(phone)
        if phone.strip() and number is None:
            raise Invalid(
                "The phone number must be complete, with its country code (+49 30 901820).",
                param="phone",
            )
        given: dict[str, Any] = {
            "name": storable(name).strip(),
            "phone": number,
            "email": email.strip(),
            "company": company.strip(),
            "role": role.strip(),
            "notes": notes.strip(),
            "tags": list(tags),
        }
        if not given["name"]:
            raise Invalid("A contact needs a name.", param="name")
        for field in ("name", "email", "company", "role"):
            if len(given[field]) > FIELD_LIMIT:
                raise Invalid(f"{field} is longer than {FIELD_LIMIT} characters.", param=field)
        given = {field: value for field, value in given.items() if value}
        now = self._clock.now_ms()

        def unit(connection: Connection) -> Row[Any]:
            known = number and connection.execute(_with_phone(client_id, number)).first()
            before = msgspec.structs.asdict(_contact(known)) if known else {}
            values = _columns({**before, **given}) | {"updated_at": now}
            if known:
                mine = (contacts.c.client_id == client_id, contacts.c.id == known.id)
                change = update(contacts).where(*mine)
                return connection.execute(change.values(**values).returning(contacts)).one()
            new = insert(contacts).values(client_id=client_id, **values)
            return connection.execute(new.returning(contacts)).one()

        row = await self._store.write(unit)
        self.changed += 1
        return _contact(row)


def _with_phone(client_id: str, number: str) -> Select[Any]:
    return select(contacts).where(contacts.c.client_id == client_id, contacts.c.phone == number)


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    told = [fields.get(field) or "" for field in ("name", "company", "role", "email")]
    return {
        **{field: fields.get(field) for field in ("name", "phone", "email", "company", "role")},
        "notes": fields.get("notes", ""),
        "tags": msgspec.json.encode(fields.get("tags", [])).decode(),
        "found_by": folded("\n".join(told)),
    }


def _contact(row: Row[Any]) -> Contact:
    return Contact(
        id=row.id,
        name=row.name,
        phone=row.phone,
        email=row.email,
        company=row.company,
        role=row.role,
        notes=row.notes,
        tags=msgspec.json.decode(row.tags, type=list[str]),
        updated_at=row.updated_at,
    )
