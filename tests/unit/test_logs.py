"""A log that may be shipped anywhere: one line an event, no people's words, no secrets."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.harness.waiting import PATIENCE_S

# A process of its own: logging is set up once for a whole program.
PROGRAM = """
import logging, sys
import structlog
from tron import logs
from tron.settings import Settings

log = structlog.get_logger("tron.early")  # as every module does, before logging is set up
logs.configure(Settings(log_format=sys.argv[1], log_pii=sys.argv[2] == "pii"))
log.info("turn.ended", session="s1", pii_text="what Ada said", pii_phone="+14155551234")
log.debug("too.much")
logging.getLogger("some.library").warning("It took %d tries", 3)
logging.getLogger("apscheduler.scheduler").info("chatter")

def fails():
    secret = "sk-" + "very-secret"
    raise ValueError("no good")

try:
    fails()
except ValueError as error:
    log.exception("turn.failed", session="s1", pii_text="what Ada said")
    log.error("task.failed", exc_info=error, odd=object(), text="two\\nlines")
    logging.getLogger("some.library").exception("It broke")
"""


def logged(form: str, pii: str = "") -> str:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, form, pii],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert run.stdout == ""
    return run.stderr


def entries(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", ["json", "auto"])
def test_every_line_is_an_object(form: str) -> None:
    found = entries(logged(form))
    assert [(entry["event"], entry["level"]) for entry in found] == [
        ("turn.ended", "info"),
        ("It took 3 tries", "warning"),
        ("turn.failed", "error"),
        ("task.failed", "error"),
        ("It broke", "error"),
    ]
    assert all(entry["timestamp"].endswith("Z") for entry in found)
    assert found[0]["session"] == "s1"
    for entry in found[2:]:
        assert "ValueError: no good" in entry["exception"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_peoples_words_and_numbers_are_left_out(form: str) -> None:
    text = logged(form)
    assert "turn.ended" in text
    for private in ("Ada", "4155551234", "pii_"):
        assert private not in text


def test_they_are_there_when_asked_for() -> None:
    first = entries(logged("json", "pii"))[0]
    assert (first["pii_text"], first["pii_phone"]) == ("what Ada said", "+14155551234")


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_show_no_variables(form: str) -> None:
    text = logged(form)
    assert "sk-very-secret" not in text
    assert "ValueError: no good" in text
