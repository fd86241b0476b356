"""What each activity really does, leaves behind, and says about it."""

import msgspec
import pytest
from sqlalchemy import insert, select

from integrations.feeds.fake import FakeArticle, FakeFeeds
from tests.unit.life.conftest import MakeLife, Mind, People, at, rss, tony
from tron.clock import ManualClock
from tron.errors import BudgetExhausted, Invalid, NotFound, ProviderRefused
from tron.events import LifeRan
from tron.life.journal import Journal, JournalEntry
from tron.life.life import ACTIVITIES
from tron.memory.knowledge import Knowledge
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process
from tron.storage.store import Store
from tron.storage.tables import HOUSE, delegations, life_runs, sessions

ARTICLES = [
    FakeArticle("Crypto for engineering teams", "https://example.org/crypto"),
    FakeArticle("A quiet day", "https://example.org/quiet"),
    FakeArticle(
        "Engineering with AI at scale",
        "https://example.org/ai",
        summary="<p>How <b>one</b> team did it.</p> And more.",
    ),
    FakeArticle("He said nothing", "https://example.org/said"),
    FakeArticle("Infrastructure as lore", "https://example.org/infra"),
]


async def written(journal: Journal, kind: str, agent: str = "tony") -> list[JournalEntry]:
    return await journal.entries(HOUSE, agent=agent, kinds=(kind,))


async def talk(store: Store, agent: str, updated_at: int) -> None:
    row = insert(sessions).values(
        key=f"s{updated_at}",
        client_id=HOUSE,
        caller="+14155550100",
        channel="api",
        agent=agent,
        process_id="p",
        created_at=updated_at,
        updated_at=updated_at,
    )
    await store.write(lambda conn: conn.execute(row))


# Triggering


async def test_everyone_does_it_and_each_is_told_apart(
    make_life: MakeLife, people: People, store: Store, ran: list[LifeRan]
) -> None:
    people.personas = [tony(), tony(id="maya", name="Maya", goals=("Grow",))]
    results = await make_life().trigger("goals")
    assert results == {
        "Tony": "Set 2 goals: Ship the billing rewrite; Halve the build time.",
        "Maya": "Set 1 goal: Grow.",
    }
    assert {(event.agent, event.status, event.result) for event in ran} == {
        ("tony", "completed", results["Tony"]),
        ("maya", "completed", results["Maya"]),
    }
    async with store.read() as conn:
        rows = (await conn.execute(select(life_runs))).all()
    assert {(row.agent, row.status, row.result) for row in rows} == {
        ("tony", "completed", results["Tony"]),
        ("maya", "completed", results["Maya"]),
    }
    assert all(row.slot.startswith("manual-") for row in rows)


@pytest.mark.parametrize("fault", [ProviderRefused("No.", status=400), ValueError("broken")])
async def test_runs_that_fail_leave_the_personas_talks_alone(
    make_life: MakeLife, mind: Mind, orchestrator: Orchestrator, fault: Exception
) -> None:
    life, mind.says = make_life(), fault
    for _ in range(5):
        [result] = (await life.trigger("journal", "tony")).values()
        assert result.startswith("Failed: ")

    async def talk(_: Process) -> None:
        pass

    assert (await orchestrator.spawn("tony", talk, kind="conversation").wait()).error is None
    mind.says = None
    [result] = (await life.trigger("journal", "tony")).values()
    assert ("rest" in result) == isinstance(fault, ValueError)


async def test_a_run_is_known_by_its_name(make_life: MakeLife, orchestrator: Orchestrator) -> None:
    await make_life().trigger("goals", "tony")
    assert [process.name for process in orchestrator.recent()] == ["tony.goals"]


async def test_unknown_things_are_refused(make_life: MakeLife) -> None:
    life = make_life()
    with pytest.raises(Invalid, match="siesta") as refused:
        await life.trigger("siesta")
    assert refused.value.status == 400
    with pytest.raises(NotFound, match="Bob") as missing:
        await life.trigger("news", "Bob")
    assert missing.value.status == 404


async def test_names_in_any_case_of_letters(make_life: MakeLife) -> None:
    assert set(await make_life().trigger("team_check", "tONY")) == {"Tony"}


