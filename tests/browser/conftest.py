"""A real browser looking at a real hub: Chromium, driven by playwright.

`look(hub)` opens the page of a hub. When the test is over, everything the page complained about
and every request it made elsewhere is held against it, unless the test allowed it.
"""

from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol

import pytest
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    async_playwright,
    expect,
)

from tests.harness.hub import RunningHub
from tests.harness.programs import program

PATIENCE_MS = 60_000
"""the page asks the hub every four seconds; a busy machine takes its time"""


class Look(Protocol):
    """See the module; sizes are in CSS pixels."""

    async def __call__(
        self,
        hub: RunningHub,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: Literal["light", "dark"] = "light",
        allow: tuple[str, ...] = (),
    ) -> Page: ...


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=program("chromium", "chromium-browser", "google-chrome"),
            args=["--no-sandbox"],
        )
        yield started
        await started.close()


@pytest.fixture
async def look(browser: Browser) -> AsyncIterator[Look]:
    complaints: list[str] = []

    async def open_page(
        hub: RunningHub,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: Literal["light", "dark"] = "light",
        allow: tuple[str, ...] = (),
    ) -> Page:
        size: Any = {"width": width, "height": height}
        context = await browser.new_context(viewport=size, color_scheme=scheme)
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page = await context.new_page()

        def complain(text: str) -> None:
            if not any(allowed in text for allowed in allow):
                complaints.append(text)

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                complain(f"{message.type}: {message.text}")

        def on_request(request: Request) -> None:
            if not request.url.startswith(hub.base_url + "/"):
                complain(f"request elsewhere: {request.url}")

        page.on("console", on_console)
        page.on("pageerror", lambda error: complain(f"exception: {error}"))
        page.on("request", on_request)
        await page.goto(hub.base_url + "/")
        return page

    yield open_page
    assert not complaints, "\n".join(complaints)
