"""Whoever can answer answers: order, second tries, fallback, rest for who keeps failing."""

import asyncio
import time
from contextlib import aclosing, suppress

import pytest
from structlog.testing import capture_logs

from integrations.openai.behaviours import (
    Behaviour,
    BrokenAfter,
    DisconnectAfter,
    Garbage,
    Hang,
    HangAfter,
    NonJson,
    Reply,
    Slow,
    Status,
    Truncated,
    WrongContentType,
)
from integrations.openai.fake import FakeProvider
from tests.harness.waiting import PATIENCE_S, eventually
from tests.unit.brain.conftest import HELLO, KEY, Make, answer, parts, provider
from tron.brain.brain import Brain, providers_of
from tron.brain.contract import Answering, Ask, Part
from tron.brain.fake import FakeBrain
from tron.brain.openai import OpenAIProvider
from tron.clock import ManualClock
from tron.conversation.turns import Message
from tron.errors import ProviderBroke, ProviderError, ProviderRefused, ProviderUnavailable
from tron.events import ProviderFailed
from tron.settings import Settings, SettingsError

FIRST, SECOND = "From the first.", "word1 word2 "
SILENT_S = 0.3


@pytest.fixture
def two(make: Make, fake: FakeProvider, second: FakeProvider) -> Brain:
    """A brain with two patient providers and no second tries."""
    fake.always = Reply(FIRST)
    return make(
        provider(fake.base_url),
        provider(second.base_url, name="second", model="other-model"),
    )


async def until_told(brain: Brain, fake: FakeProvider) -> list[Part]:
    """A whole answer of which the provider sends the first word, and no more until it was heard."""
    found: list[Part] = []
    fake.hold = asyncio.Event()
    async with aclosing(brain.stream(HELLO)) as batches:
        async for batch in batches:
            found.extend(batch)
            fake.hold.set()
    return found


async def test_the_first_answers_while_it_can(
    two: Brain, second: FakeProvider, failures: list[ProviderFailed]
) -> None:
    found = await parts(two)
    assert found[0] == Answering(provider="first", model="own-model")
    assert await answer(two) == FIRST
    assert (list(second.requests), failures) == ([], [])


@pytest.mark.parametrize(
    "fault",
    [
        Status(500),
        Status(429),
        Status(401),
        Status(403),
        Status(404),
        Status(301),
        Status(451),
        DisconnectAfter(0),
        Truncated(0),
        Garbage(0),
        BrokenAfter(0),
        NonJson(),
        WrongContentType(),
    ],
    ids=repr,
)
async def test_what_fails_before_the_first_word_falls_to_the_next(
    two: Brain, fake: FakeProvider, failures: list[ProviderFailed], fault: Behaviour
) -> None:
    fake.script(fault)
    found = await parts(two)
    assert found[0] == Answering(provider="second", model="other-model")
    assert [(f.provider, f.fallback) for f in failures] == [("first", "second")]
    assert await answer(two) == FIRST  # once is no reason to give it a rest


@pytest.mark.parametrize("fault", [Hang(), HangAfter(0), Slow(first_ms=3_600_000)], ids=repr)
async def test_who_says_nothing_for_too_long_is_not_waited_for(
    make: Make,
    fake: FakeProvider,
    second: FakeProvider,
    failures: list[ProviderFailed],
    fault: Behaviour,
) -> None:
    brain = make(
        provider(fake.base_url, first_token_timeout_s=SILENT_S),
        provider(second.base_url, name="second", model="other-model"),
    )
    fake.script(fault)
    found = await parts(brain)
    assert found[0] == Answering(provider="second", model="other-model")
    assert [(f.provider, f.fallback) for f in failures] == [("first", "second")]
    assert brain.providers[0].breaker.state == "closed"  # once is no reason to give it a rest


@pytest.mark.parametrize(
    "fault", [BrokenAfter(1), Truncated(1), Garbage(1), DisconnectAfter(1)], ids=repr
)
async def test_what_fails_after_the_first_word_is_told(
    two: Brain,
    fake: FakeProvider,
    second: FakeProvider,
    failures: list[ProviderFailed],
    fault: Behaviour,
) -> None:
    fake.script(fault)
    with pytest.raises(ProviderBroke):
        await until_told(two, fake)
    assert list(second.requests) == []
    assert [(f.provider, f.fallback) for f in failures] == [("first", None)]


