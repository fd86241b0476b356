"""A task's folder: nothing leads out of it, and it has limits."""

import os
from pathlib import Path

import pytest

from tron.errors import CallerError, Invalid, NotFound, TooLarge
from tron.tasks import workspace as module
from tron.tasks.workspace import SCRATCH, Workspace


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("swordfish")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, outside: Path) -> Workspace:
    return Workspace(tmp_path / "home" / "tasks" / "t1")


def text(workspace: Workspace, path: str) -> str:
    with workspace.open(path) as file:
        return file.read().decode()


def test_what_is_written_can_be_read_and_listed(workspace: Workspace) -> None:
    assert workspace.artifacts() == []
    workspace.write("notes.md", b"one")
    workspace.write("a/b/./c.txt", b"three")
    workspace.write("notes.md", b"two")
    assert text(workspace, "notes.md") == "two"
    assert text(workspace, "a//b/c.txt") == "three"
    assert [(a.path, a.bytes) for a in workspace.artifacts()] == [("a/b/c.txt", 5), ("notes.md", 3)]
    with workspace.open("a/b/c.txt") as file:
        assert file.read() == b"three"
    assert workspace.root.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "~/x", "~root"),
        *("a\\..\\x", "a\0b", "a\nb", "x" * 600, "a/" * 40 + "b", "y" * 250),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(workspace: Workspace, path: str) -> None:
    workspace.make()
    for attempt in (
        lambda: workspace.write(path, b"x"),
        lambda: workspace.open(path),
    ):
        with pytest.raises(Invalid):
            attempt()
    assert workspace.artifacts() == []


def test_links_lead_nowhere(workspace: Workspace, outside: Path) -> None:
    workspace.make()
    root = workspace.root
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "up").symlink_to("..")
    for path in ("folder/secret", "file", "up/t1/file", "up/x"):
        with pytest.raises(CallerError):
            workspace.open(path)
    for path in ("folder/new", "up/new"):
        with pytest.raises(CallerError):
            workspace.write(path, b"x")
    workspace.write("file", b"mine")  # takes the link's place
    assert (outside / "secret").read_text() == "swordfish"
    assert sorted(os.listdir(outside)) == ["secret"]
    assert not (root / "file").is_symlink()
    assert [a.path for a in workspace.artifacts()] == ["file"]


def test_a_workspace_that_is_itself_a_link_is_no_workspace(
    workspace: Workspace, outside: Path
) -> None:
    workspace.root.parent.mkdir(parents=True)
    workspace.root.symlink_to(outside)
    with pytest.raises(CallerError):
        workspace.open("secret")
    with pytest.raises(CallerError):
        workspace.write("new", b"x")
    workspace.remove()
    assert sorted(os.listdir(outside)) == ["secret"]


def test_a_folder_that_becomes_a_link_between_two_looks_leads_nowhere(
    workspace: Workspace, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.write("a/b", b"mine")
    really = os.open

    def swapping(path: object, flags: int, *args: int, **given: int) -> int:
        if path == "a":  # after every check by name, in the last moment
            (workspace.root / "a").rename(workspace.root / "was")
            (workspace.root / "a").symlink_to(outside)
        return really(path, flags, *args, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", swapping)
    with pytest.raises(CallerError):
        workspace.open("a/secret")


def test_what_is_no_file_is_not_opened(workspace: Workspace) -> None:
    workspace.make()
    os.mkfifo(workspace.root / "pipe")  # to open it would wait for ever
    (workspace.root / "folder").mkdir()
    for path in ("pipe", "folder", "nothing", "nothing/at/all", "pipe/x"):
        with pytest.raises((NotFound, Invalid)):
            workspace.open(path)
    with pytest.raises(Invalid):
        workspace.write("folder", b"x")
    assert workspace.artifacts() == []


def test_files_are_limited_in_size_and_number(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 10_000)
    monkeypatch.setattr(module, "TOTAL_BYTES", 25_000)
    monkeypatch.setattr(module, "FILES", 4)
    with pytest.raises(TooLarge):
        workspace.write("large", b"x" * 10_001)
    workspace.write("a/one", b"x" * 9_000)
    workspace.write("two", b"x" * 10_000)
    with pytest.raises(TooLarge, match="in all"):
        workspace.write("three", b"x" * 10_000)
    workspace.remove()
    for number in range(4):
        workspace.write(f"small{number}", b"x")
    with pytest.raises(TooLarge, match="files"):
        workspace.write("one too many", b"x")
    assert len(workspace.artifacts()) == 4


def test_what_hides_from_being_counted_is_too_much(workspace: Workspace) -> None:
    deep = workspace.root.joinpath(*["d"] * (module.DEEPEST + 1))
    deep.mkdir(parents=True)
    assert workspace.usage().too_much
    workspace.remove()
    assert not workspace.root.exists()


def test_scratch_files_are_nobodys_artifacts_but_count(workspace: Workspace) -> None:
    scratch = workspace.scratch()
    (scratch / "x").write_bytes(b"x" * 9_000)
    workspace.write("kept", b"y")
    assert [a.path for a in workspace.artifacts()] == ["kept"]
    assert workspace.usage().bytes >= 9_000
    workspace.clear_scratch()
    assert os.listdir(workspace.root) == ["kept"]
    assert SCRATCH not in os.listdir(workspace.root)
