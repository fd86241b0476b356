"""A talking stand-in of the places posts go to: a social API and a Slack incoming webhook.

Both over real HTTP on loopback. They check what the real ones check (the key, the shape of the
body, Slack's plain-text answers) and keep what they accepted.

    async with FakeSocial(key="k") as social:
        social.api_url, social.slack_webhook
"""

from types import TracebackType

from aiohttp import web

MAX_LENGTH = 288


class FakeSocial:
    """The server. Set `down` to a status to make both places answer with it."""

    def __init__(self, key: str = "") -> None:
        self.key = key
        self.down: int | None = None
        self.posts: list[str] = []
        """content of every accepted post"""
        self.slack: list[str] = []
        """text of every accepted message"""
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> "FakeSocial":
        app = web.Application()
        app.router.add_post("/api/posts", self._post)
        app.router.add_get("/api/posts", self._look)
        app.router.add_get("/services/T000/B000/XXXX", self._look)
        app.router.add_post("/services/T000/B000/XXXX", self._webhook)
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

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/posts"

    @property
    def slack_webhook(self) -> str:
        return f"http://127.0.0.1:{self._port}/services/T000/B000/XXXX"

    async def _post(self, request: web.Request) -> web.Response:
        if self.down is not None:
            return web.json_response({"error": "down"}, status=self.down)
        if self.key and request.headers.get("X-API-Key") != self.key:
            return web.json_response({"error": "bad key"}, status=401)
        body = await request.json()
        content = body.get("content") if isinstance(body, dict) else None
        if not isinstance(content, str) or not 0 < len(content) <= MAX_LENGTH:
            return web.json_response({"error": "bad content"}, status=400)
        self.posts.append(content)
        return web.json_response({"id": len(self.posts)}, status=201)

    async def _look(self, request: web.Request) -> web.Response:
        """Neither place is for reading."""
        return web.Response(text="POST only", status=self.down or 405)

    async def _webhook(self, request: web.Request) -> web.Response:
        if self.down is not None:
            return web.Response(text="service_unavailable", status=self.down)
        body = await request.json()
        text = body.get("text") if isinstance(body, dict) else None
        if not isinstance(text, str) or not text:
            return web.Response(text="no_text", status=400)
        self.slack.append(text)
        return web.Response(text="ok")
