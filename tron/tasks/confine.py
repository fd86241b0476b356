"""The program that runs one command of a task, confined. Started by `commands.py`, never imported.

It stays for as long as the command does, as its supervisor: it ends it with every process it has
begun when the command is over, when they take too much, when the hub says so (by closing the pipe
that is our standard input) and when the hub dies (which closes it too). What confines the command
is put on in the last moment before it starts, in the process that becomes it, and nothing can take
it off again: Landlock for the disk, seccomp for the network and what is dangerous, limits, no
privileges; and, where the machine allows it, namespaces of its own. If one of them can't be put
on, the command does not start. Only the standard library, because it starts without the others.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys
import time
from typing import Any, NoReturn

LOOK_S = 0.2
KILL_S = 5.0
PAGE = resource.getpagesize()

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_SECCOMP = 1, 24, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
NEW_NS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = (
    *(0x20000, 0x4000000, 0x8000000),
    *(0x10000000, 0x20000000, 0x40000000),
)
NEW_ANY = 0x7E020000 | 0x80
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MOUNT_SETATTR, ATTR_RDONLY, ATTR_NOSUID, AT_RECURSIVE, AT_FDCWD = 442, 1, 2, 0x8000, -100

# Landlock's rights, by the version of its interface that first has them
FS_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a folder
FS_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # the ones that a single file can have
FS_ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
NET_TCP = 0b11
SCOPED = 0b11  # abstract sockets, signals
SIGNALS_SCOPED = 6

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026

libc = ctypes.CDLL(None, use_errno=True)


class Unconfined(Exception):
    """Something that confines could not be put on."""


def main() -> None:
    plan: dict[str, Any] = json.loads(sys.argv[1])
    os.set_inheritable(plan["status"], False)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    die_with_parent(signal.SIGTERM, plan["parent"])
    try:
        if plan["namespaces"]:
            enter_namespaces()
        supervisor = os.getpid()
        child = os.fork()
    except (OSError, Unconfined) as error:
        tell(plan, refused=str(error))
        return
    if child == 0:
        in_child(plan, supervisor)
    code, why = supervise(plan, child)
    kill_all()
    if code is not None and not plan["namespaces"]:
        tell(plan, exit=code)
    if why:
        tell(plan, why=why)


def in_child(plan: dict[str, Any], supervisor: int) -> NoReturn:
    """The command itself; or, with namespaces, the first process in them, which begins it."""
    try:
        if not plan["namespaces"]:
            become(plan, supervisor)
        die_with_parent(signal.SIGKILL, None)
        own_view(plan["workspace"], plan)
        command = os.fork()
        if command == 0:
            become(plan, 1)
        code, _ = supervise(plan | {"memory": 0}, command)
        if code is not None:
            tell(plan, exit=code)
    except BaseException as error:  # noqa: BLE001 - border: no copy of the supervisor may run on
        tell(plan, refused=f"{type(error).__name__}: {error}")
    os._exit(0)  # and with it everything in its namespace


def become(plan: dict[str, Any], parent: int) -> NoReturn:
    """Put on everything that confines, and start the command."""
    try:
        os.setsid()
        die_with_parent(signal.SIGKILL, parent)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open("/dev/null", os.O_RDONLY)
        os.dup2(nothing, 0)
        os.chdir(plan["workspace"])
        os.umask(0o077)
        limit(plan)
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        if plan["confined"]:
            version = landlock(plan)
            drop_capabilities()
            seccomp(plan, signals_kept=version >= SIGNALS_SCOPED)
        for file in open_files():
            os.set_inheritable(file, False)
        os.execve(plan["argv"][0], plan["argv"], plan["env"])
    except BaseException as error:  # noqa: BLE001 - border: it starts confined, or not at all
        tell(plan, refused=f"{type(error).__name__}: {error}")
    os._exit(127)


# Watching over it


def supervise(plan: dict[str, Any], child: int) -> tuple[int | None, str]:
    """Wait for `child`: (its exit status, 128 and more for a signal; why it was stopped)."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    stopping: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    looked = time.monotonic()
    while True:
        code = reap(child)
        if code is not None:
            return code, ""
        ready, _, _ = select.select([0, woken], [], [], LOOK_S)
        if woken in ready:
            os.read(woken, 4096)
        if stopping or (0 in ready and not os.read(0, 1)):
            return None, "stopped"
        if plan["memory"] and time.monotonic() - looked >= LOOK_S:
            looked = time.monotonic()
            if why := too_much(plan):
                return None, why


