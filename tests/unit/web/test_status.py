"""The control API tells the truth about the hub."""

import asyncio

import pytest

from tests.unit.web.conftest import PERSONA, Web
from tron.conversation.turns import Usage
from tron.events import Failure, SessionEnded, SessionStarted, TurnEnded
from tron.orchestrator.process import Process
from tron.storage.tables import HOUSE


async def busy(process: Process) -> str:
    await asyncio.Event().wait()
    return "never"


async def done(process: Process) -> str:
    return "done"


async def failing(process: Process) -> str:
    raise ValueError("no")


async def test_health(web: Web) -> None:
    answer = await web("GET", "/health")
    assert answer.json["status"] == "ok"
    assert answer.json["timestamp"] == "2023-11-14T22:13:20Z"


async def test_status_counts_what_is_live(web: Web) -> None:
    web.hub.orchestrator.spawn("tony", busy)
    finished = web.hub.orchestrator.spawn("maya", done)
    web.hub.orchestrator.spawn("maya", busy, client_id="another")
    await finished.wait()
    web.clock.advance(2 * 3600 + 30 * 60 + 15)
    status = (await web("GET", "/api/status")).json
    assert status["status"] == "ok"
    assert status["uptime"] == "2h30m15s"
    assert status["process_count"] == 1
    assert status["session_count"] == 2
    assert status["personas"] == ["Maya", "Tony"]
    assert status["active_personas"] == ["Maya"]
    assert status["persona_faults"] == []


async def test_processes_in_the_documented_shape(web: Web) -> None:
    first = web.hub.orchestrator.spawn("tony", busy, task="Handle call", name="tony-main")
    web.clock.advance(1)
    second = web.hub.orchestrator.spawn("maya", done, parent=first)
    await second.wait()
    first.charge(Usage(input_tokens=10, output_tokens=4), None)
    shown = (await web("GET", "/api/processes")).json
    assert [process["id"] for process in shown] == [first.id, second.id]
    assert shown[0]["agent"] == "Tony"
    assert shown[0]["name"] == "tony-main"
    assert shown[0]["status"] == "running"
    assert shown[0]["task"] == "Handle call"
    assert shown[0]["started_at"] == "2023-11-14T22:13:20Z"
    assert shown[0]["metrics"]["total_tokens"] == 14
    assert shown[0]["metrics"]["estimated_cost"] is None
    assert shown[0]["metrics"]["duration_ms"] == 1000
    assert (shown[1]["name"], shown[1]["task"], shown[1]["status"]) == ("", "", "completed")
    assert shown[1]["parent_id"] == first.id


async def test_ending_a_process(web: Web) -> None:
    process = web.hub.orchestrator.spawn("tony", busy)
    other = web.hub.orchestrator.spawn("tony", busy, client_id="another")
    await asyncio.sleep(0)
    assert (await web("DELETE", f"/api/processes/{process.id}")).json == {"ok": True}
    assert not process.live
    assert (await web("DELETE", f"/api/processes/{process.id}")).status == 409
    assert (await web("DELETE", "/api/processes/00000000")).status == 404
    assert (await web("DELETE", f"/api/processes/{other.id}")).status == 404
    assert other.live


async def test_spawn_tree(web: Web) -> None:
    assert (await web("GET", "/api/spawn-tree")).json == []
    root = web.hub.orchestrator.spawn("tony", busy, task="lead")
    web.clock.advance(1)
    child = web.hub.orchestrator.spawn("maya", done, parent=root, reason="asked by Tony")
    await child.wait()
    [tree] = (await web("GET", "/api/spawn-tree")).json
    assert (tree["process_id"], tree["agent_name"], tree["spawn_depth"]) == (root.id, "Tony", 0)
    [leaf] = tree["children"]
    assert (leaf["process_id"], leaf["spawn_reason"], leaf["children"]) == (
        child.id,
        "asked by Tony",
        [],
    )


@pytest.mark.parametrize(
    "days", ["", "?days=3", "?days=0", "?days=99", "?days=x", "?days=1&days=2"]
)
async def test_history_forgives_bad_days(web: Web, days: str) -> None:
    process = web.hub.orchestrator.spawn("tony", done)
    await process.wait()
    answer = await web("GET", f"/api/history{days}")
    assert answer.status == 200
    assert [entry["type"] for entry in answer.json["entries"]] == ["process_end", "process_start"]
    assert answer.json["summary"]["total_processes"] == 1


async def test_spawn_patterns(web: Web) -> None:
    root = web.hub.orchestrator.spawn("tony", busy)
    await asyncio.sleep(0)
    for _ in range(2):
        await web.hub.orchestrator.spawn("maya", done, parent=root).wait()
    assert (await web("GET", "/api/spawn-patterns")).json == {
        "total_spawns": 2,
        "max_depth": 1,
        "spawns_by_agent": {"tony": 2},
        "spawned_by_agent": {"maya": 2},
        "common_patterns": [{"parent": "tony", "child": "maya", "count": 2}],
    }


