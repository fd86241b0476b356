"""Feeds: what is new on the pages a persona reads.

Owns fetching (RSS and Atom by feedparser, Hacker News by its Firebase API) and the cache of what
was found. A page is asked at most once in ten minutes, whoever reads it and on whichever hub, and
only for what has changed (ETag, Last-Modified). A page that can't be reached is reported as such,
together with what it said last time.
"""

import asyncio
import io
from html.parser import HTMLParser
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection, select, update

from tron.clock import Clock
from tron.life.outside import Answer, Outside, Unreachable
from tron.life.wording import cut, plain
from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import feeds as table
from tron.supervise import Tasks

FRESH_MS = 10 * 60_000
MAX_ENTRIES = 50
ITEMS_AT_ONCE = 8
HN_ITEM_PAGE = "https://news.ycombinator.com/item?id="


class Feed(Protocol):
    """A feed as a persona file names it."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def limit(self) -> int: ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One article on offer."""

    url: str
    title: str
    summary: str = ""
    points: int | None = None
    """the source's own score; None where it has none"""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a feed offers now."""

    feed: str
    entries: list[Entry]
    error: str | None = None
    """why it could not be reached; `entries` are then from before"""


class _Page(msgspec.Struct, kw_only=True):
    """A row of the cache."""

    etag: str | None = None
    modified: str | None = None
    entries: list[Entry] = []
    fetched_at: int = 0
    error: str | None = None


class Feeds:
    """All feeds of all personas."""

    def __init__(self, clock: Clock, store: Store, outside: Outside) -> None:
        self._clock = clock
        self._store = store
        self._outside = outside
        self._tasks = Tasks("feeds")
        self._asking: dict[str, asyncio.Task[_Page]] = {}

    async def read(self, feed: Feed) -> Reading:
        """The entries of `feed`, at most ten minutes old if it can be reached."""
        # Two personas that read the same page at the same moment wait for one request.
        asking = self._asking.get(feed.url)
        if asking is None:
            asking = self._tasks.start(self._current(feed), feed.name)
            self._asking[feed.url] = asking
            asking.add_done_callback(lambda _: self._asking.pop(feed.url, None))
        page = await asyncio.shield(asking)
        return Reading(feed=feed.name, entries=page.entries[: feed.limit], error=page.error)

    async def close(self) -> None:
        await self._tasks.close()

    async def _current(self, feed: Feed) -> _Page:
        page = await self._load(feed.url)
        if page.fetched_at > self._clock.now_ms() - FRESH_MS:
            return page
        return await self._refresh(feed, page)

    async def _refresh(self, feed: Feed, page: _Page) -> _Page:
        page.fetched_at = self._clock.now_ms()
        try:
            if feed.kind == "hackernews":
                page.entries = await self._hacker_news(feed)
            else:
                await self._rss(feed, page)
            page.error = None
        except Unreachable as error:
            page.error = str(error)
        await self._save(feed.url, page)
        return page

    async def _rss(self, feed: Feed, page: _Page) -> None:
        headers = {}
        if page.etag:
            headers["If-None-Match"] = page.etag
        if page.modified:
            headers["If-Modified-Since"] = page.modified
        answer = await self._outside.get(feed.url, headers)
        if answer.status == 304:
            return
        page.entries = await asyncio.to_thread(_parse, answer)
        page.etag = _header(answer, "ETag")
        page.modified = _header(answer, "Last-Modified")

    async def _hacker_news(self, feed: Feed) -> list[Entry]:
        """The top stories. `feed.url` is the API's base, or a list below it (`…/best.json`)."""
        base, _, last = feed.url.rstrip("/").rpartition("/")
        if not last.endswith(".json"):
            base, last = feed.url.rstrip("/"), "topstories.json"
        ids = _json(await self._outside.get(f"{base}/{last}"), list[int])[: feed.limit]
        some = asyncio.Semaphore(ITEMS_AT_ONCE)

        async def item(id: int) -> Entry | None:
            async with some:
                try:
                    return _story(_json(await self._outside.get(f"{base}/item/{id}.json"), Any))
                except Unreachable:
                    return None  # one story less; if all fail, the feed is unreachable

        found = [entry for entry in await asyncio.gather(*map(item, ids)) if entry]
        if ids and not found:
            raise Unreachable("none of its stories could be read")
        return found

    async def _load(self, url: str) -> _Page:
        async with self._store.read() as conn:
            row = (await conn.execute(select(table).where(table.c.url == url))).mappings().first()
        if row is None:
            return _Page()
        return _Page(
            etag=row["etag"],
            modified=row["modified"],
            entries=msgspec.json.decode(row["entries"], type=list[Entry]),
            fetched_at=row["fetched_at"],
            error=row["error"],
        )

    async def _save(self, url: str, page: _Page) -> None:
        values = msgspec.structs.asdict(page)
        values["entries"] = msgspec.json.encode(page.entries).decode()

        def unit(conn: Connection) -> None:
            changed = conn.execute(update(table).where(table.c.url == url).values(**values))
            if changed.rowcount == 0:
                insert_new(conn, table, url=url, **values)

        await self._store.write(unit)


def _header(answer: Answer, name: str) -> str | None:
    value = answer.headers.get(name)
    return value if value and len(value) <= 256 else None


def _json(answer: Answer, kind: Any) -> Any:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError:
        raise Unreachable("not the JSON it should be") from None


def _parse(answer: Answer) -> list[Entry]:
    """Entries of an RSS or Atom document. feedparser takes what it can from a broken one."""
    import feedparser  # large, and a hub's first feed is read long after its start

    # A stream, because feedparser opens files: bytes could be taken for the name of one.
    parsed = feedparser.parse(
        io.BytesIO(answer.body),
        response_headers={"content-type": answer.headers.get("Content-Type", "")},
    )
    entries = [
        entry
        for raw in parsed.entries[:MAX_ENTRIES]
        if (entry := _entry(raw.get("link", ""), raw.get("title", ""), raw.get("summary", "")))
    ]
    if not entries and (parsed.bozo or not parsed.version):
        raise Unreachable("not readable as a feed")
    return entries


def _story(item: Any) -> Entry | None:
    if not isinstance(item, dict) or item.get("dead") or item.get("deleted"):
        return None
    points = item.get("score")
    return _entry(
        str(item.get("url") or f"{HN_ITEM_PAGE}{item.get('id')}"),
        str(item.get("title", "")),
        str(item.get("text", "")),
        points if isinstance(points, int) else None,
    )


def _entry(url: str, title: str, summary: str, points: int | None = None) -> Entry | None:
    url, title = plain(url), cut(plain(_without_tags(title)), 300)
    if not title or len(url) > 1024 or not url.startswith(("http://", "https://")):
        return None
    summary = cut(plain(_without_tags(summary)), 600)
    return Entry(url=url, title=title, summary=summary, points=points)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ("p", "br", "li", "div"):
            self.text.append(" ")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _without_tags(html: str) -> str:
    """The text of a fragment of HTML."""
    reader = _Text()
    reader.feed(html)
    reader.close()
    return "".join(reader.text)
