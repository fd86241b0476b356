"""Tasks told in Slack: questions with buttons in their thread, changed once answered, and ends.

`post` is what the hub's reporting tells with. A question is written down (`questions.py`) before
it is posted, so from there on it is asked whatever happens; a round every other second posts what
is due and shows at each question what became of it, wherever it was answered. A task that was
asked for outside any thread (`/tron ask`), or whose thread is closed to us, is told to its owner
in a direct message.
"""

import asyncio
from typing import Any

import structlog

from integrations.slack import cards
from integrations.slack.apps import SHARED, Apps
from integrations.slack.client import Refused
from integrations.slack.inbox import Inbox
from integrations.slack.mrkdwn import mrkdwn, split
from integrations.slack.questions import Question, Questions, Where
from integrations.slack.threads import Threads
from integrations.slack.workspaces import Workspaces
from tron.clock import DAY_MS, Clock
from tron.errors import NotFound
from tron.storage.tables import HOUSE
from tron.supervise import Tasks
from tron.tasks.contract import Task
from tron.tasks.desk import Desk

log = structlog.get_logger(__name__)

EVERY_S = 2.0
LOST_EVERY_S = 30.0
"""rounds"""
BEHIND_ANSWER_S = 30.0
"""how long the answer in whose turn a task was begun may take to come first"""
LOOK_S = 0.3
PATIENCE_S = 30.0
TELL_PAUSES_S = (2.0, 5.0, 15.0, 30.0, 60.0, 60.0, 120.0, 300.0)
SHOWN_MS = DAY_MS
"""an answer that could not be shown within this is not shown any more"""
CLOSED_TO_US = frozenset(
    (
        *("channel_not_found", "not_in_channel", "is_archived", "thread_not_found"),
        *("cannot_reply_to_message", "restricted_action", "restricted_action_thread_locked"),
    )
)
MESSAGE_LOST = frozenset(
    ("message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found")
)


