"""What the processes of these tests do."""

import asyncio

from tron.orchestrator.process import Process


class Letter:
    """Mail that remembers what became of it."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.refused: Exception | None = None

    def refuse(self, error: Exception) -> None:
        self.refused = error


async def nothing(_: Process) -> None:
    """Completes at once."""


async def wait(_: Process) -> None:
    """Works until it is killed."""
    await asyncio.Event().wait()


async def fail(_: Process) -> None:
    """Fails at once."""
    raise ValueError("no")


async def serve(process: Process) -> None:
    """Reads its mail until it is put to rest."""
    while await process.receive(60) is not None:
        pass


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)
