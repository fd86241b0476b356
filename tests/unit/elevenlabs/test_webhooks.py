"""What ElevenLabs tells and asks: after a conversation, and while the telephone rings."""

import base64
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integrations.elevenlabs.conversations import Conversations
from integrations.elevenlabs.proof import sign_webhook
from tests.unit.elevenlabs.conftest import Answer, Wire, Wired, fixture
from tron.clock import DAY_MS, ManualClock
from tron.settings import Settings
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.web import bodies

SECRET = "wsec_test"
FAR = "203.0.113.9"
CALLER = {
    "caller_id": "+14155550100",
    "agent_id": "agent_1",
    "called_number": "+14155550000",
    "call_sid": "CA123",
}


async def tell(wired: Wired, event: Any, *, secret: str = SECRET) -> Answer:
    raw = event if isinstance(event, bytes) else msgspec.json.encode(event)
    header = sign_webhook(raw, secret, wired.hub.clock.now_ms())
    headers = {"ElevenLabs_Signature": header}
    return await wired("POST", "/elevenlabs/webhook", raw, remote=FAR, **headers)


async def listed(wired: Wired) -> list[dict[str, Any]]:
    answer = await wired("GET", "/api/elevenlabs/conversations")
    assert answer.status == 200
    found: list[dict[str, Any]] = answer.json["conversations"]
    return found


async def test_a_transcript_is_kept_once(wire: Wire) -> None:
    async with wire(elevenlabs_webhook_secret=SECRET) as wired:
        for _ in range(2):
            assert (await tell(wired, fixture("post_call_transcription"))).status == 200
        (kept,) = await listed(wired)
        assert kept["id"] == "conv_fixture1"
        assert kept["caller"] == "+14155550100"
        assert kept["duration_s"] == 6
        assert kept["summary"] == "The caller asked for the time."
        assert [(line["role"], line["text"]) for line in kept["transcript"]] == [
            ("agent", "Hello, this is Tony."),
            ("user", "What time is it?"),
            ("agent", "It is noon."),
        ]


async def test_a_call_that_never_began_is_kept_with_its_reason(wire: Wire) -> None:
    async with wire(elevenlabs_webhook_secret=SECRET) as wired:
        assert (await tell(wired, fixture("call_initiation_failure"))).status == 200
        (kept,) = await listed(wired)
        assert (kept["status"], kept["error"]) == ("failed", "busy")


def sound(size: int) -> dict[str, Any]:
    data = {
        "conversation_id": "conv_fixture1",
        "agent_id": "agent_1",
        "full_audio": base64.b64encode(bytes(size)).decode(),
    }
    return {"type": "post_call_audio", "event_timestamp": 1, "data": data}


def recorded(conversation: dict[str, Any]) -> bytes:
    return Path(conversation["recording"]).read_bytes()


async def test_the_sound_of_a_call_is_kept_only_where_calls_are_recorded(
    wire: Wire, tmp_path: Path
) -> None:
    async with wire(elevenlabs_webhook_secret=SECRET) as wired:
        assert (await tell(wired, sound(1_000))).status == 200
        assert await listed(wired) == []
    async with wire(elevenlabs_webhook_secret=SECRET, record_calls=True) as wired:
        assert (await tell(wired, sound(1_000))).status == 200
        assert (await tell(wired, fixture("post_call_transcription"))).status == 200
        (kept,) = await listed(wired)
        assert recorded(kept) == bytes(1_000)
        assert Path(kept["recording"]).is_relative_to(tmp_path)
        assert kept["summary"]


async def test_a_whole_calls_sound_may_be_larger_than_other_bodies(wire: Wire) -> None:
    async with wire(
        elevenlabs_webhook_secret=SECRET, record_calls=True, max_body_bytes=10_000
    ) as wired:
        assert (await tell(wired, sound(2_000_000))).status == 200
        (kept,) = await listed(wired)
        assert len(recorded(kept)) == 2_000_000
        too_large = await wired("POST", "/elevenlabs/conversation-init", b"x" * 20_000)
        assert too_large.status == 413


async def test_there_is_a_limit_all_the_same(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = import_module("integrations.elevenlabs.routes")
    monkeypatch.setattr(routes, "WEBHOOK_BYTES", 50_000)
    async with wire(elevenlabs_webhook_secret=SECRET) as wired:
        bodies.allow(wired.app, routes.WEBHOOK, 50_000)
        assert (await tell(wired, sound(100_000))).status == 413


async def test_only_elevenlabs_is_believed(wire: Wire) -> None:
    raw = fixture("post_call_transcription")
    async with wire(elevenlabs_webhook_secret=SECRET) as wired:
        assert (await tell(wired, raw, secret="another")).status == 401
        assert (await wired("POST", "/elevenlabs/webhook", raw)).status == 401
        assert await listed(wired) == []
    async with wire() as wired:
        answer = await tell(wired, raw)
        assert answer.status == 503
        assert "ELEVENLABS_WEBHOOK_SECRET" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "tomorrow", "data": {}},
        {"type": "post_call_transcription"},
        {"type": "post_call_transcription", "data": {"conversation_id": "../../etc/passwd"}},
        {"type": "post_call_audio", "data": {"conversation_id": "c", "full_audio": "%"}},
        {"type": "post_call_audio", "data": {"conversation_id": "../c", "full_audio": ""}},
        {"type": "post_call_audio", "data": {"conversation_id": "c", "full_audio": 5}},
        {"type": ["x"], "data": 5},
    ],
)
async def test_a_proven_webhook_that_makes_no_sense_is_not_sent_again(
    wire: Wire, event: Any
) -> None:
    """Ten answers other than 200 in a row, and ElevenLabs turns the webhook off."""
    async with wire(elevenlabs_webhook_secret=SECRET, record_calls=True) as wired:
        assert (await tell(wired, event)).status == 200
        assert await listed(wired) == []


