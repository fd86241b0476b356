"""A process: one running persona, with a mailbox, metrics, a budget and an end.

It is an asyncio actor: its behaviour is a coroutine that reads its mailbox, so what it is sent is
handled one at a time. It holds nothing that the store does not: the orchestrator may end an idle
one and a later message revives it from the transcript. Only the orchestrator makes processes.
"""

import asyncio
from collections import deque
from typing import Any, Literal, Protocol

import msgspec
import structlog

from tron.clock import Clock
from tron.conversation.turns import Usage
from tron.errors import BudgetExhausted, ProcessEnded, RateLimited, TronError

log = structlog.get_logger(__name__)

Status = Literal["pending", "running", "completed", "failed"]

BUDGET_WARNING = 0.8


class Mail(Protocol):
    """What can be sent to a process."""

    def refuse(self, error: TronError) -> None:
        """The process ended without handling this."""
        ...


class Metrics(msgspec.Struct):
    """What a process has used, itself alone."""

    input_tokens: int = 0
    output_tokens: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    cost_usd: float | None = 0.0
    """None once any call had no known price"""
    tokens_estimated: bool = False

    def as_api(self, duration_ms: int) -> dict[str, Any]:
        """As the control API shows them."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "llm_calls": self.llm_calls,
            "tool_calls": self.tool_calls,
            "estimated_cost": None if self.cost_usd is None else round(self.cost_usd, 6),
            "duration_ms": duration_ms,
            "tokens_estimated": self.tokens_estimated,
        }


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Limits for a process and everything it spawns; 0: no limit."""

    tokens: int = 0
    usd: float = 0.0


class Process:
    """See the module. Times are ms since the epoch."""

    def __init__(
        self,
        *,
        id: str,
        agent: str,
        clock: Clock,
        client_id: str,
        parent: "Process | None",
        task: str,
        reason: str,
        name: str,
        budget: Budget,
        mailbox_size: int,
    ) -> None:
        self.id = id
        self.agent = agent
        self.client_id = client_id
        self.parent = parent
        self.parent_id = parent.id if parent else None
        self.depth: int = parent.depth + 1 if parent else 0
        self.task = task
        self.reason = reason
        self.name = name
        self.budget = budget
        self.status: Status = "pending"
        self.error: str | None = None
        self.result: Any = None
        self.restarts = 0
        self.metrics = Metrics()
        self.started_at = clock.now_ms()
        self.ended_at: int | None = None
        self.idle_since: float | None = None
        """monotonic seconds since it waits for mail; None while it works"""
        self.retired = False
        """takes no more mail and ends when it has read what it has"""
        self._clock = clock
        self._spent_tokens = 0  # with everything spawned below
        self._spent_usd = 0.0  # as far as prices are known
        self._warned = False
        self._mailbox: deque[Any] = deque()
        self._mailbox_size = mailbox_size
        self._mail = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def live(self) -> bool:
        return self.ended_at is None

    @property
    def duration_ms(self) -> int:
        return (self.ended_at or self._clock.now_ms()) - self.started_at

    def send(self, mail: Mail) -> bool:
        """Put `mail` behind what is waiting. True if it is what the process reads next.

        Raises ProcessEnded, or RateLimited when the mailbox is full.
        """
        if self.retired or not self.live:
            raise ProcessEnded(f"Process {self.id} has ended.")
        if len(self._mailbox) >= self._mailbox_size:
            raise RateLimited(
                f"{len(self._mailbox)} messages are already waiting for this conversation.",
                code="mailbox_full",
                retry_after=1,
            )
        free = not self._mailbox and (self.idle_since is not None or self.status == "pending")
        self._mailbox.append(mail)
        self.idle_since = None
        self._mail.set()
        return free

    async def receive(self, idle_s: float) -> Any | None:
        """The next message, or None when nothing came for `idle_s` or the process is retired."""
        if not self._mailbox and not self.retired:
            self.idle_since = self._clock.monotonic()
            self._mail.clear()
            try:
                async with asyncio.timeout(idle_s):
                    await self._mail.wait()
            except TimeoutError:
                self.retired = True
        if self._mailbox:
            return self._mailbox.popleft()
        return None

    def retire(self) -> None:
        """Ask a process to end; what has not been read yet is still handled, nothing is added."""
        self.retired = True
        self._mail.set()

    def charge(self, usage: Usage, cost_usd: float | None) -> None:
        """Record one model call, here and in the spending of everyone above."""
        metrics = self.metrics
        metrics.llm_calls += 1
        metrics.input_tokens += usage.input_tokens
        metrics.output_tokens += usage.output_tokens
        metrics.tokens_estimated = metrics.tokens_estimated or usage.estimated
        if cost_usd is None or metrics.cost_usd is None:
            metrics.cost_usd = None
        else:
            metrics.cost_usd += cost_usd
        above: Process | None = self
        while above is not None:
            above._spent_tokens += usage.input_tokens + usage.output_tokens
            above._spent_usd += cost_usd or 0.0
            above = above.parent

    def check_budget(self) -> None:
        """Raises BudgetExhausted if this process, or one above it, has used up its budget."""
        above: Process | None = self
        while above is not None:
            above._check_own_budget()
            above = above.parent

    def _check_own_budget(self) -> None:
        used = max(
            self._spent_tokens / self.budget.tokens if self.budget.tokens else 0.0,
            self._spent_usd / self.budget.usd if self.budget.usd else 0.0,
        )
        if used >= 1:
            raise BudgetExhausted(
                f"Process {self.id} has used up its budget "
                f"({self._spent_tokens} tokens, {self._spent_usd:.4f} USD).",
                code="budget_exhausted",
            )
        if used >= BUDGET_WARNING and not self._warned:
            self._warned = True
            log.warning("process.budget_low", process_id=self.id, used=round(used, 2))

    def ancestors(self) -> list["Process"]:
        """Parents first to last, nearest first."""
        found = []
        above = self.parent
        while above is not None:
            found.append(above)
            above = above.parent
        return found

    async def wait(self) -> "Process":
        """Wait until it has ended."""
        await self._ended.wait()
        return self

    def end(self, status: Status, error: str | None) -> None:
        """For the orchestrator: the process is over; unread mail is refused."""
        self.status = status
        self.error = error
        self.ended_at = self._clock.now_ms()
        while self._mailbox:
            self._mailbox.popleft().refuse(ProcessEnded(f"Process {self.id} has ended."))
        self._ended.set()
