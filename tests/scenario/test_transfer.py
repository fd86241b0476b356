"""Callers are put through by a whole hub at a carrier that behaves as Twilio does."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from integrations.openai.behaviours import Reply, ToolCalls
from integrations.openai.fake import FakeProvider
from integrations.twilio.fake import FakeTwilio
from integrations.twilio.fake_call import FakeCall
from integrations.vapi.fake import FakeVapi
from integrations.vapi.transfers import NOT_NOW
from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import PATIENCE_S, eventually
from tests.scenario.test_twilio import CALLER, PUBLIC, TOKEN, calls, detail
from tron.calls.machine import NOT_TRANSFERRED
from tron.clock import SystemClock
from tron.memory.contacts import Contacts
from tron.storage.store import Store
from tron.storage.tables import HOUSE

LINE = "+14155550111"
GRACE = "+14155550188"
SENTENCE = "I am putting you through to Grace."

Desks = Callable[..., AbstractAsyncContextManager[tuple[FakeTwilio, RunningHub]]]


@pytest.fixture
def desks(hub: Hubs, fake: FakeProvider) -> Desks:
    """A hub whose persona puts everybody through to Grace, and its carrier."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[tuple[FakeTwilio, RunningHub]]:
        async with FakeTwilio(hub="http://127.0.0.1:1", auth_token=TOKEN) as twilio:
            account = {
                "TWILIO_ACCOUNT_SID": twilio.account_sid,
                "TWILIO_AUTH_TOKEN": TOKEN,
                "TWILIO_PHONE_NUMBER": LINE,
                "TWILIO_API_URL": twilio.rest_url,
                "TRON_PUBLIC_URL": PUBLIC,
                "TRON_STT": "fake",
                "TRON_TTS": "fake",
                "OPENAI_BASE_URL": fake.base_url,
            }
            running = hub.home(**(account | settings))
            await running.start()
            store = await Store.open(f"sqlite:///{running.home / 'data' / 'tron.db'}")
            await Contacts(store, SystemClock()).save(HOUSE, name="Grace Hopper", phone=GRACE)
            await store.close()
            fake.script(ToolCalls([("transfer_call", {"to": "Grace"})]), Reply(SENTENCE))
            twilio.hub, twilio.public_url = running.base_url, PUBLIC
            yield twilio, running

    return make


async def ask(call: FakeCall) -> None:
    """Say something after which the persona puts the caller through."""
    if call.stream_sid:
        await call.until_quiet(within_s=PATIENCE_S)
        await call.press("1#")
    else:
        await call.prompt("Put me through to Grace.")


async def over(call: FakeCall) -> None:
    await call.until(lambda: call.count("over") > 0, within_s=PATIENCE_S)


@pytest.mark.parametrize("mode", ["media", "relay"])
async def test_the_caller_hears_the_sentence_and_is_put_through(desks: Desks, mode: str) -> None:
    async with desks(TRON_TWILIO_MODE=mode) as (twilio, running):
        call = await twilio.dial(CALLER, to=LINE)
        await ask(call)
        await over(call)
        assert call.dialled == [GRACE]
        told = await detail(running, call)
        assert told["cause"] == "transferred"
        assert [e["kind"] for e in told["timeline"]].count("ended") == 1
        said = [e["text"] for e in told["timeline"] if e["kind"] == "say" and e["turn"]]
        assert said == [SENTENCE]
        assert told["turns"][0]["ending"] == "completed"
        kinds = [event.kind for event in call.events]
        last_word = max(place for place, kind in enumerate(kinds) if kind in ("played", "text"))
        assert last_word < kinds.index("dialled"), "the sentence first"
        assert len(await calls(running)) == 1, "nobody takes the call up again"


async def test_a_relay_is_handed_off_where_the_hub_has_no_account(desks: Desks) -> None:
    async with desks(TRON_TWILIO_MODE="relay", TWILIO_ACCOUNT_SID="") as (twilio, running):
        call = await twilio.dial(CALLER, to=LINE)
        await ask(call)
        await over(call)
        assert call.dialled == [GRACE]
        assert twilio.requests == []
        assert (await detail(running, call))["cause"] == "transferred"


async def test_a_stream_without_an_account_says_that_it_cannot(
    desks: Desks, fake: FakeProvider
) -> None:
    async with desks(TWILIO_ACCOUNT_SID="") as (twilio, _):
        call = await twilio.dial(CALLER, to=LINE)
        await ask(call)
        await eventually(lambda: len(fake.requests) == 2, what="the model to hear of it")
        assert "Nobody can be put through" in fake.requests[1].body["messages"][-1]["content"]
        await call.hang_up()
        assert call.dialled == []


