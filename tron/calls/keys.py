"""The keys of a telephone: pressed one by one, meant together.

They are over when nothing is pressed for a while, or at once with a "#" behind others, which then
is no key of its own; alone it is one. No I/O.
"""

MARK = "#"


class Keys:
    """Of one call. Times in ms on its clock."""

    def __init__(self, wait_ms: int) -> None:
        self._wait_ms = wait_ms
        self._pressed = ""
        self._at = 0

    def __bool__(self) -> bool:
        """Whether keys were pressed that nobody has been told of."""
        return bool(self._pressed)

    def press(self, key: str, at: int) -> None:
        self._pressed += key
        self._at = at

    def due(self, at: int) -> str:
        """What the keys mean as something said, once they are over; else empty."""
        marked = len(self._pressed) > 1 and self._pressed.endswith(MARK)
        if not self._pressed or (not marked and at - self._at < self._wait_ms):
            return ""
        keys, self._pressed = self._pressed[: -1 if marked else None], ""
        return f"(pressed the keys {keys})"
