"""Putting callers through: whom, when, and what if it does not work."""

import pytest

from tests.unit.calls.simulator import Phone
from tests.unit.calls.test_machine import ask
from tron.calls import signals as s
from tron.calls.machine import NOT_TRANSFERRED
from tron.calls.manner import Manner
from tron.calls.transfer import Destination, destination
from tron.clock import ManualClock
from tron.memory.contacts import Contacts
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.tools.contract import ToolFailed

LINE = "+14155550100"
SENTENCE = "I am putting you through to Grace now."


@pytest.fixture
async def contacts(store: Store) -> Contacts:
    found = Contacts(store, ManualClock())
    await found.save(HOUSE, name="Grace Hopper", phone="+14155550188", role="Admiral")
    await found.save(HOUSE, name="Grace Kelly", company="Monaco Pictures")
    await found.save(HOUSE, name="Sam Vienna", phone="+4313101234", tags=["transfer"])
    await found.save(HOUSE, name="Sam Graz", phone="+43316123456")
    await found.save(HOUSE, name="Hot Line", phone="+19005551234", tags=["transfer"])
    return found


@pytest.mark.parametrize(
    ("to", "number", "name"),
    [
        ("+1 415 555 0199", "+14155550199", "+14155550199"),
        ("+1 800 555 0199", "+18005550199", "+18005550199"),
        ("+14155550188", "+14155550188", "Grace Hopper"),
        ("grace", "+14155550188", "Grace Hopper"),
        ("the admiral", "+14155550188", "Grace Hopper"),
        ("Sam", "+4313101234", "Sam Vienna"),  # the one the owner has chosen
        ("+43 1 3101234", "+4313101234", "Sam Vienna"),
    ],
)
async def test_names_and_numbers_that_may_be_called(
    contacts: Contacts, to: str, number: str, name: str
) -> None:
    found = await destination(contacts, HOUSE, to, line=LINE)
    assert found == Destination(number=number, name=name)


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("415 555 0199", "country code"),
        ("911", "emergency"),
        ("1 1 2", "emergency"),
        ("+1911", "emergency"),
        ("+49110", "exists"),
        ("+19005551234", "costs extra"),  # although it has the tag
        ("hot line", "costs extra"),
        ("+1 415 555", "country code"),
        ("+1 555 123 4567", "exists"),
        ("+43 316 123456", "country"),
        ("Sam Graz", "country"),
        ("+1 876 234 5678", "country"),  # +1, and not this country all the same
        (LINE, "own number"),
        ("Grace Kelly", "Nobody"),
        ("Bob", "Nobody"),
        ("?!", "country code"),
    ],
)
async def test_what_is_refused_and_why(contacts: Contacts, to: str, why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        await destination(contacts, HOUSE, to, line=LINE)


async def test_several_that_fit_are_asked_about(contacts: Contacts) -> None:
    await contacts.save(HOUSE, name="Grace Jones", phone="+14155550177")
    with pytest.raises(ToolFailed, match=r"Grace Hopper, Grace Jones\. Ask"):
        await destination(contacts, HOUSE, "Grace", line=LINE)


async def test_another_tenants_contacts_are_nobody(contacts: Contacts) -> None:
    with pytest.raises(ToolFailed, match="Nobody"):
        await destination(contacts, "acme", "Grace Hopper", line=LINE)


@pytest.mark.parametrize("line", ["", "sip:hub@example.com", "client:web"])
async def test_a_line_without_a_country_reaches_only_whom_the_owner_chose(
    contacts: Contacts, line: str
) -> None:
    assert (await destination(contacts, HOUSE, "Sam Vienna", line=line)).name == "Sam Vienna"
    with pytest.raises(ToolFailed):
        await destination(contacts, HOUSE, "Grace Hopper", line=line)


def transferring(phone: Phone) -> None:
    """The persona says that it puts the caller through."""
    phone.quiet(300)
    phone.tell(s.Typed("put me through"))
    phone.tell(s.TransferAfter("+14155550188"))
    phone.tell(s.AnswerText(1, SENTENCE))
    phone.tell(s.AnswerOver(1))


def not_transferred(phone: Phone) -> None:
    """The carrier refuses; the call has the caller told so."""
    phone.tell(s.NotTransferred())
    phone.tell(s.Announce(NOT_TRANSFERRED))


def test_the_sentence_is_heard_before_the_call_goes() -> None:
    phone = Phone(Manner(), answer=None)
    transferring(phone)
    phone.quiet(500)
    assert phone.actions(s.Transfer) == [], "not before it was heard"
    phone.quiet(10_000)
    assert phone.actions(s.Transfer) == [s.Transfer("+14155550188")]
    assert [note.text for _, note in phone.notes("transferring")] == ["+14155550188"]
    assert not phone.audible
    phone.tell(s.Ended("transferred"))
    phone.check_over()


def test_who_speaks_into_it_is_not_put_through() -> None:
    phone = Phone(Manner(), answer=None, final="no wait please")
    transferring(phone)
    phone.quiet(500)
    phone.speak(1_200)
    phone.quiet(20_000)
    assert phone.begun == [1, 2], "what they said is heard"
    assert phone.actions(s.Transfer) == []


def test_a_cough_does_not_stop_it() -> None:
    phone = Phone(Manner(), answer=None)
    transferring(phone)
    phone.final = ""
    phone.quiet(500)
    phone.speak(240)
    phone.quiet(10_000)
    assert phone.actions(s.Transfer) == [s.Transfer("+14155550188")]


def test_who_speaks_into_the_goodbye_is_not_hung_up_on() -> None:
    phone = Phone(Manner(), answer=None, final="one more thing")
    phone.quiet(300)
    ask(phone)
    phone.tell(s.HangUpAfter("persona-ended-call"))
    phone.tell(s.AnswerText(1, "Goodbye then, and thank you for calling."))
    phone.tell(s.AnswerOver(1))
    phone.quiet(500)
    phone.speak(3_000)
    assert phone.machine.ended is None, "not in the middle of what they say"
    phone.quiet(2_000)
    assert phone.begun == [1, 2]
    assert phone.machine.ended is None


def test_a_carrier_that_does_not_is_apologised_for() -> None:
    phone = Phone(Manner(), answer=None)
    transferring(phone)
    phone.quiet(10_000)
    not_transferred(phone)
    phone.quiet(10_000)
    assert " ".join(phone.texts.values()).endswith(NOT_TRANSFERRED)
    assert max(phone.texts) in {segment for segment, _ in phone.heard}
    ask(phone)
    phone.hang_up()
    phone.check_over()


def test_who_speaks_up_hears_the_apology_when_they_have_finished() -> None:
    phone = Phone(Manner())
    phone.tell(s.Typed("put me through"))
    phone.quiet(400)
    phone.speak(300)  # the answer is silent until it is known who has the floor
    not_transferred(phone)
    phone.speak(1_000)
    assert not phone.audible
    phone.quiet(20_000)
    assert phone.texts[max(phone.texts)].endswith("What else can I do for you?")
    phone.hang_up()
    phone.check_over()


def test_a_cough_does_not_cut_the_apology_off() -> None:
    phone = Phone(Manner(), answer=None, final="")
    transferring(phone)
    phone.quiet(10_000)
    not_transferred(phone)
    phone.quiet(2_000)
    phone.speak(260)
    phone.quiet(10_000)
    assert phone.texts[max(phone.texts)].endswith("What else can I do for you?")
    assert max(phone.texts) in {segment for segment, _ in phone.heard}
    assert phone.over[-1] == (2, "completed")
