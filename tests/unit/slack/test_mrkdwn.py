"""Markdown in Slack's form; code comes through unharmed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.slack.mrkdwn import mrkdwn, split


@pytest.mark.parametrize(
    ("markdown", "slack"),
    [
        ("**bold** and *italic* and _italic_", "*bold* and _italic_ and _italic_"),
        ("***both*** ~~gone~~", "*_both_* ~gone~"),
        ("__init__ stays a_b_c and 2 * 3 * 4", "*init* stays a_b_c and 2 * 3 * 4"),
        ("a__b__c", "a__b__c"),
        ("# Title", "*Title*"),
        ("### A **b** c ###", "*A b c*"),
        ("- one\n* two\n  + three", "• one\n• two\n  • three"),
        ("1. one\n2. two", "1. one\n2. two"),
        ("- [ ] do\n- [x] done", "• ☐ do\n• ☑ done"),
        ("[site](https://x.y/a?b=1&c=2)", "<https://x.y/a?b=1&amp;c=2|site>"),
        ("[a|b](https://x.y/(z))", "<https://x.y/(z)|a/b>"),
        ("![image](https://x.y/i.png)", "<https://x.y/i.png|image>"),
        ("see https://x.y/a_b_c.", "see <https://x.y/a_b_c>."),
        ("[bad](javascript:alert(1))", "[bad](javascript:alert(1))"),
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("<@U123> <!channel>", "&lt;@U123&gt; &lt;!channel&gt;"),
        ("> quoted *words*", "> quoted _words_"),
        ("---", "———"),
        (r"\*not\* \# \_this\_", "*not* # _this_"),
        ("`**code** <b>`", "`**code** &lt;b&gt;`"),
        ("``a ` b``", "`a ` b`"),
        ("| a | b |\n|---|:-:|\n| 1 | two |", "```\na  b\n1  two\n```"),
        ("a | b\nc", "a | b\nc"),
    ],
)
def test_each_form(markdown: str, slack: str) -> None:
    assert mrkdwn(markdown) == slack


CODE = 'if a < b and "**x**" and "[l](http://u)":\n    # not a title\n    _ = a_b * c_d * 2\n- x'


@pytest.mark.parametrize("fence", ["```", "~~~", "````"])
def test_a_block_of_code_is_only_escaped(fence: str) -> None:
    shown = mrkdwn(f"Before **it**\n{fence}python\n{CODE}\n{fence}\nafter")
    assert shown == f"Before *it*\n```\n{CODE.replace('<', '&lt;')}\n```\nafter"


def test_an_open_block_is_closed() -> None:
    assert mrkdwn("```py\nx = 1") == "```\nx = 1\n```"


def test_a_persona_cannot_ping_everybody() -> None:
    for text in ("<!everyone>", "**<!here>**", "[x](<!here>)", "# <!channel>", "| <!here> |"):
        assert "<!" not in mrkdwn(text)


@given(st.text(alphabet="ab*_`~[]()<>#-|\n .\\&", max_size=120))
def test_any_text_ends_and_leaks_no_marks(text: str) -> None:
    shown = mrkdwn(text)
    assert "\ue000" not in shown
    assert not re.search(r"<(?![^<>]*>)", shown), "every < belongs to a link of ours"
    assert not re.search(r"<[@!#]", shown)


def test_short_text_is_one_part() -> None:
    assert split("hello", 10) == ["hello"]


def test_cuts_lie_where_a_reader_would_cut() -> None:
    text = "First paragraph here.\n\nSecond one is here. And more of it."
    assert split(text, 40)[0] == "First paragraph here."
    assert split("word " * 20, 30)[0] == ("word " * 6).strip()


def test_a_cut_block_of_code_goes_on_as_one() -> None:
    code = "\n".join(f"line {n}" for n in range(60))
    parts = split(f"```py\n{code}\n```\nend", 200)
    assert len(parts) > 2
    for part in parts:
        assert part.count("```") == 2, part
    assert [line for p in parts for line in p.split("\n") if line.startswith("line")] == [
        f"line {n}" for n in range(60)
    ]


@given(st.text(alphabet="ab `\n.", max_size=400), st.integers(20, 60))
def test_parts_stay_as_they_are_while_the_text_grows(text: str, limit: int) -> None:
    whole = split(text, limit)
    for end in range(0, len(text), 37):
        parts = split(text[:end], limit)
        assert parts[:-1] == whole[: len(parts) - 1]


@given(st.text(max_size=300))
def test_nothing_is_lost(text: str) -> None:
    kept = "".join("".join(split(text, 40)).split())
    if "```" not in text and "~~~" not in text:
        assert kept == "".join(text.split())
