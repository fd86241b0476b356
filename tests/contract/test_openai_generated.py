"""OpenAI's own generated tests, run against a hub.

They are written from OpenAI's API description and validate every answer strictly. They come with
the source package of the very SDK that is installed: version and hash are the lock file's. pip
brings it, as it brought everything else, and it stays in pytest's cache, so only the first run
needs the network. The tests are not copied into this repository: they are OpenAI's, and change
with every release.
"""

import asyncio
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.harness.hub import REPOSITORY, Hubs

FILES = ("tests/api_resources/chat/test_completions.py", "tests/api_resources/test_models.py")
CHOSEN = "create or (models and list)"
PIP_DOWNLOAD = (
    *("-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
    *("--no-deps", "--no-binary", "openai", "--require-hashes"),
)
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", CHOSEN)
LEAST = 50
"""tests that must have run; a release that renames them all must not pass by running none"""


def pinned() -> tuple[str, list[str]]:
    """The SDK's version and hashes in the lock."""
    lock = (REPOSITORY / "requirements.lock").read_text()
    found = re.search(r"^openai==(\S+)((?: \\\n +--hash=\S+)+)", lock, re.MULTILINE)
    assert found, "openai is not in requirements.lock"
    return found[1], re.findall(r"--hash=\S+", found[2])


@pytest.fixture
def suite(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of the SDK's source, checked against the lock and unpacked."""
    version, hashes = pinned()
    kept = Path(request.config.cache.mkdir("openai-source"))
    package = kept / f"openai-{version}.tar.gz"
    if not package.exists():
        wanted = tmp_path / "wanted.txt"
        wanted.write_text(" ".join([f"openai=={version}", *hashes]))
        fetched = subprocess.run(
            [sys.executable, *PIP_DOWNLOAD, "--dest", str(kept), "-r", str(wanted)],
            capture_output=True,
            text=True,
            timeout=300,
        )
        if not package.exists():
            pytest.fail(
                f"pip could not fetch the source package of openai {version}, whose tests these "
                f"are. It is needed once, with a network:\n{fetched.stderr[-2000:]}"
            )
    with tarfile.open(package) as source:
        # Python 3.11.4 brought the filter, and later ones warn where there is none.
        safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        source.extractall(tmp_path, **safely)
    return tmp_path / f"openai-{version}"


def run(suite: Path, base_url: str, settings: Path) -> subprocess.CompletedProcess[str]:
    """Their tests in a pytest of their own, without our settings or theirs."""
    settings.write_text("[pytest]\nasyncio_mode = auto\n")
    return subprocess.run(
        [sys.executable, *PYTEST, "-c", str(settings), "--rootdir", str(suite), *FILES],
        cwd=suite,
        env={"PATH": os.environ["PATH"], "TEST_API_BASE_URL": base_url},
        capture_output=True,
        text=True,
        timeout=300,
    )


async def test_openais_generated_tests_pass(hub: Hubs, suite: Path, tmp_path: Path) -> None:
    running = await hub(TRON_BRAIN="offline")
    done = await asyncio.to_thread(run, suite, running.base_url + "/v1", tmp_path / "pytest.ini")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) >= LEAST
