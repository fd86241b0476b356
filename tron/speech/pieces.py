"""Cutting: a recording into pieces an engine can take, a text into sentences it can say.

A recording is cut where it is quietest, so that no word is cut in two. Positions are in samples.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tron.calls.audio import samples_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAUSE_S = 0.6
"""silence this long parts two pieces of a recording"""
SHORTEST_S = 2.0
_STEP_S = 0.02
_QUIET_DB = 30.0
"""a step this much below the loudest ones is silence"""

SENTENCE_END = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*\s+|\n+")
CLAUSE_END = re.compile(r"(?<=[,;:–—])\s+")


def quietest(pcm: bytes, rate: int, *, after_s: float) -> int:
    """The sample in the middle of the quietest 100 ms that come `after_s` seconds or later."""
    import numpy as np

    step = int(rate * _STEP_S)
    energies = _energies(samples_of(pcm), step)
    first = int(after_s / _STEP_S)
    if len(energies) - first < 5:
        return len(pcm) // 2
    sums = np.convolve(energies[first:], np.ones(5), "valid")
    return int(first + np.argmin(sums) + 2) * step + step // 2


def stretches(pcm: bytes, rate: int, *, longest_s: float) -> list[tuple[int, int]]:
    """(start, end) of the pieces of a recording, cut at its pauses; silence is left out.

    A quarter of a second is kept on each side of what is said.
    """
    import numpy as np

    step = int(rate * _STEP_S)
    energies = _energies(samples_of(pcm), step)
    if not len(energies) or not energies.max() > 0:
        return []
    loud = np.flatnonzero(energies > np.percentile(energies, 95) / 10 ** (_QUIET_DB / 10))
    if not len(loud):
        loud = np.arange(len(energies))
    margin, total = int(0.25 / _STEP_S), len(energies)
    found: list[tuple[int, int]] = []
    for at in np.split(loud, np.flatnonzero(np.diff(loud) > PAUSE_S / _STEP_S) + 1):
        start, end = max(0, int(at[0]) - margin), min(total, int(at[-1]) + 1 + margin)
        if found and found[-1][1] - found[-1][0] < SHORTEST_S / _STEP_S:
            start = found.pop()[0]
        found.append((start, end))
    return [cut for a, b in found for cut in _shorter(pcm, rate, a * step, b * step, longest_s)]


def _shorter(
    pcm: bytes, rate: int, start: int, end: int, longest_s: float
) -> Iterator[tuple[int, int]]:
    while end - start > longest_s * rate:
        window = pcm[2 * start : 2 * (start + int(longest_s * rate))]
        cut = start + quietest(window, rate, after_s=longest_s / 2)
        yield start, cut
        start = cut
    yield start, end


def _energies(samples: "NDArray[np.int16]", step: int) -> "NDArray[np.float32]":
    import numpy as np

    whole = samples[: len(samples) // step * step].astype(np.float32).reshape(-1, step)
    energies: NDArray[np.float32] = np.einsum("ij,ij->i", whole, whole)
    return energies


def sentences(text: str, *, longest: int) -> Iterator[str]:
    """The sentences of a text; one longer than `longest` characters is cut at a clause, else at
    a space, else anywhere."""
    for sentence in SENTENCE_END.split(text):
        rest = sentence.strip()
        while len(rest) > longest:
            ends = [m.end() for m in CLAUSE_END.finditer(rest, 0, longest)]
            cut = ends[-1] if ends else rest.rfind(" ", 0, longest) + 1 or longest
            yield rest[:cut].strip()
            rest = rest[cut:].strip()
        if rest:
            yield rest


def portions(text: str, *, longest: int) -> Iterator[str]:
    """A text in as few portions of at most `longest` characters as whole sentences allow."""
    held = ""
    for sentence in sentences(text, longest=longest):
        if held and len(held) + 1 + len(sentence) > longest:
            yield held
            held = ""
        held = f"{held} {sentence}" if held else sentence
    if held:
        yield held
