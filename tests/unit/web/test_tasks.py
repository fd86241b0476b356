"""The task routes over a desk that only writes down what it is asked: who may, and what counts."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import msgspec
import pytest
from quart import Quart
from quart_schema import QuartSchema

from tests.harness.waiting import eventually
from tests.unit.voice.test_tasks import DOCUMENT, event, task
from tests.unit.web.conftest import Answer, Web, make_hub
from tron.clock import ManualClock
from tron.conversation.finding import call_key
from tron.errors import Conflict, Invalid, NotFound
from tron.settings import Settings
from tron.storage.store import Store
from tron.tasks.contract import Approval, NewTask, Task, TaskEvent
from tron.tasks.desk import Created
from tron.tasks.policy import Policies
from tron.web import errors, policies, security, task_stream, tasks
from tron.web.voice.sessions import VoiceSession, VoiceSessions
from tron.web.voice.styles import style


class Desk:
    """See the module."""

    def __init__(self, files: Path) -> None:
        self.tasks: dict[str, Task] = {}
        self.lines: list[TaskEvent] = []
        self.answers: list[dict[str, Any]] = []
        self.wanted: list[NewTask] = []
        self.did: list[str] = []
        self.files = files
        self.known: Task | None = None
        """what `create` finds instead of making a task"""

    def add(self, id: str, status: Any = "awaiting_approval", **more: Any) -> Task:
        made = task(id, status, more.pop("session", "s"))
        for name, value in more.items():
            setattr(made, name, value)
        self.tasks[id] = made
        return made

    async def create(self, new: NewTask) -> Created:
        self.wanted.append(new)
        if self.known is not None:
            return Created(self.known, True)
        if new.plan is not None and new.plan[0].tool == "nonsense":
            raise Invalid("There is no such tool.")
        return Created(self.add("made", "planned", owner=new.owner, session=new.session), False)

    async def get(self, client_id: str, id: str) -> Task:
        found = self.tasks.get(id)
        if found is None or found.client_id != client_id:
            raise NotFound("There is no such task.", code="task_not_found")
        return found

    async def listing(
        self, client_id: str, *, session: str | None, owner: str | None, live: bool, limit: int
    ) -> list[Task]:
        fits = [
            one
            for one in self.tasks.values()
            if session in (None, one.session) and owner in (None, one.owner)
        ]
        return fits[:limit]

    async def events(
        self, client_id: str, id: str, *, after: int = 0, limit: int = 100
    ) -> list[TaskEvent]:
        return [line for line in self.lines if line.seq > after][-limit:]

    async def waiting(self, client_id: str, session: str | None = None) -> list[Approval]:
        return [
            Approval(
                id=f"appr_{one.id}",
                client_id=client_id,
                task_id=one.id,
                step_id=f"{one.id}.n1",
                digest="",
                tool="buy",
                arguments={},
                prompt="May I?",
                risk="high",
                status="waiting",
                asked_at=0,
                expires_at=1,
                answered_at=None,
                answered_by=None,
                through=None,
            )
            for one in self.tasks.values()
            if session in (None, one.session)
        ]

    async def answer(self, client_id: str, id: str, **given: Any) -> Task:
        if self.tasks[id].status != "awaiting_approval":
            raise Conflict("That task waits for no such approval.", code="not_waiting")
        self.answers.append(given)
        return self.tasks[id]

    async def cancel(self, client_id: str, id: str, *, reason: str) -> Task:
        self.did.append(f"cancel {id}: {reason}")
        return self.tasks[id]

    async def pause(self, client_id: str, id: str) -> Task:
        raise Conflict("Not now.", code="wrong_state")

    resume = retry = pause

    async def artifact(self, client_id: str, id: str, path: str) -> bytes:
        try:
            return (self.files / path).read_bytes()
        except OSError:
            raise NotFound("There is no such file.", code="artifact_not_found") from None

    @asynccontextmanager
    async def follow(
        self, client_id: str, *, task_id: str, after: int
    ) -> AsyncIterator[AsyncIterator[TaskEvent]]:
        async def lines() -> AsyncIterator[TaskEvent]:
            told = 0
            while True:
                while told < len(self.lines):
                    told += 1
                    yield self.lines[told - 1]
                await asyncio.sleep(0.001)

        yield lines()


class Border(Web):
    """The task routes, and what is behind them."""

    desk: Desk
    sessions: VoiceSessions

    def session(self, owner: str = "local", client_id: str = "house") -> VoiceSession:
        made = VoiceSession(
            now=self.clock.now_ms(),
            user_id="ana",
            owner=owner,
            client_id=client_id,
            agent="maya",
            style=style("warm"),
            voice_id="",
            voice="",
        )
        self.sessions.add(made)
        return made

    async def tokens(self) -> tuple[str, str, str]:
        """Of `one`, `two`, and the owner; from now on the hub is protected."""
        guard = self.hub.security
        made = [
            await guard.create_token(name, [scope], None)
            for name, scope in (("one", "chat"), ("two", "chat"), ("owner", "admin"))
        ]
        await guard.set_owner("correct horse")
        one, two, owner = (token for _, token in made)
        return one, two, owner


@pytest.fixture
async def border(
    settings: Settings, sqlite_store: Store, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[Border]:
    folder = tmp_path / "personas"
    folder.mkdir()
    hub = make_hub(settings, sqlite_store, clock, folder)
    desk = Desk(tmp_path)
    cast(Any, hub).desk = desk
    cast(Any, hub).task_work = SimpleNamespace(stopping=False)
    cast(Any, hub).policies = Policies(sqlite_store, clock)
    sessions = VoiceSessions(clock, 120)
    app = Quart("tron")
    QuartSchema(app, conversion_preference="pydantic")
    errors.install(app)
    security.guard(app, hub.security)
    app.register_blueprint(tasks.routes(hub, sessions))
    app.register_blueprint(policies.routes(hub))
    await hub.security.load()
    made = Border(app, hub, clock)
    made.desk, made.sessions = desk, sessions
    yield made
    await hub.orchestrator.close()


# Only a whole and honest yes is a yes


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"approved"',
        b'{"approved": tru',
        b'{"approved": true',
        b'{"approved": true} and more',
        b'{"approved": true}{"approved": true}',
        b'{"approved": "true"}',
        b'{"approved": "false"}',
        b'{"approved": 1}',
        b'{"approved": null}',
        b'{"approved": [true]}',
        b'{"approved": {}}',
        b"{}",
        b"null",
        b"true",
        b"[]",
        b'[{"approved": true}]',
        b'{"Approved": true}',
        b'{"approved": true, "more": 1}',
        b'{"approved": false, "approved": true}',
        b'{"approved": true, "approval_id": 7}',
        b'{"approved": true, "through": "voice"}',
        b"approved=true",
        b"\xff\xfe\x00",
        b'{"approved": true, "approval_id": "' + b"x" * 100 + b'"}',
    ],
)
async def test_nothing_but_a_whole_yes_is_an_approval(border: Border, body: bytes) -> None:
    border.desk.add("t")
    got = await border("POST", "/v1/tasks/t/approve", data=body)
    assert (got.status, got.json["code"]) == (400, "invalid_request")
    assert set(got.json) == {"error", "code"}
    assert border.desk.answers == []


@pytest.mark.parametrize("approved", [True, False])
async def test_an_answer_says_who_gave_it_and_how(border: Border, approved: bool) -> None:
    border.desk.add("t")
    (example,) = DOCUMENT["rest"]["POST /v1/tasks/{id}/approve"]
    assert example == {"approved": True}
    got = await border(
        "POST", "/v1/tasks/t/approve", json={"approved": approved, "approval_id": "a"}
    )
    assert got.status == 200
    (answer,) = border.desk.answers
    assert answer == {
        "approved": approved,
        "by": "local",
        "through": "api",
        "approval_id": "a",
    }


async def test_what_waits_for_nothing_can_not_be_approved(border: Border) -> None:
    border.desk.add("t", "running")
    got = await border("POST", "/v1/tasks/t/approve", json={"approved": True})
    assert (got.status, got.json["code"]) == (400, "task_approval_failed")


# Whose task it is


async def test_a_task_is_seen_by_its_owner_and_whoever_shows_its_session(border: Border) -> None:
    one, two, owner = await border.tokens()
    session = border.session("one")
    border.desk.add("mine", owner="one", session=call_key("house", session.call_id))
    shown = f"?session_id={session.id}"
    for token, query, status in (
        (one, "", 200),
        (two, "", 404),
        (two, shown, 200),
        (owner, "", 200),
        (None, shown, 401),
    ):
        for method, path, body in (
            ("GET", "", None),
            ("GET", "/events", None),
            ("POST", "/approve", {"approved": True}),
            ("POST", "/cancel", {}),
        ):
            got = await border(method, f"/v1/tasks/mine{path}{query}", token=token, json=body)
            assert got.status == status, (path, got.json)
    assert len(border.desk.answers) == 3


async def test_a_task_of_another_session_is_not_found_in_this_one(border: Border) -> None:
    session = border.session()
    border.desk.add("t", session="another")
    for path in ("", "/events", "/artifacts/x"):
        got = await border("GET", f"/v1/tasks/t{path}?session_id={session.id}")
        assert (got.status, got.json["code"]) == (404, "task_not_found")
    got = await border(
        "POST", f"/v1/tasks/t/approve?session_id={session.id}", json={"approved": True}
    )
    assert got.status == 404
    assert border.desk.answers == []


async def test_a_task_or_session_of_another_tenant_is_not_found(border: Border) -> None:
    border.desk.add("t", client_id="tenant")
    session = border.session(client_id="tenant")
    assert (await border("GET", "/v1/tasks/t")).status == 404
    got = await border("GET", f"/v1/tasks?session_id={session.id}")
    assert (got.status, got.json["code"]) == (404, "session_not_found")
    wanted = {"intent_text": "look", "session_id": session.id}
    assert (await border("POST", "/v1/tasks", json=wanted)).status == 404
    assert border.desk.wanted == []


async def test_lists_hold_what_one_may_see(border: Border) -> None:
    one, two, owner = await border.tokens()
    session = border.session("one")
    key = call_key("house", session.call_id)
    border.desk.add("a", owner="one")
    border.desk.add("b", owner="two")
    border.desk.add("c", owner="+1555", session=key)
    for token, query, seen in (
        (one, "", ["a"]),
        (two, "", ["b"]),
        (owner, "", ["a", "b", "c"]),
        (two, f"?session_id={session.id}", ["c"]),
    ):
        listed = await border("GET", f"/v1/tasks{query}", token=token)
        assert [found["id"] for found in listed.json["tasks"]] == seen
        waiting = await border("GET", f"/v1/approvals{query}", token=token)
        assert [found["task_id"] for found in waiting.json["approvals"]] == seen
    assert session.id not in json.dumps((await border("GET", "/v1/tasks", token=owner)).json)


async def test_policies_are_for_admins_to_change(border: Border) -> None:
    one, _, owner = await border.tokens()
    rule = {"effect": "send", "decision": "allow", "agent": "maya"}
    path = "/v1/tasks/policies"
    assert (await border("GET", path, token=one)).status == 403
    assert (await border("PUT", path, token=one, json=rule)).status == 403
    assert (await border("GET", path, token=owner)).json["rules"] == []
    assert (await border("PUT", path, token=owner, json=rule)).status == 200
    listed = (await border("GET", path, token=owner)).json
    assert rule.items() <= listed["rules"][0].items()
    assert listed["defaults"]["execute"] == "ask"
    for bad in (
        rule | {"decision": "yes"},
        rule | {"effect": "think"},
        {"effect": "send"},
        rule | {"x": 1},
    ):
        assert (await border("PUT", path, token=owner, json=bad)).status == 400
    got = await border("PUT", path, token=owner, json=rule | {"agent": "nobody"})
    assert (got.status, got.json["code"]) == (404, "agent_not_found")
    gone = f"{path}?effect=send&agent=maya"
    assert (await border("DELETE", gone, token=owner)).json == {"ok": True}
    assert (await border("DELETE", gone, token=owner)).status == 404


# Handing in


async def test_the_documents_example_is_taken_and_answered(border: Border) -> None:
    session = border.session()
    asked, promised = DOCUMENT["rest"]["POST /v1/tasks"]
    got = await border("POST", "/v1/tasks", json=asked | {"session_id": session.id})
    assert got.status == 201
    assert set(promised) <= set(got.json)
    for name, value in promised.items():
        assert type(got.json[name]) is type(value), name
    (new,) = border.desk.wanted
    assert (new.intent, new.mode, new.priority) == (asked["intent_text"], "auto", "normal")
    assert (new.owner, new.user_id, new.agent) == ("local", "ana", "maya")
    assert new.session == call_key("house", session.call_id)
    assert session.id not in got.raw.decode()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"intent_text": ""}, "invalid_request"),
        ({"intent_text": None}, "invalid_request"),
        ({"intent_text": "x" * 4001}, "invalid_request"),
        ({"intent_text": "a\0b"}, "invalid_request"),
        ({"mode": "fast"}, "invalid_request"),
        ({"priority": 1}, "invalid_request"),
        ({"modee": "plan_only"}, "invalid_request"),
        ({"timeout_s": 0}, "invalid_request"),
        ({"timeout_s": "60"}, "invalid_request"),
        ({"plan": []}, "invalid_request"),
        ({"plan": [{"node": "n1"}]}, "invalid_request"),
        ({"plan": [{"node": "n1", "tool": "nonsense"}]}, "task_create_failed"),
    ],
)
async def test_what_can_not_be_a_task_is_refused(
    border: Border, change: dict[str, Any], code: str
) -> None:
    got = await border("POST", "/v1/tasks", json={"intent_text": "look"} | change)
    assert (got.status, got.json["code"]) == (400, code)


async def test_a_session_or_agent_nobody_knows(border: Border) -> None:
    for change, code in (
        ({"session_id": "none"}, "session_not_found"),
        ({"agent": "nobody"}, "agent_not_found"),
    ):
        got = await border("POST", "/v1/tasks", json={"intent_text": "look"} | change)
        assert (got.status, got.json["code"]) == (404, code)


async def test_where_no_persona_lives_the_hub_is_what_is_wrong(
    border: Border, tmp_path: Path
) -> None:
    for file in ("tony.md", "maya.md"):
        (tmp_path / "personas" / file).unlink()
    border.hub.agents.refresh()
    got = await border("POST", "/v1/tasks", json={"intent_text": "look"})
    assert (got.status, got.json["code"]) == (503, "not_configured")
    assert "tron personas" in got.json["error"]
    assert border.desk.wanted == []


async def test_a_key_comes_in_the_body_or_the_header_and_stays_ones_own(border: Border) -> None:
    body = {"intent_text": "look"}
    await border("POST", "/v1/tasks", json=body, Idempotency_Key="k")
    await border("POST", "/v1/tasks", json=body | {"key": "k"}, Idempotency_Key="k")
    assert [new.key for new in border.desk.wanted] == ["k", "k"]
    got = await border("POST", "/v1/tasks", json=body | {"key": "k"}, Idempotency_Key="other")
    assert got.status == 400
    one, _, _ = await border.tokens()
    border.desk.known = border.desk.add("theirs", owner="two")
    got = await border("POST", "/v1/tasks", json=body | {"key": "k"}, token=one)
    assert (got.status, got.json["code"]) == (409, "key_taken")
    assert "theirs" not in got.raw.decode()


# Steering


async def test_what_has_ended_stays_as_it_is(border: Border) -> None:
    border.desk.add("t", "completed")
    for action in ("cancel", "pause", "resume"):
        got = await border("POST", f"/v1/tasks/t/{action}")
        assert (got.status, got.json["status"]) == (200, "completed")
    assert border.desk.did == []
    border.desk.add("t", "running")
    for action in ("pause", "resume", "retry"):
        got = await border("POST", f"/v1/tasks/t/{action}")
        assert (got.status, got.json["code"]) == (400, f"task_{action}_failed")


async def test_what_is_paused_or_ends_meanwhile_is_no_failure(
    border: Border, monkeypatch: pytest.MonkeyPatch
) -> None:
    border.desk.add("t", "paused")
    got = await border("POST", "/v1/tasks/t/pause")
    assert (got.status, got.json["status"]) == (200, "paused")

    async def too_late(client_id: str, id: str, **_: str) -> Task:
        border.desk.add(id, "failed")
        raise Conflict("Not now.", code="wrong_state")

    for action in ("cancel", "pause", "resume"):
        border.desk.add("t", "running")
        monkeypatch.setattr(border.desk, action, too_late)
        got = await border("POST", f"/v1/tasks/t/{action}")
        assert (got.status, got.json["status"]) == (200, "failed"), action


async def test_cancelling_needs_no_body(border: Border) -> None:
    border.desk.add("t", "running")
    (example,) = DOCUMENT["rest"]["POST /v1/tasks/{id}/cancel"]
    await border("POST", "/v1/tasks/t/cancel")
    await border("POST", "/v1/tasks/t/cancel", json={"reason": "enough"})
    assert border.desk.did == [f"cancel t: {example['reason']}", "cancel t: enough"]
    assert (await border("POST", "/v1/tasks/t/cancel", data=b"{")).status == 400


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", ""])
async def test_limits_are_positive_numbers(border: Border, limit: str) -> None:
    border.desk.add("t")
    for path in ("/v1/tasks", "/v1/tasks/t/events"):
        got = await border("GET", f"{path}?limit={limit}")
        assert (got.status, got.json["code"]) == (400, "invalid_request")
    assert (await border("GET", "/v1/tasks?limit=100000")).status == 200


# The log as it comes


async def stream(border: Border, seen: str = "") -> Answer:
    return await border("GET", "/v1/tasks/t/events", Accept="text/event-stream", Last_Event_ID=seen)


def told(answer: Answer) -> list[tuple[str, str]]:
    frames = answer.raw.decode().strip().split("\n\n")
    fields = [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames]
    return [(frame["id"], frame["event"]) for frame in fields]


async def test_a_stream_goes_on_behind_what_was_seen_and_ends_with_the_task(border: Border) -> None:
    border.desk.add("t", "completed")
    border.desk.lines = [
        event("task_created", 1, seq=1),
        event("task_failed", 2, seq=2),  # and then it was tried again
        event("task_step_started", 3, seq=3),
        event("task_completed", 4, seq=4),
    ]
    whole = [
        ("1", "task_created"),
        ("2", "task_failed"),
        ("3", "task_step_started"),
        ("4", "task_completed"),
    ]
    got = await stream(border)
    assert got.headers["Content-Type"].startswith("text/event-stream")
    assert told(got) == whole
    assert told(await stream(border, "2")) == whole[2:]
    assert (await stream(border, "4")).status == 204
    assert (await stream(border, "x")).status == 400


class Going:
    """The work of a hub that does not stop, and how often it was asked whether it does."""

    def __init__(self) -> None:
        self.asked = 0

    @property
    def stopping(self) -> bool:
        self.asked += 1
        return False


async def test_a_stream_waits_for_what_comes(
    border: Border, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_stream, "KEEP_ALIVE_S", 0.02)
    monkeypatch.setattr(task_stream, "LOOK_S", 0.01)
    found = border.desk.add("t", "running")
    border.desk.lines = [event("task_created", 1, seq=1)]
    cast(Any, border.hub).task_work = work = Going()
    coming = asyncio.ensure_future(stream(border))
    # Asked once in every LOOK_S without a line: the third time, KEEP_ALIVE_S is over for sure.
    await eventually(lambda: work.asked >= 3 or coming.done())
    found.status = "completed"
    border.desk.lines.append(event("task_completed", 2, seq=2))
    got = await coming
    assert b": keep-alive\n\n" in got.raw
    assert got.raw.endswith(b"\n\n")
    assert b"id: 2" in got.raw


async def test_a_stream_ends_with_its_hub(border: Border, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_stream, "LOOK_S", 0.01)
    border.desk.add("t", "running")
    border.desk.lines = [event("task_created", 1, seq=1)]
    cast(Any, border.hub).task_work.stopping = True
    assert told(await stream(border)) == [("1", "task_created")]


async def test_events_are_the_messages_with_time_and_number(border: Border) -> None:
    border.desk.add("t")
    border.desk.lines = [event("task_plan_graph", 1, seq=1), event("task_step_log", 2, seq=2)]
    got = (await border("GET", "/v1/tasks/t/events?limit=5")).json
    assert got["task_id"] == "t"
    graph, said = got["events"]
    assert graph["graph"] == {"nodes": graph["nodes"], "edges": graph["edges"]}
    assert set(said) == {"type", "task_id", "step_id", "text_delta", "seq", "at"}
    assert said["at"] == "2023-11-14T22:13:20.000Z"
    assert (await border("GET", "/v1/tasks/t/events?after=1")).json["events"] == [said]


# Files


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("notes.txt", "text/plain"),
        ("page.html", "application/octet-stream"),
        ("drawing.svg", "application/octet-stream"),
        ("run.js", "application/octet-stream"),
        ("picture.png", "image/png"),
        ("packed.txt.gz", "application/octet-stream"),
        ('häß"lich;.csv', "text/csv"),
    ],
)
async def test_a_file_is_for_saving_and_runs_nowhere(
    border: Border, tmp_path: Path, name: str, kind: str
) -> None:
    border.desk.add("t")
    (tmp_path / name).write_bytes(b"<script>")
    got = await border("GET", f"/v1/tasks/t/artifacts/{quote(name)}")
    assert (got.status, got.raw) == (200, b"<script>")
    assert got.headers["Content-Type"].partition(";")[0] == kind
    disposition = got.headers["Content-Disposition"]
    assert disposition == f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in got.headers["Content-Security-Policy"]


async def test_a_file_that_is_gone_is_not_found(border: Border) -> None:
    border.desk.add("t")
    for name in ("gone.txt", "a%00b", "a%0Ab"):
        assert (await border("GET", f"/v1/tasks/t/artifacts/{name}")).status == 404


@pytest.mark.parametrize("id", ["none", "%00", "%ff", "a%0Ab", "x" * 500, "ä"])
async def test_odd_ids_are_not_found(border: Border, id: str) -> None:
    got = await border("GET", f"/v1/tasks/{id}")
    assert (got.status, got.json["code"]) == (404, "task_not_found")


def test_the_answer_is_made_of_plain_json() -> None:
    from tron.web.task_answers import TaskAnswer, task_answer

    made = task("t", "planned")
    TaskAnswer.model_validate(task_answer(made))
    assert msgspec.json.encode(task_answer(made))
