"""How far ahead sound is sent, and how much of it counts as heard."""

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
    playback.played(1)
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
    playback.played(1)
    playback.due(0)
    assert playback.finished(0, marks=True) == []
    hasty = full(frames=10)
    hasty.due(0)
    hasty.played(1)  # sent back at once, not after 200 ms
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
