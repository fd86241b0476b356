"""Noticing speech: Silero's model behind a cheap gate.

WebRTC's detector (2 µs a frame) hears almost all speech, and much that is none; Silero (70 µs)
tells the two apart. So Silero runs only while the gate hears something, and a little longer. Its
model is shared by all callers; what a caller's detector remembers is the caller's own.

The model file is taken out of the package `silero-vad` without importing it: it would import
torch.
"""

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tron.calls.audio import peak, samples_of
from tron.speech.contract import SpeechFailed

RATES = (8_000, 16_000)
FRAME_S = 0.02
GATE_MODE = 1
"""WebRTC's eagerness to call a sound noise, 0 (none) to 3"""
AFTERWARDS = 10
"""frames for which Silero goes on after the gate last heard something"""
SILENT_PEAK = 64
"""of 32768 (-54 dBFS): a frame that stays below holds nobody's voice, and needs no model to say so;
without this the end of an utterance is noticed one or two frames late"""


class Silero:
    """The engine. The model is loaded with the first caller."""

    def __init__(self) -> None:
        self._session: Any = None
        self._loading = asyncio.Lock()

    async def listen(self, sample_rate: int) -> "SileroActivity":
        """Begin to watch one caller. `sample_rate`: 8000 or 16000. Raises SpeechFailed."""
        async with self._loading:
            if self._session is None:
                self._session = await asyncio.to_thread(_load)
        return SileroActivity(self._session, sample_rate)


class SileroActivity:
    """One caller."""

    def __init__(self, session: Any, sample_rate: int) -> None:
        if sample_rate not in RATES:
            raise ValueError(f"voice activity is found at {RATES} Hz, not at {sample_rate}")
        import numpy as np
        import webrtcvad

        self.sample_rate = sample_rate
        self._session = session
        self._gate = webrtcvad.Vad(GATE_MODE)
        self._frame = 2 * int(sample_rate * FRAME_S)
        self._window = 512 * sample_rate // 16_000
        self._context = 64 * sample_rate // 16_000
        self._rate = np.array(sample_rate, np.int64)
        self._state: Any = np.zeros((2, 1, 128), np.float32)
        self._before: Any = np.zeros(self._context, np.float32)
        self._rest = b""
        """of the last frame, too short for the gate"""
        self._pending = b""
        """for Silero, less than a window of it"""
        self._left = 0
        self._likely = 0.0

    def speech(self, frame: bytes) -> float:
        """How likely there is speech at the end of what was heard up to now, 0 to 1."""
        heard = self._rest + frame
        whole = len(heard) // self._frame * self._frame
        self._rest = heard[whole:]
        for at in range(0, whole, self._frame):
            self._hear(heard[at : at + self._frame])
        # The model goes on over a gap inside a word, but nobody speaks in the gap itself.
        return self._likely if peak(frame) >= SILENT_PEAK else 0.0

    def _hear(self, frame: bytes) -> None:
        if self._gate.is_speech(frame, self.sample_rate):
            self._left = AFTERWARDS
        elif self._left:
            self._left -= 1
        self._pending += frame
        size = 2 * self._window
        if not self._left:
            # The beginning of a word opens the gate late: one window before it is kept.
            self._pending = self._pending[-size:]
            self._likely = 0.0
            return
        while len(self._pending) >= size:
            self._likely = self._ask(self._pending[:size])
            self._pending = self._pending[size:]

    def _ask(self, window: bytes) -> float:
        import numpy as np

        samples = samples_of(window).astype(np.float32) / 32768
        heard = np.concatenate((self._before, samples))
        self._before = samples[-self._context :]
        likely, self._state = self._session.run(
            None, {"input": heard[None, :], "state": self._state, "sr": self._rate}
        )
        return float(likely[0, 0])


def _load() -> Any:
    spec = find_spec("silero_vad")
    if spec is None or spec.origin is None:
        raise SpeechFailed("silero-vad is not installed.")
    model = Path(spec.origin).parent / "data" / "silero_vad.onnx"
    try:
        import onnxruntime
        import webrtcvad  # noqa: F401 - loaded here, in a thread

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # border: onnxruntime's own kinds of failure
        raise SpeechFailed(f"The voice activity model can't be loaded: {error}") from error
