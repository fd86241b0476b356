"""What one persona shares, the others find; the feed fits a prompt."""

import re

import pytest

from tron.clock import ManualClock
from tron.errors import Invalid
from tron.memory.knowledge import Knowledge, KnowledgeEntry
from tron.storage.store import Store
from tron.storage.tables import HOUSE

DAY_S = 86_400


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def knowledge(store: Store, clock: ManualClock) -> Knowledge:
    return Knowledge(store, clock)


async def share(
    knowledge: Knowledge,
    title: str,
    content: str = "…",
    *,
    domain: str = "general",
    type: str = "insight",
    author: str = "maya",
    tags: tuple[str, ...] = (),
) -> KnowledgeEntry:
    return await knowledge.share(
        HOUSE, author=author, type=type, title=title, content=content, domain=domain, tags=tags
    )


async def titles(knowledge: Knowledge, **filters: object) -> list[str]:
    return [entry.title for entry in await knowledge.query(HOUSE, **filters)]  # type: ignore[arg-type]


async def test_a_shared_entry_comes_back_whole(knowledge: Knowledge, clock: ManualClock) -> None:
    shared = await knowledge.share(
        HOUSE,
        author="riley",
        type="discovery",
        title="Users skip the tour",
        content="Four of five interviews.",
        domain="product",
        tags=["UX", "onboarding"],
        source={"process_id": "1a2b3c4d"},
    )
    assert re.fullmatch(r"[0-9a-f]{8}", shared.id)
    assert await knowledge.query(HOUSE, text="why do users skip the tour?") == [shared]
    assert shared.created_at == clock.now_ms()
    assert shared.tags == ["ux", "onboarding"]
    assert await knowledge.query("acme", text="tour") == []


async def test_filters_narrow_together(knowledge: Knowledge, clock: ManualClock) -> None:
    await share(knowledge, "Postgres is fast", domain="tech", author="tony", tags=("db",))
    clock.advance(1)
    await share(knowledge, "Ads are dear", domain="marketing", tags=("spend", "q3"))
    clock.advance(1)
    await share(knowledge, "Ads in tech", domain="tech", type="decision", tags=("spend%",))
    assert await titles(knowledge) == ["Ads in tech", "Ads are dear", "Postgres is fast"]
    assert await titles(knowledge, limit=1) == ["Ads in tech"]
    assert await titles(knowledge, domain="tech") == ["Ads in tech", "Postgres is fast"]
    assert await titles(knowledge, domain="tech", author="maya") == ["Ads in tech"]
    assert await titles(knowledge, type="decision") == ["Ads in tech"]
    assert await titles(knowledge, tags=["DB", "q3"]) == ["Ads are dear", "Postgres is fast"]
    assert await titles(knowledge, tags=["%"]) == []
    assert await titles(knowledge, text="ads", domain="marketing") == ["Ads are dear"]
    assert await titles(knowledge, text="zebra") == []


async def test_unknown_types_and_domains_are_refused(knowledge: Knowledge) -> None:
    with pytest.raises(Invalid):
        await share(knowledge, "x", type="rumour")
    with pytest.raises(Invalid):
        await share(knowledge, "x", domain="astrology")


async def test_the_feed_is_the_last_day_three_a_domain(
    knowledge: Knowledge, clock: ManualClock
) -> None:
    await share(knowledge, "yesterday's", domain="ops")
    clock.advance(DAY_S + 1)
    for number in range(5):
        await share(knowledge, f"tech {number}", domain="tech")
        clock.advance(1)
    await share(knowledge, "money", domain="finance")
    feed = [entry.title for entry in await knowledge.feed(HOUSE)]
    assert feed == ["money", "tech 4", "tech 3", "tech 2"]
    assert await knowledge.feed("acme") == []


async def test_the_feed_stays_near_500_tokens(knowledge: Knowledge) -> None:
    for domain in ("tech", "marketing", "finance", "ops", "product"):
        for number in range(3):
            await share(knowledge, f"{domain} {number}", "long " * 1_000, domain=domain)
    feed = await knowledge.feed(HOUSE)
    size = sum(len(entry.title) + len(entry.content) for entry in feed)
    assert 1_500 < size <= 2_000
    assert feed[0].content.endswith("…")


async def test_entries_go_after_thirty_days(knowledge: Knowledge, clock: ManualClock) -> None:
    await share(knowledge, "old news")
    clock.advance(29 * DAY_S)
    await share(knowledge, "fresh news")
    assert await knowledge.prune() == 0
    clock.advance(2 * DAY_S)
    assert await knowledge.prune() == 1
    assert await titles(knowledge, text="news") == ["fresh news"]
