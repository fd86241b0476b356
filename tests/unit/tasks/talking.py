"""Conversations of a house: a door with tasks behind it, for tests of what is said of them."""

from pathlib import Path
from typing import Any

from tests.unit.conversation.conftest import Office, Script
from tests.unit.tasks.house import PERSONA, House
from tron.conversation.reply import Reply
from tron.storage.tables import HOUSE
from tron.tasks.contract import Task
from tron.tasks.talk import Talk
from tron.tasks.told import Told
from tron.tools.tasking import tasking


class Talking:
    """A house, an office on the same database, and the tasks' talk in between."""

    def __init__(self, house: House, folder: Path, hub_id: str = "hub-1") -> None:
        self.house = house
        self.office = Office(house.store, folder, hub_id)
        self.told = Told(house.store, house.clock)
        self.talk = Talk(desk=house.desk, told=self.told)
        self.office.door._aside = self.talk
        self.office.with_tools(*tasking(lambda: house.desk, self.told))

    @property
    def script(self) -> Script:
        return self.office.script

    async def say(self, text: str, **turn: Any) -> Reply:
        return await self.office.say(text, **turn)

    async def session(self, **turn: Any) -> str:
        """A conversation that has begun; its key."""
        self.script.answers.append("Hello.")
        return (await self.say("hi", **turn)).done.session

    async def asking(self, session: str, *tools: str, **more: Any) -> Task:
        """A task of that session that waits for approval."""
        task = await self.house.new(*(tools or ("run",)), session=session, **more)
        assert task.status == "awaiting_approval"
        self.talk.news(HOUSE, session)
        return task

    async def close(self) -> None:
        await self.office.close()


def people(folder: Path) -> Path:
    """The personas of a house, with two more."""
    for name in ("Maya", "Alex"):
        (folder / "personas" / f"{name.lower()}.md").write_text(PERSONA.format(name=name))
    return folder / "personas"
