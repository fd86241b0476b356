"""Commands of tasks: run in the task's workspace, confined, and never left behind.

A command is started by `confine.py`, which confines it, watches over it and ends it with all it
has begun. Before the first command a trial is run that must not get out of its folder; a machine
where it does, or where nothing confines, runs no commands unless it is set to run them unconfined.
What a command writes is passed on as it comes, and its beginning and its end are kept.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from tron.errors import NotConfigured
from tron.supervise import Tasks
from tron.tasks.barriers import barriers
from tron.tasks.workspace import FILE_BYTES, SCRATCH, Workspace

log = structlog.get_logger(__name__)

Setting = Literal["confined", "unconfined", "off"]
Way = Literal["namespaces", "plain", "unconfined"]
"""`plain`: confined, where the machine allows no namespaces"""

MEMORY_BYTES = 1024 * 1024 * 1024
PROCESSES = 128
"""threads included"""
OPEN_FILES = 256
OUTPUT_BYTES = 16 * 1024 * 1024
"""a command that writes more is stopped"""
KEPT_BYTES = 16 * 1024
"""of its output, at the beginning and again at the end"""
LOGGED_BYTES = 16 * 1024
LOGGED_LINE = 500
LOOK_S = 1.0
ENDING_S = 15.0
TRIAL_S = 30.0

CONFINE = Path(__file__).with_name("confine.py")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
TRIAL = """
(cat "$1/secret" || echo x > "$1/new" || ls "$1") >/dev/null 2>&1 && exit 90
echo x > inside && exit 0
"""

WHY = {
    "time": "It took longer than {timeout_s:g} seconds and was stopped.",
    "memory": f"It took more than {MEMORY_BYTES >> 20} MB of memory and was stopped.",
    "processes": f"It ran more than {PROCESSES} processes and threads and was stopped.",
    "output": f"It wrote more than {OUTPUT_BYTES >> 20} MB of output and was stopped.",
    "stopped": "It was stopped.",
}
NOT_HERE = (
    "Commands can't be run here: nothing on this machine confines them. It takes Linux 5.13 or "
    "newer with Landlock switched on (`landlock` in /sys/kernel/security/lsm), on x86_64 or "
    "aarch64. TRON_TASK_COMMANDS=unconfined runs them with all rights of the hub's user instead."
)
SWITCHED_OFF = "Commands are switched off here: TRON_TASK_COMMANDS is `off`."


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command."""

    status: int | None
    """its exit status, 128 and more for a signal; None: it was stopped"""
    why: str
    """why it was stopped, in a sentence; empty: it ended by itself"""
    output: str
    """the beginning and the end of what it wrote"""


