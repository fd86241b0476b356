"""Waiting in tasks: for a time, and for somebody's answer."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from tests.unit.tools.conftest import FRIDAY_MS, Office
from tron.conversation.turns import ToolCall
from tron.storage.rows import insert_new
from tron.storage.tables import HOUSE, messages, sessions, task_steps
from tron.tools.contract import StepScope, ToolContext, TryLater
from tron.tools.toolbox import Outcome
from tron.tools.waits import waits


class Waiting:
    """A step that waits, looked at again and again."""

    def __init__(self, office: Office) -> None:
        self.office = office
        office.toolbox.add(waits(office.store, office.agents, office.clock))
        self.process = office.spawn()

    async def look(self, tool: str, session: str = "s1", **arguments: Any) -> Outcome:
        step = StepScope(
            task_id="t1",
            step_id="t1.n2",
            key="k",
            begun_at=FRIDAY_MS,
            workspace=Path("/nowhere"),
            log=print,
        )
        context = msgspec.structs.replace(
            self.office.context(process=self.process), step=step, session=session
        )
        call = ToolCall(id="c", name=tool, arguments=msgspec.json.encode(arguments).decode())
        return await self.office.toolbox.perform(context, call)

    async def until(self, tool: str, **arguments: Any) -> int:
        """Seconds after which it wants to be called again."""
        with pytest.raises(TryLater) as later:
            await self.look(tool, **arguments)
        return round((later.value.at - self.office.clock.now_ms()) / 1000)

    async def says(
        self, text: str, at: int, *, session: str, caller: str, channel: str = "sms", **more: Any
    ) -> None:
        """Somebody says something `at` seconds after the step was begun."""
        row = {
            "client_id": HOUSE,
            "key": session,
            "caller": caller,
            "channel": channel,
            "agent": "tony",
            "process_id": "p1",
            "created_at": 0,
            "updated_at": 0,
        } | {k: v for k, v in more.items() if k == "client_id"}
        line = {
            "session_key": session,
            "seq": 1_000 + at,
            "client_id": row["client_id"],
            "role": "user",
            "content": text,
            "superseded": False,
            "created_at": FRIDAY_MS + at * 1000,
        } | more

        def unit(connection: Any) -> None:
            insert_new(connection, sessions, **row)
            connection.execute(insert(messages), line)

        await self.office.store.write(unit)

    async def step_before(self, began: int) -> None:
        row = {
            "task_id": "t1",
            "seq": 1,
            "client_id": HOUSE,
            "node": "n1",
            "title": "ask",
            "tool": "send_sms",
            "arguments": "{}",
            "needs": "[]",
            "effect": "send",
            "status": "completed",
            "attempt": 1,
            "started_at": FRIDAY_MS + began * 1000,
        }
        await self.office.store.write(lambda c: c.execute(insert(task_steps), row))


@pytest.fixture
async def waiting(office: Office) -> Waiting:
    return Waiting(office)


async def test_for_a_while(waiting: Waiting) -> None:
    assert await waiting.until("wait_until", seconds=90) == 90
    waiting.office.clock.advance(60)
    assert await waiting.until("wait_until", seconds=90) == 30
    waiting.office.clock.advance(30)
    assert (await waiting.look("wait_until", seconds=90)).status == "ok"


async def test_until_a_time_in_the_personas_zone_or_another(waiting: Waiting) -> None:
    # 08:41 in UTC is 09:41 in Tony's Berlin.
    assert await waiting.until("wait_until", time="2026-11-20T09:42") == 60
    assert await waiting.until("wait_until", time="2026-11-20T08:42+00:00") == 60
    assert (await waiting.look("wait_until", time="2026-11-20T09:40")).status == "ok"


@pytest.mark.parametrize(
    "arguments", [{}, {"time": "tomorrow"}, {"time": "2027-12-24"}, {"seconds": 31 * 86_400}]
)
async def test_no_time_to_wait_for(waiting: Waiting, arguments: dict[str, Any]) -> None:
    assert (await waiting.look("wait_until", **arguments)).status in ("failed", "refused")


async def test_for_whoever_speaks_in_the_conversation(waiting: Waiting) -> None:
    await waiting.says("before", -5, session="s1", caller="ann")
    await waiting.says("elsewhere", 5, session="s2", caller="ann")
    await waiting.says("It is me", 5, session="s1", caller="ann", role="assistant")
    await waiting.says("taken back", 5, session="s1", caller="ann", superseded=True, seq=7)
    assert 1 <= await waiting.until("wait_for_reply") <= 10
    await waiting.says("Yes", 6, session="s1", caller="ann")
    await waiting.says("at eight", 7, session="s1", caller="ann")
    assert await waiting.look("wait_for_reply") == Outcome("Yes\nat eight", "ok")


async def test_for_somebody_by_number_in_any_conversation(waiting: Waiting) -> None:
    await waiting.says("not me", 5, session="s1", caller="+493055555")
    await waiting.says("theirs", 5, session="s3", caller="+14155550100", client_id="another")
    await waiting.says(
        "a colleague, for them", 5, session="s6", caller="+14155550100", channel="delegation"
    )
    assert await waiting.until("wait_for_reply", sender="+1 415 555 0100")
    await waiting.says("Fine", 6, session="s4", caller="+14155550100")
    found = await waiting.look("wait_for_reply", sender="+1 (415) 555-0100")
    assert found == Outcome("Fine", "ok")
    await waiting.says("Hello", 6, session="s5", caller="slack-U1")
    assert (await waiting.look("wait_for_reply", sender="slack-U1")).text == "Hello"


async def test_an_answer_that_was_quicker_than_the_next_step_counts(waiting: Waiting) -> None:
    await waiting.step_before(-20)
    await waiting.says("old", -30, session="s1", caller="ann")
    assert await waiting.until("wait_for_reply")
    await waiting.says("quick", -10, session="s1", caller="ann")
    assert (await waiting.look("wait_for_reply")).text == "quick"


async def test_nobody_is_waited_for_for_ever(waiting: Waiting) -> None:
    assert await waiting.until("wait_for_reply", seconds=2) == 2
    waiting.office.clock.advance(2)
    outcome = await waiting.look("wait_for_reply", seconds=2)
    assert outcome.status == "failed"
    assert "No reply came" in outcome.text
    await waiting.says("late, but here", 3, session="s1", caller="ann")
    assert (await waiting.look("wait_for_reply", seconds=2)).status == "ok"


async def test_without_a_conversation_it_must_be_said_who(waiting: Waiting) -> None:
    outcome = await waiting.look("wait_for_reply", session="")
    assert "whose reply" in outcome.text


async def test_a_conversation_can_not_wait(waiting: Waiting) -> None:
    context: ToolContext = waiting.office.context(process=waiting.process)
    call = ToolCall(id="c", name="wait_until", arguments='{"seconds": 5}')
    outcome = await waiting.office.toolbox.perform(context, call)
    assert outcome == Outcome("wait_until works in tasks only.", "refused")
