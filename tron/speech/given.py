"""What engines have in common whose model is a file that the operator brings.

Where the file is (named by a setting, or in the data folder), what to say when it or the engine's
package is not there, and how a voice is spoken with that takes a sentence and gives its audio: in
one thread, which makes the next sentence while the one before is played.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import structlog

from tron.errors import TronError
from tron.speech.contract import SpeechFailed
from tron.speech.pieces import sentences
from tron.speech.worker import Worker

log = structlog.get_logger(__name__)

LONGEST = 100
"""characters made in one go, about 7 s of speech: nothing is heard before they are made"""
CHUNK_BYTES = 16_000
MOST_THREADS = 4


class NotGiven(Exception):
    """The engine can't be used; the message says what is missing, and where it belongs."""


def package(module: str, name: str, extra: str) -> None:
    """Raises NotGiven unless `module` can be imported; nothing is imported."""
    if find_spec(module) is None:
        raise NotGiven(f"the package {name} is not installed: pip install 'tron[{extra}]'")


def place(named: str, usual: Path, *, setting: str) -> Path:
    """The file or folder that was named, or the usual one. Raises NotGiven if it is not there."""
    if named:
        if not Path(named).exists():
            raise NotGiven(f"{setting}={named}: there is no such file or folder")
        return Path(named)
    if not usual.is_dir():
        raise NotGiven(f"there is no folder {usual}; put the model there, or name it in {setting}")
    return usual


def begin_loading(worker: Worker, load: Callable[[], object]) -> None:
    """Load in the background; a failure is logged here and raised to whoever needs the model."""

    def tell(done: Any) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("speech.model_not_loaded", engine=worker.name, error=str(error))

    worker.submit(load).add_done_callback(tell)


async def by_sentence(
    worker: Worker, text: str, make: Callable[[str], bytes]
) -> AsyncGenerator[bytes, None]:
    """The audio of `text`, each sentence made by `make` in the thread. Closing it early makes no
    further sentence. Raises SpeechFailed, and what `make` refuses."""
    for sentence in sentences(text.replace("\0", " "), longest=LONGEST):
        if not any(character.isalnum() for character in sentence):
            continue  # models make noise of a lone dash or emoji
        job = worker.submit(partial(_made, worker.name, sentence, make))
        try:
            pcm = await asyncio.wrap_future(job)
        finally:
            job.cancel()
        for at in range(0, len(pcm), CHUNK_BYTES):
            yield pcm[at : at + CHUNK_BYTES]


def _made(engine: str, sentence: str, make: Callable[[str], bytes]) -> bytes:
    try:
        return make(sentence)
    except TronError:
        raise
    except Exception as error:  # border: another's library and another's model
        raise SpeechFailed(f"{engine} could not speak ({type(error).__name__}).") from error


def onnx_session(model: Path) -> Any:
    """The model, loaded. Raises SpeechFailed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # of a model it only has advice for whoever made it
    options.intra_op_num_threads = threads()
    # Threads that spin between two runs would take the loop's core from it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # border: onnxruntime's own kinds of failure
        raise SpeechFailed(f"{model} can't be loaded: {error}") from error


def threads() -> int:
    """How many a model may use."""
    return min(MOST_THREADS, os.cpu_count() or 1)
