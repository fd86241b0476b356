"""The doctor: tries every configured thing for real and says how to mend what fails.

Owns the checks and their hints, nothing else: each check opens what it needs by itself, so one
that is broken does not hide the others, and nothing of the hub is started. A thing that is not
configured is `off`, one that people can do without is at worst a `warning`. The command line
prints the findings as they come.
"""

import asyncio
import os
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal

import msgspec

from tron.agents.persona import Persona
from tron.agents.registry import Registry
from tron.brain.brain import providers_of
from tron.brain.contract import Ask
from tron.brain.fake import FakeBrain
from tron.brain.openai import OpenAIProvider
from tron.clock import SystemClock
from tron.conversation.turns import Message
from tron.errors import ProviderError, StorageUnavailable, TronError
from tron.events import Bus
from tron.life.feeds import Feed, Feeds
from tron.life.outside import Outside, Unreachable
from tron.settings import Settings, SettingsError
from tron.speech.contract import SpeechFailed
from tron.speech.engines import ALONE, Speech
from tron.storage.store import Store
from tron.web.security import Security, check_bind

State = Literal["ok", "failed", "warning", "off"]

MODEL_WAIT_S = 30.0
DNS_WAIT_S = 10.0
OLDEST_PYTHON = (3, 11)


class Finding(msgspec.Struct, frozen=True):
    """What one check found; `hint` says how to mend it."""

    name: str
    state: State
    detail: str
    hint: str = ""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Every check, in the order in which one depends on another."""
    outside = Outside()
    store: Store | None = None
    try:
        yield _python()
        yield _data_folder(settings)
        database, store = await _database(settings)
        yield database
        if store is not None:
            yield await _owner(settings, store)
        port = await _port(settings, outside)
        yield port
        found, personas = _personas(settings)
        yield found
        async for finding in _models(settings, personas):
            yield finding
        async for finding in _speech(settings):
            yield finding
        if store is not None:
            async for finding in _feeds(personas, store, outside):
                yield finding
        yield await _web_search(settings, outside)
        async for finding in _posts(settings, outside):
            yield finding
        yield await _base_domain(settings)
        yield await _public_url(settings, outside, running=port.detail.startswith("a hub"))
        if store is not None:
            async for finding in _integrations(settings):
                yield finding
    finally:
        if store is not None:
            await store.close()
        await outside.close()


async def _integrations(settings: Settings) -> AsyncIterator[Finding]:
    """What each integration finds out about itself; nothing of them is started."""
    from tron.app import open_hub  # the whole hub, which the other checks do without
    from tron.integrations import attach_all

    try:
        async with open_hub(settings) as hub:
            for integration in attach_all(hub):
                async for finding in integration.check():
                    yield finding
    except (SettingsError, StorageUnavailable):  # told above, with what mends it
        return


def _python() -> Finding:
    from packaging.requirements import Requirement  # a hub imports `Finding`, and not this

    running = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("Python", "failed", running, "Tron needs Python 3.11 or newer.")
    missing = []
    for line in requires("tron") or []:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            version(wanted.name)
        except PackageNotFoundError:
            missing.append(wanted.name)
    if missing:
        detail = f"{running}; missing packages: {', '.join(missing)}"
        return Finding("Python", "failed", detail, "make install")
    return Finding("Python", "ok", f"{running}, every package is there")


def _data_folder(settings: Settings) -> Finding:
    home = settings.home.absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=home) as probe:
            probe.write(b"x" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        hint = "Make the folder writable and leave room on the disk, or set TRON_HOME."
        return Finding("data folder", "failed", f"{home}: {error.strerror}", hint)
    return Finding("data folder", "ok", str(home))


async def _database(settings: Settings) -> tuple[Finding, Store | None]:
    kind = "SQLite" if settings.storage_url.startswith("sqlite") else "PostgreSQL"
    try:
        store = await Store.open(settings.storage_url)
    except (StorageUnavailable, OSError) as error:
        cause = error.__cause__ or error
        detail = f"{kind} does not open: {str(getattr(cause, 'orig', cause)).splitlines()[0]}"
        hint = "Check TRON_DATABASE_URL, and that the server runs and lets this user in."
        if kind == "SQLite":
            hint = "Check that the data folder is writable and the disk is not full."
        return Finding("database", "failed", detail, hint), None
    return Finding("database", "ok", f"{kind} opens, and its tables are up to date"), store


async def _owner(settings: Settings, store: Store) -> Finding:
    security = Security(settings, store, SystemClock())
    await security.load()
    try:
        check_bind(settings, security.has_owner)
    except SettingsError as error:
        return Finding("owner", "failed", str(error), "tron owner set")
    if security.has_owner:
        return Finding("owner", "ok", "the hub is protected: requests need a token")
    return Finding("owner", "off", "none: only this machine can reach the hub, without a password")


async def _port(settings: Settings, outside: Outside) -> Finding:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "localhost") else settings.host
    address = f"[{host}]" if ":" in host else host
    where = f"{settings.host}:{settings.port}"
    try:
        answer = await outside.get(f"http://{address}:{settings.port}/health")
        health = msgspec.json.decode(answer.body)
        return Finding("port", "ok", f"a hub answers on {where}, version {health['version']}")
    except (Unreachable, msgspec.DecodeError, KeyError, TypeError):
        pass
    try:
        probe = await asyncio.start_server(
            lambda _, writer: writer.close(), settings.host, settings.port
        )
        probe.close()
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror
        hint = f"Stop what listens there, or: tron serve --port {settings.port + 1}"
        return Finding("port", "failed", f"{where}: {why}", hint)
    return Finding("port", "ok", f"{where} is free")


def _personas(settings: Settings) -> tuple[Finding, list[Persona]]:
    registry = Registry(settings.persona_folder, SystemClock(), default=settings.default_agent)
    registry.refresh()
    names = ", ".join(persona.name for persona in registry.personas)
    if registry.faults:
        detail = "; ".join(map(str, registry.faults))
        hint = "Mend the files (TRON_PERSONAS says where they are), then: tron personas"
        return Finding("personas", "failed", detail, hint), registry.personas
    if registry.stand_in is not None:
        wanted = f"TRON_DEFAULT_AGENT={settings.default_agent}"
        detail = f"{wanted} is not one of {names}; {registry.stand_in.name} stands in"
        return Finding("personas", "warning", detail, "Set it to one of them."), registry.personas
    return Finding("personas", "ok", names), registry.personas


async def _models(settings: Settings, personas: list[Persona]) -> AsyncIterator[Finding]:
    """Ask each provider one small question, and the first one for each model a persona names."""
    try:
        ours = FakeBrain(tokens=1, delay_ms=0)  # stands where the offline brain would
        providers = [p for p in providers_of(settings, ours) if isinstance(p, OpenAIProvider)]
    except SettingsError as error:
        yield Finding("language model", "failed", str(error), "Set one of them.")
        return
    if not providers:
        yield Finding(
            "language model",
            "off",
            "none: the offline brain answers",
            "Set OPENAI_API_KEY, or OPENAI_BASE_URL for another endpoint.",
        )
    for place, provider in enumerate(providers):
        own = {persona.model for persona in personas if persona.model} if place == 0 else set()
        for model in [provider.model, *sorted(own - {provider.model})]:
            yield await _ask(provider, model)
        await provider.close()


async def _ask(provider: OpenAIProvider, model: str) -> Finding:
    name = f"model {model}"
    hello = Message(role="user", content="Answer with the one word: ready")
    clock = SystemClock()
    began = clock.monotonic()
    try:
        async with asyncio.timeout(MODEL_WAIT_S):
            async with aclosing(provider.stream(Ask(messages=[hello], model=model))) as parts:
                await anext(parts)  # the first words are proof enough
    except (ProviderError, TimeoutError, StopAsyncIteration) as error:
        detail = str(error) or f"no answer within {MODEL_WAIT_S:g} s"
        hint = f"Check the key and that {provider.base_url} serves {model} (TRON_MODEL)."
        return Finding(name, "failed", detail, hint)
    took = clock.monotonic() - began
    return Finding(name, "ok", f"{provider.name} answers, first words after {took:.2f} s")


async def _speech(settings: Settings) -> AsyncIterator[Finding]:
    """Have the chosen engines speak and hear, without the local ones that stand behind them."""
    try:
        speech = Speech(settings, clock=SystemClock(), bus=Bus())
    except SettingsError as error:
        yield Finding("speech", "failed", str(error), "See docs/speech.md.")
        return

    async def speak() -> str:
        async with aclosing(speech.mouth.speak("I am ready.", voice="")) as audio:
            size = sum([len(chunk) async for chunk in audio])
        if not size:
            raise SpeechFailed("It said nothing.")
        return f"{size / 2 / speech.mouth.facts.sample_rate:.1f} s of speech"

    async def hear() -> str:
        second = b"".join(struct.pack("<h", (at * 97) % 8000 - 4000) for at in range(16_000))
        await speech.ears.transcribe(second)
        return "a second of noise was listened to"

    for name, env, choice, engine, trial in (
        ("speech recognition", "TRON_STT", settings.stt, speech.ears.facts, hear),
        ("speech synthesis", "TRON_TTS", settings.tts, speech.mouth.facts, speak),
    ):
        if choice in ALONE:
            yield Finding(name, "off", f"{engine.name}, on this machine", f"Set {env} for another.")
            continue
        yield await _tried(name, engine.name, trial)
    await speech.close()


async def _tried(name: str, engine: str, trial: Callable[[], Awaitable[str]]) -> Finding:
    clock = SystemClock()
    began = clock.monotonic()
    try:
        async with asyncio.timeout(MODEL_WAIT_S):
            did = await trial()
    except (TronError, TimeoutError) as error:
        detail = f"{engine}: {str(error) or f'no answer within {MODEL_WAIT_S:g} s'}"
        return Finding(
            name,
            "failed",
            detail,
            "Check its key or its model; until then the local engine does it.",
        )
    return Finding(name, "ok", f"{engine}: {did}, in {clock.monotonic() - began:.2f} s")


async def _feeds(personas: list[Persona], store: Store, outside: Outside) -> AsyncIterator[Finding]:
    wanted: dict[str, Feed] = {feed.url: feed for p in personas for feed in p.feeds}
    if not wanted:
        yield Finding("feeds", "off", "no persona reads one")
        return
    feeds = Feeds(SystemClock(), store, outside)
    readings = await asyncio.gather(*(feeds.read(feed) for feed in wanted.values()))
    await feeds.close()
    silent: dict[str, list[str]] = {}
    for reading in readings:
        if reading.error:
            silent.setdefault(reading.error, []).append(reading.feed)
    if silent:
        why = "; ".join(f"{error} ({', '.join(names)})" for error, names in silent.items())
        detail = f"{sum(map(len, silent.values()))} of {len(readings)} can't be read: {why}"
        yield Finding("feeds", "warning", detail, "The personas go on without; see their files.")
    else:
        yield Finding("feeds", "ok", f"all {len(readings)} can be read")


async def _web_search(settings: Settings, outside: Outside) -> Finding:
    if not settings.web_search_api_key:
        return Finding("web search", "off", "not set up", "Set BRAVE_API_KEY.")
    url = f"{settings.web_search_url.rstrip('/')}/res/v1/web/search?q=tron&count=1"
    try:
        await outside.get(url, {"X-Subscription-Token": settings.web_search_api_key})
    except Unreachable as error:
        return Finding("web search", "failed", str(error), "Check BRAVE_API_KEY.")
    return Finding("web search", "ok", "the key works")


async def _posts(settings: Settings, outside: Outside) -> AsyncIterator[Finding]:
    """Where posts go besides the local feed. Looked at only: a trial would be published."""
    for name, env, url, headers in (
        (
            "social API",
            "TRON_SOCIAL_API_URL and TRON_SOCIAL_API_KEY",
            settings.social_api_url,
            {"X-API-Key": settings.social_api_key} if settings.social_api_key else {},
        ),
        ("life Slack webhook", "TRON_LIFE_SLACK_WEBHOOK", settings.life_slack_webhook, {}),
    ):
        if not url:
            yield Finding(name, "off", "not set up", f"Set {env}.")
            continue
        try:
            status = await outside.look(url, headers)
        except Unreachable as error:
            yield Finding(name, "failed", str(error), f"Check {env}.")
            continue
        if status in (401, 403) or status >= 500:
            yield Finding(name, "failed", f"HTTP {status}", f"Check {env}.")
        else:  # a place for posts may well refuse to be read
            yield Finding(name, "ok", f"it answers (HTTP {status}); nothing was posted")


async def _base_domain(settings: Settings) -> Finding:
    name, base = "base domain", settings.base_domain.strip(".")
    if not base:
        return Finding(name, "off", "not set", "Set TRON_BASE_DOMAIN for project subdomains.")
    try:
        async with asyncio.timeout(DNS_WAIT_S):
            await asyncio.get_running_loop().getaddrinfo(f"tron-doctor.{base}", 443)
    except (OSError, UnicodeError, TimeoutError):
        hint = "Let every name under it (*) lead to this machine; see docs/subdomains.md."
        return Finding(name, "warning", f"names under {base} lead nowhere", hint)
    return Finding(name, "ok", f"names under {base} are found")


async def _public_url(settings: Settings, outside: Outside, *, running: bool) -> Finding:
    if not settings.public_url:
        hint = "Set TRON_PUBLIC_URL when services elsewhere have to call the hub."
        return Finding("public URL", "off", "not set", hint)
    if not running:
        hint = "Start the hub, then ask again."
        return Finding("public URL", "warning", "not tried: no hub is running", hint)
    try:
        await outside.get(f"{settings.public_url.rstrip('/')}/health")
    except Unreachable as error:
        hint = "Check the name, the proxy in front of the hub, and TRON_PUBLIC_URL."
        return Finding("public URL", "failed", f"{settings.public_url}: {error}", hint)
    return Finding("public URL", "ok", f"{settings.public_url} reaches the hub")
