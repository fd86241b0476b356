"""Listening: when does the caller begin to speak, and when are they done?

Works on 20 ms frames with a speech likelihood. Speech has begun after `start_ms` of voice (at once
where a button is held); what came just before is handed over with it, so first words are whole. It
has stopped after `stop_ms` of silence, and the utterance is over a little later: `wait_ms`, less
after a sentence that is plainly complete, more after one that plainly goes on. Voice in that time
takes the utterance up again. Nothing is lost in between: every frame from the pre-roll to the end
is fed.
"""

from collections import deque
from typing import Literal

import msgspec

from tron.calls.signals import FRAME_MS
from tron.calls.writing import COMMAS, STOPS, WIDE_COMMAS, WIDE_STOPS

VOICED = 0.5
PRE_ROLL_MS = 300
DROPOUT_MS = 60  # a gap this short inside a beginning word is not silence
RESUME_MS = 60  # of voice take a paused utterance up again
LONGEST_MS = 60_000

_COMPLETE = tuple(STOPS + WIDE_STOPS)
_COMMAS = tuple(COMMAS + WIDE_COMMAS)
_GOING_ON = frozenset(
    (
        "a about an and are as at because but by can could for from her his i if in into is "
        "its like my of on or our should so than that the their then they to uh um was we "
        "were when which while who will with would your"
    ).split()
)

Change = Literal["began", "stopped", "resumed", "over"]


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """The declared waits, in ms."""

    start_ms: int = 200
    stop_ms: int = 200
    wait_ms: int = 200


def turn_wait_ms(partial: str, wait_ms: int) -> int:
    """How long to wait after speech stopped, given what was understood so far."""
    text = partial.strip()
    if not text:
        return wait_ms
    if text.endswith(_COMMAS):
        return wait_ms + 400
    last = text.rsplit(None, 1)[-1].strip(".,!?;:").lower()
    if last in _GOING_ON:
        return wait_ms + 600
    return wait_ms // 2 if text.endswith(_COMPLETE) else wait_ms


class Listening:
    """One caller's utterances. Lengths are counted in frames: packets may come in bursts."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._recent: deque[bytes] = deque(
            maxlen=(waits.start_ms + PRE_ROLL_MS + DROPOUT_MS) // FRAME_MS
        )
        self._state: Literal["quiet", "speaking", "paused"] = "quiet"
        self._voiced_ms = 0
        self._silent_ms = 0
        self._length_ms = 0
        self._framed_at = 0
        self.partial = ""
        self.held = False
        """push-to-talk: any voice begins the utterance, and only the client ends it"""
        self.began_at = 0
        """media clock, begin of the first voiced frame"""
        self.last_voiced_at = 0
        """media clock, end of the last voiced frame"""

    @property
    def speaking(self) -> bool:
        """Whether an utterance is under way (a pause inside it included)."""
        return self._state != "quiet"

    @property
    def voiced_ms(self) -> int:
        """How long the utterance is, from its first voiced frame to its last so far."""
        return self.last_voiced_at - self.began_at if self.speaking else 0

    def hear(self, pcm: bytes, speech: float, at: int) -> tuple[bytes, Change | None]:
        """One frame, ending at `at`: the audio to feed now, and what changed."""
        self._framed_at = at
        voiced = speech >= VOICED
        if voiced:
            self.last_voiced_at = at
        if self._state == "quiet":
            return self._quiet(pcm, voiced, at)
        self._length_ms += FRAME_MS
        self._silent_ms = 0 if voiced else self._silent_ms + FRAME_MS
        return pcm, self._within(voiced)

    def lapse(self, at: int) -> Change | None:
        """Time without a frame: a client that sends none in silence must be understood too."""
        missing_ms = at - self._framed_at
        if self._state == "quiet" or missing_ms <= DROPOUT_MS:
            return None
        return self._over_if_waited(self._silent_ms + missing_ms)

    def _quiet(self, pcm: bytes, voiced: bool, at: int) -> tuple[bytes, Change | None]:
        self._recent.append(pcm)
        if voiced:
            if self._voiced_ms == 0:
                self.began_at = at - FRAME_MS
                self._silent_ms = 0
            self._voiced_ms += FRAME_MS + self._silent_ms  # a gap inside the word is part of it
            self._silent_ms = 0
        else:
            self._silent_ms += FRAME_MS
            if self._silent_ms > DROPOUT_MS:
                self._voiced_ms = 0
        # Who holds a button means every word, however short.
        start_ms = FRAME_MS if self.held else max(self._waits.start_ms, FRAME_MS)
        if self._voiced_ms < start_ms:
            return b"", None
        audio = b"".join(self._recent)
        self._recent.clear()
        self._state, self.partial = "speaking", ""
        self._voiced_ms = self._silent_ms = self._length_ms = 0
        return audio, "began"

    def _within(self, voiced: bool) -> Change | None:
        if self._length_ms >= LONGEST_MS:
            return self.end()
        if self._state == "speaking":
            if self._silent_ms < self._waits.stop_ms:
                return None
            self._state, self._voiced_ms = "paused", 0
            # With no further wait the utterance is over at once.
            return self._over_if_waited(self._silent_ms) or "stopped"
        self._voiced_ms = self._voiced_ms + FRAME_MS if voiced else 0
        if self._voiced_ms >= RESUME_MS:
            self._state, self._voiced_ms = "speaking", 0
            return "resumed"
        return None if voiced else self._over_if_waited(self._silent_ms)

    def _over_if_waited(self, silent_ms: int) -> Change | None:
        if self.held:
            return None
        wait = self._waits.stop_ms + turn_wait_ms(self.partial, self._waits.wait_ms)
        return self.end() if silent_ms >= wait else None

    def end(self) -> Change | None:
        """The utterance ends now, by the clock or because the client says so."""
        if self._state == "quiet":
            return None
        self._state = "quiet"
        self._voiced_ms = self._silent_ms = 0
        return "over"
