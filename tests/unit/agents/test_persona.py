"""Reading one persona file: what it yields, and every fault with its line."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tron.agents.persona import parse

GOOD = """\
---
name: Sam
title: support lead
order: 6
focus: [support, customers]
tone: patient, exact
voice: en-gb+f3
emoji: "🛟"
model: gpt-4.1
temperature: 0.4
tools: [remember, recall]
timezone: Europe/Madrid
life:
  news: [06:00, 12:00]
  journal: ["18:00"]
feeds:
  - name: Hacker News
    url: https://hacker-news.firebaseio.com/v0
    kind: hackernews
    limit: 20
  - name: Lobsters
    url: https://lobste.rs/rss
avoid: [no, politics]
goals:
  - Answer every open question
---

You are **Sam**.

---

Be kind.
"""


def faults_of(text: str, file: str = "sam.md") -> list[tuple[int, str]]:
    parsed = parse(file, text.encode())
    assert parsed.faults
    assert parsed.persona is None
    assert {fault.file for fault in parsed.faults} == {file}
    return [(fault.line, fault.message) for fault in parsed.faults]


def with_line(line: int, new: str) -> str:
    """The good file with one line (counted from 1) replaced."""
    lines = GOOD.split("\n")
    lines[line - 1] = new
    return "\n".join(lines)


def test_good_file() -> None:
    persona, faults, name_line = parse("sam.md", GOOD.encode())
    assert faults == ()
    assert persona is not None
    assert name_line == 2
    assert persona.model_dump() == {
        "id": "sam",
        "name": "Sam",
        "title": "support lead",
        "order": 6,
        "focus": ("support", "customers"),
        "tone": "patient, exact",
        "voice": "en-gb+f3",
        "emoji": "🛟",
        "model": "gpt-4.1",
        "temperature": 0.4,
        "tools": ("remember", "recall"),
        "timezone": "Europe/Madrid",
        # unquoted, YAML's own rules would turn 12:00 into the number 720
        "life": {"news": ("06:00", "12:00"), "journal": ("18:00",)},
        "feeds": (
            {
                "name": "Hacker News",
                "url": "https://hacker-news.firebaseio.com/v0",
                "kind": "hackernews",
                "limit": 20,
            },
            {"name": "Lobsters", "url": "https://lobste.rs/rss", "kind": "rss", "limit": 15},
        ),
        "avoid": ("no", "politics"),
        "goals": ("Answer every open question",),
        "prompt": "You are **Sam**.\n\n---\n\nBe kind.",
    }


def test_only_what_must_be_said_has_to_be() -> None:
    text = "---\nname: Sam\ntitle: lead\nfocus: [help]\ntone: calm\n---\nYou are Sam."
    persona = parse("sam.md", text.encode()).persona
    assert persona is not None
    assert persona.tools is None
    assert (persona.model, persona.temperature, persona.timezone) == (None, None, "UTC")
    assert (persona.life, persona.feeds, persona.goals) == ({}, (), ())


@pytest.mark.parametrize("change", [str.encode, lambda text: text.encode("utf-8-sig")])
def test_files_of_other_editors_mean_the_same(change: Any) -> None:
    assert parse("sam.md", change(GOOD.replace("\n", "\r\n"))) == parse("sam.md", GOOD.encode())


def test_no_tools_is_not_every_tool() -> None:
    persona = parse("sam.md", with_line(11, "tools: []").encode()).persona
    assert persona is not None
    assert persona.tools == ()


def test_an_unknown_tool_is_a_fault_on_its_own_line() -> None:
    text = with_line(11, "tools:\n  - recall\n  - rember")
    [(line, message)] = faults_of(text)
    assert line == 13
    assert "rember" in message


@pytest.mark.parametrize("name", ["web_search", "send_sms", "send_slack_message", "end_call"])
def test_a_tool_that_is_not_set_up_here_is_known_all_the_same(name: str) -> None:
    persona = parse("sam.md", with_line(11, f"tools: [{name}]").encode()).persona
    assert persona is not None
    assert persona.tools == (name,)


@pytest.mark.parametrize(
    ("line", "new", "message"),
    [
        (2, "name: '  '", "`name` should not be empty"),
        (2, "name: '#1'", "`name` should start with a letter or digit"),
        (3, "title:", "`title` should not be empty"),
        (3, "titel: x", "`titel` is not a known field"),
        (3, "name: Sam", "`name` is here twice"),
        (3, "? [a]\n: b", "a key should be a word"),
        (4, "order: first", "`order` should be a valid integer"),
        (5, "focus: support", "`focus` should be a list"),
        (5, "focus: []", "`focus` should have at least one item"),
        (10, "temperature: warm", "`temperature` should be a valid number"),
        (10, "temperature: 2.5", "`temperature` should be less than or equal to 2"),
        (10, "temperature: .nan", "`temperature` should be"),
        (11, "tools:", "`tools` should be a list"),
        (11, "tools: null", "`tools` should be a list"),
        (11, "tools: [rember, recall]", "`tools[0]` is no tool: 'rember'; did you mean `remember`"),
        (11, "tools: [recall, teleport]", "`tools[1]` is no tool: 'teleport'"),
        (12, "timezone: Mars/Base", "`timezone` should be an IANA time zone"),
        (12, "timezone: Europe", "`timezone` should be an IANA time zone"),
        (12, "timezone: ../Europe/Madrid", "`timezone` should be an IANA time zone"),
        (14, "  news: [06:00, 24:00]", '`life.news[1]` should be a time from "00:00"'),
        (14, "  news: [6:00]", '`life.news[0]` should be a time from "00:00"'),
        (14, "  news: [06:00, 06:00]", "`life.news` should name each time once"),
        (14, "  news: []", "`life.news` should have at least one item"),
        (14, "  nap: [06:00]", "`life.nap` should be 'news', 'goals'"),
        (18, "    url: file:///etc/passwd", "`feeds[0].url` should be an http or https address"),
        (18, "    url: https://", "`feeds[0].url` should be an http or https address"),
        (19, "    kind: gopher", "`feeds[0].kind` should be 'rss' or 'hackernews'"),
        (20, "    limit: 0", "`feeds[0].limit` should be greater than or equal to 1"),
        (25, "prompt: x", "`prompt` is given by the text below"),
        (25, "id: x", "`id` is given by the file name"),
        (3, "title: *lead", "is not YAML: aliases are not allowed"),
        (3, "title: [[[[[[[[[x]]]]]]]]]", "is not YAML: nested too deeply"),
        (3, 'title: "\\UFFFFFFFF"', "holds an escape that is no character"),
        (3, 'title: "\\U00110000"', "holds an escape that is no character"),
        (3, 'title: "\\ud83d"', "holds half of a character pair"),
        (3, "title: \x07", "holds a character YAML does not allow"),
        (3, "\ttitle: x", "is not YAML: found character '\\t'"),
    ],
)
def test_fault_is_on_its_line(line: int, new: str, message: str) -> None:
    found = faults_of(with_line(line, new))
    assert [at for at, text in found if text.startswith(message)] == [line], found


def test_syntax_fault_says_where_the_broken_part_began() -> None:
    assert faults_of(with_line(5, "focus: [support, customers")) == [
        (
            6,
            "is not YAML: expected ',' or ']', but got ':', "
            "while parsing a flow sequence from line 5",
        )
    ]


def test_missing_fields_are_named() -> None:
    assert faults_of("---\nname: Sam\n---\nYou are Sam.") == [
        (1, "`focus` is missing"),
        (1, "`title` is missing"),
        (1, "`tone` is missing"),
    ]
    assert faults_of(with_line(21, "  - kind: rss")) == [(21, "`feeds[1].name` is missing")]


def test_every_fault_is_reported_not_only_the_first() -> None:
    text = with_line(12, "timezone: Moon").replace("kind: hackernews", "kind: x")
    text = text[: text.index("\nYou are")].replace("title: support lead", "colour: red")
    assert [line for line, _ in faults_of(text)] == [1, 3, 12, 19, 26]


def test_a_line_separator_inside_a_value_does_not_shift_the_lines() -> None:
    text = with_line(3, "title: 'a\u2028b'").replace("order: 6", "order: x")
    assert [line for line, _ in faults_of(text)] == [4]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "front matter is missing"),
        ("You are Sam.", 1, "front matter is missing"),
        ("---\nname: Sam\n", 1, "front matter is not closed"),
        ("---\n- a\n---\nYou are Sam.", 2, "should be `key: value` lines"),
    ],
)
def test_front_matter_must_be_there(text: str, line: int, message: str) -> None:
    [(at, said)] = faults_of(text)
    assert at == line
    assert said.startswith(message)


def test_empty_prompt() -> None:
    head = GOOD[: GOOD.index("\nYou are")]
    assert faults_of(head + "\n  \n") == [
        (26, "the prompt is missing: write it below the second `---`")
    ]


def test_wrong_encoding() -> None:
    raw = GOOD.replace("support lead", "chef de l'équipe").encode("latin-1", "replace")
    [fault] = parse("sam.md", raw).faults
    assert str(fault) == "sam.md:3: is not UTF-8 text"


def test_file_name_is_the_id() -> None:
    for file in ("Sam.md", "sam smith.md", "-sam.md", ".md"):
        [(line, message)] = faults_of(GOOD, file)
        assert line == 1
        assert message.startswith("the file name should be")


def test_a_file_too_long_is_refused() -> None:
    assert faults_of(GOOD + "x" * 70_000) == [(1, "is longer than 64 KiB")]


def test_a_persona_is_frozen() -> None:
    persona = parse("sam.md", GOOD.encode()).persona
    assert persona is not None
    with pytest.raises(ValueError, match="frozen"):
        persona.name = "Max"
    with pytest.raises(ValueError, match="frozen"):
        persona.feeds[0].limit = 1


# What people might type: any text, and text made of the pieces that mean something here.
PIECES = (
    "---\n|name: Sam\n|life:\n|  news: |[|]|{|}|\"|'|- |: |\n|\\|\\u|\\ud800|!!int |%YAML 1.1\n|"
    "...\n|&a |*a|? |> |\t|<<: |#|`|@|\x00|\x85|\u2028|\ufeff|🛟|12:00|null|\r"
)
pieces = st.sampled_from(PIECES.split("|"))
bodies = st.one_of(
    st.text(), st.lists(pieces | st.text(max_size=3), max_size=30).map("".join), st.binary()
)


@given(bodies, st.booleans())
def test_any_content_is_a_fault_and_never_a_crash(body: str | bytes, fenced: bool) -> None:
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if fenced:
        raw = b"---\n" + raw + b"\n---\nYou are Sam."
    parsed = parse("sam.md", raw)
    assert parsed.persona is None
    assert parsed.faults
    last = raw.count(b"\n") + raw.count(b"\r") + 1
    for fault in parsed.faults:
        assert 1 <= fault.line <= last
        assert str(fault).encode()


@given(st.text(), st.sampled_from([2, 3, 5, 10, 12, 14, 18]))
def test_any_value_is_taken_or_a_fault(value: str, line: int) -> None:
    key = GOOD.split("\n")[line - 1].partition(":")[0]
    parsed = parse("sam.md", with_line(line, f"{key}: {value}").encode("utf-8", "surrogatepass"))
    assert (parsed.persona is None) == bool(parsed.faults)
