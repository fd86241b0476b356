"""The ways in that outside systems open, and their true state.

`connected` means a live connection or a call that was answered, never that a setting is present.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from quart import Blueprint

from tron.clock import iso_or_none
from tron.integrations import Integration
from tron.web.contract import promises

if TYPE_CHECKING:
    from tron.hub import Hub


class ChannelStatus(BaseModel):
    """One way in."""

    name: str
    type: str
    status: str
    message_count: int
    last_activity: str | None = None
    routes_to: str | None = None
    error: str | None = None


def routes(hub: "Hub", integrations: Sequence[Integration]) -> Blueprint:
    """The channels of one hub's integrations."""
    blueprint = Blueprint("channels", __name__)

    @blueprint.get("/api/channels")
    @promises("read", gives=list[ChannelStatus])
    async def channels() -> Any:
        """The ways in that outside systems open, and whether they work."""
        return [
            {
                "name": channel.name,
                "type": channel.type,
                "status": channel.status,
                "message_count": channel.message_count,
                "last_activity": iso_or_none(channel.last_activity),
                "routes_to": channel.routes_to and hub.agents.name_of(channel.routes_to),
                "error": channel.error,
            }
            for integration in integrations
            for channel in integration.channels()
        ]

    return blueprint
