"""Twilio: telephone calls and texts, and whatever carrier or simulator speaks like it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integrations.twilio.integration import Twilio
    from tron.hub import Hub


def attach(hub: "Hub") -> "Twilio":
    """The integration of one hub. Twilio's SDK is imported when it is first needed."""
    from integrations.twilio.integration import Twilio

    return Twilio(hub)