async def test_a_failure_is_a_result_and_does_not_touch_the_others(
    make_life: MakeLife, people: People, mind: Mind, journal: Journal, orchestrator: Orchestrator
) -> None:
    people.personas = [tony(), tony(id="maya", name="Maya")]
    await journal.write(HOUSE, "tony", "note", "Fixed the build.")
    mind.says = BudgetExhausted("The budget is used up.")
    results = await make_life().trigger("reflection")
    assert results["Tony"] == "Failed: The budget is used up."
    assert results["Maya"].startswith("Reflected: My journal of the last 24 hours is empty")
    failed = [process for process in orchestrator.recent() if process.status == "failed"]
    assert [(process.agent, process.reason) for process in failed] == [("tony", "life:reflection")]


async def test_a_fault_of_ours_does_not_show_its_insides(
    make_life: MakeLife, mind: Mind, journal: Journal
) -> None:
    await journal.write(HOUSE, "tony", "note", "Fixed the build.")
    mind.says = RuntimeError("password=hunter2")
    (result,) = (await make_life().trigger("reflection")).values()
    assert result == "Failed: something went wrong inside the hub (RuntimeError); see its log."


# News


async def test_news_reads_the_best_three_and_says_which(
    make_life: MakeLife,
    people: People,
    feeds: FakeFeeds,
    journal: Journal,
    knowledge: Knowledge,
) -> None:
    feeds.articles = ARTICLES
    people.personas = [tony(feeds=(rss(feeds), rss(feeds, "/error", "Lobsters")))]
    life = make_life()
    result = (await life.trigger("news", "Tony"))["Tony"]
    assert result == (
        "Read 3 articles: Engineering with AI at scale; Infrastructure as lore; A quiet day. "
        "1 feed unreachable: Lobsters (HTTP 500)."
    )
    articles = {article.title: article for article in await life.articles(HOUSE)}
    best = articles["Engineering with AI at scale"]
    assert (best.agent, best.source, best.score) == ("tony", "Daily", 20)
    assert "engineering and AI" in best.take
    assert "How one team did it." in best.take
    (entry,) = await written(journal, "news")
    assert best.take in entry.text
    assert "Lobsters (HTTP 500)" in entry.text
    (shared,) = await knowledge.query(HOUSE)
    assert (shared.title, shared.author, shared.domain) == (best.title, "tony", "tech")
    assert shared.source["url"] == best.url


async def test_what_was_read_is_not_read_again(
    make_life: MakeLife, people: People, feeds: FakeFeeds
) -> None:
    feeds.articles = ARTICLES
    people.personas = [tony(feeds=(rss(feeds),))]
    life = make_life()
    await life.trigger("news")
    assert (await life.trigger("news"))["Tony"] == "Read 1 article: He said nothing."
    assert (await life.trigger("news"))["Tony"] == (
        "Read nothing new: 5 entries on offer, all read before or avoided."
    )
    assert "https://example.org/crypto" not in {a.url for a in await life.articles(HOUSE)}


async def test_each_persona_has_read_what_it_has_read(
    make_life: MakeLife, people: People, feeds: FakeFeeds
) -> None:
    feeds.articles = ARTICLES[2:3]
    people.personas = [
        tony(feeds=(rss(feeds),)),
        tony(id="maya", name="Maya", focus=("brand",), feeds=(rss(feeds),)),
    ]
    life = make_life()
    results = await life.trigger("news")
    assert set(results.values()) == {"Read 1 article: Engineering with AI at scale."}
    (tonys,) = await life.articles(HOUSE, "tony")
    (mayas,) = await life.articles(HOUSE, "maya")
    assert tonys.take != mayas.take
    assert feeds.asked("/rss") == 1  # one request serves both


async def test_a_points_bonus_counts(make_life: MakeLife, people: People, feeds: FakeFeeds) -> None:
    feeds.articles = [
        FakeArticle(f"Nothing {points}", f"https://example.org/{points}", points=points)
        for points in (10, 51, 101, 301)
    ]
    people.personas = [tony(feeds=(rss(feeds, "/v0", "HN", "hackernews"),))]
    life = make_life()
    await life.trigger("news")
    scores = {article.title: article.score for article in await life.articles(HOUSE)}
    assert scores == {"Nothing 51": 1, "Nothing 101": 3, "Nothing 301": 5}


