"""Several requests in one message: each is served, facts stay whole, the rest is named."""

import re
from typing import Any

import pytest

from tests.unit.brain.offline.conftest import HUB_TOOLS, Say, arguments
from tron.calls.ending import ENDING
from tron.conversation.turns import Message, ToolCall

TIME = ("current_time", {"timezone": ""})


def kept(fact: str, key: str = "") -> tuple[str, dict[str, Any]]:
    return "remember", {"fact": fact, "key": key}


def message(to: str, text: str) -> tuple[str, dict[str, Any]]:
    return "take_message", {"to": to, "message": text}


COMPOUND: list[tuple[str, list[tuple[str, dict[str, Any]]]]] = [
    ("What time is it, and who else lives here?", [TIME]),
    ("what time is it and who am i", [TIME, ("who_is_calling", {})]),
    (
        "What time is it in Tokyo? And in words: who are you?",
        [("current_time", {"timezone": "Asia/Tokyo"})],
    ),
    (
        "um so like hey tony uh what time is it in new york and uh can you tell me what's running",
        [("current_time", {"timezone": "America/New_York"}), ("list_processes", {})],
    ),
    (
        "ask Maya what she thinks about the launch\nremember that the launch is on Friday\n"
        "what time is it",
        [
            (
                "ask_persona",
                {
                    "persona": "maya",
                    "question": "What do you think about the launch?",
                    "context": "",
                },
            ),
            kept("the launch is on Friday"),
            TIME,
        ],
    ),
    (
        "My name is Ana and I live in Lisbon. What's my birthday?",
        [
            kept("The caller's name is Ana", "name"),
            kept("The caller said: I live in Lisbon", "live"),
            ("recall", {"query": "birthday"}),
        ],
    ),
    (
        "remember that my dog is called Rex and my cat is called Tom",
        [
            kept("The caller's dog is called Rex", "dog"),
            kept("The caller's cat is called Tom", "cat"),
        ],
    ),
    (
        "tell Riley that I'm late and remember that the demo is at 5",
        [message("riley", "I'm late"), kept("the demo is at 5")],
    ),
    (
        "take a message for Maya that the deck is late and then tell me what's new",
        [message("maya", "the deck is late"), ("knowledge_feed", {})],
    ),
    (
        "ask Jordan about the runway, then tell me the time",
        [
            (
                "ask_persona",
                {
                    "persona": "jordan",
                    "question": "What can you tell me about the runway?",
                    "context": "",
                },
            ),
            TIME,
        ],
    ),
    (
        "how is the hub? what is running? anything new?",
        [("list_processes", {}), ("knowledge_feed", {})],
    ),
    ("- what time is it\n- anything new", [TIME, ("knowledge_feed", {})]),
    (
        "what's the weather in Paris and what time is it there",
        [("current_time", {"timezone": "Europe/Paris"})],
    ),
    (
        "what time is it in london and in tokyo",
        [
            ("current_time", {"timezone": "Europe/London"}),
            ("current_time", {"timezone": "Asia/Tokyo"}),
        ],
    ),
    ("what time is it, what time is it, what time is it", [TIME]),
    ("what time is it and why is the sky blue?", [TIME]),
    ("call me at 5 and remember that Ana and Rex like tea", [kept("Ana and Rex like tea")]),
    (
        "I have been thinking about the onboarding for weeks. Users sign up, look around, and then "
        "they leave. Nothing helps! Also, what time is it in London?",
        [("current_time", {"timezone": "Europe/London"})],
    ),
]

WHOLE: list[tuple[str, list[tuple[str, dict[str, Any]]]]] = [
    ("remember that Ana and Rex like tea", [kept("Ana and Rex like tea")]),
    (
        "remember that if it rains, then we stay inside, and that lunch is at 12",
        [kept("if it rains, then we stay inside, and that lunch is at 12")],
    ),
    (
        "Remember that my dog is called Rex. He is 3 years old.",
        [kept("The caller's dog is called Rex. He is 3 years old", "dog")],
    ),
    ("please remember these:\n- milk\n- eggs", [kept("milk, eggs")]),
    ("search for cats and dogs", [("web_search", {"query": "cats and dogs"})]),
    (
        "what do you know about sales and marketing",
        [("query_knowledge", {"query": "sales and marketing"})],
    ),
    (
        "take a message for Alex: call me back and tell Maya what's new",
        [message("alex", "call me back and tell Maya what's new")],
    ),
    ("tell Riley that I'm late and I am sorry", [message("riley", "I'm late and I am sorry")]),
    (
        "remind me to call Bob and to buy milk",
        [kept("The caller asked to be reminded to call Bob and to buy milk")],
    ),
    (
        "tell Jordan to check the runway and show it to Maya",
        [
            (
                "delegate_task",
                {
                    "persona": "jordan",
                    "task": "check the runway and show it to Maya",
                    "context": "",
                },
            )
        ],
    ),
    ("what is the time and date", [TIME]),
    ("Tony, what time is it, please?", [TIME]),
]


@pytest.mark.parametrize(("said", "expected"), [*COMPOUND, *WHOLE])
async def test_every_request_in_a_message_calls_its_tool(
    say: Say, said: str, expected: list[tuple[str, dict[str, Any]]]
) -> None:
    reply = await say(said)
    assert [(call.name, arguments(call)) for call in reply.calls] == expected
    assert len({call.id for call in reply.calls}) == len(expected)


async def answers(say: Say, said: str, *results: str) -> str:
    """What is said when each call of the first round brought one of `results`."""
    first = await say(said)
    assert len(first.calls) == len(results)
    talk = [user(said), *_round(first.calls, *results)]
    second = await say(talk)
    assert not second.calls
    text: str = second.text
    return text


