"""A conversation on the agent socket, as its clients hold it: in writing, by voice, and rudely."""

import asyncio
import base64
from typing import Any

import pytest

from integrations.elevenlabs import agent_socket
from integrations.openai.behaviours import Reply, Slow, Status, ToolCalls
from integrations.openai.fake import FakeProvider
from tests.harness.waiting import eventually
from tests.unit.elevenlabs.conftest import Client, Wire, Wired
from tron.calls import outbox
from tron.calls.call import Call
from tron.calls.signals import Interrupt, Tell
from tron.storage.tables import HOUSE

TEXT = {"conversation_config_override": {"text_only": True}}
TOOL = {
    "type": "client",
    "name": "show_page",
    "description": "Shows a page of the shop.",
    "parameters": {
        "type": "object",
        "properties": {"page": {"type": "string"}},
        "required": ["page"],
    },
}
SILENCE = base64.b64encode(bytes(8_000)).decode()


def thinking(fake: FakeProvider) -> dict[str, Any]:
    """Settings of a hub that thinks with the fake provider."""
    return {"brain": "openai", "openai_base_url": fake.base_url, "openai_api_key": "sk-test"}


def text_with(**agent: Any) -> dict[str, Any]:
    return {"conversation_config_override": {"text_only": True, "agent": agent}}


async def begun(client: Client, **fields: Any) -> str:
    """Begin; returns the conversation's id."""
    await client.start(**fields)
    first = await client.receive()
    assert first["type"] == "conversation_initiation_metadata"
    return str(first["conversation_initiation_metadata_event"]["conversation_id"])


async def said_to_model(fake: FakeProvider) -> list[dict[str, Any]]:
    return list(fake.requests[-1].body["messages"])


# In writing


async def test_a_written_conversation(wire: Wire) -> None:
    async with wire() as wired, wired.socket() as client:
        await begun(client, user_id="ada", **TEXT)
        assert await client.answer() == "Hello, this is Maya."
        await client.send({"type": "user_message", "text": "What time is it?"})
        answer = await client.answer()
        kinds = [
            (f["text_response_part"]["type"], f["text_response_part"]["text"])
            for f in client.frames
            if f["type"] == "agent_chat_response_part"
        ]
        assert kinds[0][0] == "start"
        assert kinds[-1][0] == "stop"
        assert "".join(text for _, text in kinds) == answer
        sessions = await wired.hub.sessions.listing(HOUSE)
        assert [(s.caller, s.channel, s.agent) for s in sessions] == [("ada", "elevenlabs", "maya")]


async def test_each_conversation_is_a_session_of_its_own(wire: Wire) -> None:
    async with wire() as wired:
        for _ in range(2):
            async with wired.socket() as client:
                await begun(client, user_id="ada", **TEXT)
                await client.answer()
                await client.send({"type": "user_message", "text": "Hello"})
                await client.answer()
        assert len(await wired.hub.sessions.listing(HOUSE)) == 2


async def test_what_the_client_sets_reaches_the_model(wire: Wire, fake: FakeProvider) -> None:
    fake.script(Reply("Aye."))
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        await begun(
            client,
            dynamic_variables={"name": "Ada", "plan": "gold"},
            **text_with(
                first_message="Ahoy {{name}}.",
                prompt={"prompt": "Speak like a pirate to {{name}}."},
            ),
        )
        assert await client.answer() == "Ahoy Ada."
        await client.send({"type": "contextual_update", "text": "The cart holds two hats."})
        await client.send({"type": "user_message", "text": "What is in my cart?"})
        assert await client.answer() == "Aye."
        system, greeting, question = (m["content"] for m in await said_to_model(fake))
        assert "Speak like a pirate to Ada." in system
        assert "plan: gold" in system
        assert "The cart holds two hats." in system
        assert greeting == "Ahoy Ada."
        assert question == "What is in my cart?"