async def test_only_the_last_hundred_articles_are_kept(
    make_life: MakeLife, people: People, feeds: FakeFeeds, clock: ManualClock
) -> None:
    people.personas = [tony(feeds=(rss(feeds),))]
    life = make_life()
    for batch in range(35):
        feeds.articles = [
            FakeArticle(f"Title {batch}-{n}", f"https://example.org/{batch}/{n}") for n in range(3)
        ]
        clock.advance(601)
        await life.trigger("news")
    kept = await life.articles(HOUSE, limit=200)
    assert len(kept) == 100
    assert kept[0].title.startswith("Title 34-")
    assert all(not article.title.startswith("Title 0-") for article in kept)


async def test_news_without_feeds_or_with_none_reachable_says_so(
    make_life: MakeLife, people: People, feeds: FakeFeeds, journal: Journal
) -> None:
    life = make_life()
    assert (await life.trigger("news"))["Tony"] == "Read nothing: Tony has no feeds."
    people.personas = [tony(feeds=(rss(feeds, "/error"),))]
    result = "Read nothing: the feeds offer nothing. 1 feed unreachable: Daily (HTTP 500)."
    assert (await life.trigger("news"))["Tony"] == result
    assert [entry.text for entry in await written(journal, "news")] == [result]


# Goals


async def delegated(store: Store, task: str, status: str, at_ms: int) -> None:
    row = insert(delegations).values(
        id=f"{abs(hash(task)) % 10**12}",
        client_id=HOUSE,
        session_key="s",
        process_id="p",
        from_agent="tony",
        agent="maya",
        task=task,
        status=status,
        hub="hub-a",
        started_at=at_ms,
        completed_at=at_ms,
    )
    await store.write(lambda conn: conn.execute(row))


async def test_without_evidence_goals_stay_where_they_are(
    make_life: MakeLife, clock: ManualClock, mind: Mind, journal: Journal
) -> None:
    life = make_life()
    await life.trigger("goals")
    clock.advance(60)
    mind.says = '{"goals": [{"id": 1, "progress": 90, "note": "Feels good."}]}'
    assert (await life.trigger("goals"))["Tony"] == (
        "Reviewed 2 goals against nothing since the last review: 0 moved."
    )
    assert [goal.progress for goal in await life.goals(HOUSE, "tony")] == [0, 0]
    assert len(await written(journal, "goals")) == 2


async def test_finished_work_moves_a_goal_by_the_rule(
    make_life: MakeLife, clock: ManualClock, store: Store, journal: Journal
) -> None:
    life = make_life()
    await life.trigger("goals")
    clock.advance(60)
    await delegated(store, "Write the tests of the billing rewrite", "completed", clock.now_ms())
    await delegated(store, "Try the build time in the cloud", "failed", clock.now_ms())
    assert (await life.trigger("goals"))["Tony"] == (
        "Reviewed 2 goals against 1 finished delegation, 1 failed delegation since the last "
        "review: 1 moved."
    )
    billing, build = await life.goals(HOUSE)
    assert (billing.progress, build.progress) == (5, 0)
    assert "Write the tests of the billing rewrite" in billing.note
    assert "Ship the billing rewrite: 0 → 5 %" in (await written(journal, "goals"))[0].text
    clock.advance(60)
    await life.trigger("goals")
    assert (await life.goals(HOUSE))[0].progress == 5  # the same work does not count twice


async def test_what_callers_had_done_is_not_told_of_goals_it_does_not_concern(
    make_life: MakeLife, clock: ManualClock, store: Store, mind: Mind
) -> None:
    life = make_life()
    await life.trigger("goals")
    clock.advance(60)
    await delegated(store, "Write the tests of the billing rewrite", "completed", clock.now_ms())
    await delegated(store, "Find me a divorce lawyer", "completed", clock.now_ms())
    await delegated(store, "Remember that my salary is 100k", "failed", clock.now_ms())
    assert "2 finished delegations, 1 failed delegation" in (await life.trigger("goals"))["Tony"]
    prompt = mind.prompts[-1]
    assert "- [delegation finished] Write the tests of the billing rewrite" in prompt
    assert "lawyer" not in prompt
    assert "salary" not in prompt


