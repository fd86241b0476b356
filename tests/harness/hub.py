"""The real hub, as a process of its own: started, killed, restarted and watched by tests.

Every hub lives in a temporary home with nothing of the developer's environment in it, on a free
port, with its own schedules off (`TRON_LIFE=false`) unless the test sets them on. When the test is
over the hub is ended and its log read: an error or traceback that the test did not allow fails it.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.harness.databases import Sqlite

REPOSITORY = Path(__file__).parents[2]
TRON = Path(sys.executable).parent / "tron"
START_S = 120.0
STOP_S = 60.0
ALARMS = ("Traceback (most recent call last)", "was never awaited", "Task was destroyed")
# On Linux the hub ends with the test run, however that ends (1 is PR_SET_PDEATHSIG). It is set by
# the process itself before it becomes the hub: forking with a function is not safe beside threads.
LAUNCH = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
os.execv(sys.argv[1], sys.argv[1:])
"""


class RunningHub:
    """One home and the hub that lives in it. Times out loudly, never hangs."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        self.home = home
        self.port = free_port()
        self.log_path = home / "hub.log"
        self.settings = settings
        self.http: aiohttp.ClientSession = aiohttp.ClientSession(
            self.base_url, timeout=aiohttp.ClientTimeout(total=120)
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._allowed: list[str] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the hub was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def allow(self, *words: str) -> None:
        """Errors in the log with one of these in their line are meant to be there."""
        self._allowed.extend(words)

    async def start(self) -> None:
        """Start it and wait until `/health` answers; fails, showing the log, if it doesn't."""
        self.launch()
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if not self.running:
                raise AssertionError(f"the hub ended with {self._exit_code()}:\n{self.log[-4000:]}")
            try:
                async with self.http.get("/health") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.02)
        await self.kill()
        raise AssertionError(f"the hub did not answer in {START_S} s:\n{self.log[-4000:]}")

    def launch(self) -> None:
        """Start it and return at once, for tests that act while it is still starting."""
        if self.running:
            raise RuntimeError("the hub is already running")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(TRON), "serve", "--port", str(self.port)],
                cwd=self.home,  # so that no .env of the developer is read
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def kill(self) -> None:
        """SIGKILL: what a crash looks like."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM, as a deploy does; returns the exit code once it has drained."""
        return await self._end(signal.SIGTERM)

    async def restart(self, **settings: Any) -> None:
        """The same home and port again, with `settings` changed; kills it first if it runs."""
        if self.running:
            await self.kill()
        self.settings |= _texts(settings)
        await self.start()

    async def close(self) -> None:
        """End it, at once, if it still runs."""
        await self.http.close()
        if self.running:
            await self.kill()

    def faults(self) -> list[str]:
        """Lines of the log that no test allowed and that say something went wrong."""
        return [
            line
            for line in self.log.splitlines()
            if _alarming(line) and not any(word in line for word in self._allowed)
        ]

    async def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            raise RuntimeError("the hub was not started")
        self._process.send_signal(how)
        return await asyncio.to_thread(self._exit_code)

    def _exit_code(self) -> int:
        assert self._process is not None
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the hub did not end in {STOP_S} s") from None

    def _environment(self) -> dict[str, str]:
        clean = {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}
        return {
            **clean,
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "TRON_HOME": str(self.home / "data"),
            "TRON_PERSONAS": str(REPOSITORY / "personas"),
            "TRON_LIFE": "false",
            "TRON_LOG_FORMAT": "json",
            **self.settings,
        }


class Hubs:
    """Starts hubs for one test: `hub = await hubs(OPENAI_BASE_URL=fake.base_url)`."""

    def __init__(self, folder: Path, sqlite: Sqlite) -> None:
        self._folder = folder
        self._sqlite = sqlite
        self._made: list[RunningHub] = []

    async def __call__(self, **settings: Any) -> RunningHub:
        """A hub that answers, with `settings` by their environment names.

        It finds a database with today's schema; one that makes its own is a `home` that is started.
        """
        hub = self.home(**settings)
        data = hub.home / "data"
        data.mkdir(mode=0o700)
        self._sqlite.create(data)
        await hub.start()
        return hub

    def home(self, **settings: Any) -> RunningHub:
        """The home of a hub that is not started yet."""
        home = self._folder / f"hub-{len(self._made) + 1}"
        home.mkdir()
        hub = RunningHub(home, _texts(settings))
        self._made.append(hub)
        return hub

    def logs(self) -> str:
        """The ends of all logs, for a failed test's report."""
        return "\n".join(f"--- {hub.log_path}\n{hub.log[-6000:]}" for hub in self._made)

    async def close(self) -> None:
        """End them all. Fails if a log holds what no test allowed."""
        for hub in self._made:
            await hub.close()
        faults = [fault for hub in self._made for fault in hub.faults()]
        assert not faults, "the hub's log holds errors:\n" + "\n".join(faults[:20])


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _texts(settings: dict[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
    }


def _alarming(line: str) -> bool:
    if any(alarm in line for alarm in ALARMS):
        return True
    try:
        entry = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return False
    return isinstance(entry, dict) and entry.get("level") in ("error", "critical")
