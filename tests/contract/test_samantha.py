"""The voice API of its document, against a real hub: every REST example, every message and action.

The hub's engines are stand-ins with fixed words (`TRON_STT=fake`, …); that somebody speaks is heard
by the real detector in real speech.
"""

import asyncio
import base64
import io
import json
import re
import time
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from integrations.openai.fake import FakeProvider
from integrations.speech_fakes.fake import FakeSpeech
from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import PATIENCE_S, eventually
from tron.calls.audio import resample
from tron.speech.espeak import Espeak

RATE = 16_000
PIECE = RATE * 2 // 25  # 40 ms
TALKING = {"TRON_STT": "fake", "TRON_TTS": "fake", "TRON_BRAIN": "fake", "TRON_FAKE_TOKENS": "6"}

DOCUMENT = json.loads((Path(__file__).parent / "fixtures/samantha_tasks.json").read_text())
"""the document's examples and message fields of tasks"""
FIELDS = {
    "semantic_endpoint_hint": {"reason", "confidence", "hold_ms", "should_commit", "ts_ms"},
    "stt_partial": {"text", "confidence", "ts_ms"},
    "stt_committed": {"text", "ts_ms"},
    "assistant_text_delta": {"turn_id", "text_delta"},
    "assistant_audio_chunk": {"turn_id", "seq", "format", "audio_base64"},
    "assistant_turn_end": {"turn_id", "reason"},
    "system_event": {"code"},
    "error_event": {"code", "source", "retryable", "detail"},
}


@pytest.fixture(scope="session")
def speech() -> bytes:
    """Somebody says a sentence; PCM16 at 16 kHz."""

    async def say() -> bytes:
        engine = Espeak()
        try:
            spoken = [pcm async for pcm in engine.speak("What time is it now?", voice="en-us")]
        finally:
            await engine.close()
        return resample(b"".join(spoken), engine.facts.sample_rate, RATE)

    return asyncio.run(say())


class Client:
    """A page on the socket: speaks, and reads what comes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session_id: str) -> None:
        self.socket = socket
        self.session_id = session_id
        self.got: list[dict[str, Any]] = []
        self._seq = 0

    async def read(self) -> dict[str, Any]:
        """The next message, its fields checked."""
        raw = await asyncio.wait_for(self.socket.receive(), PATIENCE_S)
        assert raw.type == aiohttp.WSMsgType.TEXT, f"{raw} after {self.got[-3:]}"
        message: dict[str, Any] = msgspec.json.decode(raw.data)
        check_fields(message)
        assert message["session_id"] == self.session_id
        self.got.append(message)
        return message

    async def until(self, name: str) -> dict[str, Any]:
        """The next message of that type, or event or error of that code."""
        while True:
            message = await self.read()
            if name in (message["type"], message.get("code")):
                return message

    async def closed(self) -> int | None:
        """Read until the hub closes; its code."""
        async with asyncio.timeout(PATIENCE_S):
            async for _ in self.socket:
                pass
        return self.socket.close_code

    async def silent(self, seconds: float) -> list[dict[str, Any]]:
        """What came in that time."""
        before = len(self.got)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.read()
        except TimeoutError:
            return self.got[before:]

    def names(self) -> list[str]:
        return [message.get("code") or message["type"] for message in self.got]

    async def send(self, type: str, **fields: Any) -> None:
        await self.socket.send_json({"type": type, "session_id": self.session_id} | fields)

    async def act(self, action: str, **fields: Any) -> None:
        await self.send("client_control", action=action, **fields)

    async def say(self, pcm: bytes, *, speed: float = 20) -> None:
        """Much faster than people speak, so that no pause of the machine is one of theirs."""
        for at in range(0, len(pcm), PIECE):
            self._seq += 1
            await self.send(
                "client_audio_chunk",
                seq=self._seq,
                pcm16_base64=base64.b64encode(pcm[at : at + PIECE]).decode(),
                sample_rate=RATE,
                ts_ms=0,
            )
            await asyncio.sleep(0.04 / speed)


def check_fields(message: dict[str, Any]) -> None:
    """That it has the document's fields and no others."""
    fields = set(message) - {"type", "session_id", "event_seq"}
    if (about := DOCUMENT["fields"].get(message["type"])) is None:
        assert fields | {"detail"} == FIELDS[message["type"]] | {"detail"}
        return
    more = {"approval_id", "expires_at"} if message["type"] == "task_waiting_approval" else set()
    assert {*about["required"]} <= fields <= {*about["required"], *about["optional"], *more}
    if message["type"] == "task_status_snapshot":
        known = DOCUMENT["snapshot_item"]
        for item in (item for place in about["required"] for item in message[place]):
            assert {*known["required"]} <= set(item) <= {*known["required"], *known["optional"]}


