"""What of an answer has been spoken, by the estimate."""

from hypothesis import given
from hypothesis import strategies as st

from integrations.twilio.estimate import Spoken
from tron.calls.sentences import Piece
from tron.calls.writing import MS_PER_CHARACTER

PIECES = st.lists(st.builds(Piece, st.text("ab *. "), st.text("ab . ")), max_size=6)


def after(spoken: Spoken, characters: int) -> str:
    return spoken.heard(characters * MS_PER_CHARACTER)


def test_whole_words_as_they_were_written() -> None:
    spoken = Spoken()
    spoken.add(Piece("", "Let me look. "), 0)  # a filler, which is no part of the answer
    spoken.add(Piece("It is **ten** o'clock. ", "It is ten o'clock."), 0)
    spoken.add(Piece("(https://example.com) ", ""), 0)  # which nobody can say
    spoken.add(Piece("Good night.", "Good night."), 0)
    filler, first = len("Let me look. "), len("It is ten o'clock.")
    assert after(spoken, filler - 1) == after(spoken, filler + 1) == ""
    assert after(spoken, filler + 6) == "It is "
    assert after(spoken, filler + first - 1) == "It is **ten** "
    assert after(spoken, filler + first) == "It is **ten** o'clock. (https://example.com) "
    assert after(spoken, filler + first + len("Good night.")).endswith(" Good night.")


def test_what_comes_late_begins_late_and_what_is_new_after_what_is_old() -> None:
    spoken = Spoken()
    spoken.add(Piece("One two.", "One two."), 0)
    spoken.add(Piece(" Three.", "Three."), 60_000)
    assert spoken.heard(60_000).rstrip() == "One two."
    assert spoken.by == spoken.sent_at + len("Three.") * MS_PER_CHARACTER == 60_390
    spoken.begin()
    spoken.add(Piece("Four five.", "Four five."), 60_000)
    assert spoken.heard(60_390) == ""
    assert spoken.heard(60_390 + 5 * MS_PER_CHARACTER) == "Four "
    spoken.stop()
    assert (spoken.by, spoken.heard(90_000)) == (0, "")


def test_a_language_without_spaces_is_heard_by_the_character() -> None:
    spoken = Spoken()
    spoken.add(Piece("你好，我是托尼。", "你好，我是托尼。"), 0)
    assert spoken.heard(spoken.by // 2) == "你好，我"
    assert spoken.heard(spoken.by) == "你好，我是托尼。"


@given(PIECES, st.lists(st.integers(0, 5_000), min_size=2, max_size=2))
def test_more_is_heard_as_time_goes_by_and_in_the_end_all(
    pieces: list[Piece], times: list[int]
) -> None:
    spoken, whole = Spoken(), "".join(piece.text for piece in pieces)
    for piece in pieces:
        spoken.add(piece, 100)
    earlier, later = (spoken.heard(at) for at in sorted(times))
    assert whole.startswith(later)
    assert later.startswith(earlier)
    assert spoken.heard(max(spoken.by, 100)) == whole
