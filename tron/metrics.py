"""The hub's figures for Prometheus, on a registry of their own.

Who measures calls the methods here; `/metrics` prints them. Label values are few by nature
(personas, models, route templates, never a caller or a path), and each combination is looked up
once and kept, so a count on the way of a token costs a dictionary lookup and an addition.
"""

import asyncio
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tron import events
from tron.conversation.turns import Usage
from tron.events import Bus, Event

TURN_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
LABEL_SETS = 1000
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

Meter = TypeVar("Meter", Counter, Histogram)


class Metrics:
    """Counts what one hub does."""

    def __init__(self, bus: Bus) -> None:
        self._registry = registry = CollectorRegistry()
        self._bound: dict[tuple[Any, ...], Any] = {}
        self._turns = Counter(
            "tron_turns", "Turns ended", ["agent", "channel", "outcome"], registry=registry
        )
        self._turn_seconds = Histogram(
            "tron_turn_seconds",
            "Time from a turn's arrival to its end",
            ["channel"],
            buckets=TURN_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "tron_tokens", "Tokens used", ["model", "direction"], registry=registry
        )
        self._cost = Counter(
            "tron_cost_usd", "Cost where prices are known", ["model"], registry=registry
        )
        self._provider_failures = Counter(
            "tron_provider_failures",
            "Times a provider could not be used",
            ["provider"],
            registry=registry,
        )
        self._tool_calls = Counter(
            "tron_tool_calls", "Tool calls ended", ["tool", "outcome"], registry=registry
        )
        self._requests = Counter(
            "tron_http_requests",
            "HTTP requests answered, by route template",
            ["method", "route", "status"],
            registry=registry,
        )
        self._processes = Gauge("tron_processes_live", "Processes running", registry=registry)
        self._sessions = Gauge("tron_sessions_live", "Callers' sessions open", registry=registry)
        self._tasks = Gauge("tron_tasks", "asyncio tasks", registry=registry)
        self.streams_open = Gauge(
            "tron_sse_streams_open", "Streamed answers under way", registry=registry
        )
        bus.add(self._heard)

    def _child(self, meter: Meter, *labels: str) -> Meter:
        key = (meter, *labels)
        child = self._bound.get(key)
        if child is None:
            if len(self._bound) >= LABEL_SETS:
                labels = tuple("other" for _ in labels)
                key = (meter, *labels)
            child = self._bound.setdefault(key, meter.labels(*labels))
        return child  # type: ignore[no-any-return]

    def _heard(self, event: Event) -> None:
        match event:
            case events.TurnEnded():
                self._child(self._turns, event.agent, event.channel, event.outcome).inc()
                self._child(self._turn_seconds, event.channel).observe(event.duration_ms / 1000)
            case events.ProviderFailed():
                self._child(self._provider_failures, event.provider).inc()

    def used(self, model: str, usage: Usage, cost_usd: float | None) -> None:
        """One model call's tokens and, where known, its cost."""
        self._child(self._tokens, model, "input").inc(usage.input_tokens)
        self._child(self._tokens, model, "output").inc(usage.output_tokens)
        if cost_usd:
            self._child(self._cost, model).inc(cost_usd)

    def tool_called(self, tool: str, outcome: str) -> None:
        """A tool call ended: `ok` or `failed`."""
        self._child(self._tool_calls, tool, outcome).inc()

    def answered(self, method: str, route: str, status: int) -> None:
        """An HTTP request got its status; `route` is the template, not the path."""
        known = method if method in METHODS else "other"  # a client may invent methods
        self._child(self._requests, known, route, str(status)).inc()

    def text(self, *, processes: int, sessions: int) -> bytes:
        """Everything in Prometheus' text format."""
        self._processes.set(processes)
        self._sessions.set(sessions)
        self._tasks.set(len(asyncio.all_tasks()))
        return generate_latest(self._registry)