async def test_the_model_judges_where_there_is_evidence(
    make_life: MakeLife, clock: ManualClock, mind: Mind, journal: Journal
) -> None:
    life = make_life()
    await life.trigger("goals")
    billing, build = await life.goals(HOUSE)
    clock.advance(60)
    await journal.write(HOUSE, "tony", "note", "Billing went live.")
    verdicts = [
        {"id": billing.id, "progress": 100, "status": "done", "note": "Live."},
        {"id": build.id, "progress": 30, "status": "done", "note": "Not yet."},
        {"id": 999, "progress": 50, "note": "Whose is this?"},
    ]
    mind.says = f"Here:\n```json\n{msgspec.json.encode({'goals': verdicts}).decode()}\n```"
    result = (await life.trigger("goals"))["Tony"]
    assert "against 1 journal entry since the last review: 2 moved" in result
    assert [(goal.progress, goal.status) for goal in await life.goals(HOUSE)] == [
        (100, "done"),
        (30, "active"),  # done, it says, at 30 %
    ]


async def test_an_answer_that_makes_no_sense_changes_nothing(
    make_life: MakeLife, clock: ManualClock, mind: Mind, journal: Journal
) -> None:
    life = make_life()
    await life.trigger("goals")
    for answer in (
        "I did great!",
        '{"goals": [{"id": 1, "progress": 900, "note": "!"}]}',
        "{",
        '{"goals": 1}',
    ):
        clock.advance(60)
        await journal.write(HOUSE, "tony", "note", "Billing went live.")
        mind.says = answer
        result = (await life.trigger("goals"))["Tony"]
        assert result.endswith("The model's answer could not be used, so the plain rule decided.")
        assert [goal.progress for goal in await life.goals(HOUSE)] == [0, 0]


async def test_a_goal_added_to_the_file_is_set(make_life: MakeLife, people: People) -> None:
    life = make_life()
    await life.trigger("goals")
    people.personas = [tony(goals=("Ship the billing rewrite", "Hire Priya"))]
    assert (await life.trigger("goals"))["Tony"].startswith("Set 1 goal: Hire Priya.")
    assert len(await life.goals(HOUSE)) == 3


# Team


async def test_the_team_check_tells_the_real_figures(
    make_life: MakeLife, orchestrator: Orchestrator, journal: Journal, mind: Mind
) -> None:
    async def works(process: Process) -> None:
        process.metrics.input_tokens, process.metrics.output_tokens = 100, 20
        process.metrics.cost_usd = 0.25

    async def unpriced(process: Process) -> None:
        process.metrics.cost_usd = None

    async def fails(_: Process) -> None:
        raise ValueError("no")

    for behaviour, agent in ((works, "maya"), (unpriced, "maya"), (fails, "alex")):
        await orchestrator.spawn(agent, behaviour, restarts=1).wait()
    result = (await make_life().trigger("team_check"))["Tony"]
    told = (
        "0 running, 2 completed, 1 failed, 1 restart, 120 tokens, "
        "0.2500 USD and 1 process of unknown cost"
    )
    assert result == f"Checked the team: {told}."
    (entry,) = await written(journal, "team_check")
    assert told in entry.text
    assert "Failures with alex" in entry.text
    assert told in mind.prompts[0]


async def test_a_team_of_nobody_is_told_as_such(make_life: MakeLife, journal: Journal) -> None:
    result = (await make_life().trigger("team_check"))["Tony"]
    assert result.startswith("Checked the team: Nobody else is at work")
    assert len(await written(journal, "team_check")) == 1


# Looking back


