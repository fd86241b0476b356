"""How long a line stays open: whose silence is asked about, and which call has lasted too long.

A forgotten line costs by the minute. When neither side has said anything for a while the prompts
are said one after the other, and with the last the call ends; however much is said, it ends after
its longest time. No I/O; callers: the call machine and what stands for it where a carrier speaks.
"""

from typing import NamedTuple

from tron.settings import Settings

SILENT = "caller-silent"
TOO_LONG = "call-too-long"
TOO_LONG_WORDS = "This call has lasted as long as a call may, so I have to hang up now. Goodbye."
GRACE_MS = 15_000
"""for that sentence; then the call ends whatever is being said"""


def prompts_of(settings: Settings) -> tuple[str, ...]:
    """What is said to the silent, as it is set."""
    given = (prompt.strip() for prompt in settings.call_silence_prompts.split(";"))
    return tuple(prompt for prompt in given if prompt)


class Due(NamedTuple):
    """What is to be done now."""

    words: str
    """to be said first; may be empty"""
    cause: str
    """of the call's ending when they have been said; empty: it goes on"""
    at_once: bool = False
    """whatever is going on is broken off"""


class Limits:
    """Of one call. Times in ms; 0 turns a thing off."""

    def __init__(self, *, silence_ms: int, prompts: tuple[str, ...], longest_ms: int) -> None:
        self._silence_ms = silence_ms
        self._prompts = prompts
        self._ends_at = longest_ms
        self._prompted = 0
        self._told = False
        """that the call has lasted too long"""

    def answered(self) -> bool:
        """The caller said something; whether they had been asked if they are there."""
        asked, self._prompted = self._prompted > 0, 0
        return asked

    def due(self, at: int, quiet_ms: int) -> Due | None:
        """What is due at `at`, when nobody has said anything for `quiet_ms`; told once each."""
        if self._ends_at and at >= self._ends_at:
            if self._told:
                return Due("", TOO_LONG, True) if at >= self._ends_at + GRACE_MS else None
            self._told = True
            return Due(TOO_LONG_WORDS, TOO_LONG, True)
        if not self._silence_ms or quiet_ms < self._silence_ms:
            return None
        if not self._prompts:
            return Due("", SILENT)
        place = min(self._prompted, len(self._prompts) - 1)
        self._prompted += 1
        return Due(self._prompts[place], SILENT if place == len(self._prompts) - 1 else "")
