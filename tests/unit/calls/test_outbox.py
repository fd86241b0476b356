"""What is sent to a carrier, and what happens when it does not read."""

import asyncio

import pytest

from tron.calls import outbox
from tron.calls.outbox import Outbox, Stalled


class Socket:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, message: str) -> None:
        await self.open.wait()
        self.sent.append(message)


async def test_in_order_and_the_rest_goes_out_after_closing() -> None:
    socket = Socket()
    box = Outbox(socket.send)
    running = asyncio.ensure_future(box.run())
    box.put("1")
    await asyncio.sleep(0)
    box.put("2")
    box.close()
    box.put("3")
    await running
    assert socket.sent == ["1", "2"]


async def test_speech_that_waits_is_forgotten_and_nothing_else() -> None:
    socket = Socket()
    box = Outbox(socket.send)
    for message, speech in (("a", True), ("b", False), ("c", True)):
        box.put(message, speech=speech)
    box.forget_speech()
    box.put("clear")
    box.close()
    await box.run()
    assert socket.sent == ["b", "clear"]


async def test_a_send_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "SEND_S", 0.01)
    socket = Socket()
    socket.open.clear()
    box = Outbox(socket.send)
    box.put("1")
    with pytest.raises(Stalled):
        await box.run()


async def test_a_box_that_runs_full_ends_instead_of_growing() -> None:
    socket = Socket()
    socket.open.clear()
    box = Outbox(socket.send)
    running = asyncio.ensure_future(box.run())
    for number in range(outbox.MOST * 2):
        box.put(str(number))
    await asyncio.sleep(0)
    socket.open.set()
    with pytest.raises(Stalled):
        await running
    assert len(socket.sent) <= outbox.MOST + 1
