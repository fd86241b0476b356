"""The tasks of a voice session on its socket: what is told, what may be lost, what actions mean."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tests.harness.waiting import eventually
from tron.conversation.finding import call_key
from tron.errors import Conflict, NotFound, StorageUnavailable
from tron.supervise import Tasks
from tron.tasks.contract import Status, Step, Task, TaskEvent
from tron.web.voice.messages import CONTROL, Control, encode, of_event, snapshot
from tron.web.voice.session_tasks import MOST_WAITING, SessionTasks
from tron.web.voice.sessions import VoiceSession
from tron.web.voice.styles import style

DOCUMENT = json.loads(
    (Path(__file__).parents[2] / "contract/fixtures/samantha_tasks.json").read_text()
)
BODIES: dict[str, dict[str, Any]] = {
    "task_created": {
        "summary": "look",
        "status": "planned",
        "risk_level": "low",
        "requires_approval": False,
    },
    "task_plan_graph": {
        "status": "planned",
        "detail": "This is the plan.",
        "nodes": [{"id": "n1", "title": "Look", "status": "planned"}],
        "edges": [],
    },
    "task_plan_delta": {"status": "planned", "text_delta": "Queued.", "queued_position": 2},
    "task_step_started": {"step_id": "t.n1", "step_seq": 1, "title": "Look", "risk_level": "low"},
    "task_step_log": {"step_id": "t.n1", "text_delta": "looking"},
    "task_step_completed": {"step_id": "t.n1", "status": "running"},
    "task_waiting_approval": {
        "step_id": "t.n1",
        "risk_level": "high",
        "prompt": "May I?",
        "requires_approval": True,
        "approval_id": "appr_1",
        "expires_at": 1_700_000_000_123,
    },
    "task_completed": {"status": "completed", "result": "done"},
    "task_failed": {"step_id": None, "status": "cancelled", "code": "cancelled", "detail": "x"},
}


def event(kind: str, id: int = 1, task: str = "t", seq: int = 1) -> TaskEvent:
    return TaskEvent(
        id=id,
        client_id="house",
        task_id=task,
        session="s",
        seq=seq,
        at=1_700_000_000_000,
        kind=kind,
        body=BODIES[kind],
    )


def spending() -> Step:
    return Step(
        id="t.n1",
        seq=1,
        node="n1",
        title="Buy",
        tool="buy",
        arguments={},
        needs=(),
        effect="spend",
        status="planned",
        attempt=0,
        result=None,
        error=None,
        started_at=None,
        ended_at=None,
    )


def task(id: str, status: Status, session: str = "s", steps: list[Step] | None = None) -> Task:
    return Task(
        id=id,
        client_id="house",
        session=session,
        owner="local",
        user_id="",
        channel="api",
        agent="tony",
        intent="look",
        summary="look",
        mode="auto",
        priority="normal",
        status=status,
        stretch=0,
        wake_at=None,
        expires_at=0,
        result=None,
        code=None,
        detail=None,
        created_at=0,
        updated_at=0,
        started_at=None,
        ended_at=None,
        steps=steps or [],
    )


# Messages


@pytest.mark.parametrize("kind", list(BODIES))
def test_a_message_has_the_documents_fields_and_class(kind: str) -> None:
    said = DOCUMENT["fields"][kind]
    message = of_event(event(kind))
    assert message is not None
    sent = json.loads(encode(message))
    fields = set(sent) - {"type", "session_id", "event_seq"}
    assert sent["type"] == kind
    assert set(said["required"]) <= fields
    extra = {"approval_id", "expires_at"} if kind == "task_waiting_approval" else set[str]()
    assert fields <= {*said["required"], *said["optional"], *extra}
    assert isinstance(message, CONTROL) == (said["class"] == "C")


def test_every_documented_message_is_known() -> None:
    known = {*BODIES, "task_status_snapshot"}
    assert {*DOCUMENT["server_messages"]} <= known
    assert {*DOCUMENT["fields"]} == known


def test_optional_fields_may_be_missing_and_are_then_not_sent() -> None:
    bare = msgspec.structs.replace(event("task_plan_delta"), body={"status": "paused"})
    message = of_event(bare)
    assert message is not None
    sent = set(json.loads(encode(message)))
    assert sent == {"type", "session_id", "event_seq", "task_id", "status"}


def test_no_step_is_an_empty_step_id_and_times_are_iso() -> None:
    failed = of_event(event("task_failed"))
    waiting = of_event(event("task_waiting_approval"))
    assert failed is not None
    assert waiting is not None
    assert json.loads(encode(failed))["step_id"] == ""
    assert json.loads(encode(waiting))["expires_at"] == "2023-11-14T22:13:20.123Z"


def test_a_line_of_an_unknown_kind_is_not_told() -> None:
    assert of_event(msgspec.structs.replace(event("task_created"), kind="task_sung")) is None


def test_the_snapshot_sorts_what_goes_on() -> None:
    told = snapshot(
        [
            task("runs", "running"),
            task("asks", "awaiting_approval", steps=[spending()]),
            task("rests", "paused"),
            task("waits", "planned"),
        ]
    )
    assert isinstance(told, CONTROL)
    sent = json.loads(encode(told))
    places = DOCUMENT["fields"]["task_status_snapshot"]["required"]
    found = {place: [item["task_id"] for item in sent[place]] for place in places}
    assert found == {
        "active": ["runs"],
        "awaiting_approval": ["asks"],
        "planned": ["rests", "waits"],
    }
    assert sent["awaiting_approval"] == [
        {
            "task_id": "asks",
            "summary": "look",
            "status": "awaiting_approval",
            "risk_level": "high",
            "requires_approval": True,
        }
    ]


# On the socket


class Desk:
    """Knows what it was told to, and writes down what it is asked."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.lines: list[TaskEvent] = []
        self.did: list[tuple[Any, ...]] = []
        self.away = False

    async def listing(self, client_id: str, *, session: str, live: bool = False, limit: int) -> Any:
        assert client_id == "house"
        if self.away:
            raise StorageUnavailable("The store is away.")
        ended = ("completed", "failed", "cancelled")
        mine = [known for known in self.tasks if known.session == session]
        return [known for known in mine if not live or known.status not in ended][:limit]

    async def events(self, client_id: str, task_id: str, *, limit: int) -> Any:
        return [line for line in self.lines if line.task_id == task_id][-limit:]

    @asynccontextmanager
    async def follow(
        self, client_id: str, *, session: str, after: int
    ) -> AsyncIterator[AsyncIterator[TaskEvent]]:
        async def lines() -> AsyncIterator[TaskEvent]:
            told = 0
            while True:
                while told < len(self.lines):
                    line = self.lines[told]
                    told += 1
                    if line.id > after:
                        yield line
                await asyncio.sleep(0.001)

        yield lines()

    def _task(self, id: str, session: str) -> Task:
        for known in self.tasks:
            if (known.id, known.session) == (id, session):
                return known
        raise NotFound(f"There is no task {id!r}.")

    async def answer(self, client_id: str, id: str, *, session: str, **given: Any) -> None:
        if self._task(id, session).status != "awaiting_approval":
            raise Conflict("That task waits for no such approval.", code="not_waiting")
        self.did.append((id, given["approved"], given["by"], given["through"]))

    async def cancel(self, client_id: str, id: str, *, reason: str, session: str) -> None:
        self.did.append(("cancel", self._task(id, session).id, reason))

    async def pause(self, client_id: str, id: str, *, session: str) -> None:
        self.did.append(("pause", self._task(id, session).id))

    async def resume(self, client_id: str, id: str, *, session: str) -> None:
        self.did.append(("resume", self._task(id, session).id))


