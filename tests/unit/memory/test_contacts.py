"""A caller's number finds the person, however either was written."""

import pytest

from tron.clock import ManualClock
from tron.errors import Invalid
from tron.memory.contacts import Contacts, e164
from tron.storage.store import Store
from tron.storage.tables import HOUSE


@pytest.fixture
def contacts(store: Store) -> Contacts:
    return Contacts(store, ManualClock())


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("+14155551234", "+14155551234"),
        ("+1 (415) 555-1234", "+14155551234"),
        ("tel:+1-415-555-1234", "+14155551234"),
        ("0049 30 901820", "+4930901820"),
        ("+44 (0)20 7946 0018", "+442079460018"),
        ("415 555 1234", None),  # whose country?
        ("anonymous-1700000000000000000", None),
        ("req-0049301234567", None),
        ("+1", None),
        ("+999 123 4567", None),
        ("", None),
        ("\x00", None),
    ],
)
def test_numbers_are_normalised_or_refused_never_guessed(written: str, normal: str | None) -> None:
    assert e164(written) == normal


async def test_a_caller_is_found_by_number(contacts: Contacts) -> None:
    saved = await contacts.save(HOUSE, name="Ada Lovelace", phone="+1 (415) 555-1234")
    assert saved.phone == "+14155551234"
    assert await contacts.by_phone(HOUSE, "+14155551234") == saved
    assert await contacts.by_phone(HOUSE, "001 415 555 1234") == saved
    assert await contacts.find(HOUSE, "+1-415-555-1234") == [saved]
    assert await contacts.by_phone(HOUSE, "+14155550000") is None
    assert await contacts.by_phone(HOUSE, "anonymous-7") is None
    assert await contacts.by_phone("acme", "+14155551234") is None


async def test_saving_a_known_number_completes_the_card(contacts: Contacts) -> None:
    first = await contacts.save(
        HOUSE, name="Ada", phone="+14155551234", company="Engines", notes="likes tea"
    )
    again = await contacts.save(HOUSE, name="Ada Lovelace", phone="+1 415 5551234", role="CTO")
    assert again.id == first.id
    assert (again.name, again.company, again.role, again.notes) == (
        "Ada Lovelace",
        "Engines",
        "CTO",
        "likes tea",
    )
    assert await contacts.find(HOUSE, "cto engines") == [again]


async def test_contacts_without_a_number_never_collide(contacts: Contacts) -> None:
    one = await contacts.save(HOUSE, name="John Smith", company="Alpha")
    two = await contacts.save(HOUSE, name="John Smith", company="Beta")
    assert one.id != two.id
    assert one.phone is None
    assert {contact.company for contact in await contacts.find(HOUSE, "john")} == {"Alpha", "Beta"}


async def test_people_are_found_by_any_part_of_their_card(contacts: Contacts) -> None:
    await contacts.save(HOUSE, name="Zoë Özgür", company="Café Noir", email="zoe@noir.example")
    await contacts.save(HOUSE, name="Ada", company="Noir Engines")
    for text in ("zoe", "ZOË", "özgür", "OZGUR", "who is Zoë?", "café noir"):
        assert (await contacts.find(HOUSE, text))[0].name == "Zoë Özgür", text
    assert [c.name for c in await contacts.find(HOUSE, "noir engines")] == ["Ada", "Zoë Özgür"]
    for text in ("", "%", "_", "nobody", "'; --"):
        assert await contacts.find(HOUSE, text) == [], text
    assert await contacts.find("acme", "zoe") == []


async def test_the_same_number_may_belong_to_two_tenants(contacts: Contacts) -> None:
    await contacts.save(HOUSE, name="Ada", phone="+14155551234")
    theirs = await contacts.save("acme", name="Miss Lovelace", phone="+14155551234")
    assert await contacts.by_phone("acme", "+14155551234") == theirs


@pytest.mark.parametrize(
    "card",
    [
        {"name": "Ada", "phone": "5551234"},
        {"name": "  "},
        {"name": "A" * 201},
    ],
)
async def test_a_card_that_cannot_be_kept_is_refused(
    contacts: Contacts, card: dict[str, str]
) -> None:
    with pytest.raises(Invalid):
        await contacts.save(HOUSE, **card)
