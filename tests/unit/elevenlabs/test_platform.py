"""The hub beside ElevenLabs' platform: agents kept there think with the hub."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

from integrations.elevenlabs.fake import FakeElevenLabs, SpeechEngineCall
from integrations.openai.behaviours import Reply, Status
from integrations.openai.fake import FakeProvider
from tests.harness.hub import free_port
from tests.harness.waiting import eventually
from tests.unit.elevenlabs.conftest import Wire, Wired
from tests.unit.elevenlabs.test_agent_socket import thinking
from tron.storage.tables import HOUSE


@pytest.fixture
async def eleven() -> AsyncIterator[FakeElevenLabs]:
    async with FakeElevenLabs() as platform:
        yield platform


class Served:
    """The hub's application behind a real port."""

    def __init__(self, wired: Wired) -> None:
        self.port = free_port()
        self._wired = wired
        self._stop = asyncio.Event()

    async def __aenter__(self) -> str:
        config = Config()
        config.bind = [f"127.0.0.1:{self.port}"]
        config.accesslog = None
        config.errorlog = None
        self._task = asyncio.ensure_future(
            serve(self._wired.app, config, shutdown_trigger=self._stop.wait)
        )
        await eventually(self._answers)
        return f"http://127.0.0.1:{self.port}"

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            return False
        writer.close()
        return True

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._task


def keyed(eleven: FakeElevenLabs) -> dict[str, str]:
    return {"elevenlabs_api_url": eleven.base_url, "elevenlabs_api_key": eleven.api_key}


# Pointing an agent at the hub


async def point(wired: Wired, agent_id: str = "agent_1", **body: Any) -> Any:
    return await wired("POST", f"/api/elevenlabs/agents/{agent_id}/brain", body)


async def test_an_agent_kept_there_thinks_with_the_hub(
    wire: Wire, eleven: FakeElevenLabs, fake: FakeProvider
) -> None:
    """From pointing it, through a call that comes in, to what the model is asked."""
    fake.script(Reply("It is noon, Ada."), Reply("Still noon."))
    port = free_port()
    settings = keyed(eleven) | thinking(fake) | {"public_url": f"http://127.0.0.1:{port}/"}
    async with wire(**settings) as wired:
        await wired.hub.security.set_owner("correct horse")
        _, admin = await wired.hub.security.create_token("test", ["admin"], None)
        served = Served(wired)
        served.port = port
        async with served:
            pointed = await wired(
                "POST",
                "/api/elevenlabs/agents/agent_1/brain",
                {"agent": "maya"},
                authorization=f"Bearer {admin}",
            )
            assert pointed.status == 200
            await wired.hub.contacts.save(HOUSE, name="Ada", phone="+14155550100")
            data = await eleven.ring("agent_1", caller="+14155550100")
            assert data["dynamic_variables"]["caller_name"] == "Ada"
            body = data["custom_llm_extra_body"]
            said = await eleven.think(
                "agent_1", "What time is it?", extra_body=body, user_id=data["user_id"]
            )
            assert said == "It is noon, Ada."
            again = await eleven.think(
                "agent_1", "What time is it?", said, "And now?", extra_body=body
            )
            assert again == "Still noon."
        (session,) = await wired.hub.sessions.listing(HOUSE)
        assert (session.caller, session.agent, session.channel) == (
            "+14155550100",
            "maya",
            "elevenlabs",
        )
        assert "Ada" in str(fake.requests[0].body["messages"][0]["content"])
        assert any(
            tool["function"]["name"] == "end_call" for tool in fake.requests[0].body["tools"]
        )


async def test_the_callers_name_may_come_beside_the_extra_body(
    wire: Wire, eleven: FakeElevenLabs
) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "user_id": "+14155550100"}
    async with wire() as wired:
        for path in ("/v1/elevenlabs-llm", "/v1/elevenlabs-llm/chat/completions"):
            assert (await wired("POST", path, body)).status == 200
        (session,) = await wired.hub.sessions.listing(HOUSE)
        assert session.caller == "+14155550100"


async def test_what_is_missing_to_point_an_agent_is_said(
    wire: Wire, eleven: FakeElevenLabs
) -> None:
    async with wire(**keyed(eleven)) as wired:
        answer = await point(wired)
        assert answer.status == 503
        assert "TRON_PUBLIC_URL" in answer.json["error"]["message"]
        assert (await point(wired, agent="nobody")).status == 404
    async with wire(public_url="https://hub.test") as wired:
        answer = await point(wired)
        assert answer.status == 503
        assert "ELEVENLABS_API_KEY" in answer.json["error"]["message"]


