"""What people say, and the tool call that serves them."""

from typing import Any

import pytest

from tests.unit.brain.offline.conftest import HUB_TOOLS, Say, arguments

EVERYTHING = [*HUB_TOOLS, "transfer_call", "end_call"]

CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("what time is it", "current_time", {"timezone": ""}),
    ("What's the time?", "current_time", {"timezone": ""}),
    ("whats the date today", "current_time", {"timezone": ""}),
    ("do you have the time", "current_time", {"timezone": ""}),
    ("what day is it", "current_time", {"timezone": ""}),
    ("What time is it in Tokyo?", "current_time", {"timezone": "Asia/Tokyo"}),
    ("what's the time in New York right now", "current_time", {"timezone": "America/New_York"}),
    (
        "um hey tony can you uh tell me what time it is in tokyo please",
        "current_time",
        {"timezone": "Asia/Tokyo"},
    ),
    ("time in Europe/Berlin", "current_time", {"timezone": "Europe/Berlin"}),
    (
        "remember that my dog is called Rex",
        "remember",
        {"fact": "The caller's dog is called Rex", "key": "dog"},
    ),
    (
        "Please remember: my dog is called Rex.",
        "remember",
        {"fact": "The caller's dog is called Rex", "key": "dog"},
    ),
    (
        "don’t forget that the launch is on Friday",
        "remember",
        {"fact": "the launch is on Friday", "key": ""},
    ),
    ("note that the server moved", "remember", {"fact": "the server moved", "key": ""}),
    ("my name is Ana", "remember", {"fact": "The caller's name is Ana", "key": "name"}),
    ("hi i'm called ana", "remember", {"fact": "The caller's name is Ana", "key": "name"}),
    ("Call me Ana.", "remember", {"fact": "The caller's name is Ana", "key": "name"}),
    (
        "my favourite colour is blue",
        "remember",
        {"fact": "The caller's favourite colour is blue", "key": "favourite colour"},
    ),
    ("I live in Lisbon", "remember", {"fact": "The caller said: I live in Lisbon", "key": "live"}),
    *(
        (said, "remember", {"fact": f"The caller said: {fact}", "key": key})
        for said, fact, key in (
            ("I am allergic to nuts.", "I am allergic to nuts", "allergic nuts"),
            ("remember that I'm allergic to milk", "I'm allergic to milk", "allergic milk"),
            ("I'm also allergic to eggs", "I'm also allergic to eggs", "allergic eggs"),
            ("I prefer tea", "I prefer tea", "prefer tea"),
            ("Remember that I prefer trains", "I prefer trains", "prefer trains"),
            ("I prefer him", "I prefer him", ""),
            (
                "I prefer green tea with warm milk and honey",
                "I prefer green tea with warm milk and honey",
                "",
            ),
            ("I work as a cook", "I work as a cook", "work cook"),
            ("I work for Acme", "I work for Acme", "work"),
            ("I was born in Porto", "I was born in Porto", "born"),
            ("I was born on 3 May", "I was born on 3 May", "birthday"),
            ("I was born in May 1990", "I was born in May 1990", "birthday"),
        )
    ),
    (
        "remember to call mum",
        "remember",
        {"fact": "The caller asked to be reminded to call mum", "key": ""},
    ),
    (
        "remember for everyone that the office closes at six",
        "remember",
        {"fact": "the office closes at six", "key": "", "shared": True},
    ),
    (
        "remind me on our birthday to call Bob",
        "remember",
        {"fact": "The caller asked to be reminded on our birthday to call Bob", "key": ""},
    ),
    ("remind me tomorrow to call Bob", "start_task", {"intent": "remind me tomorrow to call Bob"}),
    ("what's my dog called", "recall", {"query": "dog"}),
    ("What is my dog's name?", "recall", {"query": "dog"}),
    ("whats my name", "recall", {"query": "name"}),
    ("do you know my name", "recall", {"query": "name"}),
    ("where do I live?", "recall", {"query": "live"}),
    ("What am I allergic to?", "recall", {"query": "allergic"}),
    ("am I allergic to nuts?", "recall", {"query": "allergic nuts"}),
    ("what do I prefer?", "recall", {"query": "prefer"}),
    ("do you remember my birthday?", "recall", {"query": "birthday"}),
    ("what did I tell you about the dog", "recall", {"query": "dog"}),
    ("what do you know about me", "recall", {"query": "what do you know about me"}),
    ("forget my dog's name", "forget", {"key": "dog"}),
    ("forget launch-friday-1a2b3c", "forget", {"key": "launch-friday-1a2b3c"}),
    ("who am I?", "who_is_calling", {}),
    ("do you remember me", "who_is_calling", {}),
    ("how is the hub", "list_processes", {}),
    ("whats running", "list_processes", {}),
    ("who else is here?", "list_processes", {}),
    ("inspect process p-12", "inspect_process", {"id": "p-12"}),
    (
        "ask Maya what she thinks about the launch",
        "ask_persona",
        {"persona": "maya", "question": "What do you think about the launch?", "context": ""},
    ),
    (
        "could you ask jordan if we can afford it?",
        "ask_persona",
        {"persona": "jordan", "question": "Can you say whether we can afford it?", "context": ""},
    ),
    (
        "Ask Jordan: how long is our runway?",
        "ask_persona",
        {"persona": "jordan", "question": "How long is our runway?", "context": ""},
    ),
    ("say hello to maya", "take_message", {"to": "maya", "message": "hello"}),
    (
        "have Jordan check the runway",
        "delegate_task",
        {"persona": "jordan", "task": "check the runway", "context": ""},
    ),
    (
        "Ask Alex to review the plan",
        "delegate_task",
        {"persona": "alex", "task": "review the plan", "context": ""},
    ),
    (
        "tell jordan to check the runway",
        "delegate_task",
        {"persona": "jordan", "task": "check the runway", "context": ""},
    ),
    ("tell Riley that I'm late", "take_message", {"to": "riley", "message": "I'm late"}),
    ("tell Riley to call me back", "take_message", {"to": "riley", "message": "call me back"}),
    (
        "let maya know the deck is ready",
        "take_message",
        {"to": "maya", "message": "the deck is ready"},
    ),
    (
        "take a message for Alex: call me back tonight",
        "take_message",
        {"to": "alex", "message": "call me back tonight"},
    ),
    (
        "take a message for Sam that the parcel arrived",
        "take_message",
        {"to": "Sam", "message": "the parcel arrived"},
    ),
    ("what have you been doing today", "read_journal", {"days": 1, "persona": ""}),
    ("What did Maya do yesterday?", "read_journal", {"days": 2, "persona": "maya"}),
    ("what have you been up to this week", "read_journal", {"days": 7, "persona": ""}),
    (
        "note in your journal that the deploy went well",
        "write_journal",
        {"text": "The deploy went well."},
    ),
    ("write in your journal: quiet day", "write_journal", {"text": "Quiet day."}),
    ("anything new", "knowledge_feed", {}),
    ("What's new?", "knowledge_feed", {}),
    ("what do you know about the roadmap", "query_knowledge", {"query": "the roadmap"}),
    (
        "share with the team that the API is stable",
        "share_knowledge",
        {
            "type": "insight",
            "title": "the API is stable",
            "content": "the API is stable",
            "domain": "general",
            "tags": ["api", "stable"],
        },
    ),
    ("search for quart websockets", "web_search", {"query": "quart websockets"}),
    ("search the web for best pizza", "web_search", {"query": "best pizza"}),
    ("can you look up the weather in Paris", "web_search", {"query": "the weather in Paris"}),
    ("find contact Bob", "find_contact", {"query": "Bob"}),
    ("what's Bob's number", "find_contact", {"query": "Bob"}),
    (
        "save contact Bob Miller +1 415 555 0100",
        "save_contact",
        {"name": "Bob Miller", "phone": "+1 415 555 0100"},
    ),
    (
        "run the tests, then text me the result",
        "start_task",
        {"intent": "run the tests, then text me the result"},
    ),
    (
        "Remind me tomorrow at nine to call Bob.",
        "start_task",
        {"intent": "Remind me tomorrow at nine to call Bob."},
    ),
    (
        "ask Maya for ideas in the background, and ask me before every step",
        "start_task",
        {"intent": "ask Maya for ideas", "mode": "confirm_each"},
    ),
    ("show me my tasks", "list_tasks", {}),
    ("what tasks are running?", "list_tasks", {}),
    ("how is the task going?", "task_status", {"task": ""}),
    ("what happened to my task about the tests", "task_status", {"task": "the tests"}),
    ("cancel the task about the tests", "cancel_task", {"task": "the tests"}),
    ("pause task", "pause_task", {"task": ""}),
    ("continue task.", "resume_task", {"task": ""}),
    ("resume the task about the tests", "resume_task", {"task": "the tests"}),
    ("cancel task 2", "cancel_task", {"task": "2"}),
    ("transfer me to Alex", "transfer_call", {"to": "alex"}),
    ("let me talk to riley", "transfer_call", {"to": "riley"}),
    ("goodbye", "end_call", {}),
    ("thanks, bye", "end_call", {}),
]


