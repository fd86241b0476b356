"""Commands of tasks: they do their work in their folder, reach nothing else, and leave nobody."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.waiting import eventually
from tron.errors import NotConfigured
from tron.tasks import commands as module
from tron.tasks import workspace as limits
from tron.tasks.commands import Commands, Ran, Way
from tron.tasks.confine import landlock_version
from tron.tasks.workspace import Workspace

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or landlock_version() < 1, reason="nothing here confines commands"
)
LONG_S = 60
ROOT = Path(__file__).parents[3]


class Shell:
    """Runs lines in one workspace."""

    def __init__(self, folder: Path, way: Way) -> None:
        self.workspace = Workspace(folder / "workspaces" / "t1")
        self.commands = Commands("confined")
        self.commands._way = way
        self.lines: list[str] = []

    async def run(self, line: str, *args: str, timeout_s: float = LONG_S) -> Ran:
        argv = ["/bin/sh", "-c", line, "sh", *args]
        return await self.commands.run(
            self.workspace, argv, timeout_s=timeout_s, told=self.lines.append
        )

    def left(self) -> list[str]:
        """Processes that are still at work in the folder."""
        found = []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/cwd").startswith(str(self.workspace.root)):
                    found.append(name)
            except OSError:
                continue
        return found


@pytest.fixture(params=["namespaces", "plain"])
async def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    """Both ways of confining; the first only where the machine allows it."""
    if request.param == "namespaces" and await Commands("confined").way() != "namespaces":
        pytest.skip("no namespaces here")
    return Shell(tmp_path, request.param)


async def test_a_command_works_in_its_folder_with_nothing_inherited(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-swordfish")
    ran = await shell.run("pwd; env | cut -d= -f1 | sort; echo hi > made; cat; echo oops >&2")
    root = str(shell.workspace.root)
    assert (ran.status, ran.why) == (0, "")
    assert ran.output.splitlines() == [root, "HOME", "LANG", "PATH", "PWD", "TMPDIR", "oops"]
    assert shell.lines == ran.output.splitlines()
    assert [a.path for a in shell.workspace.artifacts()] == ["made"]
    ran = await shell.run('cat made && echo "$HOME" && touch "$TMPDIR/x" && exit 7')
    assert (ran.status, ran.output) == (7, f"hi\n{root}\n")
    assert sorted(os.listdir(root)) == ["made"]


async def test_nothing_outside_is_read_written_or_changed(shell: Shell, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = outside / "secret"
    secret.write_text("swordfish")
    secret.chmod(0o600)
    for line in (
        'cat "$1/secret"',
        'ls "$1"',
        'echo x > "$1/secret"',
        'echo x > "$1/new"',
        'rm "$1/secret"',
        'mv "$1/secret" .',
        'ln "$1/secret" hard && cat hard',
        'ln -s "$1/secret" soft; cat soft',
        'chmod 644 "$1/secret"',
        'truncate -s 0 "$1/secret"',
        "cat /etc/shadow",
        "echo x > /tmp/tron-new",
        "ls /root /home /var /proc/1/cwd/",
    ):
        ran = await shell.run(line, str(outside))
        assert ran.status not in (0, None), line
        assert "swordfish" not in ran.output, line
    assert secret.read_text() == "swordfish"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert os.listdir(outside) == ["secret"]


PROBE = """
import os, socket, sys, ctypes
def fails(what):
    try:
        what()
    except OSError:
        return
    print("not kept from", what.__name__)
def udp(): socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def tcp(): socket.socket(socket.AF_INET, socket.SOCK_STREAM)
def unix(): socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(sys.argv[1])
def netlink(): socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
def signals(): os.kill(int(sys.argv[2]), 15)
libc = ctypes.CDLL(None, use_errno=True)
def called(result):
    if result < 0: raise OSError(ctypes.get_errno(), "")
def namespaces(): called(libc.unshare(0x10000000))
def uring(): called(libc.syscall(425, 1, None))
def priority(): os.setpriority(os.PRIO_PROCESS, int(sys.argv[2]), 19)
def environment(): open(f"/proc/{sys.argv[2]}/environ").read()
for what in (udp, tcp, unix, netlink, signals, namespaces, uring, priority, environment):
    fails(what)
