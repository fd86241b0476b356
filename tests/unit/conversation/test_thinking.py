"""Rounds of model and tools within one turn."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.harness.waiting import eventually
from tests.unit.conversation.conftest import Office, calls
from tron.brain.contract import Finish, Text, ToolFragment
from tron.conversation.turns import CallerToolCalls, KeepAlive, ToolFinished, ToolStarted, Usage
from tron.tools.contract import Tool, ToolContext, ToolFailed

Open = Callable[..., Office]

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {}}}


class Look(msgspec.Struct):
    place: str = ""


class Eyes:
    """A tool that sees, and remembers how many looked at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.seen: list[str] = []
        self.pause: asyncio.Event | None = None

    async def look(self, _: ToolContext, args: Look) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        for _turn in range(3 if args.place == "far" else 1):
            await asyncio.sleep(0)
        if self.pause is not None:
            await self.pause.wait()
        self.now -= 1
        self.seen.append(args.place)
        if args.place == "dark":
            raise ToolFailed("Nothing to be seen.")
        return f"saw {args.place}"

    def tool(self) -> Tool[Any]:
        return Tool("look", "Look at a place.", Look, self.look, effect="read")


@pytest.fixture
def eyes(office: Office) -> Eyes:
    eyes = Eyes()
    office.with_tools(eyes.tool())
    return eyes


async def test_a_tool_is_used_and_its_result_read(office: Office, eyes: Eyes) -> None:
    office.script.answers.extend(
        [calls(("look", '{"place":"near"}'), text="Let me look."), "A cat."]
    )
    heard: list[Any] = []
    await office.watch(office.turn("what is there?"), heard)
    kinds = [type(event).__name__ for event in heard if not isinstance(event, KeepAlive)]
    assert kinds == [
        "Opened",
        "TextDelta",
        "ToolStarted",
        "ToolFinished",
        "TextDelta",
        "TextDelta",
        "Done",
    ]
    second = office.script.asked[1].messages
    assert [message.role for message in second] == ["system", "user", "assistant", "tool"]
    assert second[2].content == "Let me look."
    assert second[3].content == "saw near"
    said = await office.said(heard[0].session)
    assert said[-1] == "assistant: Let me look.\n\nA cat.", "as the caller heard it"


async def test_parallel_tools_answer_in_the_order_asked(office: Office, eyes: Eyes) -> None:
    wanted = [("look", f'{{"place":"{place}"}}') for place in ("far", "near", "dark")]
    office.script.answers.extend([calls(*wanted), "Done."])
    reply = await office.say("look around")
    assert eyes.most == 3
    assert eyes.seen[-1] == "far"
    results = [message.content for message in office.script.asked[1].messages[-3:]]
    assert results == ["saw far", "saw near", "Nothing to be seen."]
    kept = (await office.entries(reply.done.session))[-1].tools
    assert [tool.result for tool in kept] == results
    assert [tool.ok for tool in kept] == [True, True, False]
    process = office.orchestrator.get(reply.done.process_id)
    assert process is not None
    assert (process.metrics.tool_calls, process.metrics.llm_calls) == (3, 2)


async def test_what_does_not_exist_or_fit_is_told_to_the_model(office: Office, eyes: Eyes) -> None:
    office.script.answers.extend([calls(("fly", "{}"), ("look", '{"place":')), "I can't."])
    reply = await office.say("fly")
    assert reply.text.strip() == "I can't."
    assert [tool.ok for tool in reply.tools] == [False, False]


async def test_the_callers_own_tools_come_back_as_calls(office: Office, eyes: Eyes) -> None:
    office.script.answers.append(calls(("weather", '{"city":"Oslo"}'), text="Moment."))
    reply = await office.say("weather?", tools=[WEATHER])
    assert [(call.name, call.arguments) for call in reply.calls] == [("weather", '{"city":"Oslo"}')]
    assert reply.done.finish_reason == "tool_calls"
    names = {tool["function"]["name"] for tool in office.script.asked[0].tools}
    assert names >= {"look", "weather"}
    stored = (await office.entries(reply.done.session))[-1].message
    assert stored.tool_calls == reply.calls


async def test_of_a_mixture_the_caller_gets_only_what_is_theirs(office: Office, eyes: Eyes) -> None:
    office.script.answers.append(calls(("look", "{}"), ("weather", "{}")))
    heard: list[Any] = []
    await office.watch(office.turn("weather?", tools=[WEATHER]), heard)
    [asked] = [event for event in heard if isinstance(event, CallerToolCalls)]
    assert [call.name for call in asked.calls] == ["weather"]
    assert not [event for event in heard if isinstance(event, ToolStarted)]


