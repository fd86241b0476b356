"""How long the stages of spoken turns take, over the latest turns of all calls of this hub.

A view of the call ledger: each stage is the distance of two of its lines on the call's own media
clock, so every wire's calls count. The user's speech is committed when its end is decided, before
the recogniser's last words are waited for; that is where `commit_…` stages begin. `speech_end_…`
stages begin earlier still, at the end of the last voiced frame. `turn_total` ends when the last
sound of the answer is made, for playing it takes as long as it takes.
"""

from collections import OrderedDict, deque
from typing import Any

import msgspec

from tron.calls.ledger import Record
from tron.calls.signals import Note

WINDOW = 256
MOST_CALLS = 1_000
TARGETS_P95_MS = {
    "commit_to_tts_ready": 250,
    "commit_to_context_ready": 350,
    "commit_to_assistant_working": 650,
    "commit_to_thinking_delta": 900,
    "commit_to_first_text": 550,
    "commit_to_first_audio": 1_400,
    "turn_total": 3_200,
}
UNMEASURED = ("commit_to_context_ready", "commit_to_thinking_delta")
"""stages of which the ledger knows nothing: nobody tells when the memory was read, and no model's
reasoning is passed on"""
FIRST_AUDIO_MISS = "first_audio_slo_miss"


class _Utterance(msgspec.Struct):
    """The latest of one call, as far as it has come; times in ms on its media clock."""

    stop: int | None = None
    partial: int | None = None
    pending: tuple[int, int] | None = None
    """(commit, end of speech) of what is not a turn yet; the turn before may still be dropped"""
    commit: int | None = None
    speech_end: int = 0
    turn: int = 0
    first_text: int | None = None
    speaking: bool | None = None
    """False: its first words went to the synthesiser; True: their first sound has come"""


class Latency:
    """See the module."""

    def __init__(self) -> None:
        self._stages: dict[str, deque[int]] = {}
        self._misses = 0
        self._calls: OrderedDict[str, _Utterance] = OrderedDict()

    def note(self, record: Record, at: int, note: Note) -> None:
        """A line of a call's ledger."""
        if note.kind == "ended":
            self._calls.pop(record.id, None)
            return
        said = self._calls.get(record.id)
        if said is None:
            said = self._calls[record.id] = _Utterance()
            if len(self._calls) > MOST_CALLS:
                self._calls.popitem(last=False)
        match note.kind:
            case "stop":
                said.stop = at
            case "speech_began":
                said.partial = said.stop = None
            case "partial":
                said.partial = at
            case "commit":
                self._committed(said, at, note.value)
            case "committed":
                self._add("stop_to_stt_committed", said.stop, at)
                said.stop = None
            case "not_a_turn":
                said.stop = said.pending = None
            case "turn_began":
                self._began(said, note.turn)
            case "synthesised" if said.speaking is False:
                said.speaking = True
                self._add("commit_to_tts_ready", said.commit, at)
            case _ if note.turn == said.turn and said.commit is not None:
                self._answered(said, at, note)

    def working(self, call_id: str, at: int) -> None:
        """The client was told that the persona is at work."""
        said = self._calls.get(call_id)
        if said is not None:
            self._add("commit_to_assistant_working", said.commit, at)

    def _committed(self, said: _Utterance, at: int, speech_end: int) -> None:
        said.pending = (at, speech_end)
        self._add("partial_to_commit", said.partial, at)
        self._add("speech_end_to_commit", speech_end, at)
        said.partial = None

    def _began(self, said: _Utterance, turn: int) -> None:
        said.turn, said.first_text, said.commit, said.speaking = turn, None, None, None
        if said.pending is not None:  # else it was typed
            said.commit, said.speech_end = said.pending
            said.pending = None

    def _answered(self, said: _Utterance, at: int, note: Note) -> None:
        match note.kind:
            case "first_text":
                said.first_text = at
                self._add("commit_to_brain_first_delta", said.commit, at)
                self._add("commit_to_first_text", said.commit, at)
            case "say":
                said.speaking = said.speaking or False
            case "first_audio":
                self._add("commit_to_first_audio", said.commit, at)
                self._add("brain_first_delta_to_first_audio", said.first_text, at)
                self._add("speech_end_to_first_audio", said.speech_end, at)
                if at - (said.commit or 0) > TARGETS_P95_MS["commit_to_first_audio"]:
                    self._misses += 1
            case "turn_over":
                if note.text == "completed":
                    self._add("turn_total", said.commit, note.value)
                said.commit = None
            case "turn_dropped":
                said.commit = None

    def _add(self, stage: str, begin: int | None, end: int) -> None:
        if begin is not None and end >= begin:
            self._stages.setdefault(stage, deque(maxlen=WINDOW)).append(end - begin)

    def reset(self) -> None:
        """Forget every sample."""
        self._stages.clear()
        self._misses = 0

    def stages(self) -> list[dict[str, Any]]:
        """Those that have samples, and those that can have none, by name."""
        names = sorted({*self._stages, *UNMEASURED})
        return [_summary(name, self._stages.get(name, deque())) for name in names]

    def indicators(self) -> list[dict[str, Any]]:
        return [{"name": FIRST_AUDIO_MISS, "count": self._misses}] if self._misses else []


def _summary(name: str, samples: deque[int]) -> dict[str, Any]:
    ordered = sorted(samples)
    found: dict[str, Any] = {
        "stage": name,
        "samples": len(ordered),
        "last_ms": samples[-1] if ordered else None,
        "avg_ms": round(sum(ordered) / len(ordered), 1) if ordered else None,
    }
    for part in (50, 95, 99):
        found[f"p{part}_ms"] = round(percentile(ordered, part / 100)) if ordered else None
    if name in TARGETS_P95_MS:
        found["target_p95_ms"] = TARGETS_P95_MS[name]
    return found


def percentile(ordered: list[int], part: float) -> float:
    """Interpolated between the two nearest of `ordered`, which is not empty."""
    place = (len(ordered) - 1) * part
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
