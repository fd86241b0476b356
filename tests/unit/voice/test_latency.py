"""The stages of a turn, from the lines of a call's ledger."""

from typing import Any

from tron.calls.ledger import Record
from tron.calls.signals import Note
from tron.web.voice.latency import WINDOW, Latency, percentile

CALL = Record(
    id="c1",
    client_id="house",
    wire="samantha",
    direction="inbound",
    caller="x",
    called="",
    external_id=None,
    agent="tony",
    session_key="",
    started_at=0,
)


def tell(latency: Latency, *lines: tuple[int, Note]) -> None:
    for at, note in lines:
        latency.note(CALL, at, note)


def turn(latency: Latency, *, begin: int = 0, number: int = 1, audio_ms: int = 400) -> None:
    """Speech ended at +0, commit at +300, understood at +450."""
    tell(
        latency,
        (begin - 900, Note("speech_began")),
        (begin - 50, Note("partial")),
        (begin + 300, Note("commit", value=begin)),
        (begin + 450, Note("committed")),
        (begin + 450, Note("turn_began", number)),
        (begin + 500, Note("first_text", number)),
        (begin + 520, Note("say", number, "Hello.")),
        (begin + 550, Note("synthesised")),
        (begin + 560, Note("say", number, "It is four.")),
        (begin + 590, Note("synthesised")),
        (begin + 300 + audio_ms, Note("first_audio", number)),
        (begin + 5000, Note("turn_over", number, "completed", begin + 900)),
    )


def last(latency: Latency) -> dict[str, Any]:
    return {stage["stage"]: stage["last_ms"] for stage in latency.stages() if stage["samples"]}


def test_every_stage_measures_what_its_name_says() -> None:
    latency = Latency()
    turn(latency)
    assert last(latency) == {
        "partial_to_commit": 350,
        "speech_end_to_commit": 300,
        "commit_to_first_text": 200,  # the wait for the recogniser is in it
        "commit_to_brain_first_delta": 200,
        "commit_to_first_audio": 400,
        "commit_to_tts_ready": 250,  # the first sound of the first words
        "brain_first_delta_to_first_audio": 200,
        "speech_end_to_first_audio": 700,
        "turn_total": 600,  # until all of it was made, not until it was played
    }
    assert latency.indicators() == []


def test_a_stage_nobody_went_through_is_left_out() -> None:
    latency = Latency()
    assert last(latency) == {}
    tell(latency, (0, Note("turn_began", 1)), (80, Note("first_text", 1)))  # it was typed
    assert last(latency) == {}


def test_a_stage_that_cannot_be_measured_says_so() -> None:
    stages = {stage.pop("stage"): stage for stage in Latency().stages()}
    nothing = {"samples": 0} | dict.fromkeys(("last_ms", "avg_ms", "p50_ms", "p95_ms", "p99_ms"))
    assert stages == {
        "commit_to_context_ready": nothing | {"target_p95_ms": 350},
        "commit_to_thinking_delta": nothing | {"target_p95_ms": 900},
    }


def test_speech_that_is_not_the_answers_does_not_make_its_voice_ready() -> None:
    latency = Latency()
    tell(
        latency,
        (0, Note("say", 0, "Hello, this is Tony.")),
        (300, Note("commit", value=0)),
        (310, Note("turn_began", 1)),
        (320, Note("synthesised")),
    )
    assert "commit_to_tts_ready" not in last(latency)


def test_stop_is_measured_to_the_words_it_brought() -> None:
    latency = Latency()
    tell(
        latency,
        (0, Note("speech_began")),
        (700, Note("stop")),
        (700, Note("commit", value=650)),
        (910, Note("committed")),
    )
    assert last(latency)["stop_to_stt_committed"] == 210


def test_an_answer_that_was_cut_off_has_no_total_and_the_next_has_its_own_times() -> None:
    latency = Latency()
    tell(
        latency,
        (300, Note("commit", value=0)),
        (350, Note("turn_began", 1)),
        (400, Note("first_text", 1)),
        (500, Note("first_audio", 1)),
        (900, Note("commit", value=700)),  # the caller said more; the answer is dropped for it
        (1000, Note("turn_dropped", 1)),
        (1000, Note("turn_began", 2)),
        (1100, Note("first_text", 2)),
    )
    found = {stage["stage"]: stage for stage in latency.stages()}
    assert "turn_total" not in found
    assert found["commit_to_first_text"]["samples"] == 2
    assert found["commit_to_first_text"]["last_ms"] == 200


def test_only_the_latest_samples_count() -> None:
    latency = Latency()
    for number in range(1, WINDOW + 11):
        turn(latency, begin=number * 10_000, number=number, audio_ms=5000 if number < 11 else 300)
    stage = next(s for s in latency.stages() if s["stage"] == "commit_to_first_audio")
    assert (stage["samples"], stage["p99_ms"], stage["target_p95_ms"]) == (WINDOW, 300, 1400)
    assert latency.indicators() == [{"name": "first_audio_slo_miss", "count": 10}]
    latency.reset()
    assert (last(latency), latency.indicators()) == ({}, [])


def test_percentiles_lie_between_samples() -> None:
    assert percentile([100], 0.95) == 100
    assert percentile([100, 200], 0.5) == 150
    assert percentile(list(range(101)), 0.95) == 95


def test_a_call_that_is_over_is_forgotten() -> None:
    latency = Latency()
    tell(latency, (300, Note("commit", value=0)), (310, Note("ended")))
    tell(latency, (350, Note("turn_began", 1)), (400, Note("first_text", 1)))
    assert "commit_to_first_text" not in last(latency)
