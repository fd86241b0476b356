"""Text messages: a persona answers them through the door, one conversation for each number.

Twilio waits 15 s for an answer. One that takes longer is sent afterwards, where the hub has the
account's credentials, and waited for where it has not. A message delivered twice is answered once.
"""

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from integrations.twilio import twiml
from integrations.twilio.client import TwilioClient
from integrations.twilio.exchange import Recent
from tron.conversation.turns import Caller, Message, TurnInput
from tron.errors import TronError
from tron.supervise import Tasks

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

PATIENCE_S = 12.0
SORRY = "Sorry, I can't answer just now. Please try again in a few minutes."


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A message somebody sent."""

    sid: str
    sender: str
    body: str
    pictures: int
    opted: bool
    """`STOP`, `START` or `HELP`, which Twilio answers itself"""


class Texts:
    """See the module."""

    def __init__(self, hub: "Hub", client: TwilioClient) -> None:
        self._hub = hub
        self._client = client
        self._tasks = Tasks("twilio texts")
        self._answers: Recent[asyncio.Task[list[str]]] = Recent()

    async def answer(self, text: Text, agent: str | None) -> list[str]:
        """What to answer now; nothing if the answer will be sent later."""
        if text.opted or not (text.body.strip() or text.pictures):
            return []
        known = self._answers.get(text.sid) if text.sid else None
        task = known or self._tasks.start(self._ask(text, agent), "answer")
        if text.sid:
            self._answers.put(text.sid, task)
        patience_s = PATIENCE_S if self._client.configured else None
        done, _ = await asyncio.wait([task], timeout=patience_s)
        if done:
            return task.result()
        if known is None:
            self._tasks.start(self._send_later(text.sender, task), "send")
        return []

    async def _ask(self, text: Text, agent: str | None) -> list[str]:
        body = text.body
        if text.pictures:
            body = f"{body}\n(sent {text.pictures} attachment(s), which can't be seen here)"
        turn = TurnInput(
            caller=Caller(id=text.sender, known=True),
            channel="sms",
            agent=agent,
            messages=[Message(role="user", content=body.strip())],
            instructions="This is a text message: answer in plain text, in a few sentences.",
        )
        try:
            reply = await self._hub.door.ask(turn)
        except TronError as error:
            log.warning("twilio.text_unanswered", error=error.type)
            return [SORRY]
        return twiml.parts(reply.text)

    async def _send_later(self, to: str, answer: asyncio.Task[list[str]]) -> None:
        for part in await answer:
            try:
                await self._client.text(to, part)
            except TronError as error:
                log.error("twilio.text_unsent", error=error.type)
                return

    async def close(self) -> None:
        await self._tasks.drain(5)
        await self._tasks.close()
