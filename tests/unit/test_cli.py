"""The command line: what it prints, where, and the code it ends with."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.harness.hub import TRON, free_port
from tests.harness.waiting import PATIENCE_S
from tron import __version__
from tron.cli import app

PERSONAS = Path(__file__).parents[2] / "personas"


@pytest.fixture(autouse=True)
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with nothing of the developer's in it."""
    for name in ("PORT", "TRON_PORT", "OPENAI_API_KEY", "OPENAI_BASE_URL", "BRAVE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRON_PORT", str(free_port()))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def tron(*words: str, say: str = "") -> Result:
    result = CliRunner().invoke(app, list(words), input=say)
    assert "Traceback" not in result.output
    return result


class StandIn(BaseHTTPRequestHandler):
    """Answers as a hub would; what it should stream is in `script`."""

    script: tuple[bytes, ...] = ()
    hangs = False
    status = 200
    heard: tuple[dict[str, Any], ...] = ()

    def do_GET(self) -> None:
        if type(self).status == 401:
            self._send(401, b'{"error": {"message": "Who are you?", "type": "x"}}')
        else:
            self._send(200, b'{"object": "list", "data": [{"id": "tony"}, {"id": "maya"}]}')

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path.startswith("/internal/life/trigger"):
            type(self).heard = ({"path": self.path},)
            answer = {"persona": "Tony", "activity": "post", "result": "Posted: Ship it."}
            self._send(200, json.dumps(answer).encode())
            return
        type(self).heard = (json.loads(raw),)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for part in type(self).script:
            self.wfile.write(part)
        if type(self).hangs:
            self.rfile.read(1)  # until the client goes

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def stand_in() -> Iterator[tuple[type[StandIn], str]]:
    handler = type("Handler", (StandIn,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def part(text: str) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}}], "model": "tony"}
    return f"data: {json.dumps(chunk)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def test_version() -> None:
    assert tron("--version").output == f"tron {__version__}\n"


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    heavy = ("quart", "openai", "sqlalchemy", "aiohttp", "pydantic", "alembic", "rich.table")
    code = f"import sys, tron.cli; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_command_ends_with_2() -> None:
    assert tron("nonsense").exit_code == 2


