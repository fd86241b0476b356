"""The desk: takes stored events up, lane by lane, and sees to it that none is forgotten.

What is held in memory is only a list of what is in the inbox. One runner a lane takes its events
in Slack's order; a lane that another hub is at work on waits. Leases are renewed while anything
is open here, work on an event that became another's is stopped, and what dead hubs left is taken
over. A full desk leaves events in the inbox and comes back for them.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from integrations.slack.inbox import RENEW_S, Inbox, Letter
from tron.errors import TronError
from tron.supervise import Tasks

log = structlog.get_logger(__name__)

DESK_SIZE = 2_000
AT_ONCE = 200
BUSY_S = 0.3
AWAY_S = 2.0
PRUNE_EVERY_S = 3600.0

Answer = Callable[[Letter], Coroutine[Any, Any, bool]]
"""settles one event; False: the hub is stopping, it is for whoever comes next"""


class Desk:
    """See the module. `answer` must not raise."""

    def __init__(self, inbox: Inbox, answer: Answer) -> None:
        self._inbox = inbox
        self._answer = answer
        self._lanes: dict[str, list[tuple[tuple[str, int], Letter]]] = {}
        self._held: dict[int, Letter] = {}
        self._running: dict[int, asyncio.Task[bool]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks = Tasks("slack-desk")
        self._upkeep = Tasks("slack-upkeep")
        self._overfull = False
        self.closing = False

    def start(self) -> None:
        self._upkeep.repeat(self._attend, "upkeep", every_s=RENEW_S)
        self._upkeep.repeat(self._inbox.prune, "pruning", every_s=PRUNE_EVERY_S)

    def offer(self, letter: Letter) -> None:
        """Answer `letter` when its turn comes. Returns at once."""
        if self.closing or letter.id in self._held:
            return
        if len(self._held) >= DESK_SIZE:
            self._overfull = True  # it stays in the inbox until there is room
            return
        self._held[letter.id] = letter
        waiting = self._lanes.get(letter.lane)
        if waiting is None:
            waiting = self._lanes[letter.lane] = []
            self._tasks.start(self._run(letter.lane, waiting), "lane")
        heapq.heappush(waiting, (letter.order, letter))

    async def _run(self, lane: str, waiting: list[tuple[tuple[str, int], Letter]]) -> None:
        await asyncio.sleep(0)  # the one who offers has yet to fill the lane
        try:
            while waiting and not self.closing:
                pause = await self._next(waiting)
                if pause:
                    await asyncio.sleep(pause)
        finally:
            del self._lanes[lane]
            if waiting and not self.closing:  # a fault of ours: the inbox still has them
                self._overfull = True
                for _, letter in waiting:
                    self._held.pop(letter.id, None)

    async def _next(self, waiting: list[tuple[tuple[str, int], Letter]]) -> float:
        """Take up the first of a lane. Returns how long to wait until the next try."""
        async with self._room:
            _, letter = heapq.heappop(waiting)
            try:
                began = await self._inbox.begin(letter)
                pause = BUSY_S
            except TronError as error:  # the store is away: nothing is lost, it comes later
                log.warning("slack.inbox_away", error=error.type)
                began, pause = "busy", AWAY_S
            if began == "busy":
                heapq.heappush(waiting, (letter.order, letter))
                return pause
            if began == "yes":
                await self._work(letter)
            self._held.pop(letter.id, None)
            return 0.0

    async def _work(self, letter: Letter) -> None:
        task = self._tasks.start(self._answer(letter), f"event {letter.id}")
        self._running[letter.id] = task
        try:
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None and not task.result():
                await self._put_back(letter)
        finally:
            del self._running[letter.id]

    async def _put_back(self, letter: Letter) -> None:
        try:
            await self._inbox.put_back(letter)
        except TronError as error:  # then its lease runs out, which says the same
            log.warning("slack.not_put_back", error=error.type)

    async def _attend(self) -> None:
        if self._held:
            mine = await self._inbox.renew()
            for id in [id for id in self._running if id not in mine]:
                log.warning("slack.taken_from_us", letter=id)
                self._running[id].cancel()
        for letter in await self._inbox.take_over():
            log.info("slack.taken_over", letter=letter.id, attempts=letter.attempts)
            self.offer(letter)
        if self._overfull and len(self._held) < DESK_SIZE // 2:
            letters = await self._inbox.waiting(DESK_SIZE)
            self._overfull = len(letters) == DESK_SIZE  # then there may be more
            for letter in letters:
                self.offer(letter)

    async def close(self, within_s: float) -> None:
        """Let what is being answered finish within that time; leave the rest to others."""
        self.closing = True
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=within_s)
        left = list(self._held.values())
        for task in self._running.values():
            task.cancel()
        await self._tasks.close()
        await self._upkeep.close()
        for letter in left:
            if letter.id in self._held:
                await self._put_back(letter)
