"""An answer on its way into Slack, while it is being written.

Text is added as it comes; a pump of its own brings it to Slack at Slack's pace and catches up
after a 429, so the one who writes never waits. In a thread it goes through the chat streaming
API where the app may use it, elsewhere as a message that is edited about once a second; both
ways a long answer goes on in the next message. `finish` returns only when all of it is there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from integrations.slack import wire
from integrations.slack.client import PATIENCE_S, Refused
from integrations.slack.mrkdwn import cut_at, line_end, mrkdwn, part_at, split
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

EDIT_PAUSE_S = 1.0
STREAM_PAUSE_S = 0.6
STREAM_CHARS = 10_000
"""of Markdown in one streamed message; beyond that it ends where a reader would cut"""
STREAM_MOST = 11_500
"""and here at the latest; Slack takes 12,000 a call"""
FINAL_PATIENCE_S = 300.0
NO_STREAM = frozenset(
    (
        *("unknown_method", "missing_scope", "not_allowed_token_type", "method_not_supported"),
        *("feature_not_enabled", "streaming_not_allowed", "channel_type_not_supported"),
        *("team_not_found", "missing_recipient_team_id", "missing_recipient_user_id"),
    )
)
"""the app or this place can't stream; edits can do it"""
MESSAGE_LOST = frozenset(
    ("message_not_found", "cant_update_message", "edit_window_closed", "streaming_state_conflict")
)
PASSING = frozenset(("rate_limited", "unreachable"))
STREAM_ENDED = frozenset(("message_not_in_streaming_state", "message_not_found"))

