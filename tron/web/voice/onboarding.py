"""What is set up for talking, from real trials: each engine does its work once, in bounded time.

A sentence is spoken, heard and understood, the language model says a word, the store answers. The
answer is kept for a while, so that a page which asks every second does not keep the engines busy.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal

import structlog
from pydantic import BaseModel
from sqlalchemy import select

from tron.brain.contract import Ask
from tron.brain.openai import OpenAIProvider
from tron.calls.audio import resample
from tron.conversation.turns import Message
from tron.errors import TronError
from tron.speech.contract import SpeechFailed, Synthesiser
from tron.storage.tables import HOUSE, calls

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

TRIAL_S = 8.0
KEPT_S = 30.0
SENTENCE = "The hub can hear and speak."


class Check(BaseModel):
    """One thing that was tried; `fix` is how to mend it."""

    id: str
    status: Literal["ok", "warn", "error"]
    label: str
    detail: str
    fix: str | None = None


class Onboarding(BaseModel):
    """What is set up."""

    voice_provider: str
    brain_provider: str
    task_runtime_enabled: bool
    task_store_mode: Literal["sqlite", "postgres"]
    ui_audio_worklet: bool
    checks: list[Check]


class Trials:
    """Runs them, one round at a time."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._running: asyncio.Task[Onboarding] | None = None
        self._known: Onboarding | None = None
        self._known_at = 0.0

    async def status(self) -> Onboarding:
        """The latest answer, if it is fresh; else a new one. Those who ask meanwhile share it."""
        fresh = self._hub.clock.monotonic() - self._known_at < KEPT_S
        if self._known is not None and fresh:
            return self._known
        if self._running is None or self._running.done():
            self._running = self._hub.background.start(self._run(), "onboarding")
        return await asyncio.shield(self._running)

    async def _run(self) -> Onboarding:
        settings = self._hub.settings
        heard, brain, store, tasks = await asyncio.gather(
            self._speech(), self._brain(), self._store(), self._tasks()
        )
        providers = (settings.stt, settings.tts)
        self._known = Onboarding(
            voice_provider=settings.stt if settings.stt == settings.tts else "+".join(providers),
            brain_provider=self._hub.brain.providers[0].provider.name,
            task_runtime_enabled=True,
            task_store_mode="sqlite" if self._hub.store.sqlite else "postgres",
            ui_audio_worklet=True,
            checks=[
                *heard,
                *self._fakes(),
                brain,
                store,
                *tasks,
            ],
        )
        self._known_at = self._hub.clock.monotonic()
        return self._known

    async def _speech(self) -> list[Check]:
        """Say a sentence and understand it, with the chosen engines themselves: the local ones
        that stand behind them would hide that a provider is dead."""
        speech, settings = self._hub.speech, self._hub.settings
        spoken: list[bytes] = []

        async def say(mouth: Synthesiser) -> str:
            spoken.clear()
            async with aclosing(mouth.speak(SENTENCE, voice="")) as audio:
                async for pcm in audio:
                    spoken.append(pcm)
            if not any(spoken):
                raise SpeechFailed(f"{mouth.facts.name} said nothing.")
            seconds = sum(map(len, spoken)) / 2 / mouth.facts.sample_rate
            return f"{mouth.facts.name}: {seconds:.1f} s of speech"

        async def understand(mouth: Synthesiser) -> str:
            rates = mouth.facts.sample_rate, speech.ears.facts.sample_rate
            pcm = await asyncio.to_thread(resample, b"".join(spoken), *rates)
            heard = await speech.ears.transcribe(pcm)
            return f"{speech.ears.facts.name}: understood {len(heard.text.split())} words"

        async def listen() -> str:
            if voice.status == "ok":
                return await understand(speech.mouth)
            await say(speech.local_mouth)  # so that the ears have something to hear
            return await understand(speech.local_mouth)

        voice = await self._tried(
            "voice_provider",
            "Voice",
            lambda: say(speech.mouth),
            f"TRON_TTS={settings.tts}: see `tron doctor`",
        )
        ears = await self._tried(
            "speech_recognition",
            "Speech recognition",
            listen,
            f"TRON_STT={settings.stt}: see `tron doctor`",
        )
        for check, alone, local in (
            (voice, speech.synthesiser is speech.mouth, speech.local_mouth.facts.name),
            (ears, speech.recogniser is speech.ears, speech.local_ears.facts.name),
        ):
            if check.status == "error" and not alone:
                check.detail += f" The local engine, {local}, stands in for it."
        return [voice, ears]

    def _fakes(self) -> list[Check]:
        fakes = [
            env
            for env, value in (
                ("TRON_STT", self._hub.settings.stt),
                ("TRON_TTS", self._hub.settings.tts),
            )
            if value == "fake"
        ]
        if not fakes:
            return []
        detail = f"{' and '.join(fakes)} is set to fake: nobody is really heard or spoken to"
        return [
            Check(
                id="mock_voice",
                status="warn",
                label="Stand-in voice",
                detail=detail,
                fix="; ".join(f"{env}=local" for env in fakes),
            )
        ]

    async def _brain(self) -> Check:
        """The first provider, asked for a word."""
        provider = self._hub.brain.providers[0].provider
        persona = self._hub.settings.default_agent

        async def ask() -> str:
            hello = Message(role="user", content="Answer with the one word: ready")
            wanted = Ask(messages=[hello], agent=persona, params={"max_tokens": 8})
            async with aclosing(provider.stream(wanted)) as parts:
                await anext(parts)
            return f"{provider.name} answers"

        if isinstance(provider, OpenAIProvider):
            fix = "Check OPENAI_API_KEY, OPENAI_BASE_URL and TRON_MODEL"
            return await self._tried("brain_http", "Language model", ask, fix)
        tried = await self._tried("brain_mode", "Language model", ask, "see `tron doctor`")
        if tried.status == "ok":
            tried.status = "warn"
            tried.detail += ": no language model is set up"
            tried.fix = "OPENAI_API_KEY, or OPENAI_BASE_URL"
        return tried

    async def _store(self) -> Check:
        async def read() -> str:
            async with self._hub.store.read() as connection:
                await connection.execute(
                    select(calls.c.id).where(calls.c.client_id == HOUSE).limit(1)
                )
            return self._kind()

        return await self._tried("store", "Store", read, "Check TRON_DATABASE_URL")

    async def _tasks(self) -> list[Check]:
        """Whether tasks are read from the store, and followed as the socket follows them."""
        desk = self._hub.desk

        async def read() -> str:
            waiting = len(await desk.waiting(HOUSE))
            return f"{self._kind()}: {waiting} of the tasks wait for approval"

        async def follow() -> str:
            async with desk.follow(HOUSE):
                live = len(await desk.listing(HOUSE, live=True, limit=100))
            return f"on: {live if live < 100 else '100 or more'} tasks have not ended"

        return [
            await self._tried("task_runtime", "Tasks", follow, "see the hub's log"),
            await self._tried("task_store", "Task store", read, "Check TRON_DATABASE_URL"),
        ]

    def _kind(self) -> str:
        return "SQLite" if self._hub.store.sqlite else "PostgreSQL"

    async def _tried(
        self, id: str, label: str, trial: Callable[[], Awaitable[str]], fix: str
    ) -> Check:
        try:
            async with asyncio.timeout(TRIAL_S):
                return Check(id=id, status="ok", label=label, detail=await trial())
        except TimeoutError:
            detail = f"No answer within {TRIAL_S:g} s."
        except (TronError, StopAsyncIteration) as error:
            detail = str(error) or "No answer."
        log.warning("voice.trial_failed", trial=id)
        return Check(id=id, status="error", label=label, detail=detail, fix=fix)
