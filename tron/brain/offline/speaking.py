"""An answer let out piece by piece, within the caller's limits.

Owns `stop`, `max_tokens` and how text is cut into word pieces. Refuses to know what is said.
"""

import re
from collections.abc import Iterator
from typing import Any

_PIECE = re.compile(r"\s{0,8}\S{1,12}|\s{1,8}")


def pieces(text: str) -> Iterator[str]:
    """`text` as word pieces; joined they are `text` again. One counts as one token."""
    return (found.group() for found in _PIECE.finditer(text))


def until_stop(text: str, stop: Any) -> str:
    """`text` before the first of the caller's stop sequences."""
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    ends = [text.find(s) for s in stops if isinstance(s, str) and s]
    return text[: min((end for end in ends if end >= 0), default=len(text))]


def limit_of(params: dict[str, Any]) -> int | None:
    """The most tokens the caller wants; None: no limit."""
    for name in ("max_completion_tokens", "max_tokens"):
        limit = params.get(name)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            return limit
    return None