async def created(hub: RunningHub, **fields: Any) -> str:
    async with hub.http.post("/v1/voice/session", json=fields) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["session_id"])


@asynccontextmanager
async def connected(hub: RunningHub, session_id: str = "", **query: Any) -> AsyncIterator[Client]:
    session_id = session_id or await created(hub)
    path = "/v1/voice/session/ws"
    async with hub.http.ws_connect(path, params={"session_id": session_id} | query) as socket:
        client = Client(socket, session_id)
        await client.until("session_ready")
        yield client


async def ask(
    hub: RunningHub, method: str, path: str, **given: Any
) -> tuple[int, dict[str, Any], bytes]:
    async with hub.http.request(method, path, **given) as answer:
        raw = await answer.read()
        is_json = answer.content_type == "application/json"
        return answer.status, msgspec.json.decode(raw) if is_json else {}, raw


# REST


async def test_the_documents_rest_examples_work(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="fake", TRON_STT="fake")
    example = {"user_id": "anonymous", "persona_id": "warm", "voice_id": "af_heart"}
    status, session, _ = await ask(running, "POST", "/v1/voice/session", json=example)
    assert status == 201
    assert example.items() <= session.items()
    assert session["status"] == "active"
    assert session["inactivity_ttl_ms"] == 120_000
    assert session["started_at"].endswith("Z")
    assert session["last_activity_at"] >= session["started_at"]

    for _ in range(2):  # ending it twice is fine
        path = f"/v1/voice/session/{session['session_id']}/end"
        status, ended, _ = await ask(running, "POST", path)
        assert (status, ended["status"], ended["active_turn_id"]) == (200, "ended", None)
        assert ended["interruption_count"] == 0

    status, listed, _ = await ask(running, "GET", "/v1/voice/voices")
    ids = [voice["voice_id"] for voice in listed["voices"]]
    assert status == 200
    assert "af_heart" in ids
    assert {listed["default_voice_id"], *listed["recommended"]} <= set(ids)

    example = {"voice_id": "af_heart", "persona_id": "warm", "text": "Hi. I'm here with you."}
    async with running.http.post("/v1/voice/tts/preview", json=example) as answer:
        assert answer.status == 200
        assert answer.content_type == "audio/wav"
        assert answer.headers["Cache-Control"] == "no-store"
        rate = int(answer.headers["X-Audio-Format"].removeprefix("wav_"))
        with wave.open(io.BytesIO(await answer.read())) as sound:
            assert sound.getframerate() == rate
            assert 0.8 < sound.getnframes() / rate < 5

    status, found, _ = await ask(running, "GET", "/v1/onboarding/status")
    assert status == 200
    assert found["brain_provider"] == "fake"
    assert found["voice_provider"] == "fake+local"
    assert found["task_runtime_enabled"] is True
    checks = {check["id"]: check["status"] for check in found["checks"]}
    assert checks["voice_provider"] == checks["speech_recognition"] == checks["store"] == "ok"
    assert checks["task_runtime"] == checks["task_store"] == "ok"
    assert checks["mock_voice"] == checks["brain_mode"] == "warn"

    status, found, _ = await ask(running, "GET", "/v1/perf/latency")
    assert (status, found["window_size"]) == (200, 256)
    assert [stage["samples"] for stage in found["stages"]] == [0, 0], "what can't be measured"
    status, found, _ = await ask(running, "GET", "/v1/ui/settings")
    assert (status, found["sample_rate"]) == (200, 16_000)


