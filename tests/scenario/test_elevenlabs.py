"""ElevenLabs' own SDK, unmodified, holds conversations with a real hub."""

import asyncio
import json
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx
import pytest
import websockets
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError

from integrations.openai.behaviours import Reply, Slow, ToolCalls
from integrations.openai.fake import FakeProvider
from tests.harness.hub import TRON, Hubs, RunningHub
from tests.harness.waiting import eventually
from tron.calls.audio import Resampler
from tron.speech.espeak import Espeak

with warnings.catch_warnings():  # the SDK names a class that websockets has deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from elevenlabs.conversational_ai.conversation import (
        AgentChatResponsePartType,
        AsyncAudioInterface,
        AsyncConversation,
        AudioInterface,
        ClientTools,
        Conversation,
        ConversationInitiationData,
        DisconnectionDetails,
        OnPremInitiationData,
    )

RATE = 16_000
STEP_S = 0.1
STEP = int(RATE * STEP_S) * 2
QUIET_S = 0.3
"""for so long nothing has come out of a loudspeaker when somebody has finished speaking"""
ENGINES = {"TRON_STT": "fake", "TRON_TTS": "fake"}
QUESTION = "What time is it?"  # what the fake recogniser always hears
LONG = " ".join(f"This is sentence number {n} of a long story." for n in range(1, 41))
TOOL = {
    "type": "client",
    "name": "show_page",
    "description": "Shows a page of the shop.",
    "parameters": {"type": "object", "properties": {"page": {"type": "string"}}},
}


@pytest.fixture
async def spoken() -> bytes:
    """A question, aloud: PCM16 at 16 kHz."""
    engine, to_16k = Espeak(), Resampler(22_050, RATE)
    sound = b"".join([to_16k.feed(pcm) async for pcm in engine.speak(QUESTION, voice="")])
    await engine.close()
    return sound + to_16k.flush()


class Person(AudioInterface):
    """A microphone and a loudspeaker; somebody who speaks when told to and is silent else."""

    def __init__(self) -> None:
        self.heard: list[bytes | None] = []
        """what the loudspeaker got; None where it was told to stop"""
        self._silent_from = 0.0
        """by the system's monotonic clock: what the loudspeaker got has been played"""
        self._to_say = b""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def say(self, sound: bytes) -> None:
        self._to_say += sound

    def next_chunk(self) -> bytes:
        chunk, self._to_say = self._to_say[:STEP], self._to_say[STEP:]
        return chunk.ljust(STEP, b"\0")

    def start(self, input_callback: Callable[[bytes], None]) -> None:
        def speak() -> None:
            while not self._stop.wait(STEP_S):
                input_callback(self.next_chunk())

        self._thread = threading.Thread(target=speak)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def output(self, audio: bytes) -> None:
        begins = max(self._silent_from, time.monotonic())
        self._silent_from = begins + len(audio) / 2 / RATE
        self.heard.append(audio)

    def interrupt(self) -> None:
        self._silent_from = time.monotonic()
        self.heard.append(None)

    def heard_out(self, before_s: float, more_s: float = 1.0) -> bool:
        """Whether more than that was heard since `before_s`, and all of it has been played."""
        quiet = time.monotonic() > self._silent_from + QUIET_S
        return quiet and self.audible_s > before_s + more_s

    @property
    def audible_s(self) -> float:
        """Seconds of sound since the last interruption."""
        last = max((at for at, sound in enumerate(self.heard) if sound is None), default=-1)
        return sum(len(sound or b"") for sound in self.heard[last + 1 :]) / 2 / RATE


class AsyncPerson(AsyncAudioInterface):
    """The same for the asynchronous client."""

    def __init__(self) -> None:
        self.person = Person()
        self._task: asyncio.Task[None] | None = None

    async def start(self, input_callback: Callable[[bytes], Awaitable[None]]) -> None:
        async def speak() -> None:
            while True:
                await asyncio.sleep(STEP_S)
                await input_callback(self.person.next_chunk())

        self._task = asyncio.create_task(speak())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def output(self, audio: bytes) -> None:
        self.person.output(audio)

    async def interrupt(self) -> None:
        self.person.interrupt()


