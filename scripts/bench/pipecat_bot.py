"""The yardstick for calls: the telephone bot a Pipecat user would write, with fake engines.

Runs in an environment of its own, which has Pipecat and nothing of the hub's (`make test-pipecat`):

    python -P scripts/bench/pipecat_bot.py --port 9001

As its guide says: FastAPI and uvicorn in one process, one pipeline a call, the Twilio serializer,
Silero at 8 kHz, a turn that ends 200 ms after it, interruptions allowed. What Pipecat adds by
default and a telephone has no use for (RTVI, turn tracking, metrics, idle watch) is off. The
engines are those of `tron/speech/fake.py` and `tron/brain/fake.py`: same words, same tone.
"""

import argparse
import math
import struct
import sys
from collections.abc import AsyncGenerator

import uvicorn  # type: ignore[import-not-found]
from fastapi import FastAPI, Response, WebSocket  # type: ignore[import-not-found]
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings, STTSettings, TTSSettings
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.utils.time import time_now_iso8601
from pipecat.workers.runner import WorkerRunner

RATE = 8_000
VAD_START_S = VAD_STOP_S = TURN_WAIT_S = 0.2
TRANSCRIPT = "What time is it?"
WORDS = 20
TONE_S = 1.2
TONE_HZ = 440
CHUNK = int(RATE * 0.2) * 2
TONE = b"".join(
    struct.pack("<h", round(8000 * math.sin(2 * math.pi * TONE_HZ / RATE * at)))
    for at in range(int(RATE * TONE_S))
)
TWIML = (
    '<Response><Connect><Stream url="ws://127.0.0.1/twilio/media">'
    '<Parameter name="token" value="none"/></Stream></Connect></Response>'
)

app = FastAPI()


class FakeSTT(STTService):  # type: ignore[misc]
    """A streaming recogniser that has its final transcript as soon as the speech ends."""

    def __init__(self) -> None:
        settings = STTSettings(model=None, language=None)
        super().__init__(ttfs_p99_latency=0.0, settings=settings)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        yield None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            await self.push_frame(
                TranscriptionFrame(TRANSCRIPT, "", time_now_iso8601(), finalized=True)
            )


class FakeLLM(LLMService):  # type: ignore[misc]
    """Numbered words, one after the other."""

    def __init__(self) -> None:
        settings = LLMSettings(
            model=None,
            system_instruction=None,
            temperature=None,
            max_tokens=None,
            top_p=None,
            top_k=None,
            frequency_penalty=None,
            presence_penalty=None,
            seed=None,
            filter_incomplete_user_turns=False,
            user_turn_completion_config=None,
        )
        super().__init__(settings=settings)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        for number in range(1, WORDS + 1):
            end = "." if number == WORDS else " "
            await self.push_frame(LLMTextFrame(f"word{number}{end}"))
        await self.push_frame(LLMFullResponseEndFrame())


class FakeTTS(TTSService):  # type: ignore[misc]
    """A tone of 1.2 s a sentence."""

    def __init__(self) -> None:
        settings = TTSSettings(model=None, voice=None, language=None)
        super().__init__(push_start_frame=True, push_stop_frames=True, settings=settings)

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        for at in range(0, len(TONE), CHUNK):
            yield TTSAudioRawFrame(TONE[at : at + CHUNK], RATE, 1, context_id=context_id)


@app.get("/health")  # type: ignore[untyped-decorator]
async def health() -> str:
    return "up"


@app.post("/twilio/voice")  # type: ignore[untyped-decorator]
async def voice() -> Response:
    return Response(TWIML, media_type="text/xml")


@app.websocket("/twilio/media")  # type: ignore[untyped-decorator]
async def media(websocket: WebSocket) -> None:
    """One call."""
    await websocket.accept()
    _, call = await parse_telephony_websocket(websocket)
    transport = FastAPIWebsocketTransport(
        websocket,
        FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            serializer=TwilioFrameSerializer(
                call["stream_id"], params=TwilioFrameSerializer.InputParams(auto_hang_up=False)
            ),
        ),
    )
    vad = VADParams(start_secs=VAD_START_S, stop_secs=VAD_STOP_S)
    user, assistant = LLMContextAggregatorPair(
        LLMContext(),
        user_params=LLMUserAggregatorParams(
            vad_analyzer=SileroVADAnalyzer(sample_rate=RATE, params=vad),
            user_turn_strategies=UserTurnStrategies(
                stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=TURN_WAIT_S)]
            ),
        ),
    )
    steps = [transport.input(), FakeSTT(), user, FakeLLM(), FakeTTS(), transport.output()]
    worker = PipelineWorker(
        Pipeline([*steps, assistant]),
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
        enable_rtvi=False,
        enable_turn_tracking=False,
        idle_timeout_secs=None,
    )

    @transport.event_handler("on_client_disconnected")  # type: ignore[untyped-decorator]
    async def hung_up(*_: object) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
