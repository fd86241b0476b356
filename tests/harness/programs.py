"""Programs that tests drive and pip can't bring."""

import shutil

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def program(*names: str) -> str:
    """Path of the first of `names` that is installed; without any, the test fails, saying so.

    `make test` installs them where it may (`make system`).
    """
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.fail(f"{' or '.join(names)} is not installed: run `make system` as root")
