"""Waiting for something to become true, without guessing how long it takes."""

import asyncio
import time
from collections.abc import Awaitable, Callable

PAUSE_S = 0.01


async def eventually(
    true: Callable[[], bool | Awaitable[bool]], *, within_s: float = 5.0, what: str = ""
) -> None:
    """Return as soon as `true()` is; fail if it is not `within_s`.

    It yields to the loop first, so it also works on what is scheduled but has not run yet.
    """
    deadline = time.monotonic() + within_s
    while True:
        await asyncio.sleep(0)
        answer = true()
        if await answer if isinstance(answer, Awaitable) else answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what or 'what was waited for'}")
        await asyncio.sleep(PAUSE_S)