async def test_a_context_asks_for_no_answer(wire: Wire) -> None:
    async with wire() as wired, wired.socket() as client:
        await begun(client, **text_with(first_message=""))
        await client.send({"type": "contextual_update", "text": "The caller opened a page."})
        await client.send({"type": "user_activity"})
        await client.send({"type": "user_message", "text": "Hello"})
        await client.answer()
        starts = [
            f for f in client.frames if f.get("text_response_part", {}).get("type") == "start"
        ]
        assert len(starts) == 1


async def test_a_tool_runs_in_the_client(wire: Wire, fake: FakeProvider) -> None:
    fake.script(ToolCalls([("show_page", {"page": "hats"})]), Reply("There you are."))
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        await begun(client, **text_with(first_message="", prompt={"tools": [TOOL]}))
        await client.send({"type": "user_message", "text": "Show me hats"})
        call = (await client.until("client_tool_call"))["client_tool_call"]
        assert (call["tool_name"], call["parameters"]) == ("show_page", {"page": "hats"})
        for id in ("made-up", call["tool_call_id"], call["tool_call_id"]):
            await client.send(
                {
                    "type": "client_tool_result",
                    "tool_call_id": id,
                    "result": {"shown": id == call["tool_call_id"]},
                    "is_error": False,
                }
            )
        assert await client.answer() == "There you are."
        assert (await said_to_model(fake))[-1]["content"] == '{"shown":true}'
        offered = {tool["function"]["name"]: tool for tool in fake.requests[0].body["tools"]}
        assert offered["show_page"]["function"]["parameters"] == TOOL["parameters"]


async def test_a_tool_that_fails_in_the_client_is_told_so(wire: Wire, fake: FakeProvider) -> None:
    fake.script(ToolCalls([("show_page", {})]), Reply("It would not open."))
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        await begun(client, **text_with(first_message="", prompt={"tools": [TOOL]}))
        await client.send({"type": "user_message", "text": "Show me hats"})
        call = (await client.until("client_tool_call"))["client_tool_call"]
        await client.send(
            {
                "type": "client_tool_result",
                "tool_call_id": call["tool_call_id"],
                "result": "no such page",
                "is_error": True,
            }
        )
        assert await client.answer() == "It would not open."
        assert "no such page" in (await said_to_model(fake))[-1]["content"]


async def test_a_client_cannot_take_the_place_of_the_hubs_tools(
    wire: Wire, fake: FakeProvider
) -> None:
    fake.script(Reply("Fine."))
    tools = [TOOL | {"name": name} for name in ("remember", "end_call", "show_page")]
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        await begun(client, **text_with(first_message="", prompt={"tools": tools}))
        await client.send({"type": "user_message", "text": "Hello"})
        await client.answer()
        names = [tool["function"]["name"] for tool in fake.requests[0].body["tools"]]
        assert len(names) == len(set(names))
        assert "show_page" in names
        theirs = [t for t in fake.requests[0].body["tools"] if t["function"]["name"] == "remember"]
        assert theirs[0]["function"]["description"] != TOOL["description"]


async def test_a_failed_answer_is_an_error_and_not_a_clean_end(
    wire: Wire, fake: FakeProvider
) -> None:
    fake.always = Status(400)
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        await begun(client, **text_with(first_message=""))
        await client.send({"type": "user_message", "text": "Hello"})
        error = (await client.until("error"))["error_event"]
        code = await client.closed()
        assert code == error["code"] != 1000
        assert error["message"]


async def test_messages_are_answered_one_after_the_other(wire: Wire, fake: FakeProvider) -> None:
    fake.script(Slow(first_ms=100, text="First."), Reply("Second."))
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        await begun(client, **text_with(first_message=""))
        await client.send({"type": "user_message", "text": "One"})
        await client.send({"type": "user_message", "text": "Two"})
        assert [await client.answer(), await client.answer()] == ["First.", "Second."]


async def test_more_messages_than_may_wait_are_refused(wire: Wire, fake: FakeProvider) -> None:
    fake.always = Slow(first_ms=60_000)
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        await begun(client, **text_with(first_message=""))
        for number in range(30):
            await client.send({"type": "user_message", "text": f"Message {number}"})
        assert (await client.until("error"))["error_event"]["error_type"] == "too_many"
        assert await client.closed() == 1008


