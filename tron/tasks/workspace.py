"""A task's own folder: what may be written there, read and listed.

A path is a relative one with forward slashes, without `..`. Every part of it is opened from the
folder before (`openat`) and never through a symbolic link, so a link that a command put there, or
puts there in this very moment, leads nowhere. A file is written beside its place and then moved
there: it is either the old one or the new one. Sizes and numbers are limited, in all and for each.
Everything here blocks for as long as the disk takes; callers run it in a thread.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tron.errors import Invalid, NotFound, TooLarge, TronError
from tron.tasks.contract import Artifact

FILE_BYTES = 16 * 1024 * 1024
TOTAL_BYTES = 128 * 1024 * 1024
FILES = 2_000
"""files and folders"""
DEEPEST = 32
PATH_CHARS = 512
PART_BYTES = 200
SCRATCH = ".tmp"
"""where commands keep what is nobody's artifact; emptied after each"""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Usage:
    """What is in a workspace."""

    def __init__(self) -> None:
        self.bytes = 0
        self.files = 0
        self.hidden = False
        """a folder nested too deep, or closed to us, so that nobody knows what is in it"""

    @property
    def too_much(self) -> str:
        """Which limit it is over; empty: none."""
        if self.bytes > TOTAL_BYTES:
            return f"more than {TOTAL_BYTES >> 20} MB in all"
        if self.hidden:
            return "a folder that can't be looked into"
        return f"more than {FILES} files" if self.files > FILES else ""


class Workspace:
    """See the module. The folder is made when something is first written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self) -> None:
        """Make the folder, for nobody but the hub's own user."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _failed(error, "the workspace") from None

    def write(self, path: str, data: bytes) -> None:
        """Write a file in the place of what was there. Raises Invalid (the path), TooLarge."""
        *folders, name = _parts(path)
        if len(data) > FILE_BYTES:
            raise TooLarge(f"A file may have {FILE_BYTES >> 20} MB; this one is larger.")
        self.make()
        usage = self.usage()
        usage.bytes += len(data)
        usage.files += 1
        if usage.too_much:
            raise TooLarge(f"The workspace would hold {usage.too_much}.")
        try:
            with self._folder(folders, make=True) as folder:
                _replace(folder, name, data)
        except OSError as error:
            raise _failed(error, path) from None

    def open(self, path: str) -> BinaryIO:
        """An ordinary file of the workspace. Raises Invalid, NotFound."""
        *folders, name = _parts(path)
        try:
            with self._folder(folders) as folder:
                # Without waiting: opening a named pipe would block until somebody writes to it.
                file = os.open(
                    name,
                    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                    dir_fd=folder,
                )
        except OSError as error:
            raise _failed(error, path) from None
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise NotFound(f"{path[:PATH_CHARS]!r} is no file.", param="path")
        return os.fdopen(file, "rb")

    def artifacts(self) -> list[Artifact]:
        """The files, by path; at most `FILES` of them."""
        found = [
            Artifact(path=path, bytes=info.st_size, modified_at=info.st_mtime_ns // 1_000_000)
            for path, info in self._walk()
            if stat.S_ISREG(info.st_mode)
        ]
        return sorted(found, key=lambda artifact: artifact.path)

    def usage(self) -> Usage:
        """What is there, scratch files included."""
        usage = Usage()
        for _, info in self._walk(usage):
            usage.files += 1
            usage.bytes += info.st_blocks * 512 if stat.S_ISREG(info.st_mode) else 0
        return usage

    def scratch(self) -> Path:
        """The folder for scratch files, empty."""
        self.make()
        folder = self.root / SCRATCH
        self.clear_scratch()
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise _failed(error, SCRATCH) from None
        return folder

    def clear_scratch(self) -> None:
        _remove(self.root / SCRATCH)

    def remove(self) -> None:
        """Everything, for good."""
        _remove(self.root)

    def _walk(self, usage: Usage | None = None) -> Iterator[tuple[str, os.stat_result]]:
        """(path, facts) of what is there, following no link, a little more than is allowed.

        With `usage`, scratch files too, and it is told of what could not be looked into.
        """
        left = FILES + 1
        waiting = [""]
        while waiting:
            place = waiting.pop()
            try:
                with (
                    self._folder(place.split("/") if place else []) as folder,
                    os.scandir(folder) as entries,
                ):
                    for entry in entries:
                        if usage is None and not place and entry.name == SCRATCH:
                            continue
                        if (left := left - 1) < 0:
                            return
                        info = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                        path = f"{place}/{entry.name}" if place else entry.name
                        yield path, info
                        if stat.S_ISDIR(info.st_mode):
                            if path.count("/") < DEEPEST:
                                waiting.append(path)
                            elif usage is not None:
                                usage.hidden = True
            except OSError as error:  # gone meanwhile, or closed to us
                if usage is not None and error.errno == errno.EACCES:
                    usage.hidden = True

    @contextmanager
    def _folder(self, parts: list[str], *, make: bool = False) -> Iterator[int]:
        """A folder of the workspace, opened part by part. Raises OSError."""
        here = os.open(self.root, _FOLDER)
        try:
            for part in parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=here)
                below = os.open(part, _FOLDER, dir_fd=here)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)


def _parts(path: str) -> list[str]:
    """The names in `path`. Raises Invalid for one that leads elsewhere."""
    if not path or len(path) > PATH_CHARS:
        raise Invalid(f"A path has 1 to {PATH_CHARS} characters.", param="path")
    if path.startswith(("/", "~")) or "\\" in path or "\0" in path:
        raise Invalid("Paths are within the workspace, such as report/notes.md.", param="path")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise Invalid("Paths are within the workspace; `..` leads out of it.", param="path")
    if len(parts) > DEEPEST:
        raise Invalid(f"Folders may be nested {DEEPEST - 1} deep.", param="path")
    for part in parts:
        if len(part.encode(errors="replace")) > PART_BYTES or not part.isprintable():
            raise Invalid("A name in that path is too long, or no name.", param="path")
    return parts


def _replace(folder: int, name: str, data: bytes) -> None:
    beside = f".{secrets.token_hex(8)}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(beside, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as writing:
            writing.write(data)
        os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(beside, dir_fd=folder)
        raise


def _remove(folder: Path) -> None:
    """With all below; a command may have closed its folders to us, or put a link in its place."""

    def open_up(_: object, path: str, __: object) -> None:
        for place in (os.path.dirname(path), path):
            if os.path.isdir(place) and not os.path.islink(place):
                os.chmod(place, 0o700)

    for _ in range(DEEPEST):  # each time a level further, at worst
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink(missing_ok=True)
            return
        shutil.rmtree(folder, onerror=open_up)


def _failed(error: OSError, path: str) -> TronError:
    shown = repr(path[:PATH_CHARS])
    match error.errno:
        case errno.ENOENT:
            return NotFound(f"There is no {shown} in the workspace.", param="path")
        case errno.ELOOP | errno.ENOTDIR:
            return Invalid(f"{shown} leads through something that is no folder.", param="path")
        case errno.EISDIR | errno.EEXIST | errno.ENOTEMPTY:
            return Invalid(f"{shown} is a folder.", param="path")
        case errno.ENOSPC | errno.EDQUOT:
            return TooLarge("The disk is full.")
        case _:
            return Invalid(f"{shown} can't be used ({error.strerror}).", param="path")
