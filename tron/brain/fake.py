"""A brain that always says the same, at a set pace: for load tests of everything around it."""

import asyncio

from tron.brain.contract import Answering, Ask, Finish, Part, Parts, Text, Used
from tron.brain.tokens import estimate_messages
from tron.conversation.turns import Usage


class FakeBrain:
    """Says `tokens` numbered words, one every `delay_ms`."""

    name = "fake"

    def __init__(self, *, tokens: int, delay_ms: float) -> None:
        self._tokens = tokens
        self._delay_s = delay_ms / 1000

    async def stream(self, ask: Ask) -> Parts:
        batch: list[Part] = [Answering(provider=self.name, model="fake")]
        for number in range(1, self._tokens + 1):
            await asyncio.sleep(self._delay_s)
            end = "." if number == self._tokens else " "
            yield [*batch, Text(f"word{number}{end}")]
            batch = []
        usage = Usage(input_tokens=estimate_messages(ask.messages), output_tokens=self._tokens)
        yield [*batch, Finish("stop"), Used(usage=usage)]

    async def close(self) -> None:
        pass