# By voice (the sound itself is in tests/scenario)


async def voice(wired: Wired, client: Client, **fields: Any) -> Any:
    """Begin by voice; returns the call."""
    id = await begun(client, **fields)
    (call,) = [c for c in wired.hub.switchboard.live if c.record.external_id == id]
    return call


async def test_a_voice_conversation_greets_and_answers_aloud(
    wire: Wire, fake: FakeProvider
) -> None:
    fake.script(Reply("It is noon."))
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        call = await voice(wired, client, user_id="ada")
        assert await client.answer() == "Hello, this is Maya."
        greeted = await client.until("audio")
        sound = base64.b64decode(greeted["audio_event"]["audio_base_64"])
        assert len(sound) % 640 == 0  # whole frames of 20 ms, 16 kHz
        assert any(sound)
        await client.send({"type": "user_message", "text": "What time is it?"})
        assert await client.answer() == "It is noon."
        answered = await client.until("audio")
        assert answered["audio_event"]["event_id"] > greeted["audio_event"]["event_id"]
        assert (call.record.caller, call.record.wire, call.record.agent) == (
            "ada",
            "elevenlabs",
            "maya",
        )


async def test_an_interruption_stops_the_sound_and_corrects_the_text(
    wire: Wire, fake: FakeProvider
) -> None:
    long = " ".join(f"This is sentence number {n}." for n in range(1, 20))
    fake.script(Reply(long), Reply("Yes?"))
    silent = {"conversation_config_override": {"agent": {"first_message": ""}}}
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        call = await voice(wired, client, **silent)
        await client.send({"type": "user_message", "text": "Tell me a lot"})
        answer = (await client.until("agent_response"))["agent_response_event"]
        assert answer["agent_response"] == long
        for _ in range(8):
            last = (await client.until("audio"))["audio_event"]["event_id"]
        call.signal(Interrupt())
        interruption = await client.until("interruption")
        assert interruption["interruption_event"]["event_id"] == last
        correction = (await client.until("agent_response_correction"))[
            "agent_response_correction_event"
        ]
        assert correction["event_id"] == answer["event_id"] == last
        assert correction["original_agent_response"] == long
        heard = correction["corrected_agent_response"]
        assert long.startswith(heard)
        assert len(heard) < len(long)
        await client.send({"type": "user_message", "text": "Stop"})
        await client.answer()
        assert (await client.until("audio"))["audio_event"]["event_id"] > last
        kept = await wired.hub.sessions.named(HOUSE, call.session_key)
        assert next(m.content for m in kept.messages if m.role == "assistant").strip() == heard


async def test_of_a_first_message_that_is_spoken_into_only_what_was_heard_is_kept(
    wire: Wire, fake: FakeProvider
) -> None:
    long = " ".join(f"This is sentence number {n}." for n in range(1, 20))
    fake.script(Reply("Yes?"))
    greeting = {"conversation_config_override": {"agent": {"first_message": long}}}
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        call = await voice(wired, client, **greeting)
        answer = (await client.until("agent_response"))["agent_response_event"]
        assert answer["agent_response"] == long
        for _ in range(12):
            last = (await client.until("audio"))["audio_event"]["event_id"]
        call.signal(Interrupt())
        correction = (await client.until("agent_response_correction"))[
            "agent_response_correction_event"
        ]
        assert correction["event_id"] == answer["event_id"] == last
        assert correction["original_agent_response"] == long
        heard = correction["corrected_agent_response"]
        assert heard
        assert long.startswith(heard)
        assert len(heard) < len(long)
        await client.send({"type": "user_message", "text": "Stop"})
        await client.answer()
        kept = await wired.hub.sessions.named(HOUSE, call.session_key)
        assert next(m.content.strip() for m in kept.messages if m.role == "assistant") == heard
        told = [m["content"].strip() for m in await said_to_model(fake)]
        assert heard in told
        assert long not in told


