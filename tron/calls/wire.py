"""What a wire that speaks audio must be able to do for a call.

A carrier, an agent socket or a browser is such a wire: it knows its own messages and encoding and
nothing of turns. It hands what it receives to the `Call` (`audio`, `signal`, `ended`) and does
what the call asks. Everything here returns at once: a wire writes from a bounded queue of its own,
and one whose client does not read ends its call instead of growing.
"""

from typing import Literal, Protocol

import msgspec

from tron.calls.signals import Tell

Encoding = Literal["mulaw", "alaw", "pcm16"]


class WireFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of wire this is."""

    name: str
    """`twilio`, `elevenlabs`, `samantha`, …; also the channel of its turns"""
    heard_as: Encoding
    heard_rate: int
    """Hz of the audio it receives: 8000, 16000, 24000 or 48000"""
    played_as: Encoding
    played_rate: int
    marks: bool
    """it reports what has been played"""
    metered: bool = False
    """it costs by the minute, so it is not left open for nobody"""


class CallWire(Protocol):
    """One connection that carries one call."""

    facts: WireFacts

    def play(self, audio: bytes) -> None:
        """Play this after what was sent before; whole 20 ms frames in the wire's encoding."""
        ...

    def mark(self, mark: int) -> None:
        """Report, by `Call.signal(Played(mark))`, when what was sent so far has played."""
        ...

    def clear(self) -> None:
        """Throw away what was sent and has not been played."""
        ...

    def tell(self, told: Tell) -> None:
        """Something the client may show; most carriers have no use for it."""
        ...

    def hang_up(self, cause: str) -> None:
        """End the connection once what was sent has gone out."""
        ...
