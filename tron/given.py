"""Reading JSON that others send, of which nothing is promised: a part that is not what it should be
counts as absent. No I/O."""

from typing import Any

from tron.storage.text import storable


def mapping(value: Any) -> dict[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def short(value: Any, limit: int) -> str:
    """`value` if it is text, fit to be stored, its first `limit` characters; else empty."""
    return storable(value)[:limit] if isinstance(value, str) else ""
