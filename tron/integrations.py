"""Integrations: outside systems that reach the hub, found through an entry-point group.

An integration is a package's entry in the group `tron.integrations`: a function that is handed
the hub and returns an `Integration`. The hub's own (`integrations/`) are declared in
`pyproject.toml` like anybody else's; the hub imports none of them by name. One that fails to load
is logged and left out, and the others go on.
"""

from collections.abc import AsyncIterator, Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog
from quart import Blueprint

if TYPE_CHECKING:
    from tron.doctor import Finding
    from tron.hub import Hub

log = structlog.get_logger(__name__)

GROUP = "tron.integrations"


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """The true state of one way in, as operators see it."""

    name: str
    type: str
    status: str
    """`connected` (really), `disconnected` or `error`"""
    message_count: int = 0
    last_activity: int | None = None
    """ms since the epoch"""
    routes_to: str | None = None
    error: str | None = None


class Integration(Protocol):
    """One outside system, attached to one hub."""

    name: str

    def blueprint(self) -> Blueprint:
        """The routes it is called on. They answer 503 with how to set it up until it is."""
        ...

    async def start(self) -> None:
        """Begin what runs by itself (sockets it keeps open). Returns at once."""
        ...

    async def close(self) -> None:
        """Stop, letting what was accepted finish within a few seconds."""
        ...

    def channels(self) -> list[Channel]:
        """What it is connected to now; empty when it is not set up."""
        ...

    def check(self) -> AsyncIterator["Finding"]:
        """Try it for real, for `tron doctor`."""
        ...


Attach = Callable[["Hub"], Integration]


def attach_all(hub: "Hub") -> list[Integration]:
    """Every integration that is installed, by name."""
    found: list[Integration] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            attach: Attach = entry.load()
            found.append(attach(hub))
        except Exception:  # border: a plug-in must not stop the hub
            log.exception("integration.not_loaded", integration=entry.name)
    tools = hub.toolbox.definitions(None, in_task=True)
    hub.agents.know_tools(tool["function"]["name"] for tool in tools)
    return found
