"""What a call is told to do: when it begins, when its socket was lost, when it is over."""

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.unit.twilio.conftest import Office, Offices
from tests.unit.twilio.test_media import until


def again_of(document: ElementTree.Element) -> str:
    connect = document.find("Connect")
    assert connect is not None
    return connect.get("action", "").removeprefix("http://127.0.0.1:3000")


async def test_a_call_is_connected_with_a_ticket_and_a_way_back(office: Office) -> None:
    document, ticket = await office.voice("/twilio/voice?agent=maya")
    stream = document.find("Connect/Stream")
    assert stream is not None
    assert stream.get("url") == "ws://127.0.0.1:3000/twilio/media"
    assert len(ticket) >= 32
    assert again_of(document) == "/twilio/voice?again=1&agent=maya"
    async with office.call(ticket) as socket:
        await until(socket, "media")
        (call,) = office.hub.switchboard.live
        assert call.record.agent == "maya"


async def test_nobody_of_that_name(office: Office) -> None:
    status, _ = await office.request("POST", "/twilio/voice?agent=nobody", {"CallSid": "CA1"})
    assert status == 404


@pytest.mark.parametrize("number", ["anonymous", "+266696687", "+86282452253", "", "sip:x@y"])
async def test_a_number_that_is_withheld_is_nobody_known(office: Office, number: str) -> None:
    _, ticket = await office.voice(From=number)
    async with office.call(ticket) as socket:
        await until(socket, "media")
        (call,) = office.hub.switchboard.live
        assert call.record.caller.startswith("anonymous-")


async def test_a_call_that_ended_well_is_hung_up(office: Office) -> None:
    document, ticket = await office.voice()
    async with office.call(ticket) as socket:
        await until(socket, "media")
        await office.request("DELETE", "/api/calls/CA1")
        await office.closed(socket)
        document, _ = await office.voice(again_of(document), CallStatus="in-progress")
    assert [verb.tag for verb in document] == ["Hangup"]


async def test_a_call_whose_socket_was_lost_goes_on_a_few_times(office: Office) -> None:
    document, ticket = await office.voice()
    for attempt in (1, 2, 3):
        async with office.call(ticket) as socket:
            await until(socket, "media")
            await socket.disconnect()
            await office.ended(attempt)
        document, ticket = await office.voice(again_of(document), CallStatus="in-progress")
        assert document.find("Connect/Stream") is not None, attempt
    async with office.call(ticket) as socket:
        await until(socket, "media")
        (call,) = office.hub.switchboard.live
        lines = await office.lines(call.record)
        assert "cut off" in next(line.text for line in lines if line.kind == "say")
        await socket.disconnect()
        await office.ended(4)
    document, _ = await office.voice(again_of(document), CallStatus="in-progress")
    assert [verb.tag for verb in document] == ["Hangup"], "not for ever"


async def test_a_call_of_a_hub_that_died_goes_on(office: Office) -> None:
    document, ticket = await office.voice(
        "/twilio/voice?again=1", CallSid="CA-unknown", CallStatus="in-progress"
    )
    assert document.find("Connect/Stream") is not None
    assert ticket
    document, _ = await office.voice("/twilio/voice?again=1", CallStatus="completed")
    assert [verb.tag for verb in document] == ["Hangup"]


async def test_a_lost_call_waits_for_a_line(offices: Offices) -> None:
    async with offices(max_calls=0) as office:
        document, _ = await office.voice("/twilio/voice?again=2", CallStatus="in-progress")
        assert [verb.tag for verb in document] == ["Pause", "Redirect"]
        assert (document[1].text or "").endswith("/twilio/voice?again=3")


async def test_the_conversation_goes_on_after_a_break(office: Office) -> None:
    """The same call is the same session, whatever its sockets do."""
    keys = []
    for path in ("/twilio/voice", "/twilio/voice?again=1"):
        _, ticket = await office.voice(path, CallStatus="in-progress")
        async with office.call(ticket) as socket:
            await until(socket, "media")
            await socket.send_json({"event": "dtmf", "dtmf": {"digit": "1"}})
            await socket.send_json({"event": "dtmf", "dtmf": {"digit": "#"}})
            await until(socket, "clear")
            await until(socket, "media")
            (call,) = office.hub.switchboard.live
            keys.append(call.session_key)
            await socket.disconnect()
            await office.ended(len(keys))
    assert keys[0] == keys[1] != ""


async def test_states_are_ordered_by_their_number(office: Office) -> None:
    async def report(status: str, number: int) -> None:
        form = {"CallSid": "CA9", "CallStatus": status, "SequenceNumber": str(number)}
        assert (await office.request("POST", "/twilio/status", form))[0] == 204

    await report("ringing", 1)
    await report("completed", 3)
    await report("in-progress", 2)
    _, body = await office.request("GET", "/twilio/calls/CA9")
    assert '"completed"' in body
    status, _ = await office.request("GET", "/twilio/calls/CA10")
    assert status == 404
    status, _ = await office.request("POST", "/twilio/status", {"CallStatus": "x"})
    assert status == 400


async def test_states_without_a_number_are_ordered_by_how_far_the_call_is(office: Office) -> None:
    """Other carriers and simulators leave `SequenceNumber` out."""

    async def after(status: str, **more: str) -> Any:
        form = {"CallSid": "CA8", "CallStatus": status, **more}
        assert (await office.request("POST", "/twilio/status", form))[0] == 204
        return json.loads((await office.request("GET", "/twilio/calls/CA8"))[1])["status"]

    assert await after("initiated") == "initiated"
    assert await after("ringing") == "ringing"
    assert await after("initiated") == "ringing"
    assert await after("in-progress", SequenceNumber="nonsense") == "in-progress"
    assert await after("completed", CallDuration="7") == "completed"
    assert await after("in-progress") == "completed"
    assert await after("busy", SequenceNumber="99") == "completed", "what is over stays over"
    assert '"duration_s":7' in (await office.request("GET", "/twilio/calls/CA8"))[1]


async def test_a_status_ends_a_call_whose_stop_was_lost(office: Office) -> None:
    async with office.call() as socket:
        await until(socket, "media")
        form = {"CallSid": "CA1", "CallStatus": "completed", "SequenceNumber": "9"}
        await office.request("POST", "/twilio/status", form)
        assert await office.closed(socket) == 1000
    (record,) = await office.ended()
    assert record.cause == "caller-hung-up"


async def test_a_call_nobody_took_is_listed(office: Office) -> None:
    form = {
        "CallSid": "CA5",
        "CallStatus": "no-answer",
        "Direction": "outbound-api",
        "To": "+14155550100",
        "SequenceNumber": "2",
    }
    for _ in range(2):  # delivered twice, listed once
        await office.request("POST", "/twilio/status", form)
    (record,) = await office.records()
    assert (record.cause, record.direction) == ("not-answered-no-answer", "outbound")
