"""Tasks as the voice API's document has them, against a real hub: REST, and the session's socket.

Plans are given, so that it is known what happens; `confirm_each` asks before every step.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.test_samantha import DOCUMENT, TALKING, Client, ask, connected, created
from tests.harness.hub import Hubs, RunningHub
from tests.harness.sse import SseEvent, read_sse
from tests.harness.waiting import PATIENCE_S, eventually

TIME = {"node": "n1", "title": "Look at the clock", "tool": "current_time", "arguments": {}}
NOTE = {
    "node": "n2",
    "title": "Write it down",
    "tool": "write_journal",
    "arguments": {"text": "It was {{n1}}."},
    "needs": ["n1"],
}
LONG = {"node": "n1", "title": "Wait", "tool": "wait_until", "arguments": {"seconds": 3_600}}


async def handed_in(running: RunningHub, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    wanted = {"intent_text": f"look at the clock {more}", "plan": list(steps)} | more
    status, task, raw = await ask(running, "POST", "/v1/tasks", json=wanted)
    assert status == 201, raw
    return task


async def seen(running: RunningHub, id: str) -> dict[str, Any]:
    status, task, raw = await ask(running, "GET", f"/v1/tasks/{id}")
    assert status == 200, raw
    return task


async def until(running: RunningHub, id: str, status: str) -> dict[str, Any]:
    async def there() -> bool:
        return bool((await seen(running, id))["status"] == status)

    await eventually(there, what=f"{id} is {status}")
    return await seen(running, id)


async def decide(running: RunningHub, id: str, approved: bool) -> None:
    status, _, raw = await ask(
        running, "POST", f"/v1/tasks/{id}/approve", json={"approved": approved}
    )
    assert status == 200, raw


async def log(running: RunningHub, id: str, seen: int = 0) -> AsyncIterator[SseEvent]:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(seen)}
    async with running.http.get(f"/v1/tasks/{id}/events", headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        async for found in read_sse(answer.content.iter_any()):
            if found.data is not None:
                yield found


# REST


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_the_documents_rest_examples_work(
    hub: Hubs, database: str, request: pytest.FixtureRequest
) -> None:
    more = {"TRON_BRAIN": "offline"}
    if database == "postgres":
        more["TRON_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    running = await hub(**TALKING | more)
    session = await created(running)
    asked, promised = DOCUMENT["rest"]["POST /v1/tasks"]
    body = asked | {"session_id": session, "plan": [TIME], "mode": "confirm_each"}
    status, task, _ = await ask(running, "POST", "/v1/tasks", json=body)
    assert status == 201
    assert promised.keys() <= task.keys()
    assert task["summary"] == promised["summary"]
    assert (task["status"], task["requires_approval"]) == ("awaiting_approval", True)
    assert task["deduped"] is False

    status, again, _ = await ask(running, "POST", "/v1/tasks", json=body)
    assert (status, again["deduped"], again["task_id"]) == (201, True, task["task_id"])

    status, listed, _ = await ask(
        running, "GET", "/v1/tasks", params={"session_id": session, "limit": "20"}
    )
    assert (status, [one["task_id"] for one in listed["tasks"]]) == (200, [task["task_id"]])
    assert listed["session_id"] == session
    other = await created(running)
    _, listed, _ = await ask(running, "GET", "/v1/tasks", params={"session_id": other})
    assert listed["tasks"] == []

    path = f"/v1/tasks/{task['task_id']}"
    status, found, _ = await ask(running, "GET", path)
    (step,) = found["steps"]
    assert (status, step["status"], step["risk_level"]) == (200, "awaiting_approval", "low")
    (example,) = DOCUMENT["rest"]["POST /v1/tasks/{id}/approve"]
    status, _, _ = await ask(running, "POST", f"{path}/approve", json=example)
    assert status == 200
    done = await until(running, task["task_id"], "completed")
    assert done["steps"][0]["status"] == "completed"
    assert done["ended_at"] >= done["started_at"] >= done["created_at"]

    (example,) = DOCUMENT["rest"]["POST /v1/tasks/{id}/cancel"]
    status, found, _ = await ask(running, "POST", f"{path}/cancel", json=example)
    assert (status, found["status"]) == (200, "completed")
    status, found, _ = await ask(running, "GET", f"{path}/events", params={"limit": "100"})
    events = found["events"]
    assert (status, found["task_id"]) == (200, task["task_id"])
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("task_created", "task_completed")
    _, latest, _ = await ask(running, "GET", f"{path}/events", params={"limit": "2"})
    assert latest["events"] == events[-2:]
    _, rest, _ = await ask(running, "GET", f"{path}/events", params={"after": "2"})
    assert rest["events"] == events[2:]

    _, found, _ = await ask(running, "GET", "/v1/onboarding/status")
    (example,) = DOCUMENT["rest"]["GET /v1/onboarding/status"]
    assert example.keys() <= found.keys()
    assert (found["task_runtime_enabled"], found["task_store_mode"]) == (True, database)
    checks = {check["id"]: check["status"] for check in found["checks"]}
    assert (checks["task_runtime"], checks["task_store"]) == ("ok", "ok")


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "code"),
    [
        ("POST", "", {"data": b"{"}, 400, "invalid_request"),
        ("POST", "", {"json": {}}, 400, "invalid_request"),
        ("POST", "", {"json": {"intent_text": "  "}}, 400, "invalid_request"),
        (
            "POST",
            "",
            {"json": {"intent_text": "x", "session_id": "y"}},
            404,
            "session_not_found",
        ),
        (
            "POST",
            "",
            {"json": {"intent_text": "x", "plan": [{"node": "n1", "tool": "fly"}]}},
            400,
            "task_create_failed",
        ),
        ("GET", "?session_id=none", {}, 404, "session_not_found"),
        ("GET", "?limit=0", {}, 400, "invalid_request"),
        ("GET", "/none", {}, 404, "task_not_found"),
        ("GET", "/%00", {}, 404, "task_not_found"),
        ("POST", "/none/approve", {"json": {"approved": True}}, 404, "task_not_found"),
        ("POST", "/none/approve", {"data": b"{}"}, 400, "invalid_request"),
        ("POST", "/none/cancel", {}, 404, "task_not_found"),
        ("GET", "/none/events", {}, 404, "task_not_found"),
        ("GET", "/none/artifacts/x", {}, 404, "task_not_found"),
        ("DELETE", "/none", {}, 405, "method_not_allowed"),
    ],
)
async def test_rest_refuses_in_its_own_shape(
    hub: Hubs, method: str, path: str, given: dict[str, Any], status: int, code: str
) -> None:
    got, answer, raw = await ask(await hub(**TALKING), method, f"/v1/tasks{path}", **given)
    assert (got, answer.get("code")) == (status, code), raw
    assert set(answer) == {"error", "code"}


async def test_an_answer_counts_once_and_for_its_own_question(hub: Hubs) -> None:
    running = await hub(**TALKING)
    task = await handed_in(running, TIME, NOTE, mode="confirm_each")
    id = task["task_id"]
    first = task["approval"]["approval_id"]
    await decide(running, id, True)

    async def asks_again() -> bool:
        asked = (await seen(running, id))["approval"]
        return asked is not None and asked["approval_id"] != first

    await eventually(asks_again)
    replayed = {"approved": True, "approval_id": first}
    got, answer, _ = await ask(running, "POST", f"/v1/tasks/{id}/approve", json=replayed)
    assert (got, answer["code"]) == (400, "task_approval_failed")
    assert (await seen(running, id))["status"] == "awaiting_approval"
    _, waiting, _ = await ask(running, "GET", "/v1/approvals")
    assert [one["task_id"] for one in waiting["approvals"]] == [id]
    await decide(running, id, False)
    ended = await seen(running, id)
    assert (ended["status"], ended["code"]) == ("failed", "approval_denied")
    assert ended["steps"][0]["status"] == "completed"
    got, answer, _ = await ask(running, "POST", f"/v1/tasks/{id}/approve", json={"approved": True})
    assert (got, answer["code"]) == (400, "task_approval_failed")


async def test_a_plan_can_be_made_first_changed_and_begun(hub: Hubs) -> None:
    running = await hub(**TALKING)
    task = await handed_in(running, LONG, mode="plan_only")
    path = f"/v1/tasks/{task['task_id']}"
    assert (task["status"], task["started_at"]) == ("planned", None)
    got, changed, _ = await ask(running, "PUT", f"{path}/plan", json={"steps": [TIME, NOTE]})
    assert got == 200
    assert [node["id"] for node in changed["graph"]["nodes"]] == ["n1", "n2"]
    assert changed["graph"]["edges"] == [{"from": "n1", "to": "n2"}]
    got, answer, _ = await ask(
        running, "PUT", f"{path}/plan", json={"steps": [NOTE | {"needs": ["n9"]}]}
    )
    assert (got, answer["code"]) == (400, "task_plan_failed")
    assert (await ask(running, "POST", f"{path}/resume"))[0] == 200
    done = await until(running, task["task_id"], "completed")
    assert [step["status"] for step in done["steps"]] == ["completed", "completed"]


async def test_pause_resume_and_cancel_while_it_waits(hub: Hubs) -> None:
    running = await hub(**TALKING)
    id = (await handed_in(running, LONG))["task_id"]

    async def waits() -> bool:
        return (await seen(running, id))["wake_at"] is not None

    await eventually(waits)
    for action, status in (("pause", "paused"), ("pause", "paused"), ("resume", "planned")):
        got, task, raw = await ask(running, "POST", f"/v1/tasks/{id}/{action}")
        assert (got, task.get("status")) == (200, status), raw
    body = {"reason": "not needed any more"}
    _, task, _ = await ask(running, "POST", f"/v1/tasks/{id}/cancel", json=body)
    assert (task["status"], task["code"], task["detail"]) == (
        "cancelled",
        "cancelled",
        body["reason"],
    )
    got, answer, _ = await ask(running, "POST", f"/v1/tasks/{id}/approve", json={"approved": True})
    assert (got, answer["code"]) == (400, "task_approval_failed")


async def test_the_log_as_a_stream_is_whole_wherever_it_broke(hub: Hubs) -> None:
    running = await hub(**TALKING)
    id = (await handed_in(running, TIME, NOTE, mode="confirm_each"))["task_id"]
    first: list[SseEvent] = []
    async for found in log(running, id):
        first.append(found)
        if found.event == "task_waiting_approval":
            break
    await decide(running, id, True)
    rest: list[SseEvent] = []
    asked = 0
    async with asyncio.timeout(PATIENCE_S):
        async for found in log(running, id, int(first[-1].id or 0)):
            rest.append(found)
            if found.event == "task_waiting_approval" and (asked := asked + 1) == 1:
                await decide(running, id, True)
    numbers = [int(found.id or 0) for found in first + rest]
    assert numbers == list(range(1, len(numbers) + 1))
    assert rest[-1].event == "task_completed"
    assert rest[-1].json["result"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(numbers[-1])}
    async with running.http.get(f"/v1/tasks/{id}/events", headers=headers) as answer:
        assert answer.status == 204


# The socket


async def test_a_tasks_messages_come_in_order_with_their_fields(hub: Hubs) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        assert client.got[0]["type"] == "task_status_snapshot"
        task = await handed_in(
            running, TIME, NOTE, session_id=client.session_id, mode="confirm_each"
        )
        asked = await client.until("task_waiting_approval")
        assert asked["requires_approval"] is True
        assert asked["prompt"]
        await client.act("approve_task_step", task_id=task["task_id"], approved=True)
        again = await client.until("task_waiting_approval")
        assert again["step_id"] != asked["step_id"]
        await client.act("approve_task_step")
        done = await client.until("task_completed")
        assert (done["status"], done["task_id"]) == ("completed", task["task_id"])
        told = [name for name in client.names() if name.startswith("task_")]
        for earlier, later in (
            ("task_status_snapshot", "task_created"),
            ("task_created", "task_plan_graph"),
            ("task_plan_graph", "task_waiting_approval"),
            ("task_waiting_approval", "task_step_started"),
            ("task_step_started", "task_step_completed"),
            ("task_step_completed", "task_completed"),
        ):
            assert told.index(earlier) < told.index(later)
        assert told.count("task_completed") == told.count("task_created") == 1
        assert told.count("task_step_completed") == 2


async def test_denying_ends_the_task_and_the_step_is_not_done(hub: Hubs) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        for action, more in (
            ("deny_task_step", {}),
            ("approve_task_step", {"approved": False}),
        ):
            task = await handed_in(
                running, TIME, session_id=client.session_id, mode="confirm_each", key=action
            )
            await client.until("task_waiting_approval")
            await client.act(action, **more)
            failed = await client.until("task_failed")
            assert (failed["task_id"], failed["code"]) == (task["task_id"], "approval_denied")
        assert "task_step_started" not in client.names()


async def test_a_foreign_task_can_not_be_answered_from_a_session(hub: Hubs) -> None:
    running = await hub(**TALKING)
    other = await created(running)
    theirs = await handed_in(running, TIME, session_id=other, mode="confirm_each")
    async with connected(running) as client:
        for action, code in (
            ("approve_task_step", "task_approval_failed"),
            ("deny_task_step", "task_deny_failed"),
            ("cancel_task", "task_cancel_failed"),
            ("pause_task", "task_pause_failed"),
            ("resume_task", "task_resume_failed"),
        ):
            await client.act(action, task_id=theirs["task_id"])
            error = await client.until(code)
            assert error["source"] == "task_runtime"
        assert (await seen(running, theirs["task_id"]))["status"] == "awaiting_approval"
        path = f"/v1/tasks/{theirs['task_id']}/approve"
        got, answer, _ = await ask(
            running,
            "POST",
            path,
            json={"approved": True},
            params={"session_id": client.session_id},
        )
        assert (got, answer["code"]) == (404, "task_not_found")


async def test_pausing_resuming_and_cancelling_over_the_socket(hub: Hubs) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        await handed_in(running, LONG, session_id=client.session_id)
        await client.until("task_step_started")
        await client.act("pause_task")
        await until_delta(client, "paused")
        await client.act("resume_task")
        await until_delta(client, "planned")
        await client.act("cancel_task", reason="enough")
        failed = await client.until("task_failed")
        assert (failed["status"], failed["code"], failed["detail"]) == (
            "cancelled",
            "cancelled",
            "enough",
        )


async def until_delta(client: Client, status: str) -> None:
    while (await client.until("task_plan_delta"))["status"] != status:
        pass


async def test_a_connection_that_comes_back_has_every_line_once(hub: Hubs) -> None:
    running = await hub(**TALKING)
    session = await created(running)
    async with connected(running, session) as client:
        task = await handed_in(running, TIME, NOTE, session_id=session, mode="confirm_each")
        last = (await client.until("task_waiting_approval"))["event_seq"]
        got = list(client.got)
    await decide(running, task["task_id"], True)  # while nobody is connected

    async def asks_for_the_second() -> bool:
        asked = (await seen(running, task["task_id"]))["approval"]
        return asked is not None and asked["step_id"].endswith("n2")

    await eventually(asks_for_the_second)
    async with connected(running, session, last_seq=last) as client:
        (shown,) = [m for m in client.got if m["type"] == "task_status_snapshot"]
        assert [item["task_id"] for item in shown["awaiting_approval"]] == [task["task_id"]]
        await client.act("approve_task_step")
        await client.until("task_completed")
        got += client.got
    numbers = [message["event_seq"] for message in got]
    assert numbers == list(range(1, len(numbers) + 1))
    lines = [
        (m["type"], m.get("step_id"), m.get("text_delta"))
        for m in got
        if m["type"].startswith("task_") and m["type"] != "task_status_snapshot"
    ]
    _, found, _ = await ask(running, "GET", f"/v1/tasks/{task['task_id']}/events")
    logged = [(e["type"], e.get("step_id"), e.get("text_delta")) for e in found["events"]]
    assert lines == logged


async def test_the_end_of_a_voice_session_is_not_the_end_of_its_tasks(hub: Hubs) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        task = await handed_in(running, TIME, session_id=client.session_id, mode="confirm_each")
        path = f"/v1/voice/session/{client.session_id}/end"
        assert (await ask(running, "POST", path))[0] == 200
    await decide(running, task["task_id"], True)
    await until(running, task["task_id"], "completed")


async def test_a_restart_leaves_tasks_and_questions_as_they_were(hub: Hubs) -> None:
    running = await hub(**TALKING)
    asks = await handed_in(running, TIME, mode="confirm_each")
    await running.restart()
    task = await seen(running, asks["task_id"])
    assert task["approval"] == asks["approval"]
    await decide(running, asks["task_id"], True)
    await until(running, asks["task_id"], "completed")


async def test_a_wrong_approved_on_the_socket_is_no_answer(hub: Hubs) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        task = await handed_in(running, TIME, session_id=client.session_id, mode="confirm_each")
        await client.until("task_waiting_approval")
        wrong: tuple[Any, ...] = ("false", "true", 1, 0, [])
        for approved in wrong:
            await client.act("approve_task_step", approved=approved)
            assert (await client.until("invalid_client_message"))["source"] == "gateway"
        assert (await seen(running, task["task_id"]))["status"] == "awaiting_approval"


async def test_two_tabs_answer_and_one_of_them_counts(hub: Hubs) -> None:
    running = await hub(**TALKING)
    task = await handed_in(running, TIME, mode="confirm_each")
    path = f"/v1/tasks/{task['task_id']}/approve"

    async def answered(approved: bool) -> int:
        return (await ask(running, "POST", path, json={"approved": approved}))[0]

    statuses = await asyncio.gather(*(answered(approved) for approved in (True, False) * 5))
    assert sorted(statuses) == [200] + [400] * 9
