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
