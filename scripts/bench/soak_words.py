"""Callers in words: by ConversationRelay and by VAPI, whose carriers hear and speak by themselves.

What a caller does follows from its number and the seed. Each returns how it left.
"""

import asyncio
import random

from integrations.twilio.fake_call import FakeCall
from integrations.vapi.fake import BrokenPromise, PhoneCall
from scripts.bench.soak_callers import NUMBERS, World

SAYS = (
    "What time is it?",
    "Hello, who am I talking to?",
    "Please remember that my dog is called Rex.",
    "No, wait.",
    "Thanks, goodbye.",
)
LANGUAGES = ("en-US", "en-US", "en-US", "de-DE", "no language")
KEYS = ("5", "12#", "*0", "x")
PAUSES_S = (0.05, 0.3, 1.0, 3.0)
TOOLS = [
    {"id": "t1", "type": "function", "function": {"name": "current_time", "arguments": {}}},
    {"id": "t2", "name": "who_is_calling", "parameters": {}},
    {"id": "t3", "name": "fly_away", "parameters": {"how": "far"}},
]
PATIENCE_S = (0.3, 0.3, 1.0, 30.0, 30.0)
"""after which somebody hangs up in the middle"""
NONSENSE = (b"{", b"[]", b'{"message":7}', b'{"message":{"type":"what?"}}', b"\xff")


def _caller(chance: random.Random) -> str:
    return f"+1415555{chance.randrange(NUMBERS):04}"


# ConversationRelay


async def relay(world: World, number: int, chance: random.Random) -> str:
    call = await world.twilio.dial(_caller(chance))
    try:
        if not call.count("connected"):
            return "refused"
        await _chat(call, chance)
        return "the hub ended it" if call.count("over") else await _leave(world, call, chance)
    finally:
        await call.hang_up()
        del world.twilio.calls[call.sid]


async def _chat(call: FakeCall, chance: random.Random) -> None:
    for _ in range(chance.randint(0, 4)):
        what = chance.random()
        if what < 0.55:
            await call.prompt(chance.choice(SAYS), chance.choice(LANGUAGES))
        elif what < 0.8:
            said = call.words[-1].split() if call.words else []
            await call.interrupt(" ".join(said[: chance.randint(0, 8)]))
        elif what < 0.9:
            await call.press(chance.choice(KEYS))
        else:
            for _ in range(chance.choice((1, 1, 1, 12))):
                await call._send("prompt", {}, {"voicePrompt": 7})
        await asyncio.sleep(chance.choice(PAUSES_S) * chance.uniform(0.8, 1.2))
        if call.count("over"):
            return


async def _leave(world: World, call: FakeCall, chance: random.Random) -> str:
    """Hang up, or be gone in one of the ways in which carriers are."""
    how = chance.random()
    if how < 0.4:
        if chance.random() < 0.5:
            await call.prompt(chance.choice(SAYS))  # nobody waits for the answer
        await call.hang_up()
        return "hung up"
    if how < 0.55:
        await call.break_line()
        return "socket died"
    if how < 0.85:
        sockets = call.count("connected")
        await call.break_line()
        # The carrier asks what is to become of the call, and is told to connect it again.
        await call.until(lambda: call.count("connected") > sockets or call.count("over") > 0)
        await _chat(call, chance)
        return "came back"
    over = {"CallSid": call.sid, "CallStatus": "completed", "SequenceNumber": "9"}
    await world.twilio.post(f"{world.url}/twilio/status", over)
    await call.until(lambda: call.count("over") > 0)
    return "the carrier ended it"


# VAPI


async def vapi(world: World, number: int, chance: random.Random) -> str:
    says = chance.choices(SAYS, k=chance.randint(1, 4))
    messages = [{"role": "user", "content": sentence} for sentence in says]
    call = PhoneCall(id=f"vapi-{world.seed}-{number}", messages=messages)
    caller = _caller(chance)
    tools = TOOLS if chance.random() < 0.4 else None
    if chance.random() < 0.1:
        await world.vapi.post(world.url, chance.choice(NONSENSE))
    try:
        async with asyncio.timeout(chance.choice(PATIENCE_S)):
            await world.vapi.ring(
                world.url, caller, says, tools=tools, report=False, call_id=call.id
            )
        return "hung up"
    except TimeoutError:
        return "hung up in the middle"
    except BrokenPromise as broken:
        return str(broken)[:60]
    finally:
        await _tell_the_end(world, call, caller, chance)


async def _tell_the_end(world: World, call: PhoneCall, caller: str, chance: random.Random) -> None:
    """The end and the report come in any order, again, and the report maybe never."""
    report = world.vapi.report(call, caller)
    told = [report | {"type": "status-update", "status": "ended"}]
    told += [report] * chance.choice((0, 1, 1, 2))
    chance.shuffle(told)
    answers = await asyncio.gather(*(world.vapi.tell(world.url, message) for message in told))
    if refused := [status for status, _ in answers if status != 200]:
        raise ConnectionError(f"an ending was answered with {refused}")