async def test_a_provider_that_is_dead_is_not_called_ready(hub: Hubs) -> None:
    """Although calls go on, with the local engines behind it."""
    async with FakeSpeech(key="good") as provider:
        provider.status = 500
        running = await hub(
            **TALKING
            | {
                "TRON_STT": "deepgram",
                "TRON_TTS": "elevenlabs",
                "DEEPGRAM_API_URL": provider.url,
                "DEEPGRAM_API_KEY": "good",
                "ELEVENLABS_API_URL": provider.url,
                "ELEVENLABS_API_KEY": "good",
            }
        )
        _, found, _ = await ask(running, "GET", "/v1/onboarding/status")
    checks = {check["id"]: check for check in found["checks"]}
    for id, name, local in (
        ("voice_provider", "elevenlabs", "espeak"),
        ("speech_recognition", "deepgram", "moonshine"),
    ):
        assert checks[id]["status"] == "error"
        assert f"{name} answered 500" in checks[id]["detail"]
        assert f"The local engine, {local}" in checks[id]["detail"]
        assert name in checks[id]["fix"]


async def test_a_call_tells_what_it_cost(hub: Hubs, speech: bytes) -> None:
    """With engines by key: what each did, at the prices that are set."""
    prices = {"deepgram-stt": 0.6, "elevenlabs-tts": 1_000_000}
    async with FakeSpeech(key="good") as provider:
        running = await hub(
            TRON_STT="deepgram",
            TRON_TTS="elevenlabs",
            TRON_BRAIN="fake",
            TRON_FAKE_TOKENS="6",
            DEEPGRAM_API_URL=provider.url,
            DEEPGRAM_API_KEY="good",
            ELEVENLABS_API_URL=provider.url,
            ELEVENLABS_API_KEY="good",
            TRON_SPEECH_TIMEOUT_S=30,
            TRON_PRICES=json.dumps(prices),
        )
        async with connected(running) as client:
            await client.say(speech + bytes(RATE))
            await client.until("assistant_turn_end")
            id = next(m["detail"] for m in client.got if m.get("code") == "session_ready")
    _, call, _ = await ask(running, "GET", f"/api/calls/{id}")
    cost = call["cost"]
    (model,), (heard,), (said,) = cost["model"], cost["recognition"], cost["synthesis"]
    assert (model["model"], model["turns"], model["usd"]) == ("fake", 1, 0.0)
    assert model["output_tokens"] > 0
    assert heard["engine"] == "deepgram"
    assert heard["seconds"] >= len(speech) / 2 / RATE - 0.5
    assert heard["usd"] == pytest.approx(heard["seconds"] * 0.01, abs=1e-5)
    assert said == {"engine": "elevenlabs", "characters": (n := said["characters"]), "usd": n}
    assert n >= len("word1 word2 word3 word4 word5 word6.")
    assert cost["line"] == {"wire": "samantha", "minutes": 1, "usd": 0.0}
    assert cost["usd"] == pytest.approx(heard["usd"] + n)
    assert cost["unmetered_turns"] == 0


async def test_a_session_needs_no_body_and_takes_another_agent(hub: Hubs) -> None:
    running = await hub(**TALKING)
    status, session, _ = await ask(running, "POST", "/v1/voice/session")
    assert (status, session["user_id"], session["agent"]) == (201, "anonymous", "tony")
    status, session, _ = await ask(
        running, "POST", "/v1/voice/session", json={"agent": "maya", "persona_id": "robotic"}
    )
    assert (status, session["agent"], session["persona_id"]) == (201, "maya", "warm")