async def test_a_reflection_is_about_the_last_day_of_this_persona(
    make_life: MakeLife, journal: Journal, clock: ManualClock, mind: Mind
) -> None:
    await journal.write(HOUSE, "tony", "note", "An old worry.")
    clock.advance(25 * 3600)
    await journal.write(HOUSE, "maya", "note", "Somebody else's.")
    await journal.write(HOUSE, "tony", "note", "Fixed the build.")
    await journal.write(HOUSE, "tony", "team_check", "All well.")
    result = (await make_life().trigger("reflection", "tony"))["Tony"]
    assert (
        result
        == (
            "Reflected on 2 journal entries: The last 24 hours left 2 entries in my journal, "
            "most of it checking on the team (1) and notes (1)."
        )
        or "notes (1) and checking on the team (1)" in result
    )
    (prompt,) = mind.prompts
    assert "Fixed the build." in prompt
    assert "An old worry." not in prompt
    assert "Somebody else's." not in prompt
    (entry,) = await written(journal, "reflection")
    assert "I read nothing new about engineering" in entry.text


@pytest.mark.parametrize("activity", ["goals", "reflection", "journal", "post"])
async def test_what_callers_left_for_a_persona_is_not_told_to_the_public(
    make_life: MakeLife, journal: Journal, clock: ManualClock, mind: Mind, activity: str
) -> None:
    life = make_life()
    await life.trigger("goals")
    clock.advance(60)
    await journal.write(HOUSE, "tony", "message", "From Ada: my diagnosis is flu.")
    mind.prompts.clear()
    said = (await life.trigger(activity))["Tony"]
    assert "diagnosis" not in str(mind.prompts)
    assert "Reviewed" not in said or "against nothing since" in said
    clock.advance(60)
    for _ in range(100):  # and it does not crowd out what the persona did
        await journal.write(HOUSE, "tony", "message", "Call me.")
    await life.trigger("reflection")
    told = [entry.text for entry in await written(journal, "reflection")]
    assert "goals" in told[0]
    assert "message" not in str([*told, *(post.text for post in await life.feed(HOUSE, 9))])


async def test_work_at_night_is_noticed_in_the_personas_own_night(
    make_life: MakeLife, journal: Journal, clock: ManualClock, people: People
) -> None:
    people.personas = [tony(timezone="Asia/Tokyo")]
    clock.advance((at("2026-11-21T23:30", "Asia/Tokyo") - clock.now_ms()) / 1000)
    for _ in range(3):
        await journal.write(HOUSE, "tony", "note", "Still here.")
    await make_life().trigger("reflection")
    assert "3 entries date from the night" in (await written(journal, "reflection"))[0].text


async def test_the_journal_tells_the_local_day_as_it_was(
    make_life: MakeLife,
    journal: Journal,
    clock: ManualClock,
    people: People,
    feeds: FakeFeeds,
    store: Store,
) -> None:
    people.personas = [tony(timezone="Asia/Tokyo", feeds=(rss(feeds),))]
    feeds.articles = ARTICLES[2:3]
    clock.advance((at("2026-11-20T23:00", "Asia/Tokyo") - clock.now_ms()) / 1000)
    await talk(store, "tony", clock.now_ms())  # yesterday in Tokyo
    clock.advance(2 * 3600)
    await talk(store, "tony", clock.now_ms())
    await talk(store, "maya", clock.now_ms() + 1)
    life = make_life()
    await life.trigger("news")
    await life.trigger("post")
    result = (await life.trigger("journal"))["Tony"]
    (entry,) = await written(journal, "journal")
    assert entry.text.startswith("Saturday, 21 November 2026. I had 1 conversation. ")
    assert "I read 1 article: “Engineering with AI at scale”." in entry.text
    assert "I posted 1 time" in entry.text
    assert result.startswith("Wrote the day down: Saturday, 21 November 2026.")


async def test_a_quiet_day_is_told_as_one(make_life: MakeLife, journal: Journal) -> None:
    await make_life().trigger("journal")
    (entry,) = await written(journal, "journal")
    assert entry.text == "Friday, 20 November 2026. A quiet day: nothing to tell."


async def test_words_no_database_takes_are_no_trouble(
    make_life: MakeLife, mind: Mind, people: People, feeds: FakeFeeds
) -> None:
    feeds.articles = ARTICLES
    people.personas = [tony(feeds=(rss(feeds),))]
    life = make_life()
    await life.trigger("goals")
    mind.says = "nul\x00 and half\ud800"
    for activity in ACTIVITIES:
        (result,) = (await life.trigger(activity)).values()
        assert not result.startswith("Failed"), (activity, result)
