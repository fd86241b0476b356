"""The tools of a task's workspace, as a step calls them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.tools.conftest import Office
from tron.conversation.turns import ToolCall
from tron.tasks.commands import Commands, Ran
from tron.tools.contract import StepScope
from tron.tools.toolbox import Outcome
from tron.tools.workshop import READ_BYTES, workshop


class Shop:
    """One task with its workspace."""

    def __init__(self, office: Office, folder: Path) -> None:
        self.office = office
        self.folder = folder
        self.commands = Commands("confined")
        self.lines: list[str] = []
        office.toolbox.add(workshop(self.commands))

    async def use(self, tool: str, **arguments: Any) -> Outcome:
        step = StepScope(
            task_id="t1",
            step_id="t1.n1",
            key="k",
            begun_at=0,
            workspace=self.folder,
            log=self.lines.append,
        )
        context = msgspec.structs.replace(self.office.context(), step=step)
        call = ToolCall(id="c", name=tool, arguments=msgspec.json.encode(arguments).decode())
        return await self.office.toolbox.perform(context, call)


@pytest.fixture
def shop(office: Office, tmp_path: Path) -> Shop:
    return Shop(office, tmp_path / "workspaces" / "t1")


async def test_files_are_written_read_and_listed(shop: Shop) -> None:
    assert (await shop.use("list_files")).text == "The workspace is empty."
    written = await shop.use("write_file", path="a/poem.txt", content="rosé\nviolet\n")
    assert written == Outcome("Written: a/poem.txt (13 bytes).", "ok")
    assert (await shop.use("read_file", path="a/poem.txt")).text == "rosé\nviolet\n"
    assert (await shop.use("read_file", path="a/poem.txt", from_line=2)).text == "violet\n"
    assert "- a/poem.txt (13 bytes" in (await shop.use("list_files")).text
    assert (await shop.use("read_file", path="a/poem.txt", from_line=9)).status == "failed"
    await shop.use("write_file", path="empty", content="")
    assert "is empty" in (await shop.use("read_file", path="empty")).text


async def test_a_long_file_is_read_in_parts(shop: Shop) -> None:
    lines = [f"line {number} " + "x" * 90 for number in range(1, 1_500)]
    await shop.use("write_file", path="long", content="\n".join(lines))
    first = (await shop.use("read_file", path="long")).text
    assert len(first) < READ_BYTES + 100
    told = first.rpartition("from line ")[2]
    number = int(told.split()[0])
    second = (await shop.use("read_file", path="long", from_line=number)).text
    assert second.startswith(f"line {number} ")


@pytest.mark.parametrize("tool", ["write_file", "read_file"])
@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x"])
async def test_paths_outside_are_refused(shop: Shop, tool: str, path: str) -> None:
    more = {"content": "x"} if tool == "write_file" else {}
    outcome = await shop.use(tool, path=path, **more)
    assert outcome.status == "failed"
    assert "workspace" in outcome.text
    assert not shop.folder.exists()


async def test_what_is_no_text(shop: Shop) -> None:
    shop.folder.mkdir(parents=True)
    (shop.folder / "picture").write_bytes(b"\x89PNG\0\0")
    assert "no text file" in (await shop.use("read_file", path="picture")).text
    assert (await shop.use("read_file", path="nothing")).status == "failed"


@pytest.mark.parametrize(
    ("ran", "status", "told"),
    [
        (Ran(status=0, why="", output="42\n"), "ok", "42"),
        (Ran(status=0, why="", output=""), "ok", "wrote nothing"),
        (Ran(status=3, why="", output="no such thing"), "failed", "exit status 3"),
        (Ran(status=None, why="It took too long.", output="half"), "failed", "too long. What"),
    ],
)
async def test_what_became_of_a_command_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, ran: Ran, status: str, told: str
) -> None:
    async def run(workspace: Any, argv: list[str], **given: Any) -> Ran:
        assert argv == ["/bin/sh", "-c", "make"]
        assert workspace.root == shop.folder
        given["told"]("making")
        return ran

    monkeypatch.setattr(shop.commands, "run", run)
    outcome = await shop.use("run_command", command="make")
    assert outcome.status == status
    assert told in outcome.text
    assert ran.output.strip() in outcome.text
    assert shop.lines == ["making"]


async def test_where_commands_are_off_it_says_so(office: Office, tmp_path: Path) -> None:
    shop = Shop(office, tmp_path)
    shop.commands._setting = "off"
    outcome = await shop.use("run_command", command="ls")
    assert outcome.status == "refused"
    assert "TRON_TASK_COMMANDS" in outcome.text


async def test_conversations_have_no_workspace(shop: Shop) -> None:
    offered = [d["function"]["name"] for d in shop.office.toolbox.definitions(None)]
    planned = [d["function"]["name"] for d in shop.office.toolbox.definitions(None, in_task=True)]
    for tool in ("write_file", "read_file", "list_files", "run_command"):
        assert tool not in offered
        assert tool in planned
        assert shop.office.toolbox.definitions([tool]) == []
        told, ok = await shop.office.use(tool, path="x", content="y", command="ls")
        assert not ok
        assert told == f"{tool} works in tasks only."
