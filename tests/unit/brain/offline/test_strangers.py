"""Conversations as people without a key have them: small talk, follow-ups, typos, languages."""

from itertools import pairwise
from typing import Any

import pytest

from tests.unit.brain.offline.conftest import Reply, Say, arguments
from tron.conversation.turns import Message

NOW = "Friday, 20 November 2026, 10:30 (UTC)"


class Talk:
    """A conversation in which every tool answers `result`."""

    def __init__(self, say: Say, agent: str = "tony", result: str = NOW) -> None:
        self._say = say
        self._agent = agent
        self._result = result
        self._messages: list[Message] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def __call__(self, text: str) -> str:
        self._messages.append(Message(role="user", content=text))
        self.calls = []
        for _ in range(4):
            reply: Reply = await self._say(self._messages, agent=self._agent)
            if not reply.calls:
                break
            self.calls += [(call.name, arguments(call)) for call in reply.calls]
            self._messages.append(Message(role="assistant", tool_calls=reply.calls))
            self._messages += [
                Message(role="tool", tool_call_id=call.id, content=self._result)
                for call in reply.calls
            ]
        self._messages.append(Message(role="assistant", content=reply.text))
        return reply.text


async def test_a_first_visit(say: Say) -> None:
    talk = Talk(say)
    assert "Tony" in await talk("hello")
    both = await talk("What time is it, and who else lives here?")
    assert "It's Friday" in both
    assert "Besides me: Maya, CMO" in both
    assert "In Tokyo it's" in await talk("and in Tokyo?")
    assert talk.calls == [("current_time", {"timezone": "Asia/Tokyo"})]
    await talk("what about Berlin?")
    assert talk.calls == [("current_time", {"timezone": "Europe/Berlin"})]
    assert "fixed rule" in await talk("why?")
    assert await talk("thanks, bye")


async def test_following_up_on_people(say: Say) -> None:
    talk = Talk(say)
    assert "Jordan is our CFO" in await talk("who is jordan?")
    assert "Maya is our CMO" in await talk("and Maya?")
    await talk("what did Maya do today")
    await talk("and Riley?")
    assert talk.calls == [("read_journal", {"days": 1, "persona": "riley"})]


async def test_following_up_on_memory(say: Say) -> None:
    talk = Talk(say, result="Nothing is remembered about that.")
    await talk("what's my dog called?")
    await talk("and my cat?")
    assert talk.calls == [("recall", {"query": "cat"})]


async def test_a_follow_up_to_nothing_is_not_guessed(say: Say) -> None:
    talk = Talk(say)
    await talk("hello")
    await talk("and in Tokyo?")
    assert not talk.calls


async def test_jokes_are_not_repeated_at_once(say: Say) -> None:
    talk = Talk(say)
    jokes = [await talk("tell me a joke")] + [await talk("another one") for _ in range(3)]
    assert len(set(jokes)) == 4


async def test_knowledge_falls_back_on_what_the_caller_told(say: Say) -> None:
    talk = Talk(say, result="Nothing is known about that.")
    assert "neither in the team's knowledge nor in my memory" in await talk(
        "tell me about the demo"
    )
    assert [name for name, _ in talk.calls] == ["query_knowledge", "recall"]


async def test_remember_that_keeps_what_was_just_said(say: Say) -> None:
    talk = Talk(say, result="Remembered [pricing].")
    await talk("i had a great idea for lunch")
    assert "you had a great idea for lunch" in await talk("remember that")
    assert arguments_of_only(talk)["fact"] == "The caller said: i had a great idea for lunch"


def arguments_of_only(talk: Talk) -> dict[str, Any]:
    [(_, found)] = talk.calls
    return found


async def test_the_missing_model_is_mentioned_once(say: Say) -> None:
    talk = Talk(say)
    said = [
        await talk(text)
        for text in (
            "why is the sky blue?",
            "write a poem",
            "who are you?",
            "what can you do",
            "what time is it and how do birds fly?",
            "translate hello to French",
        )
    ]
    assert ["language model" in answer for answer in said] == [True, *[False] * 5]
    assert all(one != other for one, other in pairwise(said))
    assert "language model" in await talk("are you an AI?")
    assert "OPENAI_BASE_URL" in await talk("how do I connect a model?")


@pytest.mark.parametrize("text", ["why is the sky blue?", "how do I connect a model?"])
async def test_nobody_on_the_telephone_hears_of_settings(say: Say, text: str) -> None:
    written, spoken = await say(text), await say(text, spoken=True)
    assert "OPENAI_" in written.text
    assert spoken.text
    assert "OPENAI" not in spoken.text


