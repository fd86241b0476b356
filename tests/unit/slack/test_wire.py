"""What Slack sends, read from recorded shapes: who is answered, who is not, and in which words."""

import json
from pathlib import Path
from typing import Any

import pytest

from integrations.slack import wire
from integrations.slack.wire import Click, Command, Gone, Ignored, Opened, Said
from tron.errors import Invalid

FIXTURES = Path(wire.__file__).parent / "fixtures"


def recorded(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    return body


def said(name: str) -> Said:
    event = wire.event(recorded(name))
    assert isinstance(event, Said), event
    return event


def test_a_mention() -> None:
    event = said("app_mention")
    assert event == Said(
        team="T111",
        channel="C111",
        user="W222",
        text="Hi there & welcome, see the page (https://example.com/a?b=1&c=2) in #random",
        ts="1595926230.009600",
        thread_ts=None,
        direct=False,
        addressed=True,
        event_id="Ev111",
    )
    assert event.thread == event.ts, "the answer begins a thread"


def test_a_mention_in_a_thread_stays_there() -> None:
    assert said("app_mention_in_thread").thread == "1595926230.009600"


def test_a_direct_message_has_no_thread_but_an_assistant_thread_has() -> None:
    assert (said("message_im").direct, said("message_im").thread) == (True, "")
    assert said("message_assistant_thread").thread == "1726133698.626339"


def test_a_mention_told_as_a_channel_message_counts_as_one() -> None:
    assert said("message_channel").addressed
    assert said("message_channel").ts == said("app_mention").ts


def test_a_message_without_a_mention_only_may_count() -> None:
    assert not said("message_channel_thread").addressed


def test_an_attached_file_is_mentioned() -> None:
    assert said("message_file_share").text == "look at this\n[attached file: plan.pdf]"


@pytest.mark.parametrize(
    "name",
    ["message_bot", "message_bot_with_user", "message_changed", "message_deleted", "channel_join"],
)
def test_bots_edits_and_notices_are_never_answered(name: str) -> None:
    assert isinstance(wire.event(recorded(name)), Ignored)


def test_our_own_words_are_never_answered() -> None:
    body = recorded("message_channel")
    body["event"]["user"] = "W111"
    assert isinstance(wire.event(body), Ignored)


def test_assistant_panes() -> None:
    opened = wire.event(recorded("assistant_thread_started"))
    assert isinstance(opened, Opened)
    assert (opened.channel, opened.thread) == ("D111", "1726133698.626339")
    assert isinstance(wire.event(recorded("assistant_thread_context_changed")), Ignored)


def test_being_thrown_out() -> None:
    assert wire.event(recorded("app_uninstalled")) == Gone(team="T111")
    assert wire.event(recorded("tokens_revoked_bot")) == Gone(team="T111")
    assert isinstance(wire.event(recorded("tokens_revoked_user")), Ignored)


def test_the_workspace_is_the_one_that_installed_us() -> None:
    assert said("org_install_mention").team == "E111"
    assert said("shared_channel_mention").team == "T111", "not the stranger's"


def test_a_slash_command() -> None:
    command = wire.command(recorded("slash_command"))
    assert isinstance(command, Command)
    assert (command.team, command.user) == ("T111", "W222")
    assert command.text == "ask maya: how do we grow?"


def test_a_button_and_what_is_no_button() -> None:
    click = wire.click(recorded("block_actions"))
    assert isinstance(click, Click)
    assert (click.team, click.action, click.value) == ("T111", wire.RETRY_ACTION, "7")
    assert isinstance(wire.click(recorded("view_submission")), Ignored)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"event": None},
        {"event": {"type": 7}},
        {"event": {"type": "message"}},
        {"event": {"type": "message"}, "team_id": "T1"},
        {"event": {"type": "message"}, "team_id": ["T1"], "event_id": "Ev1"},
    ],
)
def test_a_broken_frame_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        wire.event(body)


@pytest.mark.parametrize(
    "field", ["user", "channel", "ts", "text", "files", "subtype", "thread_ts"]
)
@pytest.mark.parametrize("value", [None, 7, [], {}, "", "\x00\ud800", "x" * 100_000])
def test_odd_values_break_nothing(field: str, value: Any) -> None:
    body = recorded("app_mention")
    body["event"][field] = value
    event = wire.event(body)
    assert isinstance(event, Said | Ignored)
    if isinstance(event, Said):
        assert len(event.text) <= wire.TEXT_LIMIT
        assert "\x00" not in event.text + event.user + event.channel


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<@WBOT> hi", "hi"),
        ("hi <@WBOT|tron>, <@W2>!", "hi , @W2!"),
        ("a &lt;b&gt; &amp;amp;", "a <b> &amp;"),
        ("<!here> <!subteam^S1|@team> <!date^1^{date}|May>", "@here @team May"),
        ("<mailto:a@b.c|a@b.c> <https://x.y> <https://x.y|x.y>", "a@b.c https://x.y https://x.y"),
        ("`<@W2>` 1 < 2 > 0", "`@W2` 1 < 2 > 0"),
    ],
)
def test_text_as_a_person_reads_it(text: str, plain: str) -> None:
    assert wire.plain(text, "WBOT") == plain


def test_every_recorded_shape_is_scrubbed() -> None:
    for path in FIXTURES.glob("*.json"):
        text = path.read_text()
        assert "xoxb" not in text, path
        assert "@" not in text.replace("<@W", ""), path
