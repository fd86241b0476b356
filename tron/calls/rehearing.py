"""A recorded caller heard again: by the voice activity detector, and by a recogniser.

Partials stay those of then: how much of an utterance they were made from depended on how quick the
recogniser was.
"""

import io
import wave

import numpy as np

from tron.calls.audio import Resampler
from tron.calls.signals import FRAME_MS, Heard
from tron.calls.tape import Entry, Untold
from tron.speech.contract import Recogniser, VoiceActivity


def with_sound(
    entries: list[Entry], recording: bytes, heard_rate: int, activity: VoiceActivity
) -> list[Entry]:
    """The entries of a tape, the caller's frames with their sound and newly judged.

    `recording` is the call's stereo WAV. Raises Untold if it can't be read or ends too early.
    """
    caller = _left(recording, heard_rate)
    size = heard_rate * FRAME_MS // 1000 * 2
    same_rate = heard_rate == activity.sample_rate
    convert = None if same_rate else Resampler(heard_rate, activity.sample_rate)
    heard: list[Entry] = []
    end = 0
    for entry in entries:
        if isinstance(entry.what, Heard):
            # Where `recording.Track` has put it.
            begin = max(end, max(entry.at - FRAME_MS, 0) * heard_rate // 1000 * 2)
            end = begin + size
            pcm = caller[begin:end]
            if len(pcm) < size:
                raise Untold(f"Its recording ends at {entry.at / 1000:.1f} s, before the call.")
            frame = pcm if convert is None else convert.feed(pcm)
            entry = Entry(entry.at, Heard(pcm, activity.speech(frame)))
        heard.append(entry)
    return heard


def _left(recording: bytes, rate: int) -> bytes:
    try:
        with wave.open(io.BytesIO(recording)) as file:
            shape = file.getnchannels(), file.getsampwidth(), file.getframerate()
            pcm = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise Untold(f"Its recording can't be read ({error}).") from None
    if shape != (2, 2, rate):
        raise Untold(f"Its recording is no 16-bit stereo WAV of {rate} Hz.")
    return np.ascontiguousarray(np.frombuffer(pcm, "<i2")[::2]).tobytes()


class Ears:
    """A recogniser that is given one utterance after the other, as a call gives them."""

    def __init__(self, recogniser: Recogniser, heard_rate: int) -> None:
        self._recogniser = recogniser
        self._convert = Resampler(heard_rate, recogniser.facts.sample_rate)

    async def understand(self, pcm: bytes) -> str:
        """What is said in the caller's next utterance. Raises SpeechFailed."""
        hearing = await self._recogniser.listen()
        try:
            hearing.feed(self._convert.feed(pcm))
            hearing.commit()
            async for heard in hearing.results():
                if heard.final:
                    return heard.text
            return ""
        finally:
            await hearing.close()
