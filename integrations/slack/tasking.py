"""What people in Slack do about tasks: answer with a button or a command, and list them.

Whoever asked for a task and whoever began its thread may answer, and so may every full member of
the workspace who sees the question where it was asked; guests, people of other organisations and
whoever Slack won't name may not. The answer is given before the click is acknowledged, is bound to
the very question the button was made for, and the first one wins: whatever else is pressed changes
nothing and says so.
"""

import asyncio

import msgspec
import structlog
from sqlalchemy import or_, select

from integrations.slack import cards, wire
from integrations.slack.asking import Asking
from integrations.slack.client import Refused
from integrations.slack.mrkdwn import escape
from integrations.slack.questions import Question, Questions
from integrations.slack.workspaces import Workspaces
from tron.errors import Conflict, NotFound
from tron.storage.store import Store
from tron.storage.tables import HOUSE, slack_threads, tasks
from tron.supervise import Tasks
from tron.tasks.contract import ENDED, Approval, Task
from tron.tasks.desk import Desk

log = structlog.get_logger(__name__)

ACTIONS = (cards.APPROVE_ACTION, cards.DENY_ACTION)
WHO_S = 1.5
"""for Slack to say who somebody is; the click has to be acknowledged in 3 s"""
SHOWN = 8
LEAST_ID = 4
SAYING = 100

GONE = "That question is not there any more; nothing was changed."
ELSEWHERE = "That question was not asked here; nothing was changed."
NOT_YOURS = (
    "Only whoever asked for this task and members of this workspace can answer; guests and people "
    "of other organisations can't. Nothing was changed."
)
UNKNOWN = "Slack does not say who you are just now, so nothing was changed. Please try again."


class Somebody(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers, and where they do."""

    team: str
    channel: str
    user: str
    name: str

    @property
    def id(self) -> str:
        """As a caller."""
        return f"slack:{self.team}:{self.user}"


class Tasking:
    """See the module."""

    def __init__(
        self,
        *,
        store: Store,
        desk: Desk,
        questions: Questions,
        asking: Asking,
        workspaces: Workspaces,
    ) -> None:
        self._store = store
        self._desk = desk
        self._questions = questions
        self._asking = asking
        self._workspaces = workspaces
        self._tasks = Tasks("slack-tasking")

    async def close(self) -> None:
        await self._tasks.close()

    # Buttons

    async def clicked(self, click: wire.Click) -> None:
        """One of `ACTIONS`. Returns when the answer is kept; what is said of it comes after."""
        who = Somebody(team=click.team, channel=click.channel, user=click.user, name=click.name)
        task_id, approval_id = cards.task_and_question(click.value)
        approved = click.action == cards.APPROVE_ACTION
        said = await self._answer(who, task_id, approval_id, approved=approved)
        if click.response_url and len(self._tasks) < SAYING:
            self._tasks.start(self._after(click, who, approval_id, said), "after a click")

    async def _answer(
        self, who: Somebody, task_id: str, approval_id: str, *, approved: bool
    ) -> str:
        """Answer a question; what is to be said where that did not change anything."""
        if not task_id or not approval_id:
            return GONE
        try:
            task = await self._desk.get(HOUSE, task_id)
        except NotFound:
            return GONE
        if refusal := await self._refusal(who, task):
            log.info("slack.answer_refused", task_id=task.id, team=who.team, user=who.user)
            return refusal
        try:
            await self._desk.answer(
                HOUSE,
                task.id,
                approved=approved,
                by=cards.name_of(who.name, who.team, who.user),
                through="slack",
                approval_id=approval_id,
                session=task.session,
            )
        except (Conflict, NotFound):
            return await self._stale(who, approval_id, approved=approved)
        finally:
            self._asking.look()
        return ""

    async def _refusal(self, who: Somebody, task: Task) -> str:
        """Why `who` may not answer; empty: they may."""
        if who.id == task.owner:
            return ""
        where = await self._asking.place(task)
        if where is None or (where.team, where.channel) != (who.team, who.channel):
            return ELSEWHERE
        if who.id == where.caller:
            return ""
        try:
            async with asyncio.timeout(WHO_S):
                person = await self._workspaces.person(where.app, who.team, who.user)
        except TimeoutError:
            return UNKNOWN
        if person is None:
            return UNKNOWN
        return "" if person.member else NOT_YOURS

    async def _stale(self, who: Somebody, approval_id: str, *, approved: bool) -> str:
        asked, _ = await self._questions.find(approval_id)
        if asked is None or asked.status == "waiting":
            return GONE
        mine = cards.person(asked.answered_by or "") == (who.team, who.user)
        if mine and asked.status == ("approved" if approved else "denied"):
            return ""  # pressed twice
        return f"Nothing was changed. {cards.outcome(asked, who.team)}"

    async def _after(self, click: wire.Click, who: Somebody, approval_id: str, said: str) -> None:
        """Say what is to be said, and let no button stay on a message nobody keeps up to date."""
        asked, known = await self._questions.find(approval_id)
        try:
            if click.ephemeral:
                fresh = cards.listed(await self._theirs(who), said or _outcome(asked, who))
                await self._replace(click, fresh)
                return
            if asked is not None and asked.status != "waiting" and _orphan(click, known):
                await self._replace(click, cards.answered(asked, who.team))
            if said:
                answer = wire.ephemeral(said) | {"replace_original": False}
                await self._workspaces.respond(click.response_url, answer)
        except Refused as fault:
            log.info("slack.click_not_answered", error=str(fault))

    async def _replace(self, click: wire.Click, card: cards.Card) -> None:
        body = card.body | {"replace_original": True}
        await self._workspaces.respond(click.response_url, body)

    # Commands

    async def listing(self, command: wire.Command) -> cards.Card:
        """`/tron tasks`"""
        return cards.listed(await self._theirs(_who(command)))

    async def answer(self, command: wire.Command, id: str, *, approved: bool) -> str:
        """`/tron approve ID`, `/tron deny ID`: of a question, or of a task that asks one."""
        who = _who(command)
        waiting = [task.approval for task in await self._theirs(who) if task.approval]
        found = [asked for asked in waiting if _is(id, asked)] if id else waiting
        if len(found) != 1:
            which = "More than one question waits" if found else "No such question waits here"
            return f"{which}: `/tron tasks` shows them all. Nothing was changed."
        (asked,) = found
        said = await self._answer(who, asked.task_id, asked.id, approved=approved)
        if said:
            return said
        done, _ = await self._questions.find(asked.id)
        return f"{escape(asked.prompt)}\n{_outcome(done, who)}"

    async def _theirs(self, who: Somebody) -> list[Task]:
        """What is under way and was asked for by them, or in threads of this channel."""
        here = select(slack_threads.c.session_key).where(
            slack_threads.c.client_id == HOUSE,
            slack_threads.c.team_id == who.team,
            slack_threads.c.channel == who.channel,
        )
        query = (
            select(tasks.c.id)
            .where(
                tasks.c.client_id == HOUSE,
                tasks.c.status.not_in(ENDED),
                or_(tasks.c.owner == who.id, tasks.c.session_key.in_(here)),
            )
            .order_by((tasks.c.status != "awaiting_approval"), tasks.c.created_at.desc())
            .limit(SHOWN)
        )
        async with self._store.read() as conn:
            found = list((await conn.execute(query)).scalars())
        return [await self._desk.get(HOUSE, id) for id in found]


def _who(command: wire.Command) -> Somebody:
    return Somebody(
        team=command.team, channel=command.channel, user=command.user, name=command.name
    )


def _is(id: str, asked: Approval) -> bool:
    """Whether `id`, or the beginning of one, is that of the question or its task."""
    if len(id.rpartition("_")[2]) < LEAST_ID:
        return False
    return any(full.startswith(id) for full in (asked.id, asked.task_id))


def _orphan(click: wire.Click, known: Question | None) -> bool:
    return known is None or known.ts != click.message


def _outcome(asked: Approval | None, who: Somebody) -> str:
    return "" if asked is None else cards.outcome(asked, who.team)
