"""Colleagues: asked and waited for, or given work whose result comes back exactly once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from tests.harness.waiting import eventually
from tests.unit.conversation.conftest import Office, calls
from tron.brain.contract import Ask, Part, Text
from tron.conversation import delegation
from tron.errors import ProviderUnavailable, StorageUnavailable
from tron.storage.tables import HOUSE
from tron.storage.tables import delegations as table

Open = Callable[..., Office]

ASK_MAYA = calls(("ask_persona", '{"persona":"Maya","question":"Which colour?"}'))
GIVE_MAYA = calls(("delegate_task", '{"persona":"Maya","task":"Write a slogan."}'))


async def finished(office: Office, status: str = "completed") -> None:
    async def settled() -> bool:
        async with office.store.read() as connection:
            rows = (await connection.execute(select(table.c.status))).scalars().all()
        return bool(rows) and all(row == status for row in rows)

    await eventually(settled)
    await eventually(lambda: not len(office.delegations._tasks))


def prompt(office: Office, place: int = -1) -> str:
    return office.script.asked[place].messages[0].content


async def test_a_colleague_is_asked_and_the_answer_used(office: Office) -> None:
    office.script.answers.extend([ASK_MAYA, "Blue.", "Maya says blue."])
    reply = await office.say("ask Maya for a colour")
    assert reply.text.strip() == "Maya says blue."
    asked = office.script.asked
    assert [ask.agent for ask in asked] == ["tony", "maya", "tony"]
    assert office.read(1) == ["user: Which colour?"]
    assert asked[2].messages[-1].content.strip() == "Blue."
    [maya] = [process for process in office.orchestrator.live() if process.agent == "maya"]
    assert maya.parent_id == reply.done.process_id
    assert maya.depth == 1
    assert len(await office.sessions.listing(HOUSE)) == 1, "talks among personas are not listed"
    [tool] = (await office.entries(reply.done.session))[-1].tools
    assert (tool.name, tool.result.strip(), tool.ok) == ("ask_persona", "Blue.", True)


async def test_spending_below_counts_above(office: Office) -> None:
    office.script.answers.extend([ASK_MAYA, "Blue.", "Blue."])
    reply = await office.say("ask Maya")
    tony = office.orchestrator.get(reply.done.process_id)
    [maya] = [process for process in office.orchestrator.live() if process.agent == "maya"]
    assert tony is not None
    own = tony.metrics.input_tokens + tony.metrics.output_tokens
    below = maya.metrics.input_tokens + maya.metrics.output_tokens
    assert below > 0
    assert tony._spent_tokens == own + below
    assert (tony.metrics.llm_calls, maya.metrics.llm_calls) == (2, 1)


async def test_a_circle_is_refused_and_the_turn_goes_on(office: Office) -> None:
    back = calls(("ask_persona", '{"persona":"Tony","question":"Which colour?"}'))
    office.script.answers.extend([ASK_MAYA, back, "I could not ask Tony.", "She could not."])
    reply = await office.say("ask Maya")
    assert reply.text.strip() == "She could not."
    assert "already waiting" in office.script.asked[2].messages[-1].content


async def test_the_chain_has_an_end(open_office: Open) -> None:
    office = open_office(spawn_depth=1)
    on = calls(("ask_persona", '{"persona":"Alex","question":"Which colour?"}'))
    office.script.answers.extend([ASK_MAYA, on, "Too deep.", "Fine."])
    await office.say("ask Maya")
    assert "deep" in office.script.asked[2].messages[-1].content


@pytest.mark.parametrize(
    ("who", "said"), [("Nobody", "There is no colleague"), ("Tony", "That is yourself")]
)
async def test_nobody_and_oneself_cannot_be_asked(office: Office, who: str, said: str) -> None:
    wanted = calls(("ask_persona", f'{{"persona":"{who}","question":"?"}}'))
    office.script.answers.extend([wanted, "Hm."])
    reply = await office.say("ask")
    assert [tool.ok for tool in reply.tools] == [False]
    assert said in reply.tools[0].result


async def test_a_colleague_who_fails_is_said_so(office: Office) -> None:
    office.script.answers.extend([ASK_MAYA, ProviderUnavailable("away"), "She did not answer."])
    reply = await office.say("ask Maya")
    assert [tool.ok for tool in reply.tools] == [False]
    assert "could not answer" in reply.tools[0].result


async def test_a_result_is_reported_once_at_the_next_turn(office: Office) -> None:
    office.script.answers.extend([GIVE_MAYA, "Taken on.", "Ship it, then sell it."])
    await office.say("let Maya write a slogan")
    await finished(office)
    office.script.answers.clear()
    await office.say("and?")
    assert "Maya finished (Write a slogan.): Ship it, then sell it." in prompt(office)
    await office.say("thanks")
    assert "Ship it" not in prompt(office)


async def test_a_report_nobody_heard_comes_again(office: Office) -> None:
    office.script.answers.extend([GIVE_MAYA, "Taken on.", "Ship it."])
    await office.say("let Maya write a slogan")
    await finished(office)
    office.script.answers.clear()
    office.script.answers.append(ProviderUnavailable("away"))
    with pytest.raises(ProviderUnavailable):
        await office.say("and?")
    await office.say("and now?")
    assert "Ship it." in prompt(office)


async def test_a_result_is_for_its_own_conversation_alone(office: Office) -> None:
    office.script.answers.extend([GIVE_MAYA, "Taken on.", "Ship it."])
    await office.say("let Maya write a slogan", caller="ann")
    await finished(office)
    office.script.answers.clear()
    await office.say("hello", caller="bob")
    assert "Ship it." not in prompt(office)


async def test_a_failure_is_reported_too(office: Office) -> None:
    async def answer(ask: Ask) -> list[Part]:
        if ask.agent == "maya":
            raise ProviderUnavailable("away")
        return [Text("Taken on.")]

    office.script.answers.extend([GIVE_MAYA, answer, answer])
    await office.say("let Maya write a slogan")
    await finished(office, "failed")
    office.script.answers.clear()
    await office.say("and?")
    assert "Maya could not finish (Write a slogan.)" in prompt(office)


async def test_a_result_survives_a_restart(open_office: Open) -> None:
    first = open_office("hub-1")
    first.script.answers.extend([GIVE_MAYA, "Taken on.", "Ship it."])
    await first.say("let Maya write a slogan")
    await finished(first)
    second = open_office("hub-2")
    await second.delegations.start()
    await second.say("and?")
    assert "Ship it." in prompt(second)
    await second.say("thanks")
    assert "Ship it." not in prompt(second)


async def test_a_result_reaches_the_conversation_on_another_hub(open_office: Open) -> None:
    one, two = open_office("hub-1"), open_office("hub-2")
    for hub in (one, two):
        await hub.heartbeat.beat()
    one.script.answers.extend([GIVE_MAYA, "Taken on.", "Ship it."])
    await one.say("let Maya write a slogan")
    await finished(one)
    await two.delegations.adopt()  # the hub's regular sweep
    await two.say("and?")
    assert "Ship it." in prompt(two)
    await one.say("thanks")
    assert "Ship it." not in prompt(one)


async def test_work_of_a_dead_hub_is_reported_as_interrupted(open_office: Open) -> None:
    dead, alive = open_office("hub-1"), open_office("hub-2")
    for hub in (dead, alive):
        await hub.heartbeat.beat()

    async def never(ask: Ask) -> list[Part]:
        if ask.agent == "maya":
            await asyncio.Event().wait()
        return [Text("Taken on.")]

    dead.script.answers.extend([GIVE_MAYA, never, never])
    await dead.say("let Maya write a slogan")
    await alive.delegations.adopt()
    await alive.say("and?")
    assert "Maya" not in prompt(alive).partition("Your colleagues")[2].partition("\n\n")[2]
    alive.clock.advance(60)
    await alive.heartbeat.beat()
    await alive.delegations.adopt()
    await alive.say("and now?")
    assert f"Maya could not finish (Write a slogan.): {delegation.INTERRUPTED}" in prompt(alive)
    await alive.say("a pity")
    assert delegation.INTERRUPTED not in prompt(alive)


async def test_a_result_waits_for_the_store(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegation, "SAVE_AGAIN_S", 0.01)
    write = office.store.write
    refused = 0

    async def refuse(unit: Any) -> Any:
        nonlocal refused
        refused += 1
        raise StorageUnavailable("locked")

    async def answer(ask: Ask) -> list[Part]:
        if ask.agent == "maya":
            monkeypatch.setattr(office.store, "write", refuse)
            return [Text("Ship it.")]
        return [Text("Taken on.")]

    office.script.answers.extend([GIVE_MAYA, answer, answer])
    await office.say("let Maya write a slogan")
    await eventually(lambda: refused > 2)
    monkeypatch.setattr(office.store, "write", write)
    await finished(office)
    office.script.answers.clear()
    await office.say("and?")
    assert "Ship it." in prompt(office)
