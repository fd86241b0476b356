"""Speech on its way to somebody over HTTP: begun before it is promised, and at another rate."""

import contextlib
from collections.abc import AsyncGenerator

from tron.calls.audio import Resampler


async def begun(audio: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same audio once its beginning is there; raises what kept it from beginning."""
    first = await anext(audio, b"")

    async def rest() -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(audio):
            yield first
            async for chunk in audio:
                yield chunk

    return rest()


async def at_rate(
    target: int, audio: AsyncGenerator[bytes, None], source: int
) -> AsyncGenerator[bytes, None]:
    """PCM16 of `source` Hz as of `target` Hz."""
    resampler = Resampler(source, target)
    async with contextlib.aclosing(audio):
        async for chunk in audio:
            yield resampler.feed(chunk)
    yield resampler.flush()
