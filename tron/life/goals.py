"""The activity `goals`: what a persona works towards, and how far it has come.

Goals start as the persona file names them. A review looks at what has happened since the last one
(journal entries, articles read, delegated work), and asks the model for progress in a small JSON
answer that is checked: progress moves only where there is evidence. Without a usable answer a
plain rule decides: each finished delegation about a goal is worth `STEP` per cent, nothing else
moves anything, and a goal is never declared done by the rule.
"""

import re
from typing import Annotated, Literal

import msgspec
from sqlalchemy import Connection, insert, or_, select, update

from tron.life.articles import read_articles
from tron.life.journal import OWN
from tron.life.wording import counted, cut, plain
from tron.life.work import QUOTED, Work
from tron.storage.store import Store
from tron.storage.tables import delegations
from tron.storage.tables import goals as table

STEP = 5
RULE_LIMIT = 95
REVIEWED_AT_ONCE = 20


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A goal of `agent` (persona id). Progress is in per cent."""

    id: int
    agent: str
    title: str
    progress: int
    status: str
    """`active`, `done` or `paused`"""
    note: str
    """what the last review found"""
    created_at: int
    updated_at: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a review says about one goal."""

    id: int
    progress: Annotated[int, msgspec.Meta(ge=0, le=100)]
    note: Annotated[str, msgspec.Meta(max_length=2000)]
    status: Literal["active", "done", "paused"] = "active"


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """The answer asked of the model."""

    goals: list[Verdict]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What has really happened since the last review."""

    journal: list[str]
    articles: list[str]
    finished: list[str]
    """tasks of delegations that ended well"""
    failed: list[str]

    @property
    def any(self) -> bool:
        return bool(self.journal or self.articles or self.finished or self.failed)

    def told(self) -> str:
        parts = [
            counted(len(self.journal), "journal entry", "journal entries"),
            counted(len(self.articles), "article"),
            counted(len(self.finished), "finished delegation"),
            counted(len(self.failed), "failed delegation"),
        ]
        return ", ".join(part for part in parts if not part.startswith("0 ")) or "nothing"


async def read_goals(store: Store, client_id: str, *, agent: str | None = None) -> list[Goal]:
    """All goals, oldest first."""
    columns = [table.c[name] for name in Goal.__struct_fields__]
    query = select(*columns).where(table.c.client_id == client_id).order_by(table.c.id).limit(1000)
    if agent is not None:
        query = query.where(table.c.agent == agent)
    async with store.read() as conn:
        return [Goal(**row) for row in (await conn.execute(query)).mappings()]


async def goals(work: Work) -> str:
    """Run the activity."""
    now = work.clock.now_ms()
    new = await _seed(work, now)
    mine = await read_goals(work.store, work.client_id, agent=work.persona.id)
    reviewed = [goal for goal in mine if goal.status == "active" and goal.title not in new]
    reviewed = reviewed[:REVIEWED_AT_ONCE]
    set_ = f"Set {counted(len(new), 'goal')}: {'; '.join(new)}." if new else ""
    if not reviewed:
        result = set_ or f"{work.persona.name} has no active goals."
        await work.note("goals", result)
        return result
    evidence = await _gather(work, min(goal.updated_at for goal in reviewed), now)
    verdicts, usable = await _judge(work, reviewed, evidence)
    await _save(work, verdicts, now)
    before = {goal.id: goal for goal in reviewed}
    told = [_told(before[verdict.id], verdict) for verdict in verdicts]
    await work.note("goals", "\n".join([*([set_] if set_ else []), *told]))
    moved = sum(1 for v in verdicts if v.progress != before[v.id].progress)
    result = (
        f"Reviewed {counted(len(verdicts), 'goal')} against {evidence.told()} "
        f"since the last review: {moved} moved."
    )
    if not usable:
        result += " The model's answer could not be used, so the plain rule decided."
    return " ".join(filter(None, [set_, result]))


def _told(goal: Goal, verdict: Verdict) -> str:
    progress = (
        f"{goal.progress} %"
        if goal.progress == verdict.progress
        else f"{goal.progress} → {verdict.progress} %"
    )
    done = f", {verdict.status}" if verdict.status != "active" else ""
    return f"{goal.title}: {progress}{done}. {verdict.note}"


async def _seed(work: Work, now: int) -> list[str]:
    """Set the goals the persona file names and that are not there yet."""

    def unit(conn: Connection) -> list[str]:
        known = conn.execute(
            select(table.c.title).where(
                table.c.client_id == work.client_id, table.c.agent == work.persona.id
            )
        )
        titles = set(known.scalars())
        new = [title for title in work.persona.goals if title not in titles]
        for title in new:
            conn.execute(
                insert(table).values(
                    client_id=work.client_id,
                    agent=work.persona.id,
                    title=title,
                    created_at=now,
                    updated_at=now,
                )
            )
        return new

    return await work.store.write(unit)


async def _gather(work: Work, since_ms: int, until_ms: int) -> Evidence:
    """What happened after `since_ms`, up to `until_ms`: nothing counts in two reviews."""
    me = work.persona.id
    kinds = [kind for kind in OWN if kind != "goals"]
    entries = await work.journal.entries(
        work.client_id, agent=me, kinds=kinds, since_ms=since_ms, limit=50
    )
    articles = await read_articles(work.store, work.client_id, agent=me, since_ms=since_ms)
    query = (
        select(delegations.c.task, delegations.c.status)
        .where(
            delegations.c.client_id == work.client_id,
            or_(delegations.c.from_agent == me, delegations.c.agent == me),
            delegations.c.completed_at > since_ms,
            delegations.c.completed_at <= until_ms,
        )
        .order_by(delegations.c.completed_at.desc())
        .limit(50)
    )
    async with work.store.read() as conn:
        ended = [(row.task, row.status) for row in await conn.execute(query)]
    return Evidence(
        journal=[entry.text for entry in entries if since_ms < entry.created_at <= until_ms],
        articles=[a.title for a in articles if since_ms < a.read_at <= until_ms],
        finished=[plain(task) for task, status in ended if status == "completed"],
        failed=[plain(task) for task, status in ended if status == "failed"],
    )


async def _judge(
    work: Work, reviewed: list[Goal], evidence: Evidence
) -> tuple[list[Verdict], bool]:
    """A verdict for every goal, and whether the model's answer could be used."""
    ruled = [by_rule(goal, evidence) for goal in reviewed]
    offline = msgspec.json.encode(Review(goals=ruled)).decode()
    answer = await work.think(_prompt(reviewed, evidence), offline=offline, max_tokens=1500)
    review = understood(answer)
    if review is None:
        return ruled, False
    given = {verdict.id: verdict for verdict in review.goals}
    return [
        checked(goal, given.get(goal.id, rule), evidence)
        for goal, rule in zip(reviewed, ruled, strict=True)
    ], True


