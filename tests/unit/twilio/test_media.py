"""A call's socket, as the carrier sees it."""

import asyncio
import base64
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from integrations.twilio import media
from tests.harness.waiting import PATIENCE_S, eventually
from tests.unit.twilio.conftest import Office, Offices, fixture
from tron.calls.call import Call

SILENCE = base64.b64encode(b"\xff" * 160).decode()


async def until(socket: Any, event: str) -> Any:
    """Read on until a message of this kind."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            message = await socket.receive_json()
            if message["event"] == event:
                return message


async def test_a_call_is_greeted_answers_keys_and_ends(office: Office) -> None:
    async with office.call() as socket:
        first = await until(socket, "media")
        assert first["streamSid"] == fixture("start.json")["streamSid"]
        assert len(base64.b64decode(first["media"]["payload"])) % 160 == 0
        await socket.send_json({"event": "dtmf", "dtmf": {"digit": "4"}})
        await socket.send_json({"event": "dtmf", "dtmf": {"digit": "#"}})
        await until(socket, "clear")  # the greeting was still being played
        await until(socket, "media")
        await socket.send_json({"event": "stop", "streamSid": "MZ1", "stop": {}})
        assert await office.closed(socket) == 1000
    (record,) = await office.ended()
    assert (record.cause, record.caller, record.wire) == (
        "caller-hung-up",
        "+14155550100",
        "twilio",
    )
    kinds = {line.kind: line for line in await office.lines(record)}
    assert kinds["turn_began"].text == "(pressed the keys 4)"
    assert office.hub.switchboard.live == []


async def test_a_mark_counts_only_if_nothing_was_cleared_after_it(office: Office) -> None:
    async with office.call() as socket:
        mark = await until(socket, "mark")
        await socket.send_json({"event": "dtmf", "dtmf": {"digit": "#"}})
        await socket.send_json(mark)
        (call,) = office.hub.switchboard.live
        assert isinstance(call, Call)
        await eventually(lambda: not call._machine._playback.active)
        for _ in range(2):  # came back twice, or was never asked for: nothing happens
            await socket.send_json(mark)
        await socket.send_json({"event": "mark", "mark": {"name": "nonsense"}})
        await socket.send_json({"event": "stop"})
        assert await office.closed(socket) == 1000
    await office.ended()


@pytest.mark.parametrize("ticket", ["made up", "x" * 5_000])
async def test_a_ticket_that_was_not_minted(office: Office, ticket: str) -> None:
    async with office.call(ticket) as socket:
        assert await office.closed(socket) == 1008
    assert await office.records() == []


async def test_a_ticket_is_not_good_twice_and_disturbs_nobody(office: Office) -> None:
    _, ticket = await office.voice()
    async with office.call(ticket) as first:
        await until(first, "media")
        async with office.call(ticket) as second:
            assert await office.closed(second) == 1008
        (call,) = office.hub.switchboard.live
        assert call.cause is None
        await first.send_json({"event": "stop"})
        assert await office.closed(first) == 1000


async def test_a_ticket_of_another_call(office: Office) -> None:
    async with office.call(callSid="CA2") as socket:
        assert await office.closed(socket) == 1008


async def test_no_ticket_where_signatures_are_set_up(offices: Offices) -> None:
    async with offices(twilio_auth_token="t", public_url="http://127.0.0.1:3000") as office:
        from twilio.request_validator import RequestValidator

        from integrations.twilio.proof import HEADER

        url = "ws://127.0.0.1:3000/twilio/media"
        signature = RequestValidator("t").compute_signature(url, {})
        async with office.socket(**{HEADER.replace("-", "_"): signature}) as socket:
            await socket.send_json(fixture("start.json"))
            assert await office.closed(socket) == 1008


async def test_a_simulator_on_this_machine_needs_no_ticket(office: Office) -> None:
    async with office.socket() as socket:
        await socket.send('{"event":"start","start":{"streamSid":"s","callSid":"c"}}')
        await until(socket, "media")


@pytest.mark.parametrize(
    "first",
    [
        '{"event":"media","media":{"payload":""}}',
        "not json",
        b"binary",
        '{"event":"start","start":{"mediaFormat":{"encoding":"opus"}}}',
        '{"event":"start","start":{"mediaFormat":{"sampleRate":11025}}}',
    ],
)
async def test_what_is_no_stream_is_closed(office: Office, first: str | bytes) -> None:
    async with office.socket() as socket:
        await socket.send(first)
        assert await office.closed(socket) == 1008
    assert await office.records() == []


async def test_a_socket_that_never_starts(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "START_S", 0.02)
    async with office.socket() as socket:
        assert await office.closed(socket) == 1008


async def test_odd_messages_are_passed_over_and_many_end_the_call(office: Office) -> None:
    odd: list[str | bytes] = [
        "{",
        b"\x00",
        '{"event":"media","media":{"payload":"*"}}',
        '{"event":"media","media":[]}',
        "9" * 300_000,
    ]
    async with office.call() as socket:
        await until(socket, "media")
        for message in odd:
            await socket.send(message)
        for message in (
            '{"event":"unheard of"}',
            '{"event":"media"}',
            '{"event":"media","media":{"payload":"AA=="}}',  # not a whole frame
            '{"event":"dtmf","dtmf":{"digit":"123456"}}',
            '{"event":"mark","mark":{}}',
            '{"event":"start","start":{}}',
        ):
            await socket.send(message)
        await socket.send_json({"event": "media", "media": {"payload": SILENCE}})
        (call,) = office.hub.switchboard.live
        assert call.cause is None
        for _ in range(media.BAD_MESSAGES - len(odd)):
            await socket.send("{")
        assert await office.closed(socket) == 1007
    (record,) = await office.ended()
    assert record.cause == "bad-messages"


async def test_a_socket_that_dies_ends_its_call_once(office: Office) -> None:
    async with office.call() as socket:
        await until(socket, "media")
        await socket.disconnect()
        (record,) = await office.ended()
    assert record.cause == "carrier-lost"


async def test_a_silent_socket_is_dead(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "SILENCE_S", 0.05)
    async with office.call() as socket:
        await office.closed(socket)
    (record,) = await office.ended()
    assert record.cause == "carrier-lost"


async def test_a_second_socket_of_a_call_takes_its_place(office: Office) -> None:
    async with office.call() as first:
        await until(first, "media")
        async with office.call() as second:
            await until(second, "media")
            assert await office.closed(first) == 1000
            await second.send_json({"event": "stop"})
            await office.closed(second)
    causes = {record.cause for record in await office.ended(2)}
    assert causes == {"replaced", "caller-hung-up"}


async def test_the_hub_hangs_up(office: Office) -> None:
    async with office.call() as socket:
        await until(socket, "media")
        status, _ = await office.request("DELETE", "/api/calls/CA1")
        assert status == 200
        assert await office.closed(socket) == 1000
    (record,) = await office.ended()
    assert record.cause == "operator-hung-up"
    status, body = await office.request("GET", f"/api/calls/{record.id}")
    assert status == 200
    shown = msgspec.json.decode(body)
    assert shown["timeline"][0]["kind"] == "started"
    assert shown["timeline"][-1]["kind"] == "ended"
    status, _ = await office.request("DELETE", f"/api/calls/{record.id}")
    assert status == 404
    status, body = await office.request("GET", "/api/calls")
    assert [call["id"] for call in msgspec.json.decode(body)] == [record.id]


async def test_all_lines_are_busy(offices: Offices) -> None:
    async with offices(max_calls=1) as office:
        _, spare = await office.voice()
        async with office.call() as socket:
            await until(socket, "media")
            document, _ = await office.voice(CallSid="CA2")
            reject = document.find("Reject")
            assert reject is not None
            assert reject.get("reason") == "busy"
            with capture_logs() as logs:
                async with office.call(spare) as late:
                    assert await office.closed(late) == 1013
            # Nothing is wrong with the hub.
            assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []
