"""Reporting: what becomes of tasks is told to whoever asked, where they are.

Follows the log of all tasks. When a task waits for approval or has ended it is said in the live
call of its conversation, if this hub has it; or posted, if the conversation's channel can post;
else it waits for the conversation's next turn (`talk.py`). Each thing is claimed before it is told,
so over several hubs it is told once; what came to nothing (the call ended, the post failed) is
given back.
"""

from collections.abc import Awaitable, Callable, Iterable

import structlog

from tron.calls.call import Call
from tron.calls.switchboard import Switchboard
from tron.errors import NotFound, TronError
from tron.storage.tables import HOUSE
from tron.supervise import Tasks
from tron.tasks.contract import ENDED, Task
from tron.tasks.desk import Desk
from tron.tasks.talk import Talk, nobody, question, told_end
from tron.tasks.told import Told, Untold

log = structlog.get_logger(__name__)

AGAIN_S = 2.0
TOLD = ("task_waiting_approval", "task_completed", "task_failed")

Poster = Callable[[Task, str], Awaitable[bool]]
"""Posts a text about a task where its conversation is held (`task.session`); `task.approval` is the
question, if it is one. False: it could not be posted."""


class Reporting:
    """See the module."""

    def __init__(self, *, desk: Desk, told: Told, talk: Talk, switchboard: Switchboard) -> None:
        self._desk = desk
        self._told = told
        self._talk = talk
        self._switchboard = switchboard
        self._posters: dict[str, Poster] = {}
        self._busy: dict[str, bool] = {}
        """tasks being told; True: something new came meanwhile"""
        self._tasks = Tasks("task reporting")
        talk.left = self._left

    def poster(self, channel: str, post: Poster) -> None:
        """Conversations on `channel` are told by `post`."""
        self._posters[channel] = post

    def start(self) -> None:
        """Begin to follow; what nobody was told of yet comes first."""
        self._tasks.repeat(self._follow, "follow", every_s=AGAIN_S)

    async def close(self) -> None:
        self._talk.left = nobody
        await self._tasks.close()

    async def _follow(self) -> None:
        async with self._desk.follow(HOUSE) as lines:
            self._tell_all(await self._told.untold(HOUSE))
            async for line in lines:
                if line.kind in TOLD and line.session:
                    self._consider(line.client_id, line.task_id)

    def _left(self, client_id: str, session: str) -> None:
        """A turn has ended, and something new may have come during it."""
        self._tasks.start(self._catch_up(client_id, session), "catch up")

    async def _catch_up(self, client_id: str, session: str) -> None:
        try:
            self._tell_all(await self._told.untold(client_id, session))
        except TronError as error:
            log.warning("task.untold", session=session, error=error.type)

    def _tell_all(self, found: Iterable[Untold]) -> None:
        for one in found:
            self._consider(one.client_id, one.task_id)

    def _consider(self, client_id: str, task_id: str) -> None:
        if task_id in self._busy:
            self._busy[task_id] = True
        else:
            self._busy[task_id] = False
            self._tasks.start(self._tell(client_id, task_id), task_id)

    async def _tell(self, client_id: str, task_id: str) -> None:
        try:
            while True:
                self._busy[task_id] = False
                await self._tell_once(await self._desk.get(client_id, task_id))
                if not self._busy[task_id]:
                    return
        except TronError as error:
            log.warning("task.untold", task_id=task_id, error=error.type)
        finally:
            del self._busy[task_id]

    async def _tell_once(self, task: Task) -> None:
        """Tell what `task` has come to, or leave it to the next turn of its conversation."""
        asked = task.approval if task.status == "awaiting_approval" else None
        if asked is None and task.status not in ENDED:
            return
        self._talk.news(task.client_id, task.session, task.owner)
        if self._talk.busy(task.client_id, task.session):
            return  # behind the answer that is being given
        call = self._call_of(task)
        post = None if call else await self._poster_of(task)
        if call is None and post is None:
            return
        text = question(asked) if asked else told_end(task, spoken=call is not None)
        if asked:
            mine = await self._told.claim_question(task.client_id, asked.id)
        else:
            mine = await self._told.claim_end(task.client_id, task.id)
        if not mine or not text:
            return
        done = False
        try:
            if call is not None:
                heard = await call.announce(text)
                done = asked.prompt in heard if asked else 2 * len(heard) >= len(text)
            elif post is not None:
                done = await post(task, text)
        finally:
            if not done:
                await self._give_back(task)

    async def _give_back(self, task: Task) -> None:
        try:
            if task.approval is not None:
                await self._told.give_back_question(task.client_id, task.approval.id)
            else:
                await self._told.give_back_end(task.client_id, task.id)
        except TronError as error:
            log.error("task.told_to_nobody", task_id=task.id, error=error.type)

    def _call_of(self, task: Task) -> Call | None:
        """The call in which `task` can be spoken of."""
        for call in self._switchboard.live:
            record = call.record
            if not isinstance(call, Call):  # its carrier speaks by itself, and only when asked
                continue
            if call.cause is not None or record.client_id != task.client_id:
                continue
            if call.session_key == task.session:
                return call
            # The same telephone in a later call; what is to be approved stays where it was asked.
            again = task.owner.startswith("+") and record.caller == task.owner
            if again and call.session_key and task.approval is None:
                return call
        return None

    async def _poster_of(self, task: Task) -> Poster | None:
        try:
            channel = await self._told.channel(task.client_id, task.session)
        except NotFound:
            return None
        return self._posters.get(channel)
