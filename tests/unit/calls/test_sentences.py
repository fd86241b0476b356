"""From text to pieces that can be spoken: no character lost, nothing spoken twice."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tron.calls.sentences import LONGEST_CHARS, Piece, Sentences, speakable

MARKDOWN = st.lists(
    st.sampled_from(
        (
            "Hello there. ",
            "Dr. Who is in, I think",
            "**bold** ",
            "```python\nprint(1)\n```",
            "`x` ",
            "https://www.example.com/a/b?c=d ",
            "[a link](https://x.example/y) ",
            "- item\n",
            "1. first\n",
            "| a | b. c |\n",
            "|---|:-:|\n",
            "\n| x",
            "😀 ",
            "\n\n",
            "wait… ",
            "3.14 ",
            ", and then ",
            "今天天气很好。",
            "「はい、そうです」",
            "ठीक है। ",
        )
    )
    | st.text(max_size=12)
).map("".join)


def cut(text: str, sizes: list[int]) -> list[Piece]:
    """`text` arriving in chunks of these sizes, over and over."""
    sentences, pieces, at, turn = Sentences(), [], 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        pieces += sentences.add(text[at : at + size])
        at, turn = at + size, turn + 1
    return pieces + sentences.end()


@given(MARKDOWN, st.lists(st.integers(1, 40), min_size=1))
def test_no_character_is_lost_and_none_comes_twice(text: str, sizes: list[int]) -> None:
    pieces = cut(text, sizes)
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text for piece in pieces)


@given(MARKDOWN, st.lists(st.integers(1, 40), min_size=1), st.data())
def test_what_is_taken_back_is_said_from_there(
    text: str, sizes: list[int], data: st.DataObject
) -> None:
    sentences = Sentences()
    said = ""
    at = turn = 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        pieces = sentences.add(text[at : at + size])
        at, turn = at + size, turn + 1
        new = "".join(piece.text for piece in pieces)
        keep = data.draw(st.integers(0, len(new)))
        said += new[:keep]
        if keep < len(new):
            said += "".join(piece.text for piece in sentences.take_back(new[keep:]))
    said += "".join(piece.text for piece in sentences.end())
    assert said == text


@given(MARKDOWN)
def test_what_is_spoken_can_be_spoken(text: str) -> None:
    for piece in cut(text, [7]):
        assert piece.spoken == "" or any(char.isalnum() for char in piece.spoken)
        assert not set(piece.spoken) & set("*`~|\n")
        assert not re.search(r"https?://[^\s/)>\]]", piece.spoken)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=9), max_size=200))
def test_words_stay_whole(words: list[str]) -> None:
    pieces = cut(" ".join(words), [5])
    assert " ".join(piece.spoken for piece in pieces if piece.spoken).split() == words
    assert all(len(piece.text) <= LONGEST_CHARS + 10 for piece in pieces[:-1])


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Yes. It is so and it stays so, as far as I know. Bye.", ["Yes."]),
        (
            "Dr. Smith said so to Mr. Jones today. And left",
            ["Dr. Smith said so to Mr. Jones today."],
        ),
        ("It is 3.5 km to the next village. Go", ["It is 3.5 km to the next village."]),
    ],
)
def test_the_first_sentence_comes_early(text: str, spoken: list[str]) -> None:
    assert [piece.spoken for piece in Sentences().add(text)][:1] == spoken


@pytest.mark.parametrize(
    "text",
    [
        "你好，我是托尼。今天天气很好！我们可以去公园散步吗？我建议早上九点。",
        "「こんにちは。」トニーです。今日はいい天気ですね。",
        "यह एक वाक्य है। और यह दूसरा वाक्य है।",
        "یہ ایک جملہ ہے۔ کیا آپ آئیں گے؟ ہاں۔",
    ],
)
def test_sentences_of_other_languages_come_as_early(text: str) -> None:
    sentences = Sentences()
    at = next(at for at in range(len(text)) if sentences.add(text[at]))
    assert at <= len(text) // 2
    assert sentences.held != text


def test_pieces_of_characters_are_as_long_to_say_as_those_of_letters() -> None:
    sentences = Sentences()
    sentences.add("你好。")
    (piece,) = sentences.add("今天天气很好，我们可以去公园散步。" * 3)
    assert len(piece.text) == 34
    (piece,) = Sentences().add("这是一个很长的句子" * 3 + "，" + "它一直没有结束" * 2)
    assert piece.text.endswith("，")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**Really** _now_", "Really now"),
        ("see [the page](https://x.example/y)", "see the page"),
        ("at https://www.example.com/a?b=c now", "at example.com now"),
        ("glued to it:https://example.com/x", "glued to it:example.com"),
        ("- one\n- two", "one two"),
        ("😀", ""),
        ("```\ncode\n```", "(there is code on the screen)"),
        ("***", ""),
    ],
)
def test_what_a_person_would_say(text: str, spoken: str) -> None:
    assert speakable(text) == spoken


TABLE = "| City | Price |\n| --- | ---: |\n| Berlin | 89 euros. Or more. |\n| Rome | |\n"


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE, ["City: Berlin, Price: 89 euros. Or more.", "City: Rome."]),
        (
            f"Here you are:\n\n{TABLE}\nTell me which one you would like.",
            [
                "Here you are:",
                "City: Berlin, Price: 89 euros. Or more.",
                "City: Rome.",
                "Tell me which one you would like.",
            ],
        ),
        ("|a|b|\n|1|2|\n|3|4|", ["a, b. 1, 2.", "3, 4."]),
        ("a | b\n--- | ---\n1 | 2\n", ["a, b 1, 2"]),
        (TABLE + "\nAnd then:\n" + TABLE.replace("City", "Town"), None),
    ],
)
def test_a_table_is_read_row_by_row(text: str, said: list[str] | None, size: int) -> None:
    spoken = [piece.spoken for piece in cut(text, [size]) if piece.spoken]
    assert "--" not in " ".join(spoken)
    if said is not None:
        assert " ".join(spoken) == " ".join(said)
    else:
        assert spoken[-1] == "Town: Rome."


@given(st.integers(0, len(TABLE)))
def test_a_table_that_was_cut_off_is_read_on(heard: int) -> None:
    sentences = Sentences()
    sentences.add(TABLE)
    head = TABLE.index("| Berlin")  # which has no sound, so it counts as heard or it does not
    rest = TABLE[heard if heard >= head else 0 :]
    spoken = " ".join(piece.spoken for piece in [*sentences.take_back(rest), *sentences.end()])
    assert "--" not in spoken
    if heard <= head:
        assert spoken.split() == "City: Berlin, Price: 89 euros. Or more. City: Rome.".split()
