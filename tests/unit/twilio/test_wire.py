"""Messages of Twilio and of those who took its shape."""

import base64
import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.twilio import wire
from tests.unit.twilio.conftest import fixture
from tron.errors import Invalid


def stream(name: str) -> wire.Stream:
    return wire.stream_of(wire.parse(msgspec.json.encode(fixture(name)).decode()))


def start(**changes: Any) -> wire.Message:
    message = fixture("start.json")
    message["start"] |= changes
    return wire.parse(msgspec.json.encode(message).decode())


def sent(message: str | None) -> Any:
    assert message is not None
    return msgspec.json.decode(message)


@pytest.mark.parametrize(
    ("name", "carrier", "encoding", "rate", "call"),
    [
        ("start.json", "twilio", "mulaw", 8_000, "CA00000000000000000000000000000001"),
        ("start-telnyx.json", "telnyx", "alaw", 8_000, "v2:T02llQxIyaRkhfRKxgAP8nY511EhFLi"),
        ("start-plivo.json", "plivo", "pcm16", 16_000, "2d95a6a0-d44e-4e2a-a1c3-8a9a1e0f0a01"),
        ("start-exotel.json", "exotel", "pcm16", 8_000, "6ad0a5b0e4c44ef2ae9c8a5a0b0c170s"),
    ],
)
def test_who_it_is_shows_in_its_start(
    name: str, carrier: str, encoding: str, rate: int, call: str
) -> None:
    found = stream(name)
    assert (found.carrier, found.encoding, found.rate) == (carrier, encoding, rate)
    assert found.call_id.startswith(call)
    assert found.facts.heard_rate == found.facts.played_rate == rate


def test_what_each_is_sent() -> None:
    audio = b"\x01\x02" * 1_600
    payload = base64.b64encode(audio).decode()
    twilio = wire.Outgoing(stream("start.json"))
    id = {"streamSid": "MZ00000000000000000000000000000001"}
    assert sent(twilio.media(audio)) == {"event": "media", **id, "media": {"payload": payload}}
    assert sent(twilio.mark("7")) == {"event": "mark", **id, "mark": {"name": "7"}}
    assert sent(twilio.clear()) == {"event": "clear", **id}
    plivo = wire.Outgoing(stream("start-plivo.json"))
    assert sent(plivo.media(audio))["event"] == "playAudio"
    assert sent(plivo.media(audio))["media"] == {
        "contentType": "audio/x-l16",
        "sampleRate": 16_000,
        "payload": payload,
    }
    assert sent(plivo.mark("7"))["event"] == "checkpoint"
    assert sent(plivo.clear())["event"] == "clearAudio"
    telnyx = wire.Outgoing(stream("start-telnyx.json"))
    assert sent(telnyx.clear())["event"] == "clear"


def test_exotel_gets_whole_large_pieces() -> None:
    exotel = wire.Outgoing(stream("start-exotel.json"))
    assert exotel.media(b"a" * 1_600) is None
    piece = base64.b64decode(sent(exotel.media(b"a" * 1_700))["media"]["payload"])
    assert len(piece) == 3_200
    rest = base64.b64decode(sent(exotel.rest())["media"]["payload"])
    assert rest.rstrip(b"\0") == b"a" * 100
    assert len(rest) % 320 == 0
    assert exotel.rest() is None
    exotel.media(b"a" * 100)
    exotel.clear()
    assert exotel.rest() is None, "what was cleared is not sent later"


@pytest.mark.parametrize(
    "changes",
    [
        {"mediaFormat": {"encoding": "opus"}},
        {"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 44_100}},
        {"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": "-1"}},
        {"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2}},
    ],
)
def test_a_format_nobody_can_play_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        wire.stream_of(start(**changes))


def test_simulators_leave_things_out() -> None:
    found = wire.stream_of(wire.parse('{"event":"start","start":{}}'))
    assert (found.carrier, found.encoding, found.rate) == ("twilio", "mulaw", 8_000)
    media = wire.parse('{"event":"media","media":{"payload":"//8="}}').media
    assert media is not None
    assert media.payload == b"\xff\xff"
    numbers = wire.parse('{"event":"media","sequenceNumber":4,"media":{"chunk":4,"payload":""}}')
    assert numbers.media is not None


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "null",
        "[]",
        "{",
        '{"event":7}',
        '{"event":"media","media":{"payload":"***"}}',
        '{"event":"media","media":{"payload":5}}',
        "[" * 100_000,
        '{"event":"' + "x" * wire.LONGEST_MESSAGE + '"}',
        b"\x00\x01",
        '{"event":"\ud800"}',
    ],
)
def test_what_can_not_be_read_is_refused(raw: str | bytes) -> None:
    with pytest.raises(Invalid):
        wire.parse(raw)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
START_KEYS = ("streamSid", "mediaFormat", "customParameters", "callSid", "streamId", "media_format")
FORMAT_KEYS = ("encoding", "sampleRate", "channels", "sample_rate")


@given(
    st.dictionaries(
        st.sampled_from(START_KEYS),
        json | st.dictionaries(st.sampled_from(FORMAT_KEYS), json),
    )
)
def test_no_start_breaks_anything(fields: dict[str, Any]) -> None:
    raw = msgspec.json.encode({"event": "start", "start": fields}).decode()
    try:
        found = wire.stream_of(wire.parse(raw))
    except Invalid:
        return
    assert found.rate in (8_000, 16_000, 24_000, 48_000)
    assert all(len(value) <= wire.NAME_LIMIT for value in found.parameters.values())


@given(st.text() | st.binary())
def test_no_message_breaks_anything(raw: str | bytes) -> None:
    with contextlib.suppress(Invalid):
        wire.parse(raw)


def test_frames_that_come_twice() -> None:
    repeats = wire.Duplicates().repeats
    chunks: list[int | str | None] = ["1", "2", "2", "1", 3, None, None, "x"]
    seen = [repeats(wire.Media(chunk=chunk)) for chunk in chunks]
    assert seen == [False, False, True, True, False, False, False, False]