async def test_an_answer_cut_off_before_it_was_complete_is_told_under_one_id(wire: Wire) -> None:
    async with wire() as wired, wired.socket() as client:
        call = await voice(wired, client)
        await client.answer()
        carrier = call._wire
        carrier.tell(Tell("turn", 1, "Tell me a lot"))
        carrier.tell(Tell("text", 1, "One two three. Four five six."))
        carrier.play(b"\0" * 640)
        carrier.clear()
        carrier.tell(Tell("heard", 1, "One two"))
        cut = (await client.until("interruption"))["interruption_event"]["event_id"]
        answer = (await client.until("agent_response"))["agent_response_event"]
        correction = (await client.until("agent_response_correction"))[
            "agent_response_correction_event"
        ]
        assert answer["event_id"] == correction["event_id"] == cut


async def test_sound_that_goes_on_after_a_cough_is_not_dropped(wire: Wire) -> None:
    """Clients drop what has an id up to the interrupted one's."""
    async with wire() as wired, wired.socket() as client:
        await voice(wired, client)
        (call,) = wired.hub.switchboard.live
        assert isinstance(call, Call)
        carrier = call._wire
        carrier.play(b"\0" * 640)
        carrier.clear()
        carrier.play(b"\1" * 640)  # the same turn
        cut = (await client.until("interruption"))["interruption_event"]["event_id"]
        marked = base64.b64encode(b"\1" * 640).decode()
        while (sound := (await client.until("audio"))["audio_event"])["audio_base_64"] != marked:
            pass
        assert sound["event_id"] > cut


async def test_tools_and_contexts_work_by_voice_too(wire: Wire, fake: FakeProvider) -> None:
    fake.script(ToolCalls([("show_page", {"page": "hats"})]), Reply("There you are."))
    agent = {"first_message": "", "prompt": {"prompt": "Be brief.", "tools": [TOOL]}}
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        await voice(wired, client, conversation_config_override={"agent": agent})
        await client.send({"type": "contextual_update", "text": "The cart holds two hats."})
        await client.send({"type": "user_message", "text": "Show me hats"})
        call = (await client.until("client_tool_call"))["client_tool_call"]
        await client.send(
            {"type": "client_tool_result", "tool_call_id": call["tool_call_id"], "result": "shown"}
        )
        assert await client.answer() == "There you are."
        said = await said_to_model(fake)
        assert said[-1]["content"] == "shown"
        assert "Be brief." in said[0]["content"]
        assert "The cart holds two hats." in said[0]["content"]
        offered = [tool["function"]["name"] for tool in fake.requests[0].body["tools"]]
        assert {"end_call", "show_page"} <= set(offered)


async def test_feedback_is_a_line_of_the_calls_ledger(wire: Wire, fake: FakeProvider) -> None:
    fake.script(Reply("It is noon."))
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        call = await voice(wired, client)
        await client.send({"type": "user_message", "text": "What time is it?"})
        await client.answer()
        await client.answer()
        event = (await client.until("audio"))["audio_event"]["event_id"]
        for id in (event, 10**6):
            await client.send({"type": "feedback", "event_id": id, "score": "like"})
        await client.send({"type": "user_message", "text": "Thanks"})
        await client.answer()
        _, lines = await wired.hub.switchboard.ledger.read(HOUSE, call.record.id)
        assert [(line.turn, line.text) for line in lines if line.kind == "feedback"] == [
            (1, "like")
        ]


async def test_when_the_client_leaves_its_call_has_ended(wire: Wire) -> None:
    async with wire() as wired:
        async with wired.socket() as client:
            call = await voice(wired, client)
        await eventually(lambda: not wired.hub.switchboard.live)
        record, lines = await wired.hub.switchboard.ledger.read(HOUSE, call.record.id)
        assert record.cause == "client-hung-up"
        assert record.ended_at is not None
        assert [line.kind for line in lines].count("ended") == 1


async def test_when_the_hub_ends_the_call_the_client_is_told_why(wire: Wire) -> None:
    async with wire() as wired, wired.socket() as client:
        call = await voice(wired, client)
        call.hang_up("hub-stopping")
        error = (await client.until("error"))["error_event"]
        assert (error["code"], error["error_type"]) == (1011, "hub-stopping")
        assert await client.closed() == 1011


