"""Cutting texts and recordings: nothing is lost, and no word is cut in two."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.speech.sounds import sine
from tron.speech.pieces import portions, quietest, sentences, stretches

RATE = 16_000


@given(st.text(max_size=400), st.integers(1, 60))
def test_sentences_hold_every_word_and_no_more(text: str, longest: int) -> None:
    for cut in (list(sentences(text, longest=longest)), list(portions(text, longest=longest))):
        assert all(0 < len(part) <= longest for part in cut)
        assert re.sub(r"\s", "", "".join(cut)) == re.sub(r"\s", "", text)


def test_sentences_end_where_they_end() -> None:
    said = 'It costs 3.50 today. "Really?" Yes!\nFine'
    assert list(sentences(said, longest=100)) == [
        "It costs 3.50 today.",
        '"Really?',
        "Yes!",
        "Fine",
    ]


def test_a_long_sentence_is_cut_at_a_clause_or_a_space() -> None:
    assert list(sentences("one two, three four", longest=12)) == ["one two,", "three four"]
    assert list(sentences("one two three", longest=9)) == ["one two", "three"]


def test_portions_are_as_long_as_they_may_be() -> None:
    assert list(portions("One. Two. Three. Four.", longest=10)) == ["One. Two.", "Three.", "Four."]


def test_a_recording_is_cut_at_its_pauses() -> None:
    pcm = bytes(RATE * 2) + sine(300, 3, RATE) + bytes(RATE * 2) + sine(300, 3, RATE) + bytes(RATE)
    (a, b), (c, d) = stretches(pcm, RATE, longest_s=12)
    assert a <= RATE <= 4 * RATE <= b <= c <= 5 * RATE <= 8 * RATE <= d


def test_long_speech_is_cut_where_it_is_quietest() -> None:
    pcm = sine(300, 7, RATE) + sine(300, 0.2, RATE, size=900) + sine(300, 8, RATE)
    assert 7.0 <= quietest(pcm, RATE, after_s=5) / RATE <= 7.2
    cuts = stretches(pcm, RATE, longest_s=10)
    assert 7.0 <= cuts[0][1] / RATE <= 7.2
    assert [start for start, _ in cuts[1:]] == [end for _, end in cuts[:-1]]
    assert all(end - start <= 10 * RATE for start, end in cuts)


@given(st.binary(max_size=3000))
def test_any_recording_can_be_cut(pcm: bytes) -> None:
    cuts = stretches(pcm, 100, longest_s=2)
    assert all(0 <= start < end <= len(pcm) // 2 for start, end in cuts)
    assert 0 <= quietest(pcm, 100, after_s=1) <= len(pcm) // 2
