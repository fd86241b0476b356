"""Whose tasks a request may see.

`admin` sees every task of its tenant; anybody else those they handed in, and those of a voice
session whose id they show: that id is a secret, so whoever has it is the person who talks. All
other tasks, and sessions of another tenant, are not found.
"""

from typing import TYPE_CHECKING, NamedTuple

from tron.conversation import transcript
from tron.conversation.finding import call_key
from tron.errors import NotFound
from tron.storage.tables import sessions as conversations
from tron.tasks import records
from tron.tasks.contract import Approval, Task
from tron.web.security import Principal, principal
from tron.web.task_answers import OfSession
from tron.web.voice.sessions import VoiceSessions

if TYPE_CHECKING:
    from tron.hub import Hub


class Place(NamedTuple):
    """A session, as somebody named it."""

    key: str
    """of its conversation"""
    agent: str
    user_id: str
    secret: bool
    """it was named by what only its owner knows"""


class Border:
    """See the module."""

    def __init__(self, hub: "Hub", sessions: VoiceSessions) -> None:
        self._hub = hub
        self._sessions = sessions

    async def place(self, session_id: str | None) -> Place:
        """The session of that name; without one, none. Raises NotFound."""
        if session_id is None:
            return Place("", "", "", False)
        client_id = principal().client_id
        try:
            voice = self._sessions.find(session_id)
        except NotFound as unknown:
            mine = conversations.c.key == session_id
            async with self._hub.store.read() as connection:
                row = await transcript.find(connection, client_id, mine)
            if row is None:
                raise unknown from None
            return Place(row.key, row.agent, row.caller, False)
        if voice.client_id != client_id:
            raise NotFound("There is no such voice session.", code="session_not_found")
        return Place(call_key(client_id, voice.call_id), voice.agent, voice.user_id, True)

    def sees(self, who: Principal, task: Task, place: Place) -> bool:
        """Whether the task is in the session that was named, if one was, and `who` may see it."""
        if place.key and task.session != place.key:
            return False
        return who.may("admin") or place.secret or task.owner == who.name

    async def task(self, task_id: str, query: OfSession) -> Task:
        """Raises NotFound, also for one that is somebody else's."""
        who, place = principal(), await self.place(query.session_id)
        if task_id.isascii() and task_id.isprintable():
            task = await self._hub.desk.get(who.client_id, task_id)
            if self.sees(who, task, place):
                return task
        raise records.no_such(task_id)

    async def waiting(self, place: Place) -> list[Approval]:
        who, desk = principal(), self._hub.desk
        found = await desk.waiting(who.client_id, place.key or None)
        if who.may("admin") or place.secret:
            return found
        mine = []
        for approval in found:
            task = await desk.get(who.client_id, approval.task_id)
            if self.sees(who, task, place):
                mine.append(approval)
        return mine
