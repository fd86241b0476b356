"""Questions of tasks in Slack: asked once, answered by who may, their answers always shown."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update

from integrations.slack import cards
from integrations.slack.apps import apps_of
from integrations.slack.asking import LOOK_S, Asking
from integrations.slack.client import SlackClient
from integrations.slack.fake import FakeSlack
from integrations.slack.fake_api import Message
from integrations.slack.health import Health
from integrations.slack.inbox import Inbox
from integrations.slack.questions import LEASE_MS, LOST_MS, Questions
from integrations.slack.tasking import Tasking
from integrations.slack.threads import Threads, session_key
from integrations.slack.wire import Click, Command, Said, click
from integrations.slack.workspaces import Workspaces
from tests.harness.waiting import eventually, later
from tests.unit.slack.test_inbox import hub as inbox_of
from tests.unit.slack.test_inbox import said
from tests.unit.tasks.house import House, steps
from tron.environment import load_settings
from tron.storage.store import Store
from tron.storage.tables import HOUSE, approvals, sessions, slack_events, slack_questions
from tron.tasks.contract import Approval, NewTask, Task

SAM, ANN, GUEST, STRANGER = "U0PERSON", "U0ANN", "U0GUEST", "U0STRANGER"


class Hub:
    """The Slack side of one hub; its rounds are turned by hand."""

    def __init__(self, house: House, inbox: Inbox, slack: FakeSlack) -> None:
        apps = apps_of(load_settings({"SLACK_BOT_TOKEN": "xoxb-fake"}))
        self.house, self.inbox = house, inbox
        self.client = SlackClient(f"{slack.url}/api/")
        workspaces = Workspaces(
            apps=apps,
            client=self.client,
            installations=None,  # type: ignore[arg-type]
            health=Health(house.clock),
            clock=house.clock,
        )
        self.questions = Questions(house.store, house.clock)
        self.asking = Asking(
            desk=house.desk,
            questions=self.questions,
            threads=Threads(house.store, house.clock),
            inbox=inbox,
            workspaces=workspaces,
            apps=apps,
            clock=house.clock,
        )
        self.tasking = Tasking(
            store=house.store,
            desk=house.desk,
            questions=self.questions,
            asking=self.asking,
            workspaces=workspaces,
        )

    async def close(self) -> None:
        await self.asking.close()
        await self.tasking.close()
        await self.client.close()


class Room:
    """A workspace with a thread in which a persona was asked for something, and two hubs."""

    def __init__(self, house: House, slack: FakeSlack, one: Hub, two: Hub, begun: Said) -> None:
        self.house, self.slack, self.one, self.two, self.begun = house, slack, one, two, begun

    async def task(self, *tools: str, **more: Any) -> Task:
        """A task of the thread that asks something, if its tools do."""
        return await self.new(*tools, session=session_key(self.begun), **more)

    async def new(self, *tools: str, session: str, intent: str = "", owner: str = "x") -> Task:
        self.house.clock.advance(0.001)
        new = NewTask(
            client_id=HOUSE,
            intent=intent or f"do it {self.house.clock.now_ms()}",
            agent="tony",
            owner=owner,
            session=session,
            plan=steps(*(tools or ("run",))),
        )
        return (await self.house.desk.create(new)).task

    async def asked(self, *tools: str, **more: Any) -> tuple[Task, Approval, Message]:
        task = await self.task(*tools, **more)
        assert task.approval is not None
        assert await self.one.asking.post(task, "not used")
        return task, task.approval, self.thread[-1]

    @property
    def thread(self) -> list[Message]:
        return self.slack.thread(self.begun.thread)

    async def press(self, message: Message, label: str, user: str = SAM, **more: Any) -> list[str]:
        """Press a button; what was said to whoever pressed it."""
        before = len(self.slack.responses)
        await self.one.tasking.clicked(self.pressed(message, label, user, **more))
        await eventually(lambda: not len(self.one.tasking._tasks))
        return [body["text"] for _, body in list(self.slack.responses)[before:]]

    def pressed(self, message: Message, label: str, user: str = SAM, **more: Any) -> Click:
        action = next(
            element
            for block in message.blocks
            for element in block.get("elements", [])
            if element.get("text", {}) == {"type": "plain_text", "text": label}
        )
        given: dict[str, Any] = {
            "team": self.slack.team,
            "channel": message.channel,
            "user": user,
            "name": user[2:].lower(),
            "action": action["action_id"],
            "value": action["value"],
            "response_url": f"{self.slack.url}/response/{message.channel}-{message.ts}",
            "message": message.ts,
        }
        return Click(**given | more)

    async def round(self) -> None:
        for hub in (self.one, self.two):
            await hub.asking._round()

    async def see(self, approval: Approval) -> Approval:
        found, _ = await self.one.questions.find(approval.id)
        assert found is not None
        return found

    def command(self, text: str, user: str = SAM, channel: str = "") -> Command:
        return Command(
            team=self.slack.team,
            channel=channel or self.slack.general,
            user=user,
            text=text,
            response_url="",
            event_id="1.a",
            name=user[2:].lower(),
        )


def buttons(message: Message) -> list[str]:
    found = [element for block in message.blocks for element in block.get("elements", [])]
    return [one["text"]["text"] for one in found if one["type"] == "button"]


def words(message: Message) -> str:
    """Everything that people read in its blocks."""
    texts = [block["text"]["text"] for block in message.blocks if block["type"] == "section"]
    notes = [
        element["text"]
        for block in message.blocks
        if block["type"] == "context"
        for element in block["elements"]
    ]
    return "\n".join(texts + notes)


@pytest.fixture
async def house(store: Store, tmp_path: Path) -> AsyncIterator[House]:
    made = House(store, tmp_path)
    await made.begin()
    yield made
    await made.close()


@pytest.fixture
async def room(house: House) -> AsyncIterator[Room]:
    async with FakeSlack() as slack:
        for user, more in (
            (ANN, {}),
            (GUEST, {"is_restricted": True}),
            (STRANGER, {"team_id": "T0OTHER"}),
        ):
            name = user[2:].lower()
            slack.api.people[user] = {"name": name, "real_name": name, **more}
        hubs = [
            Hub(house, await inbox_of(house.store, house.clock, id), slack) for id in ("a", "b")
        ]
        ts = slack.api.post(slack.general, user=SAM, text="please").ts
        begun = said(1, team=slack.team, channel=slack.general, user=SAM, ts=ts, thread_ts=None)
        letter = await hubs[0].inbox.accept("", begun)
        assert letter is not None
        await hubs[0].inbox.finish(letter, "done")
        yield Room(house, slack, hubs[0], hubs[1], begun)
        for hub in hubs:
            await hub.close()


async def test_a_question_is_asked_in_its_thread_and_answered_with_a_button(room: Room) -> None:
    task, approval, message = await room.asked()
    assert buttons(message) == ["Approve", "Deny"]
    assert approval.prompt in words(message)
    assert await room.press(message, "Approve") == []
    assert (await room.house.see(task)).status == "planned"
    answered = await room.see(approval)
    assert (answered.status, answered.through) == ("approved", "slack")
    assert answered.answered_by == f"person (slack:{room.slack.team}:{SAM})"
    await room.round()
    assert (buttons(message), message.edits) == ([], 1)
    assert f"Approved by <@{SAM}>" in words(message)
    assert approval.prompt in words(message)
    await room.round()
    assert message.edits == 1
    await room.house.settle()
    assert [did for did, _, _ in room.house.did] == ["run"]


async def test_a_no_ends_the_task(room: Room) -> None:
    task, _, message = await room.asked()
    await room.press(message, "Deny", ANN)
    ended = await room.house.see(task)
    assert (ended.status, ended.code) == ("failed", "approval_denied")
    await room.round()
    assert f"Denied by <@{ANN}>" in words(message)


async def test_of_many_clicks_one_counts(room: Room) -> None:
    task, approval, message = await room.asked()
    clicks = [room.pressed(message, "Approve"), room.pressed(message, "Deny", ANN)] * 3
    hubs = [room.one, room.two] * 3
    await asyncio.gather(*(h.tasking.clicked(c) for h, c in zip(hubs, clicks, strict=True)))
    await eventually(lambda: not len(room.one.tasking._tasks) + len(room.two.tasking._tasks))
    kept = await room.see(approval)
    won = kept.status == "approved"
    assert (await room.house.see(task)).status == ("planned" if won else "failed")
    told = [body["text"] for _, body in room.slack.responses]
    assert len(told) == 3, "who lost is told; who pressed twice is not"
    assert all(f"Nothing was changed. :{'white' if won else 'no_entry'}" in text for text in told)
    await asyncio.gather(room.one.asking._round(), room.two.asking._round())
    assert (message.edits, buttons(message)) == (1, [])


@pytest.mark.parametrize(
    ("through", "by", "shown"),
    [
        ("voice", "+14155550123", "Approved by somebody on the telephone"),
        ("panel", "owner", "Approved by owner on the hub’s page"),
        ("cli", "<!channel>", "Approved by &lt;!channel&gt; on the command line"),
    ],
)
async def test_an_answer_from_elsewhere_is_shown(
    room: Room, through: Any, by: str, shown: str
) -> None:
    task, _, message = await room.asked()
    await room.house.desk.answer(HOUSE, task.id, approved=True, by=by, through=through)
    await room.round()
    assert shown in words(message)
    assert "4155550123" not in words(message)
    assert buttons(message) == []


async def test_a_question_that_is_over_says_so_and_its_old_button_changes_nothing(
    room: Room,
) -> None:
    late, _, first = await room.asked()
    held, _, second = await room.asked()
    old = [room.pressed(first, "Approve"), room.pressed(second, "Approve")]
    room.house.clock.advance(3601)
    await room.house.desk.pause(HOUSE, held.id)
    await room.house.round()
    assert (await room.house.see(late)).code == "approval_expired"
    for pressed in old:
        await room.one.tasking.clicked(pressed)
    await eventually(lambda: len(room.slack.responses) == 2)
    told = [body["text"] for _, body in room.slack.responses]
    assert "Nobody answered in time" in told[0]
    assert "taken back" in told[1]
    assert [(await room.house.see(task)).status for task in (late, held)] == ["failed", "paused"]
    await room.round()
    assert "Nobody answered in time" in words(first)
    assert "taken back" in words(second)


async def test_a_button_counts_for_its_own_question_only(room: Room) -> None:
    task, _, first = await room.asked("run", "pay")
    old = room.pressed(first, "Approve")
    await room.press(first, "Approve")
    await room.house.settle()
    task = await room.house.see(task)
    assert task.approval is not None, "it asks again, for the next step"
    for value in (old.value, f"{task.id}/", f"/{task.approval.id}", "", "x", "a/b/c"):
        await room.one.tasking.clicked(msgspec.structs.replace(old, value=value))
    other, approval, _ = await room.asked()
    await room.one.tasking.clicked(
        msgspec.structs.replace(old, value=f"{other.id}/{task.approval.id}")
    )
    await room.one.tasking.clicked(msgspec.structs.replace(old, value=f"{task.id}/{approval.id}"))
    for one in (task, other):
        assert (await room.house.see(one)).status == "awaiting_approval"


@pytest.mark.parametrize(
    ("user", "more", "why"),
    [
        (GUEST, {}, "guests"),
        (STRANGER, {}, "guests"),
        ("U0NOBODY", {}, "does not say who you are"),
        (ANN, {"team": "T0OTHER"}, "not asked here"),
        (ANN, {"channel": "C0TRON"}, "not asked here"),
        ("", {}, "does not say who you are"),
    ],
)
async def test_who_may_not_answer(room: Room, user: str, more: dict[str, str], why: str) -> None:
    task, _, message = await room.asked()
    (told,) = await room.press(message, "Approve", user, **more)
    assert why in told
    assert (await room.house.see(task)).status == "awaiting_approval"
    await room.round()
    assert buttons(message) == ["Approve", "Deny"]


@pytest.mark.parametrize("who", ["began it", "asked for it", "is a member"])
async def test_who_may_answer(room: Room, who: str) -> None:
    user = {"began it": SAM, "asked for it": GUEST, "is a member": ANN}[who]
    owner = f"slack:{room.slack.team}:{GUEST}" if who == "asked for it" else "somebody"
    if who != "is a member":
        room.slack.api.refuse("users.info", *["missing_scope"] * 9)
    task, _, message = await room.asked(owner=owner)
    await room.press(message, "Approve", user)
    assert (await room.house.see(task)).status == "planned"


async def test_a_slow_slack_does_not_hold_up_the_acknowledgement(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.slack.tasking.WHO_S", 0.05)
    task, _, message = await room.asked()
    room.slack.api.slow("users.info", 30)
    async with asyncio.timeout(20):
        (told,) = await room.press(message, "Approve", ANN)
    assert "does not say who you are" in told
    assert (await room.house.see(task)).status == "awaiting_approval"


async def test_what_is_asked_is_shown_whole_and_as_it_is(room: Room) -> None:
    text = "<!channel> *bold* `x` & <https://x.example|safe> " + "pay " * 150
    task, approval, message = await room.asked("run", intent="tell <!everyone> now")
    assert "<!everyone>" not in words(message)
    long = msgspec.structs.replace(approval, prompt=text * 40)
    card = cards.asked(task, long, room.slack.team)
    plain = [b["text"] for b in card.blocks if b["type"] == "section"]
    assert "".join(part["text"] for part in plain) == long.prompt
    assert {part["type"] for part in plain} == {"plain_text"}
    assert "<!channel>" not in card.text


# Nothing is lost


async def test_a_question_comes_after_the_answer_of_its_turn(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, looks = room.one.inbox, []
    answering = inbox.answering

    async def look(lane: str) -> bool:
        looks.append(await answering(lane))
        return looks[-1]

    monkeypatch.setattr(inbox, "answering", look)
    again = said(
        2,
        team=room.slack.team,
        channel=room.slack.general,
        user=SAM,
        ts="1900000000.000001",
        thread_ts=room.begun.thread,
    )
    letter = await room.two.inbox.accept("", again)
    assert letter is not None
    assert await room.two.inbox.begin(letter) == "yes"
    task = await room.task()
    posting = asyncio.ensure_future(room.one.asking.post(task, ""))
    await eventually(lambda: len(looks) == 1 or posting.done())
    later(LOOK_S)
    await eventually(lambda: len(looks) == 2 or posting.done())
    assert looks == [True, True]
    assert room.thread == []
    await room.two.inbox.finish(letter, "done")
    later(LOOK_S)
    assert await posting
    assert len(room.thread) == 1


async def test_two_hubs_ask_once(room: Room) -> None:
    task = await room.task()
    posts = [hub.asking.post(task, "") for hub in (room.one, room.two, room.one)]
    assert all(await asyncio.gather(*posts))
    await room.round()
    assert len(room.thread) == 1


async def test_what_slack_did_not_take_is_asked_later(room: Room) -> None:
    task = await room.task()
    room.slack.api.refuse("chat.postMessage", "fatal_error")
    assert await room.one.asking.post(task, "")
    await room.round()
    assert room.thread == []
    room.house.clock.advance(LEASE_MS / 1000 + 1)
    await room.round()
    (message,) = room.thread
    room.slack.api.refuse("chat.update", "fatal_error")
    await room.press(message, "Approve")
    await room.round()
    assert buttons(message), "it could not be changed yet"
    room.house.clock.advance(LEASE_MS / 1000 + 1)
    await room.round()
    assert buttons(message) == []


async def test_what_a_dead_hub_took_over_is_asked_by_another(room: Room) -> None:
    task = await room.task()
    assert task.approval is not None
    row = {"key": task.session, "client_id": HOUSE, "caller": "x", "channel": "slack"}
    row |= {"agent": "tony", "process_id": "p1"}
    now = room.house.clock.now_ms()

    def taken(conn: Any) -> None:  # by a reporting that told nobody
        conn.execute(sessions.insert().values(**row, created_at=now, updated_at=now))
        conn.execute(update(approvals).values(reported=True))

    await room.house.store.write(taken)
    await room.two.asking._find_lost()
    assert room.thread == [], "somebody may be at it"
    room.house.clock.advance(LOST_MS / 1000 + 1)
    await room.two.asking._find_lost()
    await room.one.asking._find_lost()
    (message,) = room.thread
    assert buttons(message) == ["Approve", "Deny"]


async def test_where_the_thread_is_closed_its_asker_is_asked_directly(room: Room) -> None:
    room.slack.api.refuse("chat.postMessage", "is_archived")
    owner = f"slack:{room.slack.team}:{ANN}"
    task = await room.task(owner=owner)
    assert await room.one.asking.post(task, "")
    await room.round()
    (message,) = room.slack.in_channel(room.slack.dm_of(ANN))
    await room.press(message, "Approve", ANN)
    assert (await room.house.see(task)).status == "planned"
    await room.round()
    assert "Approved" in words(message)


async def test_ends_are_told_in_the_thread(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.slack.asking.TELL_PAUSES_S", (0.0, 0.0))
    task = await room.task("look")
    room.slack.api.refuse("chat.postMessage", "fatal_error", "fatal_error")
    assert await room.one.asking.post(task, "Done: **all** of <it>.")
    assert [m.text for m in room.thread] == ["Done: *all* of &lt;it&gt;."]
    room.slack.api.refuse("chat.postMessage", *["fatal_error"] * 3)
    assert not await room.one.asking.post(task, "Done."), "so it is told again"
    elsewhere = await room.new("look", session="call-web")
    assert not await room.one.asking.post(elsewhere, "Done.")


async def test_a_message_that_was_deleted_is_let_go(room: Room) -> None:
    _, _, message = await room.asked()
    message.deleted = True
    await room.press(message, "Approve")
    await room.round()
    async with room.house.store.read() as conn:
        assert (await conn.execute(select(slack_questions.c.closed))).scalar_one() is True


async def test_the_whole_of_it_is_forgotten_in_the_end(room: Room) -> None:
    _, _, message = await room.asked()
    await room.press(message, "Deny")
    await room.round()
    room.house.clock.advance(31 * 86_400)
    await room.one.questions.prune()
    async with room.house.store.read() as conn:
        assert (await conn.execute(select(slack_questions))).first() is None
        assert (await conn.execute(select(slack_events))).first() is not None


# Commands


async def test_a_list_has_what_is_ones_own_or_of_this_channel(room: Room) -> None:
    here, approval, _ = await room.asked("run", intent="build it")
    own = f"slack:{room.slack.team}:{ANN}"
    mine = await room.new("run", session="call-elsewhere", intent="mine", owner=own)
    await room.new("run", session="call-elsewhere", intent="of nobody here")
    ended = await room.task("look", intent="over")
    await room.house.settle()
    assert (await room.house.see(ended)).status == "completed"
    shown = {
        (user, channel): (await room.one.tasking.listing(room.command("tasks", user, channel))).text
        for user in (SAM, ANN)
        for channel in (room.slack.general, "C0TRON")
    }
    assert "build it (awaiting approval)" in shown[SAM, room.slack.general]
    assert shown[SAM, "C0TRON"] == "No task of yours or of this channel is under way."
    assert shown[ANN, "C0TRON"] == "mine (awaiting approval)"
    assert {"build it", "mine"} == {
        line.partition(" (")[0] for line in shown[ANN, room.slack.general].splitlines()
    }
    card = await room.one.tasking.listing(room.command("tasks", ANN, "C0TRON"))
    listed = room.slack.shown(card.body, channel="C0TRON")
    (told,) = await room.press(listed, "Approve", ANN, ephemeral=True)
    assert (await room.house.see(mine)).status == "planned"
    assert told == "mine (planned)", "the list is made anew"
    assert (await room.house.see(here)).approval == approval


async def test_answering_by_command(room: Room) -> None:
    task, approval, message = await room.asked()
    tasking, command = room.one.tasking, room.command("")
    assert "No such" in await tasking.answer(command, "appr_", approved=True)
    assert "No such" in await tasking.answer(command, "nonsense", approved=True)
    elsewhere = room.command("", ANN, "C0TRON")
    assert "No such" in await tasking.answer(elsewhere, approval.id, approved=True)
    guest = room.command("", GUEST)
    assert "guests" in await tasking.answer(guest, approval.id, approved=True)
    other, _, _ = await room.asked()
    assert "More than one" in await tasking.answer(command, "", approved=True)
    assert (await room.house.see(task)).status == "awaiting_approval"
    told = await tasking.answer(room.command("", ANN), approval.id[:12], approved=True)
    assert f"Approved by <@{ANN}>" in told
    assert approval.prompt.replace("“", "") in told.replace("“", "")
    assert (await room.house.see(task)).status == "planned"
    told = await tasking.answer(command, "", approved=False)
    assert "Denied" in told
    assert (await room.house.see(other)).status == "failed"
    await room.round()
    assert buttons(message) == []


def test_what_a_click_tells() -> None:
    payload = {
        "type": "block_actions",
        "team": {"id": "T1"},
        "user": {"id": "U1", "name": "sam"},
        "channel": {"id": "C1"},
        "container": {"message_ts": "1.2", "is_ephemeral": True},
        "actions": [{"action_id": "tron.approve", "value": "task_1/appr_1"}],
    }
    found = click(payload)
    assert isinstance(found, Click)
    assert (found.name, found.message, found.ephemeral) == ("sam", "1.2", True)
    assert cards.task_and_question(found.value) == ("task_1", "appr_1")


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("slack:T1:U1", ("T1", "U1")),
        ("Sam (slack:T1:U1)", ("T1", "U1")),
        ("x (slack:T1:U9) (slack:T1:U1)", ("T1", "U1")),
        ("slack:T1:U9 is me", None),
        ("+14155550123", None),
    ],
)
def test_nobody_gets_anothers_name(name: str, who: tuple[str, str] | None) -> None:
    assert cards.person(name) == who
