"""Tasks as a caller hears of them: asked word for word, answered yes or no, told once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from tests.unit.conversation.conftest import calls
from tests.unit.tasks.house import House, steps
from tests.unit.tasks.talking import Talking, people
from tron.storage.tables import HOUSE, approvals
from tron.tasks.contract import NewTask
from tron.tasks.talk import SAY
from tron.tasks.wishes import PlanRefused


@pytest.fixture
async def talking(house: House, tmp_path: Path) -> AsyncIterator[Talking]:
    made = Talking(house, people(tmp_path))
    yield made
    await made.close()


async def asked(talking: Talking, session: str, **more: Any) -> str:
    """Have the question said; the whole answer."""
    talking.script.answers.append("Fine.")
    return (await talking.say("and?", **more)).text


async def status(talking: Talking, task: Any) -> str:
    return (await talking.house.see(task)).status


async def test_a_question_is_put_word_for_word_behind_the_answer_once(talking: Talking) -> None:
    session = await talking.session()
    task = await talking.asking(session)
    assert task.approval is not None
    assert (await asked(talking, session)).endswith(task.approval.prompt + SAY)
    assert task.approval.prompt not in await asked(talking, session)
    assert (await talking.office.said(session))[3].endswith(task.approval.prompt + SAY)


@pytest.mark.parametrize(
    ("said", "after"),
    [
        ("Yes, please.", "planned"),
        ("1", "planned"),
        ("(pressed the keys 1)", "planned"),
        ("No.", "failed"),
        ("deny it", "failed"),
        ("(pressed the keys 2)", "failed"),
    ],
)
async def test_an_answer_to_it_goes_to_the_desk_and_not_to_the_model(
    talking: Talking, said: str, after: str
) -> None:
    session = await talking.session()
    task = await talking.asking(session)
    await asked(talking, session)
    before = len(talking.script.asked)
    reply = await talking.say(said)
    assert await status(talking, task) == after
    assert len(talking.script.asked) == before
    assert ("Approved" in reply.text) == (after == "planned")
    assert (await talking.office.said(session))[-2:] == [
        f"user: {said}",
        f"assistant: {reply.text}",
    ]


async def test_who_said_yes_and_how_is_kept(talking: Talking, house: House) -> None:
    session = await talking.session(caller="+14155550100", spoken=True)
    task = await talking.asking(session)
    await asked(talking, session, caller="+14155550100", spoken=True)
    await talking.say("Approve.", caller="+14155550100", spoken=True)
    async with house.store.read() as connection:
        row = (await connection.execute(select(approvals))).one()
    assert (row.answered_by, row.through) == ("+14155550100", "voice")
    assert row.task_id == task.id


async def test_a_bare_yes_to_something_else_approves_nothing(talking: Talking) -> None:
    session = await talking.session()
    task = await talking.asking(session)
    await asked(talking, session)
    talking.script.answers.append("Shall I tell you more?")
    await talking.say("what is it for")
    talking.script.answers.append("It is for you.")
    assert (await talking.say("yes")).text == "It is for you. "
    assert await status(talking, task) == "awaiting_approval"


async def test_a_yes_before_the_question_was_put_approves_nothing(talking: Talking) -> None:
    session = await talking.session()
    task = await talking.asking(session)
    await talking.say("yes")
    assert await status(talking, task) == "awaiting_approval"


async def test_approve_counts_at_any_time_if_one_question_waits(talking: Talking) -> None:
    session = await talking.session()
    task = await talking.asking(session)
    await talking.say("Approve.")
    assert await status(talking, task) == "planned"


async def test_approve_counts_for_nothing_if_two_wait(talking: Talking) -> None:
    session = await talking.session()
    tasks = [await talking.asking(session), await talking.asking(session, "pay")]
    await talking.say("Approve.")
    assert [await status(talking, task) for task in tasks] == ["awaiting_approval"] * 2


async def test_two_questions_are_put_one_after_the_other(talking: Talking) -> None:
    session = await talking.session()
    first = await talking.asking(session)
    second = await talking.asking(session, "pay")
    text = await asked(talking, session)
    assert text.count(SAY) == 1
    reply = await talking.say("yes")
    assert await status(talking, first) == "planned"
    assert await status(talking, second) == "awaiting_approval"
    assert second.approval is not None
    assert reply.text.endswith(second.approval.prompt + SAY)
    await talking.say("no")
    assert await status(talking, second) == "failed"


async def test_who_answers_none_of_them_is_asked_the_next_with_the_next_answer(
    talking: Talking,
) -> None:
    session = await talking.session()
    first, second = await talking.asking(session), await talking.asking(session, "pay")
    assert first.approval is not None
    assert second.approval is not None
    assert (await asked(talking, session)).endswith(first.approval.prompt + SAY)
    assert (await asked(talking, session)).endswith(second.approval.prompt + SAY)
    assert SAY not in await asked(talking, session)


@pytest.mark.parametrize("said", ["yes, but text Bob too", "yes?", "what would it do", "yes no"])
async def test_more_than_an_answer_is_talk(talking: Talking, said: str) -> None:
    session = await talking.session()
    task = await talking.asking(session)
    await asked(talking, session)
    await talking.say(said)
    assert await status(talking, task) == "awaiting_approval"
    assert talking.script.asked[-1].messages[-1].content == said


async def test_somebody_else_answers_nothing(talking: Talking) -> None:
    session = await talking.session()
    task = await talking.asking(session)
    await asked(talking, session)
    await talking.say("hello", caller="bob")
    await talking.say("approve", caller="bob")
    await talking.say("yes", caller="bob")
    assert await status(talking, task) == "awaiting_approval"


async def test_where_others_listen_words_answer_nothing(talking: Talking) -> None:
    session = await talking.session()
    task = await talking.asking(session)
    turn = talking.office.turn("approve")
    await talking.office.door.ask(msgspec.structs.replace(turn, channel="slack"))
    assert await status(talking, task) == "awaiting_approval"


async def test_an_answer_that_comes_too_late_says_so(talking: Talking) -> None:
    session = await talking.session()
    task = await talking.asking(session)
    await asked(talking, session)
    await talking.house.answer(task, False)
    talking.script.answers.append("Nothing is open.")
    await talking.say("yes")
    assert await status(talking, task) == "failed"
    assert talking.script.asked[-1].messages[-1].content == "yes"


async def test_what_was_cut_off_before_the_question_was_heard_is_no_question(
    talking: Talking,
) -> None:
    session = await talking.session()
    task = await talking.asking(session)
    await asked(talking, session)
    await talking.office.door.heard(HOUSE, session, "Fine. May I")
    await talking.say("yes")
    assert await status(talking, task) == "awaiting_approval"


async def test_the_end_of_a_task_is_told_behind_the_next_answer_once(
    talking: Talking, house: House
) -> None:
    session = await talking.session()
    await house.new("look", session=session, intent="look around")
    await house.settle()
    talking.talk.news(HOUSE, session)
    talking.script.answers.append("Sunny.")
    reply = await talking.say("how is the weather")
    assert reply.text == "Sunny. \n\nThe task “look around” is done: look did"
    talking.talk.news(HOUSE, session)
    talking.script.answers.append("Still sunny.")
    assert (await talking.say("and now")).text == "Still sunny. "


async def test_a_failure_is_told_with_its_reason(talking: Talking, house: House) -> None:
    session = await talking.session()
    house.fails("look", "The file is gone.")
    await house.new("look", session=session, intent="look around")
    await house.settle()
    talking.talk.news(HOUSE, session)
    assert "“look around” has failed: The file is gone." in (await talking.say("hi")).text


async def test_two_hubs_tell_it_once(house: House, tmp_path: Path) -> None:
    folder = people(tmp_path)
    one, other = Talking(house, folder, "hub-1"), Talking(house, folder, "hub-2")
    session = await one.session()
    await house.new("look", session=session, intent="look around")
    await house.settle()
    for talking in (one, other):
        talking.talk.news(HOUSE, session)
    texts = [(await talking.say("hi")).text for talking in (one, other)]
    assert sum("look around" in text for text in texts) == 1
    for talking in (one, other):
        await talking.close()


async def test_a_phone_that_calls_again_hears_of_its_task(talking: Talking, house: House) -> None:
    phone = {"caller": "+14155550100", "spoken": True}
    session = await talking.session(**phone, call_id="call-1")
    new = NewTask(
        client_id=HOUSE,
        intent="look around",
        agent="tony",
        owner="+14155550100",
        session=session,
    )
    await house.desk.create(new)
    await house.settle()
    talking.talk.news(HOUSE, session, "+14155550100")
    talking.script.answers += ["Hello Bob.", "Hello again."]
    assert "look around" not in (await talking.say("hi", caller="bob", call_id="call-2")).text
    assert "look around" in (await talking.say("hi", **phone, call_id="call-3")).text


async def test_an_answer_in_a_given_form_stays_in_it(talking: Talking) -> None:
    session = await talking.session()
    await talking.asking(session)
    talking.script.answers.append("{}")
    form = {"response_format": {"type": "json_object"}}
    assert (await talking.say("json please", params=form)).text == "{} "


async def test_a_task_handed_in_is_not_called_started_and_is_asked_about(
    talking: Talking, house: House
) -> None:
    house.planner.plans.append(steps("run"))
    talking.script.answers += [
        calls(("start_task", '{"intent": "run it"}')),
        "It waits for you.",
    ]
    reply = await talking.say("run it for me")
    (task,) = await house.desk.listing(HOUSE)
    assert task.approval is not None
    result = talking.script.asked[-1].messages[-1].content
    assert result == "Nothing is done yet: it waits for your approval."
    assert reply.text.endswith(task.approval.prompt + SAY)
    await talking.say("yes")
    assert (await house.see(task)).status == "planned"


async def test_a_task_that_can_not_be_done_is_said_to_be_so_and_not_told_again(
    talking: Talking, house: House
) -> None:
    house.planner.plans.append(PlanRefused("I can't fly."))
    talking.script.answers += [calls(("start_task", '{"intent": "fly"}')), "I can't."]
    reply = await talking.say("fly")
    assert talking.script.asked[-1].messages[-1].content == "It was not done: I can't fly."
    assert reply.text == "I can't. "


async def test_tasks_are_listed_looked_at_and_cancelled_by_words(
    talking: Talking, house: House
) -> None:
    session = await talking.session()
    await talking.asking(session, intent="run the tests")
    await talking.asking(session, "pay", intent="pay the bill")

    async def use(tool: str, arguments: str = "{}") -> str:
        talking.script.answers += [calls((tool, arguments)), "ok"]
        await talking.say(f"{tool} {arguments}")
        return talking.script.asked[-1].messages[-1].content

    assert await use("list_tasks") == (
        "1. pay the bill: waits for approval\n2. run the tests: waits for approval"
    )
    assert await use("task_status", '{"task": "tests"}') == (
        "run the tests: Nothing is done yet: it waits for your approval."
    )
    assert await use("cancel_task", '{"task": "2"}') == "Cancelled: run the tests."
    assert "no such task" in await use("task_status", '{"task": "fly"}')
    assert await use("pause_task") == "Paused: pay the bill."
    assert await use("resume_task") == (
        "pay the bill: Nothing is done yet: it waits for your approval."
    )
    assert await use("cancel_task") == "Cancelled: pay the bill."
    assert await use("cancel_task") == "There are no tasks."


async def test_others_tasks_are_not_seen_nor_cancelled(talking: Talking, house: House) -> None:
    session = await talking.session()
    task = await talking.asking(session, intent="run the tests")
    talking.script.answers += [calls(("cancel_task", "{}"), ("list_tasks", "{}")), "ok"]
    await talking.say("cancel it", caller="bob")
    results = [m.content for m in talking.script.asked[-1].messages[-2:]]
    assert results == ["There are no tasks.", "There are no tasks."]
    assert (await house.see(task)).status == "awaiting_approval"
