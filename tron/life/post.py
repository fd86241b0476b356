"""The activity `post`: say something in public, from what was really read or thought.

A post is made from an article that has not been posted (the best of the last day first), else
from a reflection that is newer than the last such post, else from an active goal. It is held to
the rules of the platform (length, hashtags) and of the house (blocked words, no article twice),
saved in the local feed first, and then sent where the settings say. A place that can't be reached
is named in the result; the post stands all the same.
"""

import asyncio
import math
import re
from collections.abc import Coroutine
from typing import Any

import msgspec

from tron.clock import DAY_MS
from tron.life.articles import Article, read_articles
from tron.life.goals import read_goals
from tron.life.outside import Unreachable
from tron.life.posts import LOOKED_AT, Delivery, Post, publish, read_posts, record
from tron.life.wording import cut, first_sentence, listed, plain, whole_words
from tron.life.work import QUOTED, Work

MAX_LENGTH = 288
MAX_HASHTAGS = 3
PAUSE_MS = 10 * 60_000
BLOCKED = (
    *("token", "tokens", "client", "clients", "revenue", "internal", "confidential"),
    *("password", "passwords", "secret", "secrets", "salary", "salaries", "api key", "layoffs"),
)
HASHTAG = re.compile(r"(?<!\w)#(\w+)")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What a post is made from."""

    material: str
    """for the model"""
    offline: str
    """the post itself, if no model can be reached"""
    article_url: str | None = None


async def post(work: Work) -> str:
    """Run the activity."""
    posts = await read_posts(work.store, work.client_id, agent=work.persona.id, limit=LOOKED_AT)
    if early := _too_early(work, posts):
        return early
    source, blocked = await _source(work, posts)
    if source is None:
        if blocked:
            return f"Not posted: what there is to say has blocked words ({listed(blocked)})."
        return "Not posted: nothing new was read, reflected on or aimed at since the last post."
    text = await _write(work, source)
    if found := whole_words(BLOCKED, text):
        return f"Not posted: the text has blocked words ({listed(found)})."
    chosen, known = source, {earlier.id for earlier in posts}
    post_id = await publish(
        work.store,
        work.client_id,
        work.persona.id,
        text,
        source.article_url,
        work.clock.now_ms(),
        unless=lambda posts: _against(work, posts, text, chosen, known),
    )
    if isinstance(post_id, str):
        return post_id
    delivered = await _deliver(work, text)
    if delivered:
        await record(work.store, work.client_id, post_id, delivered)
    await work.note("post", text)
    failed = [f"{place.to}: {place.error}" for place in delivered if not place.ok]
    trouble = f" (in the local feed only; {'; '.join(failed)})" if failed else ""
    if failed and len(failed) < len(delivered):
        trouble = f" (not everywhere; {'; '.join(failed)})"
    return f"Posted: {text}{trouble}"


def _too_early(work: Work, posts: list[Post]) -> str:
    if not posts or work.manual or (ago := work.clock.now_ms() - posts[0].created_at) >= PAUSE_MS:
        return ""
    return (
        f"Not posted: the last post was {ago // 60_000} min ago; "
        f"{PAUSE_MS // 60_000} min must lie between two."
    )


def _against(work: Work, posts: list[Post], text: str, source: Source, known: set[int]) -> str:
    """Why `text` is not to be said behind `posts`; those in `known` were there when its source was
    chosen. "" if nothing speaks against it."""
    since = work.clock.now_ms() - DAY_MS
    if any(text == earlier.text and earlier.created_at > since for earlier in posts):
        return "Not posted: it would have repeated today's post."
    if any(p.id not in known and p.article_url == source.article_url for p in posts):
        return "Not posted: another post about the same was published a moment ago."
    return _too_early(work, posts)


async def _source(work: Work, posts: list[Post]) -> tuple[Source | None, list[str]]:
    """The best thing to post about, and the blocked words that ruled others out."""
    ruled_out: dict[str, None] = {}
    now = work.clock.now_ms()
    for make in (_from_articles, _from_reflection, _from_goal):
        for source in await make(work, posts, now):
            if found := whole_words(BLOCKED, source.offline):
                ruled_out |= dict.fromkeys(found)
            else:
                return source, []
    return None, list(ruled_out)


async def _from_articles(work: Work, posts: list[Post], now: int) -> list[Source]:
    """The best of the last day first, then the rest, newest first."""
    posted = {earlier.article_url for earlier in posts}
    articles = await read_articles(work.store, work.client_id, agent=work.persona.id)
    articles.sort(key=lambda a: -a.score if a.read_at > now - DAY_MS else math.inf)
    return [_article(work, article) for article in articles if article.url not in posted]


def _article(work: Work, article: Article) -> Source:
    title = cut(article.title, 120)
    tags = [
        "#" + "".join(word.capitalize() if word.islower() else word for word in focus.split())
        for focus in whole_words(work.persona.focus, article.title)[:2]
    ]
    room = MAX_LENGTH - sum(len(tag) + 1 for tag in tags)
    text = cut(f"Reading “{title}” ({article.source}). {plain(article.take)}", room)
    return Source(
        material=(
            f"An article you read: “{article.title}” ({article.source}).\n"
            f"Your take on it: {article.take}"
        ),
        offline=" ".join([text, *tags]),
        article_url=article.url,
    )


async def _from_reflection(work: Work, posts: list[Post], now: int) -> list[Source]:
    since = max((p.created_at for p in posts if p.article_url is None), default=now - 2 * DAY_MS)
    entries = await work.journal.entries(
        work.client_id, agent=work.persona.id, kinds=("reflection",), since_ms=since, limit=1
    )
    return [
        Source(
            material=f"Your latest reflection: {entry.text}",
            offline=cut(f"Looking back: {plain(entry.text)}", MAX_LENGTH),
        )
        for entry in entries
        if entry.created_at > since
    ]


async def _from_goal(work: Work, posts: list[Post], now: int) -> list[Source]:
    if any(p.article_url is None and p.created_at > now - DAY_MS for p in posts):
        return []
    known = await read_goals(work.store, work.client_id, agent=work.persona.id)
    active = [(goal.title, goal.progress) for goal in known if goal.status == "active"]
    if not known:  # not set yet: they are what the persona file says
        active = [(title, 0) for title in work.persona.goals]
    turn = sum(1 for p in posts if p.article_url is None) % max(len(active), 1)
    return [
        Source(
            material=f"A goal you work towards: {title} ({progress} % done).",
            offline=cut(
                f"One of my goals: {first_sentence(title)}"
                + (f" ({progress} % done)" if progress else ""),
                MAX_LENGTH,
            ),
        )
        for title, progress in active[turn:] + active[:turn]
    ]


async def _write(work: Work, source: Source) -> str:
    prompt = (
        f"Write one post for the company's public feed in your own voice: at most {MAX_LENGTH} "
        f"characters, at most {MAX_HASHTAGS} hashtags, no address, no quotation marks around it. "
        f"Say one thing plainly. Never use these words: {', '.join(BLOCKED)}.\n\n"
        f"{QUOTED}\n{source.material}"
    )
    text = await work.think(prompt, offline=source.offline, max_tokens=150)
    return fitted(text) or fitted(source.offline)


def fitted(text: str) -> str:
    """`text` within the platform's rules: one line, its length, its number of hashtags."""
    seen = 0

    def tag(found: re.Match[str]) -> str:
        nonlocal seen
        seen += 1
        return found[0] if seen <= MAX_HASHTAGS else found[1]

    text = plain(text)
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    return cut(HASHTAG.sub(tag, text), MAX_LENGTH)


async def _deliver(work: Work, text: str) -> list[Delivery]:
    """Send the post to every place that is set, side by side."""
    settings = work.settings
    sending = []
    if settings.social_api_url:
        headers = {"X-API-Key": settings.social_api_key} if settings.social_api_key else {}
        sending.append(
            _sent("social", work.outside.post(settings.social_api_url, {"content": text}, headers))
        )
    if settings.life_slack_webhook:
        line = {"text": slack_line(work.persona.emoji, work.persona.name, text)}
        sending.append(_sent("slack", work.outside.post(settings.life_slack_webhook, line)))
    return list(await asyncio.gather(*sending))


async def _sent(to: str, sending: Coroutine[Any, Any, None]) -> Delivery:
    try:
        await sending
    except Unreachable as error:
        return Delivery(to=to, ok=False, error=str(error))
    return Delivery(to=to, ok=True)


def slack_line(emoji: str, name: str, text: str) -> str:
    """The line as Slack shows it; its three special characters are escaped."""
    if emoji and emoji.isascii():
        emoji = f":{emoji.strip(':')}:"
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{emoji} *{name}*: {escaped}".strip()
