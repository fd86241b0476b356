"""A stranger without a key talks to a real hub, and the offline brain uses its real tools."""

import asyncio
from typing import Any

from tests.harness.hub import TRON, Hubs, RunningHub
from tests.harness.waiting import eventually


async def say(hub: RunningHub, text: str, *, agent: str = "tony", user: str = "ana") -> str:
    body = {"model": agent, "user": user, "messages": [{"role": "user", "content": text}]}
    async with hub.http.post("/v1/chat/completions", json=body) as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json()
    text = found["choices"][0]["message"]["content"]
    assert text
    return text


async def test_a_first_visit_over_several_turns(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    assert "what can you do" in await say(running, "hello")
    both = await say(running, "What time is it, and who else lives here?")
    assert "It's " in both
    assert "Besides me: Maya" in both
    assert "(Asia/Tokyo)" in await say(running, "and in Tokyo?")
    told = await say(running, "My name is Ana and my dog is called Rex. What's new?")
    assert "Nice to meet you, Ana." in told
    assert "Nothing new that I know of." in told
    recalled = await say(running, "what's my name, and what is my dog called?")
    assert "Your name is Ana." in recalled
    assert "our dog is called Rex." in recalled
    assert await say(running, "thanks, bye")


async def test_colleagues_without_a_model_say_so_and_their_work_comes_back(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    asked = await say(running, "ask Maya what she thinks about the launch and remember it")
    assert "Maya has nothing to say to that" in asked
    assert "nothing in that for me to keep" in asked
    assert "taken it on" in await say(running, "have Jordan prepare a forecast")
    told: list[str] = []

    async def reported() -> bool:
        told.append(await say(running, "are you there?"))
        return "Meanwhile:" in told[-1]

    await eventually(reported)
    assert "Jordan finished (prepare a forecast): nothing, for want of a language" in told[-1]


async def test_several_lines_through_the_chat_command(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    process = await asyncio.create_subprocess_exec(
        str(TRON),
        "chat",
        "--url",
        running.base_url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=running.home,
    )
    lines = "ask Maya what she thinks about the launch\nremember that the launch is on Friday\n"
    out, errors = await process.communicate(f"{lines}what time is it in Tokyo\n".encode())
    assert process.returncode == 0, errors.decode()
    said = out.decode()
    assert "Maya has nothing to say to that" in said
    assert "I'll remember: the launch is on Friday." in said
    assert "(Asia/Tokyo)" in said


async def test_what_one_person_told_is_nobody_elses_to_hear(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")

    async def asked(who: str, text: str, agent: str = "tony") -> str:
        return await say(running, text, user=who, agent=agent)

    await asked("ana", "Ask Maya to remember that my salary is 100k")
    await asked("ana", "my birthday is 3 May", "maya")

    async def kept() -> bool:
        return "100k" in await asked("ana", "what is my salary?", "maya")

    await eventually(kept)
    assert "100k" in await asked("ana", "Ask Maya what my salary is")
    assert "3 May" in await asked("ana", "Ask Maya what my birthday is")
    for who, agent in (("ben", "tony"), ("tony", "maya"), ("maya", "maya"), ("tony", "alex")):
        through = "what my salary is" if agent == "maya" else "Ask Maya what my salary is"
        assert "100k" not in await asked(who, through, agent)
    await asked("ana", "take a message for Alex: my diagnosis is flu, ring +49 30 7654321", "maya")
    for text in ("read your journal", "what have you been doing today?"):
        assert "diagnosis" not in await asked("ben", text, "alex")


async def test_facts_of_one_kind_are_all_kept_and_forgotten_ones_are_gone(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    for thing in ("I am allergic to nuts", "I am allergic to milk", "my email is ana@example.org"):
        await say(running, f"Remember that {thing}.")
    told = await say(running, "What am I allergic to?")
    assert "nuts" in told
    assert "milk" in told
    assert "ana@example.org" in await say(running, "what is my email?")
    assert "forgotten" in await say(running, "forget my email")
    for asked in ("what is my email?", "what do you know about me?"):
        assert "ana@example.org" not in await say(running, asked)
