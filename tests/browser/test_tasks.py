"""Tasks on the page at `/`: asked for in writing, watched, and answered with a click."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Look
from tests.browser.test_page import FAULTS, answered, say
from tests.harness.hub import Hubs, RunningHub

OFFLINE = {"TRON_BRAIN": "offline"}
WISH = "as a task, create a file notes.txt with hello there, and ask me before every step"


def card(page: Page) -> Locator:
    return page.locator(".task")


def question(page: Page) -> Locator:
    return page.get_by_role("group", name=re.compile(r"May I .*notes\.txt"))


async def status(running: RunningHub) -> str:
    async with running.http.get("/v1/tasks") as answer:
        (task,) = (await answer.json())["tasks"]
    return str(task["status"])


async def asked(look: Look, running: RunningHub, **size: Any) -> Page:
    """The page at `/`, on which a task waits for an answer."""
    page = await look(running, **size)
    await say(page, WISH)
    await answered(page)
    await expect(question(page)).to_be_visible()
    return page


async def test_a_task_is_asked_for_approved_and_seen_to_its_end(hub: Hubs, look: Look) -> None:
    running = await hub(**OFFLINE)
    page = await asked(look, running)
    await expect(page.locator(".news")).to_contain_text("Approval needed: May I")
    await expect(card(page).locator(".task-state")).to_have_text("needs your yes")
    assert await status(running) == "awaiting_approval"
    await question(page).get_by_role("button", name="Approve").click()
    await expect(card(page).locator(".task-state")).to_have_text("done")
    await expect(card(page).locator(".task-result")).to_contain_text("Written: notes.txt")
    await expect(card(page).locator(".steps li")).to_have_text(re.compile(r"\(done\)$"))
    await expect(question(page)).to_be_hidden()
    await expect(page.locator(".news")).to_contain_text(": done")
    assert await page.evaluate("document.activeElement.className") == "task"
    assert await status(running) == "completed"
    await say(page, "Thank you")
    await answered(page)
    await expect(card(page)).to_have_count(0)


async def test_a_no_by_keyboard_alone(hub: Hubs, look: Look) -> None:
    running = await hub(**OFFLINE)
    page = await asked(look, running)
    await question(page).get_by_role("button", name="Deny").focus()
    await page.keyboard.press("Enter")
    await expect(card(page).locator(".task-state")).to_have_text("failed")
    assert await status(running) == "failed"


async def test_what_is_answered_elsewhere_is_seen_and_a_stale_yes_changes_nothing(
    hub: Hubs, look: Look
) -> None:
    running = await hub(**OFFLINE)
    page = await asked(look, running, allow=("400", "ERR_FAILED"))
    async with page.expect_event("requestfailed"):  # from here on it does not hear of it
        await page.route("**/v1/tasks?*", lambda route: route.abort())
    async with running.http.get("/v1/tasks") as answer:
        (task,) = (await answer.json())["tasks"]
    path = f"/v1/tasks/{task['id']}/approve"
    async with running.http.post(path, json={"approved": False}) as answer:
        assert answer.status == 200
    await question(page).get_by_role("button", name="Approve").click()
    await expect(card(page).get_by_role("alert")).to_have_text(re.compile("waits for no"))
    await expect(card(page).locator(".task-state")).to_have_text("failed")
    assert await status(running) == "failed"


async def test_a_task_is_still_there_after_a_reload_and_can_be_cancelled(
    hub: Hubs, look: Look
) -> None:
    running = await hub(**OFFLINE)
    page = await asked(look, running)
    await page.reload()
    await expect(question(page)).to_be_visible()
    await page.get_by_role("radio", name="Maya").check(force=True)
    await expect(card(page)).to_have_count(0)
    await page.get_by_role("radio", name="Tony").check(force=True)
    await card(page).get_by_role("button", name="Cancel").click()
    await expect(card(page).locator(".task-state")).to_have_text("cancelled")
    assert await status(running) == "cancelled"
    await page.reload()
    await expect(page.locator(".card")).to_have_count(5)
    await expect(card(page)).to_have_count(0)


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_question_fits_and_can_be_read(
    hub: Hubs, look: Look, width: int, scheme: str, tmp_path: Path
) -> None:
    page = await asked(look, await hub(**OFFLINE), width=width, height=740, scheme=scheme)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.evaluate(FAULTS) == []
    await page.screenshot(path=tmp_path / "question.png", full_page=True)