def reap(child: int) -> int | None:
    """Take note of every process that ended; how `child` did, if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code


def too_much(plan: dict[str, Any]) -> str:
    """What all processes together take too much of; a limit of the kernel holds for each alone."""
    below = descendants()
    if sum(threads for threads, _ in below.values()) > plan["processes"]:
        return "processes"
    return "memory" if sum(rss for _, rss in below.values()) > plan["memory"] else ""


def descendants() -> dict[int, tuple[int, int]]:
    """Process id -> (threads, resident bytes) of everything begun below us."""
    children: dict[int, list[int]] = {}
    facts: dict[int, tuple[int, int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:  # ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(name))
        facts[int(name)] = (int(fields[17]), int(fields[21]) * PAGE)
    found: dict[int, tuple[int, int]] = {}
    waiting = [os.getpid()]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            found[pid] = facts[pid]
            waiting.append(pid)
    return found


def kill_all() -> None:
    until = time.monotonic() + KILL_S
    while time.monotonic() < until:
        reap(0)
        below = descendants()
        if not below:
            return
        for pid in below:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def die_with_parent(number: int, parent: int | None) -> None:
    libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if parent is not None and os.getppid() != parent:  # it died before that
        os._exit(1)


def tell(plan: dict[str, Any], **what: Any) -> None:
    os.write(plan["status"], json.dumps(what).encode() + b"\n")


# What confines


def limit(plan: dict[str, Any]) -> None:
    processes = plan["processes"]
    if not plan["namespaces"]:  # then the kernel counts those of the user, the hub's included
        processes += threads_of(os.getuid())
    for name, most in (
        (resource.RLIMIT_CPU, plan["cpu_s"]),
        (resource.RLIMIT_DATA, plan["memory"]),
        (resource.RLIMIT_FSIZE, plan["file_bytes"]),
        (resource.RLIMIT_NOFILE, plan["files"]),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(name)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (most, most))


def threads_of(user: int) -> int:
    count = 0
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if os.stat(f"/proc/{name}").st_uid == user:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue
    return count


def enter_namespaces() -> None:
    """A user of our own who is the same, and processes of our own; see `own_view` for the rest."""
    user, group = os.getuid(), os.getgid()
    check(libc.unshare(NEW_USER | NEW_PID), "namespaces")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def own_view(workspace: str, plan: dict[str, Any]) -> None:
    """No network, no processes but ours, and a disk that can be written in one place."""
    check(libc.unshare(NEW_NS | NEW_NET | NEW_IPC | NEW_UTS), "namespaces")
    here = workspace.encode()
    check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
    check(libc.mount(here, here, None, MS_BIND, None), "workspace mount")
    set_mount(b"/", AT_RECURSIVE, set=ATTR_RDONLY | ATTR_NOSUID, clear=0)
    set_mount(here, 0, set=0, clear=ATTR_RDONLY)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    plan["proc"] = libc.mount(b"proc", b"/proc", b"proc", flags, None) == 0


def set_mount(path: bytes, flags: int, *, set: int, clear: int) -> None:
    attributes = struct.pack("QQQQ", set, clear, 0, 0)
    check(
        libc.syscall(
            MOUNT_SETATTR, AT_FDCWD, ctypes.c_char_p(path), flags, attributes, len(attributes)
        ),
        "read-only mounts",
    )


def landlock_version() -> int:
    """Of the kernel's interface; 0 or less: there is none."""
    return int(libc.syscall(444, None, 0, 1))


def landlock(plan: dict[str, Any]) -> int:
    """Nothing of the disk but what programs are made of, and the workspace."""
    version = landlock_version()
    if version < 1:
        raise Unconfined("this kernel has no Landlock")
    every = next(
        rights for first, rights in sorted(FS_ALL.items(), reverse=True) if first <= version
    )
    size = 8 if version < 4 else 16 if version < SIGNALS_SCOPED else 24
    asked = struct.pack("QQQ", every, NET_TCP, SCOPED)[:size]
    ruleset = check(libc.syscall(444, asked, len(asked), 0), "landlock ruleset")
    reading = every & FS_READ
    places = [(path, reading) for path in plan["readable"]]
    places += [(path, every) for path in (plan["workspace"], *plan["writable"])]
    if plan.get("proc"):
        places.append(("/proc", reading))
    for path, rights in places:
        allow(ruleset, path, rights)
    check(libc.syscall(446, ruleset, 0), "landlock")
    os.close(ruleset)
    return version


def allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not every machine has every one
        return
    if not os.path.isdir(path):
        rights &= FS_FILE
    rule = struct.pack("=Qi", rights, place)
    check(libc.syscall(445, ruleset, 1, rule, 0), f"landlock rule for {path}")
    os.close(place)


def drop_capabilities() -> None:
    libc.prctl(PR_CAP_AMBIENT, 4, 0, 0, 0)
    for number in range(64):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    check(libc.capset(header, none), "capabilities")


def seccomp(plan: dict[str, Any], *, signals_kept: bool) -> None:
    """No sockets and none of the calls that lead around the rest."""
    denied = list(plan["denied"])
    if not plan["namespaces"]:
        denied += plan["denied_without_namespaces"]
        if not signals_kept:
            denied += plan["denied_signals"]
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    rules: list[tuple[int, int, int, int]] = [
        (load, 0, 0, 4),  # the machine
        (equal, 1, 0, plan["machine"]),
        (give, 0, 0, KILL),
        (load, 0, 0, 0),  # the call
        (at_least, 0, 1, 0x40000000),  # of another calling convention, with numbers of its own
        (give, 0, 0, EPERM),
    ]
    for number in denied:
        rules += [(equal, 0, 1, number), (give, 0, 0, EPERM)]
    # glibc tries the older call when this one is not there; its flags can be looked at.
    rules += [(equal, 0, 1, plan["clone3"]), (give, 0, 0, ENOSYS)]
    rules += [
        (equal, 0, 4, plan["clone"]),
        (load, 0, 0, 16),  # the first argument: flags
        (any_bit, 0, 1, NEW_ANY),
        (give, 0, 0, EPERM),
        (give, 0, 0, ALLOW),
    ]
    if not plan["namespaces"]:
        rules += [
            (equal, 0, 4, plan["prlimit"]),
            (load, 0, 0, 16),  # the first argument: whose; 0 is one's own
            (equal, 1, 0, 0),
            (give, 0, 0, EPERM),
            (give, 0, 0, ALLOW),
        ]
    rules.append((give, 0, 0, ALLOW))
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    whole = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(program))
    check(libc.prctl(PR_SET_SECCOMP, 2, whole, 0, 0), "seccomp")


def open_files() -> list[int]:
    """Above the standard three. Not from /proc, which may be closed to us by now."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    found = []
    for number in range(3, most):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found


def check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise Unconfined(f"{what}: {os.strerror(number)}")
    return result


if __name__ == "__main__":
    main()
