"""Noticing speech: Silero's model behind a cheap gate.

WebRTC's detector (2 µs a frame) hears almost all speech, and much that is none; Silero (70 µs)
tells the two apart. So Silero runs only while the gate hears something, and a little longer, and
not for each window by itself while its verdict is foreseeable. Its model is shared by all callers;
what a caller's detector remembers is the caller's own.

The model file is taken out of the package `silero-vad` without importing it: it would import
torch.
"""

import asyncio
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tron.calls.audio import FULL, peak, samples_of
from tron.speech.contract import SpeechFailed

RATES = (8_000, 16_000)
FRAME_S = 0.02
GATE_MODE = 1
"""WebRTC's eagerness to call a sound noise, 0 (none) to 3"""
AFTERWARDS = 10
"""frames for which Silero goes on after the gate last heard something"""
SILENT_PEAK = 64
"""of 32768 (-54 dBFS): a frame that stays below holds nobody's voice, and needs no model to say so.
It is not even told, and goes on after a gap as if there had been none."""
SURE = 0.9
LOUD = 0.25
"""of the loudest just before. While the model is sure and the caller still as loud as that, nobody
waits for its verdict, so it hears of several windows one right after the other: the first, which
finds its weights pushed out of the cache, takes as long as two to five of the next"""
FADING = 0.98
"""a frame: half in 0.7 s"""
TOGETHER = 4
"""windows at most"""


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
        import webrtcvad

        self.sample_rate = sample_rate
        self._gate = webrtcvad.Vad(GATE_MODE)
        self._frame = 2 * int(sample_rate * FRAME_S)
        self._window = 512 * sample_rate // 16_000
        self._rest = b""
        """of the last frame, too short for the gate"""
        self._pending = b""
        """for Silero, a few windows at most"""
        self._left = 0
        self._likely = 0.0
        self._loudest = 0.0
        """peak of the word that is being said, fading"""
        self._ask = _Memory(session, sample_rate, self._window).ask

    def speech(self, frame: bytes) -> float:
        """How likely there is speech at the end of what was heard up to now, 0 to 1."""
        heard = self._rest + frame
        whole = len(heard) // self._frame * self._frame
        self._rest = heard[whole:]
        for at in range(0, whole, self._frame):
            if self._gate.is_speech(heard[at : at + self._frame], self.sample_rate):
                self._left = AFTERWARDS
            elif self._left:
                self._left -= 1
        size = 2 * self._window
        if not self._left:
            # The beginning of a word opens the gate late: one window before it is kept.
            self._pending = (self._pending + heard[:whole])[-size:]
            self._likely = self._loudest = 0.0
            return 0.0
        loudness = peak(frame)
        if loudness < SILENT_PEAK:
            return 0.0
        self._pending += heard[:whole]
        self._loudest = max(self._loudest * FADING, loudness)
        surely = self._likely >= SURE and loudness >= self._loudest * LOUD
        if not surely or len(self._pending) >= TOGETHER * size:
            while len(self._pending) >= size:
                self._likely = self._ask(self._pending[:size])
                self._pending = self._pending[size:]
        return self._likely


class _Memory:
    """What the model heard last and remembers of one caller, and where it puts its answer.

    Laid out once and bound to the model: to hand arrays over and take new ones back costs a sixth
    of an answer.
    """

    def __init__(self, session: Any, sample_rate: int, window: int) -> None:
        import numpy as np

        self._session = session
        self._context = 64 * sample_rate // 16_000
        """samples before the window that the model wants to hear again"""
        self._heard = np.zeros((1, self._context + window), np.float32)
        self._scale = np.float32(1 / FULL)
        self._rate = np.array(sample_rate, np.int64)
        self._likely = np.zeros((1, 1), np.float32)
        self._states = [np.zeros((2, 1, 128), np.float32) for _ in range(2)]
        first, second = self._states
        self._ways = deque((self._bound(first, second), self._bound(second, first)))
        """from the state before a window to the one after it, in turns"""

    def _bound(self, before: Any, after: Any) -> Any:
        way = self._session.io_binding()
        for name, array in (("input", self._heard), ("state", before), ("sr", self._rate)):
            way.bind_cpu_input(name, array)
        for name, array in (("output", self._likely), ("stateN", after)):
            way.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return way

    def ask(self, window: bytes) -> float:
        import numpy as np

        heard, context = self._heard[0], self._context
        heard[:context] = heard[-context:]
        np.multiply(samples_of(window), self._scale, out=heard[context:])
        self._session.run_with_iobinding(self._ways[0])
        self._ways.rotate()
        return float(self._likely[0, 0])


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