@pytest.mark.parametrize(("said", "name", "expected"), CALLS, ids=[said for said, *_ in CALLS])
async def test_a_request_calls_its_tool(
    say: Say, said: str, name: str, expected: dict[str, Any]
) -> None:
    reply = await say(said, tools=EVERYTHING)
    assert [(call.name, arguments(call)) for call in reply.calls] == [(name, expected)]
    assert reply.finish == "tool_calls"
    assert reply.text == ""


@pytest.mark.parametrize("said", [said for said, *_ in CALLS])
async def test_without_its_tool_a_request_is_answered_in_words(say: Say, said: str) -> None:
    reply = await say(said, tools=())
    assert not reply.calls
    assert reply.finish == "stop"
    assert reply.text


WORDS = [
    ("hello tony", "Tony"),
    ("good morning", "Tony"),
    ("who are you?", "CTO"),
    ("what do you do", "engineering and infrastructure"),
    ("are you an AI", "I'm an AI, not a person"),
    ("am i talking to a human", "I'm an AI, not a person"),
    ("are you real?", "not a person"),
    ("what model are you", "None right now"),
    ("what can you do", "remember what you tell me"),
    ("help", "take a message"),
    ("who is on the team?", "Maya, CMO; Alex, CEO; Jordan, CFO; Riley, CPO."),
    ("who is Maya", "Maya is our CMO and looks after marketing, brand and launches."),
    ("what does jordan do?", "Jordan is our CFO"),
    ("what time is it in Springfield", "don't know which time zone “Springfield” is in"),
    ("forget everything", "one thing at a time"),
    ("take a message for Alex", "What should I tell Alex?"),
    ("ask tony what he thinks", "That's me"),
    ("can you hear me", "I'm here"),
    ("are you there tony", "I'm here"),
    ("nice to meet you", "Nice to meet you too"),
    ("I'm Ana", "say “my name is Ana”"),
    ("I need help", "take a message"),
    ("is Jordan there?", "Shall I leave Jordan a message about it?"),
    ("what's 2 + 2", "= 4."),
    ("what is 15% of 240", "= 36."),
    ("calculate (3+4)*2", "= 14."),
    ("twelve times eleven", "= 132."),
    ("10 / 4", "= 2.5."),
    ("save contact Bob", "a name and a number"),
    ("", "empty"),
]


@pytest.mark.parametrize(("said", "expected"), WORDS)
async def test_small_talk_and_questions_of_fact(say: Say, said: str, expected: str) -> None:
    reply = await say(said)
    assert not reply.calls
    if said == "":
        assert reply.text in ("I didn't catch anything.", "That came through empty.")
    else:
        assert expected in reply.text


@pytest.mark.parametrize(
    "said",
    [
        "what is the meaning of life",
        "tell me a story",
        "my computer is broken",
        "this is urgent",
        "10/0",
        "ask Zelda about the castle",
        "make Maya happy",
        "how do I install this?",
        "ask Maya and Jordan about the launch",
        "delete process p-1",
        "__import__('os').system('ls')",
    ],
)
async def test_what_no_rule_fits_calls_nothing_and_says_so(say: Say, said: str) -> None:
    reply = await say(said)
    assert not reply.calls
    assert reply.text.startswith(("I can't answer that.", "I can't do much with that."))
    assert "OPENAI_API_KEY" in reply.text
