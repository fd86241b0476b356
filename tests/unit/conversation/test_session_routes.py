"""`/api/sessions`: what operators see of conversations, page by page, and how they end one."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from quart import Quart
from quart_schema import QuartSchema

from tests.harness.waiting import eventually
from tests.unit.conversation.conftest import Office
from tron.events import SessionEnded
from tron.orchestrator.history import History
from tron.supervise import Tasks
from tron.web import errors, security, sessions
from tron.web.security import Security


class Desk:
    """An operator with the routes of one hub in front of them."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.history = History(office.store, office.clock, office.bus, keep_days=30, hub_id="hub-1")
        self.background = Tasks("test")
        hub: Any = SimpleNamespace(
            settings=office.settings,
            clock=office.clock,
            agents=office.agents,
            orchestrator=office.orchestrator,
            sessions=office.sessions,
            door=office.door,
            history=self.history,
            background=self.background,
        )
        self.app = Quart("tron")
        QuartSchema(self.app, conversion_preference="pydantic")
        errors.install(self.app)
        security.guard(self.app, Security(office.settings, office.store, office.clock))
        self.app.register_blueprint(sessions.routes(hub))

    async def ask(self, method: str, path: str, expected: int = 200, **query: Any) -> Any:
        answer = await self.app.test_client().open(  # type: ignore[call-arg]
            path,
            method=method,
            query_string=query,
            headers={"Host": "127.0.0.1:3000"},
            scope_base={"client": ("127.0.0.1", 50000)},
        )
        assert answer.status_code == expected, await answer.get_data(as_text=True)
        self.headers = answer.headers
        return cast(Any, await answer.get_json())

    async def shown(self, key: str) -> tuple[str, str]:
        """(process, status) of a session, the same in the list and by itself."""
        one = await self.ask("GET", f"/api/sessions/{key}")
        listed = [row for row in await self.ask("GET", "/api/sessions") if row["key"] == key]
        assert all(row["status"] == one["status"] for row in listed)
        return one["process_id"], one["status"]


@pytest.fixture
async def desk(office: Office) -> AsyncIterator[Desk]:
    made = Desk(office)
    made.history.start()
    yield made
    await made.history.close()
    await made.background.close()


async def test_every_session_is_on_one_page(desk: Desk) -> None:
    for name in range(7):  # two at each moment
        await desk.office.say("hi", caller=f"caller {name}")
        if name % 2:
            desk.office.clock.advance(1)
    whole = [row["key"] for row in await desk.ask("GET", "/api/sessions")]
    assert len(whole) == 7
    assert "X-Next-Cursor" not in desk.headers
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        seen += [row["key"] for row in await desk.ask("GET", "/api/sessions", **query)]
        assert desk.headers["X-Total-Count"] == "7"
        if (cursor := desk.headers.get("X-Next-Cursor")) is None:
            break
        query["cursor"] = cursor
    assert seen == whole


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"cursor": "9" * 16 + "-x"}]
)
async def test_pages_there_are_not(desk: Desk, query: dict[str, Any]) -> None:
    answer = await desk.ask("GET", "/api/sessions", expected=400, **query)
    assert answer["error"]["param"] in query


async def test_a_killed_process_is_still_named_with_how_it_ended(desk: Desk) -> None:
    office = desk.office
    office.script.hold = asyncio.Event()
    turn = asyncio.ensure_future(office.say("hi"))
    await eventually(lambda: bool(office.script.asked))
    [session] = office.sessions.live
    process = session.process
    assert process is not None
    assert process.name == session.key
    assert await desk.shown(session.key) == (process.id, "running")
    await office.orchestrator.kill(process.id)
    await asyncio.wait([turn])
    assert turn.exception() is not None
    await eventually(lambda: not office.sessions.live)
    assert await desk.shown(session.key) == (process.id, "failed")
    await desk.history.flush()
    office.orchestrator._finished.clear()  # another run of the hub knows it from the record alone
    assert await desk.shown(session.key) == (process.id, "failed")


async def test_a_session_ends_and_its_messages_stay(desk: Desk) -> None:
    office = desk.office
    key = (await office.say("hi")).done.session
    for _ in range(2):
        assert await desk.ask("POST", f"/api/sessions/{key}/end") == {"ok": True}
    assert await desk.ask("GET", "/api/sessions") == []
    assert await office.said(key) == ["user: hi", "assistant: re: hi"]
    causes = [event.cause for event in office.events if isinstance(event, SessionEnded)]
    assert causes == ["ended"]
    assert (await office.say("hi again")).done.session != key
    await desk.ask("POST", "/api/sessions/none/end", expected=404)


async def test_an_answer_on_its_way_is_kept_and_does_not_open_the_session_again(
    desk: Desk,
) -> None:
    office = desk.office
    office.script.hold = asyncio.Event()
    turn = asyncio.ensure_future(office.say("hi"))
    await eventually(lambda: bool(office.script.asked))
    key = office.sessions.live[0].key
    await desk.ask("POST", f"/api/sessions/{key}/end")
    office.script.hold.set()
    await turn
    assert await office.said(key) == ["user: hi", "assistant: re: hi"]
    assert await desk.ask("GET", "/api/sessions") == []
    assert (await office.say("more", session=key)).done.session == key
    assert [row["key"] for row in await desk.ask("GET", "/api/sessions")] == [key]


async def test_a_deleted_session_is_remembered_with_its_agent(desk: Desk) -> None:
    key = (await desk.office.say("hi")).done.session
    await desk.ask("DELETE", f"/api/sessions/{key}")
    [end] = [event for event in desk.office.events if isinstance(event, SessionEnded)]
    assert (end.agent, end.cause) == ("tony", "deleted")


async def test_a_persona_whose_life_fails_still_answers(desk: Desk) -> None:
    async def fail(_: Any) -> None:
        raise ValueError("no")

    for _ in range(6):
        if desk.office.orchestrator.resting:
            break
        await desk.office.orchestrator.spawn("tony", fail, restarts=0, kind="life").wait()
    assert desk.office.orchestrator.resting == [("tony", "life")]
    assert (await desk.office.say("hi")).text.strip() == "re: hi"
