"""The control API as its document shows it, of a real hub."""

import re
from typing import Any

import aiohttp
import pytest

from tests.harness.hub import Hubs, RunningHub
from tron.clock import SystemClock
from tron.environment import load_settings
from tron.storage.store import Store
from tron.web.security import Security

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
METRICS = {
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "llm_calls",
    "tool_calls",
    "estimated_cost",
    "duration_ms",
}
PASSWORD = "correct horse"


@pytest.fixture
async def running(hub: Hubs) -> RunningHub:
    return await hub(TRON_BRAIN="fake")


@pytest.fixture
async def owned(hub: Hubs) -> RunningHub:
    """One with an owner."""
    running = hub.home(TRON_BRAIN="fake")
    settings = load_settings({}, home=running.home / "data")
    store = await Store.open(settings.storage_url)
    await Security(settings, store, SystemClock()).set_owner(PASSWORD)
    await store.close()
    await running.start()
    return running


async def get(hub: RunningHub, path: str, **headers: str) -> tuple[int, Any]:
    return await ask(hub, "GET", path, **headers)


async def ask(
    hub: RunningHub, method: str, path: str, json: Any = None, **headers: str
) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with hub.http.request(method, path, json=json, headers=named) as answer:
        return answer.status, await answer.json()


async def say(hub: RunningHub, text: str = "Hello Tony!") -> None:
    body = {"messages": [{"role": "user", "content": text}]}
    async with hub.http.post("/chat/completions", json=body) as answer:
        assert answer.status == 200


async def test_health(running: RunningHub) -> None:
    status, health = await get(running, "/health")
    assert (status, health["status"]) == (200, "ok")
    assert ISO.fullmatch(health["timestamp"])


async def test_status_is_true(running: RunningHub) -> None:
    _, before = await get(running, "/api/status")
    assert before["status"] == "ok"
    assert re.fullmatch(r"(\d+h)?(\d+m)?\d+s", before["uptime"])
    assert before["personas"] == ["Tony", "Maya", "Alex", "Jordan", "Riley"]
    assert before["active_personas"] == [], "their schedules are off in this hub"
    assert (before["process_count"], before["session_count"]) == (0, 0)
    await say(running)
    _, after = await get(running, "/api/status")
    assert (after["process_count"], after["session_count"]) == (1, 1)


async def test_active_personas_live(hub: Hubs) -> None:
    living = await hub(TRON_BRAIN="fake", TRON_LIFE=True)
    _, status = await get(living, "/api/status")
    assert status["active_personas"] == status["personas"]


async def test_processes(running: RunningHub) -> None:
    await say(running)
    status, [process] = await get(running, "/api/processes")
    assert status == 200
    assert {"id", "agent", "name", "status", "task", "started_at", "metrics"} <= set(process)
    assert re.fullmatch(r"[0-9a-f]{8}", process["id"])
    assert (process["agent"], process["status"]) == ("Tony", "running")
    assert ISO.fullmatch(process["started_at"])
    assert set(process["metrics"]) >= METRICS
    assert process["metrics"]["llm_calls"] == 1
    used = process["metrics"]
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"] > 0

    status, ended = await ask(running, "DELETE", f"/api/processes/{process['id']}")
    assert (status, ended) == (200, {"ok": True})
    _, [process] = await get(running, "/api/processes")
    assert process["status"] == "failed"
    status, again = await ask(running, "DELETE", f"/api/processes/{process['id']}")
    assert (status, again["error"]["type"]) == (409, "conflict")
    assert (await ask(running, "DELETE", "/api/processes/00000000"))[0] == 404


async def test_history_and_spawn_tree(running: RunningHub) -> None:
    await say(running)
    _, history = await get(running, "/api/history?days=1")
    kinds = {entry["type"] for entry in history["entries"]}
    assert {"process_start", "session_start"} <= kinds
    assert history["summary"]["total_entries"] == len(history["entries"])
    assert history["summary"]["total_sessions"] == 1
    _, [root] = await get(running, "/api/spawn-tree")
    assert (root["agent_name"], root["spawn_depth"], root["children"]) == ("Tony", 0, [])
    _, patterns = await get(running, "/api/spawn-patterns")
    assert patterns["common_patterns"] == []


async def test_system_health(running: RunningHub) -> None:
    _, health = await get(running, "/api/health")
    assert set(health) == {
        "status",
        "uptime_seconds",
        "memory_usage_mb",
        "agent_count",
        "session_count",
        "tool_count",
    }
    assert (health["status"], health["agent_count"]) == ("healthy", 5)


async def test_metrics(running: RunningHub) -> None:
    await say(running)
    async with running.http.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = await answer.text()
    assert re.search(r"^tron_turns_total\{.*\} 1\.0$", text, re.M)
    assert re.search(r"^tron_tokens_total\{direction=\"output\".*\} [1-9]", text, re.M)
    assert re.search(r"^tron_http_requests_total\{.*route=\"/chat/completions\".*\} 1", text, re.M)
    assert "tron_processes_live 1.0" in text


async def test_clearing_sessions(running: RunningHub) -> None:
    await say(running)
    status, cleared = await ask(running, "POST", "/internal/sessions/clear")
    assert (status, cleared["success"], cleared["cleared"]) == (200, True, 1)
    assert (await get(running, "/api/status"))[1]["session_count"] == 0