async def test_a_hub_that_stops_tells_its_clients(wire: Wire) -> None:
    async with wire() as wired, wired.socket() as written, wired.socket() as spoken:
        await begun(written, **TEXT)
        call = await voice(wired, spoken)
        closing = asyncio.ensure_future(wired.eleven.close())
        for client in (written, spoken):
            error = (await client.until("error"))["error_event"]
            assert error["error_type"] == "hub-stopping"
            assert await client.closed() == 1011
        await closing
        assert call.cause == "hub-stopping"
        assert await wired.refused("/v1/convai/conversation") == 503


async def test_a_goodbye_of_the_persona_closes_cleanly(wire: Wire, fake: FakeProvider) -> None:
    fake.script(ToolCalls([("end_call", {"reason": "done"})]), Reply("Bye."))
    async with wire(**thinking(fake)) as wired, wired.socket() as client:
        await voice(wired, client)
        await client.send({"type": "user_message", "text": "That was all"})
        assert await client.closed() == 1000
        assert any(f["type"] == "agent_response" for f in client.frames)


async def test_when_all_lines_are_busy_the_next_is_told(wire: Wire) -> None:
    async with wire(max_calls=1) as wired, wired.socket() as first:
        await voice(wired, first)
        async with wired.socket() as second:
            await second.start()
            assert (await second.until("error"))["error_event"]["error_type"] == "lines_busy"
            assert await second.closed() == 1011
        assert len(wired.hub.switchboard.live) == 1


async def test_a_voice_nobody_has_is_refused(wire: Wire) -> None:
    async with wire() as wired, wired.socket() as client:
        await client.start(conversation_config_override={"tts": {"voice_id": "nobody"}})
        assert (await client.until("error"))["error_event"]["error_type"] == "unknown_voice"
        assert await client.closed() == 1008


# Signs of life


async def test_pings_are_measured(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_socket, "PING_S", 0.01)
    async with wire() as wired, wired.socket() as client:
        await begun(client, **TEXT)
        first = (await client.until("ping"))["ping_event"]
        assert first["ping_ms"] is None
        await asyncio.sleep(0.02)
        await client.send({"type": "pong", "event_id": first["event_id"]})
        second = (await client.until("ping"))["ping_event"]
        assert second["event_id"] > first["event_id"]
        assert second["ping_ms"] >= 20


async def test_a_client_that_answers_nothing_is_let_go(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_socket, "PING_S", 0.01)
    monkeypatch.setattr(agent_socket, "SILENCE_S", 0.05)
    async with wire() as wired, wired.socket() as client:
        await begun(client)
        assert await client.closed() == 1008
        await eventually(lambda: not wired.hub.switchboard.live)


async def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "SEND_S", 0.01)

    async def stuck(_: str) -> None:
        await asyncio.Event().wait()

    box = outbox.Outbox(stuck)
    box.put("frame")
    with pytest.raises(outbox.Stalled):
        await box.run()


async def test_what_waits_to_be_sent_is_bounded() -> None:
    async def send(_: str) -> None:
        raise AssertionError("a box that ran full sends nothing more")

    box = outbox.Outbox(send)
    for number in range(outbox.MOST + 1):
        box.put(str(number))
    with pytest.raises(outbox.Stalled):
        await box.run()


# The original browser dialect


async def test_the_original_dialect_is_known_by_its_first_message(wire: Wire) -> None:
    async with wire() as wired, wired.socket("/ws/elevenlabs") as client:
        await client.send({"type": "text", "text": "What time is it?"})
        started = await client.receive()
        assert started["type"] == "session_started"
        assert started["session_id"].startswith("conv_")
        heard: list[tuple[str, bool]] = []
        while len(heard) < 2:
            frame = await client.receive()
            if frame["type"] == "transcript":
                heard.append((frame["role"], frame["is_final"]))
        assert heard == [("agent", True), ("agent", True)]  # the greeting, the answer
        assert isinstance((await client.until("audio"))["audio"], str)
        await client.send({"type": "end"})
        assert await client.closed() == 1000
        assert {f["type"] for f in client.frames} <= {"session_started", "transcript", "audio"}


