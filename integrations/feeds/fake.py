"""A talking stand-in of the pages personas read: RSS, Atom, and the Hacker News API.

It serves over real HTTP on loopback, remembers every request, and can be told to misbehave in the
ways such pages do: slow, broken, huge, failing.

    async with FakeFeeds() as feeds:
        feeds.articles = [FakeArticle("A title", "https://example.org/1")]
        feeds.url("/rss"), feeds.url("/atom"), feeds.url("/v0")   # the last is Hacker News
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from xml.sax.saxutils import escape

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeArticle:
    """What the feeds offer; title and summary may hold HTML. `points` is the Hacker News score."""

    def __init__(self, title: str, url: str, summary: str = "", points: int = 1) -> None:
        self.title = title
        self.url = url
        self.summary = summary
        self.points = points


class FakeFeeds:
    """The server. Change its fields at any time."""

    def __init__(self) -> None:
        self.articles: list[FakeArticle] = []
        self.requests: list[str] = []
        """path of every request"""
        self.unchanged = 0
        """how many answers were 304"""
        self.delay_s = 0.0
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> "FakeFeeds":
        app = web.Application(middlewares=[self._seen])
        app.router.add_get("/rss", self._rss)
        app.router.add_get("/atom", self._atom)
        app.router.add_get("/v0/{list}stories.json", self._stories)
        app.router.add_get("/v0/item/{id}.json", self._item)
        app.router.add_get("/broken", self._broken)
        app.router.add_get("/cut-off", self._cut_off)
        app.router.add_get("/page", self._page)
        app.router.add_get("/huge", self._huge)
        app.router.add_get("/error", self._error)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def url(self, path: str) -> str:
        """The address of one of its pages."""
        return f"http://127.0.0.1:{self._port}{path}"

    def asked(self, path: str) -> int:
        """How often `path` was requested."""
        return self.requests.count(path)

    @web.middleware
    async def _seen(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append(request.path)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return await handler(request)

    async def _rss(self, request: web.Request) -> web.Response:
        items = "".join(
            f"<item><title>{escape(a.title)}</title><link>{escape(a.url)}</link>"
            f"<description>{escape(a.summary)}</description></item>"
            for a in self.articles
        )
        text = (
            '<?xml version="1.0" encoding="utf-8"?><rss version="2.0"><channel>'
            f"<title>Fake</title><link>{self.url('/')}</link>{items}</channel></rss>"
        )
        return self._conditional(request, text, "application/rss+xml")

    async def _atom(self, request: web.Request) -> web.Response:
        entries = "".join(
            f'<entry><id>{escape(a.url)}</id><title type="html">{escape(a.title)}</title>'
            f'<link rel="alternate" href="{escape(a.url)}"/>'
            f'<summary type="html">{escape(a.summary)}</summary></entry>'
            for a in self.articles
        )
        text = (
            '<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom">'
            f"<id>fake</id><title>Fake</title>{entries}</feed>"
        )
        return self._conditional(request, text, "application/atom+xml")

    def _conditional(self, request: web.Request, text: str, kind: str) -> web.Response:
        """The page, or 304 when the reader has this very version."""
        etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == etag:
            self.unchanged += 1
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(text=text, content_type=kind, headers={"ETag": etag})

    async def _stories(self, _: web.Request) -> web.Response:
        return web.json_response([number + 1 for number in range(len(self.articles))])

    async def _item(self, request: web.Request) -> web.Response:
        number = int(request.match_info["id"])
        if not 0 < number <= len(self.articles):
            return web.json_response(None)  # as the real one answers for an unknown id
        article = self.articles[number - 1]
        item = {
            "id": number,
            "type": "story",
            "by": "someone",
            "title": article.title,
            "score": article.points,
        }
        if article.url:  # a question to the readers has none
            item["url"] = article.url
        return web.json_response(item)

    async def _broken(self, _: web.Request) -> web.Response:
        return web.Response(
            text='<?xml version="1.0"?><rss><chan<<nel>', content_type="application/rss+xml"
        )

    async def _cut_off(self, request: web.Request) -> web.Response:
        """A feed whose end is missing: its first entries can be read all the same."""
        whole = (await self._rss(request)).text or ""
        return web.Response(text=whole[: whole.rindex("</item>")], content_type="text/xml")

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text="<html><body>Not a feed</body></html>", content_type="text/html")

    async def _huge(self, _: web.Request) -> web.Response:
        return web.Response(body=b" " * (3 * 1024 * 1024), content_type="application/rss+xml")

    async def _error(self, _: web.Request) -> web.Response:
        return web.Response(status=500, text="oops")
