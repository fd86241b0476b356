"""Text that both databases can hold.

PostgreSQL has no NUL in text and neither database takes half of a surrogate pair; a model's
arguments and a web form can contain both. Every column of text cleans what it is given by itself
(`tables.Words`), so one odd character never costs a whole message. Whoever measures, compares or
passes on what it will store cleans it first, to have the same.
"""

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """`text` without the characters that a database refuses."""
    if "\0" not in text:
        if text.isascii():
            return text
        try:
            text.encode()  # much quicker than to look for what it refuses
        except UnicodeEncodeError:
            pass
        else:
            return text
    return _UNSTORABLE.sub("", text)
