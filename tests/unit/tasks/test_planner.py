"""How a persona plans: with its model, mended once, and by rules where there is none."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest

from tests.unit.conversation.conftest import Office, open_office, personas  # noqa: F401
from tron.brain.contract import Text
from tron.errors import ProviderRefused, ProviderUnavailable
from tron.memory.contacts import Contacts
from tron.storage.tables import HOUSE
from tron.tasks.contract import Effect, Step, Task
from tron.tasks.planner import Planner
from tron.tasks.wishes import PlanRefused
from tron.tools.contract import Tool, ToolContext

OpenOffice = Callable[..., Office]


class Words(msgspec.Struct):
    text: Annotated[str, msgspec.Meta(max_length=100)] = ""
    to: str = ""


class Command(msgspec.Struct):
    command: str


class Sms(msgspec.Struct):
    to: str
    text: str


def tool(name: str, effect: Effect, args: type[msgspec.Struct] = Words) -> Tool[Any]:
    async def run(_: ToolContext, args: Any) -> str:
        raise AssertionError("planning does nothing")

    return Tool(name, f"To {name}.", args, run, effect=effect, task_only=True)


@pytest.fixture
def office(open_office: OpenOffice) -> Office:  # noqa: F811
    office = open_office()
    office.with_tools(
        tool("run_command", "execute", Command),
        tool("send_sms", "send", Sms),
        tool("note", "write"),
        tool("start_task", "write"),
    )
    return office


def planner(office: Office, *, model: bool = True) -> Planner:
    return Planner(
        agents=office.agents,
        orchestrator=office.orchestrator,
        thinking=office.thinking,
        toolbox=office.toolbox,
        contacts=Contacts(office.store, office.clock),
        clock=office.clock,
        model_configured=model,
    )


def task(intent: str, *steps: Step, **more: Any) -> Task:
    fields: dict[str, Any] = dict.fromkeys(Task.__struct_fields__)
    fields |= {
        "id": "task_1",
        "client_id": HOUSE,
        "session": "s",
        "owner": "ann",
        "user_id": "",
        "channel": "api",
        "agent": "tony",
        "intent": intent,
        "summary": intent,
        "mode": "auto",
        "priority": "normal",
        "status": "planned",
        "stretch": 0,
        "expires_at": 0,
        "created_at": 0,
        "updated_at": 0,
        "steps": list(steps),
    }
    return Task(**(fields | more))


def line(node: str, tool: str, needs: tuple[str, ...] = (), **arguments: Any) -> dict[str, Any]:
    return {
        "node": node,
        "title": f"Do {node}",
        "tool": tool,
        "arguments": json.dumps(arguments),
        "needs": list(needs),
    }


def answer(*lines: dict[str, Any], refusal: str = "") -> list[Any]:
    return [Text(json.dumps({"refusal": refusal, "steps": lines}))]


async def test_the_persona_plans_with_the_tools_it_has(office: Office) -> None:
    office.script.answers.append(
        answer(line("n1", "run_command", command="make"), line("n2", "note", text="{{n1}}"))
    )
    steps = await planner(office).plan(task("build it and note what came of it"))
    assert [(s.node, s.tool, s.needs) for s in steps] == [
        ("n1", "run_command", ()),
        ("n2", "note", ("n1",)),
    ]
    asked = office.script.asked[0]
    assert asked.params["response_format"]["type"] == "json_schema"
    said = asked.messages[-1].content
    assert "build it and note what came of it" in said
    assert "run_command (effect: execute)" in said
    assert "start_task" not in said, "a task does not hand in tasks"


async def test_a_plan_that_does_not_check_is_mended_once(office: Office) -> None:
    office.script.answers += [
        answer(line("n1", "fly", where="up")),
        answer(line("n1", "note", text="up")),
    ]
    steps = await planner(office).plan(task("fly"))
    assert [s.tool for s in steps] == ["note"]
    assert "'fly', which is not there" in office.script.asked[1].messages[-1].content


@pytest.mark.parametrize(
    "bad",
    [
        [Text("Sure! First I run it.")],
        answer(line("n1", "note", ("n2",)), line("n2", "note", ("n1",))),
        answer(line("n1", "run_command", cmd="make")),
        answer(line("n1", "note", text="x" * 101)),
        answer({**line("n1", "note"), "arguments": "[1]"}),
        answer(),
    ],
)
async def test_after_two_unfit_answers_rules_plan(office: Office, bad: list[Any]) -> None:
    office.script.answers += [bad, bad]
    steps = await planner(office).plan(task("run `make test`"))
    assert [(s.tool, s.arguments) for s in steps] == [("run_command", {"command": "make test"})]
    assert len(office.script.asked) == 2


async def test_a_model_may_say_that_it_can_not_be_done(office: Office) -> None:
    office.script.answers.append(answer(refusal="There is no tool to send e-mail."))
    with pytest.raises(PlanRefused, match="no tool to send e-mail"):
        await planner(office).plan(task("e-mail Bob"))


async def test_arguments_may_come_as_an_object_and_in_a_fence(office: Office) -> None:
    plan = {"steps": [{"node": "n1", "tool": "note", "arguments": {"text": "hi"}}]}
    office.script.answers.append([Text(f"```json\n{json.dumps(plan)}\n```")])
    (step,) = await planner(office).plan(task("note hi"))
    assert step.arguments == {"text": "hi"}


async def test_a_server_that_knows_no_forms_is_asked_without_one(office: Office) -> None:
    office.script.answers += [
        ProviderRefused("response_format is not supported", status=400),
        answer(line("n1", "note", text="hi")),
    ]
    await planner(office).plan(task("note hi"))
    assert "response_format" not in office.script.asked[1].params


async def test_without_a_model_rules_plan_and_nobody_is_asked(office: Office) -> None:
    steps = await planner(office, model=False).plan(task("run `ls`"))
    assert steps[0].tool == "run_command"
    assert office.script.asked == []


async def test_a_model_that_is_away_leaves_it_to_the_rules(office: Office) -> None:
    office.script.answers.append(ProviderUnavailable("away"))
    steps = await planner(office).plan(task("run `ls`"))
    assert steps[0].tool == "run_command"


async def test_a_colleague_is_called_under_the_number_in_the_address_book(office: Office) -> None:
    contacts = Contacts(office.store, office.clock)
    await contacts.save(HOUSE, name="Bob Smith", phone="+14155550111")
    await contacts.save(HOUSE, name="Ann Jones", phone="+14155550112")
    await contacts.save(HOUSE, name="Ann Lee", phone="+14155550113")
    (step,) = await planner(office, model=False).plan(task("text Bob hello"))
    assert step.arguments == {"to": "+14155550111", "text": "hello"}
    with pytest.raises(PlanRefused):  # which of the two is not guessed
        await planner(office, model=False).plan(task("text Ann hello"))


async def test_whoever_asks_by_phone_is_texted_there(office: Office) -> None:
    asked = task("run `ls` and text me", owner="+14155550100")
    steps = await planner(office, model=False).plan(asked)
    assert steps[1].arguments["to"] == "+14155550100"


async def test_what_is_not_set_up_is_said_before_anything_is_done(
    open_office: OpenOffice,  # noqa: F811
) -> None:
    office = open_office()

    async def run(_: ToolContext, args: Any) -> str:
        raise AssertionError("planning does nothing")

    sms = Tool("send_sms", "Text.", Sms, run, effect="send", why_not=lambda _: "No carrier here.")
    office.with_tools(sms, tool("run_command", "execute", Command))
    with pytest.raises(PlanRefused, match="No carrier here"):
        await planner(office, model=False).plan(task("run `ls` and text me", owner="+14155550100"))


def step(node: str, status: str, **more: Any) -> Step:
    fields: dict[str, Any] = {
        "id": f"task_1.{node}",
        "seq": int(node[1:]),
        "node": node,
        "title": node,
        "tool": "note",
        "arguments": {},
        "needs": (),
        "effect": "write",
        "status": status,
        "attempt": 0,
        "result": None,
        "error": None,
        "started_at": None,
        "ended_at": None,
    }
    return Step(**(fields | more))


async def test_after_a_failure_only_the_rest_is_planned_anew(office: Office) -> None:
    done = step("n1", "completed", result="the first result")
    failed = step("n2", "running", error="It broke in two.")
    office.script.answers.append(answer(line("n3", "note", text="{{n1}}")))
    tail = await planner(office).revise(task("do it", done, failed), failed)
    assert tail is not None
    assert [(s.node, s.needs) for s in tail] == [("n3", ("n1",))]
    said = office.script.asked[0].messages[-1].content
    assert "the first result" in said
    assert "It broke in two." in said


async def test_a_new_tail_may_not_use_what_failed_nor_its_name(office: Office) -> None:
    failed = step("n1", "running", error="No.")
    unfit = answer(line("n2", "note", text="{{n1}}"))
    office.script.answers += [unfit, answer(line("n1", "note"))]
    assert await planner(office).revise(task("do it", failed), failed) is None


async def test_nothing_else_to_try_is_said_by_none(office: Office) -> None:
    failed = step("n1", "running", error="No.")
    office.script.answers.append(answer(refusal="There is no other way."))
    assert await planner(office).revise(task("do it", failed), failed) is None
    assert await planner(office, model=False).revise(task("do it", failed), failed) is None
