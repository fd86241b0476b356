"""Whose conversation is this: found again, kept apart, ended, shared by two hubs."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from tests.harness.waiting import eventually
from tests.unit.conversation.conftest import Office
from tron.errors import NotFound, ProviderUnavailable
from tron.events import SessionEnded, SessionStarted
from tron.storage.store import Store
from tron.storage.tables import HOUSE, messages

Open = Callable[..., Office]


def started(office: Office) -> int:
    return sum(isinstance(event, SessionStarted) for event in office.events)


async def forgotten(office: Office) -> None:
    """Wait until every process was reaped, so that only the store knows."""
    await eventually(lambda: not office.sessions.live)


async def test_an_anonymous_client_with_its_history_finds_its_session(open_office: Open) -> None:
    office = open_office(process_idle_s=0.01)
    first = await office.say("a", caller=None)
    second = await office.say("a", "re: a", "b", caller=None)
    await forgotten(office)
    third = await office.say("a", "re: a", "b", "re: b", "c", caller=None)
    keys = {reply.done.session for reply in (first, second, third)}
    assert len(keys) == started(office) == 1
    said = await office.said(keys.pop())
    assert [line for line in said if line.startswith("user")] == ["user: a", "user: b", "user: c"]


async def test_two_strangers_who_said_the_same_stay_apart(office: Office) -> None:
    one = await office.say("hi", caller=None)
    two = await office.say("hi", caller=None)
    assert one.done.session != two.done.session
    mine = await office.say("hi", "re: hi", "my name is Ann", caller=None)
    yours = await office.say("hi", "re: hi", "my name is Bob", caller=None)
    assert mine.done.session != yours.done.session
    for reply, stranger in ((mine, "Bob"), (yours, "Ann")):
        assert stranger not in "\n".join(await office.said(reply.done.session))


async def test_at_the_same_moment_too(office: Office) -> None:
    await office.say("hi", caller=None)
    replies = await asyncio.gather(
        *(office.say("hi", "re: hi", name, caller=None) for name in ("Ann", "Bob", "Eve"))
    )
    assert len({reply.done.session for reply in replies}) == 3
    for reply in replies:
        assert len(await office.said(reply.done.session)) == 4


async def test_a_named_persons_talk_is_never_found_by_its_history(open_office: Open) -> None:
    office = open_office(process_idle_s=0.01)
    named = await office.say("hi", caller="ann")
    live = await office.say("hi", "re: hi", "what did I say?", caller=None)
    await forgotten(office)
    stored = await office.say("hi", "re: hi", "what else?", caller=None)
    assert named.done.session not in (live.done.session, stored.done.session)


async def test_a_talk_its_caller_rewrote_is_found_by_nobody(open_office: Open) -> None:
    """A call without a number, its answer cut, revived later: its last words are no key to it."""
    office = open_office(process_idle_s=0.01)
    office.script.answers.append("a long answer")
    secret = "my card number is 1234"
    first = await office.say(secret, caller=None, call_id="call-1")
    await office.say(secret, "a long", "stop", caller=None, call_id="call-1")
    await forgotten(office)
    await office.say("hi", caller=None, call_id="call-1")
    other = await office.say("hi", "re: hi", "what did I say before?", caller=None)
    assert other.done.session != first.done.session
    assert "1234" not in "\n".join(office.read())


async def test_other_personas_and_other_tenants_have_their_own(office: Office) -> None:
    tony = await office.say("a", caller=None)
    maya = await office.say("a", "re: a", "b", caller=None, agent="maya")
    foreign = await office.say("a", "re: a", "b", caller=None, client_id="other")
    assert len({tony.done.session, maya.done.session, foreign.done.session}) == 3
    again = await office.say("a", "re: a", "b", caller=None)
    assert again.done.session == tony.done.session
    named = [await office.say("hi", client_id=client) for client in (HOUSE, "other")]
    assert named[0].done.session != named[1].done.session
    with pytest.raises(NotFound):
        await office.sessions.detail("other", named[0].done.session)
    with pytest.raises(NotFound):
        await office.say("hi", session=named[0].done.session, client_id="other")


async def test_a_person_keeps_one_talk_with_each_persona(open_office: Open) -> None:
    office = open_office(process_idle_s=0.01)
    first = await office.say("one", agent="tony")
    other = await office.say("one", agent="maya")
    await forgotten(office)
    again = await office.say("two", agent="tony")
    assert again.done.session == first.done.session != other.done.session


async def test_first_messages_at_the_same_moment_open_one_session(office: Office) -> None:
    replies = await asyncio.gather(*(office.say(f"{number}") for number in range(5)))
    assert len({reply.done.session for reply in replies}) == started(office) == 1
    assert len(await office.said(replies[0].done.session)) == 10


async def test_a_call_always_finds_its_session(open_office: Open) -> None:
    office = open_office(process_idle_s=0.01, session_expire_s=10)
    first = await office.say("one", call_id="strange id/\u00e4 " + "x" * 300)
    await forgotten(office)
    office.clock.advance(3_600)
    await office.sessions.expire()
    again = await office.say("two", caller="someone else", call_id="strange id/\u00e4 " + "x" * 300)
    assert again.done.session == first.done.session
    assert len(first.done.session) <= 128


async def test_a_silent_session_ends_and_the_next_message_opens_another(
    open_office: Open,
) -> None:
    office = open_office(session_expire_s=60)
    first = await office.say("one")
    office.clock.advance(61)
    assert await office.sessions.expire() == 1
    assert await office.sessions.listing(HOUSE) == []
    assert await office.sessions.count(HOUSE) == 0
    ended = [event for event in office.events if isinstance(event, SessionEnded)]
    assert [(event.session, event.cause) for event in ended] == [(first.done.session, "expired")]
    second = await office.say("two")
    assert second.done.session != first.done.session
    assert office.read() == ["user: two"]
    assert await office.said(first.done.session), "the transcript is kept"


async def test_an_ended_session_that_is_spoken_in_is_open_again(open_office: Open) -> None:
    office = open_office(session_expire_s=60)
    first = await office.say("one", call_id="c")
    office.clock.advance(61)
    await office.sessions.expire()
    await office.say("two", call_id="c")
    listed = await office.sessions.listing(HOUSE)
    assert [row.key for row in listed] == [first.done.session]


async def test_clearing_ends_all_and_stops_their_processes(office: Office) -> None:
    first = await office.say("one", caller="ann")
    await office.say("one", caller="bob")
    await office.say("one", caller="eve", client_id="other")
    assert await office.sessions.clear(HOUSE) == 2
    await eventually(lambda: len(office.orchestrator.live()) == 1)
    assert await office.sessions.count(HOUSE) == 0
    assert await office.sessions.count("other") == 1
    assert (await office.say("two", caller="ann")).done.session != first.done.session


async def test_clearing_during_an_answer_keeps_it_and_ends_the_talk_all_the_same(
    office: Office,
) -> None:
    office.script.hold = asyncio.Event()
    answering = asyncio.ensure_future(office.say("one"))
    await eventually(lambda: bool(office.script.asked))
    assert await office.sessions.clear(HOUSE) == 1
    office.script.hold.set()
    first = (await answering).done.session
    assert await office.sessions.count(HOUSE) == 0
    assert await office.said(first) == ["user: one", "assistant: re: one"]
    assert (await office.say("two")).done.session != first
    await eventually(lambda: len(office.sessions.live) == 1)


async def test_two_hubs_on_one_database_lose_nothing(open_office: Open) -> None:
    """Both hold the session in memory and speak in it in turns, and at the same moment."""
    hubs = [open_office("hub-1"), open_office("hub-2")]
    hubs[1].clock.advance(0.5)
    for number in range(6):
        hub = hubs[number % 2]
        await hub.say(f"turn {number}", call_id="c")
        read = [line for line in hub.read() if line.startswith("user")]
        assert read == [f"user: turn {earlier}" for earlier in range(number + 1)]
    await asyncio.gather(*(hub.say(f"both {hub.clock.now_ms()}", call_id="c") for hub in hubs))
    key = hubs[0].sessions.live[0].key
    said = await hubs[0].said(key)
    assert len(said) == len(set(said)) == 16
    for line in (line.removeprefix("user: ") for line in said if line.startswith("user")):
        assert said.index(f"user: {line}") < said.index(f"assistant: re: {line}")
    sequence = [entry.seq for entry in await hubs[0].entries(key)]
    assert sequence == sorted(set(sequence))


async def test_what_another_hub_added_is_not_superseded_by_a_cut_answer(
    open_office: Open,
) -> None:
    one, two = open_office("hub-1"), open_office("hub-2")
    one.script.answers.append("a long answer")
    key = (await one.say("a", call_id="c")).done.session
    await two.say("from elsewhere", call_id="c")
    await one.say("a", "a long", "stop", call_id="c")
    said = await one.said(key)
    assert "user: from elsewhere" in said
    assert "assistant: re: from elsewhere" in said
    assert "assistant: a long answer" not in said
    assert said[-2:] == ["user: stop", "assistant: re: stop"]


async def rows(store: Store, key: str) -> int:
    """Messages in the store under a session's key, whether there is such a session or not."""
    asked = select(func.count()).select_from(messages).where(messages.c.session_key == key)
    async with store.read() as connection:
        return (await connection.execute(asked)).scalar_one()


