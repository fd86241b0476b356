"""The wake word gate: whether an utterance is meant for the persona.

Off, everything is. On, an utterance must begin with the wake word (after an optional "hey"), which
opens a window in which further ones need none; each accepted one renews it. `arm` lets one
utterance through without the word.
"""

import re

WINDOW_MS = 30_000
ARMED_MS = 12_000


class Gate:
    """One call's gate. Times are on the call's media clock."""

    def __init__(self, words: tuple[str, ...], *, on: bool = False) -> None:
        names = "|".join(re.escape(word) for word in words if word)
        self._opening = re.compile(
            rf"\s*(?:(?:hey|hi|ok|okay)[\s,]+)?(?:{names})\b[\s,.!?:]*", re.IGNORECASE
        )
        self.on = on
        self._open_until = -1
        self._armed_until = -1

    def arm(self, now: int) -> None:
        self._armed_until = now + ARMED_MS

    def open(self, text: str, now: int) -> bool:
        """Whether an utterance that begins with `text` would be admitted; changes nothing."""
        waits = now > max(self._open_until, self._armed_until)
        return not (self.on and waits) or self._opening.match(text) is not None

    def admit(self, text: str, now: int) -> tuple[str | None, bool]:
        """(what the persona is to hear, or None if it isn't meant; whether the word was heard).

        The wake word alone is admitted as empty text.
        """
        if not self.on:
            return text, False
        if match := self._opening.match(text):
            self._open_until = now + WINDOW_MS
            return text[match.end() :].strip(), True
        if now <= self._armed_until:
            self._armed_until = -1
            self._open_until = now + WINDOW_MS
            return text, False
        if now <= self._open_until:
            self._open_until = now + WINDOW_MS
            return text, False
        return None, False
