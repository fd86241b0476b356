"""What personas do with Twilio on their own: whom they may reach, and what they are told of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from integrations.twilio import tools as module
from integrations.twilio.exchange import Progress
from integrations.twilio.fake import FakeTwilio
from tests.harness.waiting import eventually
from tests.unit.twilio.conftest import Office, Offices
from tron.conversation.turns import ToolCall
from tron.orchestrator.process import Process
from tron.storage.tables import HOUSE
from tron.tools.contract import StepScope, ToolContext
from tron.tools.toolbox import Outcome

ADA = "+14155550100"


async def use(office: Office, tool: str, **arguments: Any) -> Outcome:
    """As a step of a task that was approved."""

    async def idle(process: Process) -> None:
        await process.receive(3600)

    context = ToolContext(
        client_id=HOUSE,
        process=office.hub.orchestrator.spawn("maya", idle),
        session="s1",
        caller="+14155550111",
        step=StepScope(
            task_id="t1", step_id="t1.n1", key="k", begun_at=0, workspace=Path("/x"), log=print
        ),
    )
    given = msgspec.json.encode(arguments).decode()
    return await office.hub.toolbox.perform(context, ToolCall(id="c", name=tool, arguments=given))


@pytest.fixture
async def twilio() -> AsyncIterator[FakeTwilio]:
    async with FakeTwilio(hub="http://127.0.0.1:9", auth_token="token") as fake:
        yield fake


@pytest.fixture
async def office(offices: Offices, twilio: FakeTwilio) -> AsyncIterator[Office]:
    async with offices(
        twilio_account_sid=twilio.account_sid,
        twilio_auth_token="token",
        twilio_number="+15005550006",
        twilio_api_url=twilio.rest_url,
        public_url="https://hub.test/",
    ) as made:
        yield made


def report(office: Office, twilio: FakeTwilio, status: str) -> None:
    """Twilio tells of the one call."""
    (sid,) = twilio.calls
    office.twilio._exchange.report(Progress(sid=sid, status=status, sequence=99))


async def test_a_text_is_sent(office: Office, twilio: FakeTwilio) -> None:
    outcome = await use(office, "send_sms", to="+1 (415) 555-0100", text="See you at 8")
    assert outcome.status == "ok"
    assert "whether it arrives is not reported" in outcome.text
    assert [(t["To"], t["From"], t["Body"]) for t in twilio.texts] == [
        (ADA, "+15005550006", "See you at 8")
    ]


@pytest.mark.parametrize(
    ("number", "why"),
    [
        *((n, "emergency") for n in ("911", "112", "+911", "+49 112", "1-1-0", "999")),
        *((n, "costs extra") for n in ("+1 900 555 1234", "+979 123456789", "+881612345678")),
        *((n, "country code") for n in ("0171 5551234", "ada", "415-555-0100-77")),
        *((n, "exists") for n in ("+1 555 010 0000",)),
    ],
)
@pytest.mark.parametrize("tool", ["send_sms", "place_call"])
async def test_whom_nobody_may_reach(
    office: Office, twilio: FakeTwilio, tool: str, number: str, why: str
) -> None:
    outcome = await use(office, tool, to=number, text="x", message="x")
    assert outcome.status == "refused"
    assert why in outcome.text
    assert twilio.requests == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [((400, 21610), "was not sent"), ((503, 0), "not known"), ((429, 20429), "not known")],
)
async def test_what_twilio_refused_is_told_apart_from_what_nobody_knows(
    office: Office, twilio: FakeTwilio, fault: tuple[int, int], told: str
) -> None:
    twilio.faults.append(fault)
    outcome = await use(office, "send_sms", to=ADA, text="x")
    assert outcome.status == "failed"
    assert told in outcome.text
    assert len(twilio.requests) == 1, "nothing is sent twice"


async def test_a_call_is_placed_and_its_answer_told(
    office: Office, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    twilio.ring_s = 300
    calling = asyncio.ensure_future(use(office, "place_call", to=ADA, message="Maya here."))
    await eventually(lambda: len(twilio.calls) == 1)
    report(office, twilio, "ringing")
    assert not calling.done()
    report(office, twilio, "in-progress")
    outcome = await calling
    assert outcome.status == "ok"
    assert "answered" in outcome.text
    asked = twilio.requests[0]
    assert asked["To"] == ADA
    assert asked["StatusCallback"] == "https://hub.test/twilio/status"
    errand = office.twilio._exchange.errand(parse_qs(urlsplit(asked["Url"]).query)["errand"][0])
    assert errand is not None
    assert (errand.agent, errand.message) == ("maya", "Maya here.")


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
async def test_nobody_answered(
    office: Office, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    twilio.ring_s = 300
    calling = asyncio.ensure_future(use(office, "place_call", to=ADA, message="Hello"))
    await eventually(lambda: len(twilio.calls) == 1)
    report(office, twilio, status)
    outcome = await calling
    assert outcome.status == "failed"
    assert module.NOT_REACHED[status] in outcome.text


@pytest.mark.parametrize(
    ("status", "told"), [("in-progress", "answered"), ("ringing", "is not known")]
)
async def test_where_no_report_came_twilio_is_asked(
    office: Office, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch, status: str, told: str
) -> None:
    monkeypatch.setattr(module, "RINGS_S", 0)
    twilio.ring_s = 300
    client = office.twilio._client
    really = client.status

    async def asked(sid: str) -> str:
        twilio.calls[sid].status = status
        return await really(sid)

    monkeypatch.setattr(client, "status", asked)
    outcome = await use(office, "place_call", to=ADA, message="Hello")
    assert outcome.status == "ok"
    assert told in outcome.text


@pytest.mark.parametrize("rings", [True, False])
async def test_a_step_that_is_stopped_stops_the_ringing(
    office: Office, twilio: FakeTwilio, rings: bool
) -> None:
    twilio.ring_s, twilio.answer_s = 300, 0 if rings else 0.2
    calling = asyncio.ensure_future(use(office, "place_call", to=ADA, message="Hello"))
    await eventually(lambda: len(twilio.calls) == 1)
    if rings:
        await eventually(lambda: not len(office.hub.background), what="Twilio's answer")
        report(office, twilio, "ringing")
    calling.cancel()  # else while Twilio's answer is on its way
    with pytest.raises(asyncio.CancelledError):
        await calling
    (call,) = twilio.calls.values()
    assert call.status == "completed"


@pytest.mark.parametrize(
    ("missing", "tool", "named"),
    [
        ("twilio_account_sid", "send_sms", "TWILIO_ACCOUNT_SID"),
        ("twilio_auth_token", "place_call", "TWILIO_AUTH_TOKEN"),
        ("twilio_number", "send_sms", "TWILIO_PHONE_NUMBER"),
        ("public_url", "place_call", "TRON_PUBLIC_URL"),
    ],
)
async def test_without_a_setting_it_is_named(
    offices: Offices, missing: str, tool: str, named: str
) -> None:
    settings = {
        "twilio_account_sid": "AC1",
        "twilio_auth_token": "t",
        "twilio_number": "+15005550006",
        "public_url": "https://hub.test",
    } | {missing: ""}
    async with offices(**settings) as office:
        outcome = await use(office, tool, to=ADA, text="x", message="x")
        assert outcome.status == "refused"
        assert outcome.text.endswith(f"here: {named} missing.")
