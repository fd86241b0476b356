"""How far ahead sound is sent, and how much of it counts as heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tron.calls.playback import BLOCK_MS, LEAD_MS, MARK_GRACE_MS, Playback
from tron.calls.signals import FRAME_MS

TEXT = "one two three four five six seven eight nine ten"


def full(text: str = TEXT, frames: int = 100) -> Playback:
    """One segment, all made."""
    playback = Playback()
    playback.add(1, 1, text)
    playback.fill(1, [b"f"] * frames)
    playback.complete(1)
    return playback


def test_sent_in_blocks_and_never_far_ahead() -> None:
    playback = full(frames=200)
    sends, sent = 0, 0
    for now in range(0, 4_000, FRAME_MS):
        frames, _ = playback.due(now)
        sends, sent = sends + bool(frames), sent + len(frames)
        assert sent * FRAME_MS - now <= LEAD_MS
        assert sent * FRAME_MS - now >= LEAD_MS - BLOCK_MS or sent == 200, "never runs dry"
    assert sent == 200
    assert sends <= 4_000 // BLOCK_MS


def test_a_mark_follows_the_last_frame_once() -> None:
    playback = full(frames=30)
    marks = [mark for now in range(0, 1_000, FRAME_MS) for mark in playback.due(now)[1]]
    assert marks == [1]


def test_over_by_the_mark_or_by_the_clock() -> None:
    playback = full(frames=10)
    playback.due(0)
    assert playback.finished(200, marks=True) == []
    playback.played(1, 200)
    assert [segment.id for segment in playback.finished(200, marks=True)] == [1]
    assert not playback.active
    playback = full(frames=10)
    playback.due(0)
    assert playback.finished(180, marks=False) == []
    assert len(playback.finished(200, marks=False)) == 1
    playback = full(frames=10)
    playback.due(0)
    assert playback.finished(200 + MARK_GRACE_MS - 1, marks=True) == []
    assert len(playback.finished(200 + MARK_GRACE_MS, marks=True)) == 1


def test_a_mark_before_its_time_means_nothing() -> None:
    playback = full(frames=100)
    playback.played(1, 200)
    playback.due(0)
    assert playback.finished(0, marks=True) == []
    hasty = full(frames=10)
    hasty.due(0)
    hasty.played(1, 0)  # sent back at once, not after 200 ms
    assert hasty.finished(180, marks=True) == []
    assert len(hasty.finished(200, marks=True)) == 1


def test_cut_at_the_word() -> None:
    playback = full(frames=100)  # 2 s
    for now in range(0, 1_000, FRAME_MS):
        playback.due(now)
    heard, unheard = playback.cut(1_000)
    assert heard + unheard == TEXT
    assert heard == "one two three four five "
    assert not playback.active
    assert playback.due(1_020) == ([], [])


def spoken(playback: Playback, until: int) -> int:
    """Sound goes out, by the clock alone; gives `until`."""
    for now in range(0, until, FRAME_MS):
        playback.due(now)
        playback.finished(now, marks=True)
    return until


@pytest.mark.parametrize(
    "text", ["你好，我是托尼。今天天气很好，我们去公园吧。", "こんにちは、トニーです。"]
)
def test_without_spaces_every_character_is_a_word(text: str) -> None:
    playback = full(text, frames=100)  # 2 s
    heard, unheard = playback.cut(spoken(playback, 1_000))
    assert heard + unheard == text
    assert len(heard) == len(text) // 2


def test_words_among_characters_stay_whole() -> None:
    playback = full("我喜欢 programming 因为很有趣", frames=100)
    assert playback.cut(spoken(playback, 1_000))[0] == "我喜欢 "
    playback = full("我喜欢programming因为很有趣", frames=100)
    assert playback.cut(spoken(playback, 1_000))[0] == "我喜欢"
    playback = full("안녕하세요 저는 토니입니다", frames=100)
    assert playback.cut(spoken(playback, 1_000))[0] == "안녕하세요 "


def test_of_what_failed_in_mid_word_nothing_is_lost_without_spaces() -> None:
    playback = Playback()
    playback.add(1, 1, "你好我是托尼今天天气很好")
    playback.fill(1, [b"f"] * 50)  # 1 s, five syllables
    playback.complete(1, failed=True)
    heard, _ = playback.cut(spoken(playback, 1_000))
    assert heard == "你好我是托"


def test_characters_still_being_made_are_taken_to_be_syllables() -> None:
    playback = Playback()
    playback.add(1, 1, "你好我是托尼今天天气很好我们去公园")
    playback.fill(1, [b"f"] * 50)
    heard, _ = playback.cut(spoken(playback, 1_000))
    assert heard == "你好我是托"


def test_what_the_marks_show_to_be_later_was_heard_later() -> None:
    playback = Playback()
    for id in (1, 2, 3):
        playback.add(id, 1, TEXT)
        playback.fill(id, [b"f"] * 50)  # 1 s
        playback.complete(id)
    spoken(playback, 1_400)
    playback.played(1, 1_400)  # 400 ms behind the clock, as this wire is
    spoken(playback, 2_820)
    playback.played(2, 2_820)  # late for a reason of its own
    playback.finished(2_820, marks=True)
    heard, _ = playback.cut(2_840)
    assert heard == "one two three four "


def test_marks_that_come_too_early_show_nothing() -> None:
    playback = full(frames=100)
    playback.add(2, 1, TEXT)
    playback.fill(2, [b"f"] * 100)
    playback.complete(2)
    spoken(playback, 1_900)
    playback.played(1, 1_900)
    assert playback.cut(spoken(playback, 3_000))[0] == "one two three four five "


def test_what_came_late_was_heard_late() -> None:
    """The synthesiser paused in the middle: silence is not speech."""
    playback = Playback()
    playback.add(1, 1, TEXT)
    playback.fill(1, [b"f"] * 50)
    for now in range(0, 2_000, FRAME_MS):
        playback.due(now)
    playback.fill(1, [b"f"] * 50)
    playback.complete(1)
    for now in range(2_000, 2_200, FRAME_MS):
        playback.due(now)
    assert playback.finished(2_200, marks=False) == [], "not over by when it should have been"
    heard, _ = playback.cut(2_200)  # 1 s and 200 ms of 2 s
    assert heard == "one two three four five six "


def test_nothing_was_heard_before_it_played() -> None:
    playback = full()
    assert playback.cut(0) == ("", TEXT)
    playback = full()
    playback.due(0)
    assert playback.cut(0) == ("", TEXT)


def test_a_segment_still_being_made_is_not_taken_to_be_short() -> None:
    playback = Playback()
    playback.add(1, 1, TEXT)
    playback.fill(1, [b"f"] * 10)  # 200 ms of what will be 3 s
    playback.due(0)
    heard, _ = playback.cut(200)
    assert heard == "one "


@given(
    st.lists(st.tuples(st.text("ab .", min_size=1, max_size=80), st.integers(0, 150)), max_size=5),
    st.integers(0, 400),
)
def test_a_cut_loses_no_character(segments: list[tuple[str, int]], frames: int) -> None:
    playback = Playback()
    for id, (text, count) in enumerate(segments, 1):
        playback.add(id, 1, text)
        playback.fill(id, [b"f"] * count)
        playback.complete(id)
    done = ""
    now = 0
    for now in range(0, frames * FRAME_MS, FRAME_MS):
        playback.due(now)
        done += "".join(segment.text for segment in playback.finished(now, marks=False))
    heard, unheard = playback.cut(now)
    assert done + heard + unheard == "".join(text for text, _ in segments)
