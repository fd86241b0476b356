"""Rounds of model and tools within one turn."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.harness.waiting import eventually
from tests.unit.conversation.conftest import Office, calls, user
from tron.brain.contract import Finish, Text, ToolFragment
from tron.conversation.turns import (
    CallerToolCalls,
    KeepAlive,
    Message,
    Opened,
    TextDelta,
    ToolFinished,
    ToolStarted,
    Usage,
)
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


async def test_of_a_mixture_the_hub_does_its_part_and_hands_the_rest_back(
    office: Office, eyes: Eyes
) -> None:
    office.script.answers.append(calls(("look", '{"place":"near"}'), ("weather", "{}")))
    heard: list[Any] = []
    await office.watch(office.turn("weather?", tools=[WEATHER]), heard)
    [asked] = [event for event in heard if isinstance(event, CallerToolCalls)]
    assert [call.name for call in asked.calls] == ["weather"]
    assert eyes.seen == ["near"]
    assert [event.result for event in heard if isinstance(event, ToolFinished)] == ["saw near"]
    kept = (await office.entries(heard[0].session))[-1]
    assert kept.message.tool_calls == asked.calls
    assert [tool.result for tool in kept.tools] == ["saw near"]


@pytest.mark.parametrize("whole", [True, False], ids=["whole history", "only what is new"])
async def test_after_a_mixture_the_model_reads_every_call_with_its_result(
    office: Office, eyes: Eyes, whole: bool
) -> None:
    office.script.answers.append(calls(("look", '{"place":"near"}'), text="Let me look."))
    office.script.answers.append(
        [
            ToolFragment(index=0, id="call_again", name="look", arguments='{"place":"dark"}'),
            ToolFragment(index=1, id="call_weather", name="weather", arguments="{}"),
            Finish("tool_calls"),
        ]
    )
    reply = await office.say("weather?", tools=[WEATHER])
    asked = Message(role="assistant", content=reply.text, tool_calls=reply.calls)
    rain = Message(role="tool", content="rain", tool_call_id=reply.calls[0].id)
    sent = [user("weather?"), asked, rain] if whole else [rain]
    office.script.answers.append("It rains.")
    again = await office.door.ask(office.turn(*sent, tools=[WEATHER]))
    assert again.done.session == reply.done.session
    _, question, calling, *results = office.script.asked[-1].messages
    assert question.content == "weather?"
    assert [call.name for call in calling.tool_calls or ()] == ["look", "look", "weather"]
    assert [(m.role, m.tool_call_id, m.content) for m in results] == [
        ("tool", "call_look_0", "saw near"),
        ("tool", "call_again", "Nothing to be seen."),
        ("tool", reply.calls[0].id, "rain"),
    ]
    assert [line.split(":")[0] for line in await office.said(reply.done.session)] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


CHOICES: list[Any] = [
    "required",
    {"type": "function", "function": {"name": "weather"}},
    {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [WEATHER]}},
]


@pytest.mark.parametrize("choice", CHOICES, ids=repr)
async def test_a_caller_who_demands_a_call_means_its_own_tools(
    office: Office, eyes: Eyes, choice: Any
) -> None:
    office.script.answers.append(calls(("weather", "{}")))
    reply = await office.say("hello", tools=[WEATHER], params={"tool_choice": choice})
    assert office.script.asked[0].tools == [WEATHER]
    assert office.script.asked[0].params == {"tool_choice": choice}
    assert [call.name for call in reply.calls] == ["weather"]


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


async def test_the_limit_is_of_the_whole_answer(office: Office, eyes: Eyes) -> None:
    office.script.answers.extend(
        [calls(("look", '{"place":"near"}'), text="Let me look."), "A cat."]
    )
    await office.say("look", params={"max_tokens": 10, "max_completion_tokens": 5})
    assert [ask.params for ask in office.script.asked] == [
        {"max_tokens": 10, "max_completion_tokens": 5},
        {"max_tokens": 7, "max_completion_tokens": 2},
    ]


async def test_a_limit_reached_before_the_last_round_ends_the_answer(
    office: Office, eyes: Eyes
) -> None:
    office.script.answers.append(calls(("look", '{"place":"near"}'), text="Let me look."))
    reply = await office.say("look", params={"max_tokens": 3})
    assert (reply.text, reply.done.finish_reason) == ("Let me look.", "length")
    assert (len(office.script.asked), eyes.seen) == (1, ["near"])


async def test_calls_of_tools_use_up_nothing_of_the_limit(office: Office, eyes: Eyes) -> None:
    office.script.usage = Usage(input_tokens=100, output_tokens=50)
    office.script.answers.extend([calls(("look", '{"place":"near"}')), "A cat."])
    await office.say("look", params={"max_tokens": 3})
    assert office.script.asked[1].params == {"max_tokens": 3}


JSON_FORMS = [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "t"}}]


@pytest.mark.parametrize("form", JSON_FORMS, ids=repr)
async def test_an_answer_with_a_form_holds_nothing_else(
    office: Office, eyes: Eyes, form: dict[str, Any]
) -> None:
    office.script.answers.extend(
        [calls(("look", '{"place":"near"}'), text="Let me look."), '{"t": 1}']
    )
    params = {"response_format": form, "max_tokens": 9}
    heard: list[Any] = []
    await office.watch(office.turn("look", params=params), heard)
    text = "".join(event.text for event in heard if isinstance(event, TextDelta))
    assert text.strip() == '{"t": 1}'
    assert office.script.asked[1].params == params, "what was not heard is not part of the answer"
    assert office.script.asked[1].messages[-2].content == "Let me look."
    assert (await office.said(heard[0].session))[-1] == 'assistant: {"t": 1}'


async def test_a_model_that_thinks_long_keeps_the_stream_alive(
    office: Office, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tron.conversation.thinking.FIRST_KEEP_ALIVE_S", 0.01)
    monkeypatch.setattr("tron.conversation.thinking.KEEP_ALIVE_S", 0.01)
    go_on = asyncio.Event()

    async def slowly(_: Any) -> Any:
        await go_on.wait()
        go_on.clear()
        return calls(("look", '{"place":"near"}'))

    async def slowly_again(_: Any) -> Any:
        await go_on.wait()
        return [Text("A cat.")]

    office.script.answers.extend([slowly, slowly_again])
    heard: list[Any] = []
    reading = asyncio.ensure_future(office.watch(office.turn("look"), heard))
    await eventually(lambda: sum(isinstance(event, KeepAlive) for event in heard) >= 2)
    assert not any(isinstance(event, ToolStarted) for event in heard)
    go_on.set()
    await eventually(lambda: bool(eyes.seen) and isinstance(heard[-1], KeepAlive))
    go_on.set()
    await reading
    assert [event.text for event in heard if isinstance(event, TextDelta)] == ["A cat."]


async def test_leaving_a_model_that_thinks_stops_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tron.conversation.thinking.FIRST_KEEP_ALIVE_S", 0.01)
    stopped: list[bool] = []

    async def for_ever(_: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    for leave in ("cancel", "close"):
        office.script.answers.append(for_ever)
        turn = office.door.converse(office.turn("hello?"))
        await anext(turn)
        assert await anext(turn) == [KeepAlive()]
        if leave == "close":
            await turn.aclose()
        else:
            waiting = asyncio.ensure_future(anext(turn))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    assert stopped == [True, True]
    assert not len(office.thinking._tasks)
    assert (await office.say("and now?")).text.strip() == "re: and now?"


async def test_arguments_that_are_long_in_coming_keep_the_stream_alive(
    office: Office, eyes: Eyes
) -> None:
    def slowly() -> Any:
        yield ToolFragment(index=0, id="a", name="look")
        for piece in '{"place":"near"}':
            office.clock.advance(2)
            yield ToolFragment(index=0, arguments=piece)

    office.script.answers.append(slowly())
    heard: list[Any] = []
    await office.watch(office.turn("look"), heard)
    before = heard[: [type(event) for event in heard].index(ToolStarted)]
    assert [type(event) for event in before] == [Opened, *[KeepAlive] * 5]
    assert eyes.seen == ["near"]


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
