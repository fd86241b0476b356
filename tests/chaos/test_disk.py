"""The disk is full: nothing is accepted that can't be kept, and it goes on once there is room."""

import resource
from typing import Any

from integrations.openai.behaviours import Reply
from integrations.openai.fake import FakeProvider
from tests.harness.hub import Hubs

UNLIMITED = resource.RLIM_INFINITY


async def test_a_full_disk_refuses_plainly_and_recovers(hub: Hubs, fake: FakeProvider) -> None:
    running = await hub(
        TRON_BRAIN="openai", OPENAI_BASE_URL=fake.base_url, TRON_CONTEXT_TOKENS="1000000"
    )
    running.allow("store", "SQLITE", "unwritten", "unsaved")

    def said(text: str) -> dict[str, Any]:
        return {"user": "ann", "messages": [{"role": "user", "content": text}]}

    fake.script(Reply("One."))
    async with running.http.post("/v1/chat/completions", json=said("x" * 100_000)) as answer:
        assert answer.status == 200, await answer.text()

    # The kernel lets no file of this process grow beyond what the log already needs.
    room = max(path.stat().st_size for path in (running.home / "data").iterdir())
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (room, UNLIMITED))
    before = len(fake.requests)
    async with running.http.post("/v1/chat/completions", json=said("y" * 900_000)) as answer:
        assert answer.status == 503, await answer.text()
        assert (await answer.json())["error"]["type"] == "storage_unavailable"
        assert answer.headers["Retry-After"]
    assert len(fake.requests) == before  # what can't be stored is not asked

    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
    fake.script(Reply("Two."))
    async with running.http.post("/v1/chat/completions", json=said("once more")) as answer:
        assert answer.status == 200, await answer.text()
        assert (await answer.json())["choices"][0]["message"]["content"] == "Two."
    async with running.http.get("/api/sessions") as answer:
        [session] = await answer.json()
    assert session["message_count"] == 4
