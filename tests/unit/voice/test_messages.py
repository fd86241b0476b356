"""What a client may send, and what is said to everything else."""

import base64
from typing import Any

import msgspec
import pytest

from tron.calls.audio import duration_ms
from tron.errors import Invalid
from tron.web.voice.messages import RATE, AudioChunk, Control, Ear, parse

SESSION = "s-1"
SOUND = base64.b64encode(bytes(640)).decode()


def chunk(**changes: Any) -> dict[str, Any]:
    return {
        "type": "client_audio_chunk",
        "session_id": SESSION,
        "seq": 1,
        "pcm16_base64": SOUND,
        "sample_rate": RATE,
        "ts_ms": 0,
    } | changes


def read(message: dict[str, Any]) -> AudioChunk:
    found = parse(msgspec.json.encode(message).decode(), SESSION)
    assert isinstance(found, AudioChunk)
    return found


def test_the_documents_messages_are_read() -> None:
    assert read(chunk()).seq == 1
    stop = parse('{"type":"client_control","session_id":"s-1","action":"stop"}', SESSION)
    assert isinstance(stop, Control)
    assert stop.action == "stop"


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01",
        "",
        "{",
        "[]",
        "null",
        "7",
        '{"type":"client_control","session_id":"s-1"}',
        '{"type":"client_control","session_id":"s-1","action":7}',
        '{"type":"nonsense","session_id":"s-1"}',
        '{"session_id":"s-1","action":"stop"}',
        '{"type":"client_control","session_id":"other","action":"stop"}',
        '{"type":"client_control","session_id":"","action":"stop"}',
        '{"type":"client_control","session_id":"s-1","action":"stop","x":' + "[" * 100_000,
        '{"type":"client_control","session_id":"s-1","action":"' + "\ud800" + '"}',
        '{"type":"client_audio_chunk","session_id":"s-1","pcm16_base64":"AAAA"}',
        '{"type":"client_audio_chunk","session_id":"s-1","pcm16_base64":7,"sample_rate":16000}',
        '{"type":"client_audio_chunk","session_id":"s-1","pcm16_base64":"AA","sample_rate":1e4}x',
    ],
)
def test_anything_else_is_refused_without_harm(raw: str | bytes) -> None:
    with pytest.raises(Invalid):
        parse(raw, SESSION)


@pytest.mark.parametrize(
    "changes",
    [
        {"pcm16_base64": ""},
        {"pcm16_base64": "not base64!"},
        {"pcm16_base64": "AAA"},
        {"pcm16_base64": base64.b64encode(b"odd").decode()},
        {"sample_rate": 0},
        {"sample_rate": -16000},
        {"sample_rate": 16001},
        {"sample_rate": 10**9},
    ],
)
def test_sound_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        Ear().take(read(chunk(**changes)))


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_every_usual_rate_becomes_ours(rate: int) -> None:
    ear = Ear()
    heard = b""
    for seq in range(1, 51):  # a second in pieces of 20 ms
        sound = base64.b64encode(bytes(rate // 50 * 2)).decode()
        heard += ear.take(read(chunk(seq=seq, sample_rate=rate, pcm16_base64=sound)))[0]
    assert 985 <= duration_ms(heard, RATE) <= 1000


def test_gaps_are_told() -> None:
    ear = Ear()
    assert ear.take(read(chunk(seq=5))) == (bytes(640), "")  # a client may begin anywhere
    assert ear.take(read(chunk(seq=6))) == (bytes(640), "")
    sound, told = ear.take(read(chunk(seq=9)))
    assert sound
    assert "7 to 8" in told
    assert ear.take(read(chunk(seq=10))) == (bytes(640), "")


def test_a_client_that_counts_from_anew_is_heard() -> None:
    ear = Ear()
    for seq in (1, 2, 3):
        ear.take(read(chunk(seq=seq)))
    sound, told = ear.take(read(chunk(seq=1)))
    assert sound == bytes(640)
    assert "1 came after 3" in told
    assert ear.take(read(chunk(seq=2))) == (bytes(640), "")


def test_a_client_that_does_not_count_is_heard_and_told_so_once() -> None:
    ear = Ear()
    found = [ear.take(read(chunk(seq=1))) for _ in range(20)]
    assert [sound for sound, _ in found] == [bytes(640)] * 20
    assert [bool(told) for _, told in found] == [False, True, *[False] * 18]
