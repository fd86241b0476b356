"""The floor of a conversation: who may speak now.

Every turn asks its session's process for the floor by mail, so turns come one after another in
the order they arrived. The turn itself runs where its caller waits (a caller who hangs up ends
it at once, and a slow reader slows nobody else); the process only grants the floor, limits how
long it may be held, and takes it back when it is stopped.
"""

import asyncio

from tron.errors import TronError, TurnTimedOut
from tron.orchestrator.process import Process

LEAVING_S = 10.0


class Floor:
    """One turn's claim. It is mail: see `tron.orchestrator.process.Mail`."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._granted: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()
        self._holder: asyncio.Task[object] | None = None
        self.taken_back: TronError | None = None
        """why the floor was taken back from its holder"""

    async def claim(self, process: Process) -> None:
        """Wait for the floor. Raises ProcessEnded, or RateLimited if too many wait."""
        if process.send(self):  # nobody has it: why wait until the process has read that
            self._granted.set_result(None)
        else:
            await self._granted

    def hold(self) -> None:
        """The running task speaks from here on, and is interrupted if the floor is taken back."""
        if self.taken_back is not None:
            raise self.taken_back
        self._holder = asyncio.current_task()

    def leave(self) -> None:
        """The turn is over, however it ended."""
        self._holder = None
        if not self._over.done():
            self._over.set_result(None)

    def refuse(self, error: TronError) -> None:
        if self._granted.done():  # it was free, so the turn went ahead
            self.take_back(error)
        else:
            self._granted.set_exception(error)

    def grant(self) -> bool:
        """For the process. False if the one who asked has gone."""
        if self._over.done():
            return False
        if not self._granted.done():
            self._granted.set_result(None)
        return True

    async def until_over(self, timeout_s: float) -> None:
        """For the process: wait until the turn ends; take the floor back after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._over)
        except TimeoutError:
            self.take_back(
                TurnTimedOut(f"The turn took longer than {timeout_s:g} s.", code="turn_timeout")
            )
            # The next turn waits until this one has stored what was said, but not for ever.
            await asyncio.wait([self._over], timeout=LEAVING_S)

    async def end(self, error: TronError) -> None:
        """Take the floor back and wait until its holder has left it."""
        self.take_back(error)
        await asyncio.wait([self._over], timeout=LEAVING_S)

    def take_back(self, error: TronError) -> None:
        """Interrupt whoever holds the floor; they see `error`."""
        if self._over.done():
            return
        self.taken_back = error
        if not self._granted.done():
            self._granted.set_exception(error)
        if self._holder is not None:
            self._holder.cancel()