BROKEN = {"headers": {"Content-Type": "application/json"}}
REFUSED: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", "/v1/voice/session", BROKEN | {"data": b"{"}, 400, "invalid_request"),
    ("POST", "/v1/voice/session", BROKEN | {"data": b"{} trailing"}, 400, "invalid_request"),
    ("POST", "/v1/voice/session", BROKEN | {"data": b"[]"}, 400, "invalid_request"),
    ("POST", "/v1/voice/session", BROKEN | {"data": b"[" * 100_000}, 400, "invalid_request"),
    (
        "POST",
        "/v1/voice/session",
        {"data": b"{}", "headers": {"Content-Type": "text/plain"}},
        400,
        "invalid_request",
    ),
    ("POST", "/v1/voice/session", {"data": {"user_id": "a"}}, 400, "invalid_request"),
    ("GET", "/v1/voice/session/ws", {}, 400, "missing_session_id"),
    ("GET", "/v1/voice/session/ws", {"params": {"session_id": "none"}}, 404, "session_not_found"),
    ("POST", "/v1/voice/session", {"json": {"user_id": 7}}, 400, "invalid_request"),
    ("POST", "/v1/voice/session", {"json": {"user_id": "a\0b"}}, 400, "invalid_request"),
    ("POST", "/v1/voice/session", {"json": {"voice_id": "nobody"}}, 400, "unknown_voice"),
    ("POST", "/v1/voice/session", {"json": {"agent": "nobody"}}, 404, "agent_not_found"),
    ("POST", "/v1/voice/session/none/end", {}, 404, "session_not_found"),
    ("POST", "/v1/voice/tts/preview", {"json": {"voice_id": "x"}}, 400, "unknown_voice"),
    ("POST", "/v1/voice/tts/preview", {"json": {"text": "x" * 501}}, 400, "invalid_request"),
    ("GET", "/v1/voice/nothing", {}, 404, "unknown_url"),
    ("DELETE", "/v1/voice/voices", {}, 405, "method_not_allowed"),
]


async def test_rest_refuses_in_its_own_shape(hub: Hubs) -> None:
    running = await hub(**TALKING)
    for method, path, given, status, code in REFUSED:
        got, answer, raw = await ask(running, method, path, **given)
        assert (got, answer.get("code")) == (status, code), (method, path, raw)
        assert set(answer) == {"error", "code"}, (method, path)
        assert answer["error"]