def user(text: str) -> Message:
    return Message(role="user", content=text)


def _round(calls: list[ToolCall], *results: str) -> list[Message]:
    return [
        Message(role="assistant", tool_calls=calls),
        *(
            Message(role="tool", tool_call_id=call.id, content=result)
            for call, result in zip(calls, results, strict=True)
        ),
    ]


async def goodbye(say: Say, result: str) -> str:
    first = await say("Goodbye", tools=["end_call"])
    talk = [user("Goodbye"), *_round(first.calls, result)]
    return str((await say(talk, tools=["end_call"])).text)


@pytest.mark.parametrize("result", [ENDING, '{"success": true}', "Done."])
async def test_a_goodbye_is_a_goodbye_and_not_what_the_tool_told_the_persona(
    say: Say, result: str
) -> None:
    said = await goodbye(say, result)
    assert re.search(r"\b(?:bye|goodbye|next time|later|take care)\b", said.lower()), said
    assert "call ends" not in said
    assert "true" not in said


@pytest.mark.parametrize("result", ['{"ok": false, "error": "The line is stuck."}', "No, not now."])
async def test_no_goodbye_where_the_call_does_not_end(say: Say, result: str) -> None:
    said = await goodbye(say, result)
    assert "stuck" in said or "not now" in said


NOW = "Friday, 20 November 2026, 10:30 (UTC)"


async def test_results_and_words_come_in_the_order_of_the_questions(say: Say) -> None:
    text = await answers(say, "What's new, who else lives here, and what time is it?", "None.", NOW)
    places = [text.index(part) for part in ("Nothing new", "Besides me: Maya", "It's Friday")]
    assert places == sorted(places)


async def test_what_was_not_understood_is_named_beside_the_answers(say: Say) -> None:
    text = await answers(say, "why is the sky blue, and what time is it?", NOW)
    assert f"It's {NOW}." in text
    assert "The rest is beyond me: “why is the sky blue”." in text
    assert text.count("OPENAI_API_KEY") == 1


async def test_one_failure_does_not_hide_the_other_answer(say: Say) -> None:
    said = "tell Riley that I'm late and remember that the demo is at 5"
    text = await answers(say, said, "The database is locked.", "Remembered [demo].")
    assert "The database is locked." in text
    assert "I've taken the message" not in text
    assert "I'll remember: the demo is at 5." in text


async def test_a_fact_told_and_asked_for_at_once(say: Say) -> None:
    said = "My name is Ana. What's my name?"
    text = await answers(say, said, "Remembered [name].", "Nothing is remembered about that.")
    assert "You told me: your name is Ana." in text


async def test_two_purely_spoken_answers(say: Say) -> None:
    reply = await say("who is Maya and who is Jordan?")
    assert "Maya is our CMO" in reply.text
    assert "Jordan is our CFO" in reply.text
    reply = await say("2+2 and 3*7")
    assert reply.text == "2+2 = 4. 3*7 = 21."


async def test_an_answer_of_a_colleague_is_remembered_when_asked(say: Say) -> None:
    said = "ask Maya what she thinks about the launch and remember it"
    first = await say(said)
    assert [call.name for call in first.calls] == ["ask_persona"]
    talk = [user(said), *_round(first.calls, "Wait until Tuesday.")]
    second = await say(talk)
    assert [call.name for call in second.calls] == ["remember"]
    assert "Maya said: Wait until Tuesday." in arguments(second.calls[0])["fact"]
    talk += _round(second.calls, "Remembered [maya].")
    reply = await say(talk)
    assert reply.text.startswith("Maya says: Wait until Tuesday. ")
    assert "I'll remember that: Maya said: Wait until Tuesday." in reply.text


async def test_a_colleague_without_a_model_leaves_nothing_to_remember(say: Say) -> None:
    said = "ask Maya what she thinks about the launch and remember it"
    asked = Message(role="system", content="Alex, your colleague, asks you. Answer briefly.")
    answer = await say([asked, user("What do you think about the launch?")], agent="maya")
    assert "OPENAI_API_KEY" not in answer.text
    text = await answers(say, said, answer.text)
    assert "Maya has nothing to say to that" in text
    assert "nothing in that for me to keep" in text


async def test_a_yes_takes_up_the_offer_and_more_is_done(say: Say) -> None:
    talk = [
        user("i am worried about the runway"),
        Message(role="assistant", content="Shall I leave Jordan a message about it?"),
        user("yes please, and what time is it?"),
    ]
    reply = await say(talk, agent="alex")
    assert [call.name for call in reply.calls] == ["take_message", "current_time"]


async def test_a_message_of_many_requests_is_bounded(say: Say) -> None:
    said = "\n".join(f"what time is it in {place}" for place in PLACES)
    reply = await say(said)
    assert len(reply.calls) == 8
    talk = [user(said), *_round(reply.calls, *[NOW] * 8)]
    assert "The rest is beyond me" in (await say(talk)).text


PLACES = "Tokyo Paris Berlin London Rome Madrid Lisbon Oslo Vienna Athens".split()


async def test_every_compound_request_without_tools_is_answered_in_words(say: Say) -> None:
    for said, _ in (*COMPOUND, *WHOLE):
        reply = await say(said, tools=())
        assert reply.text
        assert not reply.calls


async def test_a_tool_that_is_missing_is_named_and_the_other_used(say: Say) -> None:
    tools = [name for name in HUB_TOOLS if name != "knowledge_feed"]
    reply = await say("what time is it and what's new?", tools=tools)
    assert [call.name for call in reply.calls] == ["current_time"]
    talk = [user("what time is it and what's new?"), *_round(reply.calls, NOW)]
    text = (await say(talk, tools=tools)).text
    assert "It's Friday" in text
    assert "can't read the team's news here" in text