@pytest.mark.parametrize("sent", [["hello"], ["a secret", "re: a secret", "hello"]])
@pytest.mark.parametrize("call", [None, "c1"])
async def test_what_another_hub_deleted_is_forgotten(
    open_office: Open, store: Store, call: str | None, sent: list[str]
) -> None:
    one, two = open_office("hub-1"), open_office("hub-2")
    key = (await one.say("a secret", call_id=call)).done.session
    await two.say("more of it", call_id=call)
    await two.door.end(HOUSE, key)
    reply = await one.say(*sent, call_id=call)
    assert one.read() == [
        f"{message.role}: {message.content}" for message in one.turn(*sent).messages
    ]
    if call is None:
        assert reply.done.session != key
        assert await rows(store, key) == 0
    assert await one.said(reply.done.session) == [*one.read(), "assistant: re: hello"]
    assert await rows(store, reply.done.session) == len(sent) + 1
    assert [event for event in one.events if isinstance(event, SessionStarted)][1:]
    await eventually(lambda: len(one.sessions.live) == 1)
    again = await one.say("and now?", call_id=call)
    assert again.done.session == reply.done.session


@pytest.mark.parametrize("turns", [1, 2])
async def test_what_another_hub_deleted_and_began_anew_is_the_new_talk(
    open_office: Open, turns: int
) -> None:
    one, two = open_office("hub-1"), open_office("hub-2")
    key = (await one.say("a secret", call_id="c1")).done.session
    await two.door.end(HOUSE, key)
    two.clock.advance(1)
    for number in range(turns):
        await two.say(f"new {number}", call_id="c1")
    await one.say("hello", call_id="c1")
    assert one.read()[0] == "user: new 0"
    assert len(one.read()) == 2 * turns + 1
    assert len(await one.said(key)) == 2 * turns + 2


