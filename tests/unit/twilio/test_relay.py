"""ConversationRelay: Twilio hears and speaks, the hub reads and writes."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.twilio import relay, talk
from integrations.twilio.proof import Grant
from tests.harness.waiting import PATIENCE_S, eventually
from tests.unit.twilio.conftest import Office, Offices, fixture
from tron.calls.ledger import Line
from tron.calls.writing import MS_PER_CHARACTER
from tron.conversation.turns import Opened, TextDelta, ToolCall, ToolStarted
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
    async with asyncio.timeout(PATIENCE_S):
        while True:
            message = await socket.receive_json()
            if message["type"] == "text":
                said += message["token"]
                if message["last"]:
                    return said


def prompt(text: str, lang: str = "en-US") -> dict[str, Any]:
    return {"type": "prompt", "voicePrompt": text, "lang": lang, "last": True}


def talks(office: Office) -> list[talk.Talk]:
    """The calls that go on."""
    return [live for live in office.hub.switchboard.live if isinstance(live, talk.Talk)]


class Hands:
    """Those of a clock that stands still but when it is moved."""

    def __init__(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        self._at = office.hub.clock.monotonic()
        monkeypatch.setattr(office.hub.clock, "monotonic", lambda: self._at)

    def forward(self, characters: int) -> None:
        """By what a voice takes to say so many."""
        self._at += characters * MS_PER_CHARACTER / 1000


def endings(lines: list[Line]) -> list[tuple[int, str, str]]:
    """How turns, and what was said unasked, came to their end."""
    kinds = ("turn_over", "turn_dropped", "cut_off")
    return [(line.turn, line.kind, line.text) for line in lines if line.kind in kinds]


class Ticks:
    """Counts how often a call has looked at the time, from now on."""

    def __init__(self, live: talk.Talk) -> None:
        self.ended = 0
        self._tick = live.tick
        live.tick = self._count  # type: ignore[method-assign]

    def _count(self) -> None:
        self._tick()
        self.ended += 1


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


async def test_a_prompt_is_answered_and_the_greeting_remembered(
    desk: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(desk, monkeypatch)
    async with call(desk) as socket:
        await socket.send_json({"type": "info", "name": "clientSpeaking", "value": "on"})
        await socket.send_json({"type": "prompt", "voicePrompt": "What", "last": False})
        await socket.send_json(prompt("What can you do?"))
        said = await answer(socket)
        assert said.strip()
        assert "*" not in said
        hands.forward(len(said) + 100)  # until it has been spoken
    (record,) = await desk.ended()
    assert (record.cause, record.wire) == ("carrier-closed", "twilio-relay")
    words = await transcript(desk)
    assert words[0] == ("assistant", "Hello, this is Tony.")
    assert words[1] == ("user", "What can you do?")
    lines = await desk.lines(record)
    kinds = list(dict.fromkeys(line.kind for line in lines if line.turn))
    whole = ["turn_began", "say", "first_audio", "used", "answer_over", "turn_over", "ended"]
    assert kinds == whole
    assert [(line.kind, line.text) for line in lines if not line.turn] == [
        ("started", ""),
        ("say", "Hello, this is Tony."),
    ]
    told = " ".join(line.text for line in lines if line.kind == "say" and line.turn)
    assert told.split() == said.split(), "the ledger holds what was said"
    assert [line.text for line in lines if line.kind == "ended"] == ["carrier-closed"]


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


@pytest.mark.parametrize("opening", [None, "Your report is ready, and it is longer than usual."])
async def test_of_a_greeting_that_is_spoken_into_only_what_was_heard_is_kept(
    desk: Office, opening: str | None
) -> None:
    _, ticket = await desk.voice()
    if opening is not None:
        ticket = desk.twilio._exchange.announce(
            Grant(
                call_sid="CA1",
                caller="+14155550100",
                called="",
                direction="inbound",
                greeting=opening,
            )
        )
    heard = " ".join((opening or "Hello, this is Tony.").split()[:2])
    async with call(desk, ticket) as socket:
        await socket.send_json({"type": "interrupt", "utteranceUntilInterrupt": heard})
        await socket.send_json(prompt("What time is it?"))
        await answer(socket)
    assert (await transcript(desk))[0] == ("assistant", heard)
    (record,) = await desk.ended()
    cut = [line.text for line in await desk.lines(record) if line.kind == "cut_off"]
    assert cut == [heard]


async def test_of_a_greeting_nobody_heard_nothing_is_kept(desk: Office) -> None:
    async with call(desk) as socket:
        await socket.send_json({"type": "interrupt", "utteranceUntilInterrupt": ""})
        await socket.send_json(prompt("What time is it?"))
        await answer(socket)
    assert (await transcript(desk))[0] == ("user", "What time is it?")


async def test_a_filler_while_a_tool_runs(desk: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    done = asyncio.Event()
    tool = ToolCall(id="1", name="slow", arguments="{}")

    async def converse(_: Any) -> AsyncIterator[list[Any]]:
        yield [ToolStarted(tool)]
        await done.wait()
        yield [ToolStarted(tool), TextDelta("It is done. ")]
        yield [ToolStarted(tool)]  # and once more, which needs no words

    monkeypatch.setattr(desk.hub.door, "converse", converse)
    async with call(desk) as socket:
        await socket.send_json(prompt("Do it."))
        async with asyncio.timeout(PATIENCE_S):
            filler = await socket.receive_json()
        assert (filler["token"].strip(), filler["last"]) == (talk.MANNER.fillers[0], False)
        done.set()
        assert (await answer(socket)).strip() == "It is done."


async def test_no_filler_before_a_tool_that_is_quick(
    desk: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with call(desk) as socket:
        await socket.send_json(prompt("What time is it?"))
        said = await answer(socket)
    assert not any(filler in said for filler in talk.MANNER.fillers)


async def test_silence_is_asked_about_and_then_ends_the_call(offices: Offices) -> None:
    settings = {"call_silence_ms": 300, "call_silence_prompts": "Are you there?; Goodbye then."}
    async with (
        offices(twilio_mode="relay", call_greeting=False, **settings) as office,
        call(office) as socket,
    ):
        assert (await answer(socket)).strip() == "Are you there?"
        assert (await answer(socket)).strip() == "Goodbye then."
        assert await office.closed(socket) == 1000
        (record,) = await office.ended()
        assert record.cause == "caller-silent"
        document, _ = await office.voice("/twilio/voice?again=1", CallStatus="in-progress")
        assert [verb.tag for verb in document] == ["Hangup"], "and it is not taken up again"


async def test_who_speaks_is_not_silent(offices: Offices, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"call_silence_ms": 60_000, "call_silence_prompts": "Are you there?; Goodbye then."}
    async with (
        offices(twilio_mode="relay", call_greeting=False, **settings) as office,
        call(office) as socket,
    ):
        await socket.send_json({"type": "info", "name": "clientSpeaking", "value": "on"})
        await eventually(lambda: any(live._caller_speaks for live in talks(office)))
        (live,) = talks(office)
        clock, ticks = office.hub.clock, Ticks(live)
        really = clock.monotonic
        monkeypatch.setattr(clock, "monotonic", lambda: really() + 100)
        await eventually(lambda: ticks.ended >= 2, what="a look at how long nothing was heard")
        await socket.send_json(prompt("Well, what time is it?"))
        assert ":" in await answer(socket), "and no question before it"
        monkeypatch.setattr(clock, "monotonic", lambda: really() + 300)
        assert (await answer(socket)).strip() == "Are you there?"
        await socket.send_json(prompt("Yes, what time is it?"))
        assert ":" in await answer(socket)
        kept = [text for role, text in await transcript(office) if role == "assistant"]
        assert "Are you there?" in kept


async def test_a_call_ends_when_it_has_lasted_too_long(
    offices: Offices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk, "LONGEST_GOODBYE_MS", 0)
    async with offices(twilio_mode="relay", call_max_s=1.0) as office, call(office) as socket:
        assert "as long as a call may" in await answer(socket)
        assert await office.closed(socket) == 1000
        (record,) = await office.ended()
        assert record.cause == "call-too-long"
        endings = [line.text for line in await office.lines(record) if line.kind == "ended"]
        assert endings == ["call-too-long"]


async def test_keys_and_languages(desk: Office) -> None:
    async with call(desk) as socket:
        for digit in ("4", "2", "#"):
            await socket.send_json({"type": "dtmf", "digit": digit})
        await answer(socket)
        assert ("user", "(pressed the keys 42)") in await transcript(desk)
        await socket.send_json({"type": "dtmf", "digit": "#"})
        await answer(socket)
        assert ("user", "(pressed the keys #)") in await transcript(desk)
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
    monkeypatch.setattr(talk, "LONGEST_GOODBYE_MS", 0)
    async with call(desk) as socket:
        await socket.send_json(prompt("Goodbye."))
        async with asyncio.timeout(PATIENCE_S):
            said = ""
            while (message := await socket.receive_json())["type"] != "end":
                said += message["token"].lower()
        assert re.search(r"\b(?:bye|goodbye|next time|later|take care)\b", said), said
        assert "call ends" not in said  # which is for the persona alone
        assert "persona-ended-call" in message["handoffData"]
        assert await desk.closed(socket) == 1000
    (record,) = await desk.ended()
    assert record.cause == "persona-ended-call"
    document, _ = await desk.voice("/twilio/voice?again=1", CallStatus="in-progress")
    assert [verb.tag for verb in document] == ["Hangup"]


async def test_it_counts_as_a_call_and_is_ended_as_one(offices: Offices) -> None:
    async with offices(twilio_mode="relay", max_calls=1) as office, call(office) as socket:
        await eventually(lambda: len(office.hub.switchboard.live) == 1)
        document, _ = await office.voice(CallSid="CA2")
        assert [verb.tag for verb in document] == ["Reject"], "the line is taken"
        (record,) = await office.records()
        status, body = await office.request("GET", f"/api/calls/{record.id}")
        shown = msgspec.json.decode(body)
        assert (status, shown["wire"], shown["cause"]) == (200, "twilio-relay", None)
        assert shown["timeline"][0]["kind"] == "started"
        status, _ = await office.request("DELETE", f"/api/calls/{record.id}")
        assert status == 200
        async with asyncio.timeout(PATIENCE_S):
            while (message := await socket.receive_json())["type"] != "end":
                pass
        assert "operator-hung-up" in message["handoffData"]
        assert await office.closed(socket) == 1000
        (record,) = await office.ended()
        assert record.cause == "operator-hung-up"
        endings = [line for line in await office.lines(record) if line.kind == "ended"]
        assert [line.text for line in endings] == ["operator-hung-up"]
        await eventually(lambda: office.hub.switchboard.live == [])
        document, ticket = await office.voice(CallSid="CA3")
        assert ticket, "and there is a line again"


async def test_one_too_many_is_not_begun(offices: Offices) -> None:
    async with offices(twilio_mode="relay", max_calls=1) as office:
        _, first = await office.voice(CallSid="CA1")
        _, second = await office.voice(CallSid="CA1")
        async with call(office, first):
            await eventually(lambda: len(office.hub.switchboard.live) == 1)
            async with call(office, second) as late:
                assert await office.closed(late) == 1013
            assert len(office.hub.switchboard.live) == 1
            assert len(await office.records()) == 1


async def test_a_hub_that_closes_ends_it(offices: Offices) -> None:
    async with offices(twilio_mode="relay") as office, call(office) as socket:
        await socket.send_json(prompt("What can you do?"))
        await answer(socket)
        await office.hub.switchboard.close()
        (record,) = await office.records()
        assert (record.cause, record.session_key != "") == ("hub-stopping", True)
        assert office.hub.switchboard.live == []


async def test_an_answer_that_is_cut_off_ends_once(
    desk: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(desk, monkeypatch)
    async with call(desk) as socket:
        await socket.send_json(prompt("What can you do?"))
        said = await answer(socket)
        heard = said.split()[0]
        for _ in range(2):
            await socket.send_json({"type": "interrupt", "utteranceUntilInterrupt": heard})
        await eventually(lambda: _is_last(desk, heard))
        await socket.send_json(prompt("What time is it?"))
        hands.forward(len(await answer(socket)))
    (record,) = await desk.ended()
    assert endings(await desk.lines(record)) == [
        (1, "turn_dropped", heard),
        (2, "turn_over", "completed"),
    ]


@pytest.mark.parametrize("by", ["caller", "operator"])
async def test_of_an_answer_that_the_end_of_the_call_cuts_off_no_more_is_kept_than_was_spoken(
    offices: Offices, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    async with offices(twilio_mode="relay", call_greeting=False) as office:
        hands = Hands(office, monkeypatch)
        async with call(office) as socket:
            await socket.send_json(prompt("What can you do?"))
            said = await answer(socket)
            hands.forward(12)
            if by == "operator":
                (live,) = talks(office)
                live.hang_up("operator-hung-up")
                await office.closed(socket)
        (record,) = await office.ended()
        ((turn, kind, heard),) = endings(await office.lines(record))
        assert (turn, kind) == (1, "turn_dropped")
        assert said.startswith(heard)
        assert said[len(heard)] == " ", "cut between words"
        assert 12 - len("remember") <= len(heard) <= 12
        assert await transcript(office) == [("user", "What can you do?"), ("assistant", heard)]


async def test_an_answer_that_was_heard_out_is_kept_whole(
    offices: Offices, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with offices(twilio_mode="relay", call_greeting=False) as office:
        hands = Hands(office, monkeypatch)
        async with call(office) as socket:
            await socket.send_json(prompt("What can you do?"))
            said = await answer(socket)
            hands.forward(len(said))
        (record,) = await office.ended()
        assert endings(await office.lines(record)) == [(1, "turn_over", "completed")]
        assert (await transcript(office))[-1][1].split()[-1] == said.split()[-1]


async def test_who_hangs_up_while_an_answer_is_being_made_has_heard_what_was_spoken_of_it(
    offices: Offices, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    tool = ToolCall(id="1", name="slow", arguments="{}")

    async def converse(_: Any) -> AsyncIterator[list[Any]]:
        yield [Opened(session="key", process_id="p", agent="tony"), ToolStarted(tool)]
        await eventually(lambda: any(live._filled for live in talks(office)))
        yield [TextDelta("One **two** three four. And five. And ")]
        try:
            await asyncio.Event().wait()
        finally:
            order.append("stopped")

    async def heard(client_id: str, session_key: str, text: str) -> None:
        order.append(f"{session_key}: {text}")

    async with offices(twilio_mode="relay", call_greeting=False) as office:
        hands = Hands(office, monkeypatch)
        monkeypatch.setattr(office.hub.door, "converse", converse)
        monkeypatch.setattr(office.hub.door, "heard", heard)
        async with call(office) as socket:
            await socket.send_json(prompt("Count."))
            async with asyncio.timeout(PATIENCE_S):
                filler = (await socket.receive_json())["token"].strip()
                assert filler in talk.MANNER.fillers
                while "four" not in (await socket.receive_json())["token"]:
                    pass
            hands.forward(len(filler) + len("One two three"))
        (record,) = await office.ended()
        ((_, kind, cut),) = endings(await office.lines(record))
        assert (kind, cut) == ("turn_dropped", "One **two**")
        assert order == ["stopped", "key: One **two**"]


async def test_who_hangs_up_into_the_greeting_has_not_heard_all_of_it(
    desk: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(desk, monkeypatch)
    async with call(desk):
        await eventually(lambda: len(talks(desk)) == 1)
        hands.forward(len("Hello, this"))
    (record,) = await desk.ended()
    assert endings(await desk.lines(record)) == [(0, "cut_off", "Hello, this")]


async def test_who_hangs_up_while_an_answer_is_being_stopped_has_ended_the_call(
    desk: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stopping, stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def converse(_: Any) -> AsyncIterator[list[Any]]:
        begun.set()
        try:
            await asyncio.Event().wait()
            yield []
        finally:
            stopping.set()
            await stopped.wait()

    monkeypatch.setattr(desk.hub.door, "converse", converse)
    async with call(desk) as socket:
        async with asyncio.timeout(PATIENCE_S):
            await socket.send_json(prompt("What can you do?"))
            await begun.wait()
            await socket.send_json(prompt("No, wait."))
            await stopping.wait()
        (live,) = desk.hub.switchboard.live
    await eventually(lambda: live.cause is not None, what="the end of the call")
    for _ in range(10):  # until the socket's reader has been told
        await asyncio.sleep(0)
    stopped.set()
    (record,) = await desk.ended()
    assert (record.cause, desk.hub.switchboard.live) == ("carrier-closed", [])
    assert [line.kind for line in await desk.lines(record)][-1] == "ended", "and no turn begun"


async def test_who_speaks_into_the_goodbye_is_not_hung_up_on(desk: Office) -> None:
    async with call(desk) as socket:
        await socket.send_json(prompt("Goodbye."))
        said = await answer(socket)
        await socket.send_json({"type": "interrupt", "utteranceUntilInterrupt": said.split()[0]})
        await socket.send_json(prompt("What time is it?"))
        assert ":" in await answer(socket)
        (live,) = desk.hub.switchboard.live
        for _ in range(5):
            live.tick()
        assert live.cause is None


async def test_handoff_data_that_is_no_number_is_not_called(desk: Office) -> None:
    for data in ("", "{", "[]", '{"to":"911"}', '{"to":5}', '{"to":"+1<Dial/>"}', "[" * 50_000):
        document, _ = await desk.voice(
            "/twilio/voice?again=1", CallStatus="in-progress", HandoffData=data
        )
        assert [verb.tag for verb in document] == ["Connect"], data
    document, _ = await desk.voice(
        "/twilio/voice?again=1&agent=maya",
        CallStatus="in-progress",
        HandoffData='{"cause":"transferred","to":"+14155550188"}',
    )
    (dial,) = document
    assert (dial.tag, "".join(dial.itertext())) == ("Dial", "+14155550188")
    assert dial.get("action") == "http://127.0.0.1:3000/twilio/voice?back=1&agent=maya"


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
async def test_who_is_not_reached_brings_the_caller_back(desk: Office, status: str) -> None:
    document, ticket = await desk.voice(
        "/twilio/voice?back=1&agent=maya", CallStatus="in-progress", DialCallStatus=status
    )
    noun = document.find("Connect/ConversationRelay")
    assert noun is not None
    assert "nobody answered" in str(noun.get("welcomeGreeting"))
    assert ticket
    document, _ = await desk.voice(
        "/twilio/voice?back=1", CallStatus="in-progress", DialCallStatus="completed"
    )
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
