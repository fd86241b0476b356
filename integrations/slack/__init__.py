"""Slack: mention a persona and it answers in the thread. See README.md."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integrations.slack.integration import Slack
    from tron.hub import Hub


def attach(hub: "Hub") -> "Slack":
    """The integration of one hub. Bolt is imported only where Slack is set up."""
    from integrations.slack.integration import Slack

    return Slack(hub)
