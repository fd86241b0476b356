"""Who is calling, from what a request says of itself.

In this order: the carrier's phone header, VAPI's body (`customer.number`, `call.id`), ElevenLabs'
extra body or `user`, `X-Request-ID` (as `req-…`), and otherwise a name made up for this request.
What stands where a number was withheld names nobody: two such calls are two people. A carrier's
call id always leads back to the same session. Only the transport says whether any of this may be
believed: in protected mode the request had to bring a token first.
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from tron.conversation.turns import Caller
from tron.given import mapping

ID_LIMIT = 200

_PHONE = re.compile(r"\+?[\d\s().-]{5,24}")
_SIP = re.compile(r"sips?:([^@;]*).*", re.IGNORECASE)
_WITHHELD_WORDS = frozenset(
    """anonymous unknown restricted unavailable notavailable private withheld blocked nocallerid
    unknowncaller privatenumber unknownnumber""".split()
)
_WITHHELD_NUMBERS = frozenset(("+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"))
"""what Twilio puts in the place of a number it does not tell ("anonymous" on the keys, …)"""


class Headers(Protocol):
    """Any header collection that ignores case."""

    def get(self, key: str) -> str | None: ...


def identify(headers: Headers, body: Mapping[str, Any], *, now_ns: int) -> Caller:
    """The caller of one request. `body` is its JSON object, of any shape."""
    call = mapping(body.get("call"))
    customer = mapping(body.get("customer")) or mapping(call.get("customer"))
    extra = mapping(body.get("elevenlabs_extra_body"))
    call_id = (
        _text(headers.get("X-Vapi-Call-ID"))
        or _text(call.get("id"))
        or _text(headers.get("X-Conversation-ID"))
        or _text(extra.get("conversation_id"))
        or None
    )
    person = (
        _person(_phone(headers.get("X-Vapi-Caller-Phone")))
        or _person(_phone(customer.get("number")))
        or _person(_text(extra.get("user_id")))
        or _person(_text(extra.get("caller_id")))
        or _person(_text(headers.get("X-User-ID")))
        or _person(_text(body.get("user_id")))  # ElevenLabs puts it there as well
        or _person(_text(body.get("user")))
    )
    if person:
        name = _text(customer.get("name")) or None
        # Only a number is written in many ways; `1.11.1.1` and `11.1.1.1` are two people.
        person = _phone(person) if person.startswith("+") else person
        return Caller(id=person, known=True, call_id=call_id, name=name)
    if request_id := _text(headers.get("X-Request-ID")):
        known = request_id if request_id.startswith("req-") else f"req-{request_id}"
        return Caller(id=known, known=True, call_id=call_id)
    return Caller(id=f"anonymous-{now_ns}", known=False, call_id=call_id)


def withheld(person: str) -> bool:
    """Whether this stands for somebody who is not told: `anonymous`, nothing at all, …"""
    sip = _SIP.fullmatch(person)
    name = (sip[1] if sip else person).strip().lower()
    word = "".join(c for c in name if c.isalnum())
    return not name or word in _WITHHELD_WORDS or name in _WITHHELD_NUMBERS


def _person(who: str) -> str:
    return "" if withheld(who) else who


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value if c.isprintable()).strip()[:ID_LIMIT]


def _phone(value: Any) -> str:
    """A telephone number as `+` and digits, or as it came if it is something else."""
    text = _text(value)
    if not _PHONE.fullmatch(text):
        return text
    digits = re.sub(r"\D", "", text)
    return f"+{digits}" if text.startswith("+") or len(digits) > 10 else digits
