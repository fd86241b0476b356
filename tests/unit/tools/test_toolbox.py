"""Whatever a tool does, the model gets an answer, and the call is written down."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.harness.stand_ins import no_gate
from tests.unit.tools.conftest import Office
from tron.clock import DAY_MS
from tron.conversation.turns import ToolCall
from tron.errors import StorageUnavailable
from tron.storage.tables import HOUSE, tool_calls
from tron.tools.contract import Tool, ToolContext, ToolFailed
from tron.tools.toolbox import RESULT_BYTES, Toolbox


class Numbers(msgspec.Struct):
    count: int = 1


Run = Callable[[ToolContext, Numbers], Awaitable[str]]


def tool(run: Run, timeout_s: float = 20) -> Tool[Any]:
    return Tool("probe", "Tries something out.", Numbers, run, effect="read", timeout_s=timeout_s)


async def counting(_: ToolContext, args: Numbers) -> str:
    return "x" * args.count


async def audit(office: Office) -> list[Any]:
    async with office.store.read() as connection:
        rows = await connection.execute(select(tool_calls).order_by(tool_calls.c.id))
        return list(rows.all())


def call(arguments: str = "{}", name: str = "probe", id: str = "call_1") -> ToolCall:
    return ToolCall(id=id, name=name, arguments=arguments)


async def run(
    office: Office, run: Run, arguments: str = "{}", timeout_s: float = 20
) -> tuple[str, bool, Any]:
    """(what the model is told, ok, the audit row)"""
    toolbox = Toolbox(office.store, office.clock, [tool(run, timeout_s)], no_gate)
    text, ok = await toolbox.run(office.context(), call(arguments))
    await toolbox.close()
    return text, ok, (await audit(office))[-1]


async def test_audit_lines_are_forgotten_when_they_are_old(office: Office) -> None:
    toolbox = Toolbox(office.store, office.clock, [tool(counting)], no_gate)
    await toolbox.run(office.context(), call())
    await toolbox.close()
    office.clock.advance(DAY_MS / 1000)
    assert await toolbox.prune(DAY_MS) == 0
    office.clock.advance(1)
    assert await toolbox.prune(DAY_MS) == 1
    assert await audit(office) == []


async def test_a_call_is_answered_counted_and_written_down(office: Office) -> None:
    context = office.context()
    toolbox = Toolbox(office.store, office.clock, [tool(counting)], no_gate)
    with capture_logs() as logs:
        answer = await toolbox.run(context, call('{"count": 3}'))
    await toolbox.close()
    assert answer == ("xxx", True)
    assert context.process.metrics.tool_calls == 1
    [row] = await audit(office)
    assert (row.client_id, row.session_key, row.process_id) == (HOUSE, "s1", context.process.id)
    assert (row.agent, row.tool, row.call_id, row.status) == ("tony", "probe", "call_1", "ok")
    assert row.arguments_sha256 == hashlib.sha256(b'{"count": 3}').hexdigest()
    assert row.at == office.clock.now_ms()
    [event] = [entry for entry in logs if entry["event"] == "tool.called"]
    assert event["status"] == "ok"
    assert event["call_id"] == "call_1"


async def test_what_people_said_is_in_no_audit_line(office: Office) -> None:
    with capture_logs() as logs:
        await office.use("remember", fact="My PIN is 4711", key="pin-4711")
        await office.use("forget", key="4711 as well")
    await office.toolbox.close()
    rows = await audit(office)
    assert [row.status for row in rows] == ["ok", "failed"]
    assert "4711" not in str(rows)
    assert "4711" not in str(logs)
    assert "+1415" not in str(logs)


async def test_an_unknown_tool_is_refused(office: Office) -> None:
    text, ok = await office.toolbox.run(office.context(), call(name="launch\x00_rockets"))
    assert not ok
    assert "no tool named" in text
    await office.toolbox.close()
    [row] = await audit(office)
    assert (row.tool, row.status) == ("launch_rockets", "refused")
    assert "launch_rockets" not in office.toolbox
    assert "remember" in office.toolbox


@pytest.mark.parametrize("arguments", ["", "null", " ", "{}", '{"count": "1"}', '{"other": 1}'])
async def test_arguments_are_read_kindly(office: Office, arguments: str) -> None:
    text, ok, _ = await run(office, counting, arguments)
    assert (text, ok) == ("x", True)


@pytest.mark.parametrize("arguments", ["{", "[]", '{"count": "many"}', '"\ud800"', "\x00"])
async def test_arguments_that_do_not_fit_are_refused(office: Office, arguments: str) -> None:
    text, ok, row = await run(office, counting, arguments)
    assert not ok
    assert "do not fit probe" in text
    assert row.status == "refused"


async def test_a_slow_tool_is_stopped(office: Office) -> None:
    stopped = []

    async def slow(_: ToolContext, __: Numbers) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)
        return ""

    text, ok, row = await run(office, slow, timeout_s=0.01)
    assert not ok
    assert "longer than 0.01 seconds" in text
    assert (row.status, stopped) == ("timeout", [True])


@pytest.mark.parametrize(
    ("error", "told", "kind"),
    [
        (ToolFailed("The printer is out of paper."), "The printer is out of paper.", "ToolFailed"),
        (StorageUnavailable("The disk is full."), "The disk is full.", "StorageUnavailable"),
        (KeyError("secret"), "failed unexpectedly", "KeyError"),
        (TimeoutError(), "failed unexpectedly", "TimeoutError"),
    ],
)
async def test_a_failing_tool_is_told_plainly(
    office: Office, error: Exception, told: str, kind: str
) -> None:
    async def broken(_: ToolContext, __: Numbers) -> str:
        raise error

    with capture_logs() as logs:
        text, ok, row = await run(office, broken)
    assert not ok
    assert told in text
    assert "secret" not in text
    assert (row.status, row.error) == ("failed", kind)
    unexpected = [entry for entry in logs if entry["event"] == "tool.broke"]
    if "unexpectedly" in told:
        assert unexpected[0]["call_id"] == "call_1"
        assert "call_1" in text
    else:
        assert not unexpected


async def test_a_cancelled_call_is_cancelled_and_still_written_down(office: Office) -> None:
    begun = asyncio.Event()

    async def endless(_: ToolContext, __: Numbers) -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    toolbox = Toolbox(office.store, office.clock, [tool(endless)], no_gate)
    running = asyncio.ensure_future(toolbox.run(office.context(), call()))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await toolbox.close()
    [row] = await audit(office)
    assert (row.status, row.error) == ("failed", "CancelledError")


async def test_a_huge_result_is_cut_and_says_so(office: Office) -> None:
    async def wordy(_: ToolContext, __: Numbers) -> str:
        return "ä" * RESULT_BYTES

    text, ok, _ = await run(office, wordy)
    assert ok
    assert RESULT_BYTES - 10 < len(text.encode()) <= RESULT_BYTES
    assert text.endswith(f"(cut: {2 * RESULT_BYTES} bytes in all)")


async def test_a_clean_shutdown_loses_no_audit_line(office: Office) -> None:
    toolbox = Toolbox(office.store, office.clock, [tool(counting)], no_gate)
    context = office.context()
    for number in range(50):
        await toolbox.run(context, call(id=f"call_{number}" + "x" * 100))
    await toolbox.close()
    assert len(await audit(office)) == 50


async def test_a_call_after_the_end_still_answers(office: Office) -> None:
    toolbox = Toolbox(office.store, office.clock, [tool(counting)], no_gate)
    await toolbox.close()
    with capture_logs() as logs:
        assert await toolbox.run(office.context(), call()) == ("x", True)
    assert "tool.audit_lost" in [entry["event"] for entry in logs]


async def test_definitions_are_those_named_in_that_order(office: Office) -> None:
    def names(asked: list[str] | None) -> list[str]:
        return [d["function"]["name"] for d in office.toolbox.definitions(asked)]

    assert names(["recall", "no_such_tool", "remember"]) == ["recall", "remember"]
    assert names([]) == []
    assert len(names(None)) == 16


async def test_tools_that_are_added_are_offered_and_run_but_replace_none(office: Office) -> None:
    office.toolbox.add([tool(counting)])
    assert office.toolbox.definitions(["probe"])
    assert await office.toolbox.run(office.context(), call()) == ("x", True)
    with pytest.raises(ValueError, match="recall"):
        office.toolbox.add([Tool("recall", "Another.", Numbers, counting, effect="send")])
    assert (await office.use("recall", query="x"))[1]


async def test_what_speaks_against_arguments_is_told_instead_of_running(office: Office) -> None:
    ran: list[int] = []

    async def run(_: ToolContext, args: Numbers) -> str:
        ran.append(args.count)
        return "done"

    def odd(args: Numbers) -> str | None:
        return "Only even ones." if args.count % 2 else None

    office.toolbox.add([Tool("probe", "Tries.", Numbers, run, effect="write", why_not=odd)])
    context = office.context()
    assert await office.toolbox.run(context, call('{"count": 2}')) == ("done", True)
    assert await office.toolbox.run(context, call('{"count": 3}')) == ("Only even ones.", False)
    assert ran == [2]


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    name=st.sampled_from(["remember", "recall", "take_message", "current_time", "find_contact"]),
    text=st.text(max_size=50),
    raw=st.none() | st.text(max_size=30),
)
async def test_no_arguments_break_the_turn(
    office: Office, name: str, text: str, raw: str | None
) -> None:
    fields = {"fact": text, "query": text, "to": "tony", "message": text, "timezone": text}
    arguments = raw if raw is not None else msgspec.json.encode(fields).decode()
    with capture_logs() as logs:
        answer, _ = await office.toolbox.run(office.context(), call(arguments, name))
    assert answer
    assert not [entry for entry in logs if entry["event"] == "tool.broke"]
    for process in office.orchestrator.live():
        await office.orchestrator.kill(process.id)