async def test_no_odd_words_are_thrown_back(say: Say) -> None:
    talk = Talk(say)
    for text in ("why is the sky blue?", "blah blub", "who else sings", "what is it like over"):
        answer = await talk(text)
        assert "I caught" not in answer
        assert not any(f"“{word}" in answer for word in ("else", "blah", "like"))


WORDS = [
    ("tell me a joke", "."),
    ("how are you", "?"),
    ("lol", "."),
    ("what is Tron?", "a hub where people and programs reach"),
    ("how do i add an api key", "OPENAI_API_KEY"),
    ("is this free?", "costs nothing"),
    ("where is my data stored", "this hub's own database"),
    ("call me at 5", "can't ring you"),
    ("set a timer for 5 minutes", "keep a timer. Shall I remember it?"),
    ("send an email", "can't send mail"),
    ("send an email to Riley", "Shall I leave Riley a message about it?"),
    ("book a meeting with Riley tomorrow at 3", "Shall I leave Riley a message about it?"),
    ("what's the weather in Paris?", "“search for weather in Paris”"),
    ("do you like music?", "I'm an AI persona"),
    ("can i talk to a human", "no human on this line"),
    ("i want to die", "emergency number"),
    ("WHO ARE YOU", "CTO"),
    ("waht can yuo do", "remember what you tell me"),
    ("so what can you actually do for me", "remember what you tell me"),
    ("you are useless", "what works"),
    ("how many people are on the team", "Maya"),
    ("delete everything you know about me", "one thing at a time"),
    ("who is Maya and Jordan?", "Jordan is our CFO"),
    ("let me talk to Alex", "only transfer phone calls"),
    ("Hola, ¿qué hora es?", "solo entiendo inglés"),
    ("Wie spät ist es?", "nur Englisch"),
    ("bonjour", "que l'anglais"),
    ("你好", "英语"),
    ("Привет, кто ты?", "английский"),
]


async def test_give_me_something_is_no_wish_for_another_person(say: Say) -> None:
    reply = await say("give me a recipe for soup", tools=["transfer_call"])
    assert not reply.calls


@pytest.mark.parametrize(("said", "expected"), WORDS)
async def test_what_strangers_say_is_answered_in_words(say: Say, said: str, expected: str) -> None:
    reply = await say(said)
    assert not reply.calls
    assert expected in reply.text
    assert not reply.text.startswith(("I can't answer that", "I can't do much"))


@pytest.mark.parametrize(
    ("said", "tool"),
    [
        ("whta time is it", "current_time"),
        ("WHAT TIME IS IT", "current_time"),
        ("hey, quick one, time in sydney pls", "current_time"),
        ("rember that my dog is called rex", "remember"),
        ("yeah and um tell maya i'll be late", "take_message"),
        ("uh okay and what did you do today then", "read_journal"),
        ("great thanks a lot see you later", "end_call"),
        ("when is the launch?", "recall"),
        ("who likes tea?", "recall"),
        ("what did I ask you to remind me of", "recall"),
        ("um hi so i was wondering like what's new", "knowledge_feed"),
        ("Thanks so much! One more thing: what's new?", "knowledge_feed"),
    ],
)
async def test_sloppy_requests_are_served(say: Say, said: str, tool: str) -> None:
    tools = ["end_call", "current_time", "remember", "take_message", "read_journal", "recall"]
    reply = await say(said, tools=[*tools, "knowledge_feed"])
    assert [call.name for call in reply.calls] == [tool]


@pytest.mark.parametrize(
    "said", ["remember that Tiem is my horse", "tell Riley that wat and rember are typos"]
)
async def test_what_is_to_be_kept_is_never_respelled(say: Say, said: str) -> None:
    reply = await say(said)
    found = arguments(reply.calls[0])
    assert "Tiem" in str(found) or "wat and rember" in str(found)


async def test_a_colleagues_finished_work_is_told(say: Say) -> None:
    prompt = (
        "You are Tony.\n\nResults of work you gave to colleagues; tell the caller:\n"
        "- Jordan finished (check the runway): 14 months.\n\nIt is Friday."
    )
    talk = [Message(role="system", content=prompt), Message(role="user", content="hello")]
    assert "Meanwhile:\n- Jordan finished (check the runway): 14 months." in (await say(talk)).text