async def test_a_callers_tool_of_the_same_name_goes_first(office: Office, eyes: Eyes) -> None:
    mine = {"type": "function", "function": {"name": "look", "parameters": {"mine": True}}}
    office.script.answers.append(calls(("look", "{}")))
    reply = await office.say("look", tools=[mine])
    assert [call.name for call in reply.calls] == ["look"]
    offered = [t for t in office.script.asked[0].tools if t["function"]["name"] == "look"]
    assert offered == [mine]
    assert eyes.seen == []


async def test_rounds_have_an_end(open_office: Open) -> None:
    office = open_office(tool_rounds=2)
    eyes = Eyes()
    office.with_tools(eyes.tool())
    for _ in range(5):
        office.script.answers.append(calls(("look", "{}"), text="Again."))
    params = {"tool_choice": "required", "temperature": 0.5}
    reply = await office.say("look for ever", params=params)
    assert len(eyes.seen) == 2
    assert len(office.script.asked) == 3
    assert office.script.asked[-1].tools == []
    assert office.script.asked[-1].params == {"temperature": 0.5}
    assert reply.done.finish_reason == "stop"
    assert reply.text == "Again.\n\nAgain.\n\nAgain."


async def test_a_forced_tool_is_forced_once(office: Office, eyes: Eyes) -> None:
    office.script.answers.append(calls(("look", "{}")))
    await office.say("look", params={"tool_choice": "required"})
    assert [ask.params for ask in office.script.asked] == [{"tool_choice": "required"}, {}]


async def test_usage_and_cost_of_all_rounds_are_summed(office: Office, eyes: Eyes) -> None:
    office.script.usage = Usage(input_tokens=100, output_tokens=10)
    office.script.answers.append(calls(("look", "{}")))
    done = (await office.say("look")).done
    assert done.usage == Usage(input_tokens=200, output_tokens=20)
    assert done.cost_usd == pytest.approx(2 * (100 * 0.40 + 10 * 1.60) / 1e6)


async def test_one_estimate_makes_the_sum_an_estimate(office: Office, eyes: Eyes) -> None:
    office.script.usage = Usage(input_tokens=100, output_tokens=10)

    async def uncounted(_: Any) -> Any:
        office.script.usage = None
        return [Text("A cat.")]

    office.script.answers.extend([calls(("look", '{"place":"near"}')), uncounted])
    done = (await office.say("look")).done
    assert done.usage.estimated
    assert done.usage.input_tokens > 100
    assert done.usage.output_tokens == 10 + 2


async def test_calls_that_were_asked_for_count_as_output(office: Office, eyes: Eyes) -> None:
    office.script.answers.append(calls(("weather", '{"city":"' + "x" * 400 + '"}')))
    done = (await office.say("weather?", tools=[WEATHER])).done
    assert done.usage.output_tokens >= 100


async def test_leaving_stops_the_tools(office: Office, eyes: Eyes) -> None:
    eyes.pause = asyncio.Event()
    office.script.answers.append(calls(("look", "{}")))
    heard: list[Any] = []
    reading = asyncio.ensure_future(office.watch(office.turn("look"), heard))
    await eventually(lambda: eyes.now == 1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await eventually(lambda: not len(office.thinking._tasks))
    assert eyes.seen == []


async def test_a_long_tool_keeps_the_stream_alive(
    office: Office, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tron.conversation.thinking.KEEP_ALIVE_S", 0.01)
    eyes.pause = asyncio.Event()
    office.script.answers.append(calls(("look", "{}")))
    heard: list[Any] = []
    reading = asyncio.ensure_future(office.watch(office.turn("look"), heard))
    await eventually(lambda: any(isinstance(event, KeepAlive) for event in heard))
    eyes.pause.set()
    await reading
    assert any(isinstance(event, ToolFinished) for event in heard)


async def test_calls_in_pieces_are_put_together(office: Office, eyes: Eyes) -> None:
    office.script.answers.append(
        [
            ToolFragment(index=1, id="b", name="look"),
            ToolFragment(index=0, id="a", name="look", arguments='{"pla'),
            ToolFragment(index=1, arguments='{"place":"two"}'),
            ToolFragment(index=0, arguments='ce":"one"}'),
            Finish("tool_calls"),
        ]
    )
    reply = await office.say("look twice")
    assert [tool.result for tool in reply.tools] == ["saw one", "saw two"]