class Talk:
    """A voice session whose client reads at once."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.session = VoiceSession(
            now=0,
            user_id="u",
            owner="local",
            client_id="house",
            agent="tony",
            style=style("warm"),
            voice_id="",
            voice="",
        )
        self.key = call_key("house", self.session.call_id)
        self.got: list[dict[str, Any]] = []

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[SessionTasks]:
        made = SessionTasks(cast(Any, self.desk), self.session)
        outbox = self.session.outbox
        outbox.attach(None)

        async def take(text: str) -> None:
            self.got.append(json.loads(text))

        tasks = Tasks("session")
        tasks.start(outbox.run(take), "outbox")
        made.follow(tasks)
        try:
            await made.shown()
            yield made
        finally:
            await tasks.close()
            outbox.detach()

    async def until(self, count: int) -> None:
        await eventually(lambda: len(self.got) >= count, what=f"{count} messages")

    async def act(self, action: str, **more: Any) -> None:
        async with self.connected() as made:
            await self.until(1)
            before = len(self.desk.did) + len(self.got)
            await made.act(Control(session_id=self.session.id, action=action, **more))
            await eventually(lambda: len(self.desk.did) + len(self.got) > before)


@pytest.fixture
def talk() -> Talk:
    return Talk()


async def test_the_snapshot_comes_first_and_what_was_before_is_not_told_again(talk: Talk) -> None:
    talk.desk.tasks = [task("t", "running", talk.key), task("other", "running", "elsewhere")]
    talk.desk.lines = [event("task_created", 1, seq=1), event("task_step_started", 2, seq=2)]
    async with talk.connected():
        talk.desk.lines.append(event("task_completed", 3, seq=3))
        await talk.until(2)
    assert [m["type"] for m in talk.got] == ["task_status_snapshot", "task_completed"]
    assert [item["task_id"] for item in talk.got[0]["active"]] == ["t"]
    assert {m["session_id"] for m in talk.got} == {talk.session.id}


async def test_coming_back_brings_each_line_once(talk: Talk) -> None:
    async with talk.connected():
        talk.desk.lines.append(event("task_created", 1, seq=1))
        await talk.until(2)
    talk.desk.lines += [event("task_step_started", 2, seq=2), event("task_step_log", 3, seq=3)]
    async with talk.connected():
        talk.desk.lines.append(event("task_completed", 4, seq=4))
        await talk.until(6)
    kinds = [m["type"] for m in talk.got if m["type"] != "task_status_snapshot"]
    assert kinds == ["task_created", "task_step_started", "task_step_log", "task_completed"]
    assert [m["event_seq"] for m in talk.got] == list(range(1, 7))


async def test_what_happens_before_a_first_line_came_is_not_lost(talk: Talk) -> None:
    async with talk.connected():
        await talk.until(1)
    talk.desk.lines.append(event("task_created", 1, seq=1))
    async with talk.connected():
        await talk.until(3)
    assert [m["type"] for m in talk.got].count("task_created") == 1


async def test_a_line_of_another_hub_that_is_seen_late_is_told_all_the_same(talk: Talk) -> None:
    async with talk.connected():
        talk.desk.lines.append(event("task_created", 10, seq=1))
        await talk.until(2)
    talk.desk.lines.append(event("task_created", 9, task="b", seq=1))
    async with talk.connected():
        await talk.until(4)
    assert [m["task_id"] for m in talk.got if m["type"] == "task_created"] == ["t", "b"]


async def test_a_store_that_is_away_is_told_and_the_log_is_followed_later(talk: Talk) -> None:
    talk.desk.away = True
    async with talk.connected():
        await talk.until(1)
        error = talk.got[0]
        assert (error["code"], error["source"]) == ("task_status_failed", "task_runtime")
        talk.desk.away = False
        talk.desk.lines.append(event("task_created", 1, seq=1))
        await talk.until(2)
    assert talk.got[1]["type"] == "task_created"


@pytest.mark.parametrize(
    ("action", "more", "did"),
    [
        ("approve_task_step", {}, ("asks", True, "local", "socket")),
        ("approve_task_step", {"approved": True}, ("asks", True, "local", "socket")),
        ("approve_task_step", {"approved": False}, ("asks", False, "local", "socket")),
        ("deny_task_step", {}, ("asks", False, "local", "socket")),
        ("deny_task_step", {"approved": True}, ("asks", False, "local", "socket")),
        ("approve_task_step", {"task_id": "asked"}, ("asked", True, "local", "socket")),
        ("cancel_task", {"reason": "enough"}, ("cancel", "runs", "enough")),
        ("cancel_task", {"task_id": "waits"}, ("cancel", "waits", "")),
        ("pause_task", {}, ("pause", "runs")),
        ("resume_task", {}, ("resume", "rests")),
    ],
)
async def test_an_action_means_a_task(
    talk: Talk, action: str, more: dict[str, Any], did: tuple[Any, ...]
) -> None:
    talk.desk.tasks = [  # the latest first
        task("waits", "planned", talk.key),
        task("asks", "awaiting_approval", talk.key),
        task("rests", "paused", talk.key),
        task("asked", "awaiting_approval", talk.key),
        task("rested", "paused", talk.key),
        task("runs", "running", talk.key),
    ]
    await talk.act(action, **more)
    assert talk.desk.did == [did]


@pytest.mark.parametrize(
    ("action", "more", "code"),
    [
        ("approve_task_step", {}, "task_approval_failed"),
        ("approve_task_step", {"approved": False}, "task_deny_failed"),
        ("approve_task_step", {"task_id": "runs"}, "task_approval_failed"),
        ("approve_task_step", {"task_id": "foreign"}, "task_approval_failed"),
        ("deny_task_step", {"task_id": "none"}, "task_deny_failed"),
        ("cancel_task", {"task_id": "foreign"}, "task_cancel_failed"),
        ("pause_task", {"task_id": "none"}, "task_pause_failed"),
        ("resume_task", {}, "task_resume_failed"),
    ],
)
async def test_what_can_not_be_done_is_an_error_event(
    talk: Talk, action: str, more: dict[str, Any], code: str
) -> None:
    talk.desk.tasks = [
        task("runs", "running", talk.key),
        task("foreign", "awaiting_approval", "elsewhere"),
    ]
    await talk.act(action, **more)
    error = talk.got[-1]
    assert (error["type"], error["code"], error["source"]) == ("error_event", code, "task_runtime")
    assert error["detail"]
    assert talk.desk.did == []


async def test_too_many_actions_at_once_are_refused(talk: Talk) -> None:
    talk.desk.tasks = [task("runs", "running", talk.key)]
    async with talk.connected() as made:
        await made._turn.acquire()
        control = Control(session_id=talk.session.id, action="pause_task")
        asked = [asyncio.ensure_future(made.act(control)) for _ in range(MOST_WAITING + 1)]
        await talk.until(2)
        assert talk.got[-1]["code"] == "task_pause_failed"
        made._turn.release()
        await asyncio.gather(*asked)
    assert len(talk.desk.did) == MOST_WAITING
