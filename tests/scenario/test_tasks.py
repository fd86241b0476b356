"""Tasks as people use them: handed in, watched, answered and stopped on the command line."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec

from tests.harness.hub import TRON, Hubs, RunningHub
from tests.harness.sse import read_sse
from tests.harness.waiting import PATIENCE_S, eventually

FILE = "create a file notes.txt with hello there"
LATER = "in an hour create a file notes.txt with hello there"
OFFLINE = {"TRON_BRAIN": "offline"}


class Watching:
    """A command that goes on, and what it has printed."""

    def __init__(self, program: asyncio.subprocess.Process) -> None:
        self._program = program
        self.lines: list[str] = []

    async def until(self, words: str) -> str:
        """The next line with `words` in it."""
        assert self._program.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                raw = await self._program.stdout.readline()
                assert raw, f"it ended before {words!r}: {self.lines}"
                self.lines.append(raw.decode().rstrip())
                if words in self.lines[-1]:
                    return self.lines[-1]

    async def end(self) -> int:
        """Its exit code."""
        assert self._program.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            self.lines += (await self._program.stdout.read()).decode().splitlines()
            return await self._program.wait()


async def tron(running: RunningHub, *words: str, folder: Path | None = None) -> Watching:
    program = await asyncio.create_subprocess_exec(
        str(TRON),
        "tasks",
        *words,
        cwd=folder or running.home,
        env={
            "PATH": "/usr/bin:/bin",
            "TRON_PORT": str(running.port),
            "PYTHONUNBUFFERED": "1",
            "LANG": "C.UTF-8",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return Watching(program)


async def ran(running: RunningHub, *words: str) -> list[str]:
    """What a command that works prints."""
    done = await tron(running, *words)
    assert await done.end() == 0, done.lines
    return done.lines


async def the_task(running: RunningHub) -> dict[str, Any]:
    async with running.http.get("/v1/tasks") as answer:
        (task,) = (await answer.json())["tasks"]
    return dict(task)


async def handed_in(running: RunningHub, intent: str, mode: str = "auto") -> str:
    body = {"intent_text": intent, "mode": mode}
    async with running.http.post("/v1/tasks", json=body) as answer:
        assert answer.status == 201
        task = await answer.json()
    assert task["status"] != "failed", task["detail"]
    return str(task["id"])


async def post(running: RunningHub, id: str, action: str, **body: Any) -> None:
    async with running.http.post(f"/v1/tasks/{id}/{action}", json=body) as answer:
        assert answer.status == 200, await answer.text()


async def test_a_task_is_watched_approved_and_leaves_a_file(hub: Hubs) -> None:
    running = await hub(**OFFLINE)
    watching = await tron(running, "new", FILE, "--mode", "confirm_each", "--follow")
    await watching.until("tron tasks approve")
    task = await the_task(running)
    assert task["status"] == "awaiting_approval"
    said = await ran(running, "approve", task["id"])
    assert said[0].startswith("approved: ")
    assert await watching.end() == 0, watching.lines
    assert watching.lines[0].startswith("handed in: create a file")
    assert any(line.startswith("completed") for line in watching.lines)
    assert "notes.txt" in "\n".join(await ran(running, "artifacts", task["id"]))
    await ran(running, "artifacts", task["id"], "--get", "notes.txt")
    assert (running.home / "notes.txt").read_text().strip() == "hello there"
    shown = await ran(running, "show", task["id"])
    assert any("✓ n1" in line for line in shown)


async def test_what_was_denied_is_not_done(hub: Hubs) -> None:
    running = await hub(**OFFLINE)
    id = await handed_in(running, FILE, "confirm_each")
    watching = await tron(running, "follow", id)
    await watching.until("tron tasks deny")
    await ran(running, "deny", id)
    assert await watching.end() == 1
    assert "approval_denied" in watching.lines[-1]
    async with running.http.get(f"/v1/tasks/{id}/artifacts") as answer:
        assert (await answer.json())["artifacts"] == []
    assert await (await tron(running, "approve", id)).end() == 1


async def test_cancelling_in_the_middle(hub: Hubs) -> None:
    running = await hub(**OFFLINE)
    id = await handed_in(running, LATER)
    watching = await tron(running, "follow", id)
    await watching.until("step 1")
    await ran(running, "cancel", id, "--reason", "not any more")
    assert await watching.end() == 3
    assert "not any more" in watching.lines[-1]


async def test_watching_outlives_the_hub(hub: Hubs) -> None:
    running = await hub(**OFFLINE)
    id = await handed_in(running, FILE, "confirm_each")
    watching = await tron(running, "follow", id, "--json")
    await watching.until("task_waiting_approval")
    await running.restart()
    await post(running, id, "approve", approved=True)
    assert await watching.end() == 0
    log = [json.loads(line) for line in watching.lines]
    assert [line["seq"] for line in log] == list(range(1, len(log) + 1))
    assert log[-1]["type"] == "task_completed"


async def test_an_open_stream_does_not_hold_up_a_hub_that_stops(hub: Hubs) -> None:
    running = await hub(TRON_DRAIN_S=600, **OFFLINE)  # which is more than anybody waits here
    id = await handed_in(running, LATER)
    headers = {"Accept": "text/event-stream"}
    async with running.http.get(f"/v1/tasks/{id}/events", headers=headers) as answer:
        lines = read_sse(answer.content.iter_any())
        while (await anext(lines)).event != "task_step_started":
            pass
        stopping = asyncio.ensure_future(running.terminate())
        async with asyncio.timeout(PATIENCE_S):
            async for _ in lines:  # to its end, which is no break
                pass
        assert await stopping == 0
    told = [json.loads(line)["event"] for line in running.log.splitlines()]
    assert told.index("hub.draining") < told.index("hub.stopped")


async def test_many_tasks_of_one_session_are_told_on_its_socket_in_their_order(hub: Hubs) -> None:
    running = await hub(TRON_STT="fake", TRON_TTS="fake", **OFFLINE)
    async with running.http.post("/v1/voice/session") as answer:
        session = (await answer.json())["session_id"]
    path = "/v1/voice/session/ws"
    async with running.http.ws_connect(path, params={"session_id": session}) as socket:
        plan = [{"node": "n1", "tool": "current_time", "title": "Look"}]
        for number in range(20):
            body = {"intent_text": f"look {number}", "session_id": session, "plan": plan}
            async with running.http.post("/v1/tasks", json=body) as answer:
                assert answer.status == 201
        told: dict[str, list[str]] = {}
        async with asyncio.timeout(PATIENCE_S):
            while sum(kinds[-1] == "task_completed" for kinds in told.values()) < 20:
                message = msgspec.json.decode((await socket.receive()).data)
                if "task_id" in message:
                    told.setdefault(message["task_id"], []).append(message["type"])
    assert len(told) == 20
    assert {tuple(kinds) for kinds in told.values()} == {tuple(next(iter(told.values())))}

    async def none_left() -> bool:
        async with running.http.get("/v1/tasks", params={"live": "true"}) as answer:
            return not (await answer.json())["tasks"]

    await eventually(none_left)
