"""Colleagues: asked and waited for, or given work whose result comes back exactly once."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import select

from tests.harness.waiting import eventually
from tests.unit.conversation.conftest import Answer, Office, calls
from tron.brain.contract import Ask, Part, Text
from tron.clock import DAY_MS
from tron.conversation import delegation
from tron.conversation.turns import Caller
from tron.errors import ProviderUnavailable, StorageUnavailable
from tron.orchestrator.process import Process
from tron.storage.tables import HOUSE
from tron.storage.tables import delegations as table
from tron.tools.contract import Tool, ToolContext
from tron.tools.diary import CurrentTime
from tron.tools.remembering import remembering

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


TELL_MAYA = calls(("ask_persona", '{"persona":"Maya","question":"My salary is 100k."}'))
KEEP = calls(("remember", '{"fact":"The salary is 100k","key":"salary"}'))
LOOK = calls(("recall", '{"query":"salary"}'))
FACT = "The salary is 100k"


def each(**wanted: list[Part]) -> Sequence[Answer]:
    """Answers for one turn: everyone calls their tools first, then says a word."""

    async def given(ask: Ask) -> list[Part]:
        fresh = ask.messages[-1].role == "user"
        return wanted.get(ask.agent, []) if fresh else [Text("Fine.")]

    return [given] * 2 * len(wanted)


@pytest.fixture
def remembers(office: Office) -> Office:
    office.with_tools(*remembering(office.memory))
    return office


@pytest.mark.parametrize("handed_on", [TELL_MAYA, GIVE_MAYA], ids=["asked", "delegated"])
async def test_what_a_colleague_hears_belongs_to_the_person_it_is_for(
    remembers: Office, handed_on: list[Part]
) -> None:
    office = remembers
    office.script.answers.extend(each(tony=handed_on, maya=KEEP))
    await office.say("tell Maya what I earn", caller="ana")
    await eventually(lambda: not len(office.delegations._tasks))
    for nobody in ("tony", "maya", ""):
        assert await office.memory.about(HOUSE, nobody, 10) == []
    [fact] = await office.memory.about(HOUSE, "ana", 10)
    assert (fact.content, fact.author) == (FACT, "maya")


@pytest.mark.parametrize("who", ["ben", "tony", None])
async def test_nobody_hears_through_a_colleague_what_somebody_else_told(
    remembers: Office, who: str | None
) -> None:
    office = remembers
    office.script.answers.extend(each(tony=TELL_MAYA, maya=KEEP))
    await office.say("tell Maya what I earn", caller="ana")
    office.script.asked.clear()
    office.script.answers.extend(each(tony=ASK_MAYA, maya=LOOK))
    await office.say("what is the salary?", caller=who)
    assert [ask.agent for ask in office.script.asked] == ["tony", "maya", "maya", "tony"]
    office.script.answers.extend(each(maya=LOOK))
    await office.say("what is the salary?", caller=who, agent="maya")
    assert FACT not in str(office.script.asked)


async def test_a_colleague_knows_what_the_person_told_them_before(remembers: Office) -> None:
    office = remembers
    office.script.answers.extend(each(maya=KEEP))
    await office.say("my salary is 100k", caller="ana", agent="maya")
    office.script.asked.clear()
    office.script.answers.extend(each(tony=ASK_MAYA, maya=LOOK))
    await office.say("ask Maya what I earn", caller="ana")
    assert FACT in prompt(office, 1), "the briefing of the colleague"
    assert FACT in office.script.asked[2].messages[-1].content, "what the colleague looks up"


async def test_who_it_is_for_is_known_down_the_whole_chain(office: Office) -> None:
    seen: list[tuple[str, str, str]] = []

    async def look(context: ToolContext, _: CurrentTime) -> str:
        seen.append((context.process.agent, context.caller, context.caller_name))
        return "seen"

    office.with_tools(Tool("look", "Look.", CurrentTime, look, effect="read"))
    ask_alex = calls(("ask_persona", '{"persona":"Alex","question":"Who is it?"}'))
    looking = calls(("look", "{}"))
    office.script.answers.extend(each(tony=ASK_MAYA, maya=ask_alex, alex=looking))
    ana = Caller(id="+493012345678", known=True, name="Ana")
    await office.door.ask(structs.replace(office.turn("who am I?"), caller=ana))
    assert seen == [("alex", "+493012345678", "Ana")]


async def test_who_asks_for_nobody_is_a_person_nobody_else_can_be(remembers: Office) -> None:
    office = remembers
    [ask, _] = office.delegations.tools()
    office.script.answers.extend([KEEP, "Kept.", LOOK, "100k."])

    async def work(process: Process) -> None:
        context = ToolContext(client_id=HOUSE, process=process, session="", caller="")
        for _ in range(2):  # one talk, so the second knows what the first was told
            await ask.call(context, '{"persona":"Maya","question":"The salary is 100k."}')

    await office.orchestrator.spawn("tony", work).wait()
    assert FACT in office.script.asked[3].messages[-1].content
    for somebody in ("tony", "maya", ""):
        assert await office.memory.about(HOUSE, somebody, 10) == []


@pytest.mark.parametrize("gone", [False, True], ids=["held", "stored"])
async def test_the_talk_of_colleagues_is_not_the_persons_own(open_office: Open, gone: bool) -> None:
    office = open_office()
    own = await office.say("Hello.", caller="ana", agent="maya")
    for who in ("ana", None):
        office.script.answers.extend([ASK_MAYA, "Blue.", "Maya says blue."])
        await office.say("ask Maya", caller=who)
    between = {session.key for session in office.sessions.live if session.channel == "delegation"}
    assert len(between) == 2
    if gone:
        office = open_office("hub-2")
    again = await office.say("And now?", caller="ana", agent="maya")
    assert again.done.session == own.done.session
    for _ in range(2):  # the words colleagues said to each other are no way in
        other = await office.say("Which colour?", "Blue.", "Why?", caller=None, agent="maya")
        assert other.done.session not in between


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


async def test_work_that_breaks_is_reported_as_failed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(turn: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(office.delegations, "_ask", broken)
    office.script.answers.extend([GIVE_MAYA, "Taken on."])
    await office.say("let Maya write a slogan")
    await finished(office, "failed")
    await office.say("and?")
    assert "Maya could not finish (Write a slogan.): It failed unexpectedly." in prompt(office)


async def test_what_was_done_long_ago_is_forgotten(office: Office) -> None:
    office.script.answers.extend([GIVE_MAYA, "Taken on.", "Ship it."])
    await office.say("let Maya write a slogan")
    await finished(office)
    office.clock.advance(30 * DAY_MS / 1000)
    assert await office.delegations.prune(30 * DAY_MS) == 0
    office.clock.advance(1)
    assert await office.delegations.prune(30 * DAY_MS) == 1
    async with office.store.read() as connection:
        assert (await connection.execute(select(table))).all() == []


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
