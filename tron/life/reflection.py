"""The activities `reflection` and `journal`: looking back, on a day's work and on the day.

A reflection reads the persona's own journal of the last 24 hours. The journal activity sums up
its local day in the first person from what really happened: entries, articles, posts, and the
conversations it had.
"""

from collections import Counter

from sqlalchemy import func, select

from tron.clock import DAY_MS
from tron.life.articles import read_articles
from tron.life.journal import OWN, JournalEntry
from tron.life.posts import read_posts
from tron.life.slots import local, midnight_ms
from tron.life.wording import counted, cut, first_sentence, lines, listed, plain
from tron.life.work import QUOTED, Work
from tron.storage.tables import sessions

MUCH_READING = 5
LATE_ENTRIES = 2
NAMES = {
    "news": "reading",
    "goals": "goals",
    "team_check": "checking on the team",
    "post": "posting",
    "journal": "summing up the day",
    "note": "notes",
}


async def reflection(work: Work) -> str:
    """Run the activity `reflection`."""
    since = work.clock.now_ms() - DAY_MS
    entries = await _own_entries(work, since, but="reflection")
    reads = await read_articles(work.store, work.client_id, agent=work.persona.id, since_ms=since)
    if not entries:
        result = "My journal of the last 24 hours is empty: there is nothing to reflect on yet."
        await work.note("reflection", result)
        return f"Reflected: {result}"
    hours = [local(entry.created_at, work.persona.timezone).hour for entry in entries]
    late = sum(1 for hour in hours if hour >= 22 or hour < 6)
    offline = looked_back(work, Counter(entry.kind for entry in entries), len(reads), late)
    said = "\n".join(f"- [{entry.kind}] {cut(plain(entry.text), 300)}" for entry in entries[:20])
    prompt = (
        "Reflect on your last 24 hours, in the first person and in your own voice: what went "
        "well, what did not, what you will do differently. Three to five sentences. Use only "
        f"your own journal, below. Articles read: {len(reads)}. Entries written between 22:00 "
        f"and 06:00: {late}.\n\n{QUOTED}\n{said}"
    )
    words = cut(lines(await work.think(prompt, offline=offline, max_tokens=300)), 2000)
    await work.note("reflection", words)
    return (
        f"Reflected on {counted(len(entries), 'journal entry', 'journal entries')}: "
        f"{first_sentence(plain(words))}"
    )


def looked_back(work: Work, kinds: Counter[str], reads: int, late: int) -> str:
    """A reflection by thresholds alone."""
    total = sum(kinds.values())
    spent = listed(f"{NAMES.get(kind, kind)} ({n})" for kind, n in kinds.most_common(3))
    said = [
        f"The last 24 hours left {counted(total, 'entry', 'entries')} in my journal, "
        f"most of it {spent}."
    ]
    if reads > MUCH_READING:
        said.append(f"I read {reads} articles: enough input, time to act on one of them.")
    elif reads == 0:
        said.append(f"I read nothing new about {work.persona.focus[0]}; that should change.")
    else:
        said.append(f"I read {counted(reads, 'article')}, a sound amount.")
    if not kinds["team_check"]:
        said.append("I did not look in on the team.")
    if late > LATE_ENTRIES:
        said.append(f"{late} entries date from the night: I should plan the day better.")
    return " ".join(said)


async def day_summary(work: Work) -> str:
    """Run the activity `journal`."""
    persona, now = work.persona, work.clock.now_ms()
    since = midnight_ms(persona.timezone, now)
    entries = await _own_entries(work, since, but="journal")
    reads = await read_articles(work.store, work.client_id, agent=persona.id, since_ms=since)
    posts = await read_posts(work.store, work.client_id, agent=persona.id, since_ms=since)
    talks = await _conversations(work, since)
    day = local(now, persona.timezone).strftime("%A, %d %B %Y")
    facts = [f"I had {counted(talks, 'conversation')}."] if talks else ["Nobody talked to me."]
    if reads:
        titles = listed(f"“{cut(article.title, 80)}”" for article in reads[:3])
        facts.append(f"I read {counted(len(reads), 'article')}: {titles}.")
    if posts:
        facts.append(f"I posted {counted(len(posts), 'time')}, last: “{cut(posts[0].text, 120)}”.")
    for kind in ("goals", "team_check", "reflection"):
        if latest := next((entry for entry in entries if entry.kind == kind), None):
            facts.append(first_sentence(plain(latest.text)))
    offline = f"{day}. " + (
        " ".join(facts) if entries or talks else "A quiet day: nothing to tell."
    )
    said = "\n".join(f"- [{entry.kind}] {cut(plain(entry.text), 300)}" for entry in entries[:20])
    prompt = (
        f"Write today's entry ({day}) in your journal: a short paragraph in the first person and "
        "in your own voice. Use only what happened, below; invent nothing.\n"
        f"{' '.join(facts)}\n\n{QUOTED}\n{said or '(no entries yet today)'}"
    )
    words = cut(lines(await work.think(prompt, offline=offline, max_tokens=400)), 3000)
    await work.note("journal", words)
    return f"Wrote the day down: {cut(plain(words), 160)}"


async def _own_entries(work: Work, since_ms: int, *, but: str) -> list[JournalEntry]:
    """What the persona wrote since then, newest first, without what this activity wrote."""
    kinds = [kind for kind in OWN if kind != but]
    return await work.journal.entries(
        work.client_id, agent=work.persona.id, kinds=kinds, since_ms=since_ms
    )


async def _conversations(work: Work, since_ms: int) -> int:
    query = select(func.count()).where(
        sessions.c.client_id == work.client_id,
        sessions.c.agent == work.persona.id,
        sessions.c.updated_at >= since_ms,
    )
    async with work.store.read() as conn:
        return (await conn.execute(query)).scalar_one()