async def test_what_another_hub_deleted_is_not_spoken_in_by_its_key(open_office: Open) -> None:
    one, two = open_office("hub-1"), open_office("hub-2")
    key = (await one.say("a secret")).done.session
    await two.door.end(HOUSE, key)
    with pytest.raises(NotFound):
        await one.say("hello", session=key)


async def test_an_answer_to_what_another_hub_deleted_is_not_kept(
    open_office: Open, store: Store
) -> None:
    one, two = open_office("hub-1"), open_office("hub-2")
    one.script.hold = asyncio.Event()
    answering = asyncio.ensure_future(one.say("a secret"))
    await eventually(lambda: bool(one.script.asked))
    waiting = asyncio.ensure_future(one.say("still there?"))
    key = one.sessions.live[0].key
    await eventually(lambda: one.waiting(key) == 1)
    await two.door.end(HOUSE, key)
    one.script.hold.set()
    assert (await answering).text == "re: a secret "
    reply = await waiting
    assert reply.done.session != key
    assert one.read() == ["user: still there?"]
    assert await rows(store, key) == 0


@pytest.mark.parametrize("all_of_them", [True, False])
async def test_what_another_hub_ended_is_over_here_too(
    open_office: Open, all_of_them: bool
) -> None:
    one, two = open_office("hub-1"), open_office("hub-2")
    for spoken_on_both in (False, True):
        key = (await one.say("one")).done.session
        if spoken_on_both:
            await two.say("two")
        if all_of_them:
            assert await two.sessions.clear(HOUSE) == 1
        else:
            assert await two.sessions.end(HOUSE, key)
        replies = await asyncio.gather(*(one.say(f"{number}") for number in range(2)))
        assert {reply.done.session for reply in replies}.isdisjoint({key})
        assert len({reply.done.session for reply in replies}) == 1
        assert "user: one" not in one.read()
        [row] = await one.sessions.listing(HOUSE)
        assert row.key == replies[0].done.session
        await two.sessions.clear(HOUSE)


async def test_a_call_that_another_hub_ended_goes_on_when_it_is_spoken_in(
    open_office: Open,
) -> None:
    one, two = open_office("hub-1"), open_office("hub-2")
    key = (await one.say("one", call_id="c")).done.session
    await two.sessions.end(HOUSE, key)
    assert (await one.say("two", call_id="c")).done.session == key
    assert one.read() == ["user: one", "assistant: re: one", "user: two"]
    assert [row.key for row in await two.sessions.listing(HOUSE)] == [key]


async def test_who_speaks_is_the_same_on_two_hubs(open_office: Open) -> None:
    one, two = open_office("hub-1"), open_office("hub-2")
    key = (await one.say("one", call_id="c")).done.session
    assert (await two.say("two", call_id="c", agent="maya")).done.agent == "maya"
    assert (await one.say("three", call_id="c")).done.agent == "maya"
    assert one.script.asked[-1].messages[0].content.startswith("You are Maya.")
    assert (await two.say("four", call_id="c")).done.agent == "maya"
    assert (await one.say("five", call_id="c", agent="tony")).done.agent == "tony"
    assert (await two.say("six", call_id="c")).done.agent == "tony"
    row, _ = await one.sessions.detail(HOUSE, key)
    assert row.agent == "tony"


