"""`tron tasks` against a stand-in of the hub's API: what it asks, prints, and ends with."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tron.cli import app, follow

ASKS = {
    "approval_id": "appr_1",
    "prompt": "May I send \x1b[2Jit?",
    "expires_at": "2030-01-01T00:00:00.000Z",
}
STEP = {
    "id": "task_1.n1",
    "node": "n1",
    "title": "Send it",
    "tool_name": "send",
    "effect": "send",
    "needs": [],
    "status": "awaiting_approval",
    "attempt": 1,
    "error": None,
}
TASK: dict[str, Any] = {
    "id": "task_1",
    "status": "awaiting_approval",
    "agent": "tony",
    "summary": "send it \x1b[31mnow",
    "created_at": "2026-01-01T00:00:00.000Z",
    "steps": [STEP],
    "approval": ASKS,
    "result": None,
    "code": None,
    "detail": None,
}
CREATED = {"type": "task_created", "seq": 1, "at": "x", "summary": "send it", "status": "planned"}
GRAPH = {
    "type": "task_plan_graph",
    "seq": 2,
    "at": "x",
    "nodes": [{"id": "n1", "title": "Send it", "status": "planned"}],
}
ENDINGS = {
    "completed": {"type": "task_completed", "seq": 3, "at": "x", "result": "sent"},
    "failed": {"type": "task_failed", "seq": 3, "at": "x", "code": "c", "detail": "d"},
    "cancelled": {"type": "task_failed", "seq": 3, "at": "x", "code": "c", "detail": "d"},
}


class Hub(BaseHTTPRequestHandler):
    """What it answers, and what it was asked."""

    task: dict[str, Any] = TASK
    log: tuple[dict[str, Any], ...] = ()
    breaks_after: tuple[int, ...] = ()
    """`seq` of lines after which a stream breaks, once each"""
    asked: tuple[tuple[str, str, Any], ...] = ()
    seen: tuple[str, ...] = ()
    """the `Last-Event-ID` of every stream"""

    def do_GET(self) -> None:
        self._ask(None)
        if self.headers.get("Accept") == "text/event-stream":
            self._stream()
        elif "/artifacts/" in self.path:
            self._send(b"\x00bytes", "application/octet-stream")
        elif self.path.endswith("/artifacts"):
            self._json({"artifacts": [{"path": "a/b.txt", "bytes": 6, "modified_at": "x"}]})
        elif "/events" in self.path:
            self._json({"events": list(self.log)})
        elif self.path.startswith("/v1/tasks?"):
            self._json({"tasks": [self.task]})
        elif self.path == "/v1/tasks/none":
            self._json({"error": "There is no task 'none'.", "code": "task_not_found"}, 404)
        else:
            self._json(self.task)

    def do_POST(self) -> None:
        self._ask(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._json(self.task | {"deduped": False}, 201 if self.path == "/v1/tasks" else 200)

    def _ask(self, body: Any) -> None:
        type(self).asked = (*self.asked, (self.command, self.path, body))

    def _stream(self) -> None:
        last = self.headers["Last-Event-ID"]
        type(self).seen = (*self.seen, last)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b": keep-alive\n\n")
        for line in self.log:
            if line["seq"] <= int(last):
                continue
            frame = f"id: {line['seq']}\nevent: {line['type']}\ndata: {json.dumps(line)}\n\n"
            self.wfile.write(frame.encode())
            if line["seq"] in self.breaks_after:
                type(self).breaks_after = tuple(s for s in self.breaks_after if s != line["seq"])
                return

    def _json(self, body: Any, status: int = 200) -> None:
        self._send(json.dumps(body).encode(), "application/json", status)

    def _send(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    class Fresh(Hub):
        pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(follow, "AGAIN_S", 0.01)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    monkeypatch.setenv("TRON_PORT", str(server.server_address[1]))
    monkeypatch.delenv("PORT", raising=False)
    running = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    running.start()
    yield Fresh
    server.shutdown()
    running.join()
    server.server_close()


def tron(*words: str) -> Result:
    result = CliRunner().invoke(app, ["tasks", *words])
    assert "Traceback" not in result.output
    assert "\x1b" not in result.stdout
    return result


def test_the_list_is_a_table_or_json(hub: type[Hub]) -> None:
    shown = tron("list", "--live", "--limit", "5")
    assert shown.exit_code == 0
    assert "task_1" in shown.stdout
    assert "? awaiting approval" in shown.stdout
    assert "0/1" in shown.stdout
    assert hub.asked[-1][:2] == ("GET", "/v1/tasks?limit=5&live=true")
    assert json.loads(tron("list", "--json").stdout) == [TASK]


def test_a_task_is_shown_with_what_it_asks_and_its_log(hub: type[Hub]) -> None:
    hub.log = (CREATED, GRAPH)
    shown = tron("show", "task_1").stdout
    for said in ("Send it", "[send, send]", "tron tasks approve task_1", "handed in: send it"):
        assert said in shown
    assert json.loads(tron("show", "task_1", "--json").stdout)["events"] == [CREATED, GRAPH]


def test_a_task_that_is_not_there(hub: type[Hub]) -> None:
    result = tron("show", "none")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "There is no task 'none'." in result.stderr


def test_a_task_is_handed_in_and_its_question_shown(hub: type[Hub]) -> None:
    result = tron("new", "send it", "--agent", "maya", "--priority", "high")
    assert result.exit_code == 0
    assert hub.asked == (
        (
            "POST",
            "/v1/tasks",
            {"intent_text": "send it", "mode": "auto", "priority": "high", "agent": "maya"},
        ),
    )
    assert "? May I send" in result.stdout


@pytest.mark.parametrize(("word", "approved"), [("approve", True), ("deny", False)])
def test_an_answer_is_bound_to_the_question_that_was_shown(
    hub: type[Hub], word: str, approved: bool
) -> None:
    assert tron(word, "task_1").exit_code == 0
    body = {"approved": approved, "approval_id": "appr_1", "through": "cli"}
    assert hub.asked[-1] == ("POST", "/v1/tasks/task_1/approve", body)


def test_there_is_no_answer_without_a_question(hub: type[Hub]) -> None:
    hub.task = TASK | {"approval": None, "status": "running"}
    assert tron("approve", "task_1").exit_code == 1
    assert [method for method, *_ in hub.asked] == ["GET"]


def test_steering(hub: type[Hub]) -> None:
    for word in ("pause", "resume", "retry", "cancel"):
        assert tron(word, "task_1").exit_code == 0
        assert hub.asked[-1] == ("POST", f"/v1/tasks/task_1/{word}", {})
    tron("cancel", "task_1", "--reason", "enough")
    assert hub.asked[-1][2] == {"reason": "enough"}
    tron("pause", "../../api/auth")
    assert hub.asked[-1][1] == "/v1/tasks/..%2F..%2Fapi%2Fauth/pause"


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 3)])
def test_the_exit_code_tells_how_it_ended(hub: type[Hub], status: str, code: int) -> None:
    hub.task = TASK | {"status": status, "approval": None}
    hub.log = (CREATED, GRAPH, ENDINGS[status] | {"status": status})
    result = tron("follow", "task_1")
    assert result.exit_code == code
    assert result.stdout.startswith("handed in: send it\nplan: n1 Send it\n")
    assert status in result.stdout


def test_a_broken_stream_goes_on_where_it_broke(hub: type[Hub]) -> None:
    log = (CREATED, GRAPH, ENDINGS["completed"] | {"status": "completed"})
    hub.log, hub.breaks_after = log, (1, 2)
    hub.task = TASK | {"status": "running", "approval": None}

    def ends_at_last() -> None:
        while len(hub.seen) < 3:
            time.sleep(0.001)
        hub.task = TASK | {"status": "completed", "approval": None}

    ending = threading.Thread(target=ends_at_last)
    ending.start()
    result = tron("follow", "task_1", "--json")
    ending.join()
    assert result.exit_code == 0
    assert tuple(json.loads(line) for line in result.stdout.splitlines()) == log
    assert hub.seen[:3] == ("0", "1", "2")


def test_on_a_terminal_the_steps_stand_below_the_lines(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    hub.task = TASK | {"status": "completed", "approval": None}
    done = {"type": "task_step_completed", "seq": 3, "at": "x", "step_id": "task_1.n1"}
    hub.log = (CREATED, GRAPH, done, ENDINGS["completed"] | {"status": "completed", "seq": 4})
    result = CliRunner().invoke(app, ["tasks", "follow", "task_1"])
    assert result.exit_code == 0
    assert "0/1" in result.stdout
    assert result.stdout.rindex("1/1") > result.stdout.rindex("completed: sent")
    assert "✓ n1" in result.stdout
    assert "\x1b[31mnow" not in result.stdout


def test_new_may_follow(hub: type[Hub]) -> None:
    hub.task = TASK | {"status": "cancelled", "approval": None}
    hub.log = (CREATED, ENDINGS["cancelled"] | {"status": "cancelled"})
    assert tron("new", "send it", "--follow").exit_code == 3


def test_artifacts_are_listed_and_saved_beside_nothing_that_exists(hub: type[Hub]) -> None:
    assert "a/b.txt" in tron("artifacts", "task_1").stdout
    assert tron("artifacts", "task_1", "--get", "a/b.txt").exit_code == 0
    assert hub.asked[-1][1] == "/v1/tasks/task_1/artifacts/a/b.txt"
    assert Path("b.txt").read_bytes() == b"\x00bytes"
    Path("b.txt").write_text("mine")
    assert tron("artifacts", "task_1", "--get", "a/b.txt").exit_code == 2
    assert Path("b.txt").read_text() == "mine"
    assert tron("artifacts", "task_1", "--get", "a/b.txt", "--out", "b.txt").exit_code == 0
    assert Path("b.txt").read_bytes() == b"\x00bytes"
