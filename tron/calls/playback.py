"""Playback: what is sent to the caller, how far ahead, and how much of it was heard.

Frames wait here and go out at most `LEAD_MS` ahead of the playing, in blocks, so that a `clear`
throws little away and a slow loop is not heard. Which words were heard follows from when each
segment is to have played, and where the wire reports marks, from how far behind that they show it
to be. A mark may be late for reasons of its own, so the one that was least late counts.
"""

from collections import deque

import msgspec

from tron.calls.signals import FRAME_MS
from tron.calls.writing import usual_ms, whole_words

LEAD_MS = 400
BLOCK_MS = 100
MARK_GRACE_MS = 2_000
"""a mark that is later than this after its sound was due is not waited for"""


class Segment(msgspec.Struct):
    """One piece of an answer on its way to the caller."""

    id: int
    turn: int
    text: str
    """as it was written; empty for a filler, which is no part of the answer"""
    queued_ms: int = 0
    sent_ms: int = 0
    complete: bool = False
    """the synthesiser has made all of it"""
    ends_at: int = 0
    """media clock when the last of what was sent so far has played"""
    marked: bool = False
    played: bool = False


class Playback:
    """The way out of one call."""

    def __init__(self) -> None:
        self._segments: deque[Segment] = deque()
        self._frames: deque[tuple[Segment, bytes]] = deque()
        self._plays_until = 0
        """media clock when everything sent so far has played"""
        self._lag_ms: int | None = None
        """of the wire's playing behind that clock, with the way of a mark; None: not known"""

    @property
    def active(self) -> bool:
        """Whether anything is still to be made, sent or played."""
        return bool(self._segments)

    def add(self, id: int, turn: int, text: str) -> None:
        self._segments.append(Segment(id=id, turn=turn, text=text))

    def fill(self, id: int, frames: list[bytes]) -> None:
        """More audio of segment `id`; of one that is gone, nothing happens."""
        segment = self._find(id)
        if segment is not None:
            segment.queued_ms += FRAME_MS * len(frames)
            self._frames.extend((segment, frame) for frame in frames)

    def complete(self, id: int, *, failed: bool = False) -> None:
        """All of it is made, or (`failed`) no more than this ever will be: the rest of its text is
        not heard."""
        if (segment := self._find(id)) is not None:
            segment.complete = True
            if failed:
                made = len(segment.text) * segment.queued_ms // max(1, usual_ms(segment.text))
                segment.text = segment.text[: whole_words(segment.text, made)]

    def _find(self, id: int) -> Segment | None:
        return next((segment for segment in self._segments if segment.id == id), None)

    def due(self, now: int) -> tuple[list[bytes], list[int]]:
        """The frames to send now, and the segments to mark behind them."""
        frames: list[bytes] = []
        ahead = self._plays_until - now
        # Refilled in blocks: a write for every 20 ms is most of what a call would cost.
        if self._frames and ahead <= LEAD_MS - BLOCK_MS:
            self._plays_until = max(self._plays_until, now)
            while self._frames and self._plays_until - now < LEAD_MS:
                segment, frame = self._frames.popleft()
                segment.sent_ms += FRAME_MS
                self._plays_until += FRAME_MS
                segment.ends_at = self._plays_until
                frames.append(frame)
        marks = []
        for segment in self._segments:
            if not (segment.complete and segment.sent_ms == segment.queued_ms):
                break
            if not segment.marked:
                segment.marked = True
                if segment.sent_ms:
                    marks.append(segment.id)
        return frames, marks

    def finished(self, now: int, *, marks: bool) -> list[Segment]:
        """Segments that have been heard to their end since the last call, in order.

        `marks`: the wire reports marks, so wait for them, but not for ever (some simulators send
        none); else the clock tells.
        """
        done = []
        while self._segments:
            segment = self._segments[0]
            if not segment.marked:
                break
            # A mark can't be true before its sound can have played: some send it back at once.
            waits_ms = MARK_GRACE_MS if marks and segment.sent_ms and not segment.played else 0
            if now < segment.ends_at + waits_ms:
                break
            done.append(self._segments.popleft())
        return done

    def played(self, id: int, now: int) -> None:
        """The wire says segment `id` has played, and so have those before it."""
        for segment in self._segments:
            if segment.id <= id and segment.marked:
                segment.played = True
                if segment.id == id:
                    late = max(0, now - segment.ends_at)
                    self._lag_ms = late if self._lag_ms is None else min(late, self._lag_ms)

    def cut(self, now: int) -> tuple[str, str]:
        """Stop here: (the text heard of what was unfinished, the text not heard)."""
        heard: list[str] = []
        unheard: list[str] = []
        for segment in self._segments:
            words = _words_heard(segment, now - (self._lag_ms or 0))
            heard.append(segment.text[:words])
            unheard.append(segment.text[words:])
        self._segments.clear()
        self._frames.clear()
        self._plays_until = now
        return "".join(heard), "".join(unheard)


def _words_heard(segment: Segment, now: int) -> int:
    """How many characters of the segment's text were heard, in whole words."""
    heard_ms = segment.sent_ms - max(0, segment.ends_at - now)
    if heard_ms <= 0:
        return 0
    if segment.complete and heard_ms >= segment.queued_ms:
        return len(segment.text)
    # While it is still being made its length is a guess from what a voice usually takes.
    whole_ms = (
        segment.queued_ms if segment.complete else max(segment.queued_ms, usual_ms(segment.text))
    )
    return whole_words(segment.text, len(segment.text) * heard_ms // whole_ms)
