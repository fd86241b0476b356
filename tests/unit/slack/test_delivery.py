"""An answer on its way into Slack, against the fake's Web API without a network."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from integrations.slack import delivery as module
from integrations.slack.client import Refused
from integrations.slack.delivery import Delivery, Place
from integrations.slack.fake_api import Api, Message, Refusal
from tests.harness.waiting import eventually


class Workspace:
    """Calls the fake's Web API as the client would, refusing what it refuses."""

    def __init__(self) -> None:
        self.api = Api(team="T1")
        self.api.channels["C1"] = "general"
        self.bot = self.api.add_bot("tron", token="xoxb-1")
        self.passing: list[tuple[str, str]] = []
        """(method, error) of the next refusals"""
        self.recorded: list[str] = []

    async def call(self, method: str, **given: Any) -> dict[str, Any]:
        given.pop("patience_s", None)
        self.api.calls.append((method, given))
        for refusal in self.passing:
            if refusal[0] == method:
                self.passing.remove(refusal)
                raise Refused(method, refusal[1])
        try:
            return self.api._answer(method, self.bot.token, given)
        except Refusal as refused:
            raise Refused(method, str(refused)) from None

    async def record(self, replies: list[str]) -> None:
        self.recorded = list(replies)

    def shown(self) -> list[str]:
        return [message.text for message in self.written()]

    def written(self) -> list[Message]:
        return [m for m in self.api.messages if m.bot and not m.deleted]


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(module, "EDIT_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "STREAM_PAUSE_S", 0.01)
    return Workspace()


@pytest.fixture
async def answer(workspace: Workspace) -> AsyncIterator[Delivery]:
    delivery = make(workspace)
    yield delivery
    await delivery.close()


def make(workspace: Workspace, **more: Any) -> Delivery:
    given: dict[str, Any] = {"written": [], "may_stream": True, "thread": "1.1", **more}
    return Delivery(
        call=workspace.call,
        place=Place(channel="C1", thread=given.pop("thread"), team="T1", user="U1"),
        record=workspace.record,
        **given,
    )


async def test_text_is_streamed_as_it_comes(workspace: Workspace, answer: Delivery) -> None:
    answer.add("One ")
    await eventually(lambda: workspace.shown() == ["One "])
    answer.add("**two**")
    await eventually(lambda: workspace.shown() == ["One **two**"])
    assert workspace.written()[0].streaming
    await answer.finish()
    assert workspace.shown() == ["One **two**"]
    assert not workspace.written()[0].streaming
    assert workspace.recorded == [workspace.written()[0].ts]


async def test_outside_a_thread_one_message_is_edited(workspace: Workspace) -> None:
    answer = make(workspace, thread="")
    answer.add("**One** ")
    await eventually(lambda: workspace.shown() == ["*One* "])
    answer.add("two")
    await answer.finish()
    assert workspace.shown() == ["*One* two"]
    assert "thread_ts" not in workspace.api.called("chat.postMessage")[0]
    await answer.close()


@pytest.mark.parametrize("error", sorted(module.NO_STREAM))
async def test_where_streaming_is_not_granted_it_is_edited(
    workspace: Workspace, answer: Delivery, error: str
) -> None:
    workspace.passing = [("chat.startStream", error)]
    answer.add("**Hello**")
    await answer.finish()
    assert workspace.shown() == ["*Hello*"]
    assert answer.stream_refused


async def test_a_stream_that_slack_ended_goes_on_as_edits(
    workspace: Workspace, answer: Delivery
) -> None:
    answer.add("One ")
    await eventually(lambda: workspace.shown() == ["One "])
    workspace.written()[0].streaming = False
    answer.add("two")
    await answer.finish()
    assert workspace.shown() == ["One two"]
    assert not answer.stream_refused


@pytest.mark.parametrize("error", ["rate_limited", "unreachable"])
@pytest.mark.parametrize("method", ["chat.startStream", "chat.appendStream"])
async def test_a_passing_fault_loses_no_text(
    workspace: Workspace, answer: Delivery, error: str, method: str
) -> None:
    workspace.passing = [(method, error)]
    for word in ("One ", "two ", "three"):
        answer.add(word)
        await eventually(lambda: not answer._changed.is_set())
    await eventually(lambda: not workspace.passing or method == "chat.appendStream")
    answer.add("!")
    await eventually(lambda: workspace.shown() == ["One two three!"])
    await answer.finish()
    assert workspace.shown() == ["One two three!"]


async def test_what_cannot_be_delivered_is_raised(workspace: Workspace, answer: Delivery) -> None:
    workspace.passing = [("chat.startStream", "channel_not_found")]
    answer.add("Hello")
    with pytest.raises(Refused, match="channel_not_found"):
        await answer.finish()


@pytest.mark.parametrize("step", [1, 7, 900, 25_000])
async def test_a_long_stream_is_cut_without_loss_or_repetition(
    workspace: Workspace, answer: Delivery, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STREAM_CHARS", 400)
    monkeypatch.setattr(module, "STREAM_MOST", 460)
    text = "Intro.\n```py\n" + "\n".join(f"line {n}" for n in range(150)) + "\n```\nEnd."
    for at in range(0, len(text), step):
        answer.add(text[at : at + step])
        if step > 1:
            await eventually(lambda: not answer._changed.is_set())
    await answer.finish()
    parts = workspace.shown()
    assert len(parts) >= 3
    assert all(part.count("```") == 2 for part in parts)
    lines = [line for part in parts for line in part.split("\n") if line.startswith("line")]
    assert lines == [f"line {n}" for n in range(150)]
    assert not any(message.streaming for message in workspace.written())


async def test_an_earlier_try_is_written_over(workspace: Workspace) -> None:
    old = [workspace.api.post("C1", user="U", bot=workspace.bot.id, text=f"half {n}") for n in "ab"]
    answer = make(workspace, written=[message.ts for message in old])
    answer.add("The whole.")
    await answer.finish()
    assert workspace.shown() == ["The whole."]
    assert old[0].text == "The whole."
    await answer.close()


async def test_an_earlier_try_that_somebody_deleted_is_said_anew(workspace: Workspace) -> None:
    answer = make(workspace, written=["9.9"])
    answer.add("The whole.")
    await answer.finish()
    assert workspace.shown() == ["The whole."]
    assert workspace.recorded == [workspace.written()[0].ts]
    await answer.close()


async def test_a_failure_before_any_text_is_told_with_a_button(
    workspace: Workspace, answer: Delivery
) -> None:
    await answer.fail("It broke.", 7)
    (message,) = workspace.written()
    assert message.text == "It broke."
    assert message.thread == "1.1"
    assert message.blocks[1]["elements"][0]["value"] == "7"


async def test_a_failure_in_the_middle_is_told_below_what_was_said(
    workspace: Workspace, answer: Delivery
) -> None:
    answer.add("Half of it")
    await answer.fail("It broke.", 7)
    said, notice = workspace.written()
    assert said.text == "Half of it\n\n_It broke._"
    assert notice.blocks