async def test_the_original_client_may_wait_for_the_session(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_socket, "ORIGINAL_FIRST_S", 0.01)
    async with wire() as wired, wired.socket("/ws/elevenlabs") as client:
        assert (await client.receive())["type"] == "session_started"


async def test_the_agents_protocol_is_spoken_at_both_addresses(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_socket, "FIRST_S", 0.01)
    async with wire() as wired:
        async with wired.socket("/ws/elevenlabs") as client:
            await begun(client, **TEXT)
        async with wired.socket("/v1/convai/conversation") as client:  # says nothing
            assert (await client.receive())["type"] == "conversation_initiation_metadata"
        async with wired.socket("/ws/elevenlabs") as client:  # begins without the first frame
            await client.send({"user_audio_chunk": SILENCE})
            assert (await client.receive())["type"] == "conversation_initiation_metadata"


# Rudeness


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\0\1\2", 1002),
        ("{", 1002),
        ("[1]", 1002),
        ("[" * 100_000, 1002),
        ({"user_audio_chunk": "%%%"}, 1002),
        ({"user_audio_chunk": base64.b64encode(b"odd").decode()}, 1002),
        ({"user_audio_chunk": "A" * 1_100_000}, 1008),
        ({"type": "user_message", "text": "x" * 20_000}, 1008),
        ({"type": "user_message", "text": ["no"]}, 1002),
    ],
    ids=["binary", "half", "list", "bomb", "not base64", "odd", "large", "long", "no text"],
)
async def test_a_bad_frame_ends_its_own_socket_only(
    wire: Wire, frame: dict[str, Any] | str | bytes, code: int
) -> None:
    async with wire() as wired, wired.socket() as other:
        await begun(other, **TEXT)
        await other.answer()
        async with wired.socket() as client:
            await begun(client)
            await client.send(frame)
            assert await client.closed() == code
            assert client.frames[-1]["error_event"]["code"] == code
        await eventually(lambda: not wired.hub.switchboard.live)
        await other.send({"type": "user_message", "text": "Hello"})
        assert await other.answer()


async def test_a_bad_first_frame_is_refused_too(wire: Wire) -> None:
    async with wire() as wired, wired.socket() as client:
        await client.send("{")
        assert (await client.until("error"))["error_event"]["code"] == 1002
        assert await client.closed() == 1002


async def test_sound_faster_than_it_is_spoken_is_refused(wire: Wire) -> None:
    minute = base64.b64encode(bytes(640_000)).decode()  # 20 s
    async with wire() as wired, wired.socket() as client:
        await begun(client)
        for _ in range(4):
            await client.send({"user_audio_chunk": minute})
        assert (await client.until("error"))["error_event"]["error_type"] == "too_fast"
        assert await client.closed() == 1008


@pytest.mark.parametrize(
    ("frame", "count", "error_type"),
    [
        ({"type": "user_message", "text": "Hello"}, 50, "too_many"),
        ({"type": "user_activity"}, 5_000, "too_fast"),
    ],
    ids=["messages", "frames"],
)
async def test_a_flood_is_refused(
    wire: Wire, frame: dict[str, Any], count: int, error_type: str
) -> None:
    async with wire() as wired, wired.socket() as client:
        await begun(client)
        for _ in range(count):
            await client.send(frame)
        assert (await client.until("error"))["error_event"]["error_type"] == error_type
        assert await client.closed() == 1008


async def test_a_second_start_changes_nothing(wire: Wire) -> None:
    async with wire() as wired, wired.socket() as client:
        await begun(client, **TEXT)
        await client.answer()
        await client.start()
        await client.send({"type": "user_message", "text": "Hello"})
        assert await client.answer()
        types = [frame["type"] for frame in client.frames]
        assert types.count("conversation_initiation_metadata") == 1


async def test_there_is_an_end_to_the_sockets(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.elevenlabs.SOCKETS", 1)
    async with wire() as wired, wired.socket() as client:
        await begun(client, **TEXT)
        assert await wired.refused("/v1/convai/conversation") == 503
