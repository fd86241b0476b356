"""What is sent with a request: how large it may be, and reading it at once.

The limit is decided when the request is made, before it is routed: what came in over it by then
is gone. So a route that takes more says so for its path, and everything else keeps the limit of
the application.
"""

import asyncio
from typing import Any

from quart import Request, request
from werkzeug.exceptions import RequestTimeout

_LIMITS = "TRON_BODY_LIMITS"


def allow(app: Any, path: str, limit: int) -> None:
    """Let bodies of up to `limit` bytes in at exactly `path` of a Quart application."""
    limits: dict[str, int] = app.config.setdefault(_LIMITS, {})
    limits[path] = limit

    class RequestWithLimits(Request):
        def __init__(
            self,
            method: str,
            scheme: str,
            path: str,
            *args: Any,
            max_content_length: int | None = None,
            **kwargs: Any,
        ) -> None:
            most = limits.get(path, max_content_length)
            super().__init__(method, scheme, path, *args, max_content_length=most, **kwargs)

    app.request_class = RequestWithLimits


async def whole() -> bytes:
    """The body of the request, for the routes whose callers wait for every millisecond.

    Quart's own way gives each body a task, even one that is there already: three turns of the
    loop before the first line of the route. Raises RequestTimeout and what Quart's raises.
    """
    body = request.body
    try:
        async with asyncio.timeout(request.body_timeout):
            data: bytes = await body
    except TimeoutError:
        raise RequestTimeout from None
    body.clear()
    return data
