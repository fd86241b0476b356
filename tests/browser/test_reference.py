"""The API's page at `/docs`, reached from `/` as a visitor reaches it."""

import asyncio
import json
import re
import shlex

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Look
from tests.browser.test_page import FAULTS, _set_owner
from tests.harness.hub import Hubs, RunningHub

GROUPS = [
    "Chat",
    "Sessions",
    "Voice",
    "Calls",
    "Tasks",
    "Operators",
    "Life",
    "Access",
    "Internal",
    "Integrations",
    "Pages",
]
OPEN_ALL = "for (const box of document.querySelectorAll('main details')) box.open = true"


async def visit(page: Page) -> None:
    await page.get_by_role("link", name="API").click()
    await expect(page.locator("#count")).to_have_text(re.compile(r"^\d+ routes$"))


def route(page: Page, name: str) -> Locator:
    """By its method and path, as they stand there."""
    return (
        page.locator(".route")
        .filter(has=page.get_by_text(name.split()[1], exact=True))
        .filter(has=page.locator(".method").get_by_text(name.split()[0], exact=True))
    )


async def described(hub: RunningHub) -> set[str]:
    async with hub.http.get("/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


async def test_every_route_is_there_in_its_group(hub: Hubs, look: Look) -> None:
    running = await hub(TRON_BRAIN="offline")
    page = await look(running)
    await visit(page)
    names = await page.locator(".route > summary").evaluate_all(
        "all => all.map(s => `${s.children[0].textContent} ${s.children[1].textContent}`)"
    )
    assert len(names) == len(set(names))
    assert set(names) == await described(running)
    async with running.http.get("/docs") as docs, running.http.get("/") as front:
        policy = docs.headers["Content-Security-Policy"]
        assert policy == front.headers["Content-Security-Policy"]
    await expect(page.locator("#groups h2")).to_have_text(GROUPS)
    chat = page.get_by_role("region", name="Chat")
    await expect(chat.get_by_text("/v1/chat/completions", exact=True)).to_be_visible()
    await expect(route(page, "DELETE /api/sessions/{key}").locator(".need")).to_have_text("write")


async def test_a_route_says_what_it_takes_and_gives(hub: Hubs, look: Look) -> None:
    page = await look(await hub(TRON_BRAIN="offline"))
    await visit(page)
    chat = route(page, "POST /v1/chat/completions")
    await expect(chat.get_by_text("Body", exact=True)).to_be_hidden()
    await chat.locator("summary").first.focus()
    await page.keyboard.press("Enter")
    await expect(chat.get_by_text("a token with the scope chat")).to_be_visible()
    messages = chat.locator("li", has_text="messages").first
    await expect(messages).to_contain_text("required")
    await messages.get_by_text("Fields of").first.click()
    await expect(messages.get_by_text("content", exact=True).first).to_be_visible()  # resolved
    await expect(chat.locator("li", has_text="429")).to_contain_text("too many requests")
    days = route(page, "GET /api/history")
    await days.locator("summary").first.click()
    await expect(days.locator("li", has_text="days").first).to_contain_text("whole number")
    await page.reload()  # the address names what was opened last
    await expect(days.locator("li", has_text="days").first).to_be_visible()
    await expect(page.locator("main")).not_to_contain_text("Built-in")  # words of Python's own


async def test_its_curl_line_works(hub: Hubs, look: Look) -> None:
    running = await hub(TRON_BRAIN="offline")
    page = await look(running)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await visit(page)
    chat = route(page, "POST /v1/chat/completions")
    await chat.locator("summary").first.click()
    await chat.get_by_role("button", name="Copy").click()
    await expect(chat.get_by_role("button", name="Copied")).to_be_visible()
    line = await page.evaluate("navigator.clipboard.readText()")
    assert "Authorization" not in line  # nothing is asked of this machine
    curl = await asyncio.create_subprocess_exec(
        *shlex.split(line), "-sS", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await curl.communicate()
    assert json.loads(out)["choices"][0]["message"]["content"]


async def test_the_filter_finds_routes(hub: Hubs, look: Look) -> None:
    page = await look(await hub(TRON_BRAIN="offline"))
    await visit(page)
    shown = page.locator(".route:visible .path")
    total = await shown.count()
    await page.keyboard.press("/")
    await page.keyboard.type("DELETE session")
    await expect(shown).to_have_text(["/api/sessions/{key}"])
    await expect(page.get_by_role("status")).to_have_text(f"1 of {total} routes")
    await expect(page.locator("#groups h2:visible")).to_have_text(["Sessions"])
    await page.get_by_role("button", name="Open all").click()
    await expect(page.locator(".route[open]")).to_have_count(1)
    await page.keyboard.press("/")
    await page.get_by_role("searchbox", name="Filter").fill("no such thing")
    await expect(page.get_by_text("No route matches.")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(shown).to_have_count(total)


async def test_a_protected_hub_asks_once_for_both_pages(hub: Hubs, look: Look) -> None:
    running = hub.home(TRON_BRAIN="offline")
    await asyncio.to_thread(_set_owner, running, "correct horse")
    await running.start()
    page = await look(running, allow=("401",))
    await page.get_by_label("Password").fill("correct horse")
    await page.keyboard.press("Enter")
    await expect(page.locator(".card")).to_have_count(5)
    await visit(page)
    await expect(page.get_by_role("dialog")).to_have_count(0)
    line = route(page, "GET /api/status").locator("pre")
    await expect(line).to_contain_text('"Authorization: Bearer $TRON_TOKEN"')
    await page.evaluate("sessionStorage.clear()")
    await page.reload()
    await page.get_by_role("dialog").get_by_label("Password").fill("correct horse")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("/v1/chat/completions", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_nothing_is_wider_than_the_screen(hub: Hubs, look: Look, width: int) -> None:
    page = await look(await hub(TRON_BRAIN="offline"), width=width, height=740)
    await visit(page)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await page.evaluate(OPEN_ALL)
    await expect(page.get_by_role("button", name="Copy").last).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_has_a_name_and_can_be_read(hub: Hubs, look: Look, scheme: str) -> None:
    page = await look(
        await hub(TRON_BRAIN="offline"), scheme="dark" if scheme == "dark" else "light"
    )
    await visit(page)
    await page.evaluate(OPEN_ALL)
    assert await page.evaluate(FAULTS) == []
