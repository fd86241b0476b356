"""The page at `/`, as somebody with a browser, a keyboard or a screen reader meets it."""

import asyncio
import os
import re
import subprocess
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from integrations.openai.fake import FakeProvider
from tests.browser.conftest import Look
from tests.harness.hub import TRON, Hubs, RunningHub

PEOPLE = ["Tony", "Maya", "Alex", "Jordan", "Riley"]


async def say(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Your message").fill(text)
    await page.keyboard.press("Enter")


async def answered(page: Page) -> None:
    await expect(page.get_by_role("button", name="Send")).to_be_visible()


async def test_it_shows_that_the_hub_is_alive_and_who_lives_there(hub: Hubs, look: Look) -> None:
    page = await look(await hub(TRON_BRAIN="offline"))
    await expect(page.get_by_role("status")).to_have_text("the hub is alive")
    await expect(page.locator(".card h3")).to_have_text(PEOPLE)
    await expect(page.locator(".card").first).to_contain_text("technology chief (CTO)")
    await expect(page.locator("#brain")).to_have_text("offline brain")
    await expect(page.locator("#version")).to_have_text(re.compile(r"\d+\.\d+\.\d+"))
    await expect(page.locator("#uptime")).to_have_text(re.compile(r"\d+s"))


async def test_a_message_is_answered_as_it_is_written(
    hub: Hubs, look: Look, fake: FakeProvider
) -> None:
    fake.hold = asyncio.Event()
    running = await hub(TRON_BRAIN="openai", OPENAI_BASE_URL=fake.base_url)
    page = await look(running)
    await page.get_by_role("radio", name="Maya").check(force=True)
    await expect(page.get_by_role("heading", name="Talk to Maya")).to_be_visible()
    await say(page, "Hello there")
    answer = page.get_by_role("article", name="Maya").locator(".text")
    await expect(answer).to_contain_text("word1")
    assert "word50" not in await answer.inner_text()  # so it came in parts
    fake.hold.set()
    await expect(answer).to_contain_text("word50")
    await answered(page)
    await expect(page.get_by_role("article", name="You")).to_have_text("Hello there")
    await expect(page.locator(".foot").last).to_contain_text("tokens")
    async with running.http.get("/api/sessions") as sessions:
        assert [session["agent"] for session in await sessions.json()] == ["Maya"]


async def test_tools_that_were_used_are_shown(hub: Hubs, look: Look) -> None:
    page = await look(await hub(TRON_BRAIN="offline"))
    await say(page, "What time is it?")
    await answered(page)
    await expect(page.locator(".foot").last).to_contain_text("used ")


async def test_stop_ends_the_answer_and_the_next_one_works(hub: Hubs, look: Look) -> None:
    page = await look(await hub(TRON_BRAIN="fake", TRON_FAKE_TOKENS=4_000, TRON_FAKE_DELAY_MS=20))
    for stop in ("button", "Escape"):
        await say(page, "Tell me everything")
        answer = page.get_by_role("article", name="Tony").last.locator(".text")
        await expect(answer).to_contain_text("word3")
        if stop == "button":
            await page.get_by_role("button", name="Stop").click()
        else:
            await page.keyboard.press(stop)
        await answered(page)
        await expect(page.locator(".foot").last).to_have_text("stopped")
        await expect(page.get_by_role("alert")).to_have_count(0)
        assert "word4000" not in await answer.inner_text()


async def test_a_failure_is_shown_as_one(hub: Hubs, look: Look) -> None:
    running = await hub(TRON_BRAIN="fake", TRON_FAKE_TOKENS=4_000, TRON_FAKE_DELAY_MS=20)
    page = await look(running, allow=("ERR_", "Failed to load resource"))
    await say(page, "Hello")
    await expect(page.locator(".text").last).to_contain_text("word3")
    await running.kill()
    await expect(page.locator("#log").get_by_role("alert")).to_be_visible()
    await answered(page)
    await expect(page.get_by_role("status")).to_have_text("the hub does not answer")
    await running.restart()
    await expect(page.get_by_role("status")).to_have_text("the hub is alive")


async def test_the_conversation_stays_in_the_tab(hub: Hubs, look: Look) -> None:
    running = await hub(TRON_BRAIN="fake", TRON_FAKE_TOKENS=3)
    page = await look(running)
    await say(page, "<b>Remember</b> me")
    await expect(page.locator(".text").last).to_have_text("word1 word2 word3.")
    await answered(page)
    await page.reload()
    await expect(page.locator(".text")).to_have_text(["<b>Remember</b> me", "word1 word2 word3."])
    await say(page, "And again")
    await answered(page)
    async with running.http.get("/api/sessions") as sessions:
        assert len(await sessions.json()) == 1  # the same conversation on the hub, too
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.locator(".text")).to_have_count(0)


async def test_a_protected_hub_asks_for_the_password(hub: Hubs, look: Look) -> None:
    running = hub.home(TRON_BRAIN="offline")
    await asyncio.to_thread(_set_owner, running, "correct horse")
    await running.start()
    page = await look(running, allow=("401",))
    dialog = page.get_by_role("dialog", name="This hub is protected")
    await dialog.get_by_label("Password").fill("wrong horse")
    await dialog.get_by_role("button", name="Open").click()
    await expect(dialog.get_by_role("alert")).to_have_text("The password is wrong.")
    await dialog.get_by_label("Password").fill("correct horse")
    await page.keyboard.press("Enter")
    await expect(page.locator(".card h3")).to_have_text(PEOPLE)
    await say(page, "Hello")
    await expect(page.get_by_role("article", name="Tony").locator(".text")).not_to_be_empty()


def _set_owner(hub: RunningHub, password: str) -> None:
    subprocess.run(
        [str(TRON), "owner", "set"],
        input=password.encode(),
        cwd=hub.home,
        env={"PATH": os.environ["PATH"], "TRON_HOME": str(hub.home / "data")},
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_nothing_is_wider_than_the_screen(hub: Hubs, look: Look, width: int) -> None:
    page = await look(await hub(TRON_BRAIN="offline"), width=width, height=740)
    await expect(page.locator(".card")).to_have_count(5)
    await say(page, "supercalifragilistic" * 20)
    await answered(page)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await expect(page.get_by_role("button", name="Send")).to_be_visible()


FAULTS = (Path(__file__).parent / "faults.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_has_a_name_and_can_be_read(hub: Hubs, look: Look, scheme: str) -> None:
    page = await look(
        await hub(TRON_BRAIN="offline"), scheme="dark" if scheme == "dark" else "light"
    )
    await expect(page.locator(".card")).to_have_count(5)
    await say(page, "What time is it?")
    await answered(page)
    await expect(page.get_by_role("log", name="Conversation")).to_be_visible()
    await expect(page.get_by_role("group", name="Who to talk to")).to_be_visible()
    assert await page.evaluate(FAULTS) == []


async def test_the_keyboard_reaches_everything(hub: Hubs, look: Look) -> None:
    page = await look(await hub(TRON_BRAIN="offline"))
    await expect(page.locator(".card")).to_have_count(5)
    reached = []
    for _ in range(20):
        await page.keyboard.press("Tab")
        reached.append(
            await page.evaluate(
                "(e => e.getAttribute('aria-label') || e.value || e.id || e.textContent)"
                "(document.activeElement)"
            )
        )
    assert reached[0] == "Skip to the chat"
    for name in ("tony", "Conversation", "say", "Talk to Riley"):
        assert name in reached, reached
