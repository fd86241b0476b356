"""The page at `/talk`, with a real browser whose microphone is a recording, on the real engines."""

import asyncio
import re
import subprocess
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.conftest import Look
from tests.browser.test_page import FAULTS
from tests.harness.hub import Hubs, RunningHub
from tests.harness.programs import CHROMIUM, program
from tests.harness.waiting import eventually
from tron.calls.audio import resample, wav

RATE = 48_000
SILENCE_BEFORE_S = 8.0
"""until the page has opened the microphone and the socket, and the model is loaded"""
PEAK = """() => {
  window.peaks = [];
  const look = () => {
    window.peaks.push(document.getElementById("voice-level").value);
    requestAnimationFrame(look);
  };
  look();
}"""
LOOKS = 60
"""at the meter, as often as it is drawn: about a second, more where drawing is slow"""


DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def spoken(folder: Path, text: str) -> bytes:
    """PCM16 at 48 kHz of somebody saying `text`."""
    path = folder / "said.wav"
    subprocess.run([program("flite"), "-voice", "slt", "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as said:
        return resample(said.readframes(said.getnframes()), said.getframerate(), RATE)


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * RATE) * 2)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """What the microphone hears; a test may write another one before it opens the page."""
    path = tmp_path / "microphone.wav"
    question = spoken(tmp_path, "What time is it?")
    path.write_bytes(wav(silence(SILENCE_BEFORE_S) + question + silence(20), RATE))
    return path


