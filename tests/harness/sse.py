"""Reading a stream of server-sent events the strict way, as a client library would."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import msgspec


class SseEvent(msgspec.Struct, frozen=True):
    """One frame between two empty lines."""

    data: str | None
    """None for a frame without a data line, such as a keep-alive comment"""
    event: str = ""
    id: str | None = None
    comments: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return self.data == "[DONE]"

    @property
    def json(self) -> Any:
        if self.data is None:
            raise AssertionError(f"an event without data: {self}")
        return msgspec.json.decode(self.data)


async def read_sse(body: AsyncIterable[bytes]) -> AsyncIterator[SseEvent]:
    """Each event as soon as it is complete, keep-alive comments too.

    `body` is what an HTTP client gives, such as aiohttp's `response.content`. Fails on a line that
    is no SSE and on bytes left over at the end, which is how a cut stream looks.
    """
    left = b""
    async for piece in body:
        left += piece
        while b"\n\n" in left.replace(b"\r\n", b"\n"):
            frame, _, left = left.replace(b"\r\n", b"\n").partition(b"\n\n")
            yield parse_event(frame.decode())
    if left.strip():
        raise AssertionError(f"the stream ended within an event: {left[:200]!r}")


def parse_event(frame: str) -> SseEvent:
    """One frame, without the empty line that ends it."""
    data: list[str] = []
    comments: list[str] = []
    named = {"event": "", "id": None}
    for line in frame.split("\n"):
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name and colon:
            comments.append(value)
        elif name == "data":
            data.append(value)
        elif name in named:
            named[name] = value
        elif name != "retry":
            raise AssertionError(f"not a line of an event stream: {line!r}")
    return SseEvent(
        data="\n".join(data) if data else None,
        event=named["event"] or "",
        id=named["id"],
        comments=tuple(comments),
    )


def text_of(events: list[SseEvent]) -> str:
    """What an OpenAI chat stream said; fails on an error event."""
    said = ""
    for event in events:
        if event.data is None or event.done:
            continue
        if "error" in event.json:
            raise AssertionError(f"the stream failed: {event.json['error']}")
        for choice in event.json["choices"]:
            said += choice["delta"].get("content") or ""
    return said