class Diary:
    """What the SDK told its user."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.corrections: list[tuple[str, str]] = []
        self.heard: list[str] = []
        self.parts: list[tuple[str, AgentChatResponsePartType]] = []
        self.latencies: list[int] = []
        self.ends: list[DisconnectionDetails] = []

    def has(self, heard: int, answers: list[str]) -> bool:
        """Whether so much was heard, and these were the answers after the greeting."""
        return len(self.heard) == heard and self.answers[1:] == answers

    def callbacks(self) -> dict[str, Any]:
        return {
            "callback_agent_response": self.answers.append,
            "callback_agent_response_correction": lambda *two: self.corrections.append(two),
            "callback_user_transcript": self.heard.append,
            "callback_agent_chat_response_part": lambda *two: self.parts.append(two),
            "callback_latency_measurement": self.latencies.append,
            "callback_disconnect": self.ends.append,
        }

    def async_callbacks(self) -> dict[str, Any]:
        def later(callback: Callable[..., Any]) -> Callable[..., Awaitable[None]]:
            async def call(*given: Any) -> None:
                callback(*given)

            return call

        return {name: later(callback) for name, callback in self.callbacks().items()}


class Talk:
    """A synchronous conversation and what came of it."""

    def __init__(
        self, hub: RunningHub, *, agent: str = "maya", auth: str | None = None, **more: Any
    ) -> None:
        self.diary = Diary()
        self._http = httpx.Client()
        client = ElevenLabs(
            api_key=auth or "unused", base_url=hub.base_url, httpx_client=self._http
        )
        self.conversation = Conversation(
            client, agent, "ada", requires_auth=auth is not None, **self.diary.callbacks(), **more
        )

    async def start(self) -> None:
        await asyncio.to_thread(self.conversation.start_session)
        await eventually(lambda: self.id is not None, what="the metadata")

    @property
    def id(self) -> str | None:
        return self.conversation._conversation_id

    async def send(self, text: str) -> None:
        await asyncio.to_thread(self.conversation.send_user_message, text)

    async def end(self) -> str | None:
        await asyncio.to_thread(self.conversation.end_session)
        return await self.ended()

    async def ended(self) -> str | None:
        """Let go of what the SDK holds, once the conversation is over; returns its id."""
        self._http.close()
        return await asyncio.to_thread(self.conversation.wait_for_session_end)


def thinking(fake: FakeProvider) -> dict[str, Any]:
    return {**ENGINES, "OPENAI_BASE_URL": fake.base_url, "OPENAI_API_KEY": "sk-test"}


async def protected(hub: Hubs, **settings: Any) -> tuple[RunningHub, str]:
    """A hub with an owner, and a token that may chat."""
    running = hub.home(**settings)
    await tron(running, "owner", "set", given="correct horse battery\n")
    printed = await tron(running, "token", "create", "sdk", "--scope", "chat")
    await running.start()
    return running, next(word for word in printed.split() if word.startswith("tron_"))


async def tron(running: RunningHub, *arguments: str, given: str = "") -> str:
    """The command line on the hub's home; what it printed."""
    program = await asyncio.create_subprocess_exec(
        str(TRON),
        *arguments,
        cwd=running.home,
        env=running._environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await program.communicate(given.encode())
    assert program.returncode == 0
    return out.decode()


# By voice


async def test_a_spoken_conversation(hub: Hubs, fake: FakeProvider, spoken: bytes) -> None:
    fake.script(Reply("It is noon."), Reply("Still noon."))
    running, person = await hub(**thinking(fake)), Person()
    talk = Talk(running, audio_interface=person)
    await talk.start()
    await eventually(lambda: person.heard_out(0), what="the greeting's end")
    for heard, answers in ((1, ["It is noon."]), (2, ["It is noon.", "Still noon."])):
        before = person.audible_s
        person.say(spoken)
        await eventually(partial(talk.diary.has, heard, answers), what="the answer")
        await eventually(partial(person.heard_out, before), what="the end of its sound")
    assert talk.diary.heard == [QUESTION, QUESTION]
    assert None not in person.heard  # nobody was interrupted
    assert any(any(sound) for sound in person.heard if sound)
    assert await talk.end() == talk.id
    assert [end.reason for end in talk.diary.ends] == ["user"]
    history = [m["content"] for m in fake.requests[-1].body["messages"][1:]]
    assert history == ["Hello, this is Maya.", QUESTION, "It is noon.", QUESTION]


async def test_speaking_into_an_answer_interrupts_it(
    hub: Hubs, fake: FakeProvider, spoken: bytes
) -> None:
    fake.script(Reply(LONG), Reply("Of course."))
    running, person = await hub(**thinking(fake)), Person()
    silent = {"agent": {"first_message": ""}}
    talk = Talk(
        running,
        audio_interface=person,
        config=ConversationInitiationData(conversation_config_override=silent),
    )
    await talk.start()
    person.say(spoken)
    await eventually(lambda: person.audible_s > 3, what="some of the story")
    person.say(spoken)
    await eventually(lambda: None in person.heard, what="the interruption")
    await eventually(lambda: bool(talk.diary.corrections), what="the correction")
    (original, heard), *more = talk.diary.corrections
    assert not more
    assert original == LONG
    assert LONG.startswith(heard)
    assert 0 < len(heard) < len(LONG) / 2
    await eventually(lambda: talk.diary.answers == [LONG, "Of course."], what="the next answer")
    await eventually(lambda: person.audible_s >= 1.1, what="its sound, which must not be dropped")
    told = [m["content"] for m in fake.requests[-1].body["messages"][1:]]
    assert [text.strip() for text in told] == [
        QUESTION,
        heard,
        QUESTION,
    ]  # the persona knows what was not heard
    await talk.end()


async def test_the_asynchronous_client_with_a_signed_address(
    hub: Hubs, fake: FakeProvider, spoken: bytes
) -> None:
    fake.script(Reply("It is noon."))
    running, token = await protected(hub, **thinking(fake))
    diary, ears = Diary(), AsyncPerson()
    with httpx.Client() as http:
        conversation = AsyncConversation(
            ElevenLabs(api_key=token, base_url=running.base_url, httpx_client=http),
            "tony",
            requires_auth=True,
            audio_interface=ears,
            **diary.async_callbacks(),
        )
        await conversation.start_session()  # type: ignore[no-untyped-call]
        await eventually(lambda: diary.answers == ["Hello, this is Tony."], what="the greeting")
        await eventually(lambda: ears.person.heard_out(0), what="the end of its sound")
        ears.person.say(spoken)
        await eventually(lambda: diary.answers[1:] == ["It is noon."], what="the answer")
        await conversation.end_session()  # type: ignore[no-untyped-call]
        assert await conversation.wait_for_session_end()
    assert [end.reason for end in diary.ends] == ["user"]


async def test_with_no_key_and_no_network_the_question_is_understood(
    hub: Hubs, spoken: bytes
) -> None:
    """The local engines: what the hub hears here was said."""
    running, person = await hub(TRON_BRAIN="offline"), Person()
    talk = Talk(running, audio_interface=person)
    await talk.start()
    await eventually(lambda: person.heard_out(0), what="the greeting's end")
    person.say(spoken)
    await eventually(lambda: len(talk.diary.answers) == 2, what="the answer")
    assert "time" in talk.diary.heard[0].lower()
    await talk.end()


async def test_a_goodbye_of_the_persona_is_a_clean_end(hub: Hubs, fake: FakeProvider) -> None:
    fake.script(ToolCalls([("end_call", {"reason": "done"})]), Reply("Goodbye."))
    running, person = await hub(**thinking(fake)), Person()
    talk = Talk(running, audio_interface=person)
    await talk.start()
    await talk.send("That was all, thank you.")
    await eventually(lambda: len(talk.diary.ends) == 1, what="the end")
    (end,) = talk.diary.ends
    assert (end.reason, end.close_code) == ("agent", 1000)
    assert talk.diary.answers[-1] == "Goodbye."
    await talk.ended()
    async with running.http.get("/api/calls") as answer:
        (call,) = await answer.json()
    assert (call["wire"], call["cause"], call["external_id"]) == (
        "elevenlabs",
        "persona-ended-call",
        talk.id,
    )


async def test_two_conversations_do_not_hear_each_other(
    hub: Hubs, fake: FakeProvider, spoken: bytes
) -> None:
    fake.always = Reply("It is noon.")
    running = await hub(**thinking(fake))
    loud, quiet = Person(), Person()
    talks = [Talk(running, audio_interface=person) for person in (loud, quiet)]
    for talk in talks:
        await talk.start()
    await eventually(lambda: loud.heard_out(0) and quiet.heard_out(0), what="the greetings' ends")
    loud.say(spoken)
    await eventually(partial(talks[0].diary.has, 1, ["It is noon."]), what="the answer")
    quiet.say(spoken)  # what it says and is told now comes behind what it must not have heard
    await eventually(lambda: len(talks[1].diary.answers) > 1, what="an answer to the other")
    for talk in talks:
        assert talk.diary.has(1, ["It is noon."])
    for talk in talks:
        await talk.end()


# In writing


async def test_a_written_conversation_with_a_tool_in_the_client(
    hub: Hubs, fake: FakeProvider
) -> None:
    fake.script(ToolCalls([("show_page", {"page": "hats"})]), Reply("There you are, Ada."))
    running, shown = await hub(**thinking(fake)), []
    tools = ClientTools()

    def show(parameters: dict[str, Any]) -> dict[str, Any]:
        shown.append(parameters["page"])
        return {"opened": parameters["page"]}

    tools.register("show_page", show)
    talk = Talk(
        running,
        client_tools=tools,
        config=ConversationInitiationData(
            extra_body={"temperature": 0},
            dynamic_variables={"name": "Ada"},
            conversation_config_override={
                "agent": {"first_message": "Hi {{name}}.", "prompt": {"tools": [TOOL]}}
            },
        ),
    )
    await talk.start()
    await asyncio.to_thread(talk.conversation.send_contextual_update, "The shop closes at six.")
    await asyncio.to_thread(talk.conversation.register_user_activity)
    await talk.send("Show me hats")
    await eventually(lambda: talk.diary.answers == ["Hi Ada.", "There you are, Ada."])
    assert shown == ["hats"]
    said = fake.requests[-1].body["messages"]
    assert json.loads(said[-1]["content"]) == {"opened": "hats"}
    assert "The shop closes at six." in said[0]["content"]
    kinds = [kind for _, kind in talk.diary.parts]
    assert kinds[0] is AgentChatResponsePartType.START
    assert kinds[-1] is AgentChatResponsePartType.STOP
    assert "".join(text for text, _ in talk.diary.parts) == "There you are, Ada."
    await talk.end()


async def test_a_tool_that_raises_in_the_client(hub: Hubs, fake: FakeProvider) -> None:
    fake.script(ToolCalls([("show_page", {"page": "hats"})]), Reply("It would not open."))
    override = {"agent": {"first_message": "", "prompt": {"tools": [TOOL]}}}
    talk = Talk(
        await hub(**thinking(fake)),  # the client has no such tool
        config=ConversationInitiationData(conversation_config_override=override),
    )
    await talk.start()
    await talk.send("Show me hats")
    await eventually(lambda: talk.diary.answers == ["It would not open."])
    assert "not registered" in fake.requests[-1].body["messages"][-1]["content"]
    await talk.end()


async def test_the_self_hosted_mode(hub: Hubs, fake: FakeProvider) -> None:
    fake.script(Reply("Aye."))
    running = await hub(**thinking(fake))
    setup = OnPremInitiationData(
        on_prem_conversation_url=f"ws://127.0.0.1:{running.port}/v1/convai/conversation",
        agent_config_dict={
            "agent": {"first_message": "Ahoy.", "prompt": {"prompt": "Speak like a pirate."}}
        },
        tools_config_list=[TOOL],
    )
    talk = Talk(running, on_prem_config=setup)
    await talk.start()
    await talk.send("Hello")
    await eventually(lambda: talk.diary.answers == ["Ahoy.", "Aye."])
    asked = fake.requests[-1].body
    assert "Speak like a pirate." in asked["messages"][0]["content"]
    assert "show_page" in [tool["function"]["name"] for tool in asked["tools"]]
    await talk.end()


async def test_latency_is_measured_by_pings(hub: Hubs) -> None:
    talk, began = Talk(await hub(TRON_BRAIN="offline", **ENGINES)), time.monotonic()
    # The first ping comes behind the greeting. The SDK does not tell of a latency of 0 ms.
    talk.conversation.callback_agent_response = lambda _: time.sleep(0.05)
    await talk.start()
    await eventually(lambda: bool(talk.diary.latencies), what="a ping that knows a latency")
    assert 0 < talk.diary.latencies[0] <= (time.monotonic() - began) * 1000
    assert not talk.diary.ends
    await talk.end()


# In protected mode


async def test_protected_a_hub_token_is_the_key(hub: Hubs) -> None:
    running, token = await protected(hub, TRON_BRAIN="offline", **ENGINES)
    talk = Talk(running, auth=token)
    await talk.start()
    await talk.send("Hello")
    await eventually(lambda: len(talk.diary.answers) == 2)
    await talk.end()
    wrong = Talk(running, auth="tron_" + "x" * 43)
    with pytest.raises(ApiError) as refused:
        await wrong.start()
    assert refused.value.status_code == 401
    with pytest.raises(RuntimeError, match="not started"):
        await wrong.end()
    without = Talk(running)
    await asyncio.to_thread(without.conversation.start_session)
    await eventually(lambda: len(without.diary.ends) == 1)
    assert without.diary.ends[0].reason == "error"
    assert "401" in str(without.diary.ends[0].message)
    await without.ended()


# The JavaScript client's rules, and the hub's end


async def test_the_javascript_clients_rules(hub: Hubs) -> None:
    """It asks for the subprotocol `convai`, and its first frame must be the metadata."""
    running = await hub(TRON_BRAIN="offline", **ENGINES)
    for path in ("/v1/convai/conversation?agent_id=maya&source=js_sdk", "/ws/elevenlabs"):
        async with websockets.connect(
            f"ws://127.0.0.1:{running.port}{path}",
            subprotocols=["convai", "bearer.x"],  # type: ignore[list-item]
            origin=f"http://127.0.0.1:{running.port}",  # type: ignore[arg-type]
        ) as socket:
            assert socket.subprotocol == "convai"
            start = {
                "type": "conversation_initiation_client_data",
                "conversation_config_override": {"conversation": {"text_only": True}},
            }
            await socket.send(json.dumps(start))
            first = json.loads(await socket.recv())
            assert first["type"] == "conversation_initiation_metadata"
            facts = first["conversation_initiation_metadata_event"]
            assert facts["agent_output_audio_format"] == "pcm_16000"


async def test_a_hub_that_stops_ends_its_conversations(hub: Hubs, fake: FakeProvider) -> None:
    fake.always = Slow(first_ms=60_000)
    running = await hub(TRON_DRAIN_S="1", **thinking(fake))
    talk = Talk(running, audio_interface=Person())
    await talk.start()
    await talk.send("Hello")
    running.allow("StreamReaderProtocol")  # how Hypercorn on 3.11 says that it hung up
    assert await running.terminate() == 0
    await eventually(lambda: len(talk.diary.ends) == 1)
    await talk.ended()


async def test_many_who_vanish_leave_nothing_behind(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline", **ENGINES)

    async def vanish(after_s: float) -> None:
        socket = await websockets.connect(
            f"ws://127.0.0.1:{running.port}/v1/convai/conversation?agent_id=maya"
        )
        await socket.send('{"type":"conversation_initiation_client_data"}')
        await socket.recv()
        await socket.send('{"type":"user_message","text":"Hello"}')
        await asyncio.sleep(after_s)
        socket.transport.abort()

    await asyncio.gather(*(vanish(n / 50) for n in range(12)))

    async def all_ended() -> bool:
        async with running.http.get("/api/calls") as answer:
            calls = await answer.json()
        return len(calls) == 12 and all(call["ended_at"] for call in calls)

    await eventually(all_ended, what="every call's ending")
    async with running.http.get("/api/calls") as answer:
        causes = {call["cause"] for call in await answer.json()}
    assert causes == {"client-hung-up"}
