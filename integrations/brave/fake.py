"""A talking stand-in for Brave Search, over real HTTP.

    async with FakeBrave(key="good") as brave:
        ... # BRAVE_API_URL=brave.url, BRAVE_API_KEY=good
        assert brave.queries == ["rex the dog"]

It answers `GET /res/v1/web/search` in Brave's shape: `count` results about the query (20 at most,
Brave's own limit), marked up as Brave marks them up; no `web` at all for a query that contains
`nothing`; 422 for a wrong or missing key; and whatever `always` says, if it is set.
"""

from typing import Any

from aiohttp import web

MOST = 20


class FakeBrave:
    """See the module."""

    def __init__(self, *, key: str) -> None:
        self.key = key
        self.queries: list[str] = []
        self.always: tuple[int, str, str] | None = None
        """(status, content type, body) for every request"""
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "FakeBrave":
        app = web.Application()
        app.router.add_get("/res/v1/web/search", self._search)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _search(self, request: web.Request) -> web.Response:
        if self.always is not None:
            status, content_type, body = self.always
            return web.Response(status=status, content_type=content_type, text=body)
        token = request.headers.get("X-Subscription-Token")
        if token != self.key:
            # A missing header is a fault of the form to Brave, a wrong one a fault of the key.
            return _refused("SUBSCRIPTION_TOKEN_INVALID" if token else "VALIDATION")
        query = request.query.get("q", "")
        if not query or len(query) > 400 or len(query.split()) > 50:
            return _refused("VALIDATION")
        self.queries.append(query)
        answer: dict[str, Any] = {
            "type": "search",
            "query": {"original": query, "show_strict_warning": False},
        }
        if "nothing" not in query:
            count = min(int(request.query.get("count", str(MOST))), MOST)
            results = [_result(query, number) for number in range(1, count + 1)]
            answer["web"] = {"type": "search", "results": results, "family_friendly": True}
        return web.json_response(answer)


def _result(query: str, number: int) -> dict[str, Any]:
    return {
        "type": "search_result",
        "title": f"Page {number} &amp; more about {query}",
        "url": f"https://pages.example/{number}",
        "description": f"All there is to know about <strong>{query}</strong>, part {number}.",
        "family_friendly": True,
    }


def _refused(code: str) -> web.Response:
    fault = {"code": code, "detail": "The request was refused.", "status": 422}
    return web.json_response({"type": "ErrorResponse", "error": fault, "time": 0}, status=422)
