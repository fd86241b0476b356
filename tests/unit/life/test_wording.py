"""Text from outside is made fit to store and to send."""

from tron.life.wording import counted, cut, first_sentence, lines, listed, plain, whole_words


def test_whole_words_only() -> None:
    assert whole_words(("AI", "unit economics"), "She said: unit economics of air") == [
        "unit economics"
    ]
    assert whole_words(("ai",), "The AI, explained") == ["ai"]
    assert whole_words(("c++",), "Moving to C++ now") == ["c++"]


def test_plain_text_is_one_clean_line() -> None:
    assert plain("a\x00b\n  c\ud800d") == "a b c d"
    assert lines("one\n\n two\x00 \n") == "one\ntwo"


def test_cutting_ends_at_a_word() -> None:
    assert cut("short", 10) == "short"
    assert cut("one two three four", 12) == "one two…"
    assert len(cut("x" * 50, 10)) == 10


def test_counting_and_listing() -> None:
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(0, "article") == "0 articles"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert first_sentence("First. Second.") == "First."
