"""How a call is held: what its wire, its client and the settings make of it. Only values."""

import msgspec

from tron.calls.listening import Waits


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How a call is held. Times in ms; 0 turns a thing off."""

    waits: Waits = Waits()
    marks: bool = True
    """the wire reports what it has played"""
    greeting: str = ""
    fillers: tuple[str, ...] = ("One moment.", "Let me check.", "Just a second.")
    filler_after_ms: int = 900
    silence_prompts: tuple[str, ...] = ()
    """said one after the other while neither side speaks; with the last one the call ends"""
    silence_ms: int = 0
    longest_ms: int = 0
    """of the whole call"""
    digits_wait_ms: int = 2_000
    wake_words: tuple[str, ...] = ()
    apology: str = "I'm sorry, something went wrong on my side. Could you say that again?"