Call = Callable[..., Awaitable[dict[str, Any]]]
"""(method, **arguments) with the right token"""
Record = Callable[[list[str]], Awaitable[None]]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where an answer goes, and to whom."""

    channel: str
    thread: str
    """empty: not in a thread"""
    team: str
    user: str

    @property
    def where(self) -> dict[str, str]:
        return {"channel": self.channel, **({"thread_ts": self.thread} if self.thread else {})}


class _Stream(msgspec.Struct):
    """One streamed message."""

    lead: str = ""
    """opens the fence again that was cut"""
    taken: int = 0
    """where in the answer it begins"""
    sent: int = 0
    """characters that Slack has"""
    open: bool = False
    over: bool = False
    """all of it was sent; it is only to be closed"""
    next: "_Stream | None" = None


class Delivery:
    """One answer. `add` as it comes, then `finish` or `fail`; `close` in any case."""

    def __init__(
        self,
        *,
        call: Call,
        place: Place,
        record: Record,
        written: list[str],
        may_stream: bool,
    ) -> None:
        """`written`: messages of an earlier try, which are written anew instead of doubled."""
        self._call = call
        self._place = place
        self._record = record
        self._tasks = Tasks("slack-delivery")
        self._pieces: list[str] = []
        self._written = list(written)
        self._shown: list[str] = []  # what each written message shows
        self._streaming = may_stream and bool(place.thread) and not written
        self._stream = _Stream()
        self._changed = asyncio.Event()
        self._over = asyncio.Event()
        self._fault: Refused | None = None
        self._patience = PATIENCE_S
        self._pump: asyncio.Task[None] | None = None
        self.stream_refused = False
        """Slack said that it does not let us stream"""

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def started(self) -> bool:
        """Whether anything of it can be seen in Slack."""
        return bool(self._written)

    def add(self, text: str) -> None:
        """More of the answer. Returns at once."""
        self._pieces.append(text)
        self._changed.set()
        if self._pump is None and text.strip():
            self._pump = self._tasks.start(self._run(), "pump")

    async def finish(self) -> None:
        """Wait until all of it is in Slack. Raises Refused if it can't be brought there."""
        self._patience = FINAL_PATIENCE_S
        self._over.set()
        self._changed.set()
        if self._pump is None:
            self._pump = self._tasks.start(self._run(), "pump")
        await self._pump
        if self._fault is not None:
            raise self._fault
        await self._drop_leftovers()

    async def fail(self, notice: str, retry: int | None) -> None:
        """Say in the thread that the answer broke off, with a button to try again."""
        if self.text.strip():
            self.add(f"\n\n_{notice}_")
            await self.finish()
            if retry is None:
                return
            notice = "The answer above is not complete."
        elif self._written:  # of an earlier try: it becomes the notice
            await self._edit(self._written[0], f"_{notice}_")
            return
        blocks = None if retry is None else wire.with_retry(notice, retry)
        await self._call("chat.postMessage", **self._place.where, text=notice, blocks=blocks)

    async def close(self) -> None:
        await self._tasks.close()

    # The pump

    async def _run(self) -> None:
        try:
            while True:
                self._changed.clear()
                last = self._over.is_set()
                await self._flush(last=last)
                if last:
                    return
                await self._pause(STREAM_PAUSE_S if self._streaming else EDIT_PAUSE_S)
                await self._changed.wait()
        except Refused as fault:
            self._fault = fault  # for `finish`; until then the writer goes on

    async def _pause(self, seconds: float) -> None:
        """Slack's pace; the end of the answer need not wait for it."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            pass

    async def _flush(self, *, last: bool) -> None:
        try:
            if self._streaming:
                try:
                    await self._append(last=last)
                    return
                except Refused as fault:
                    if fault.error not in NO_STREAM | STREAM_ENDED:
                        raise
                    self.stream_refused = fault.error in NO_STREAM
                    self._streaming = False
            await self._edits()
        except Refused as fault:
            if last or fault.error not in PASSING:
                raise
            # The next flush carries this text too.

    async def _append(self, *, last: bool) -> None:
        """Bring the stream up to date; what does not fit goes on in another."""
        while True:
            stream = self._stream
            if not stream.over:
                text = stream.lead + self.text[stream.taken :].lstrip("\n")
                shown = text
                if (cut := _stream_cut(text, stream.sent)) is not None:
                    shown, lead = part_at(text, cut)
                    stream.next = _Stream(lead=lead, taken=len(self.text) - len(text) + cut)
                await self._show(stream, shown)
                if stream.next is None and not last:
                    return
                stream.over = True  # noted first: if closing it fails, only that is tried again
                self._shown[len(self._written) - 1 :] = [mrkdwn(shown)]
            await self._send("chat.stopStream", channel=self._place.channel, ts=self._written[-1])
            if stream.next is None:
                return
            self._stream = stream.next

    async def _show(self, stream: "_Stream", shown: str) -> None:
        if not stream.open:
            answer = await self._send(
                "chat.startStream",
                channel=self._place.channel,
                thread_ts=self._place.thread,
                recipient_team_id=self._place.team,
                recipient_user_id=self._place.user,
                markdown_text=shown,
            )
            stream.open = True
            await self._wrote(str(answer["ts"]))
        elif len(shown) > stream.sent:
            more = shown[stream.sent :]
            where = {"channel": self._place.channel, "ts": self._written[-1]}
            await self._send("chat.appendStream", **where, markdown_text=more)
        stream.sent = len(shown)

    async def _edits(self) -> None:
        for number, part in enumerate(split(self.text)):
            shown = mrkdwn(part)
            if number < len(self._shown) and self._shown[number] == shown:
                continue
            if not shown.strip():
                continue
            if number < len(self._written):
                await self._edit(self._written[number], shown)
            else:
                answer = await self._send("chat.postMessage", **self._place.where, **_body(shown))
                await self._wrote(str(answer["ts"]))
            self._shown[number:] = [shown]

    async def _edit(self, ts: str, shown: str) -> None:
        try:
            await self._send("chat.update", channel=self._place.channel, ts=ts, **_body(shown))
        except Refused as fault:
            if fault.error not in MESSAGE_LOST:
                raise
            # Somebody deleted it, or it may no longer be edited: say it in a new message.
            answer = await self._send("chat.postMessage", **self._place.where, **_body(shown))
            self._written[self._written.index(ts)] = str(answer["ts"])
            await self._record(self._written)

    async def _drop_leftovers(self) -> None:
        """An earlier try may have had more messages than this one."""
        needed = max(len(self._shown), 1)
        for ts in self._written[needed:]:
            try:
                await self._send("chat.delete", channel=self._place.channel, ts=ts)
            except Refused as fault:
                log.info("slack.leftover", error=fault.error)

    async def _wrote(self, ts: str) -> None:
        self._written.append(ts)
        await self._record(self._written)

    async def _send(self, method: str, **given: Any) -> dict[str, Any]:
        return await self._call(method, patience_s=self._patience, **given)


def _stream_cut(text: str, sent: int) -> int | None:
    """Where a streamed message ends; None while it need not. What was sent can't be taken back."""
    if len(text) <= STREAM_CHARS:
        return None
    least = max(sent, STREAM_CHARS // 2)
    if len(text) <= STREAM_MOST:
        return line_end(text, len(text) - 1, least)
    return max(cut_at(text, STREAM_MOST, least), sent)


def _body(shown: str) -> dict[str, Any]:
    return {"text": shown, "unfurl_links": False, "unfurl_media": False}
