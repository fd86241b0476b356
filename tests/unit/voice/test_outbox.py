"""Messages to a client that reads slowly, goes away, and comes back."""

import asyncio
from typing import Any

import msgspec
import pytest

from tests.harness.waiting import PATIENCE_S
from tron.web.voice.messages import SpeechChunk, SystemEvent, TextDelta, TurnEnd
from tron.web.voice.outbox import KEPT, MOST_UNSENT, Outbox, Stalled


class Client:
    """Reads one message after the other, as long as it is let."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.may_read = asyncio.Event()

    async def take(self, text: str) -> None:
        await self.may_read.wait()
        self.got.append(msgspec.json.decode(text))

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.got]


def delta(text: str = "x") -> TextDelta:
    return TextDelta(turn_id="turn_1", text_delta=text)


def sound() -> SpeechChunk:
    return SpeechChunk(turn_id="turn_1", seq=1, format="wav_24000", audio_base64="AAAA")


def end(turn: str = "turn_1") -> TurnEnd:
    return TurnEnd(turn_id=turn, reason="completed")


async def read_all(outbox: Outbox, client: Client) -> None:
    client.may_read.set()
    outbox.finish()
    await outbox.run(client.take)


async def test_messages_arrive_in_order_with_their_numbers_and_session() -> None:
    outbox, client = Outbox("s-1"), Client()
    outbox.attach(None)
    for text in "abc":
        outbox.put(delta(text))
    outbox.put(end())
    await read_all(outbox, client)
    assert [message["event_seq"] for message in client.got] == [1, 2, 3, 4]
    assert {message["session_id"] for message in client.got} == {"s-1"}
    assert [message.get("text_delta") for message in client.got] == ["a", "b", "c", None]


async def test_a_slow_client_loses_deltas_and_is_told_how_many() -> None:
    outbox, client = Outbox("s-1"), Client()
    outbox.attach(None)
    for _ in range(MOST_UNSENT + 5):
        outbox.put(delta())
    await read_all(outbox, client)
    assert client.types.count("assistant_text_delta") == MOST_UNSENT
    told = client.got[-1]
    assert told["type"] == "error_event"
    assert told["code"] == "messages_lost"
    assert told["detail"].startswith("5 ")


async def test_what_must_not_be_missed_closes_the_connection_instead_of_being_lost() -> None:
    outbox, client = Outbox("s-1"), Client()
    outbox.attach(None)
    outbox.put(SystemEvent(code="session_ready"))
    for _ in range(MOST_UNSENT - 1):
        outbox.put(delta())
    outbox.put(end())
    client.may_read.set()
    with pytest.raises(Stalled):
        await asyncio.wait_for(outbox.run(client.take), PATIENCE_S)
    outbox.detach()
    again = Client()
    outbox.attach(None)
    await read_all(outbox, again)
    assert again.types[0] == "system_event"
    assert "assistant_turn_end" in again.types
    assert again.got[-1]["code"] == "resume_gap"  # of the deltas some are gone


async def test_a_client_that_comes_back_gets_what_it_missed_and_no_more() -> None:
    outbox, client = Outbox("s-1"), Client()
    outbox.attach(None)
    for text in "abcd":
        outbox.put(delta(text))
    await read_all(outbox, client)
    outbox.detach()
    outbox.put(sound())  # nobody was there to hear it
    outbox.put(end())
    again = Client()
    outbox.attach(2)
    outbox.put(SystemEvent(code="session_ready"))
    await read_all(outbox, again)
    assert [message["event_seq"] for message in again.got] == [3, 4, 6, 7]
    assert "assistant_audio_chunk" not in again.types


async def test_without_a_number_it_gets_what_was_never_sent() -> None:
    outbox, client = Outbox("s-1"), Client()
    outbox.attach(None)
    outbox.put(delta())
    await read_all(outbox, client)
    outbox.detach()
    outbox.put(end())
    again = Client()
    outbox.attach(None)
    await read_all(outbox, again)
    assert again.types == ["assistant_turn_end"]


async def test_what_is_no_longer_kept_is_said_to_be_missing() -> None:
    outbox, client = Outbox("s-1"), Client()
    for _ in range(KEPT + 3):
        outbox.put(delta())
    outbox.attach(1)
    await read_all(outbox, client)
    assert client.got[-1]["code"] == "resume_gap"


async def test_silence_takes_back_the_sound_that_waits_and_nothing_else() -> None:
    outbox, client = Outbox("s-1"), Client()
    outbox.attach(None)
    for message in (sound(), delta(), sound(), end()):
        outbox.put(message)
    outbox.forget_audio()
    await read_all(outbox, client)
    assert client.types == ["assistant_text_delta", "assistant_turn_end"]
