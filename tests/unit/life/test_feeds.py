"""Feeds are read politely, and what is wrong with one is said plainly."""

from collections.abc import AsyncIterator

import pytest

from integrations.feeds.fake import FakeArticle, FakeFeeds
from tests.harness.waiting import PATIENCE_S
from tests.unit.life.conftest import rss
from tron.agents.persona import Feed
from tron.clock import ManualClock
from tron.life.feeds import HN_ITEM_PAGE, Feeds
from tron.life.outside import Outside
from tron.storage.store import Store

ONE = FakeArticle("Fish & chips <b>now</b>", "https://example.org/1?a=1&b=2", "<p>Good</p> food")


@pytest.fixture
async def reader(store: Store, clock: ManualClock) -> AsyncIterator[Feeds]:
    outside = Outside(timeout_s=PATIENCE_S)
    feeds = Feeds(clock, store, outside)
    yield feeds
    await feeds.close()
    await outside.close()


@pytest.fixture
async def impatient(store: Store, clock: ManualClock) -> AsyncIterator[Feeds]:
    """Another reader on the same store, that waits for nobody."""
    outside = Outside(timeout_s=0.3)
    feeds = Feeds(clock, store, outside)
    yield feeds
    await feeds.close()
    await outside.close()


async def test_entries_come_as_plain_text(reader: Feeds, feeds: FakeFeeds) -> None:
    feeds.articles = [ONE]
    for path in ("/rss", "/atom"):
        reading = await reader.read(rss(feeds, path))
        assert reading.error is None
        (entry,) = reading.entries
        assert (entry.url, entry.title) == (ONE.url, "Fish & chips now")
        assert (entry.summary, entry.points) == ("Good food", None)


async def test_hacker_news_has_points_and_pages_of_its_own(reader: Feeds, feeds: FakeFeeds) -> None:
    feeds.articles = [FakeArticle("Ask HN: why?", "", points=7), ONE]
    reading = await reader.read(rss(feeds, "/v0", "HN", "hackernews"))
    assert [(entry.url, entry.points) for entry in reading.entries] == [
        (f"{HN_ITEM_PAGE}1", 7),
        (ONE.url, 1),
    ]
    best = await reader.read(rss(feeds, "/v0/beststories.json", "HN", "hackernews"))
    assert len(best.entries) == 2


async def test_the_limit_of_a_feed_holds(reader: Feeds, feeds: FakeFeeds) -> None:
    feeds.articles = [FakeArticle(f"T{n}", f"https://example.org/{n}") for n in range(9)]
    feed = Feed(name="Few", url=feeds.url("/rss"), limit=2)
    assert [entry.title for entry in (await reader.read(feed)).entries] == ["T0", "T1"]
    hacker_news = Feed(name="HN", url=feeds.url("/v0/"), kind="hackernews", limit=3)
    assert len((await reader.read(hacker_news)).entries) == 3
    assert sum(path.startswith("/v0/item/") for path in feeds.requests) == 3


async def test_a_page_is_asked_once_in_ten_minutes_and_only_for_news(
    reader: Feeds, feeds: FakeFeeds, clock: ManualClock
) -> None:
    feeds.articles = [ONE]
    for _ in range(3):
        await reader.read(rss(feeds))
        clock.advance(190)
    assert feeds.asked("/rss") == 1
    clock.advance(600)
    again = await reader.read(rss(feeds))
    assert feeds.asked("/rss") == 2
    assert feeds.unchanged == 1
    assert [entry.url for entry in again.entries] == [ONE.url]
    feeds.articles = [FakeArticle("New", "https://example.org/2")]
    clock.advance(601)
    assert [entry.title for entry in (await reader.read(rss(feeds))).entries] == ["New"]


async def test_what_is_wrong_is_said(reader: Feeds, feeds: FakeFeeds) -> None:
    for path, reason in {
        "/error": "HTTP 500",
        "/missing": "HTTP 404",
        "/broken": "not readable as a feed",
        "/page": "not readable as a feed",
        "/huge": "larger than 2 MB",
    }.items():
        reading = await reader.read(rss(feeds, path))
        assert (reading.feed, reading.entries, reading.error) == ("Daily", [], reason)


async def test_a_slow_feed_is_not_waited_for(impatient: Feeds, feeds: FakeFeeds) -> None:
    feeds.delay_s = 3600
    assert (await impatient.read(rss(feeds))).error == "no answer within 0.3 s"


async def test_nobody_there(reader: Feeds) -> None:
    feed = Feed(name="Gone", url="http://127.0.0.1:1/rss")
    assert (await reader.read(feed)).error == "can't connect"


async def test_hacker_news_that_is_none(reader: Feeds, feeds: FakeFeeds) -> None:
    feed = rss(feeds, "/rss/topstories.json", "HN", "hackernews")
    assert (await reader.read(feed)).error == "HTTP 404"


async def test_half_a_feed_is_better_than_none(reader: Feeds, feeds: FakeFeeds) -> None:
    feeds.articles = [FakeArticle(f"T{n}", f"https://example.org/{n}") for n in range(3)]
    reading = await reader.read(rss(feeds, "/cut-off"))
    assert reading.error is None
    assert [entry.title for entry in reading.entries][:2] == ["T0", "T1"]


async def test_an_empty_feed_is_no_fault(reader: Feeds, feeds: FakeFeeds) -> None:
    reading = await reader.read(rss(feeds))
    assert (reading.entries, reading.error) == ([], None)


async def test_what_it_said_last_time_is_kept_while_it_is_away(
    reader: Feeds, impatient: Feeds, feeds: FakeFeeds, clock: ManualClock
) -> None:
    feeds.articles = [ONE]
    await reader.read(rss(feeds))
    clock.advance(601)
    feeds.delay_s = 3600
    away = await impatient.read(rss(feeds))
    assert [entry.url for entry in away.entries] == [ONE.url]
    assert away.error == "no answer within 0.3 s"
    feeds.delay_s = 0.0
    assert (await reader.read(rss(feeds))).error is not None  # not asked again so soon
    clock.advance(601)
    assert (await reader.read(rss(feeds))).error is None


async def test_addresses_that_are_none_are_left_out(reader: Feeds, feeds: FakeFeeds) -> None:
    feeds.articles = [
        FakeArticle("Script", "javascript:alert(1)"),
        FakeArticle("Long", "https://example.org/" + "x" * 1100),
        ONE,
    ]
    assert [
        entry.url for entry in (await reader.read(rss(feeds, "/v0", "HN", "hackernews"))).entries
    ] == [ONE.url]