def test_serving_the_network_without_an_owner_is_refused() -> None:
    done = subprocess.run(
        [str(TRON), "serve", "--host", "0.0.0.0"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2
    assert "tron owner set" in done.stderr.splitlines()[-1]


def test_settings_faults_are_printed_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRON_PORT", "many")
    monkeypatch.setenv("TRON_BRAIN", "clever")
    result = tron("config")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert "TRON_PORT" in lines[0]
    assert "TRON_BRAIN" in lines[1]


def test_config_masks_secrets_and_marks_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefghijkl")
    output = tron("config").stdout
    line = next(line for line in output.splitlines() if line.startswith("OPENAI_API_KEY"))
    assert "••••ijkl" in line
    assert " set " in line
    assert "abcdef" not in output
    line = next(line for line in output.splitlines() if line.startswith("TRON_HOST"))
    assert "default" in line


def test_config_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRON_MODEL", "small-model")
    document = json.loads(tron("config", "--json").stdout)
    assert document["TRON_MODEL"]["value"] == "small-model"
    assert document["TRON_HOST"]["default"] == "127.0.0.1"


def test_personas_are_shown_with_what_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRON_PERSONAS", str(PERSONAS))
    result = tron("personas")
    assert result.exit_code == 0
    for name in ("Tony", "Maya", "Alex", "Jordan", "Riley"):
        assert name in result.stdout
    for fact in ("pragmatic, dry wit", "team_check 10:00", "https://lobste.rs/rss", "gpt-4.1-mini"):
        assert fact in result.stdout


def test_the_personas_that_come_with_tron_are_found_from_any_folder(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRON_PERSONAS", raising=False)
    assert not (fresh_home / "personas").exists()
    result = tron("personas")
    assert result.exit_code == 0
    assert "Tony" in result.stdout


def test_a_broken_persona_file_is_named_with_its_line(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fresh_home / "personas"
    folder.mkdir()
    (folder / "tony.md").write_bytes((PERSONAS / "tony.md").read_bytes())
    (folder / "max.md").write_text("---\nname: Max\ntitle: x\nfocus: y\ntone: z\n---\nHi.\n")
    monkeypatch.setenv("TRON_PERSONAS", str(folder))
    result = tron("personas")
    assert result.exit_code == 1
    assert "Tony" in result.stdout
    assert "max.md:4" in result.stderr


def test_doctor_ends_with_1_when_something_configured_fails(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fresh_home / "personas"
    folder.mkdir()
    (folder / "tony.md").write_text(
        "---\nname: Tony\ntitle: x\nfocus: [y]\ntone: z\n---\nYou are Tony.\n"
    )
    monkeypatch.setenv("TRON_PERSONAS", str(folder))
    well = tron("doctor")
    assert well.exit_code == 0
    assert "✗" not in well.stdout
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    ill = tron("doctor")
    assert ill.exit_code == 1
    assert ill.stdout.count("✗") == 1
    assert "serves gpt-4.1-mini (TRON_MODEL)" in ill.stdout


def test_doctor_names_every_setting_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRON_BRAIN", "clever")
    result = tron("doctor")
    assert result.exit_code == 1
    assert "TRON_BRAIN='clever'" in result.stdout


def test_chat_without_a_hub_says_how_to_start_one() -> None:
    result = tron("chat", say="hi")
    assert result.exit_code == 1
    assert "No hub answers at http://localhost:" in result.stderr
    assert "tron serve" in result.stderr


def test_chat_prints_the_answer_alone_on_stdout(stand_in: tuple[type[StandIn], str]) -> None:
    hub, url = stand_in
    hub.script = (b": tool recall\n\n", part("Good "), b": keep-alive\n\n", part("morning."), DONE)
    result = tron("chat", "--url", url, "--agent", "Maya", say="hello\n")
    assert (result.exit_code, result.stdout) == (0, "Good morning.\n")
    assert hub.heard[0]["model"] == "maya"
    assert hub.heard[0]["messages"] == [{"role": "user", "content": "hello"}]
    assert hub.heard[0]["user"].startswith("cli-")


def test_chat_reads_a_stream_however_it_is_cut(stand_in: tuple[type[StandIn], str]) -> None:
    hub, url = stand_in
    whole = part("zwölf €") + part("!") + DONE
    hub.script = tuple(whole[i : i + 1] for i in range(len(whole)))
    assert tron("chat", "--url", url, say="hi").stdout == "zwölf €!\n"


def test_chat_does_not_let_an_answer_drive_the_terminal(
    stand_in: tuple[type[StandIn], str],
) -> None:
    hub, url = stand_in
    hub.script = (part("a\x1b[2Jb\x9bc\td"), DONE)
    assert tron("chat", "--url", url, say="hi").stdout == "a[2Jbc\td\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            (part("I was "), b'data: {"error": {"message": "The model fell over."}}\n\n'),
            "fell over",
        ),
        ((part("I was "),), "broke off"),
    ],
)
def test_chat_fails_when_the_answer_does(
    stand_in: tuple[type[StandIn], str], script: tuple[bytes, ...], message: str
) -> None:
    hub, url = stand_in
    hub.script = script
    result = tron("chat", "--url", url, say="hi")
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout.startswith("I was ")


def test_chat_with_a_stranger_names_who_is_there(stand_in: tuple[type[StandIn], str]) -> None:
    result = tron("chat", "--url", stand_in[1], "--agent", "bob", say="hi")
    assert result.exit_code == 1
    assert "Here are: tony, maya" in result.stderr


def test_chat_with_a_protected_hub_says_how_to_get_a_token(
    stand_in: tuple[type[StandIn], str],
) -> None:
    hub, url = stand_in
    hub.status = 401
    result = tron("chat", "--url", url, say="hi")
    assert result.exit_code == 1
    assert "tron token create" in result.stderr


def test_chat_needs_a_url_and_something_to_say(stand_in: tuple[type[StandIn], str]) -> None:
    assert tron("chat", "--url", "nowhere", say="hi").exit_code == 2
    assert tron("chat", "--url", stand_in[1], say="  \n").exit_code == 2


def test_life_run_asks_the_running_hub(stand_in: tuple[type[StandIn], str]) -> None:
    hub, url = stand_in
    result = tron("life", "run", "tony", "post", "--url", url)
    assert (result.exit_code, result.stdout) == (0, "Tony: Posted: Ship it.\n")
    assert "persona=tony" in hub.heard[0]["path"]
    assert "activity=post" in hub.heard[0]["path"]


def test_life_run_without_a_hub_does_it_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRON_PERSONAS", str(PERSONAS))
    result = tron("life", "run", "maya", "journal")
    assert result.exit_code == 0
    assert result.stdout.startswith("Maya: Wrote the day down")


@pytest.mark.parametrize(
    ("persona", "activity", "named"),
    [("tony", "dance", "team_check"), ("bob", "post", "'bob'")],
)
def test_life_run_says_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, persona: str, activity: str, named: str
) -> None:
    monkeypatch.setenv("TRON_PERSONAS", str(PERSONAS))
    result = tron("life", "run", persona, activity)
    assert (result.exit_code, result.stdout) == (1, "")
    assert named in result.stderr


def test_ctrl_c_ends_the_answer_and_ctrl_d_the_chat(stand_in: tuple[type[StandIn], str]) -> None:
    hub, url = stand_in
    hub.script = (part("for ever "),)
    hub.hangs = True
    terminal, theirs = pty.openpty()
    child = subprocess.Popen(
        [str(TRON), "chat", "--url", url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # What a script starts in its background ignores Ctrl-C, and so would this.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        os.close(theirs)
        seen = until(terminal, "you ›")
        os.write(terminal, b"talk\n")
        seen += until(terminal, "for ever")
        child.send_signal(signal.SIGINT)
        seen += until(terminal, "(stopped)", "you ›")
        os.write(terminal, b"\x04")
        assert child.wait(PATIENCE_S) == 0
    finally:
        child.kill()
        child.wait()
        os.close(terminal)
    assert "Traceback" not in seen


def until(terminal: int, *words: str) -> str:
    """What the terminal shows up to `words`, in that order; fails after a while without them."""
    shown = b""  # a read may end within a character
    wanted = re.compile(b".*".join(re.escape(word.encode()) for word in words), re.DOTALL)
    while not wanted.search(shown):
        ready, _, _ = select.select([terminal], [], [], PATIENCE_S)
        assert ready, f"no {words!r} in {shown!r}"
        shown += os.read(terminal, 4096)
    return shown.decode(errors="replace")


def test_a_token_is_printed_once_and_can_be_revoked() -> None:
    made = tron("token", "create", "laptop", "--scope", "chat", "--scope", "read", "--days", "90")
    assert made.exit_code == 0
    token = made.stdout.strip()
    assert token.startswith("tron_")
    listed = tron("token", "list").stdout
    assert "laptop" in listed
    assert "chat read" in listed
    assert token not in listed
    id = listed.splitlines()[1].split()[0]
    assert tron("token", "revoke", id).exit_code == 0
    again = tron("token", "revoke", id)
    assert again.exit_code == 1
    assert id in again.stderr


def test_an_unknown_scope_is_refused_with_the_known_ones() -> None:
    result = tron("token", "create", "laptop", "--scope", "everything")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "chat, read, write, admin" in result.stderr


def test_owner_set_reads_the_password_from_stdin() -> None:
    result = tron("owner", "set", say="correct horse\n")
    assert result.exit_code == 0
    assert "correct horse" not in result.output


def test_owner_set_refuses_a_short_password() -> None:
    result = tron("owner", "set", say="short\n")
    assert result.exit_code == 1
    assert "at least 8" in result.stderr


def test_a_token_needs_a_scope() -> None:
    assert tron("token", "create", "laptop").exit_code == 2
