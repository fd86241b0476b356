"""What personas can do in Slack on their own: write a message.

Slack has no key that would make a second try the same as the first, so an interrupted message is
not repeated unless somebody says so, and none is tried twice on its own either.
"""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from integrations.slack.apps import SHARED
from integrations.slack.mrkdwn import MESSAGE_CHARS, mrkdwn
from tron.tools.contract import Tool, ToolContext, ToolFailed

if TYPE_CHECKING:
    from integrations.slack.running import Running

TIMEOUT_S = 40.0
PATIENCE_S = 15.0
REASONS = {
    "channel_not_found": "there is no such channel, or the app can't see it",
    "not_in_channel": "the app is not in that channel; somebody has to invite it",
    "is_archived": "that channel is archived",
    "user_not_found": "there is nobody with that id",
    "missing_scope": "the app may not write there; its scopes are in integrations/slack/README.md",
    "restricted_action": "the workspace does not let the app write there",
    "rate_limited": "Slack wants fewer messages just now; try again in a minute",
}

UNCERTAIN = ("unreachable", "internal_error", "fatal_error", "service_unavailable")


class SendSlackMessage(msgspec.Struct):
    channel: Annotated[
        str,
        Meta(
            min_length=2,
            max_length=100,
            description="The channel by name (#general) or id (C…), or a person by id (U…).",
        ),
    ]
    text: Annotated[
        str,
        Meta(min_length=1, max_length=MESSAGE_CHARS, description="The message, in Markdown."),
    ]
    thread: Annotated[
        str,
        Meta(max_length=32, description="`ts` of a message to answer in its thread."),
    ] = ""


def tools(running: "Running | None") -> list[Tool[Any]]:
    """The tools of this file. `running`: None where Slack is not set up."""

    async def run(context: ToolContext, args: SendSlackMessage) -> str:
        from integrations.slack.client import Refused  # heavy: only where Slack is set up

        assert running is not None  # else it was refused
        agent = context.process.agent
        app = agent if agent in running.apps.by_key else SHARED
        try:
            answer = await running.workspaces.call(
                app,
                "",
                "chat.postMessage",
                patience_s=PATIENCE_S,
                tries=1,
                channel=args.channel.strip().removeprefix("#"),
                text=mrkdwn(args.text),
                thread_ts=args.thread.strip() or None,
            )
        except Refused as refused:
            raise ToolFailed(_told(refused.error)) from None
        return f"Posted in {answer.get('channel') or args.channel} (ts {answer.get('ts')})."

    def why_not(_: SendSlackMessage) -> str | None:
        if running is None or not any(app.bot_token for app in running.apps.by_key.values()):
            return "Slack is not set up for that here: SLACK_BOT_TOKEN is missing."
        return None

    return [
        Tool(
            "send_slack_message",
            "Write a message in a Slack channel, or to somebody in Slack.",
            SendSlackMessage,
            run,
            effect="send",
            timeout_s=TIMEOUT_S,
            why_not=why_not,
        )
    ]


def _told(error: str) -> str:
    if error in UNCERTAIN or error.startswith("http_5"):
        return "Slack could not be reached; whether the message arrived is not known."
    return f"Slack did not take the message: {REASONS.get(error, error)}."
