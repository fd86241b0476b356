"""A stranger's first minute: the lock can be trusted, and `make` says what is wrong."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from tests.harness.hub import REPOSITORY

LOCK = (REPOSITORY / "requirements.lock").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(REPOSITORY / "Makefile", folder)
    for needed in ("requirements.lock", "pyproject.toml"):
        (folder / needed).touch()
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True)


def old_python(folder: Path) -> Path:
    """An interpreter that believes it is 3.9."""
    script = folder / "python3.9"
    script.write_text(
        "#!/bin/sh\n"
        'exec python3 -c "import sys; sys.version_info = (3, 9); exec(sys.argv.pop(1))" "$2"\n'
    )
    script.chmod(0o755)
    return script


def test_the_lock_names_no_address() -> None:
    assert "://" not in LOCK


def test_everything_locked_has_hashes() -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", LOCK).strip())
    assert entries
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_everything_declared_is_locked() -> None:
    declared = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    names = {canonical(re.split(r"[\[<>=~!; ]", one)[0]) for one in declared}
    locked = {canonical(name) for name in re.findall(r"(?m)^([\w.-]+)==", LOCK)}
    assert names - locked == set()


def test_make_refuses_an_old_python(tmp_path: Path) -> None:
    tried = make(tmp_path, "install", f"PYTHON={old_python(tmp_path)}")
    assert tried.returncode != 0
    assert "needs Python 3.11 or newer" in tried.stderr
    assert "is 3.9" in tried.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_changed_lock_is_installed_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    stamp = tmp_path / ".venv" / ".installed"
    stamp.parent.mkdir()
    make(tmp_path, "--version")
    stamp.touch()
    assert up_to_date(tmp_path)
    later = stamp.stat().st_mtime + 10
    os.utime(tmp_path / "requirements.lock", (later, later))
    assert not up_to_date(tmp_path)


def up_to_date(folder: Path) -> bool:
    return subprocess.run(["make", "--question", "install"], cwd=folder).returncode == 0


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