@pytest.mark.parametrize("mode", ["media", "relay"])
@pytest.mark.parametrize("fault", [(503, 20503), (400, 21220), (404, 20404)])
async def test_a_carrier_that_refuses_is_apologised_for_and_the_call_goes_on(
    desks: Desks, fake: FakeProvider, mode: str, fault: tuple[int, int]
) -> None:
    async with desks(TRON_TWILIO_MODE=mode) as (twilio, running):
        twilio.faults.append(fault)
        call = await twilio.dial(CALLER, to=LINE)
        await ask(call)

        async def apologised() -> bool:
            listed = await calls(running)
            if not listed:  # it was answered a moment ago
                return False
            async with running.http.get(f"/api/calls/{listed[0]['id']}") as answer:
                lines = (await answer.json())["timeline"]
            return any(e["kind"] == "say" and e["text"] in NOT_TRANSFERRED for e in lines)

        await eventually(apologised, what="the apology")
        if mode == "relay":
            await call.until(lambda: any(NOT_TRANSFERRED in w for w in call.words))
        fake.script(Reply("Then I will take a message."))
        await ask(call)
        await eventually(lambda: len(fake.requests) == 3, what="the next turn")
        asked = fake.requests[2].body["messages"]
        assert {"role": "assistant", "content": NOT_TRANSFERRED} in asked, "and remembered"
        await call.hang_up()
        told = await detail(running, call)
        assert told["cause"] in ("caller-hung-up", "carrier-closed")
        assert call.dialled == []


@pytest.mark.parametrize("mode", ["media", "relay"])
async def test_nobody_answers_there_and_the_persona_takes_the_caller_back(
    desks: Desks, mode: str
) -> None:
    async with desks(TRON_TWILIO_MODE=mode) as (twilio, running):
        twilio.outcomes[GRACE] = "no-answer"
        call = await twilio.dial(CALLER, to=LINE, agent="maya")
        await ask(call)
        await call.until(lambda: call.count("connected") == 2, within_s=PATIENCE_S)
        assert call.dialled == [GRACE]

        async def back() -> bool:
            return len(await calls(running)) == 2

        await eventually(back, what="the second part of the call")
        await call.hang_up()

        async def ended() -> bool:
            return all(one["cause"] for one in await calls(running))

        await eventually(ended, what="its end")
        second, first = await calls(running)
        assert first["cause"] == "transferred"
        assert (second["agent"], second["cause"] != "transferred") == ("maya", True)
        async with running.http.get(f"/api/calls/{second['id']}") as answer:
            said = [e["text"] for e in (await answer.json())["timeline"] if e["kind"] == "say"]
        assert "nobody answered" in said[0]


async def test_who_hangs_up_is_not_rung_for(desks: Desks) -> None:
    async with desks() as (twilio, running):
        call = await twilio.dial(CALLER, to=LINE)
        await ask(call)
        media = call.count("media")
        await call.until(lambda: call.count("media") > media, within_s=PATIENCE_S)
        await call.hang_up()
        assert (await detail(running, call))["cause"] == "caller-hung-up"
        assert twilio.requests == []


async def test_by_vapi(hub: Hubs, fake: FakeProvider) -> None:
    async with FakeVapi(secret="s3cret") as vapi:
        running = await hub(
            OPENAI_BASE_URL=fake.base_url, VAPI_SECRET="s3cret", VAPI_API_URL=vapi.url
        )
        fake.script(ToolCalls([("transfer_call", {"to": GRACE})]))
        call = await vapi.ring(running.base_url, CALLER, ["Put me through to Grace.", "Hello?"])
        assert call.put_through_to == GRACE
        assert call.said[-1] == f"I am putting you through to {GRACE}."
        assert len(call.said) == 2, "nothing is asked of the persona any more"


async def test_by_vapi_which_can_not(hub: Hubs, fake: FakeProvider) -> None:
    async with FakeVapi(secret="s3cret") as vapi:
        running = await hub(
            OPENAI_BASE_URL=fake.base_url, VAPI_SECRET="s3cret", VAPI_API_URL=vapi.url
        )
        vapi.refusals.append((503, {}))
        fake.script(
            ToolCalls([("transfer_call", {"to": GRACE})]),
            Reply("It does not work just now."),
            Reply("Goodbye."),
        )
        call = await vapi.ring(running.base_url, CALLER, ["Put me through to Grace.", "Bye."])
        assert call.put_through_to == ""
        assert call.said[1:] == ["It does not work just now.", "Goodbye."]
        assert fake.requests[1].body["messages"][-1]["content"] == NOT_NOW


async def test_without_a_model_too(hub: Hubs) -> None:
    async with FakeVapi(secret="s3cret") as vapi:
        running = await hub(TRON_BRAIN="offline", VAPI_SECRET="s3cret", VAPI_API_URL=vapi.url)
        store = await Store.open(f"sqlite:///{running.home / 'data' / 'tron.db'}")
        await Contacts(store, SystemClock()).save(HOUSE, name="Grace Hopper", phone=GRACE)
        await store.close()
        call = await vapi.ring(
            running.base_url, CALLER, ["Transfer me to Zaphod.", "Transfer me to Grace."]
        )
        assert "Nobody called" in call.said[1]
        assert call.put_through_to == GRACE


async def test_in_a_call_without_a_model(desks: Desks) -> None:
    offline = {"TRON_BRAIN": "offline", "TRON_TWILIO_MODE": "relay"}
    async with desks(**offline) as (twilio, _):
        call = await twilio.dial(CALLER, to=LINE)
        await call.prompt("Transfer me to Zaphod.")
        await call.until(lambda: len(call.words) == 1, within_s=PATIENCE_S)
        assert "Nobody called" in call.words[0]
        await call.prompt("Transfer me to Grace.")
        await over(call)
        assert "Grace" in call.words[1]
        assert call.dialled == [GRACE]
