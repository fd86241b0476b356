"""Whatever is sent, wherever: never a server error, never HTML, always the error envelope."""

import asyncio
import contextlib
import http.client
import json
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from jsonschema_rs import validator_for

from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import PATIENCE_S
from tron.web.errors import VOICE_PATHS

ENVELOPE = validator_for(
    {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type"],
                "properties": {
                    "message": {"type": "string", "minLength": 1},
                    "type": {"type": "string", "minLength": 1},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    }
)
VOICE_ENVELOPE = validator_for(
    {
        "type": "object",
        "required": ["error", "code"],
        "additionalProperties": False,
        "properties": {
            "error": {"type": "string", "minLength": 1},
            "code": {"type": "string", "minLength": 1},
        },
    }
)
LIFE_WITHOUT_ACTIVITY = "Missing 'activity' query parameter"
"""the one failure whose own shape is documented"""
DOCUMENTED_5XX = (502, 503, 504)
EXAMPLES = 10
"""for each route and manner of asking, valid and not, however long they take"""

UNHURRIED = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


def check(status: int, kind: str, body: bytes, what: str) -> None:
    """One answer to something that may be anything."""
    assert status < 500 or status in DOCUMENTED_5XX, f"{what}: {status} {body[:300]!r}"
    assert b"Traceback" not in body, what
    if status >= 400:
        assert kind.startswith("application/json"), f"{what}: {status} as {kind}"
        error = json.loads(body)
        documented = error.get("error") == LIFE_WITHOUT_ACTIVITY
        voice = what.partition(" ")[2].startswith(VOICE_PATHS)
        envelope = VOICE_ENVELOPE if voice else ENVELOPE
        assert documented or envelope.is_valid(error), f"{what}: {body[:300]!r}"


async def well(running: RunningHub) -> None:
    """The hub still answers, and nobody is left in its processes."""
    async with running.http.get("/health") as answer:
        assert answer.status == 200
    body = {"messages": [{"role": "user", "content": "hello"}]}
    async with running.http.post("/v1/chat/completions", json=body) as answer:
        assert answer.status == 200


def every_route(base_url: str) -> Counter[str]:
    """Requests made from the hub's own description, valid and not; how many for each route."""
    schema = schemathesis.openapi.from_url(base_url + "/openapi.json")
    sent: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
        for mode in modes:
            try_one(operation, mode, sent)
    return sent


def try_one(operation: Any, mode: Any, sent: Counter[str]) -> None:
    label = operation.label

    @settings(UNHURRIED, max_examples=EXAMPLES)
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        # It would fetch the personas' real feeds.
        assume(case.query.get("activity") not in ("news", "post") if case.query else True)
        response = case.call(timeout=PATIENCE_S)
        sent[label] += 1
        kind = response.headers.get("content-type", [""])[0]
        check(response.status_code, kind, response.content, label)

    # Not every route can be asked wrongly.
    with contextlib.suppress(schemathesis.errors.SchemathesisError, Unsatisfiable):
        send()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_every_route(hub: Hubs, database: str, request: pytest.FixtureRequest) -> None:
    more = {"TRON_BRAIN": "offline"}
    if database == "postgresql":
        more["TRON_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    running = await hub(**more)
    sent = await asyncio.to_thread(every_route, running.base_url)
    print(f"{sum(sent.values())} requests to {len(sent)} routes")
    async with running.http.get("/openapi.json") as answer:
        described = (await answer.json())["paths"]
    routes = sum(len(methods) for methods in described.values())
    assert len(sent) >= 0.9 * routes, "most routes were reached"
    await well(running)
    assert await running.terminate() == 0


async def test_methods_nobody_offers(hub: Hubs) -> None:
    running = await hub(TRON_BRAIN="offline")
    async with running.http.get("/openapi.json") as answer:
        paths = list((await answer.json())["paths"])
    for path in [*paths, "/nothing/here", "//", "/%00", "/api/sessions/%00", "/api/sessions/%ff"]:
        for method in ("PUT", "PATCH", "DELETE", "TRACE", "HEAD", "BREW"):
            async with running.http.request(method, path.replace("{", "").replace("}", "")) as got:
                if method == "HEAD":  # has no body to look at
                    assert got.status < 500 or got.status in DOCUMENTED_5XX
                    continue
                check(got.status, got.content_type, await got.read(), f"{method} {path}")
    await well(running)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63), 2**64, 10**30, 1e308, -1e308])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
ROLES = ["system", "developer", "user", "assistant", "tool", "function", "robot"]
FIELDS = (
    "model stream stream_options tools tool_choice parallel_tool_calls response_format n stop "
    "max_tokens max_completion_tokens temperature top_p seed logit_bias user metadata call "
    "customer elevenlabs_extra_body presence_penalty reasoning_effort modalities functions"
).split()
CONTENT = st.text(st.characters(codec=None), max_size=20) | st.lists(JSON, max_size=3) | JSON
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(ROLES)},
    optional={
        "content": CONTENT,
        "name": JSON,
        "tool_calls": JSON,
        "tool_call_id": st.text(max_size=5) | JSON,
        "function_call": JSON,
    },
)
NEARLY = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE | JSON, max_size=4) | JSON},
    optional=dict.fromkeys(FIELDS, JSON),
).map(lambda body: json.dumps(body).encode("utf-8", "surrogatepass"))
HOSTILE = [
    b"[" * 200_000,
    b'{"messages":' * 50_000,
    b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    b'{"messages":[{"role":"user","content":"\\u0000"}]}',
    b'{"messages":[{"role":"user","content":"hi"}],"seed":1' + b"0" * 5_000 + b"}",
    b'{"messages":[{"role":"user","content":"hi"}],"temperature":1e999}',
    b'{"messages":[{"role":"user","content":"hi"}],"user":"\\u0000\\u202e"}',
    b'{"messages":[{"role":"user","content":"hi"}],"model":"\\u0000"}',
    b'{"messages":[{"role":"tool","content":"hi","tool_call_id":"\\u0000"}]}',
    b"\xff\xfe\x00",
    b"\x00" * 1_000,
    b"null",
]


def post(port: int, path: str, body: bytes) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("content-type", ""), answer.read()
    finally:
        connection.close()


def any_body(port: int) -> None:
    for body in HOSTILE:
        check(*post(port, "/v1/chat/completions", body), what=repr(body[:60]))
        check(*post(port, "/api/sessions", body), what=repr(body[:60]))
        for path in ("/v1/tasks", "/v1/tasks/none/approve", "/v1/tasks/none/cancel"):
            check(*post(port, path, body), what=f"POST {path}")

    @settings(UNHURRIED, max_examples=250)
    @given(body=NEARLY | st.binary(max_size=200))
    def send(body: bytes) -> None:
        check(*post(port, "/v1/chat/completions", body), what=repr(body[:500]))

    send()


@pytest.mark.parametrize("brain", ["offline", "openai"])
async def test_any_body_for_chat(hub: Hubs, fake: Any, brain: str) -> None:
    """`openai`: what is let through must also survive the way to a provider."""
    running = await hub(TRON_BRAIN=brain, OPENAI_BASE_URL=fake.base_url, TRON_PROVIDER_RETRIES=0)
    await asyncio.to_thread(any_body, running.port)
    async with running.http.get("/api/sessions") as answer:
        for session in await answer.json():
            async with running.http.get(f"/api/sessions/{session['key']}") as one:
                assert one.status == 200
    await well(running)
