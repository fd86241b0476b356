"""Tasks while hubs die: each ends once, what was done is not done again, nobody is texted twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.harness.hub import Hubs, RunningHub
from tests.harness.waiting import eventually

ENDED = ("completed", "failed", "cancelled")
TASKS, PAGES = 12, 4
KILLED = 2
MANY = 1000
MARKS = ("task_step_started", "task_step_completed", "task_completed", "task_failed")


class Outside:
    """What steps reach: pages that are fetched, and a carrier that takes texts. Counts both."""

    def __init__(self) -> None:
        self.fetched: Counter[str] = Counter()
        self.texts: list[str] = []
        self.free: set[str] = set()
        """paths that are answered at once"""
        self._answers = asyncio.Semaphore(0)
        self.port = 0

    async def __aenter__(self) -> "Outside":
        app = web.Application()
        app.router.add_get("/{path:.*}", self._page)
        app.router.add_post("/{path:.*}", self._text)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def allow(self, answers: int) -> None:
        """So many more pages and texts are answered; others wait."""
        for _ in range(answers):
            self._answers.release()

    async def _page(self, request: web.Request) -> web.Response:
        self.fetched[request.path] += 1
        if request.path not in self.free:
            await self._answers.acquire()
        return web.Response(text=f"This is {request.path}.", content_type="text/plain")

    async def _text(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.texts.append(str(form["Body"]))
        await self._answers.acquire()
        return web.json_response({"sid": "SM" + "0" * 32, "status": "queued"}, status=201)

    def settings(self) -> dict[str, str]:
        return {
            "TRON_BRAIN": "offline",
            "TRON_FETCH_HOSTS": f"127.0.0.1:{self.port}",
            "TWILIO_API_URL": f"http://127.0.0.1:{self.port}",
            "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
            "TWILIO_AUTH_TOKEN": "secret",
            "TWILIO_PHONE_NUMBER": "+14155550100",
        }

    def page(self, path: str) -> dict[str, Any]:
        return {"tool": "fetch_page", "arguments": {"url": f"http://127.0.0.1:{self.port}{path}"}}


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    async with Outside() as made:
        yield made


def plan(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"node": f"n{place}", "title": f"step {place}", **step}
        for place, step in enumerate(steps, 1)
    ]


def text(body: str) -> dict[str, Any]:
    return {"tool": "send_sms", "arguments": {"to": "+14155550123", "text": body}}


async def new(hub: RunningHub, name: str, *steps: dict[str, Any]) -> str:
    body = {"intent_text": name, "plan": plan(*steps)}
    async with hub.http.post("/v1/tasks", json=body) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["task_id"])


async def see(hub: RunningHub, task: str) -> dict[str, Any]:
    async with hub.http.get(f"/v1/tasks/{task}") as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def log(hub: RunningHub, task: str) -> list[dict[str, Any]]:
    async with hub.http.get(f"/v1/tasks/{task}/events?limit=500") as answer:
        found: list[dict[str, Any]] = (await answer.json())["events"]
        return found


async def say(hub: RunningHub, task: str, approved: bool) -> int:
    async with hub.http.post(f"/v1/tasks/{task}/approve", json={"approved": approved}) as answer:
        return answer.status


async def is_(hub: RunningHub, task: str, *statuses: str) -> None:
    async def reached() -> bool:
        return (await see(hub, task))["status"] in statuses

    await eventually(reached, what=f"{task} {statuses}")


def done(outside: Outside) -> int:
    return outside.fetched.total()


async def test_hubs_that_die_leave_nothing_undone_and_do_nothing_again(
    outside: Outside, database_url: str, hub: Hubs
) -> None:
    """Three hubs on one database; two are killed one after the other, in the middle of steps."""
    settings = {"TRON_DATABASE_URL": database_url, **outside.settings()}
    hubs = [await hub(**settings) for _ in range(3)]
    tasks = [
        await new(hubs[n % 3], f"task {n}", *(outside.page(f"/{n}/{m}") for m in range(PAGES)))
        for n in range(TASKS)
    ]
    outside.allow(TASKS)
    await eventually(lambda: done(outside) == 2 * TASKS)
    await hubs[0].kill()
    outside.allow(4)
    await eventually(lambda: done(outside) >= 2 * TASKS + 4)
    await hubs[1].kill()
    outside.allow(MANY)
    last = hubs[2]
    for task in tasks:
        await is_(last, task, *ENDED)
    for task in tasks:
        assert (await see(last, task))["status"] == "completed"
        lines = await log(last, task)
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        kinds = Counter(line["type"] for line in lines)
        assert kinds["task_completed"] == 1
        assert kinds["task_step_completed"] == PAGES
    assert len(outside.fetched) == TASKS * PAGES
    for n in range(TASKS):
        fetched = [outside.fetched[f"/{n}/{m}"] for m in range(PAGES)]
        # A hub that dies may have been in the middle of one step of each of its tasks.
        assert sum(fetched) <= PAGES + KILLED, f"task {n} did finished steps again: {fetched}"


async def test_every_boundary_of_a_task_survives_a_crash(hub: Hubs, outside: Outside) -> None:
    """Tasks stand in the middle of each of their steps, before a question and behind the first
    step, when the hub is killed."""
    running = await hub(**outside.settings())
    tasks = []
    for place in range(PAGES):
        pages = [outside.page(f"/{place}/{m}") for m in range(PAGES)]
        outside.free |= {f"/{place}/{m}" for m in range(place)}
        tasks.append(await new(running, f"in step {place + 1}", *pages))
        await eventually(lambda place=place: outside.fetched[f"/{place}/{place}"] == 1)  # type: ignore[misc]
    asked = await new(running, "asked", text("asked"), outside.page("/asked"))
    paused = await new(running, "paused", outside.page("/paused"), outside.page("/resumed"))
    await eventually(lambda: outside.fetched["/paused"] == 1)
    async with running.http.post(f"/v1/tasks/{paused}/pause") as answer:
        assert answer.status == 200
    await running.kill()
    outside.allow(MANY)
    await running.restart()
    assert (await see(running, asked))["status"] == "awaiting_approval"
    assert await say(running, asked, True) == 200
    for task in (*tasks, asked):
        await is_(running, task, *ENDED)
        assert (await see(running, task))["status"] == "completed", await log(running, task)
    for place in range(PAGES):
        fetched = [outside.fetched[f"/{place}/{m}"] for m in range(PAGES)]
        assert fetched == [2 if m == place else 1 for m in range(PAGES)]
    assert outside.texts == ["asked"]
    assert (await see(running, paused))["status"] == "paused"
    async with running.http.post(f"/v1/tasks/{paused}/resume") as answer:
        assert answer.status == 200, await answer.text()
    await is_(running, paused, "completed")


async def test_a_text_that_may_have_been_sent_is_not_sent_again_unasked(
    hub: Hubs, outside: Outside
) -> None:
    running = await hub(**outside.settings())
    task = await new(running, "text them", text("hello"), outside.page("/after"))
    assert await say(running, task, True) == 200
    await eventually(lambda: outside.texts == ["hello"])  # taken, and the answer is lost
    await running.kill()
    outside.allow(MANY)
    await running.restart()
    await is_(running, task, "awaiting_approval")
    asked = (await see(running, task))["approval"]
    assert "may have happened" in asked["prompt"]
    assert outside.texts == ["hello"]
    assert await say(running, task, False) == 200
    await is_(running, task, "failed")
    assert outside.texts == ["hello"]
    assert outside.fetched["/after"] == 0


async def test_a_question_survives_a_crash_and_the_work_goes_on_from_there(
    hub: Hubs, outside: Outside
) -> None:
    running = await hub(**outside.settings())
    outside.allow(MANY)
    task = await new(running, "look, then tell", outside.page("/first"), text("{{n1}}"))
    await is_(running, task, "awaiting_approval")
    await running.kill()
    await running.restart()
    waiting = await see(running, task)
    words = waiting["approval"]["arguments"]["text"]
    assert "This is /first." in words
    assert await say(running, task, True) == 200
    await is_(running, task, "completed")
    assert outside.texts == [words]
    assert outside.fetched["/first"] == 1
    assert await say(running, task, True) != 200  # the same yes, sent again
    assert outside.texts == [words]


async def test_a_hub_that_is_told_to_stop_leaves_its_tasks_to_the_next(
    hub: Hubs, outside: Outside
) -> None:
    running = await hub(TRON_DRAIN_S=1, **outside.settings())
    tasks = [await new(running, f"t{n}", outside.page(f"/{n}"), outside.page("/x")) for n in "ab"]
    await eventually(lambda: done(outside) == 2)
    assert await running.terminate() == 0
    outside.allow(MANY)
    await running.start()
    for task in tasks:
        await is_(running, task, "completed")
        kinds = [line["type"] for line in await log(running, task) if line["type"] in MARKS]
        assert kinds.count("task_completed") == 1
