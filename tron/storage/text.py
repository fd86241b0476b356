"""Text that both databases can hold.

PostgreSQL has no NUL in text and neither database takes half of a surrogate pair; a model's
arguments and a web form can contain both. What people wrote passes through here before it is
stored, so one odd character never costs a whole message.
"""

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """`text` without the characters that a database refuses."""
    return _UNSTORABLE.sub("", text)