print("through")
"""


async def test_no_network_and_no_hand_on_other_processes(shell: Shell) -> None:
    other = await asyncio.create_subprocess_exec("/bin/sleep", "300")
    try:
        shell.workspace.write("probe.py", PROBE.encode())
        ran = await shell.run("python3 probe.py /var/run/docker.sock $1", str(other.pid))
        assert ran.output == "through\n"
        assert other.returncode is None
    finally:
        other.kill()
        await other.wait()


async def test_nothing_it_began_is_left(shell: Shell) -> None:
    ran = await shell.run("(sleep 300 &) ; setsid sleep 300 & nohup sleep 300 & echo done")
    assert ran.status == 0
    assert "done" in ran.output
    assert shell.left() == []


async def test_one_that_takes_too_long_is_stopped_with_all_it_began(shell: Shell) -> None:
    ran = await shell.run("trap '' TERM HUP INT; setsid sleep 300 & sleep 300", timeout_s=0.5)
    assert ran.status is None
    assert "longer than 0.5 seconds" in ran.why
    assert shell.left() == []


async def test_one_that_is_cancelled_is_stopped(shell: Shell) -> None:
    running = asyncio.ensure_future(shell.run("setsid sleep 300 & echo begun; sleep 300"))
    await eventually(lambda: shell.lines == ["begun"])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert shell.left() == []


HUB = """
import asyncio, sys
from pathlib import Path
from tron.tasks.commands import Commands
from tron.tasks.workspace import Workspace
commands = Commands("confined")
commands._way = sys.argv[2]
line = ["/bin/sh", "-c", "setsid sleep 300 & echo begun; sleep 300"]
asyncio.run(commands.run(Workspace(Path(sys.argv[1])), line, timeout_s=300, told=print))
"""


async def test_it_does_not_outlive_the_hub(shell: Shell) -> None:
    argv = [sys.executable, "-u", "-c", HUB, str(shell.workspace.root), str(shell.commands._way)]
    hub = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=ROOT
    )
    assert hub.stdout is not None
    try:
        assert await hub.stdout.readline() == b"begun\n"
        assert shell.left()
    finally:
        hub.kill()
        await hub.wait()
    await eventually(lambda: shell.left() == [])


async def test_its_output_is_kept_at_both_ends(shell: Shell) -> None:
    ran = await shell.run("seq 1 20000")
    assert ran.status == 0
    assert ran.output.startswith("1\n2\n")
    assert ran.output.endswith("19999\n20000\n")
    assert "bytes left out" in ran.output
    assert len(ran.output) < 3 * module.KEPT_BYTES
    assert shell.lines[0] == "1"
    assert len("".join(shell.lines)) < 2 * module.LOGGED_BYTES
    ran = await shell.run("printf 'a\\0b\\377'")
    assert ran.output == "ab\ufffd"


async def test_it_may_not_write_for_ever(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OUTPUT_BYTES", 300_000)
    ran = await shell.run("yes")
    assert ran.status is None
    assert "output" in ran.why
    assert shell.left() == []


async def test_files_are_limited(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 100_000)
    ran = await shell.run("head -c 200000 /dev/zero > large")
    assert ran.status not in (0, None)
    assert (shell.workspace.root / "large").stat().st_size <= 100_000
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    monkeypatch.setattr(limits, "TOTAL_BYTES", 500_000)
    ran = await shell.run('i=0; while :; do head -c 90000 /dev/zero > "f$i"; i=$((i+1)); done')
    assert ran.status is None
    assert "in all" in ran.why


async def test_memory_is_limited_for_one_and_for_all(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", 60 << 20)
    one = "python3 -c 'x = bytearray(%d << 20); import time; time.sleep(%d)'"
    assert (await shell.run(one % (200, 0))).status not in (0, None)
    ran = await shell.run(" & ".join([one % (40, 300)] * 3))
    assert ran.status is None
    assert "memory" in ran.why
    assert shell.left() == []


async def test_processes_are_limited(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROCESSES", 20)
    ran = await shell.run("for i in $(seq 60); do sleep 300 & done; wait")
    assert ran.status != 0
    assert shell.left() == []


async def test_a_way_that_does_not_hold_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    really: Any = module._Running._plan

    def open_door(self: Any, *args: Any) -> dict[str, Any]:
        return {**really(self, *args), "confined": False, "namespaces": False}

    monkeypatch.setattr(module._Running, "_plan", open_door)
    with pytest.raises(NotConfigured, match="TRON_TASK_COMMANDS"):
        await Commands("confined").way()


async def test_where_nothing_confines_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "barriers", lambda: None)
    commands = Commands("confined")
    assert "Landlock" in (commands.why_not() or "")
    workspace = Workspace(tmp_path / "t1")
    with pytest.raises(NotConfigured):
        await commands.run(workspace, ["/bin/true"], timeout_s=LONG_S, told=print)
    knowingly = Commands("unconfined")
    assert knowingly.why_not() is None
    ran = await knowingly.run(
        workspace, ["/bin/cat", "/etc/hostname"], timeout_s=LONG_S, told=lambda _: None
    )
    assert ran.status == 0
    with pytest.raises(NotConfigured, match="switched off"):
        await Commands("off").run(workspace, ["/bin/true"], timeout_s=LONG_S, told=print)