class Commands:
    """See the module. One for a hub."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._way: Way | None = None
        self._trying = asyncio.Lock()

    def why_not(self) -> str | None:
        """What is known to speak against any command here, without trying; None: nothing."""
        if self._setting == "off":
            return SWITCHED_OFF
        if self._setting == "confined" and barriers() is None:
            return NOT_HERE
        return None

    async def run(
        self,
        workspace: Workspace,
        argv: list[str],
        *,
        timeout_s: float,
        told: Callable[[str], None],
    ) -> Ran:
        """Run `argv` (its program by its whole path) in the workspace; `told` hears each line.

        Raises NotConfigured where commands can't be run. Cancelled, it ends the command first.
        """
        way = await self.way()
        await asyncio.to_thread(workspace.scratch)
        try:
            running = _Running(workspace, told)
            return await running.run(argv, way=way, timeout_s=timeout_s)
        finally:
            await asyncio.to_thread(workspace.clear_scratch)

    async def way(self) -> Way:
        """How commands are run here, found out with the first. Raises NotConfigured."""
        if reason := self.why_not():
            raise NotConfigured(reason)
        if self._setting == "unconfined":
            return "unconfined"
        async with self._trying:
            if self._way is None:
                self._way = await _tried()
                log.info("commands.confined", way=self._way or "not at all")
        if self._way is None:
            raise NotConfigured(NOT_HERE)
        return self._way


async def _tried() -> Way | None:
    """The better of the ways that keep a command in its folder."""
    ways: tuple[Way, ...] = ("namespaces", "plain")
    with tempfile.TemporaryDirectory(prefix="tron-trial-") as folder:
        secret = Path(folder) / "theirs"
        secret.mkdir()
        (secret / "secret").write_text("x")
        for way in ways:
            workspace = Workspace(Path(folder) / way)
            workspace.make()
            argv = ["/bin/sh", "-c", TRIAL, "sh", str(secret)]
            try:
                ran = await _Running(workspace, lambda _: None).run(
                    argv, way=way, timeout_s=TRIAL_S
                )
            except NotConfigured as error:
                log.info("commands.not_confined", way=way, why=error.message)
                continue
            if ran.status == 0 and (workspace.root / "inside").exists():
                return way
            log.warning("commands.trial_failed", way=way, status=ran.status, why=ran.why)
    return None


class _Running:
    """One command."""

    def __init__(self, workspace: Workspace, told: Callable[[str], None]) -> None:
        self._workspace = workspace
        self._told = told
        self._head, self._tail = bytearray(), bytearray()
        self._line = bytearray()
        self._logged = 0
        self._bytes = 0
        self._why = ""
        self._stop = asyncio.Event()
        self._tasks = Tasks("command")

    async def run(self, argv: list[str], *, way: Way, timeout_s: float) -> Ran:
        """Raises NotConfigured if it could not be confined."""
        told, tell = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(CONFINE)),
                msgspec.json.encode(self._plan(argv, way, timeout_s, tell)).decode(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment(),
                pass_fds=(tell,),
                start_new_session=True,
            )
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(tell)
        try:
            await self._watch(process, timeout_s)
        finally:
            news = _read_all(told)
        if "refused" in news:
            raise NotConfigured(f"The command could not be confined: {news['refused']}")
        why = self._why or str(news.get("why", ""))
        code = news.get("exit")
        if code is None and not why:
            why = "stopped"
        return Ran(
            status=None if why else code,
            why=WHY.get(why, why).format(timeout_s=timeout_s) if why else "",
            output=self._output(),
        )

    def _plan(self, argv: list[str], way: Way, timeout_s: float, tell: int) -> dict[str, Any]:
        return {
            **(barriers() or {}),
            "argv": argv,
            "env": self._environment(),
            "workspace": str(self._workspace.root.resolve()),
            "status": tell,
            "parent": os.getpid(),
            "confined": way != "unconfined",
            "namespaces": way == "namespaces",
            "cpu_s": int(timeout_s) + 1,
            "memory": MEMORY_BYTES,
            "file_bytes": FILE_BYTES,
            "files": OPEN_FILES,
            "processes": PROCESSES,
        }

    def _environment(self) -> dict[str, str]:
        home = self._workspace.root.resolve()
        return {
            "PATH": PATH,
            "HOME": str(home),
            "TMPDIR": str(home / SCRATCH),
            "LANG": "C.UTF-8",
        }

    async def _watch(self, process: asyncio.subprocess.Process, timeout_s: float) -> None:
        """Read what it writes until it ends, and end it in every other case."""
        assert process.stdin is not None
        reading = self._tasks.start(self._read(process), "output")
        self._tasks.start(self._look(), "usage")
        stopped = self._tasks.start(self._stop.wait(), "stop")
        try:
            done, _ = await asyncio.wait(
                [reading, stopped], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                self._why = "time"
        finally:
            process.stdin.close()  # it ends the command with everything it began, and then itself
            _, late = await asyncio.wait([reading], timeout=ENDING_S)
            if late:
                log.error("command.did_not_end", pid=process.pid)
                process.kill()
            await process.wait()
            await self._tasks.close()
            self._log_line()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while chunk := await process.stdout.read(65_536):
            self._bytes += len(chunk)
            if self._bytes > OUTPUT_BYTES:
                self._why = self._why or "output"
                self._stop.set()
                continue  # read on, so that nobody waits for us
            room = KEPT_BYTES - len(self._head)
            self._head += chunk[:room]
            self._tail = (self._tail + chunk[max(room, 0) :])[-KEPT_BYTES:]
            self._pass_on(chunk)

    def _pass_on(self, chunk: bytes) -> None:
        """Its lines, as they are finished; for as long as anybody would read them."""
        if self._logged >= LOGGED_BYTES:
            return
        for line in chunk.splitlines(keepends=True):
            self._line += line[:LOGGED_LINE]
            if line.endswith((b"\n", b"\r")) or len(self._line) >= LOGGED_LINE:
                self._log_line()

    def _log_line(self) -> None:
        line, self._line = self._line, bytearray()
        if not line.strip() or self._logged >= LOGGED_BYTES:
            return
        self._logged += len(line)
        self._told(_text(bytes(line[:LOGGED_LINE])).rstrip())
        if self._logged >= LOGGED_BYTES:
            self._told("… (what it writes from here on is not shown)")

    def _output(self) -> str:
        cut = self._bytes - len(self._head) - len(self._tail)
        middle = f"\n… ({cut} bytes left out) …\n" if cut > 0 else ""
        return f"{_text(bytes(self._head))}{middle}{_text(bytes(self._tail))}"

    async def _look(self) -> None:
        """Stop it when its files become too many or too large."""
        while True:
            await asyncio.sleep(LOOK_S)
            usage = await asyncio.to_thread(self._workspace.usage)
            if usage.too_much:
                self._why = f"Its workspace held {usage.too_much}, so it was stopped."
                self._stop.set()
                return


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace").replace("\0", "")


def _read_all(told: int) -> dict[str, Any]:
    """What the supervisor had to say, in lines of JSON."""
    with os.fdopen(told, "rb") as file:
        found: dict[str, Any] = {}
        for line in file.read().splitlines():
            found |= msgspec.json.decode(line)
        return found
