"""Tasks in a conversation: questions asked word for word, answers taken, ends told.

The hub itself says what a person is to approve, behind the persona's answer, so that no model can
word it otherwise; and a yes or no to it goes to the desk and not to a model. A bare "yes" counts
only while that question is the last thing that was said; "approve" and "deny" say themselves what
they mean and count when exactly one question waits. Callers: the door, as its `Aside`; `reporting`
says here what is new.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from tron.conversation.aside import HUB
from tron.conversation.session import INTERNAL_CHANNELS, Session
from tron.conversation.thinking import Thought
from tron.conversation.turns import TurnInput
from tron.errors import Conflict, NotFound, StorageUnavailable
from tron.tasks.answers import answer, explicit
from tron.tasks.contract import ENDED, Approval, Task
from tron.tasks.desk import Desk
from tron.tasks.told import Told

log = structlog.get_logger(__name__)

SAY = " Say yes or no."
REMINDER = "Reminder:"
"""what the result of a task begins with that is told by itself"""
BEHIND = 40
"""characters that may follow a question in the last thing said"""
SPOKEN_CHARS = 300
WRITTEN_CHARS = 1_500
AT_ONCE = 3
"""ends told behind one answer; the others come with the next"""
PLACES = 10_000
WITH_BUTTONS = ("slack",)
"""channels where questions are posted with buttons and may be read by several people"""
SILENT = (*INTERNAL_CHANNELS, "life")

Place = tuple[str, str]


class Talk:
    """See the module."""

    def __init__(self, *, desk: Desk, told: Told) -> None:
        self._desk = desk
        self._told = told
        self._news: OrderedDict[Place, None] = OrderedDict()
        self._inside: Counter[Place] = Counter()
        self.left: Callable[[str, str], None] = nobody
        """called when a conversation that has news is between two turns again"""

    def news(self, client_id: str, *keys: str) -> None:
        """There is something to tell in the session (or to the phone number) `keys`."""
        for key in keys:
            self._news[client_id, key] = None
            self._news.move_to_end((client_id, key))
        while len(self._news) > PLACES:
            self._news.popitem(last=False)

    def busy(self, client_id: str, session: str) -> bool:
        """Whether a turn of that session is under way here, behind which news is told."""
        return self._inside[client_id, session] > 0

    @contextmanager
    def turn(self, client_id: str, session: str) -> Iterator[None]:
        place = (client_id, session)
        self._inside[place] += 1
        try:
            yield
        finally:
            self._inside[place] -= 1
            if not self._inside[place]:
                del self._inside[place]
                if place in self._news:
                    self.left(client_id, session)

    async def answered(self, turn: TurnInput, session: Session) -> str | None:
        said = turn.messages[-1] if turn.messages else None
        if said is None or said.role != "user" or turn.channel in (*SILENT, *WITH_BUTTONS):
            return None
        approved = answer(said.content)
        if approved is None:
            return None
        waiting = await self._desk.waiting(turn.client_id, session.key)
        meant = _meant(said.content, waiting, _said_before(session))
        if meant is None:
            return None
        try:
            task = await self._desk.answer(
                turn.client_id,
                meant.task_id,
                approved=approved,
                by=turn.caller.id,
                through="voice" if turn.spoken else "chat",
                approval_id=meant.id,
                session=session.key,
            )
        except (Conflict, NotFound):  # somebody else was faster, or it was too late
            return "That question is not open any more, so nothing has changed."
        if approved:
            return "Approved. I'm going on with it."
        if task.status in ENDED:
            await self._told.claim_end(task.client_id, task.id)
        return "All right, I won't do it. The task has ended."

    async def closing(self, turn: TurnInput, session: Session, thought: Thought) -> str:
        if turn.channel in (*SILENT, *WITH_BUTTONS) or thought.caller_calls:
            return ""
        if "response_format" in turn.params:  # words behind it would break the form
            return ""
        # A phone number is the same person in every call; other names may be shared or made up.
        number = turn.caller.id if turn.spoken and turn.caller.id.startswith("+") else ""
        keys = [key for key in (session.key, number) if (turn.client_id, key) in self._news]
        if not keys and not thought.tools and thought.provider != HUB:
            return ""
        try:
            said = await self._due(turn, session, number)
        except (StorageUnavailable, NotFound, Conflict) as error:
            log.warning("task.untold", session=session.key, error=error.type)
            return ""
        lead = " " if turn.spoken else "\n\n"
        return "".join(lead + text for text in said)

    async def _due(self, turn: TurnInput, session: Session, number: str) -> list[str]:
        """What is ours to say now, claimed."""
        client_id, said = turn.client_id, []
        found = await self._told.untold(client_id, session.key)
        if number and (client_id, number) in self._news:
            found += [one for one in await self._told.untold(client_id) if one.owner == number]
        tasks = [await self._desk.get(client_id, one.task_id) for one in dict.fromkeys(found)]
        ended = [task for task in tasks if task.status in ENDED]
        for task in ended[:AT_ONCE]:
            if await self._told.claim_end(client_id, task.id):
                said.append(told_end(task, spoken=turn.spoken))
        asking = [task.approval for task in tasks if task.session == session.key and task.approval]
        for asked in asking:
            if await self._told.claim_question(client_id, asked.id):
                said.append(question(asked))
                break  # one at a time, or nobody knows what a yes is to
        if len(ended) <= AT_ONCE and len(asking) <= 1:
            for key in (session.key, number):
                self._news.pop((client_id, key), None)
        return [text for text in said if text]


def nobody(client_id: str, session: str) -> None:
    """Is told that a turn has ended."""


def question(approval: Approval) -> str:
    """How a person is asked."""
    return approval.prompt + SAY


def told_end(task: Task, *, spoken: bool) -> str:
    """What has become of a task; "" for what nobody needs to be told."""
    name = f"“{task.summary.rstrip('.')}”"
    if task.status == "completed":
        result = _fitting(task.result or "", spoken)
        if result.startswith(REMINDER):
            return result
        return f"The task {name} is done{': ' + result if result else '.'}"
    if task.status == "cancelled" or task.code == "approval_denied":
        return ""  # whoever did that knows
    if task.code == "approval_expired":
        return f"The task {name} has ended, because nobody approved it in time."
    detail = _fitting(task.detail or "", spoken)
    return f"The task {name} has failed{': ' + detail if detail else '.'}"


def _fitting(text: str, spoken: bool) -> str:
    text = " ".join(text.split()) if spoken else text.strip()
    limit = SPOKEN_CHARS if spoken else WRITTEN_CHARS
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def _meant(said: str, waiting: list[Approval], before: str) -> Approval | None:
    """The question that `said` answers; None where that is not certain."""
    asked = [one for one in waiting if _ends_with(before, one.prompt)]
    if asked:
        return asked[0]
    if explicit(said) and len(waiting) == 1:
        return waiting[0]
    return None


def _said_before(session: Session) -> str:
    """What was said directly before the latest message, if the persona said it."""
    before = session.entries[-2].message if len(session.entries) > 1 else None
    return before.content if before is not None and before.role == "assistant" else ""


def _ends_with(said: str, prompt: str) -> bool:
    """Whether `prompt` is the last thing in `said`, but for how to answer it."""
    return prompt in said.rstrip()[-(len(prompt) + BEHIND) :]
