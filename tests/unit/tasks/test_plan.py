"""Plans before they are done: what is refused, in which order, with which results, and how a person
is asked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tron.errors import Invalid
from tron.tasks.contract import Effect, PlannedStep, Step
from tron.tasks.plan import (
    FILLED_CHARS,
    MOST_STEPS,
    RESULT_CHARS,
    checked,
    digest,
    fill,
    graph,
    prompt,
    references,
)


def effects(tool: str) -> Effect | None:
    return "read" if tool == "look" else None


def step(
    node: str, needs: tuple[str, ...] = (), tool: str = "look", **arguments: Any
) -> PlannedStep:
    return PlannedStep(node=node, title=node, tool=tool, arguments=arguments, needs=needs)


def test_a_reference_is_a_need_and_steps_come_behind_what_they_need() -> None:
    plan = checked([step("n2", text="{{n1}} and {{ n3 }}"), step("n1"), step("n3")], effects)
    assert [one.node for one in plan] == ["n1", "n3", "n2"]
    assert plan[2].needs == ("n1", "n3")


def test_references_are_found_however_deep_and_count_as_needs() -> None:
    plan = checked([step("n1"), step("n2", a=[{"b": ("x {{n1:30}}",)}])], effects)
    assert plan[1].needs == ("n1",)
    assert references({"a": "{{n1}}{{n2}}{{n1}}"}) == ["n1", "n2"]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([], "1 to 12"),
        ([step(f"n{n}") for n in range(1, MOST_STEPS + 2)], "1 to 12"),
        ([step("n1"), step("n1")], "Two steps"),
        ([step("first")], "no such name"),
        ([step("n0")], "no such name"),
        ([step("n1", tool="fly")], "not there"),
        ([step("n1", ("n2",))], "no step of the plan"),
        ([step("n1", text="{{n7}}")], "no step of the plan"),
        ([step("n1", text="{{n1}}")], "itself"),
        ([step("n1", ("n2",)), step("n2", ("n1",))], "wait for each other"),
        ([step("n1", a="x" * 70_000)], "longer"),
        ([step("n1", a=float("nan"))], "JSON"),
        ([step("n1", a=object())], "JSON"),
    ],
)
def test_what_can_not_be_done_is_refused(steps: list[PlannedStep], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        checked(steps, effects)


def test_arguments_nested_without_end_are_refused() -> None:
    deep: Any = []
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(Invalid, match="deep"):
        checked([step("n1", a=deep)], effects)


def test_steps_that_come_later_may_use_those_that_are_done() -> None:
    (only,) = checked([step("n3", text="{{n1}}")], effects, done=["n1"])
    assert only.needs == ("n1",)
    with pytest.raises(Invalid, match="Two steps"):
        checked([step("n1")], effects, done=["n1"])


def test_a_step_without_a_title_gets_one_and_a_long_one_is_cut() -> None:
    (named,) = checked([PlannedStep(node="n1", title=" ", tool="look")], effects)
    assert named.title == "look"
    (cut,) = checked([PlannedStep(node="n1", title="x" * 500, tool="look")], effects)
    assert cut.title.endswith("…")
    assert len(cut.title) == 200


def test_results_are_put_in_once_and_never_read_as_references() -> None:
    filled = fill(
        {"a": "{{n1}}, {{ n2 }}", "b": [{"c": "{{n2}}"}], "n": 3},
        {"n1": "{{n2}}", "n2": "two"},
    )
    assert filled == {"a": "{{n2}}, two", "b": [{"c": "two"}], "n": 3}


def test_a_missing_result_is_an_error_and_not_a_blank() -> None:
    with pytest.raises(Invalid, match="no result of n9"):
        fill({"a": "{{n9}}"}, {})


def test_long_results_are_cut_and_say_so() -> None:
    filled = fill({"a": "{{n1}}"}, {"n1": "x" * 20_000})["a"]
    assert filled == "x" * RESULT_CHARS + "… (cut, 12000 more characters)"
    many = fill({"a": "{{n1}}" * 1_000}, {"n1": "y" * 7_000})["a"]
    assert many.count("y") == FILLED_CHARS


def test_a_reference_may_ask_for_the_beginning_only() -> None:
    assert fill({"a": "{{n1:5}}"}, {"n1": "abcdefgh"}) == {"a": "abcd…"}
    assert fill({"a": "{{n1:5}}"}, {"n1": "abc"}) == {"a": "abc"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_a_digest_is_of_the_action_and_not_of_its_order(arguments: dict[str, Any]) -> None:
    turned = dict(reversed(arguments.items()))
    assert digest("look", arguments) == digest("look", turned)
    assert digest("look", arguments) != digest("note", arguments)
    assert digest("look", arguments) != digest("look", {**arguments, "more": 1})


@given(st.dictionaries(st.text(min_size=1), JSON, max_size=4), st.text())
def test_a_question_is_always_one_line(arguments: dict[str, Any], tool: str) -> None:
    asked = prompt(tool[:40], arguments)
    assert asked.startswith("May I ")
    assert asked.endswith("?")
    assert "\n" not in asked


def test_a_question_says_to_whom_and_what() -> None:
    assert prompt("send_sms", {"to": "+14155550100", "text": "I'm late"}) == (
        "May I send a text message to “+14155550100”, saying “I'm late”?"
    )
    assert prompt("run_command", {"command": "make test", "timeout_s": 60}) == (
        "May I run the command “make test”, with timeout s 60?"
    )
    assert prompt("odd_tool", {"to": "x", "left": ""}) == "May I use odd tool, with to “x”?"


def test_a_question_hides_secrets_and_nothing_else() -> None:
    asked = prompt("run_command", {"command": "curl -H 'Authorization: Bearer abcdef123456' x"})
    assert "abcdef123456" not in asked
    assert "curl -H" in asked
    assert "(hidden)" in asked
    asked = prompt("odd_tool", {"api_key": "hello", "text": "sk-proj0123456789abcdef is the key"})
    assert "hello" not in asked
    assert "0123456789abcdef" not in asked
    assert "is the key" in asked


def test_a_long_text_shows_its_beginning_and_its_end() -> None:
    asked = prompt("run_command", {"command": "echo " + "a " * 2_000 + "; rm -rf ."})
    assert "echo a" in asked
    assert "; rm -rf ." in asked
    assert "characters left out" in asked
    assert len(asked) < 800


def test_a_question_shows_where_lines_break_and_no_invisible_signs() -> None:
    asked = prompt("run_command", {"command": "ls\n  rm x\u202e\u200b"})
    assert asked == "May I run the command “ls (new line) rm x”?"


def test_what_one_argument_says_is_not_read_as_another() -> None:
    asked = prompt("send_sms", {"to": "{text}", "text": "hi"})
    assert asked == "May I send a text message to “{text}”, saying “hi”?"


def test_the_graph_has_a_node_a_step_and_an_edge_a_need() -> None:
    steps = [
        Step(
            id=f"t.n{n}",
            seq=n,
            node=f"n{n}",
            title=f"Step {n}",
            tool="look",
            arguments={},
            needs=("n1",) if n == 2 else (),
            effect="send",
            status="planned",
            attempt=0,
            result=None,
            error=None,
            started_at=None,
            ended_at=None,
        )
        for n in (1, 2)
    ]
    nodes, edges = graph(steps)
    assert nodes[1] == {
        "id": "n2",
        "title": "Step 2",
        "tool": "look",
        "effect": "send",
        "status": "planned",
    }
    assert edges == [{"from": "n1", "to": "n2"}]
