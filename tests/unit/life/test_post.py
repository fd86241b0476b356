"""Posts keep to the rules, are never lost, and say where they could not go."""

import asyncio
import threading
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from integrations.feeds.fake import FakeArticle, FakeFeeds
from integrations.social.fake import FakeSocial
from tests.unit.life.conftest import SOCIAL_KEY, MakeLife, Mind, People, rss, tony
from tron.clock import ManualClock
from tron.errors import BudgetExhausted
from tron.life.articles import keep_article
from tron.life.journal import Journal
from tron.life.life import Life
from tron.life.post import fitted, slack_line
from tron.life.posts import Delivery, Post, publish
from tron.storage.store import Store
from tron.storage.tables import HOUSE

AI = FakeArticle("Engineering with AI at scale", "https://example.org/ai")
INFRA = FakeArticle("Infrastructure as lore", "https://example.org/infra")


@pytest.fixture
def read(people: People, feeds: FakeFeeds) -> FakeFeeds:
    """Tony's feed."""
    people.personas = [tony(feeds=(rss(feeds),), goals=())]
    return feeds


async def posted(life: Life) -> list[str]:
    return [post.text for post in await life.feed(HOUSE, 50)]


async def test_a_post_is_about_what_was_read(
    make_life: MakeLife, read: FakeFeeds, journal: Journal
) -> None:
    read.articles = [AI]
    life = make_life()
    await life.trigger("news")
    result = (await life.trigger("post"))["Tony"]
    (post,) = await life.feed(HOUSE, 10)
    assert result == f"Posted: {post.text}"
    assert post.text.startswith("Reading “Engineering with AI at scale” (Daily).")
    assert post.text.endswith("#Engineering #AI")
    assert (post.agent, post.article_url, post.delivered) == ("tony", AI.url, [])
    assert [e.text for e in await journal.entries(HOUSE, kinds=("post",))] == [post.text]


async def test_no_article_is_posted_twice(make_life: MakeLife, read: FakeFeeds) -> None:
    read.articles = [INFRA, AI]
    life = make_life()
    await life.trigger("news")
    for title in (AI.title, INFRA.title):  # the better one first
        assert (await life.trigger("post"))["Tony"].startswith(f"Posted: Reading “{title}”")
    assert (await life.trigger("post"))["Tony"] == (
        "Not posted: nothing new was read, reflected on or aimed at since the last post."
    )
    assert {post.article_url for post in await life.feed(HOUSE, 10)} == {AI.url, INFRA.url}


