"""Waiting for something to become true, without guessing how long it takes."""

import asyncio
import time
from collections.abc import Awaitable, Callable

PAUSE_S = 0.01
PATIENCE_S = 60.0
"""How long anything may take that is sure to come: only what is broken takes longer, however slow
or busy the machine."""


def later(seconds: float) -> None:
    """Put the running loop's clock forward: what it times is over so much sooner."""
    loop = asyncio.get_running_loop()
    really = loop.time
    loop.time = lambda: really() + seconds  # type: ignore[method-assign]


async def eventually(
    true: Callable[[], bool | Awaitable[bool]], *, within_s: float = PATIENCE_S, what: str = ""
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
