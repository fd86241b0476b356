"""The brain: providers in order, each behind a circuit breaker, the offline brain last.

A provider that fails before its first part is tried again (honouring its `retry-after`) and then
the next one is asked, so an outage costs seconds and not silence; after the first part a failure
is the caller's to hear, since words can't be taken back. A persona's model that the first provider
doesn't have is no outage: that provider's own model answers. Every fallback is on the bus.
"""

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass

import msgspec
import structlog

from tron import events
from tron.brain.contract import MODEL_NOT_FOUND, Ask, Parts, Provider
from tron.brain.fake import FakeBrain
from tron.brain.openai import OpenAIProvider
from tron.brain.prices import Prices
from tron.breaker import CircuitBreaker
from tron.clock import Clock
from tron.errors import ProviderBroke, ProviderUnavailable
from tron.events import Bus
from tron.settings import Settings, SettingsError
from tron.storage.tables import HOUSE

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0  # a provider that wants a longer rest is left alone instead


@dataclass(frozen=True)
class Guarded:
    """A provider and the breaker in front of it."""

    provider: Provider
    breaker: CircuitBreaker


class Brain:
    """Answers an `Ask` by whichever provider can."""

    def __init__(
        self, providers: list[Provider], *, settings: Settings, clock: Clock, bus: Bus
    ) -> None:
        self.providers = [Guarded(provider, CircuitBreaker(clock)) for provider in providers]
        self.prices = Prices(settings.prices)
        self._retries = settings.provider_retries
        self._clock = clock
        self._bus = bus

    async def stream(self, ask: Ask) -> Parts:
        """Raises ProviderRefused, ProviderUnavailable (nobody can answer) or ProviderBroke."""
        problem: ProviderUnavailable | None = None
        for place, guarded in enumerate(self.providers):
            if not guarded.breaker.allow():
                continue
            # A persona's own model is a name at the first provider; others use theirs.
            mine = ask if place == 0 else msgspec.structs.replace(ask, model=None)
            try:
                async with aclosing(self._persist(guarded, mine)) as parts:
                    async for batch in parts:
                        yield batch
                return
            except ProviderUnavailable as error:
                problem = error
                self._report(guarded, error, self._next_name(place))
            except ProviderBroke as error:
                self._report(guarded, error, None)
                raise
        raise problem or ProviderUnavailable(
            "Every language model provider is resting after failures.",
            retry_after=min(guarded.breaker.retry_after for guarded in self.providers),
        )

    async def _persist(self, guarded: Guarded, ask: Ask) -> Parts:
        """One provider, tried again while it makes sense; tells the breaker how it went."""
        provider, breaker = guarded.provider, guarded.breaker
        speaking = settled = False
        tries = 0
        try:
            while True:
                try:
                    async with aclosing(provider.stream(ask)) as parts:
                        async for batch in parts:
                            speaking = True
                            yield batch
                    return
                except ProviderBroke:
                    settled = True
                    breaker.failed()
                    raise
                except ProviderUnavailable as error:
                    if error.code == MODEL_NOT_FOUND:  # the provider itself is well
                        if ask.model is None:
                            raise
                        self._report(guarded, error, provider.name)
                        ask = msgspec.structs.replace(ask, model=None)
                        continue
                    pause = error.retry_after or FIRST_PAUSE_S * 2**tries
                    tries += 1
                    if not error.retryable or tries > self._retries or pause > LONGEST_PAUSE_S:
                        settled = True
                        breaker.failed()
                        raise
                    await asyncio.sleep(pause)
        finally:
            if speaking and not settled:  # to the end, or until its caller hung up
                breaker.succeeded()
            elif not settled:  # refused, no such model, given up: says nothing of its health
                breaker.abandoned()

    def _next_name(self, place: int) -> str | None:
        for guarded in self.providers[place + 1 :]:
            if guarded.breaker.state != "open":
                return guarded.provider.name
        return None

    def _report(self, guarded: Guarded, error: Exception, fallback: str | None) -> None:
        name = guarded.provider.name
        log.warning("provider.failed", provider=name, error=str(error), fallback=fallback)
        self._bus.publish(
            events.ProviderFailed(
                at=self._clock.now_ms(),
                client_id=HOUSE,
                provider=name,
                error=str(error),
                fallback=fallback,
            )
        )

    async def close(self) -> None:
        for guarded in self.providers:
            await guarded.provider.close()


def providers_of(settings: Settings, offline: Provider) -> list[Provider]:
    """The providers the settings name, in order. Raises SettingsError if they make no sense."""
    if settings.brain == "fake":
        return [FakeBrain(tokens=settings.fake_tokens, delay_ms=settings.fake_delay_ms)]
    if settings.brain == "offline":
        return [offline]
    found: list[Provider] = []
    if settings.openai_api_key or settings.openai_base_url:
        found.append(_openai(settings, "openai", settings.openai_base_url, settings.openai_api_key))
    for number, spec in enumerate(json.loads(settings.providers or "[]"), start=2):
        if not isinstance(spec, dict) or not spec.get("base_url"):
            raise SettingsError("TRON_PROVIDERS: every provider needs a base_url")
        found.append(
            _openai(
                settings,
                str(spec.get("name") or f"provider-{number}"),
                str(spec["base_url"]),
                str(spec.get("api_key") or ""),
                spec.get("model"),
            )
        )
    if settings.brain == "openai":
        if not found:
            raise SettingsError("TRON_BRAIN=openai needs OPENAI_API_KEY or OPENAI_BASE_URL")
        return found
    return [*found, offline]


def _openai(
    settings: Settings, name: str, base_url: str, api_key: str, model: str | None = None
) -> OpenAIProvider:
    return OpenAIProvider(
        name=name,
        base_url=base_url,
        api_key=api_key,
        model=model or settings.model,
        first_token_timeout_s=settings.first_token_timeout_s,
        token_timeout_s=settings.token_timeout_s,
    )