class Asking:
    """See the module."""

    def __init__(
        self,
        *,
        desk: Desk,
        questions: Questions,
        threads: Threads,
        inbox: Inbox,
        workspaces: Workspaces,
        apps: Apps,
        clock: Clock,
    ) -> None:
        self._desk = desk
        self._questions = questions
        self._threads = threads
        self._inbox = inbox
        self._workspaces = workspaces
        self._apps = apps
        self._clock = clock
        self._soon = asyncio.Event()
        self._tasks = Tasks("slack-asking")
        self._closing = False

    def start(self) -> None:
        self._tasks.repeat(self._round, "rounds", every_s=EVERY_S, soon=self._soon)
        self._tasks.repeat(self._find_lost, "lost questions", every_s=LOST_EVERY_S)
        self._tasks.repeat(self._questions.prune, "pruning", every_s=LOST_EVERY_S)

    async def close(self) -> None:
        self._closing = True
        await self._tasks.close()

    def look(self) -> None:
        """Something was answered here: show it now."""
        self._soon.set()

    async def place(self, task: Task) -> Where | None:
        """Where the conversation of `task` is held; None if that is not in Slack."""
        if task.session and (thread := await self._threads.of_session(task.session)):
            return Where(
                app=thread.app,
                team=thread.team,
                channel=thread.channel,
                thread=thread.thread_ts,
                lane=f"{thread.team}:{thread.channel}:{thread.thread_ts}",
                caller=thread.caller,
            )
        return self._owner(task)

    def _owner(self, task: Task) -> Where | None:
        """A direct message to whoever asked for it."""
        found = cards.person(task.owner)
        if found is None:
            return None
        team, user = found
        app = task.agent if task.agent in self._apps.by_key else SHARED
        lane = f"{team}:command:{user}"
        return Where(app=app, team=team, channel=user, thread="", lane=lane, caller=task.owner)

    async def post(self, task: Task, text: str) -> bool:
        """See `tron.tasks.reporting.Poster`."""
        if self._closing:
            return False
        telling = self._tasks.start(self._post(task, text), task.id)
        try:
            await asyncio.wait({telling})
        finally:
            telling.cancel()
        return not telling.cancelled() and telling.exception() is None and telling.result()

    async def _post(self, task: Task, text: str) -> bool:
        where = await self.place(task)
        if where is None:
            return False
        await self._behind_the_answer(where)
        if task.approval is None:
            return await self._tell(task, where, text)
        question = await self._questions.add(task.approval.id, where)
        if question is not None:
            await self._ask(question)
        return True  # from here on the rounds see to it

    async def _behind_the_answer(self, where: Where) -> None:
        end = self._clock.monotonic() + BEHIND_ANSWER_S
        while where.lane and self._clock.monotonic() < end:
            if not await self._inbox.answering(where.lane):
                return
            await asyncio.sleep(LOOK_S)

    async def _tell(self, task: Task, where: Where, text: str) -> bool:
        """Post an end, trying for as long as Slack can't be reached."""
        parts = [mrkdwn(part) for part in split(text)]
        for pause in (*TELL_PAUSES_S, None):
            try:
                while parts:
                    await self._send(where, "chat.postMessage", text=parts[0])
                    del parts[0]
                return True
            except Refused as fault:
                log.warning("slack.task_not_told", task_id=task.id, error=str(fault))
                instead = self._owner(task) if fault.error in CLOSED_TO_US else None
                if instead is not None and instead.channel != where.channel:
                    where = instead
                    continue
            if pause is None:
                break
            await asyncio.sleep(pause)
        return False

    # Questions

    async def _round(self) -> None:
        """Post what is due; show what was answered."""
        due = await self._questions.take()
        await asyncio.gather(*(self._attend(question) for question in due))

    async def _attend(self, question: Question) -> None:
        await (self._show(question) if question.ts else self._ask(question))

    async def _find_lost(self) -> None:
        """Questions that a hub took over from reporting and then died."""
        for task_id in await self._questions.lost():
            task = await self._desk.get(HOUSE, task_id)
            where = await self.place(task)
            if where is not None and task.approval is not None:
                question = await self._questions.add(task.approval.id, where)
                if question is not None:
                    await self._ask(question)

    async def _ask(self, question: Question) -> None:
        """Post the question. What fails is tried again when its lease is over."""
        approval, _ = await self._questions.find(question.approval_id)
        if approval is None or approval.status != "waiting":
            await self._questions.close(question)
            return
        try:
            task = await self._desk.get(HOUSE, approval.task_id)
        except NotFound:
            await self._questions.close(question)
            return
        card = cards.asked(task, approval, question.where.team)
        try:
            told = await self._send(question.where, "chat.postMessage", **card.body)
        except Refused as fault:
            log.warning("slack.question_not_asked", task_id=task.id, error=str(fault))
            instead = self._owner(task) if fault.error in CLOSED_TO_US else None
            if instead is not None and instead.channel != question.where.channel:
                await self._questions.move(question, instead)
                self.look()
            return
        channel = str(told.get("channel") or question.where.channel)
        await self._questions.posted(question, channel, str(told["ts"]))

    async def _show(self, question: Question) -> None:
        """Put what became of it in the place of the buttons."""
        approval, _ = await self._questions.find(question.approval_id)
        if approval is None:
            await self._questions.close(question)
            return
        card = cards.answered(approval, question.where.team)
        try:
            await self._send(question.where, "chat.update", ts=question.ts, **card.body)
        except Refused as fault:
            log.warning("slack.answer_not_shown", approval=approval.id, error=str(fault))
            late = self._clock.now_ms() - (approval.answered_at or 0) > SHOWN_MS
            if fault.error not in MESSAGE_LOST and not late:
                return
        await self._questions.close(question)

    async def _send(self, where: Where, method: str, **given: Any) -> dict[str, Any]:
        if method == "chat.postMessage":
            given |= {"thread_ts": where.thread or None, "unfurl_links": False}
        return await self._workspaces.call(
            where.app, where.team, method, patience_s=PATIENCE_S, channel=where.channel, **given
        )
