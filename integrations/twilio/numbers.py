"""Which numbers personas may call or text: real ones that cost what a call costs.

Emergency and other short numbers are refused, because a persona must not raise an alarm on its
own; premium and satellite numbers, because a call to one can cost a fortune.
"""

import re

from tron.memory.contacts import e164

DEAR = ("PREMIUM_RATE", "SHARED_COST", "PAGER", "VOICEMAIL")
SATELLITES = (870, 881, 882, 883)
"""country codes of networks that belong to no country"""

_SHORT = re.compile(r"\+?\d{2,6}")


def callable_number(text: str) -> str:
    """`text` as E.164. Raises ValueError with why it is not called or texted."""
    if _SHORT.fullmatch(re.sub(r"[\s().-]", "", text)):
        raise ValueError(
            f"{text.strip()} is a short or emergency number, which is never called from here; "
            "in an emergency the person must dial it themselves."
        )
    number = e164(text)
    if number is None:
        raise ValueError("The number must be complete, with its country code: +49 30 901820.")
    import phonenumbers  # felt at start, and many a hub never calls anybody

    parsed = phonenumbers.parse(number, None)
    kind = phonenumbers.PhoneNumberType.to_string(phonenumbers.number_type(parsed))
    if kind in DEAR or parsed.country_code in (*SATELLITES, 979):
        raise ValueError(f"{number} is a number that costs extra, which is never called from here.")
    if not phonenumbers.is_valid_number(parsed):
        raise ValueError(f"{number} is not a telephone number that exists.")
    return number
