"""What the call machine says, as the client of a voice session reads it."""

import base64
import io
import wave
from typing import Any

import msgspec
import pytest

from tron.calls.signals import Tell
from tron.clock import ManualClock
from tron.web.voice.messages import Outgoing, encode
from tron.web.voice.sessions import VoiceSession
from tron.web.voice.styles import style
from tron.web.voice.wire import VoiceWire, endpoint_hint


class Seen:
    """Stands in for the outbox."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.forgotten = 0

    def put(self, message: Outgoing) -> None:
        self.messages.append(msgspec.json.decode(encode(message)))

    def forget_audio(self) -> None:
        self.forgotten += 1

    @property
    def names(self) -> list[str]:
        return [message.get("code") or message["type"] for message in self.messages]


class Talk:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.session = VoiceSession(
            now=0,
            user_id="u",
            owner="local",
            client_id="house",
            agent="tony",
            style=style("warm"),
            voice_id="",
            voice="",
        )
        self.seen = Seen()
        self.session.outbox = self.seen  # type: ignore[assignment]
        self.ends: list[str] = []
        self.cues = 0
        self.wire = VoiceWire(
            self.session,
            self.clock,
            wait_ms=200,
            wake_words=("samantha", "Tony"),
            over=self.ends.append,
            working=self.count,
        )

    def count(self) -> None:
        self.cues += 1

    def tell(self, what: str, text: str = "") -> None:
        self.wire.tell(Tell(what, 1, text))


@pytest.fixture
async def talk() -> Talk:
    return Talk()


async def test_a_turn_comes_in_the_documented_order(talk: Talk) -> None:
    talk.tell("committed", "What time is it?")
    talk.tell("turn", "What time is it?")
    assert talk.session.active_turn_id == "turn_1"
    talk.tell("working")
    talk.tell("text", "It is ")
    talk.tell("text", "noon.")
    talk.tell("first_audio")
    talk.wire.play(bytes(4800))
    talk.wire.play(bytes(4800))
    talk.tell("turn_end", "completed")
    assert talk.seen.names == [
        "stt_committed",
        "assistant_working",
        "assistant_first_text",
        "assistant_text_delta",
        "assistant_text_delta",
        "assistant_first_audio",
        "assistant_audio_chunk",
        "assistant_audio_chunk",
        "assistant_turn_end",
    ]
    assert [m["seq"] for m in talk.seen.messages if "audio_base64" in m] == [1, 2]
    assert {m["turn_id"] for m in talk.seen.messages if "turn_id" in m} == {"turn_1"}
    assert talk.session.active_turn_id is None
    assert talk.cues == 1


async def test_every_piece_of_sound_is_a_wav_of_its_own(talk: Talk) -> None:
    talk.wire.play(b"\x01\x02" * 480)
    message = talk.seen.messages[0]
    assert message["format"] == "wav_24000"
    with wave.open(io.BytesIO(base64.b64decode(message["audio_base64"]))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24000, 1, 2)
        assert sound.readframes(1000) == b"\x01\x02" * 480


async def test_nobody_is_told_of_work_after_the_first_words_or_the_end(talk: Talk) -> None:
    talk.tell("turn")
    talk.tell("text", "Well.")
    talk.tell("working")
    talk.tell("turn_end", "completed")
    talk.tell("turn")
    talk.tell("turn_end", "interrupted")
    assert "assistant_working" not in talk.seen.names


async def test_being_cut_off_silences_and_counts(talk: Talk) -> None:
    talk.tell("turn")
    talk.wire.play(bytes(960))
    talk.wire.clear()
    talk.tell("turn_end", "barge_in")
    assert talk.seen.forgotten == 1
    assert talk.seen.names[-2:] == ["audio_clear", "assistant_turn_end"]
    assert talk.session.interruption_count == 1
    talk.tell("turn")
    assert talk.session.active_turn_id == "turn_2"


async def test_a_failure_is_an_error_before_the_turn_ends(talk: Talk) -> None:
    talk.tell("turn")
    talk.tell("failed", "provider_unavailable")
    talk.tell("not_spoken")
    talk.tell("turn_end", "failed")
    found = [m for m in talk.seen.messages if m["type"] == "error_event"]
    assert [(m["code"], m["source"]) for m in found] == [
        ("assistant_turn_failed", "orchestrator"),
        ("local_tts_failed", "tts"),
    ]
    assert talk.seen.messages[-1]["reason"] == "failed"


async def test_the_word_that_woke_it_is_named(talk: Talk) -> None:
    for said in ("Hey Samantha, hello", "tony, hello"):
        talk.tell("committed", said)
        talk.tell("wake_word")
    woken = [m["detail"] for m in talk.seen.messages if m["type"] == "system_event"]
    assert woken == ["samantha", "Tony"]


async def test_the_end_of_the_call_is_passed_on(talk: Talk) -> None:
    talk.wire.hang_up("persona-ended-call")
    assert talk.ends == ["persona-ended-call"]


@pytest.mark.parametrize(
    ("partial", "reason", "commit"),
    [
        ("What time", "neutral", False),
        ("I would like to", "continuation", False),
        ("First,", "continuation", False),
        ("That is all.", "terminal", True),
    ],
)
def test_the_hint_says_what_the_hub_will_do(partial: str, reason: str, commit: bool) -> None:
    hint = endpoint_hint(partial, None, 200, 0)
    assert (hint.reason, hint.should_commit) == (reason, commit)
    assert (hint.hold_ms < 200) == commit


async def test_hints_come_before_their_partial_and_only_when_they_change(talk: Talk) -> None:
    for text in ("What", "What time", "What time is", "What time is it?"):
        talk.tell("partial", text)
    assert talk.seen.names == [
        "semantic_endpoint_hint",
        "stt_partial",
        "stt_partial",
        "semantic_endpoint_hint",
        "stt_partial",
        "semantic_endpoint_hint",
        "stt_partial",
    ]
    talk.clock.advance(1.2)
    talk.tell("partial", "What time is it?")
    assert talk.seen.names[-2:] == ["semantic_endpoint_hint", "stt_partial"]


async def test_a_confidence_is_passed_on_where_an_engine_gives_one(talk: Talk) -> None:
    talk.wire.tell(Tell("partial", text="what time", confidence=0.62))
    assert [message["confidence"] for message in talk.seen.messages] == [0.62, 0.62]
    talk.wire.tell(Tell("partial", text="what time is it"))
    assert talk.seen.messages[-1]["confidence"] is None