def _prompt(reviewed: list[Goal], evidence: Evidence) -> str:
    goals_told = "\n".join(
        f'- id {goal.id}: "{goal.title}", {goal.progress} % done. {goal.note}' for goal in reviewed
    )
    happened = "\n".join(
        f"- [{kind}] {cut(plain(text), 200)}"
        for kind, texts in (
            ("journal", evidence.journal[:15]),
            ("read", evidence.articles[:15]),
            ("delegation finished", _towards(reviewed, evidence.finished)[:15]),
            ("delegation failed", _towards(reviewed, evidence.failed)[:15]),
        )
        for text in texts
    )
    return (
        "Review your goals against what has really happened since the last review. Reading about "
        "a thing is not progress; finished work is. Without evidence, progress stays as it is.\n"
        'Answer with JSON only: {"goals": [{"id": 1, "progress": 0-100, "status": "active" or '
        '"done" or "paused", "note": "one sentence: the evidence, or the next step"}]}\n\n'
        f"Goals:\n{goals_told}\n\n{QUOTED}\nWhat happened:\n{happened or '(nothing)'}"
    )


def _towards(reviewed: list[Goal], tasks: list[str]) -> list[str]:
    """Those of `tasks` that concern a goal: the others are what callers wanted, and what is told of
    goals may be posted."""
    return [task for task in tasks if any(concerns(goal.title, task) for goal in reviewed)]


def understood(answer: str) -> Review | None:
    """The review in a model's answer, which may be wrapped in a fence or a sentence."""
    start, end = answer.find("{"), answer.rfind("}")
    try:
        return msgspec.json.decode(answer[start : end + 1], type=Review)
    except (msgspec.MsgspecError, ValueError):
        return None


def checked(goal: Goal, verdict: Verdict, evidence: Evidence) -> Verdict:
    """`verdict` as far as the evidence bears it out."""
    if not evidence.any:
        return Verdict(id=goal.id, progress=goal.progress, note="Nothing new since last time.")
    status = verdict.status
    if status == "done" and verdict.progress < 100:
        status = "active"
    return Verdict(
        id=goal.id,
        progress=verdict.progress,
        status=status,
        note=cut(plain(verdict.note), 300),
    )


def by_rule(goal: Goal, evidence: Evidence) -> Verdict:
    """A verdict without a model."""
    about = [task for task in evidence.finished if concerns(goal.title, task)]
    room = max(RULE_LIMIT - goal.progress, 0)
    progress = goal.progress + min(STEP * len(about), room)
    if about:
        note = f"{counted(len(about), 'finished delegation')} towards it: {cut(about[0], 120)}."
    elif evidence.any:
        note = f"No finished work towards it yet (seen: {evidence.told()})."
    else:
        note = "Nothing new since last time."
    return Verdict(id=goal.id, progress=progress, note=note)


def concerns(title: str, task: str) -> bool:
    """Whether `task` shares at least two telling words with the goal's title."""
    return len(_telling(title) & _telling(task)) >= 2


def _telling(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) > 3}


async def _save(work: Work, verdicts: list[Verdict], now: int) -> None:
    def unit(conn: Connection) -> None:
        for verdict in verdicts:
            conn.execute(
                update(table)
                .where(table.c.client_id == work.client_id, table.c.id == verdict.id)
                .values(
                    progress=verdict.progress,
                    status=verdict.status,
                    note=verdict.note,
                    updated_at=now,
                )
            )

    await work.store.write(unit)
