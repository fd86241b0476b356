"""What a command of a task is kept from: the tables that `confine.py` puts on. No I/O.

The calls to the kernel are named with their numbers on both kinds of machine that are known; on
any other, commands can't be confined. Everything else that is denied is denied by not being named:
of the disk, what is not listed here can neither be read nor written.
"""

import platform
from typing import Any

Calls = dict[str, tuple[int | None, int | None]]
"""name -> its number on x86_64 and on aarch64; None: it is not there"""

READABLE = (
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib"),
    *("/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share", "/usr/include"),
    *("/usr/local/bin", "/usr/local/sbin", "/usr/local/lib", "/usr/local/share"),
    *("/usr/local/include", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/mime.types", "/etc/alternatives"),
    *("/dev/urandom", "/dev/random", "/dev/zero"),
)
"""what programs are made of, and nothing of anybody's"""
WRITABLE = ("/dev/null", "/dev/full")

ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""for seccomp: its name of the machine, and the column of the tables below"""
NEVER: Calls = {
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_by_handle_at": (304, 265),
}
WITHOUT_NAMESPACES: Calls = {  # what reaches others' files and processes past Landlock
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "truncate": (76, 45),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
SIGNALS: Calls = {  # where neither namespaces nor Landlock keep signals inside
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
CLONE, CLONE3, PRLIMIT = (56, 220), (435, 435), (302, 261)


def barriers() -> dict[str, Any] | None:
    """For this machine, as `confine.py` reads them; None if it is not known how."""
    known = ARCHITECTURES.get(platform.machine())
    if known is None or platform.system() != "Linux":
        return None
    machine, column = known

    def numbers(calls: Calls) -> list[int]:
        return [number for both in calls.values() if (number := both[column]) is not None]

    return {
        "machine": machine,
        "readable": READABLE,
        "writable": WRITABLE,
        "denied": numbers(NEVER),
        "denied_without_namespaces": numbers(WITHOUT_NAMESPACES),
        "denied_signals": numbers(SIGNALS),
        "clone": CLONE[column],
        "clone3": CLONE3[column],
        "prlimit": PRLIMIT[column],
    }
