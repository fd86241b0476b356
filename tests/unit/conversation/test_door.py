"""Turns through the door: stored first, one at a time, and every ending kept."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from tests.harness.waiting import PATIENCE_S, eventually, later
from tests.unit.conversation.conftest import Office, assistant, calls, user
from tron.brain.contract import Ask, Finish, Part, Text
from tron.conversation.turns import Done, Message, Opened, TextDelta, ToolCall, TurnEvent, Usage
from tron.errors import (
    BudgetExhausted,
    Invalid,
    NotFound,
    Overloaded,
    ProcessEnded,
    ProviderBroke,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    StorageUnavailable,
    TurnTimedOut,
)
from tron.events import ProcessEnded as ProcessEnd
from tron.events import TurnEnded
from tron.storage.tables import HOUSE

Open = Callable[..., Office]


def outcomes(office: Office) -> list[str]:
    return [event.outcome for event in office.events if isinstance(event, TurnEnded)]


async def test_what_was_said_is_stored_before_the_model_is_asked(office: Office) -> None:
    seen: list[str] = []

    async def look(ask: Ask) -> list[Part]:
        key = office.sessions.live[0].key
        seen.extend(await office.said(key))
        return [Text("Fine.")]

    office.script.answers.append(look)
    await office.say("How are you?")
    assert seen == ["user: How are you?"]


async def test_a_turn_has_a_beginning_and_an_end(office: Office) -> None:
    office.script.usage = Usage(input_tokens=100, output_tokens=10)
    heard: list[TurnEvent] = []
    await office.watch(office.turn("hi"), heard)
    opened, done = heard[0], heard[-1]
    assert isinstance(opened, Opened)
    assert isinstance(done, Done)
    assert opened.session == done.session
    assert opened.process_id == done.process_id
    assert "".join(e.text for e in heard if isinstance(e, TextDelta)) == "re: hi "
    assert done.usage == Usage(input_tokens=100, output_tokens=10)
    assert done.cost_usd == pytest.approx((100 * 0.40 + 10 * 1.60) / 1e6)
    assert await office.said(done.session) == ["user: hi", "assistant: re: hi"]
    assert outcomes(office) == ["done"]


async def test_tokens_nobody_counted_are_estimated_and_say_so(office: Office) -> None:
    done = (await office.say("hi")).done
    assert done.usage.estimated
    assert done.usage.output_tokens > 0
    metrics = office.live(done.session).process.metrics  # type: ignore[union-attr]
    assert metrics.tokens_estimated
    assert metrics.llm_calls == 1


async def test_both_kinds_of_client_end_with_the_same_transcript(office: Office) -> None:
    await office.say("a", caller="short")
    short = await office.say("b", caller="short")
    await office.say("a", caller="long")
    long = await office.say("a", "re: a", "b", caller="long")
    assert short.done.session != long.done.session
    assert await office.said(short.done.session) == await office.said(long.done.session)
    assert office.read(-1) == office.read(-3) == ["user: a", "assistant: re: a", "user: b"]


async def test_a_cut_answer_supersedes_the_whole_one(office: Office) -> None:
    office.script.answers.append("one two three")
    key = (await office.say("count")).done.session
    await office.say("count", "one two", "stop")
    assert await office.said(key) == [
        "user: count",
        "assistant: one two",
        "user: stop",
        "assistant: re: stop",
    ]


async def test_an_edited_message_takes_the_place_of_what_was_said_before(
    open_office: Open,
) -> None:
    office = open_office(process_idle_s=0.01)
    await office.say("hi")
    key = (await office.say("hi", "re: hi", "my budget is 5")).done.session
    await eventually(lambda: not office.sessions.live)
    await office.say("hi", "re: hi", "my budget is 900")
    assert office.read() == ["user: hi", "assistant: re: hi", "user: my budget is 900"]
    assert "5" not in "".join(await office.said(key))
    await office.say("what now?")  # the same person by a client that has no history
    await office.say("hi", "re: hi", "my budget is 900", "re: my budget is 900", "and you?")
    assert "user: what now?" in office.read()


async def test_a_refused_model_leaves_the_message_and_a_retry_is_not_said_twice(
    office: Office,
) -> None:
    office.script.answers.append(ProviderUnavailable("away"))
    with pytest.raises(ProviderUnavailable):
        await office.say("hello")
    reply = await office.say("hello")
    assert await office.said(reply.done.session) == ["user: hello", "assistant: re: hello"]
    assert outcomes(office) == ["failed", "done"]


async def test_a_break_in_the_middle_is_raised_and_kept_as_interrupted(office: Office) -> None:
    office.script.fault = ProviderBroke("broke")
    heard: list[TurnEvent] = []
    with pytest.raises(ProviderBroke):
        await office.watch(office.turn("hi"), heard)
    office.script.fault = None
    reply = await office.say("again")
    entries = await office.entries(reply.done.session)
    assert [entry.message.content for entry in entries[:2]] == ["hi", "re: "]
    assert [entry.interrupted for entry in entries] == [False, True, False, False]


@pytest.mark.parametrize("end", ["broken", "given up"])
async def test_a_whole_answer_that_was_never_given_is_not_kept_and_a_retry_is_said_once(
    office: Office, end: str
) -> None:
    """As an SDK does it: the same request again."""
    if end == "broken":
        office.script.fault = ProviderBroke("broke")
        for _ in range(2):
            with pytest.raises(ProviderBroke):
                await office.say("pay Bob 5 dollars")
    else:
        office.script.hold = asyncio.Event()
        waiting = asyncio.ensure_future(office.say("pay Bob 5 dollars"))
        await eventually(lambda: bool(office.script.asked))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    office.script.fault = office.script.hold = None
    reply = await office.say("pay Bob 5 dollars")
    assert office.read() == ["user: pay Bob 5 dollars"]
    assert await office.said(reply.done.session) == [
        "user: pay Bob 5 dollars",
        "assistant: re: pay Bob 5 dollars",
    ]


async def test_a_result_that_is_sent_again_after_a_failure_is_read_once(office: Office) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    office.script.answers.append(calls(("look", "{}")))
    asked = await office.say("look", tools=[tool])
    result = Message(role="tool", content="snow", tool_call_id=asked.calls[0].id)
    office.script.fault = ProviderBroke("broke")
    with pytest.raises(ProviderBroke):
        await office.say(result)
    office.script.fault = None
    await office.say(result)
    assert office.read() == ["user: look", "assistant: ", "tool: snow"]
    await office.say(result)
    assert office.read() == ["user: look", "assistant: ", "tool: snow", "assistant: re: snow"]


@pytest.mark.parametrize("way", ["closed", "cancelled"])
async def test_an_abandoned_stream_keeps_what_was_heard_and_frees_the_floor(
    office: Office, way: str
) -> None:
    office.script.hold = asyncio.Event()
    office.script.answers.append("first second third")
    heard: list[TurnEvent] = []
    if way == "closed":
        async with aclosing(office.door.converse(office.turn("go on"))) as batches:
            async for batch in batches:
                heard.extend(batch)
                if any(isinstance(event, TextDelta) for event in batch):
                    break
    else:
        reading = asyncio.ensure_future(office.watch(office.turn("go on"), heard))
        await eventually(lambda: any(isinstance(event, TextDelta) for event in heard))
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    office.script.hold = None
    reply = await asyncio.wait_for(office.say("and now?"), PATIENCE_S)
    assert office.script.closed == 1, "the model was stopped"
    assert await office.said(reply.done.session) == [
        "user: go on",
        "assistant: first",
        "user: and now?",
        "assistant: re: and now?",
    ]
    assert [e.interrupted for e in await office.entries(reply.done.session)] == [0, 1, 0, 0]
    assert outcomes(office) == ["abandoned", "done"]


class Slowly:
    """A store whose commits are seen late: the writer works, its callers wait."""

    def __init__(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = asyncio.Event()
        self.waiting = 0
        self.on = False
        write = office.store.write

        async def slow(unit: Any) -> Any:
            result = await write(unit)
            if self.on:
                self.waiting += 1
                await self.release.wait()
            return result

        monkeypatch.setattr(office.store, "write", slow)


@pytest.mark.parametrize("moment", ["question", "answer"])
async def test_leaving_while_something_is_being_stored_stores_it_once(
    office: Office, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    store = Slowly(office, monkeypatch)

    async def slow_from_here(ask: Ask) -> list[Part]:
        store.on = True
        return [Text("the answer")]

    store.on = moment == "question"
    office.script.answers.append(slow_from_here)
    reading = asyncio.ensure_future(office.say("the question"))
    await eventually(lambda: store.waiting == 1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    store.on = False
    store.release.set()
    office.script.answers.clear()
    if moment == "question":  # and it is sent again
        reply = await office.say("the question")
        expected = ["user: the question", "assistant: re: the question"]
    else:
        reply = await office.say("more")
        expected = ["user: the question", "assistant: the answer"]
    assert (await office.said(reply.done.session))[:2] == expected
    assert len(await office.said(reply.done.session)) == len(expected) * (1 + (moment == "answer"))


async def test_stopping_the_process_tells_the_reader(office: Office) -> None:
    office.script.hold = asyncio.Event()
    heard: list[TurnEvent] = []
    reading = asyncio.ensure_future(office.watch(office.turn("hi"), heard))
    await eventually(lambda: len(heard) > 1)
    opened = heard[0]
    assert isinstance(opened, Opened)
    waiting = asyncio.ensure_future(office.say("me too"))
    await eventually(lambda: office.waiting(opened.session) == 1)
    assert await office.orchestrator.kill(opened.process_id)
    with pytest.raises(ProcessEnded):
        await reading
    with pytest.raises(ProcessEnded):
        await waiting
    office.script.hold = None
    await asyncio.sleep(0)
    reply = await office.say("still there?")
    assert reply.done.session == opened.session
    assert reply.done.process_id != opened.process_id
    assert "assistant: re:" in await office.said(opened.session)


async def test_a_turn_that_takes_too_long_is_ended(open_office: Open) -> None:
    office = open_office(turn_timeout_s=600)
    office.script.hold = asyncio.Event()
    heard: list[TurnEvent] = []
    reading = asyncio.ensure_future(office.watch(office.turn("hi"), heard))
    await eventually(lambda: any(isinstance(event, TextDelta) for event in heard))
    later(601)
    with pytest.raises(TurnTimedOut):
        await reading
    office.script.hold = None
    reply = await office.say("again")
    assert (await office.said(reply.done.session))[:2] == ["user: hi", "assistant: re:"]


async def test_a_full_mailbox_refuses(open_office: Open) -> None:
    office = open_office(mailbox_size=1)
    office.script.hold = asyncio.Event()
    first = asyncio.ensure_future(office.say("one"))
    await eventually(lambda: bool(office.script.asked))
    second = asyncio.ensure_future(office.say("two"))
    await eventually(lambda: office.waiting(office.sessions.live[0].key) == 1)
    with pytest.raises(RateLimited) as refused:
        await office.say("three")
    assert refused.value.code == "mailbox_full"
    office.script.hold.set()
    key = (await first).done.session
    await second
    assert await office.said(key) == [
        "user: one",
        "assistant: re: one",
        "user: two",
        "assistant: re: two",
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_turns_of_a_session_never_overlap_and_keep_their_order(
    office: Office, seed: int
) -> None:
    """Turns of three people, some left early, at random moments."""
    chance = random.Random(seed)
    running: dict[str, int] = {}

    async def answer(ask: Ask) -> list[Part]:
        who = ask.messages[-1].content.split()[0]
        running[who] = running.get(who, 0) + 1
        assert running[who] == 1, "two turns of one session at once"
        try:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        finally:
            running[who] -= 1
        return [Text(f"to {ask.messages[-1].content}")]

    asked: dict[str, list[asyncio.Task[Any]]] = {"ann": [], "bob": [], "eve": []}
    for number in range(24):
        who = chance.choice(list(asked))
        office.script.answers.append(answer)
        turn = office.say(f"{who} {number}", caller=who)
        asked[who].append(asyncio.create_task(turn, name=f"{who} {number}"))
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
        if chance.random() < 0.2:
            asked[who][-1].cancel()
    replies = {
        who: await asyncio.gather(*tasks, return_exceptions=True) for who, tasks in asked.items()
    }
    for who, got in replies.items():
        for task, reply in zip(asked[who], got, strict=True):
            if not isinstance(reply, BaseException):
                assert reply.text == f"to {task.get_name()}"
            else:
                assert isinstance(reply, asyncio.CancelledError)
    await office.door._tasks.drain(PATIENCE_S)
    for who, got in replies.items():
        keys = {reply.done.session for reply in got if not isinstance(reply, BaseException)}
        if not keys:
            continue
        assert len(keys) == 1
        said = await office.said(keys.pop())
        numbers = [int(line.split()[-1]) for line in said if line.startswith("user")]
        assert numbers == sorted(set(numbers))
        done = [
            f"user: {task.get_name()}"
            for task, reply in zip(asked[who], got, strict=True)
            if not isinstance(reply, BaseException)
        ]
        for line in done:
            assert said[said.index(line) + 1] == "assistant: to " + line.removeprefix("user: ")


async def test_an_idle_process_is_reaped_and_nobody_notices(open_office: Open) -> None:
    office = open_office(process_idle_s=0.01)
    first = await office.say("remember the seven")
    await eventually(lambda: not office.orchestrator.live() and not office.sessions.live)
    second = await office.say("what was it?")
    assert second.done.session == first.done.session
    assert second.done.process_id != first.done.process_id
    assert office.read()[0] == "user: remember the seven"
    ends = [event.status for event in office.events if isinstance(event, ProcessEnd)]
    assert ends == ["completed"]


async def test_no_room_is_said_and_leaves_nothing_behind(open_office: Open) -> None:
    office = open_office(max_processes=1)
    office.script.hold = asyncio.Event()
    first = asyncio.ensure_future(office.say("hi", caller="ann"))
    await eventually(lambda: bool(office.script.asked))
    with pytest.raises(Overloaded):
        await office.say("hi", caller="bob")
    assert len(office.sessions.live) == 1
    assert len(await office.sessions.listing(HOUSE)) == 1
    office.script.hold.set()
    await first


async def test_an_answer_the_store_could_not_take_is_given_and_saved_later(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = office.store.write
    away = False

    async def maybe(unit: Any) -> Any:
        if away:
            raise StorageUnavailable("locked")
        return await write(unit)

    async def go_away(ask: Ask) -> list[Part]:
        nonlocal away
        away = True
        return [Text("seven")]

    monkeypatch.setattr(office.store, "write", maybe)
    office.script.answers.append(go_away)
    reply = await office.say("a number?")
    assert reply.text == "seven"
    with pytest.raises(StorageUnavailable):
        await office.say("lost?")
    away = False
    assert await office.said(reply.done.session) == ["user: a number?"]
    await office.sessions.expire()  # the hub's regular sweep
    kept = ["user: a number?", "assistant: seven"]
    assert await office.said(reply.done.session) == kept
    await office.say("thanks")
    assert (await office.said(reply.done.session))[:3] == [*kept, "user: thanks"]


async def test_an_unsaved_answer_is_saved_when_the_hub_closes(
    open_office: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = open_office()

    async def refuse(unit: Any) -> Any:
        raise StorageUnavailable("full")

    async def go_away(ask: Ask) -> list[Part]:
        monkeypatch.setattr(office.store, "write", refuse)
        return [Text("seven")]

    office.script.answers.append(go_away)
    key = (await office.say("a number?")).done.session
    monkeypatch.undo()
    await office.close()
    assert (await office.said(key))[-1] == "assistant: seven"


async def test_an_interrupted_answer_the_store_could_not_take_is_saved_later(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(unit: Any) -> Any:
        raise StorageUnavailable("locked")

    office.script.hold = asyncio.Event()
    heard: list[TurnEvent] = []
    reading = asyncio.ensure_future(office.watch(office.turn("hi"), heard))
    await eventually(lambda: any(isinstance(event, TextDelta) for event in heard))
    monkeypatch.setattr(office.store, "write", refuse)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await office.door._tasks.drain(PATIENCE_S)
    monkeypatch.undo()
    office.script.hold = None
    reply = await office.say("again")
    entries = await office.entries(reply.done.session)
    assert [(e.message.content.strip(), e.interrupted) for e in entries[:2]] == [
        ("hi", False),
        ("re:", True),
    ]


async def test_deleting_during_an_answer_stays_deleted(office: Office) -> None:
    office.script.hold = asyncio.Event()
    heard: list[TurnEvent] = []
    reading = asyncio.ensure_future(office.watch(office.turn("secret", call_id="c1"), heard))
    await eventually(lambda: any(isinstance(event, TextDelta) for event in heard))
    key = office.sessions.live[0].key
    await office.door.end(HOUSE, key)
    with pytest.raises(ProcessEnded):
        await reading
    await office.door._tasks.drain(PATIENCE_S)
    with pytest.raises(NotFound):
        await office.sessions.detail(HOUSE, key)
    office.script.hold = None
    await office.say("hello", call_id="c1")
    assert office.read() == ["user: hello"]


async def test_deleting_while_the_reader_is_slow_stays_deleted(office: Office) -> None:
    """The reader is busy between two reads and lets go of the stream only later."""
    reading, gone = asyncio.Event(), asyncio.Event()

    async def read_slowly() -> None:
        stream = office.door.converse(office.turn("secret", call_id="c1"))
        await anext(stream)
        await anext(stream)
        reading.set()
        with contextlib.suppress(asyncio.CancelledError):  # the floor is taken back
            await asyncio.Event().wait()
        await gone.wait()
        await stream.aclose()

    reader = asyncio.create_task(read_slowly())
    await reading.wait()
    await office.door.end(HOUSE, office.sessions.live[0].key)
    gone.set()
    await reader
    await office.door._tasks.drain(PATIENCE_S)
    reply = await office.say("hello", call_id="c1")
    assert await office.said(reply.done.session) == ["user: hello", "assistant: re: hello"]


async def test_a_delete_the_store_refused_changes_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(unit: Any) -> Any:
        raise StorageUnavailable("locked")

    key = (await office.say("one")).done.session
    monkeypatch.setattr(office.store, "write", refuse)
    with pytest.raises(StorageUnavailable):
        await office.sessions.delete(HOUSE, key)
    monkeypatch.undo()
    await office.say("two")
    assert len(await office.said(key)) == 4


async def test_a_persona_takes_a_call_over_only_when_the_floor_is_free(office: Office) -> None:
    office.script.hold = asyncio.Event()
    first = asyncio.ensure_future(office.say("one", call_id="c1", agent="tony"))
    await eventually(lambda: len(office.script.asked) == 1)
    second = asyncio.ensure_future(office.say("two", call_id="c1", agent="maya"))
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert len(office.script.asked) == 1, "two turns of one session at once"
    office.script.hold.set()
    assert (await first).done.agent == "tony"
    reply = await second
    assert reply.done.agent == "maya"
    assert office.script.asked[-1].messages[0].content.startswith("You are Maya.")
    assert office.read() == ["user: one", "assistant: re: one", "user: two"]
    row, _ = await office.sessions.detail(HOUSE, reply.done.session)
    assert row.agent == "maya"
    process = office.orchestrator.get(reply.done.process_id)
    assert process is not None
    assert process.agent == "maya"


async def test_a_budget_ends_a_talk_plainly(open_office: Open) -> None:
    office = open_office(budget_tokens=50)
    office.script.usage = Usage(input_tokens=40, output_tokens=20)
    await office.say("one")
    with pytest.raises(BudgetExhausted):
        await office.say("two")


async def test_an_abandoned_answer_is_paid_for(office: Office) -> None:
    office.script.hold = asyncio.Event()
    heard: list[TurnEvent] = []
    reading = asyncio.ensure_future(office.watch(office.turn("hi"), heard))
    await eventually(lambda: any(isinstance(event, TextDelta) for event in heard))
    process = office.sessions.live[0].process
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert process is not None
    assert process.metrics.llm_calls == 1
    assert process.metrics.output_tokens > 0
    assert process.metrics.tokens_estimated


async def test_a_closed_door_lets_nobody_in_but_finishes_what_is_inside(office: Office) -> None:
    office.script.hold = asyncio.Event()
    inside = asyncio.ensure_future(office.say("ask Maya"))
    await eventually(lambda: bool(office.script.asked))
    office.script.answers.append("Blue.")
    office.door.shut()
    with pytest.raises(Overloaded):
        await office.say("me too", caller="bob")
    office.script.hold.set()
    assert (await inside).text == "re: ask Maya "


async def test_a_closed_door_still_lets_a_running_turn_ask_a_colleague(office: Office) -> None:
    async def shut(ask: Ask) -> list[Part]:
        office.door.shut()
        return calls(("ask_persona", '{"persona":"Maya","question":"Which colour?"}'))

    office.script.answers.extend([shut, "Blue.", "Maya says blue."])
    reply = await office.say("ask Maya")
    assert reply.text.strip() == "Maya says blue."
    assert [tool.ok for tool in reply.tools] == [True]


@pytest.mark.parametrize("sent", [[], ["a", "b"]])
async def test_nothing_new_is_refused(office: Office, sent: list[str]) -> None:
    turn = office.turn(*[Message(role="assistant", content=text) for text in sent])
    with pytest.raises(Invalid):
        await office.door.ask(turn)
    assert await office.sessions.listing(HOUSE) == []


async def test_instructions_alone_open_a_talk(office: Office) -> None:
    """Some clients let the assistant speak first: they send a system message and nothing else."""
    reply = await office.say(instructions="Greet the caller.")
    assert "Greet the caller." in office.script.asked[0].messages[0].content
    assert [line.split(":")[0] for line in await office.said(reply.done.session)] == ["assistant"]


async def test_an_unknown_agent_is_not_found(office: Office) -> None:
    with pytest.raises(NotFound):
        await office.say("hi", agent="nobody")


async def test_a_long_talk_stays_bounded_and_is_summarised(open_office: Open) -> None:
    office = open_office(context_tokens=1_500)
    for number in range(300):
        await office.say(f"Sentence {number} of a rather long conversation between the two of us.")
    await eventually(lambda: len(office.orchestrator.live()) <= 1)
    asked = [ask.messages for ask in office.script.asked]
    sizes = [sum(len(m.content) for m in messages) for messages in asked]
    assert max(sizes) < 1_500 * 4 + 2_400
    session = office.sessions.live[0]
    assert session.summary
    assert session.summary in asked[-1][0].content
    assert len(session.entries) < 120
    assert len(await office.entries(session.key)) == 600
    assert "user: Sentence 298" in "\n".join(office.read())


def sizes(office: Office) -> list[int]:
    """Characters of everything the model was given, each time."""
    return [sum(len(m.content) for m in ask.messages) for ask in office.script.asked]


ROOM = 1_500
"""tokens; less than one long message"""


async def test_what_can_not_be_read_whole_is_refused_and_forgotten(open_office: Open) -> None:
    office = open_office(context_tokens=ROOM)
    await office.say("hi")
    result = Message(role="tool", content="x" * 200_000, tool_call_id="call_1")
    for too_long in ("x" * 200_000, result):
        with pytest.raises(Invalid, match="about 50004 tokens") as refused:
            await office.say(too_long)
        assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")
    asked = len(office.script.asked)
    for number in range(4):
        reply = await office.say(f"short {number}")
        assert reply.text.strip() == f"re: short {number}"
    assert len(office.script.asked) == asked + 4, "and nothing is summarised"
    assert max(sizes(office)) < ROOM * 4
    assert len(await office.said(reply.done.session)) == 10


async def test_a_refused_message_that_is_sent_along_again_does_not_block(
    open_office: Open,
) -> None:
    office = open_office(context_tokens=ROOM)
    with pytest.raises(Invalid):
        await office.say("x" * 200_000)
    reply = await office.say(user("x" * 200_000), user("never mind"))
    assert reply.text.strip() == "re: never mind"
    assert max(sizes(office)) < ROOM * 4


async def test_long_messages_of_the_past_are_read_in_part(open_office: Open) -> None:
    office = open_office(context_tokens=ROOM)
    await office.say(user("hi"), assistant("y" * 200_000), user("go on"))
    seen = office.script.asked[-1].messages
    assert [message.role for message in seen[1:]] == ["user", "assistant", "user"]
    assert "more characters]" in seen[2].content
    assert sizes(office)[-1] < ROOM * 4


async def test_endless_instructions_leave_room_for_the_talk(open_office: Open) -> None:
    office = open_office(context_tokens=ROOM)
    reply = await office.say("hello", instructions="Be brief. " * 20_000)
    assert reply.text.strip() == "re: hello"
    system = office.script.asked[-1].messages[0].content
    assert "Be brief. Be brief." in system
    assert "more characters]" in system
    assert sizes(office)[-1] < ROOM * 4


async def summaries(office: Office) -> list[str]:
    """What the model was asked to summarise so far."""
    await eventually(lambda: not office.door._summaries._busy)
    asked = [ask.messages[-1].content for ask in office.script.asked]
    return [prompt for prompt in asked if prompt.startswith("Summarise")]


async def long_talk(office: Office) -> str:
    """A talk that is to be summarised; its session."""
    earlier = [user("u" * 200_000) if n % 2 == 0 else assistant("a" * 9_000) for n in range(12)]
    return (await office.say(*earlier, user("and now?"))).done.session


async def test_a_summary_never_outgrows_the_model(open_office: Open) -> None:
    office = open_office(context_tokens=ROOM)
    key = await long_talk(office)
    [prompt] = await summaries(office)
    assert len(prompt) < ROOM * 4
    assert prompt.count("more characters]") >= 3, "and it says what is missing"
    assert office.live(key).summary


async def test_a_summary_that_fails_is_tried_again_later_and_later(open_office: Open) -> None:
    office = open_office(context_tokens=ROOM)

    async def refuse(ask: Ask) -> list[Part]:
        if ask.messages[-1].content.startswith("Summarise"):
            raise ProviderRefused("Too long.", status=400)
        return [Text("ok")]

    office.script.answers.extend([refuse] * 100)
    key = await long_talk(office)
    tried = []
    for number in range(20):
        await office.say(f"short {number}")
        tried.append(len(await summaries(office)))
    assert tried[0] == 1
    assert 3 <= tried[-1] <= 5
    office.script.answers.clear()
    for number in range(20):
        await office.say(f"more {number}")
        await summaries(office)
    assert office.live(key).summary


async def test_calls_nobody_answered_are_settled(office: Office) -> None:
    """The caller was asked to use its tool and said something else instead."""
    weather = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    office.script.answers.append(calls(("weather", "{}"), ("weather", '{"city":"Oslo"}')))
    reply = await office.say("weather?", tools=[weather])
    assert [call.name for call in reply.calls] == ["weather", "weather"]
    await office.say("never mind")
    seen = office.script.asked[-1].messages[1:]
    assert [message.role for message in seen] == ["user", "assistant", "tool", "tool", "user"]
    ids = [call.id for call in reply.calls]
    assert [message.tool_call_id for message in seen[2:4]] == ids


async def test_odd_characters_in_tool_calls_do_not_break_a_session(open_office: Open) -> None:
    office = open_office(process_idle_s=0.01)
    tool = {"type": "function", "function": {"name": "write", "parameters": {}}}
    arguments = '{"text":"a\\u0000b","path":"C:\\\\u0000"}'
    office.script.answers.append(calls(("write", arguments)))
    key = (await office.say("write \0 it", tools=[tool])).done.session
    await eventually(lambda: not office.sessions.live)
    stored = (await office.entries(key))[-1].message.tool_calls
    assert stored is not None
    assert stored[0].arguments == arguments
    result = Message(role="tool", content="done", tool_call_id=stored[0].id)
    assert (await office.say(result)).done.session == key
    assert stored[0] == ToolCall(id=stored[0].id, name="write", arguments=arguments)


async def test_a_finish_reason_is_passed_on(office: Office) -> None:
    office.script.answers.append([Text("cut"), Finish("length")])
    assert (await office.say("hi")).done.finish_reason == "length"


async def test_closing_the_door_ends_what_is_inside_and_keeps_it(open_office: Open) -> None:
    office = open_office()
    office.script.hold = asyncio.Event()
    heard: list[TurnEvent] = []
    reading = asyncio.ensure_future(office.watch(office.turn("hi"), heard))
    await eventually(lambda: any(isinstance(event, TextDelta) for event in heard))
    waiting = asyncio.ensure_future(office.say("and I?"))
    key = office.sessions.live[0].key
    await eventually(lambda: office.waiting(key) == 1)
    await office.door.close()
    for turn in (reading, waiting):
        with pytest.raises(ProcessEnded):
            await turn
    assert await office.said(key) == ["user: hi", "assistant: re:"]