async def test_a_talk_that_went_on_elsewhere_is_not_found_by_how_it_began(
    open_office: Open,
) -> None:
    one, two = open_office("hub-1"), open_office("hub-2")
    await one.say("hi", caller=None)
    ann = await two.say("hi", "re: hi", "my name is Ann", caller=None)
    bob = await one.say("hi", "re: hi", "my name is Bob", caller=None)
    assert ann.done.session != bob.done.session
    assert "Ann" not in "\n".join(one.read())
    assert "user: my name is Bob" not in await two.said(ann.done.session)


@pytest.mark.parametrize("before", [[], ["hi", "re: hi"]])
async def test_a_strangers_failed_turn_is_tried_again_in_its_session(
    open_office: Open, before: list[str]
) -> None:
    office = open_office()
    if before:
        await office.say("hi", caller=None)
    office.script.answers.extend([ProviderUnavailable("away")] * 3)
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await office.say(*before, "my name is Ann", caller=None)
    office.clock.advance(60)  # the provider is rested
    reply = await office.say(*before, "my name is Ann", caller=None)
    assert started(office) == len(await office.sessions.listing(HOUSE)) == 1
    assert office.read()[-1] == "user: my name is Ann"
    assert len(office.read()) == len(await office.said(reply.done.session)) - 1 == len(before) + 1
    talk = [*before, "my name is Ann", "re: my name is Ann"]
    again = await office.say(*talk, "and you?", caller=None)
    assert again.done.session == reply.done.session


async def test_so_it_is_when_only_the_store_knows_of_it(open_office: Open) -> None:
    one, two = open_office("hub-1", process_idle_s=0.01), open_office("hub-2")
    key = (await one.say("hi", caller=None)).done.session
    one.script.answers.append(ProviderUnavailable("away"))
    with pytest.raises(ProviderUnavailable):
        await one.say("hi", "re: hi", "more", caller=None)
    await forgotten(one)
    assert (await two.say("hi", "re: hi", "more", caller=None)).done.session == key
    assert two.read() == ["user: hi", "assistant: re: hi", "user: more"]


async def test_a_failed_turn_is_not_found_by_who_says_something_else(office: Office) -> None:
    key = (await office.say("hi", caller=None)).done.session
    office.script.answers.append(ProviderUnavailable("away"))
    with pytest.raises(ProviderUnavailable):
        await office.say("hi", "re: hi", "my name is Ann", caller=None)
    bob = await office.say("hi", "re: hi", "my name is Bob", caller=None)
    assert bob.done.session != key
    assert "Ann" not in "\n".join(office.read())


async def test_a_session_goes_on_after_a_crash(open_office: Open) -> None:
    """The hub died after the message was stored and before the answer."""
    first = open_office("hub-1")
    first.script.hold = asyncio.Event()
    lost = asyncio.ensure_future(first.say("are you there?"))
    await eventually(lambda: bool(first.script.asked))
    key = first.sessions.live[0].key
    second = open_office("hub-2")
    reply = await second.say("are you there?")
    assert reply.done.session == key
    assert second.read() == ["user: are you there?"]
    assert await second.said(key) == ["user: are you there?", "assistant: re: are you there?"]
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)


async def test_an_opened_session_is_listed_and_spoken_in(office: Office) -> None:
    session = await office.sessions.create(office.turn(caller="web-1"), "maya")
    office.sessions.release(session)
    [row] = await office.sessions.listing(HOUSE)
    assert (row.key, row.message_count, row.agent) == (session.key, 0, "maya")
    reply = await office.say("hi", session=session.key, caller="web-1")
    assert (reply.done.session, reply.done.agent) == (session.key, "maya")
    [row] = await office.sessions.listing(HOUSE)
    assert row.message_count == 2


async def test_a_crowd_leaves_no_memory_behind(open_office: Open, store: Store) -> None:
    office = open_office(process_idle_s=0.01)
    for number in range(40):
        await office.say("hi", caller=f"caller-{number}")
        await office.say("hi", caller=None)
    await forgotten(office)
    held, opening = office.sessions._held, office.sessions._finding._opening
    assert not any((held._by_key, held._by_caller, held._by_digest, opening))


async def test_a_caller_who_leaves_while_a_session_is_opened_leaves_nothing_behind(
    open_office: Open,
) -> None:
    office = open_office(process_idle_s=0.01, session_expire_s=60)
    for number in range(5):
        leaving = asyncio.ensure_future(office.say("hi", caller=f"caller-{number}"))
        await eventually(lambda: bool(office.sessions._finding._opening))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    await eventually(lambda: not office.sessions._finding._opening)
    office.clock.advance(61)
    await office.sessions.expire()
    assert not office.sessions.live