async def test_a_protected_hub_wants_a_token_and_a_session_has_an_owner(hub: Hubs) -> None:
    running = hub.home(**TALKING)
    await running.start()
    tokens = []
    for name in ("one", "two"):
        fields = {"name": name, "scopes": ["chat"]}
        async with running.http.post("/api/auth/token", json=fields) as answer:
            tokens.append((await answer.json())["token"])
    await running.kill()
    program = await asyncio.create_subprocess_exec(
        *(_tron(), "owner", "set"),
        cwd=running.home,
        env={"TRON_HOME": str(running.home / "data"), "PATH": "/usr/bin:/bin"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    await program.communicate(b"correct horse")
    await running.start()
    status, refusal, _ = await ask(running, "POST", "/v1/voice/session")
    assert (status, set(refusal)) == (401, {"error", "code"})
    mine, other = ({"Authorization": f"Bearer {token}"} for token in tokens)
    status, session, _ = await ask(running, "POST", "/v1/voice/session", headers=mine)
    assert status == 201
    path = f"/v1/voice/session/{session['session_id']}/end"
    assert (await ask(running, "POST", path, headers=other))[0] == 404
    async with connected(running, session["session_id"]) as client:  # the id is the key
        assert (await ask(running, "POST", path, headers=mine))[0] == 200
        assert await client.closed() == 1000


def _tron() -> str:
    from tests.harness.hub import TRON

    return str(TRON)


# The socket opens


async def test_what_is_wrong_is_said_before_the_upgrade(hub: Hubs) -> None:
    running = await hub(**TALKING)
    ended = await created(running)
    await ask(running, "POST", f"/v1/voice/session/{ended}/end")
    live = await created(running)
    path = "/v1/voice/session/ws"
    for query, headers, status in (
        ({}, {}, 400),
        ({"session_id": "none"}, {}, 404),
        ({"session_id": ended}, {}, 409),
        ({"session_id": live, "last_seq": "-1"}, {}, 400),
        ({"session_id": live}, {"Origin": "https://elsewhere.example"}, 403),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await running.http.ws_connect(path, params=query, headers=headers)
        assert refused.value.status == status, query
    for session_id, status in ((live, 400), (ended, 409)):  # nor an upgrade
        assert (await ask(running, "GET", path, params={"session_id": session_id}))[0] == status


async def test_too_many_calls_are_refused_and_one_that_ends_makes_room(hub: Hubs) -> None:
    running = await hub(TRON_MAX_CALLS=1, **TALKING)
    waiting = await created(running)
    async with connected(running):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await running.http.ws_connect("/v1/voice/session/ws", params={"session_id": waiting})
        assert refused.value.status == 503

    async def over() -> bool:
        calls = msgspec.json.decode((await ask(running, "GET", "/api/calls"))[2])
        return all(call["ended_at"] for call in calls)

    await eventually(over)
    async with connected(running, waiting):
        pass


# Talking


@pytest.mark.parametrize("silence_s", [0.0, 2.0], ids=["only speech is sent", "all is sent"])
async def test_a_turn_from_the_question_to_its_end(
    hub: Hubs, speech: bytes, silence_s: float
) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        await client.say(speech + bytes(int(silence_s * RATE) * 2))
        end = await client.until("assistant_turn_end")
        assert end["reason"] == "completed"
        assert await client.silent(0.5) == []
        names = client.names()
        assert names.count("assistant_turn_end") == 1
        told = [name for name in dict.fromkeys(names) if name != "assistant_working"]
        assert told == [
            "task_status_snapshot",
            "session_ready",
            "stt_committed",
            "assistant_first_text",
            "assistant_text_delta",
            "assistant_first_audio",
            "assistant_audio_chunk",
            "assistant_turn_end",
        ]
        texts = [m["text_delta"] for m in client.got if "text_delta" in m]
        assert "".join(texts) == "word1 word2 word3 word4 word5 word6."
        sounds = [m for m in client.got if "audio_base64" in m]
        assert [m["seq"] for m in sounds] == list(range(1, len(sounds) + 1))
        assert {m["turn_id"] for m in client.got if "turn_id" in m} == {end["turn_id"]}
        assert [m["event_seq"] for m in client.got] == list(range(1, len(client.got) + 1))
        played = 0.0
        for message in sounds:
            with wave.open(io.BytesIO(base64.b64decode(message["audio_base64"]))) as piece:
                assert f"wav_{piece.getframerate()}" == message["format"]
                played += piece.getnframes() / piece.getframerate()
        assert played == pytest.approx(1.2, abs=0.1)  # the stand-in's tone


async def test_partials_come_with_their_hints(hub: Hubs, speech: bytes) -> None:
    """The local engine, for the stand-in has no partials."""
    running = await hub(TRON_TTS="fake", TRON_BRAIN="fake")
    began_ms = int(time.time() * 1000)
    async with connected(running) as client:
        await client.say(speech + bytes(RATE), speed=1)
        committed = await client.until("stt_committed")
        assert "time" in committed["text"].lower()
        assert began_ms <= committed["ts_ms"] <= time.time() * 1000
        names = client.names()
        assert names.index("semantic_endpoint_hint") == names.index("stt_partial") - 1


async def test_stop_commits_at_once(hub: Hubs, speech: bytes) -> None:
    running = await hub(TRON_TURN_WAIT_MS=3_600_000, **TALKING)
    async with connected(running) as client:
        await client.say(speech)
        await client.act("stop", reason="silence_release")
        await client.until("stt_committed")


async def test_held_to_talk_only_stop_ends_the_utterance(hub: Hubs, speech: bytes) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        await client.act("start", reason="push_to_talk")
        await client.say(speech + bytes(RATE * 2) + speech)
        assert "stt_committed" not in client.names() + [
            message["type"] for message in await client.silent(1)
        ]
        await client.act("stop")
        await client.until("stt_committed")
        await client.until("assistant_turn_end")
        assert client.names().count("stt_committed") == 1


async def test_interrupt_ends_the_turn_once_and_at_once(hub: Hubs, speech: bytes) -> None:
    running = await hub(**TALKING | {"TRON_FAKE_TOKENS": "4000", "TRON_FAKE_DELAY_MS": "20"})
    async with connected(running) as client:
        await client.act("interrupt")  # nothing to interrupt: it only counts
        await client.say(speech)
        await client.until("assistant_audio_chunk")
        await client.act("interrupt", reason="manual_interrupt")
        end = await client.until("assistant_turn_end")
        assert end["reason"] == "interrupted"
        assert client.names()[-2] == "audio_clear"
        assert await client.silent(1) == []
        path = f"/v1/voice/session/{client.session_id}/end"
        assert (await ask(running, "POST", path))[1]["interruption_count"] == 2


async def test_speaking_up_is_barge_in(hub: Hubs, speech: bytes) -> None:
    running = await hub(**TALKING | {"TRON_FAKE_TOKENS": "4000", "TRON_FAKE_DELAY_MS": "20"})
    async with connected(running) as client:
        await client.say(speech)
        await client.until("assistant_audio_chunk")
        await client.say(speech + bytes(RATE))
        end = await client.until("assistant_turn_end")
        assert end["reason"] == "barge_in"
        cleared = client.names().index("audio_clear")
        sounds = [at for at, m in enumerate(client.got) if m.get("turn_id") == end["turn_id"]]
        assert not [at for at in sounds if at > cleared and "audio_base64" in client.got[at]]
        again = await client.until("assistant_audio_chunk")
        assert (again["turn_id"], again["seq"]) == ("turn_2", 1)


async def test_asleep_nothing_reaches_the_persona_until_the_word(hub: Hubs, speech: bytes) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        await client.act("wakeword_on")
        await client.say(speech)
        await client.until("stt_committed")
        assert await client.silent(1) == []
        await client.act("manual_arm")
        await client.say(speech)
        await client.until("assistant_turn_end")
        assert "wake_word" not in client.names()
    await running.restart(TRON_FAKE_TRANSCRIPT="Hey Samantha, what time is it?")
    async with connected(running) as client:
        await client.act("wakeword_on")
        await client.say(speech)
        woken = await client.until("wake_word")
        assert woken["detail"] == "samantha"
        await client.until("assistant_turn_end")
        await client.act("wakeword_off")
        await client.say(speech)
        await client.until("assistant_turn_end")
        assert client.names().count("wake_word") == 1


async def test_muted_nobody_is_heard(hub: Hubs, speech: bytes) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        await client.act("mute")
        await client.say(speech + bytes(RATE))
        assert await client.silent(1) == []
        await client.act("unmute")
        await client.act("start")
        await client.say(speech)
        await client.until("stt_committed")


async def test_task_actions_are_answered_honestly(hub: Hubs) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        for action, code in (
            ("approve_task_step", "task_approval_failed"),
            ("deny_task_step", "task_deny_failed"),
            ("cancel_task", "task_cancel_failed"),
            ("pause_task", "task_pause_failed"),
            ("resume_task", "task_resume_failed"),
        ):
            await client.act(action, task_id="t-1")
            answer = await client.read()
            assert (answer["code"], answer["source"]) == (code, "task_runtime")


async def test_the_style_reaches_the_model(hub: Hubs, fake: FakeProvider, speech: bytes) -> None:
    running = await hub(
        TRON_STT="fake", TRON_TTS="fake", OPENAI_BASE_URL=fake.base_url, OPENAI_API_KEY="k"
    )
    session_id = await created(running, persona_id="concise")
    async with connected(running, session_id) as client:
        await client.say(speech)
        await client.until("assistant_turn_end")
    system = fake.requests[-1].body["messages"][0]["content"]
    assert "under 180 characters" in system


async def test_a_model_that_fails_ends_the_turn_as_failed(hub: Hubs, speech: bytes) -> None:
    running = await hub(
        **TALKING | {"TRON_BRAIN": "fake", "TRON_TURN_TIMEOUT_S": "0.3"}, TRON_FAKE_DELAY_MS=5000
    )
    running.allow("turn")
    async with connected(running) as client:
        await client.say(speech)
        error = await client.until("assistant_turn_failed")
        assert error["source"] == "orchestrator"
        assert "assistant_working" in client.names() or error["detail"]
        end = await client.until("assistant_turn_end")
        assert end["reason"] == "failed"


# Bad input


BAD: list[str | bytes] = [
    b"\x00\x01\x02",
    "",
    "{",
    '"text"',
    '{"type":"nonsense","session_id":"ID"}',
    '{"type":"client_control","session_id":"ID"}',
    '{"type":"client_control","session_id":"ID","action":"dance"}',
    '{"type":"client_control","session_id":"another","action":"stop"}',
    '{"type":"client_audio_chunk","session_id":"ID","pcm16_base64":"AAA","sample_rate":16000}',
    '{"type":"client_audio_chunk","session_id":"ID","pcm16_base64":"AAAA","sample_rate":16000}',
    '{"type":"client_audio_chunk","session_id":"ID","pcm16_base64":"AAA=","sample_rate":0}',
    '{"type":"client_audio_chunk","session_id":"another","pcm16_base64":"AAA=",'
    '"sample_rate":16000}',
    '{"type":"client_control","session_id":"ID","action":"stop","x":' + "[" * 200_000,
]


async def test_a_bad_message_is_answered_and_disturbs_nothing(hub: Hubs) -> None:
    running = await hub(**TALKING)
    for raw in BAD:
        async with connected(running) as client:
            if isinstance(raw, bytes):
                await client.socket.send_bytes(raw)
            else:
                await client.socket.send_str(raw.replace("ID", client.session_id))
            error = await client.read()
            assert (error["code"], error["source"]) == ("invalid_client_message", "gateway"), raw
            await client.act("cancel_task")
            assert (await client.read())["code"] == "task_cancel_failed", raw


async def test_two_mebibytes_are_taken_and_one_more_byte_is_not(hub: Hubs) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        limit = 2 * 1024 * 1024
        message = f'{{"type":"client_control","session_id":"{client.session_id}","action":"stop"}}'
        await client.socket.send_str(message + " " * (limit - len(message)))
        await client.act("cancel_task")
        assert (await client.read())["code"] == "task_cancel_failed"
        await client.socket.send_str(message + " " * (limit - len(message) + 1))
        assert await client.closed() == 1009


async def test_missing_audio_and_a_flood_of_it_are_told(hub: Hubs) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        for seq in (1, 2, 5):
            await client.send("client_audio_chunk", seq=seq, pcm16_base64="AAA=", sample_rate=RATE)
        gap = await client.read()
        assert gap["code"] == "audio_gap"
        assert "3 to 4" in gap["detail"]
        minute = base64.b64encode(bytes(RATE * 2 * 40)).decode()
        for seq in (6, 7, 8):
            await client.send("client_audio_chunk", seq=seq, pcm16_base64=minute, sample_rate=RATE)
        assert "faster" in (await client.until("invalid_client_message"))["detail"]


async def test_nothing_but_nonsense_ends_the_connection(hub: Hubs) -> None:
    running = await hub(**TALKING)
    async with connected(running) as client:
        for _ in range(100):
            await client.socket.send_str("nonsense")
        assert await client.closed() == 1008


# Leaving and coming back


async def test_a_second_connection_takes_the_place_of_the_first(hub: Hubs, speech: bytes) -> None:
    running = await hub(**TALKING)
    async with connected(running) as first:
        closing = asyncio.ensure_future(first.closed())
        async with connected(running, first.session_id) as second:
            assert await closing == 4001
            await second.say(speech)
            await second.until("assistant_turn_end")


async def test_coming_back_brings_what_was_missed(hub: Hubs, speech: bytes) -> None:
    running = await hub(**TALKING | {"TRON_FAKE_TOKENS": "4000", "TRON_FAKE_DELAY_MS": "20"})
    session_id = await created(running)
    async with connected(running, session_id) as client:
        await client.say(speech)
        seen = (await client.until("assistant_text_delta"))["event_seq"]
        await client.until("assistant_audio_chunk")
    async with connected(running, session_id, last_seq=seen) as client:
        numbers = [message["event_seq"] for message in client.got]
        assert numbers == sorted(set(numbers))
        assert numbers[0] == seen + 1
        ends = [m for m in client.got if m["type"] == "assistant_turn_end"]
        assert [(end["turn_id"], end["reason"]) for end in ends] == [
            ("turn_1", "connection_closed")
        ]
        assert "assistant_audio_chunk" not in client.names()
        await client.say(speech)
        sound = await client.until("assistant_audio_chunk")
        assert sound["turn_id"] == "turn_2"
    status, calls, _ = await ask(running, "GET", "/api/sessions")
    assert (status, len(calls)) == (200, 1)  # one conversation, however many connections


async def test_a_silent_connection_stays_and_a_deserted_session_ends(hub: Hubs) -> None:
    running = await hub(TRON_VOICE_SESSION_TTL_S=5, **TALKING)
    path = "/v1/voice/session/ws"

    async def looked_at() -> int:
        """What a request says that asks for no socket, and so is no visit."""
        params = {"session_id": client.session_id}
        return (await ask(running, "GET", path, params=params))[0]

    async def over() -> bool:
        return await looked_at() == 409

    async with connected(running) as client:
        assert await client.silent(6) == []  # in real time: longer than a deserted one lives
        assert await looked_at() == 400
        await client.act("cancel_task")
        await client.read()
    await eventually(over, what="the end of a deserted session")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await running.http.ws_connect(path, params={"session_id": client.session_id})
    assert refused.value.status == 409


async def test_a_hub_that_stops_says_so(hub: Hubs) -> None:
    running = await hub(TRON_DRAIN_S=3, **TALKING)
    # The server's own ping task outlives its socket by up to one interval, and is then cancelled.
    running.allow("StreamReaderProtocol.connection_made")
    async with connected(running) as client:
        stopping = asyncio.ensure_future(running.terminate())
        code = await client.closed()
        assert await stopping == 0
        assert code == 1012


async def test_a_persona_that_says_goodbye_ends_the_session(hub: Hubs, speech: bytes) -> None:
    running = await hub(**TALKING | {"TRON_BRAIN": "offline", "TRON_FAKE_TRANSCRIPT": "Goodbye!"})
    async with connected(running) as client:
        await client.say(speech)
        end = await client.until("assistant_turn_end")
        assert end["reason"] == "completed"
        assert "assistant_audio_chunk" in client.names()  # it is said before the line goes
        said = "".join(
            m["text_delta"] for m in client.got if m["type"] == "assistant_text_delta"
        ).lower()
        assert re.search(r"\b(?:bye|goodbye|next time|later|take care)\b", said), said
        assert "call ends" not in said  # which is for the persona alone
        assert await client.closed() == 1000
    path = f"/v1/voice/session/{client.session_id}/end"
    assert (await ask(running, "POST", path))[1]["status"] == "ended"

    async def ended_by_the_persona() -> bool:
        calls = msgspec.json.decode((await ask(running, "GET", "/api/calls"))[2])
        causes = [(call["wire"], call["cause"]) for call in calls]
        return causes == [("samantha", "persona-ended-call")]

    await eventually(ended_by_the_persona)


# Latency


async def test_latency_counts_from_the_commit_of_the_speech(hub: Hubs, speech: bytes) -> None:
    running = await hub(TRON_FAKE_STT_DELAY_MS=300, **TALKING)
    async with connected(running) as client:
        began = time.monotonic()
        await client.say(speech)
        await client.act("stop")
        await client.until("assistant_turn_end")
        whole_ms = (time.monotonic() - began) * 1000
    _, found, _ = await ask(running, "GET", "/v1/perf/latency")
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert list(stages) == sorted(stages)
    for name, target in (
        ("commit_to_first_text", 550),
        ("commit_to_first_audio", 1400),
        ("turn_total", 3200),
    ):
        assert stages[name]["target_p95_ms"] == target
        assert stages[name]["samples"] == 1
        assert 300 <= stages[name]["last_ms"] < whole_ms
        assert stages[name]["p50_ms"] == stages[name]["p99_ms"] == stages[name]["last_ms"]
    assert stages["stop_to_stt_committed"]["last_ms"] >= 300
    assert "target_p95_ms" not in stages["stop_to_stt_committed"]
    assert (await ask(running, "POST", "/v1/perf/latency/reset"))[1] == {"status": "ok"}
    _, found, _ = await ask(running, "GET", "/v1/perf/latency")
    assert not any(stage["samples"] for stage in found["stages"])
