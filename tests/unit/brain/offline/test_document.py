"""docs/offline-brain.md says what is true."""

import re
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tests.unit.brain.offline.conftest import HUB_TOOLS, Say, arguments
from tests.unit.brain.offline.test_intents import CALLS
from tron.tools.standard import standard_tools

DOCUMENT = Path(__file__).parents[4] / "docs" / "offline-brain.md"
ROWS = re.findall(
    r"^\| [^|]+ \| ([^|]+) \| (`\w+`|in words) \|$", DOCUMENT.read_text(), re.MULTILINE
)


@pytest.mark.parametrize(("example", "served"), ROWS)
async def test_each_example_is_served_as_documented(say: Say, example: str, served: str) -> None:
    reply = await say(example, tools=[*HUB_TOOLS, "transfer_call", "end_call"])
    if served == "in words":
        assert not reply.calls
        assert not reply.text.startswith(("I can't answer that", "I can't do much"))
    else:
        assert [call.name for call in reply.calls] == [served.strip("`")]


def test_every_tool_that_is_used_is_documented() -> None:
    documented = {served.strip("`") for _, served in ROWS if served != "in words"}
    assert documented == {name for _, name, _ in CALLS}


def hub_tools() -> dict[str, Any]:
    """The hub's real tools; what they work on is not needed to look at their arguments."""
    nothing = cast(Any, None)
    tools = standard_tools(
        memory=nothing,
        knowledge=nothing,
        contacts=nothing,
        journal=nothing,
        agents=nothing,
        orchestrator=nothing,
        clock=nothing,
        web_search_url="https://search.example",
        web_search_key="",
    )
    return {tool.name: tool for tool in tools}


async def test_calls_fit_the_hubs_own_tools(say: Say) -> None:
    tools = hub_tools()
    seen = set()
    for said, name, expected in CALLS:
        if name not in tools:
            continue
        seen.add(name)
        reply = await say(said, tools=[tool.definition for tool in tools.values()])
        assert arguments(reply.calls[0]) == expected
        msgspec.json.decode(reply.calls[0].arguments, type=tools[name].args)
    assert seen == set(tools)
