"""How tasks look in Slack: questions with buttons, what became of them, lists. Pure.

What is to be approved is shown as plain text, so that nothing in it can pass for formatting, a
mention or a link, and in full, over several blocks if need be. A button's value names the task and
the question it was made for.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from integrations.slack.mrkdwn import escape
from tron.tasks.contract import Approval, Task

APPROVE_ACTION = "tron.approve"
DENY_ACTION = "tron.deny"
SECTION_CHARS = 2_900
"""Slack takes 3,000"""
TEXT_CHARS = 3_000
MOST_SECTIONS = 40

Blocks = list[dict[str, Any]]

_PERSON = re.compile(r"(?:.* \()?slack:([A-Z0-9]+):([A-Z0-9]+)\)?", re.DOTALL)
_WAYS = {
    "api": "over the API",
    "socket": "on the page for talking",
    "voice": "on the telephone",
    "chat": "in writing",
    "panel": "on the hub’s page",
    "cli": "on the command line",
    "slack": "in Slack",
}
_NAMED = ("api", "panel", "cli")
"""ways on which the name is that of a principal, and no telephone number"""


class Card(NamedTuple):
    """A message; `text` is for notifications and for who can't see blocks."""

    text: str
    blocks: Blocks

    @property
    def body(self) -> dict[str, Any]:
        return {"text": self.text, "blocks": self.blocks}


def name_of(name: str, team: str, user: str) -> str:
    """How a person of Slack is recorded as the one who answered."""
    return f"{name} (slack:{team}:{user})" if name else f"slack:{team}:{user}"


def person(name: str) -> tuple[str, str] | None:
    """(team, user) of somebody of Slack, from `name_of` or a caller id."""
    found = _PERSON.fullmatch(name)
    return None if found is None else (found[1], found[2])


def task_and_question(value: str) -> tuple[str, str]:
    """What a button was made for; empty where it says nothing."""
    task_id, _, approval_id = value.partition("/")
    return task_id, approval_id


def asked(task: Task, approval: Approval, team: str) -> Card:
    """The question, with its buttons."""
    notes = [f"{approval.risk} risk", f"for “{escape(task.summary)}”"]
    if who := _mention(task.owner, team):
        notes.append(f"asked for by {who}")
    notes.append(f"answer by {_moment(approval.expires_at)}")
    blocks = [*_exactly(approval.prompt), _note(" · ".join(notes)), _buttons(approval)]
    return Card(_short(approval.prompt), blocks)


def answered(approval: Approval, team: str) -> Card:
    """The question, with what became of it in the place of its buttons."""
    told = outcome(approval, team)
    text = _short(f"{approval.prompt} {_PLAIN[approval.status]}.")
    return Card(text, [*_exactly(approval.prompt), _note(told)])


def outcome(approval: Approval, team: str) -> str:
    """Who answered a question, how and when."""
    at = f", {_moment(approval.answered_at)}" if approval.answered_at else ""
    match approval.status:
        case "approved":
            return f":white_check_mark: Approved by {_who(approval, team)}{at}"
        case "denied":
            return f":no_entry: Denied by {_who(approval, team)}{at}"
        case "expired":
            return ":hourglass: Nobody answered in time, so it is not done."
        case "withdrawn":
            return ":leftwards_arrow_with_hook: The question was taken back."
    return ":raised_hand: It waits for an answer."


_PLAIN = {
    "approved": "Approved",
    "denied": "Denied",
    "expired": "Nobody answered in time",
    "withdrawn": "Taken back",
    "waiting": "It waits for an answer",
}


def listed(tasks: Iterable[Task], note: str = "") -> Card:
    """Tasks as they stand; those that wait for approval with what they ask, and buttons."""
    found = list(tasks)
    blocks = [_note(note)] if note else []
    for task in found:
        line = f"*{escape(task.summary)}*: {task.status.replace('_', ' ')}"
        asked = task.approval
        blocks.append(_marked(f"{line} · `{asked.id if asked else task.id}`"))
        if asked is not None:
            blocks += [*_exactly(asked.prompt), _buttons(asked)]
    if not found:
        blocks.append(_marked("No task of yours or of this channel is under way."))
    lines = [f"{task.summary} ({task.status.replace('_', ' ')})" for task in found]
    return Card(
        _short("\n".join(lines) or "No task of yours or of this channel is under way."), blocks
    )


def _exactly(text: str) -> Blocks:
    parts = [text[at : at + SECTION_CHARS] for at in range(0, len(text), SECTION_CHARS)]
    return [
        {"type": "section", "text": {"type": "plain_text", "text": part, "emoji": False}}
        for part in parts[:MOST_SECTIONS]
    ]


def _marked(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _note(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}


def _buttons(approval: Approval) -> dict[str, Any]:
    def button(label: str, action: str, style: str) -> dict[str, Any]:
        return {
            "type": "button",
            "text": {"type": "plain_text", "text": label},
            "action_id": action,
            "value": f"{approval.task_id}/{approval.id}",
            "style": style,
        }

    return {
        "type": "actions",
        "elements": [
            button("Approve", APPROVE_ACTION, "primary"),
            button("Deny", DENY_ACTION, "danger"),
        ],
    }


def _who(approval: Approval, team: str) -> str:
    by, through = approval.answered_by or "", approval.through or ""
    if mention := _mention(by, team):
        return mention
    return f"{escape(by) if through in _NAMED else 'somebody'} {_WAYS.get(through, '')}".strip()


def _mention(name: str, team: str) -> str:
    found = person(name)
    return f"<@{found[1]}>" if found and found[0] == team else ""


def _moment(ms: int) -> str:
    """In the reader's own time zone."""
    seconds = ms // 1000
    return f"<!date^{seconds}^{{date_short_pretty}} {{time}}|{seconds}>"


def _short(text: str) -> str:
    text = text if len(text) <= TEXT_CHARS else f"{text[: TEXT_CHARS - 1]}…"
    return escape(text)
