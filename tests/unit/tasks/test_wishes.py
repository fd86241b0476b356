"""Plans made by rules, for a hub without a language model."""

from datetime import UTC, datetime

import msgspec
import pytest

from tron.brain.offline.intents import Known
from tron.errors import Invalid
from tron.tasks.contract import PlannedStep
from tron.tasks.plan import checked
from tron.tasks.wishes import PlanRefused, Situation, named, steps_for

KNOWN = Known(names={"maya": "maya", "tony": "tony"}, me=frozenset(["tony"]))
TOOLS = frozenset(
    "ask_persona run_command fetch_page write_file read_file send_sms send_slack_message "
    "place_call "
    "wait_until remind remember recall web_search current_time work_out".split()
)
HERE = Situation(
    agent="tony",
    tools=TOOLS,
    now_ms=round(datetime(2026, 11, 20, 14, 0, tzinfo=UTC).timestamp() * 1000),
    zone="UTC",
    known=KNOWN,
    speaker=None,
    my_number="+14155550100",
)


def plan(text: str, **now: object) -> tuple[PlannedStep, ...]:
    """As the desk gets it: it must check."""
    steps = steps_for(text, msgspec.structs.replace(HERE, **now))
    return checked(steps, lambda tool: "read" if tool in TOOLS else None)


def calls(text: str, **now: object) -> list[tuple[str, dict[str, object]]]:
    return [(step.tool, step.arguments) for step in plan(text, **now)]


def test_results_are_handed_on_from_step_to_step() -> None:
    steps = plan("ask Maya for three taglines and then write them to taglines.txt and text me")
    assert [(step.tool, step.arguments) for step in steps] == [
        ("ask_persona", {"persona": "maya", "question": "Please give me three taglines."}),
        ("write_file", {"path": "taglines.txt", "content": "{{n1}}"}),
        ("send_sms", {"to": "+14155550100", "text": "{{n1:1000}}"}),
    ]
    assert [step.needs for step in steps] == [(), ("n1",), ("n2", "n1")]


def test_a_page_is_fetched_and_remembered() -> None:
    assert calls("fetch https://example.com/x and remember what it says") == [
        ("fetch_page", {"url": "https://example.com/x"}),
        (
            "remember",
            {"fact": "Fetch https://example.com/x: {{n1:3500}}", "key": ""},
        ),
    ]


def test_a_reminder_waits_and_then_says_it() -> None:
    assert calls("remind me tomorrow at nine to call Bob") == [
        ("wait_until", {"time": "2026-11-21T09:00:00Z"}),
        ("remind", {"text": "Call Bob."}),
    ]


def test_times_are_those_of_the_persona() -> None:
    (wait, _) = calls("remind me tomorrow at nine", zone="America/Los_Angeles")
    assert wait == ("wait_until", {"time": "2026-11-21T17:00:00Z"})


def test_an_order_for_later_waits_first() -> None:
    assert [tool for tool, _ in calls("in an hour ask Maya for ideas")] == [
        "wait_until",
        "ask_persona",
    ]


def test_a_call_says_what_was_dictated() -> None:
    assert calls("call +1 415 555 0199 and say that I'm late, sorry") == [
        ("place_call", {"to": "+14155550199", "message": "I'm late, sorry"})
    ]


def test_people_are_found_by_their_number_or_not_called() -> None:
    assert named("text Bob hello, then call Ann Lee and say hi", KNOWN) == ["Bob", "Ann Lee"]
    assert calls("text Bob hello", numbers={"bob": "+14155550111"}) == [
        ("send_sms", {"to": "+14155550111", "text": "hello"})
    ]
    with pytest.raises(PlanRefused, match="no phone number for Bob"):
        plan("text Bob hello")
    with pytest.raises(PlanRefused, match="no phone number of yours"):
        plan("run the tests and text me", my_number="")


def test_who_asks_in_slack_is_written_to_there() -> None:
    steps = calls("run the tests and text me", my_number="", my_slack="U7")
    assert steps[1] == ("send_slack_message", {"channel": "U7", "text": "{{n1:1000}}"})


def test_what_nothing_does_is_refused_in_the_open() -> None:
    with pytest.raises(PlanRefused, match="Without a language model"):
        plan("write a poem")
    with pytest.raises(PlanRefused, match="deploy it"):
        plan("run the tests, then deploy it to the moon")
    with pytest.raises(PlanRefused, match="no tool"):
        plan("run the tests", tools=TOOLS - {"run_command"})
    with pytest.raises(PlanRefused, match="again and again"):
        plan("remind me every day at nine to drink")
    with pytest.raises(PlanRefused, match="not said what"):
        plan("text me the result")


def test_with_a_model_that_is_away_the_persona_works_it_out_later() -> None:
    assert calls("fetch https://a.example/x then summarise it in a haiku", model=True) == [
        ("fetch_page", {"url": "https://a.example/x"}),
        ("work_out", {"request": "Summarise it in a haiku.", "material": "{{n1}}"}),
    ]


def test_more_than_a_plan_holds_is_refused() -> None:
    many = " then ".join(f"run `make x{n}`" for n in range(20))
    with pytest.raises(PlanRefused):
        plan(many)


def test_braces_in_a_wish_are_no_way_into_the_plan() -> None:
    with pytest.raises(Invalid, match="itself"):
        plan("text +14155550199 saying {{n1}}")
