"""What the benchmarks measure with: servers on a core of their own, and their figures.

Figures come from /proc, so this is Linux only.
"""

import contextlib
import functools
import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@functools.cache  # asked again after the client has bound itself to its core, only that one is left
def cores() -> tuple[int, int]:
    """(core of the load client and the fakes, core of the server under test)."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def core_busy_s(core: int) -> float:
    """Seconds a core has worked, for whomever (the machine's host included)."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, irq, softirq, steal = map(int, ticks[:8])
            return (user + nice + system + irq + softirq + steal) * TICK_S
    raise RuntimeError(f"/proc/stat has no core {core}")


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` from 0 to 1."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server under test: a process pinned to one core, ended at the latest with the benchmark."""

    def __init__(
        self, name: str, command: list[str], *, port: int, core: int, env: dict[str, str], cwd: Path
    ) -> None:
        self.name = name
        self.port = port
        self.core = core
        self._log = cwd / f"{name}.log"
        self._started = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.sched_setaffinity(self._process.pid, {core})  # threads started later inherit it

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age_s(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self._started

    @property
    def cpu_s(self) -> float:
        """CPU seconds used so far, all threads, user and system."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    @property
    def rss_mb(self) -> float:
        """Resident memory in MB (10^6 bytes)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024 / 1e6

    def check(self) -> None:
        """Raises RuntimeError with the end of its log if it has ended."""
        if (code := self._process.poll()) is not None:
            raise RuntimeError(f"{self.name} ended with {code}:\n{self._log.read_text()[-3000:]}")

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.stop()