@pytest.fixture
async def browser(recording: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=program(*CHROMIUM),
            args=[
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={recording}%noloop",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        yield started
        await started.close()


async def opened(look: Look, hub: RunningHub, **size: Any) -> Page:
    """The page, reached from `/`, counting what its loudspeaker plays."""
    page = await look(hub, **size)
    await page.get_by_role("link", name="Talk by voice").click()
    await expect(page.get_by_role("button", name="Start talking")).to_be_enabled()
    await page.evaluate(PEAK)
    return page


async def peak(page: Page) -> float:
    """How loud the persona was since it was last asked."""
    return float(await page.evaluate("Math.max(0, ...window.peaks.splice(0))"))


async def heard(page: Page) -> None:
    """Wait until the persona's voice comes out of the loudspeaker."""

    async def loud() -> bool:
        return await peak(page) > 0.05

    await eventually(loud, what="a sound")


async def warm(running: RunningHub) -> None:
    """The models are loaded before the recording begins to play."""
    async with running.http.get("/v1/onboarding/status") as answer:
        assert answer.status == 200


async def test_a_spoken_question_is_understood_and_answered_aloud(hub: Hubs, look: Look) -> None:
    running = await hub(TRON_BRAIN="offline")
    await warm(running)
    page = await opened(look, running)
    await page.get_by_role("radio", name="Maya").check(force=True)
    await page.get_by_role("button", name="Start talking").click()
    await expect(page.get_by_role("status")).to_have_text("listening")
    assert await peak(page) == 0
    said = page.get_by_role("article", name="You").locator(".text")
    await expect(said).to_have_text(re.compile(r"what time is it", re.I))
    answer = page.get_by_role("article", name="Maya").locator(".text")
    await expect(answer).to_have_text(re.compile(r"\d\d:\d\d"))
    await heard(page)
    await expect(page.get_by_role("status")).to_have_text("speaking")
    await expect(page.locator("#latency")).to_have_text(re.compile(r"^\d+ ms$"))
    await expect(page.get_by_role("status")).to_have_text("listening")  # it ends by itself
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.get_by_role("status")).to_have_text("not connected")


async def test_interrupting_silences_the_answer_at_once(
    hub: Hubs, look: Look, recording: Path
) -> None:
    question = spoken(recording.parent, "What can you do?")  # which takes half a minute to answer
    sound = silence(SILENCE_BEFORE_S) + question + silence(20)
    await asyncio.to_thread(recording.write_bytes, wav(sound, RATE))
    running = await hub(TRON_BRAIN="offline")
    await warm(running)
    page = await opened(look, running)
    await page.get_by_role("button", name="Start talking").click()
    await heard(page)
    await page.keyboard.press("Escape")
    await expect(page.locator(".foot").last).to_have_text("interrupted")
    await page.evaluate(DRAWN)  # the meter shows what was heard when it was last drawn
    await page.evaluate("window.peaks.length = 0")

    async def looked() -> bool:
        return bool(await page.evaluate("window.peaks.length") >= LOOKS)

    await eventually(looked, what="a while of the meter")
    assert await peak(page) < 0.02
    async with running.http.get("/v1/perf/latency") as answer:
        stages = {stage["stage"] for stage in (await answer.json())["stages"]}
    assert "speech_end_to_first_audio" in stages
    assert "turn_total" not in stages


async def test_speaking_up_stops_the_persona(hub: Hubs, look: Look, recording: Path) -> None:
    first = spoken(recording.parent, "What can you do?")  # which takes half a minute to answer
    second = spoken(recording.parent, "Stop. What time is it?")
    sound = silence(SILENCE_BEFORE_S) + first + silence(6) + second + silence(20)
    await asyncio.to_thread(recording.write_bytes, wav(sound, RATE))
    running = await hub(TRON_BRAIN="offline")
    await warm(running)
    page = await opened(look, running)
    await page.get_by_role("button", name="Start talking").click()
    await heard(page)
    await expect(page.get_by_role("article", name="You")).to_have_count(2)
    await expect(page.locator(".foot").filter(has_text="interrupted")).to_have_count(1)
    await expect(page.get_by_role("article", name="Tony")).to_have_count(2)


async def test_the_button_is_held_to_talk(hub: Hubs, look: Look) -> None:
    running = await hub(TRON_BRAIN="offline")
    await warm(running)
    page = await opened(look, running)
    await page.get_by_role("radio", name="hold to talk").check()
    await page.get_by_role("button", name="Start talking").click()
    await expect(page.get_by_role("status")).to_have_text("listening")
    await page.keyboard.down(" ")
    await expect(page.get_by_role("button", name="Let go when you are done")).to_be_visible()
    await expect(page.locator("#partial")).to_have_text(re.compile("time", re.I))

    async def silent() -> bool:
        return "speech_stopped" in await happened(running)

    await eventually(silent, what="the end of the speech")
    # In real time: longer than any pause that would end a turn. Only letting go ends this one.
    await asyncio.sleep(1.5)
    await expect(page.get_by_role("article", name="You")).to_have_count(0)
    await page.keyboard.up(" ")
    said = page.get_by_role("article", name="You").locator(".text")
    await expect(said).to_have_text(re.compile(r"what time is it", re.I))
    kinds = await happened(running)
    assert kinds.index("stop") < kinds.index("commit")
    await heard(page)


async def happened(running: RunningHub) -> list[str]:
    """The kinds of what the hub has noted of its only call so far."""
    async with running.http.get("/api/calls") as answer:
        (call,) = await answer.json()
    async with running.http.get(f"/api/calls/{call['id']}") as answer:
        return [entry["kind"] for entry in (await answer.json())["timeline"]]


async def wished(hub: Hubs, look: Look, recording: Path) -> tuple[RunningHub, Page]:
    """A hub, and the page on which a task was asked for by voice and waits for an answer."""
    wish = spoken(recording.parent, "In the background, tell me the time.")
    sound = silence(SILENCE_BEFORE_S) + wish + silence(20)
    await asyncio.to_thread(recording.write_bytes, wav(sound, RATE))
    running = await hub(TRON_BRAIN="offline")
    rule = {"effect": "read", "decision": "ask"}
    async with running.http.put("/v1/tasks/policies", json=rule) as answer:
        assert answer.status == 200
    await warm(running)
    page = await opened(look, running)
    await page.get_by_role("button", name="Start talking").click()
    await expect(
        page.get_by_role("group", name=re.compile("^May I use current time"))
    ).to_be_visible()
    return running, page


async def stands(running: RunningHub) -> str:
    """How the task of that hub stands."""
    async with running.http.get("/v1/tasks") as answer:
        (task,) = (await answer.json())["tasks"]
    return str(task["status"])


async def test_a_task_asked_for_by_voice_is_approved_with_a_click(
    hub: Hubs, look: Look, recording: Path
) -> None:
    running, page = await wished(hub, look, recording)
    task = page.locator(".task")
    await expect(task.locator(".task-state")).to_have_text("needs your yes")
    await expect(page.locator(".news")).to_contain_text("Approval needed: May I use")
    await task.get_by_role("button", name="Approve").click()
    await expect(task.locator(".task-state")).to_have_text("done")
    await expect(task.locator(".steps li").last).to_contain_text("(done)")
    await expect(task.locator(".task-result")).to_have_text(re.compile(r"\d\d:\d\d"))
    assert await page.evaluate("document.activeElement.className") == "task"
    assert await stands(running) == "completed"


async def test_a_key_answers_also_after_hanging_up(hub: Hubs, look: Look, recording: Path) -> None:
    running, page = await wished(hub, look, recording)
    await page.get_by_role("button", name="Hang up").click()
    await page.get_by_role("checkbox", name="answer tasks with Y N").uncheck()
    await page.locator("#log").focus()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    # In real time, which the page counts by: a key pressed at once was meant for something else.
    await asyncio.sleep(1)
    await page.keyboard.press("n")
    await page.evaluate("fetch('/health')")  # behind which nothing comes that the key began
    assert "GET" in asked
    assert "POST" not in asked
    await page.get_by_role("checkbox", name="answer tasks with Y N").check()
    assert await stands(running) == "awaiting_approval"
    await page.keyboard.press("n")
    await expect(page.locator(".task-state")).to_have_text("failed")
    assert await stands(running) == "failed"


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_and_can_be_read(
    hub: Hubs, look: Look, width: int, scheme: str
) -> None:
    page = await opened(look, await hub(TRON_BRAIN="offline"), width=width, height=740)
    if scheme == "dark":
        await page.emulate_media(color_scheme="dark")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await expect(page.get_by_role("group", name="Who to talk to")).to_be_visible()
    assert await page.evaluate(FAULTS) == []