async def test_who_falls_silent_after_the_first_word_is_told(
    make: Make, fake: FakeProvider, second: FakeProvider, failures: list[ProviderFailed]
) -> None:
    brain = make(
        provider(fake.base_url, token_timeout_s=SILENT_S),
        provider(second.base_url, name="second"),
    )
    fake.script(HangAfter(1))
    with pytest.raises(ProviderBroke, match="silent"):
        await parts(brain)
    assert list(second.requests) == []
    assert [(f.provider, f.fallback) for f in failures] == [("first", None)]


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_request_at_fault_is_refused_by_all_alike(
    two: Brain, fake: FakeProvider, second: FakeProvider, status: int
) -> None:
    for _ in range(5):
        fake.script(Status(status, "No such parameter."))
        with pytest.raises(ProviderRefused, match="No such parameter") as refused:
            await parts(two)
        assert refused.value.status == status
    assert list(second.requests) == []
    assert await answer(two) == FIRST  # it is none of the provider's faults


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
async def test_a_passing_trouble_is_tried_again_after_the_wait_asked_for(
    make: Make,
    fake: FakeProvider,
    failures: list[ProviderFailed],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tron.brain.brain.FIRST_PAUSE_S", 3600)  # its wait, not ours
    brain = make(provider(fake.base_url), retries=2)
    fake.script(
        Status(status, retry_after=0.03), Status(status, retry_after=0.03), Reply("At last.")
    )
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        assert await answer(brain) == "At last."
    assert time.monotonic() - began >= 0.06
    assert (len(fake.requests), failures) == (3, [])


async def test_only_so_many_tries(make: Make, fake: FakeProvider, second: FakeProvider) -> None:
    brain = make(provider(fake.base_url), provider(second.base_url), retries=2)
    fake.script(*[Status(429, retry_after=0.01)] * 4)
    assert await answer(brain) == SECOND
    assert (len(fake.requests), len(fake.unused)) == (3, 1)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_would_fail_again_is_not_tried_again(
    make: Make, fake: FakeProvider, second: FakeProvider, status: int
) -> None:
    brain = make(provider(fake.base_url), provider(second.base_url), retries=2)
    fake.script(Status(status, retry_after=0.01), Reply("unheard"))
    assert await answer(brain) == SECOND
    assert len(fake.requests) == 1


async def test_a_provider_that_wants_a_long_rest_is_not_waited_for(
    make: Make, fake: FakeProvider, second: FakeProvider
) -> None:
    brain = make(provider(fake.base_url), provider(second.base_url), retries=2)
    fake.script(Status(429, retry_after=3600))
    async with asyncio.timeout(PATIENCE_S):
        assert await answer(brain) == SECOND
    assert len(fake.requests) == 1


NO_MODEL = Status(404, "The model `gtp-4` does not exist.", code="model_not_found")


@pytest.mark.parametrize(
    "fault",
    [
        NO_MODEL,
        Status(404, "model 'gtp-4' not found, try pulling it first", type="not_found_error"),
        Status(403, "This project has no access to `gtp-4`.", code="model_not_found"),
    ],
    ids=repr,
)
async def test_a_model_the_provider_does_not_have_concerns_that_model_alone(
    two: Brain, fake: FakeProvider, failures: list[ProviderFailed], fault: Behaviour
) -> None:
    mistaken = Ask(messages=HELLO.messages, model="gtp-4")
    for _ in range(5):
        fake.script(fault)
        found = await parts(two, mistaken)
        assert found[0] == Answering(provider="first", model="own-model")
    assert two.providers[0].breaker.state == "closed"
    assert [(f.provider, f.fallback) for f in failures] == [("first", "first")] * 5
    assert "no such model" in failures[0].error
    assert await answer(two) == FIRST


async def test_a_provider_without_even_its_own_model_is_passed_over_and_not_rested(
    two: Brain, fake: FakeProvider, failures: list[ProviderFailed]
) -> None:
    for _ in range(5):
        fake.script(NO_MODEL, NO_MODEL)
        found = await parts(two, Ask(messages=HELLO.messages, model="gtp-4"))
        assert found[0] == Answering(provider="second", model="other-model")
    assert [f.fallback for f in failures] == ["first", "second"] * 5
    assert await answer(two) == FIRST


async def test_a_wrong_address_is_the_providers_fault(two: Brain, fake: FakeProvider) -> None:
    await rests(two, fake, Status(404, "Invalid URL (POST /chat/completions)"))
    assert two.providers[0].breaker.state == "open"


async def test_nobody_there_is_an_error_that_says_so(make: Make, fake: FakeProvider) -> None:
    brain = make(provider(fake.base_url))
    fake.script(Status(503, "Overloaded.", retry_after=60))
    with pytest.raises(ProviderUnavailable, match="Overloaded") as failed:
        await parts(brain)
    assert failed.value.retry_after == 60


async def test_a_closed_port_falls_to_the_next(make: Make, second: FakeProvider) -> None:
    brain = make(provider("http://127.0.0.1:1/v1"), provider(second.base_url))
    assert await answer(brain) == SECOND


async def rests(brain: Brain, fake: FakeProvider, fault: Behaviour, times: int = 3) -> None:
    """Ask until the first provider has failed so often that it is left alone."""
    for _ in range(times):
        fake.script(fault)
        with suppress(ProviderError):
            await until_told(brain, fake)
    fake.hold = None


@pytest.mark.parametrize("fault", [Status(500), BrokenAfter(1)], ids=repr)
async def test_who_keeps_failing_is_given_a_rest(
    two: Brain, fake: FakeProvider, clock: ManualClock, fault: Behaviour
) -> None:
    await rests(two, fake, fault)
    asked = len(fake.requests)
    assert await answer(two) == SECOND
    assert len(fake.requests) == asked
    clock.advance(30)
    assert await answer(two) == FIRST  # the trial works, so all is well again
    assert await answer(two) == FIRST


async def test_a_failed_trial_is_followed_by_another_rest(
    two: Brain, fake: FakeProvider, clock: ManualClock
) -> None:
    await rests(two, fake, Status(500))
    clock.advance(30)
    fake.script(Status(500))
    assert await answer(two) == SECOND
    asked = len(fake.requests)
    assert await answer(two) == SECOND
    assert len(fake.requests) == asked


async def test_one_trial_at_a_time(two: Brain, fake: FakeProvider, clock: ManualClock) -> None:
    await rests(two, fake, Status(500))
    clock.advance(30)
    fake.hold = asyncio.Event()
    async with aclosing(two.stream(HELLO)) as trial:
        assert (await anext(trial))[0] == Answering(provider="first", model="own-model")
        assert await answer(two) == SECOND
    fake.hold = None
    assert await answer(two) == FIRST


async def test_a_trial_refused_or_given_up_leaves_the_place_to_the_next(
    two: Brain, fake: FakeProvider, clock: ManualClock
) -> None:
    await rests(two, fake, Status(500))
    clock.advance(30)
    fake.script(Status(400))
    with pytest.raises(ProviderRefused):
        await parts(two)
    assert await answer(two) == FIRST


async def test_callers_who_hang_up_while_it_speaks_say_it_is_well(
    two: Brain, fake: FakeProvider
) -> None:
    for _ in range(5):
        fake.script(Status(500), Reply("A long answer."))
        await answer(two)
        async with aclosing(two.stream(HELLO)) as batches:
            await anext(batches)
    assert two.providers[0].breaker.state == "closed"


async def test_when_all_rest_the_wait_is_told(
    make: Make, fake: FakeProvider, clock: ManualClock
) -> None:
    brain = make(provider(fake.base_url))
    await rests(brain, fake, Status(500))
    clock.advance(10)
    with pytest.raises(ProviderUnavailable, match="resting") as failed:
        await parts(brain)
    assert failed.value.retry_after == 20


async def test_the_event_names_who_really_answers(
    make: Make, fake: FakeProvider, second: FakeProvider, failures: list[ProviderFailed]
) -> None:
    brain = make(
        provider(fake.base_url),
        provider("http://127.0.0.1:1/v1", name="away"),
        provider(second.base_url, name="third"),
    )
    await rests(brain, fake, Status(500))
    failures.clear()
    fake.always = Status(500)
    brain.providers[0].breaker.succeeded()
    assert await answer(brain) == SECOND
    assert [(f.provider, f.fallback) for f in failures] == [("first", "third")]


async def test_a_personas_model_is_a_name_at_the_first_provider_only(
    two: Brain, fake: FakeProvider, second: FakeProvider
) -> None:
    ask = Ask(messages=HELLO.messages, model="persona-model")
    found = await parts(two, ask)
    assert found[0] == Answering(provider="first", model="persona-model")
    fake.script(Status(500))
    await parts(two, ask)
    assert [r.body["model"] for r in fake.requests] == ["persona-model"] * 2
    assert [r.body["model"] for r in second.requests] == ["other-model"]


async def test_hanging_up_stops_the_provider(two: Brain, fake: FakeProvider) -> None:
    fake.hold = asyncio.Event()
    async with aclosing(two.stream(HELLO)) as batches:
        await anext(batches)
        assert fake.active == 1
    await eventually(lambda: fake.active == 0)
    assert fake.disconnected == 1


async def test_no_error_event_or_log_holds_the_key(
    two: Brain, fake: FakeProvider, second: FakeProvider, failures: list[ProviderFailed]
) -> None:
    # Providers repeat the key they were sent: their words are passed on, the key is not.
    told = Status(401, f"Incorrect API key provided: {KEY}. You can find your key at …")
    fake.script(told, Status(400, f"Bad request by {KEY}"))
    second.script(told)
    with capture_logs() as logs:
        with pytest.raises(ProviderUnavailable) as unavailable:
            await parts(two)
        with pytest.raises(ProviderRefused) as refused:
            await parts(two)
    assert "Incorrect API key provided" in str(unavailable.value)
    everything = repr((unavailable.value, refused.value, failures, logs))
    assert KEY not in everything
    assert fake.requests[0].headers["authorization"] == f"Bearer {KEY}"


def names(**given: object) -> list[str]:
    offline = FakeBrain(tokens=1, delay_ms=0)
    offline.name = "offline"
    settings = Settings(**given)  # type: ignore[arg-type]
    return [found.name for found in providers_of(settings, offline)]


def test_which_providers_the_settings_name() -> None:
    more = '[{"base_url": "http://a/v1", "name": "spare"}, {"base_url": "http://b/v1"}]'
    assert names() == ["offline"]
    assert names(openai_api_key="k") == ["openai", "offline"]
    assert names(openai_base_url="http://x/v1", providers=more) == [
        "openai",
        "spare",
        "provider-3",
        "offline",
    ]
    assert names(brain="openai", openai_api_key="k") == ["openai"]
    assert names(brain="offline", openai_api_key="k") == ["offline"]
    assert names(brain="fake", openai_api_key="k") == ["fake"]


@pytest.mark.parametrize(
    "given",
    [
        {"brain": "openai"},
        {"providers": '[{"name": "nowhere"}]'},
        {"providers": '["http://a/v1"]'},
    ],
)
def test_settings_that_name_no_provider_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="TRON_"):
        names(**given)


def test_a_provider_without_a_model_uses_the_hubs() -> None:
    spec = '[{"base_url": "http://a/v1/"}, {"base_url": "http://b/v1", "model": "b"}]'
    found = providers_of(
        Settings(brain="openai", providers=spec, model="m"), FakeBrain(tokens=1, delay_ms=0)
    )
    assert [p.model for p in found if isinstance(p, OpenAIProvider)] == ["m", "b"]


async def test_the_fake_brain_says_its_words(make: Make) -> None:
    brain = make(FakeBrain(tokens=3, delay_ms=0))
    assert await answer(brain, Ask(messages=[Message(role="user", content="x")])) == (
        "word1 word2 word3."
    )