async def test_trigger_as_the_document_shows(running: RunningHub) -> None:
    status, how = await get(running, "/internal/life/trigger")
    assert (status, how["error"]) == (400, "Missing 'activity' query parameter")
    status, one = await get(running, "/internal/life/trigger?activity=post&persona=Tony")
    assert (status, one["persona"], one["activity"]) == (200, "Tony", "post")
    assert one["result"]
    status, all_of_them = await ask(running, "POST", "/internal/life/trigger?activity=team_check")
    assert set(all_of_them["results"]) == {"Tony", "Maya", "Alex", "Jordan", "Riley"}
    assert (await get(running, "/internal/life/trigger?activity=dance"))[0] == 400
    assert (await get(running, "/internal/life/trigger?activity=post&persona=Bob"))[0] == 404


async def test_errors_have_the_documented_envelope(running: RunningHub) -> None:
    for method, path, expected in (
        ("GET", "/nothing", 404),
        ("GET", "/api/nothing", 404),
        ("POST", "/api/status", 405),
        ("GET", "/chat/completions", 405),
        ("POST", "/internal/subdomains/register", 400),
        ("GET", "/internal/caddy-ask", 400),
        ("GET", "/internal/caddy-ask?domain=evil.com", 403),
    ):
        status, body = await ask(running, method, path)
        assert status == expected, path
        assert {"message", "type"} <= set(body["error"]), path


async def test_a_body_that_is_too_large(hub: Hubs) -> None:
    small = await hub(TRON_BRAIN="fake", TRON_MAX_BODY_BYTES=1000)
    status, body = await ask(small, "POST", "/api/auth/token", json={"name": "x" * 2000})
    assert (status, body["error"]["type"]) == (413, "request_too_large")


async def test_local_mode(running: RunningHub) -> None:
    given: list[tuple[dict[str, str], int]] = [
        ({}, 200),
        ({"Host": "localhost:3000"}, 200),
        ({"Host": "[::1]:3000"}, 200),
        ({"Host": "evil.com"}, 403),
        ({"Host": "127.0.0.1.evil.com"}, 403),
        ({"Origin": "http://localhost:5173"}, 200),
        ({"Origin": "http://localhost.evil.com"}, 403),
        ({"Origin": "https://evil.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"X_Forwarded_For": "8.8.8.8"}, 401),
    ]
    for headers, expected in given:
        for path in ("/api/status", "/internal/subdomains"):
            assert (await get(running, path, **headers))[0] == expected, (path, headers)


async def test_cors(running: RunningHub) -> None:
    async with running.http.get("/api/status") as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    wanted = {"Origin": "http://localhost:5173", "Access-Control-Request-Method": "GET"}
    async with running.http.options("/api/status", headers=wanted) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


async def test_protected_mode(owned: RunningHub) -> None:
    assert (await get(owned, "/health"))[0] == 200
    for path in ("/api/status", "/v1/models", "/nothing", "/openapi.json", "/metrics"):
        status, body = await get(owned, path)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key"), path
    assert (await ask(owned, "POST", "/chat/completions", json={"messages": []}))[0] == 401
    status, _ = await ask(owned, "POST", "/api/auth/login", json={"password": "not it at all"})
    assert status == 401
    _, login = await ask(owned, "POST", "/api/auth/login", json={"password": PASSWORD})
    owner = {"Authorization": f"Bearer {login['token']}"}
    elsewhere = owner | {"Origin": "https://app.test", "Host": "api.hub.test"}
    assert (await get(owned, "/api/status", **elsewhere))[0] == 200

    _, made = await ask(owned, "POST", "/api/auth/token", json={"scopes": ["chat"]}, **owner)
    chat = {"Authorization": f"Bearer {made['token']}"}
    assert (await get(owned, "/v1/models", **chat))[0] == 200
    assert (await get(owned, "/api/status", **chat))[0] == 403
    assert (await get(owned, "/api/auth/verify", **chat))[0] == 200
    assert (await ask(owned, "DELETE", f"/api/auth/token/{made['id']}", **owner))[0] == 200
    assert (await get(owned, "/v1/models", **chat))[0] == 401


async def test_internal_in_protected_mode(owned: RunningHub) -> None:
    assert (await get(owned, "/internal/subdomains"))[0] == 200
    assert (await get(owned, "/internal/subdomains", X_Forwarded_For="8.8.8.8"))[0] == 401
    assert (await get(owned, "/internal/subdomains", Origin="https://evil.com"))[0] == 401
    body = {"project": "shop", "port": 3050}
    assert (await ask(owned, "POST", "/internal/subdomains/register", json=body))[0] == 401


async def test_beyond_loopback_without_an_owner_is_refused_at_start(hub: Hubs) -> None:
    open_hub = hub.home(TRON_BRAIN="fake", TRON_HOST="0.0.0.0")
    open_hub.allow("tron owner set")
    with pytest.raises(AssertionError, match="tron owner set"):
        await open_hub.start()


async def test_no_socket_opens_for_another_site(running: RunningHub) -> None:
    for headers in ({"Origin": "https://evil.com"}, {"Host": "evil.com"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await running.http.ws_connect("/ws/anything", headers=headers)
        assert refused.value.status == 403