async def test_a_proven_body_that_is_not_json_is_refused(wire: Wire) -> None:
    async with wire(elevenlabs_webhook_secret=SECRET) as wired:
        for raw in (b"", b"{", b"[]", b"[" * 100_000):
            assert (await tell(wired, raw)).status == 400


async def test_a_transcript_of_any_shape_is_kept(wire: Wire) -> None:
    data = {
        "conversation_id": "conv_odd",
        "transcript": [None, {"role": 5, "message": "a\x00b", "time_in_call_secs": "x"}, "x"],
        "metadata": {"call_duration_secs": 10**30},
        "analysis": "none",
        "user_id": {"a": 1},
    }
    async with wire(elevenlabs_webhook_secret=SECRET) as wired:
        event = {"type": "post_call_transcription", "data": data}
        assert (await tell(wired, event)).status == 200
        (kept,) = await listed(wired)
        assert (kept["caller"], kept["duration_s"], len(kept["transcript"])) == (None, None, 1)


async def test_what_is_told_in_any_order_adds_up(store: Store, tmp_path: Path) -> None:
    kept = Conversations(Settings(home=tmp_path, record_calls=True), store, ManualClock())
    transcript = msgspec.json.decode(fixture("post_call_transcription"))
    for event in (sound(10), transcript, sound(10)):
        await kept.tell(event)
    (told,) = await kept.latest(HOUSE, 10)
    assert told.audio
    assert told.status == "done"
    assert told.lines[0].text == "Hello, this is Tony."
    assert await kept.latest("another", 10) == []


async def test_conversations_are_forgotten_with_their_sound(store: Store, tmp_path: Path) -> None:
    clock = ManualClock()
    kept = Conversations(Settings(home=tmp_path, record_calls=True), store, clock)
    await kept.tell(sound(10))
    (told,) = await kept.latest(HOUSE, 10)
    recording = Path(told.audio or "")
    clock.advance(30 * DAY_MS / 1000)
    assert await kept.prune(30 * DAY_MS) == 0
    assert recording.exists()  # noqa: ASYNC240 - one name
    clock.advance(1)
    assert await kept.prune(30 * DAY_MS) == 1
    assert not recording.exists()  # noqa: ASYNC240 - one name
    assert await kept.latest(HOUSE, 10) == []


# While it rings


async def test_a_known_caller_is_greeted_by_name(wire: Wire) -> None:
    async with wire() as wired:
        await wired.hub.contacts.save(
            HOUSE, name="Ada", phone="+1 415 555 0100", company="Engines Ltd", role="Countess"
        )
        answer = await wired("POST", "/elevenlabs/conversation-init?agent=maya", CALLER)
        assert answer.json == {
            "type": "conversation_initiation_client_data",
            "dynamic_variables": {
                "agent_name": "Maya",
                "caller_name": "Ada",
                "caller_company": "Engines Ltd",
                "caller_role": "Countess",
            },
            "conversation_config_override": {
                "agent": {"first_message": "Hello Ada, this is Maya."}
            },
            "custom_llm_extra_body": {"caller_id": "+14155550100", "conversation_id": "CA123"},
            "user_id": "+14155550100",
        }


async def test_a_stranger_gets_every_variable_too(wire: Wire) -> None:
    async with wire() as wired:
        for caller in (CALLER, {}, {"caller_id": "anonymous"}):
            data = (await wired("POST", "/elevenlabs/conversation-init", caller)).json
            assert data["dynamic_variables"] == {
                "agent_name": "Tony",
                "caller_name": "",
                "caller_company": "",
                "caller_role": "",
            }
            override = data["conversation_config_override"]
            assert override == {"agent": {"first_message": "Hello, this is Tony."}}


async def test_who_calls_is_told_only_to_those_with_a_token(wire: Wire) -> None:
    path = "/elevenlabs/conversation-init"
    async with wire() as wired:
        await wired.hub.security.set_owner("correct horse")
        assert (await wired("POST", path, CALLER, remote=FAR)).status == 401
        _, token = await wired.hub.security.create_token("eleven", ["chat"], None)
        headers = {"authorization": f"Bearer {token}"}
        assert (await wired("POST", path, CALLER, remote=FAR, **headers)).status == 200
        assert (await wired("POST", f"{path}?agent=x", CALLER, remote=FAR, **headers)).status == 404
