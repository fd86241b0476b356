"""What comes after a call: nothing of it stays open, and what fails then costs no other call."""

from typing import Any

import pytest

from integrations.vapi import ledger
from tests.harness.waiting import eventually
from tests.unit.vapi.conftest import Wire, Wired, fixture
from tron.errors import ProviderBroke
from tron.orchestrator.process import Process

SECRET = {"x_vapi_secret": "s3cret"}


async def told(wired: Wired, *names: str) -> None:
    """Recorded messages, one after the other."""
    for name in names:
        answer = await wired.tell(fixture(name), **SECRET)
        assert answer.status == 200, answer.raw


@pytest.mark.parametrize("late", ["status-update", "assistant-request"])
async def test_an_event_that_comes_after_the_end_leaves_no_session_open(
    wire: Wire, late: str
) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        await told(wired, "status-update-ended", late)
        assert (await wired("GET", "/api/sessions")).json == []


async def test_summaries_that_fail_do_not_keep_the_persona_from_the_next_call(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "RETRY_MS", 0)
    async with wire(vapi_secret="s3cret") as wired:

        async def fail(*_: Any, **__: Any) -> str:
            raise ProviderBroke("in the middle")

        monkeypatch.setattr(wired.hub.thinking, "think", fail)
        await told(wired, "end-of-call-report")
        await wired.vapi.start()

        async def given_up() -> bool:
            [call] = (await wired("GET", "/api/vapi/calls")).json["calls"]
            return bool(call["summary_state"] == "failed")

        await eventually(given_up, what="the summary to be given up")

        async def answer(_: Process) -> str:
            return "Hello."

        process = wired.hub.orchestrator.spawn("tony", answer, task="Answer a call", reason="test")
        await process.wait()
        assert process.result == "Hello."
