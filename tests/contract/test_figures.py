"""What the hub counts of itself moves when it happens, and only then."""

from integrations.openai.behaviours import Status
from integrations.openai.fake import FakeProvider
from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import eventually

CHAT = "/v1/chat/completions"


async def metrics(running: RunningHub) -> str:
    async with running.http.get("/metrics") as answer:
        return await answer.text()


async def test_a_tool_that_was_used_is_counted(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    used = 'tron_tool_calls_total{outcome="ok",tool="current_time"} 1.0'
    assert used not in await metrics(running)
    asked = {"stream": True, "messages": [{"role": "user", "content": "what time is it?"}]}
    async with running.http.post(CHAT, json=asked) as answer:
        assert "[DONE]" in await answer.text()
    assert used in await metrics(running)
    assert "tron_sse_streams_open 0.0" in await metrics(running)


async def test_a_failed_turn_is_in_the_history(hub: Hubs, fake: FakeProvider) -> None:
    running = await hub(TRON_BRAIN="openai", OPENAI_BASE_URL=fake.base_url, TRON_PROVIDER_RETRIES=0)
    fake.script(Status(500))
    asked = {"stream": True, "messages": [{"role": "user", "content": "go on"}]}
    async with running.http.post(CHAT, json=asked) as answer:
        assert answer.status == 502

    async def told() -> bool:
        async with running.http.get("/api/history") as answer:
            entries = (await answer.json())["entries"]
        return [e["error"] for e in entries if e["type"] == "error"] == ["provider_unavailable"]

    await eventually(told, what="the failure is in the history")