async def test_a_token_that_could_not_be_handed_over_is_worth_nothing(
    wire: Wire, eleven: FakeElevenLabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elevenlabs.core.http_client.INITIAL_RETRY_DELAY_SECONDS", 0.01)
    async with wire(public_url="https://hub.test", **keyed(eleven)) as wired:
        answer = await point(wired, "agent_unknown")
        assert answer.status == 502
        assert "agent_unknown not found" in answer.json["error"]["message"]
        for status, ours in ((429, 502), (500, 502), (401, 503), (422, 422)):
            eleven.refuse_with = status
            assert (await point(wired)).status == ours
        assert wired.eleven.channels()[0].status == "error"
        tokens = await wired.hub.security.list_tokens()
        assert len(tokens) == 5
        assert all(token["revoked_at"] for token in tokens)


async def test_the_doctor_tries_the_key(wire: Wire, eleven: FakeElevenLabs) -> None:
    async def found(wired: Wired) -> dict[str, str]:
        return {finding.name: finding.state async for finding in wired.eleven.check()}

    async with wire() as wired:
        assert await found(wired) == {"ElevenLabs webhooks": "off", "ElevenLabs key": "off"}
        assert wired.eleven.channels() == []
    async with wire(elevenlabs_webhook_secret="x", **keyed(eleven)) as wired:
        assert await found(wired) == {"ElevenLabs webhooks": "ok", "ElevenLabs key": "ok"}
        assert wired.eleven.channels()[0].status == "connected"
    async with wire(elevenlabs_api_url=eleven.base_url, elevenlabs_api_key="wrong") as wired:
        assert (await found(wired))["ElevenLabs key"] == "failed"
    async with wire(elevenlabs_api_url="http://127.0.0.1:9", elevenlabs_api_key="x") as wired:
        assert (await found(wired))["ElevenLabs key"] == "failed"


# Speech Engine


async def ready(call: SpeechEngineCall) -> None:
    await call.send("init", conversation_id="conv_theirs")


async def test_the_speech_engine_gets_its_words(
    wire: Wire, eleven: FakeElevenLabs, fake: FakeProvider
) -> None:
    fake.script(Reply("It is noon."), Reply("You are welcome."))
    async with wire(**keyed(eleven), **thinking(fake)) as wired, Served(wired) as url:
        async with eleven.speech_engine(url, wired.hub.clock.now_ms, agent="maya") as call:
            await ready(call)
            await call.send("ping")
            assert await call.receive() == {"type": "pong"}
            await call.say(1, ("agent", "Hello."), ("user", "What time is it?"))
            assert await call.answer(1) == "It is noon."
            await call.say(
                2,
                ("agent", "Hello."),
                ("user", "What time is it?"),
                ("agent", "It is noon."),
                ("user", "Thank you"),
            )
            assert await call.answer(2) == "You are welcome."
            await call.send("close")
            with pytest.raises(ConnectionError, match="1000"):
                await call.receive()
        (session,) = await wired.hub.sessions.listing(HOUSE)
        assert session.agent == "maya"
        known = await wired.hub.sessions.named(HOUSE, session.key)
        assert [m.content for m in known.messages] == [
            "Hello.",
            "What time is it?",
            "It is noon.",
            "Thank you",
            "You are welcome.",
        ]


async def test_a_new_transcript_ends_the_answer_under_way(
    wire: Wire, eleven: FakeElevenLabs, fake: FakeProvider
) -> None:
    fake.hold = asyncio.Event()
    fake.script(Reply("One two three four five six seven eight nine ten"), Reply("Stopped."))
    async with wire(**keyed(eleven), **thinking(fake)) as wired, Served(wired) as url:
        async with eleven.speech_engine(url, wired.hub.clock.now_ms) as call:
            await ready(call)
            await call.say(5, ("user", "Count"))
            first = await call.receive()
            assert (first["event_id"], first["is_final"]) == (5, False)
            await call.say(5, ("user", "Count"))  # a duplicate of what is being answered
            await call.say(4, ("user", "Too late"))
            await call.say(6, ("user", "Count"), ("agent", "One"), ("user", "Stop"))
            await eventually(lambda: len(fake.requests) == 2)
            fake.hold.set()
            assert await call.answer(6) == "Stopped."
            events = [frame["event_id"] for frame in call.frames]
            assert events == sorted(events)  # nothing of the old answer after the new one
            assert set(events) == {5, 6}
        assert len(fake.requests) == 2


async def test_a_failed_turn_is_an_apology(
    wire: Wire, eleven: FakeElevenLabs, fake: FakeProvider
) -> None:
    fake.always = Status(400)
    async with (
        wire(**keyed(eleven), **thinking(fake)) as wired,
        Served(wired) as url,
        eleven.speech_engine(url, wired.hub.clock.now_ms) as call,
    ):
        await ready(call)
        await call.say(1, ("user", "Hello"))
        assert "went wrong" in await call.answer(1)
        await call.say(2)  # nothing was said: nothing to answer, but nothing breaks
        await call.answer(2)


async def test_only_elevenlabs_may_be_the_speech_engine(wire: Wire, eleven: FakeElevenLabs) -> None:
    async with wire(**keyed(eleven)) as wired, Served(wired) as url:
        for token in ("", "a.b.c"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                async with eleven.speech_engine(url, wired.hub.clock.now_ms, token=token):
                    pass
            assert refusal.value.status == 401
    async with wire() as wired, Served(wired) as url:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with eleven.speech_engine(url, wired.hub.clock.now_ms):
                pass
        assert refusal.value.status == 503


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[]",
        '{"type":"user_transcript"}',
        '{"type":"user_transcript","event_id":true}',
        '{"type":"user_transcript","event_id":1,"user_transcript":[5]}',
        '{"type":"user_transcript","event_id":1,"user_transcript":[{"role":"root","content":""}]}',
        b"\0",
    ],
)
async def test_a_bad_frame_ends_the_speech_engines_socket(
    wire: Wire, eleven: FakeElevenLabs, frame: str | bytes
) -> None:
    async with (
        wire(**keyed(eleven)) as wired,
        Served(wired) as url,
        eleven.speech_engine(url, wired.hub.clock.now_ms) as call,
    ):
        send = call.socket.send_bytes if isinstance(frame, bytes) else call.socket.send_str
        await send(frame)  # type: ignore[arg-type]
        with pytest.raises(ConnectionError, match="1002"):
            await call.receive()
