"""The built-in tools, called as a model calls them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from integrations.brave.fake import FakeBrave
from tests.harness.stand_ins import no_gate
from tests.unit.tools.conftest import Office
from tron.agents.tool_names import TOOL_NAMES
from tron.app import open_hub
from tron.integrations import attach_all
from tron.settings import Settings
from tron.storage.tables import HOUSE
from tron.tools.contract import Tool
from tron.tools.toolbox import Toolbox

ADA = "+14155551234"


async def test_a_fact_is_remembered_recalled_and_forgotten(office: Office) -> None:
    told, ok = await office.use("remember", fact="The caller's dog is called Rex", key="dog")
    assert ok
    assert "Rex" in told
    found, ok = await office.use("recall", query="what is my dog called?")
    assert ok
    assert "The caller's dog is called Rex [dog]" in found
    assert (await office.use("forget", key="dog"))[1]
    assert await office.use("recall", query="dog") == ("Nothing is remembered about that.", True)
    told, ok = await office.use("forget", key="dog")
    assert not ok
    assert "dog" in told


async def test_another_caller_hears_only_what_is_shared(office: Office) -> None:
    secret = office.context("anonymous-1")
    await office.use("remember", secret, fact="The code is swordfish", key="code")
    await office.use("remember", fact="The office code word is tea", shared=True)
    for caller in (ADA, "anonymous-2", ""):
        found, _ = await office.use("recall", office.context(caller), query="what is the code?")
        assert "tea" in found
        assert "swordfish" not in found
        assert not (await office.use("forget", office.context(caller), key="code"))[1]
    found, _ = await office.use("recall", secret, query="code")
    assert "swordfish" in found


async def test_facts_without_keys_do_not_replace_each_other(office: Office) -> None:
    for fact in ("Flies from Oslo to Rome", "Flies to Oslo from Rome", "She is!", "He was?"):
        await office.use("remember", fact=fact)
        await office.use("remember", fact=fact)  # the same again is still one
    assert len(await office.memory.about(HOUSE, ADA)) == 4


async def test_colleagues_find_what_was_shared(office: Office) -> None:
    assert (await office.use("knowledge_feed"))[0].startswith("Nobody")
    told, ok = await office.use(
        "share_knowledge",
        type="insight",
        title="Ads are dear",
        content="Twice last year's price.",
        domain="marketing",
        tags=["ads"],
    )
    assert ok, told
    maya = office.context(process=office.spawn("maya"))
    for tool, arguments in (
        ("knowledge_feed", {}),
        ("query_knowledge", {}),
        ("query_knowledge", {"query": "what do ads cost?", "author": "Tony", "limit": "5"}),
        ("query_knowledge", {"tags": ["ads"], "domain": "marketing", "type": "insight"}),
    ):
        text, ok = await office.use(tool, maya, **arguments)
        assert ok
        assert "Twice last year's price." in text, arguments
    text, _ = await office.use("query_knowledge", maya, domain="tech")
    assert text.startswith("Nobody")
    _, ok = await office.use("share_knowledge", type="rumour", title="x", content="y")
    assert not ok


async def test_who_is_calling(office: Office) -> None:
    assert "not in the address book" in (await office.use("who_is_calling"))[0]
    told, ok = await office.use(
        "save_contact", name="Ada Lovelace", phone="+1 415 555 1234", company="Engines"
    )
    assert ok, told
    told, _ = await office.use("who_is_calling")
    assert "Ada Lovelace, Engines" in told
    told, _ = await office.use("who_is_calling", office.context("anonymous-1", name="Bob"))
    assert "not identified" in told
    assert "Bob" in told
    assert "Ada" in (await office.use("find_contact", query="somebody at engines"))[0]
    assert (await office.use("find_contact", query="zebra"))[0].startswith("Nobody")


async def test_a_number_without_country_is_refused_with_the_reason(office: Office) -> None:
    told, ok = await office.use("save_contact", name="Bob", phone="555 1234")
    assert not ok
    assert "country code" in told


async def test_a_message_reaches_only_its_persona(office: Office) -> None:
    told, ok = await office.use(
        "take_message", office.context(ADA, name="Ada"), to="maya", message="Please ring back."
    )
    assert ok
    assert "Maya" in told
    [entry] = await office.journal.entries(HOUSE, agent="maya", kinds=["message"])
    assert entry.text == f"From Ada ({ADA}), taken by tony: Please ring back."
    maya = office.context("somebody-else", process=office.spawn("maya"))
    for asked in ({}, {"persona": "Maya"}):  # by whoever talks to her, or to a colleague
        assert (await office.use("read_journal", maya, **asked))[0] == "No entries in that time."
    assert "ring back" not in (await office.use("read_journal", persona="Maya"))[0]
    told, ok = await office.use("take_message", to="Zaphod", message="Hello")
    assert not ok
    assert "Tony, Maya" in told or "Maya, Tony" in told


@pytest.mark.parametrize(
    ("agent", "zone", "expected"),
    [
        ("tony", "", "Friday, 20 November 2026, 09:41 (Europe/Berlin)"),
        ("maya", "", "Friday, 20 November 2026, 03:41 (America/New_York)"),
        ("nobody", "", "Friday, 20 November 2026, 08:41 (UTC)"),
        ("tony", "Asia/Tokyo", "Friday, 20 November 2026, 17:41 (Asia/Tokyo)"),
        ("tony", "new york", "Friday, 20 November 2026, 03:41 (America/New_York)"),
    ],
)
async def test_the_time_is_told(office: Office, agent: str, zone: str, expected: str) -> None:
    context = office.context(process=office.spawn(agent))
    assert await office.use("current_time", context, timezone=zone) == (expected, True)


@pytest.mark.parametrize("zone", ["Europe", "../etc/passwd", "Mars/Olympus", "\x00", "x" * 65])
async def test_no_time_is_made_up(office: Office, zone: str) -> None:
    _, ok = await office.use("current_time", timezone=zone)
    assert not ok


async def test_the_journal_is_written_and_read(office: Office) -> None:
    assert (await office.use("read_journal"))[0] == "No entries in that time."
    await office.use("write_journal", text="Shipped the release.")
    assert "Shipped" in (await office.use("read_journal"))[0]
    maya = office.context(process=office.spawn("maya"))
    assert "Shipped" in (await office.use("read_journal", maya, persona="tony"))[0]
    office.clock.advance(86_400 + 1)
    assert (await office.use("read_journal"))[0] == "No entries in that time."
    assert "Shipped" in (await office.use("read_journal", days=2))[0]
    assert not (await office.use("read_journal", persona="Zaphod"))[1]


async def test_processes_are_listed_without_others_business(office: Office) -> None:
    own = office.spawn("tony", task="planning the party")
    child = office.spawn("maya", task="ordering the cake", parent=own)
    other = office.spawn("riley", task="a secret merger")
    foreign = office.spawn("alex", task="elsewhere", client="acme")
    context = office.context(process=own)
    listed, _ = await office.use("list_processes", context)
    assert listed.startswith("3 running:")
    assert own.id in listed
    assert "ordering the cake" in listed
    assert other.id in listed
    assert "merger" not in listed
    assert foreign.id not in listed
    seen, ok = await office.use("inspect_process", context, id=child.id)
    assert ok
    assert f"parent: {own.id}, depth 1" in seen
    assert "merger" not in (await office.use("inspect_process", context, id=other.id))[0]
    for id in (foreign.id, "nonsense"):
        assert not (await office.use("inspect_process", context, id=id))[1]


async def test_an_ended_process_can_be_inspected(office: Office) -> None:
    own = office.spawn()
    child = office.spawn("maya", parent=own)
    await office.orchestrator.kill(child.id)
    seen, ok = await office.use("inspect_process", office.context(process=own), id=child.id)
    assert ok
    assert "failed" in seen
    assert "error: stopped" in seen


async def searching(office: Office, url: str, key: str, query: str) -> tuple[str, bool]:
    office.toolbox = Toolbox(office.store, office.clock, office.tools(url, key), no_gate)
    try:
        return await office.use("web_search", query=query)
    finally:
        await office.toolbox.close()


async def test_the_web_is_searched(office: Office) -> None:
    async with FakeBrave(key="good") as brave:
        told, ok = await searching(office, brave.url + "/", "good", "rex the dog")
        assert ok
        assert brave.queries == ["rex the dog"]
        assert "1. Page 1 & more about rex the dog\nhttps://pages.example/1" in told
        assert "All there is to know about rex the dog, part 5." in told
        assert "6." not in told
        told, ok = await searching(office, brave.url, "good", "nothing at all")
        assert (told, ok) == ("The web search found nothing.", True)
        _, ok = await searching(office, brave.url, "good", "word " * 80)
        assert ok


async def test_a_search_without_a_key_names_the_setting(office: Office) -> None:
    told, ok = await office.use("web_search", query="rex")
    assert not ok
    assert "BRAVE_API_KEY" in told


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((429, "application/json", "{}"), "quota"),
        ((401, "text/html", "<p>no"), "BRAVE_API_KEY"),
        ((500, "text/plain", "oops"), "status 500"),
        ((302, "text/plain", "over there"), "status 302"),
        ((200, "text/html", "<p>Please log in"), "makes no sense"),
        ((200, "application/json", '{"web": {"results": [{"title": 1}]}}'), "makes no sense"),
        ((200, "text/plain", "x" * 3_000_000), "too long"),
    ],
)
async def test_a_failing_search_is_told_plainly(
    office: Office, answer: tuple[int, str, str], expected: str
) -> None:
    async with FakeBrave(key="good") as brave:
        brave.always = answer
        told, ok = await searching(office, brave.url, "good", "rex")
    assert not ok
    assert expected in told


async def test_a_wrong_key_and_a_dead_service_are_told_apart(office: Office) -> None:
    async with FakeBrave(key="good") as brave:
        told, ok = await searching(office, brave.url, "bad", "rex")
        assert not ok
        assert "does not accept the key" in told
        url = brave.url
    told, ok = await searching(office, url, "good", "rex")
    assert not ok
    assert "can't be reached" in told


@pytest.fixture
async def every_tool(tmp_path: Path) -> AsyncIterator[list[Tool[Any]]]:
    """Those of a whole hub, integrations included."""
    async with open_hub(Settings(home=tmp_path, brain="offline", life=False)) as hub:
        attached = attach_all(hub)
        names = [d["function"]["name"] for d in hub.toolbox.definitions(None, in_task=True)]
        yield [tool for name in names if (tool := hub.toolbox.find(name))]
        for integration in attached:
            await integration.close()


def test_the_page_lists_every_tool_with_its_arguments(every_tool: list[Tool[Any]]) -> None:
    page = Path(__file__).parents[3].joinpath("docs/tools.md").read_text()
    in_tasks = page[page.index("These work in tasks alone") :]
    rows = {
        line.split("`")[1]: line.split("|") for line in page.splitlines() if line.startswith("| `")
    }
    assert rows.keys() == {tool.name for tool in every_tool}
    for tool in every_tool:
        _, name, arguments, effect, limits, _, _ = rows[tool.name]
        parameters = tool.definition["function"]["parameters"]
        expected = []
        for argument, schema in parameters["properties"].items():
            if argument in parameters["required"]:
                expected.append(f"`{argument}`")
            else:
                default = str(schema["default"]).lower() if schema["default"] != "" else '""'
                default = f'"{default}"' if default.isalpha() and default != "false" else default
                expected.append(f"`{argument}?={default}`")
        assert name.strip() == f"`{tool.name}`"
        assert arguments.strip() == (", ".join(expected) or "none"), tool.name
        assert effect.strip() == tool.effect, tool.name
        assert limits.strip().startswith(f"{tool.timeout_s:g} s"), tool.name
        assert (f"| `{tool.name}` |" in in_tasks) is tool.task_only, tool.name


def test_a_persona_file_may_name_every_tool_and_nothing_else(
    every_tool: list[Tool[Any]],
) -> None:
    assert {tool.name for tool in every_tool} | {"end_call", "transfer_call"} == TOOL_NAMES


def test_every_tool_and_argument_is_described_for_the_model(every_tool: list[Tool[Any]]) -> None:
    for tool in every_tool:
        function = tool.definition["function"]
        assert len(function["description"]) > 40, tool.name
        for name, schema in function["parameters"]["properties"].items():
            assert schema.get("description"), f"{tool.name}.{name}"
