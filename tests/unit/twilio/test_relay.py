"""ConversationRelay: Twilio hears and speaks, the hub reads and writes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.twilio import relay
from tests.harness.waiting import eventually
from tests.unit.twilio.conftest import Office, Offices, fixture
from tron.errors import Invalid
from tron.storage.tables import HOUSE


@pytest.fixture
async def desk(offices: Offices) -> AsyncIterator[Office]:
    async with offices(twilio_mode="relay") as office:
        yield office


@asynccontextmanager
async def call(office: Office, ticket: str | None = None) -> AsyncIterator[Any]:
    if ticket is None:
        _, ticket = await office.voice()
    async with office.socket("/twilio/relay") as socket:
        await socket.send_json(
            fixture("relay-setup.json") | {"customParameters": {"token": ticket}}
        )
        yield socket


async def answer(socket: Any) -> str:
    """The text of one whole answer."""
    said: str = ""
    async with asyncio.timeout(5):
        while True:
            message = await socket.receive_json()
            if message["type"] == "text":
                said += message["token"]
                if message["last"]:
                    return said


def prompt(text: str, lang: str = "en-US") -> dict[str, Any]:
    return {"type": "prompt", "voicePrompt": text, "lang": lang, "last": True}


async def transcript(office: Office) -> list[tuple[str, str]]:
    rows = await office.hub.sessions.listing(HOUSE)
    _, entries = await office.hub.sessions.detail(HOUSE, rows[0].key)
    return [(entry.message.role, entry.message.content) for entry in entries]


async def test_the_twiml_connects_a_relay_that_greets(desk: Office) -> None:
    document, ticket = await desk.voice("/twilio/voice?agent=maya")
    noun = document.find("Connect/ConversationRelay")
    assert noun is not None
    assert noun.get("url") == "ws://127.0.0.1:3000/twilio/relay"
    assert noun.get("welcomeGreeting") == "Hello, this is Maya."
    assert ticket


async def test_a_prompt_is_answered_and_the_greeting_remembered(desk: Office) -> None:
    async with call(desk) as socket:
        await socket.send_json({"type": "info", "name": "clientSpeaking", "value": "on"})
        await socket.send_json({"type": "prompt", "voicePrompt": "What", "last": False})
        await socket.send_json(prompt("What can you do?"))
        said = await answer(socket)
        assert said.strip()
        assert "*" not in said
    (record,) = await desk.ended()
    assert (record.cause, record.wire) == ("carrier-closed", "twilio-relay")
    words = await transcript(desk)
    assert words[0] == ("assistant", "Hello, this is Tony.")
    assert words[1] == ("user", "What can you do?")
    kinds = [line.kind for line in await desk.lines(record)]
    assert kinds == ["started", "turn_began", "first_audio", "answer_over", "ended"]


@pytest.mark.parametrize("duration", [700, "700"])
async def test_an_interruption_leaves_what_was_heard(desk: Office, duration: int | str) -> None:
    async with call(desk) as socket:
        await socket.send_json(prompt("What can you do?"))
        said = await answer(socket)
        heard = " ".join(said.split()[:3])
        await socket.send_json(
            {
                "type": "interrupt",
                "utteranceUntilInterrupt": heard,
                "durationUntilInterruptMs": duration,
            }
        )
        await eventually(lambda: _is_last(desk, heard))
        await socket.send_json(prompt("What time is it?"))
        assert ":" in await answer(socket)
    assert heard in [text for _, text in await transcript(desk)]


async def _is_last(office: Office, text: str) -> bool:
    words = await transcript(office)
    return bool(words) and words[-1] == ("assistant", text)


async def test_keys_and_languages(desk: Office) -> None:
    async with call(desk) as socket:
        for digit in ("4", "2", "#"):
            await socket.send_json({"type": "dtmf", "digit": digit})
        await answer(socket)
        assert ("user", "(pressed the keys 42)") in await transcript(desk)
        await socket.send_json(prompt("Hello", "en-US"))
        await answer(socket)
        await socket.send_json(prompt("Hola", "es-ES"))
        message = await socket.receive_json()
        assert message == {
            "type": "language",
            "ttsLanguage": "es-ES",
            "transcriptionLanguage": "es-ES",
        }
        await answer(socket)


async def test_goodbye_ends_the_call(desk: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LONGEST_GOODBYE_S", 0.01)
    async with call(desk) as socket:
        await socket.send_json(prompt("Goodbye."))
        async with asyncio.timeout(5):
            while (message := await socket.receive_json())["type"] != "end":
                pass
        assert "persona-ended-call" in message["handoffData"]
        assert await desk.closed(socket) == 1000
    (record,) = await desk.ended()
    assert record.cause == "persona-ended-call"
    document, _ = await desk.voice("/twilio/voice?again=1", CallStatus="in-progress")
    assert [verb.tag for verb in document] == ["Hangup"]


async def test_tickets_here_too(desk: Office) -> None:
    _, ticket = await desk.voice()
    async with call(desk, ticket):
        async with call(desk, ticket) as second:
            assert await desk.closed(second) == 1008
        async with call(desk, "made up") as third:
            assert await desk.closed(third) == 1008


async def test_odd_messages(desk: Office) -> None:
    async with call(desk) as socket:
        for message in ('{"type":"new kind"}', '{"type":"error","description":"64107"}', "{", b"x"):
            await socket.send(message)
        await socket.send_json(prompt("What time is it?"))
        assert ":" in await answer(socket)
        for _ in range(relay.BAD_MESSAGES):
            await socket.send('{"type":5}')
        assert await desk.closed(socket) == 1007
    (record,) = await desk.ended()
    assert record.cause == "bad-messages"


@given(st.text() | st.binary())
def test_no_message_breaks_anything(raw: str | bytes) -> None:
    with suppress(Invalid):
        relay.parse(raw)
