"""When the caller begins, pauses and is done; and that no word of theirs is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tron.calls.listening import LONGEST_MS, PRE_ROLL_MS, Listening, Waits, turn_wait_ms
from tron.calls.signals import FRAME_MS

VOICE, SILENCE = 0.9, 0.1


class Ear:
    """Feeds frames and keeps what came of them."""

    def __init__(self, waits: Waits | None = None) -> None:
        self.listening = Listening(waits or Waits())
        self.at = 0
        self.fed: list[int] = []
        """the frames handed on, by number"""
        self.changes: list[tuple[int, str]] = []
        self.frames = 0

    def hear(self, ms: int, speech: float) -> None:
        for _ in range(ms // FRAME_MS):
            self.at += FRAME_MS
            self.frames += 1
            audio, change = self.listening.hear(f"{self.frames},".encode(), speech, self.at)
            self.fed += [int(number) for number in audio.decode().split(",") if number]
            if change is not None:
                self.changes.append((self.at, change))

    @property
    def kinds(self) -> list[str]:
        return [change for _, change in self.changes]


def test_speech_begins_after_the_declared_start_and_its_beginning_is_kept() -> None:
    ear = Ear()
    ear.hear(2_000, SILENCE)
    ear.hear(200, VOICE)
    assert ear.changes == [(2_200, "began")]
    assert ear.listening.began_at == 2_000
    first = ear.fed[0]
    assert first * FRAME_MS <= 2_000 - PRE_ROLL_MS + FRAME_MS
    assert ear.fed == list(range(first, ear.frames + 1))


def test_a_click_is_not_speech() -> None:
    ear = Ear()
    for _ in range(20):
        ear.hear(100, VOICE)
        ear.hear(200, SILENCE)
    assert ear.changes == []
    assert ear.fed == []


def test_a_short_gap_in_a_beginning_word_is_no_silence() -> None:
    ear = Ear()
    ear.hear(120, VOICE)
    ear.hear(40, SILENCE)
    ear.hear(100, VOICE)
    assert ear.kinds == ["began"]


def test_it_is_over_after_both_waits() -> None:
    ear = Ear(Waits(start_ms=200, stop_ms=200, wait_ms=200))
    ear.hear(1_000, VOICE)
    ear.hear(1_000, SILENCE)
    assert ear.changes == [(200, "began"), (1_200, "stopped"), (1_400, "over")]
    assert ear.listening.last_voiced_at == 1_000


def test_a_pause_inside_is_not_the_end() -> None:
    ear = Ear()
    ear.hear(1_000, VOICE)
    ear.hear(300, SILENCE)
    ear.hear(500, VOICE)
    ear.hear(1_000, SILENCE)
    assert ear.kinds == ["began", "stopped", "resumed", "stopped", "over"]
    assert ear.fed == list(range(ear.fed[0], ear.fed[-1] + 1)), "every frame in between is fed"


@pytest.mark.parametrize(
    ("partial", "wait"),
    [
        ("", 200),
        ("What time is it?", 100),
        ("I would like to", 800),
        ("First of all,", 600),
        ("my number is five", 200),
        ("现在几点？", 100),
        ("首先，", 600),
    ],
)
def test_the_wait_goes_by_what_was_said(partial: str, wait: int) -> None:
    assert turn_wait_ms(partial, 200) == wait
    ear = Ear()
    ear.hear(1_000, VOICE)
    ear.listening.partial = partial
    ear.hear(2_000, SILENCE)
    assert ear.changes[-1] == (1_000 + 200 + wait, "over")


def test_a_client_that_sends_nothing_in_silence() -> None:
    ear = Ear()
    ear.hear(1_000, VOICE)
    assert ear.listening.lapse(1_040) is None
    assert ear.listening.lapse(1_300) is None
    assert ear.listening.lapse(1_400) == "over"
    assert ear.listening.lapse(1_500) is None


def test_who_holds_a_button_means_every_word() -> None:
    ear = Ear()
    ear.hear(400, SILENCE)
    ear.listening.held = True
    ear.hear(100, SILENCE)
    ear.hear(120, VOICE)
    ear.hear(900, SILENCE)
    assert ear.kinds == ["began", "stopped"]
    assert ear.listening.end() == "over"
    assert ear.fed == list(range(ear.fed[0], ear.frames + 1))
    assert ear.fed[0] * FRAME_MS <= 500 - PRE_ROLL_MS + FRAME_MS


def test_who_holds_it_and_is_silent_said_nothing() -> None:
    ear = Ear()
    ear.listening.held = True
    ear.hear(1_000, SILENCE)
    assert ear.listening.end() is None


def test_nobody_speaks_for_ever() -> None:
    ear = Ear()
    ear.hear(LONGEST_MS + 1_000, VOICE)
    assert ear.kinds[:2] == ["began", "over"]


def test_no_wait_at_all() -> None:
    ear = Ear(Waits(start_ms=0, stop_ms=0, wait_ms=0))
    ear.hear(FRAME_MS, VOICE)
    ear.hear(FRAME_MS, SILENCE)
    assert ear.kinds == ["began", "over"]


@given(
    st.lists(st.tuples(st.integers(1, 80), st.sampled_from((VOICE, SILENCE))), max_size=30),
    st.sampled_from((0, 40, 200)),
    st.sampled_from((0, 100, 200)),
)
def test_no_frame_of_an_utterance_is_lost(
    stretches: list[tuple[int, float]], start: int, stop: int
) -> None:
    """From before its first voiced frame to its end, each frame is fed once and in order."""
    ear = Ear(Waits(start_ms=start, stop_ms=stop, wait_ms=200))
    begun: list[int] = []
    for frames, speech in stretches:
        for _ in range(frames):
            before = len(ear.fed)
            ear.hear(FRAME_MS, speech)
            if ear.kinds[-1:] == ["began"] and ear.changes[-1][0] == ear.at:
                begun.append(before)
                first_voiced = ear.listening.began_at // FRAME_MS + 1
                assert ear.fed[before] <= first_voiced
                assert ear.fed[before:] == list(range(ear.fed[before], ear.frames + 1))
            elif ear.listening.speaking or ear.kinds[-1:] == ["over"]:
                assert len(ear.fed) in (before, before + 1)
    assert ear.fed == sorted(set(ear.fed)), "nothing twice, nothing out of order"
    alternating = [kind for kind in ear.kinds if kind in ("began", "over")]
    assert alternating == (["began", "over"] * len(alternating))[: len(alternating)]