async def test_system_health(web: Web) -> None:
    web.clock.advance(60)
    health = (await web("GET", "/api/health")).json
    assert health["status"] == "healthy"
    assert health["uptime_seconds"] == 60
    assert 10 < health["memory_usage_mb"] < 2000
    assert (health["agent_count"], health["session_count"], health["tool_count"]) == (2, 2, 3)


async def test_a_broken_persona_file_degrades(web: Web) -> None:
    folder = web.hub.agents._folder
    (folder / "alex.md").write_text(PERSONA.format(name="Alex").replace("tone: dry", "tone: ''"))
    web.hub.agents.refresh()
    assert (await web("GET", "/api/health")).json["status"] == "degraded"
    [fault] = (await web("GET", "/api/status")).json["persona_faults"]
    assert "alex.md" in fault


async def test_a_persona_that_keeps_failing_degrades(web: Web) -> None:
    async def fail(_: Process) -> None:
        raise ValueError("no")

    for _ in range(5):
        await web.hub.orchestrator.spawn("tony", fail, restarts=0, kind="life").wait()
    assert (await web("GET", "/api/health")).json["status"] == "degraded"


async def test_metrics(web: Web) -> None:
    metrics = web.hub.metrics
    web.hub.bus.publish(
        TurnEnded(
            at=0,
            client_id=HOUSE,
            session="s",
            agent="tony",
            process_id="p",
            channel="openai",
            outcome="done",
            duration_ms=700,
        )
    )
    metrics.used("gpt-x", Usage(input_tokens=7, output_tokens=3), 0.5)
    metrics.tool_called("recall", "ok")
    await web("GET", "/api/nothing")
    await web("GET", "/api/processes")
    text = (await web("GET", "/metrics")).raw.decode()
    for line in (
        'tron_turns_total{agent="tony",channel="openai",outcome="done"} 1.0',
        'tron_turn_seconds_bucket{channel="openai",le="1.0"} 1.0',
        'tron_tokens_total{direction="input",model="gpt-x"} 7.0',
        'tron_cost_usd_total{model="gpt-x"} 0.5',
        'tron_tool_calls_total{outcome="ok",tool="recall"} 1.0',
        'tron_http_requests_total{method="GET",route="none",status="404"} 1.0',
        'tron_http_requests_total{method="GET",route="/api/processes",status="200"} 1.0',
        "tron_sessions_live 2.0",
    ):
        assert line in text


async def test_metrics_stay_bounded(web: Web) -> None:
    for n in range(2000):
        web.hub.metrics.answered(f"M{n}", "none", 404)
        web.hub.metrics.tool_called(f"tool {n}", "ok")
    text = (await web("GET", "/metrics")).raw
    assert text.count(b"tron_http_requests_total{") < 10
    assert text.count(b"tron_tool_calls_total{") < 1100


async def test_history_of_sessions_and_failures(web: Web) -> None:
    at = web.clock.now_ms()
    bus = web.hub.bus
    bus.publish(
        SessionStarted(
            at=at,
            client_id=HOUSE,
            session="+14155550100",
            agent="tony",
            channel="x",
            process_id="p1",
        )
    )
    bus.publish(SessionEnded(at=at, client_id=HOUSE, session="s", agent="tony", cause="expired"))
    bus.publish(
        Failure(at=at, client_id=HOUSE, where="chat", agent="tony", process_id="p1", error="E")
    )
    answer = await web("GET", "/api/history")
    assert "4155550100" not in answer.raw.decode()
    assert answer.json["summary"]["total_sessions"] == 1
    assert answer.json["summary"]["total_errors"] == 1
    assert answer.json["summary"]["by_status"] == {"expired": 1, "failed": 1}


async def test_life_is_readable(web: Web) -> None:
    await web.hub.journal.write(HOUSE, "tony", "news", "Read a lot.")
    [line] = (await web("GET", "/api/life/journal?persona=Tony")).json
    assert (line["text"], line["created_at"]) == ("Read a lot.", "2023-11-14T22:13:20Z")
    assert (await web("GET", "/api/life/journal?persona=maya")).json == []
    for kind in ("posts", "goals", "articles"):
        assert (await web("GET", f"/api/life/{kind}")).json == []
    unknown = await web("GET", "/api/life/posts?persona=nobody")
    assert (unknown.status, unknown.json["error"]["param"]) == (400, "persona")
    assert (await web("GET", "/api/life/posts?limit=0")).status == 400