@pytest.fixture
def crowd(mind: Mind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four who all have chosen what to post about before any of them has words for it."""
    ready, think, numbers = asyncio.Barrier(4), mind.think, count()

    async def together(*args: Any, **more: Any) -> str:
        await ready.wait()
        words = await think(*args, **more)
        return f"{words} {next(numbers)}" if mind.says else words

    monkeypatch.setattr(mind, "think", together)


@pytest.mark.parametrize("says", [None, "Number"], ids=["the same words", "other words"])
@pytest.mark.parametrize("about", ["an article", "a reflection", "a goal"])
@pytest.mark.usefixtures("crowd")
async def test_four_side_by_side_are_one_post(
    make_life: MakeLife,
    journal: Journal,
    mind: Mind,
    store: Store,
    about: str,
    says: str | None,
) -> None:
    mind.says = says
    if about == "a reflection":
        await journal.write(HOUSE, "tony", "reflection", "I read too much.")
    elif about == "an article":
        await keep_article(
            store,
            HOUSE,
            agent="tony",
            url=AI.url,
            title=AI.title,
            source="Daily",
            score=1.0,
            take="Do it.",
            read_at=0,
        )
    life = make_life()
    results = await asyncio.gather(*(life.trigger("post") for _ in range(4)))
    said = sorted(result["Tony"] for result in results)
    assert [one.split(":")[0] for one in said] == ["Not posted"] * 3 + ["Posted"]
    (text,) = await posted(life)
    assert said[-1] == f"Posted: {text}"
    assert [entry.text for entry in await journal.entries(HOUSE, kinds=("post",))] == [text]


async def test_hubs_look_and_publish_one_after_the_other(store: Store, database_url: str) -> None:
    both = threading.Barrier(2)

    def unless(posts: list[Post]) -> str:
        with suppress(threading.BrokenBarrierError):  # the other can't be in here as well
            both.wait(0.3)
        return "Somebody was faster." if posts else ""

    other = await Store.open(database_url)
    try:
        came = await asyncio.gather(
            *(
                publish(each, HOUSE, "tony", "Hello.", None, 0, unless=unless)
                for each in (store, other)
            )
        )
    finally:
        await other.close()
    assert sorted(map(str, came)) == ["1", "Somebody was faster."]


async def test_without_articles_a_reflection_then_a_goal(
    make_life: MakeLife, people: People, journal: Journal, clock: ManualClock
) -> None:
    life = make_life()
    await journal.write(HOUSE, "tony", "reflection", "I read too much and build too little.")
    assert (await life.trigger("post"))["Tony"] == (
        "Posted: Looking back: I read too much and build too little."
    )
    clock.advance(25 * 3600)
    assert (await life.trigger("post"))["Tony"] == "Posted: One of my goals: Halve the build time"


async def test_a_newcomer_has_its_goals_to_tell(make_life: MakeLife) -> None:
    assert (await make_life().trigger("post"))["Tony"] == (
        "Posted: One of my goals: Ship the billing rewrite"
    )


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ("One #a #b #c #d #e.", "One #a #b #c d e."),
        ('"Quoted."', "Quoted."),
        ("Two\nlines", "Two lines"),
        ("word " * 100, "word " * 57 + "…"),
    ],
)
def test_the_rules_of_the_platform(said: str, fits: str) -> None:
    assert fitted(said).replace(" …", "…") == fits.replace(" …", "…")
    assert len(fitted(said)) <= 288


async def test_a_long_post_is_cut(make_life: MakeLife, mind: Mind) -> None:
    mind.says = "long words " * 60
    life = make_life()
    await life.trigger("post")
    (text,) = await posted(life)
    assert len(text) <= 288
    assert text.endswith("…")


async def test_a_blocked_word_is_not_published(
    make_life: MakeLife, mind: Mind, social: FakeSocial, journal: Journal
) -> None:
    life = make_life(social_api_url=social.api_url, social_api_key=SOCIAL_KEY)
    for words in ("Our REVENUE doubled", "Ask for the API key", "Hi client!"):
        mind.says = words
        result = (await life.trigger("post"))["Tony"]
        assert result.startswith("Not posted: the text has blocked words (")
    assert await posted(life) == []
    assert social.posts == []
    assert await journal.entries(HOUSE) == []


async def test_blocked_words_are_whole_words(make_life: MakeLife, mind: Mind) -> None:
    mind.says = "Internally, tokenization helps secretaries."
    life = make_life()
    assert (await life.trigger("post"))["Tony"].startswith("Posted:")


async def test_an_article_with_a_blocked_word_gives_way_to_the_next(
    make_life: MakeLife, read: FakeFeeds, clock: ManualClock
) -> None:
    read.articles = [FakeArticle("AI revenue of engineering", "https://example.org/r")]
    life = make_life()
    await life.trigger("news")
    assert (await life.trigger("post"))["Tony"] == (
        "Not posted: what there is to say has blocked words (revenue)."
    )
    read.articles.append(INFRA)
    clock.advance(601)
    await life.trigger("news")
    assert (await life.trigger("post"))["Tony"].startswith("Posted: Reading “Infrastructure")


async def test_due_posts_keep_ten_minutes_apart_and_asked_ones_need_not(
    make_life: MakeLife, people: People, clock: ManualClock, journal: Journal
) -> None:
    people.personas = [tony(life={"post": ("10:05", "10:12")})]
    life = make_life()
    await life.trigger("post")
    clock.advance(300)
    await journal.write(HOUSE, "tony", "reflection", "Something new.")
    status, result = await life._as_process(people.personas[0], "post", manual=False)
    assert (status, result) == (
        "completed",
        "Not posted: the last post was 5 min ago; 10 min must lie between two.",
    )
    assert (await life.trigger("post"))["Tony"] == "Posted: Looking back: Something new."
    clock.advance(601)
    await journal.write(HOUSE, "tony", "reflection", "Something newer.")
    _, result = await life._as_process(people.personas[0], "post", manual=False)
    assert result == "Posted: Looking back: Something newer."


async def test_a_post_goes_wherever_it_is_set_to_go(
    make_life: MakeLife, social: FakeSocial, mind: Mind
) -> None:
    mind.says = "Simple <b>wins</b> & lasts."
    life = make_life(
        social_api_url=social.api_url,
        social_api_key=SOCIAL_KEY,
        life_slack_webhook=social.slack_webhook,
    )
    assert (await life.trigger("post"))["Tony"] == f"Posted: {mind.says}"
    assert social.posts == [mind.says]
    assert social.slack == [":wrench: *Tony*: Simple &lt;b&gt;wins&lt;/b&gt; &amp; lasts."]
    (post,) = await life.feed(HOUSE, 10)
    assert post.delivered == [Delivery(to="social", ok=True), Delivery(to="slack", ok=True)]


async def test_a_place_that_fails_is_named_and_the_post_stands(
    make_life: MakeLife, social: FakeSocial
) -> None:
    life = make_life(
        social_api_url=social.api_url,
        social_api_key="wrong",
        life_slack_webhook=social.slack_webhook,
    )
    result = (await life.trigger("post"))["Tony"]
    assert result == (
        "Posted: One of my goals: Ship the billing rewrite (not everywhere; social: HTTP 401)"
    )
    (post,) = await life.feed(HOUSE, 10)
    assert post.delivered == [
        Delivery(to="social", ok=False, error="HTTP 401"),
        Delivery(to="slack", ok=True),
    ]


async def test_a_webhook_that_is_down_keeps_its_secret(make_life: MakeLife) -> None:
    life = make_life(life_slack_webhook="http://127.0.0.1:1/services/T0/B0/sesame")
    result = (await life.trigger("post"))["Tony"]
    assert result.endswith("(in the local feed only; slack: can't connect)")
    assert len(await posted(life)) == 1


async def test_a_place_that_is_down_does_not_lose_the_post(
    make_life: MakeLife, social: FakeSocial
) -> None:
    social.down = 503
    life = make_life(social_api_url=social.api_url, life_slack_webhook=social.slack_webhook)
    result = (await life.trigger("post"))["Tony"]
    assert result.endswith("(in the local feed only; social: HTTP 503; slack: HTTP 503)")
    assert await posted(life) == ["One of my goals: Ship the billing rewrite"]


async def test_a_mind_that_fails_posts_nothing(make_life: MakeLife, mind: Mind) -> None:
    mind.says = BudgetExhausted("The budget is used up.")
    life = make_life()
    assert (await life.trigger("post"))["Tony"] == "Failed: The budget is used up."
    assert await posted(life) == []


def test_the_line_in_slack() -> None:
    assert slack_line("🔧", "Tony", "a<b") == "🔧 *Tony*: a&lt;b"
    assert slack_line(":wrench:", "Tony", "x") == ":wrench: *Tony*: x"
    assert slack_line("", "Tony", "x") == "*Tony*: x"
