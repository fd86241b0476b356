"""The activity `news`: read what is new, think about the best of it.

All feeds of the persona are read side by side. What it has not read yet is scored by its focus
and the source's own points; the top three are read, each with the persona's take, and the best of
them is shared with everyone as knowledge. A feed that can't be reached is named, with the reason.
"""

import asyncio

import msgspec

from tron.agents.persona import Persona
from tron.life.articles import keep_article, known_urls
from tron.life.feeds import Entry, Reading
from tron.life.wording import counted, cut, first_sentence, lines, listed, whole_words
from tron.life.work import QUOTED, Work

READ_AT_ONCE = 3
FOCUS_SCORE = 10
AVOID_SCORE = -50
"""more than any focus can make good"""
POINTS = ((300, 5), (100, 3), (50, 1))
DOMAINS = {
    "tech": ("engineering", "technology", "architecture", "ai", "infrastructure", "software"),
    "marketing": ("marketing", "brand", "growth", "positioning", "advertising"),
    "finance": ("finance", "runway", "budgets", "fundraising", "unit economics", "accounting"),
    "product": ("product", "ux", "roadmap", "research", "users", "design"),
    "ops": ("operations", "execution", "support", "hiring"),
}
"""where what a persona shares belongs, by its focus; otherwise `general`"""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with what makes it worth reading."""

    entry: Entry
    source: str
    score: int
    focus: list[str]


def judge(persona: Persona, source: str, entry: Entry) -> Candidate:
    """Score `entry` for `persona`, by the whole words of its title."""
    focus = whole_words(persona.focus, entry.title)
    points = next((bonus for above, bonus in POINTS if (entry.points or 0) > above), 0)
    avoided = AVOID_SCORE if whole_words(persona.avoid, entry.title) else 0
    score = FOCUS_SCORE * len(focus) + points + avoided
    return Candidate(entry=entry, source=source, score=score, focus=focus)


def choose(persona: Persona, readings: list[Reading], known: set[str]) -> list[Candidate]:
    """The best entries not read yet, best first; nothing that the persona avoids."""
    found: dict[str, Candidate] = {}
    # In turns, so that among equals no feed crowds out the others.
    longest = max((len(reading.entries) for reading in readings), default=0)
    for place in range(longest):
        for reading in readings:
            if place < len(reading.entries) and reading.entries[place].url not in known:
                entry = reading.entries[place]
                found.setdefault(entry.url, judge(persona, reading.feed, entry))
    wanted = [candidate for candidate in found.values() if candidate.score >= 0]
    return sorted(wanted, key=lambda candidate: -candidate.score)[:READ_AT_ONCE]


async def news(work: Work) -> str:
    """Run the activity."""
    persona = work.persona
    if not persona.feeds:
        return f"Read nothing: {persona.name} has no feeds."
    readings = await asyncio.gather(*(work.feeds.read(feed) for feed in persona.feeds))
    trouble = _trouble(readings)
    known = await known_urls(work.store, work.client_id, persona.id)
    chosen = choose(persona, readings, known)
    if not chosen:
        offered = sum(len(reading.entries) for reading in readings)
        result = (
            f"Read nothing new: {counted(offered, 'entry', 'entries')} on offer, "
            f"all read before or avoided.{trouble}"
            if offered
            else f"Read nothing: the feeds offer nothing.{trouble}"
        )
        await work.note("news", result)
        return result
    takes = [(candidate, await _read(work, candidate)) for candidate in chosen]
    await _share(work, *takes[0])
    story = "\n".join(
        f"“{candidate.entry.title}” ({candidate.source}): {take}" for candidate, take in takes
    )
    await work.note("news", story + (f"\n{trouble.strip()}" if trouble else ""))
    titles = "; ".join(cut(candidate.entry.title, 80) for candidate in chosen)
    return f"Read {counted(len(chosen), 'article')}: {titles}.{trouble}"


def _trouble(readings: list[Reading]) -> str:
    broken = [f"{reading.feed} ({reading.error})" for reading in readings if reading.error]
    return f" {counted(len(broken), 'feed')} unreachable: {', '.join(broken)}." if broken else ""


async def _read(work: Work, candidate: Candidate) -> str:
    entry = candidate.entry
    prompt = (
        "You are reading the news. In two or three sentences say what you make of this article "
        "for the company, in your own voice, with one concrete consequence or next step. You "
        "know only the title and the summary: claim nothing beyond them. No heading, no list.\n\n"
        f"{QUOTED}\nTitle: {entry.title}\nSource: {candidate.source}\n"
        f"Summary: {entry.summary or '(none)'}"
    )
    words = await work.think(prompt, offline=plain_take(work.persona, candidate), max_tokens=200)
    take = cut(lines(words), 1200)
    await keep_article(
        work.store,
        work.client_id,
        agent=work.persona.id,
        url=entry.url,
        title=entry.title,
        source=candidate.source,
        score=candidate.score,
        take=take,
        read_at=work.clock.now_ms(),
    )
    return take


def plain_take(persona: Persona, candidate: Candidate) -> str:
    """A take made from nothing but what is known about the article."""
    entry = candidate.entry
    said = []
    if candidate.focus:
        said.append(f"This is about {listed(candidate.focus)}, so it lands on my desk.")
    else:
        mine = " or ".join(persona.focus[:2])
        said.append(f"Not about {mine}; I read it to know what else {candidate.source} is on.")
    if entry.summary:
        said.append(f"In short: {first_sentence(entry.summary)}")
    if entry.points and entry.points > POINTS[-1][0]:
        said.append(f"{entry.points} points on {candidate.source}: I am not the only one reading.")
    return " ".join(said)


async def _share(work: Work, best: Candidate, take: str) -> None:
    await work.knowledge.share(
        work.client_id,
        author=work.persona.id,
        type="resource",
        domain=domain_of(work.persona),
        title=best.entry.title,
        content=take,
        tags=best.focus,
        source={"url": best.entry.url, "process_id": work.process.id},
    )


def domain_of(persona: Persona) -> str:
    """The domain of knowledge that most of the persona's focus belongs to."""
    focus = [word.casefold() for word in persona.focus]
    hits = {domain: len(set(words).intersection(focus)) for domain, words in DOMAINS.items()}
    best = max(hits, key=lambda domain: hits[domain])
    return best if hits[best] else "general"
