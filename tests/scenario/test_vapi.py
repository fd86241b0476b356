"""A caller's whole way through VAPI: a talking VAPI on one side, real hubs on the other."""

import asyncio
from typing import Any

from integrations.openai.behaviours import Hang, Reply
from integrations.openai.fake import FakeProvider
from integrations.vapi.fake import FakeVapi, PhoneCall
from integrations.vapi.proof import Hmac
from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import eventually
from tron.clock import SystemClock
from tron.settings import Settings
from tron.storage.store import Store
from tron.web.security import Security

CALLER = "+14155550123"
SAYS = ["Hello, who am I talking to?", "Please remember that my dog is called Rex.", "Goodbye."]


async def get(hub: RunningHub, path: str, token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with hub.http.get(path, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def calls(hub: RunningHub, token: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await get(hub, "/api/vapi/calls", token))["calls"]
    return found


async def summed_up(hub: RunningHub, *, token: str = "") -> dict[str, Any]:
    """The only call of a hub, once there is a summary of it."""

    async def done() -> bool:
        return [call["summary_state"] for call in await calls(hub, token)] == ["done"]

    await eventually(done, what="a summary")
    return (await calls(hub, token))[0]


async def owned(hub: RunningHub) -> str:
    """Give the hub that is not started yet an owner; a token of theirs."""
    store = await Store.open(f"sqlite:///{hub.home / 'data' / 'tron.db'}")
    security = Security(Settings(), store, SystemClock())
    await security.set_owner("correct horse battery")
    _, token = await security.create_token("test", ["admin"], 1)
    await store.close()
    return token


async def test_a_call_on_a_hub_of_ones_own(hub: Hubs) -> None:
    """The demo of the README: nothing is set up, everything is on this machine."""
    running = await hub(TRON_BRAIN="offline")
    async with FakeVapi() as vapi:
        call = await vapi.ring(running.base_url, CALLER, SAYS, name="Ada")
    assert len(call.said) == 4
    assert "this is Tony" in call.said[0]
    summary = (await summed_up(running))["summary"]
    assert "Rex" in summary


async def test_a_call_to_a_protected_hub_and_the_next_one(hub: Hubs) -> None:
    home = hub.home(TRON_BRAIN="offline", VAPI_SECRET="s3cret")
    home.settings["TRON_PUBLIC_URL"] = home.base_url
    token = await owned(home)
    await home.start()
    tools = [
        {"id": "t1", "type": "function", "function": {"name": "current_time", "arguments": {}}},
        {"id": "t2", "name": "who_is_calling", "parameters": {}},
    ]
    async with FakeVapi(secret="s3cret") as vapi:
        call = await vapi.ring(home.base_url, CALLER, SAYS, name="Ada", tools=tools, report=False)
        assert call.assistant["credentials"][0]["apiKey"].startswith("tron_")
        assert [result["toolCallId"] for result in call.tool_results] == ["t1", "t2"]
        assert all("result" in result for result in call.tool_results)
        sessions = await get(home, "/api/sessions", token)
        assert CALLER not in [session["caller_id"] for session in sessions], "it ended"
        await vapi.tell(home.base_url, vapi.report(call, CALLER, "Ada"))
        await summed_up(home, token=token)
        again = await vapi.ring(home.base_url, CALLER, ["What is my dog called?"])
    assert again.said[0].startswith("Hello Ada")
    assert "Rex" in again.said[1]


async def test_while_a_call_lasts_it_is_one_session_of_its_caller(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    async with FakeVapi() as vapi:
        call = PhoneCall(id="c-1")
        common = vapi._common(call, CALLER, "")
        await vapi.tell(
            running.base_url, {"type": "status-update", "status": "in-progress"} | common
        )
        for words in ("Hello", "And again"):
            body = {"messages": [{"role": "user", "content": words}], "call": {"id": "c-1"}}
            async with running.http.post("/chat/completions", json=body) as answer:
                assert answer.status == 200
        sessions = await get(running, "/api/sessions")
        assert [session["caller_id"] for session in sessions] == [CALLER]
        await vapi.tell(running.base_url, {"type": "status-update", "status": "ended"} | common)
        assert await get(running, "/api/sessions") == []


async def test_signed_webhooks(hub: Hubs) -> None:
    hmac = Hmac(secret="key", prefix="sha256=")
    running = await hub(TRON_BRAIN="offline", VAPI_HMAC='{"secret": "key", "prefix": "sha256="}')
    async with FakeVapi(hmac=hmac) as vapi:
        assert (await vapi.ring(running.base_url, CALLER, ["Hello"])).said
        raw = b'{"message":{"type":"assistant-request"}}'
        good = vapi.proof(raw)
        assert (await vapi.post(running.base_url, raw, headers=good))[0] == 200
        assert (await vapi.post(running.base_url, raw + b" ", headers=good))[0] == 401
        assert (await vapi.post(running.base_url, raw, headers={}))[0] == 401
        old = vapi.proof(raw, at_ms=1_700_000_000_000)
        status, answer = await vapi.post(running.base_url, raw, headers=old)
        assert (status, answer["error"]["code"]) == (401, "stale_signature")


async def test_two_hubs_on_one_database_told_the_same_report(
    database_url: str, fake: FakeProvider, hub: Hubs
) -> None:
    fake.always = Reply("- I learned that the dog is called Rex.\n- I promised to remember it.")
    settings = {"TRON_DATABASE_URL": database_url, "OPENAI_BASE_URL": fake.base_url}
    hubs = [await hub(**settings), await hub(**settings)]
    async with FakeVapi() as vapi:
        messages = [{"role": "user", "content": "My dog is called Rex."}]
        report = vapi.report(PhoneCall(id="c-1", messages=messages), CALLER, "Ada")
        answers = await asyncio.gather(*(vapi.tell(hubs[n % 2].base_url, report) for n in range(6)))
    assert {status for status, _ in answers} == {200}
    call = await summed_up(hubs[0])
    assert await calls(hubs[1]) == [call]
    assert call["summary"].splitlines()[1] == "- I promised to remember it."
    assert len(fake.requests) == 1, "the model was asked for one summary"


async def test_a_hub_killed_between_report_and_summary(fake: FakeProvider, hub: Hubs) -> None:
    fake.script(Hang())
    running = await hub(OPENAI_BASE_URL=fake.base_url, VAPI_SECRET="s3cret")
    async with FakeVapi(secret="s3cret") as vapi:
        messages = [{"role": "user", "content": "My dog is called Rex."}]
        report = vapi.report(PhoneCall(id="c-1", messages=messages), CALLER, "Ada")
        assert (await vapi.tell(running.base_url, report))[0] == 200
    await eventually(lambda: fake.active == 1, what="the summary being written")
    await running.kill()
    fake.always = Reply("- I learned that the dog is called Rex.\n- I promised to remember it.")
    await running.start()
    call = await summed_up(running)
    assert "Rex" in call["summary"]


async def test_a_hub_told_to_stop_leaves_the_summary_to_the_next(
    fake: FakeProvider, hub: Hubs
) -> None:
    fake.script(Hang())
    running = await hub(OPENAI_BASE_URL=fake.base_url, VAPI_SECRET="s3cret")
    async with FakeVapi(secret="s3cret") as vapi:
        messages = [{"role": "user", "content": "My dog is called Rex."}]
        await vapi.tell(
            running.base_url, vapi.report(PhoneCall(id="c-1", messages=messages), CALLER)
        )
    await eventually(lambda: fake.active == 1)
    assert await running.terminate() == 0
    fake.always = Reply("- I learned that the dog is called Rex.")
    await running.start()
    assert "Rex" in (await summed_up(running))["summary"]
