"""The harness with a real hub: what every other scenario and chaos test rests on."""

import pytest

from integrations.openai.behaviours import Reply
from integrations.openai.fake import FakeProvider
from tests.harness.hub import Hubs
from tests.harness.sse import read_sse, text_of

HELLO = {
    "model": "tony",
    "stream": True,
    "messages": [{"role": "user", "content": "Good morning, Tony."}],
}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_hub_answers_dies_and_comes_back(
    hub: Hubs, fake: FakeProvider, database: str, request: pytest.FixtureRequest
) -> None:
    settings = {"OPENAI_BASE_URL": fake.base_url, "OPENAI_API_KEY": "sk-test"}
    if database == "postgresql":
        settings["TRON_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    running = hub.home(**settings)
    await running.start()  # in an empty home
    first = running.pid
    fake.script(Reply("Morning. What broke?"), Reply("Still here."))

    async def said() -> str:
        async with running.http.post("/v1/chat/completions", json=HELLO) as answer:
            assert answer.status == 200
            return text_of([event async for event in read_sse(answer.content.iter_any())])

    assert await said() == "Morning. What broke?"
    await running.kill()
    assert not running.running
    await running.restart()
    assert running.pid != first
    assert await said() == "Still here."
    assert await running.terminate() == 0


async def test_an_unallowed_error_in_the_log_is_noticed(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    assert running.faults() == []
    with running.log_path.open("a") as log:
        log.write('{"level": "error", "event": "made.up"}\n')
    assert len(running.faults()) == 1
    running.allow("made.up")
    assert running.faults() == []


async def test_a_hub_that_cannot_start_shows_why(hub: Hubs) -> None:
    with pytest.raises(AssertionError, match="TRON_BRAIN"):
        await hub(TRON_BRAIN="nonsense")
