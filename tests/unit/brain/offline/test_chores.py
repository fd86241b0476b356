"""What somebody wants done, taken apart, and what of it is more than talk."""

import pytest

from tron.brain.offline.chores import chores, in_which_manner, task_in
from tron.brain.offline.intents import Known

KNOWN = Known(names={"maya": "maya", "tony": "tony"}, me=frozenset(["tony"]))


def kinds(text: str) -> list[str]:
    return [chore.kind for chore in chores(text, KNOWN)]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (
            "ask Maya for three taglines and then write them to taglines.txt and text me",
            ["ask", "write", "sms"],
        ),
        ("run the tests", ["run"]),
        ("Please run `make a; make b` then post the result to #general", ["run", "slack"]),
        ("fetch https://example.com/x and remember what it says", ["fetch", "remember"]),
        ("Fetch http://a.b, then finally save the page to p.html.", ["fetch", "write"]),
        ("remind me tomorrow at nine to call Bob", ["remind"]),
        ("remind me to call Bob and buy milk in an hour", ["remind"]),
        ("call +1 415 555 0100 and say hello and goodbye", ["call"]),
        ("text Bob that I'm late and bring milk", ["sms"]),
        ("First run the tests. Then text me the result.", ["run", "sms"]),
        ("search the web for cats and text me what it says", ["web", "sms"]),
        ("create a file notes.txt with hello, world", ["write"]),
        ("write a poem", ["unknown"]),
        ("build a landing page and deploy it", ["unknown"]),
    ],
)
def test_a_wish_is_taken_apart(said: str, wanted: list[str]) -> None:
    assert kinds(said) == wanted


def test_what_is_said_to_others_stays_whole() -> None:
    (call,) = chores("call +1 415 555 0100 and say hello and goodbye", KNOWN)
    assert call.slots == {"who": "+1 415 555 0100", "text": "hello and goodbye"}
    (sms,) = chores("text me: a, b and call Bob", KNOWN)
    assert sms.slots == {"who": "me", "text": "a, b and call Bob"}
    (run,) = chores("run `make a, make b and make c`", KNOWN)
    assert run.slots == {"command": "make a, make b and make c"}


@pytest.mark.parametrize(
    "said",
    [
        "can you hear me",
        "what is the latest information",
        "call me back",
        "text me",
        "send the money",
        "what time is it and ask Maya what she thinks",
        "remind me to drink water",
        "remember that my dog is called Rex and my cat Tom",
        "ask Maya about the launch",
        "tell Maya that I will call Bob and text Ann",
        "how do I run a marathon",
        "do you remember what it says",
        "can you build a landing page and deploy it",
        "",
    ],
)
def test_talk_is_no_task(said: str) -> None:
    assert task_in(said, KNOWN) is None


@pytest.mark.parametrize(
    ("said", "task"),
    [
        ("run the tests", "run the tests"),
        ("Tony, remind me tomorrow at nine to call Bob", None),
        ("in an hour ask Maya for ideas", None),
        ("ask Maya for ideas in the background", "ask Maya for ideas"),
        ("as a task, ask Maya about the launch", "ask Maya about the launch"),
        ("start a task to write a poem", "write a poem"),
        ("ask Maya for a name and then write it to name.txt", None),
        ("ask me before every step: run the tests", "run the tests"),
        ("Urgently: run the tests", "run the tests"),
    ],
)
def test_more_than_talk_is_a_task(said: str, task: str | None) -> None:
    found = task_in(said, KNOWN)
    assert found is not None
    assert found.slots["text"] == (task or said)


@pytest.mark.parametrize(
    ("said", "wish", "manner"),
    [
        ("run it", "run it", {}),
        ("urgently: run it", "run it", {"priority": "high"}),
        ("run it, and ask me before every step", "run it", {"mode": "confirm_each"}),
        ("Ask me before each step: run it", "run it", {"mode": "confirm_each"}),
        ("tell Ann it is urgent", "tell Ann it is urgent", {}),
    ],
)
def test_how_it_is_to_be_done_is_no_part_of_it(
    said: str, wish: str, manner: dict[str, str]
) -> None:
    assert in_which_manner(said) == (wish, manner)


@pytest.mark.parametrize("said", ["a" * 100_000, "and " * 20_000, "`" * 5_000, "then, " * 9_000])
def test_long_nonsense_is_read_in_no_time(said: str) -> None:
    chores(said, KNOWN)
    task_in(said, KNOWN)
