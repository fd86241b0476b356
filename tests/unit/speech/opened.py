"""Speech with one chosen engine, and what its bus told."""

from pathlib import Path
from typing import Any

from tron import events
from tron.clock import ManualClock
from tron.events import Bus, Event
from tron.settings import Settings
from tron.speech.engines import Speech


class Opened:
    """See the module."""

    def __init__(self, home: Path, **chosen: Any) -> None:
        self.events: list[Event] = []
        bus = Bus()
        bus.add(self.events.append)
        # A provider that should answer gets its time: a machine may stall.
        settings = Settings(home=home, speech_timeout_s=30, **chosen)
        self.speech = Speech(settings, clock=ManualClock(), bus=bus)

    @property
    def failures(self) -> list[tuple[str, str | None]]:
        told = [e for e in self.events if isinstance(e, events.ProviderFailed)]
        return [(event.provider, event.fallback) for event in told]
