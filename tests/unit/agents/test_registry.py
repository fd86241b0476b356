"""The folder of personas: who is there, what a change does, what a broken file does."""

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic_core import PydanticUndefined
from structlog.testing import capture_logs

from tests.harness.waiting import PATIENCE_S, eventually
from tron.agents import registry as module
from tron.agents.persona import Activity, Feed, Persona, parse
from tron.agents.registry import Registry
from tron.clock import ManualClock
from tron.errors import NotConfigured, NotFound
from tron.supervise import Tasks

ROOT = Path(__file__).parents[3]


def text(name: str, prompt: str = "", order: int = 1) -> str:
    return (
        f"---\nname: {name}\norder: {order}\ntitle: lead\nfocus: [help]\ntone: calm\n---\n"
        f"{prompt or f'You are {name}.'}\n"
    )


class Folder:
    """Persona files written with the clock's time as their stamp."""

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self.path = path
        self.clock = clock

    def write(self, file: str, content: str) -> None:
        draft = self.path / ".draft"  # so that a watcher never sees half a file
        draft.write_text(content, encoding="utf-8")
        os.utime(draft, ns=(self.clock.now_ms() * 1_000_000,) * 2)
        draft.replace(self.path / file)

    def delete(self, file: str) -> None:
        (self.path / file).unlink()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def folder(tmp_path: Path, clock: ManualClock) -> Folder:
    path = tmp_path / "personas"
    path.mkdir()
    folder = Folder(path, clock)
    folder.write("ann.md", text("Ann", order=2))
    folder.write("ben.md", text("Ben", order=1))
    clock.advance(60)
    return folder


@pytest.fixture
def registry(folder: Folder, clock: ManualClock) -> Registry:
    registry = Registry(folder.path, clock, default="ben")
    assert registry.refresh()
    return registry


def names(registry: Registry) -> list[str]:
    return [persona.name for persona in registry.personas]


def faults(registry: Registry) -> list[str]:
    return [str(fault) for fault in registry.faults]


def prompt(registry: Registry, name: str) -> str:
    persona = registry.get(name)
    assert persona is not None
    return persona.prompt


def test_personas_by_order_then_id(folder: Folder, registry: Registry) -> None:
    assert names(registry) == ["Ben", "Ann"]
    folder.write("abe.md", text("Zoe", order=2))
    assert registry.refresh()
    assert names(registry) == ["Ben", "Zoe", "Ann"]
    assert faults(registry) == []


def test_get_by_name_or_id_in_any_case(folder: Folder, registry: Registry) -> None:
    folder.write("cto.md", text("Çelik Strauß"))
    registry.refresh()
    for handle in ("cto", "CTO", "çelik strauß", "ÇELIK STRAUSS"):
        found = registry.get(handle)
        assert found is not None
        assert found.id == "cto"
    assert registry.get("nobody") is None
    assert registry.get("") is None


def test_get_does_not_need_the_disk(folder: Folder, registry: Registry) -> None:
    folder.delete("ann.md")
    assert registry.get("ann") is not None
    registry.refresh()
    assert registry.get("ann") is None


def test_a_changed_file_is_read_again(folder: Folder, registry: Registry) -> None:
    assert not registry.refresh()
    folder.write("ann.md", text("Ann", "You are new.", order=2))
    assert registry.refresh()
    assert prompt(registry, "ann") == "You are new."
    assert not registry.refresh()


def test_only_changed_files_are_read(
    folder: Folder, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    opened = Path.open

    def spy(path: Path, mode: str = "r", **how: Any) -> Any:
        if mode == "rb":
            read.append(path.name)
        return opened(path, mode, **how)

    monkeypatch.setattr(Path, "open", spy)
    registry.refresh()
    folder.write("ann.md", text("Ann", "You are new."))
    folder.clock.advance(60)
    registry.refresh()
    registry.refresh()
    assert read == ["ann.md"]


def test_a_change_within_the_same_stamp_is_seen(folder: Folder, registry: Registry) -> None:
    folder.write("ann.md", text("Ann", "You are A."))
    registry.refresh()
    with (folder.path / "ann.md").open("r+") as file:  # the same file, of the same size
        file.write(text("Ann", "You are B."))
    os.utime(folder.path / "ann.md", ns=(folder.clock.now_ms() * 1_000_000,) * 2)
    assert registry.refresh()
    assert prompt(registry, "ann") == "You are B."


def test_a_renamed_persona_leaves_its_old_name(folder: Folder, registry: Registry) -> None:
    folder.write("ann.md", text("Anna"))
    assert registry.refresh()
    assert registry.get("Anna") is registry.get("ann")
    folder.write("bob.md", text("Rob"))
    folder.write("ben.md", text("Bo"))
    assert registry.refresh()
    assert registry.get("ben") is registry.get("bo")
    assert faults(registry) == []


def test_a_broken_file_keeps_its_last_good_persona(folder: Folder, registry: Registry) -> None:
    good = registry.get("ann")
    folder.write("ann.md", text("Ann").replace("title: lead", "title: [lead"))
    assert not registry.refresh()
    assert registry.get("Ann") is good
    assert names(registry) == ["Ben", "Ann"]
    [fault] = registry.faults
    assert (fault.file, fault.line) == ("ann.md", 5)
    folder.write("ann.md", text("Ann", "You are mended."))
    assert registry.refresh()
    assert prompt(registry, "ann") == "You are mended."
    assert faults(registry) == []


def test_an_unknown_tool_keeps_the_last_good_persona(folder: Folder, registry: Registry) -> None:
    good = registry.get("ann")
    folder.write("ann.md", text("Ann").replace("tone:", "tools: [rember, recall]\ntone:"))
    assert not registry.refresh()
    assert registry.get("ann") is good
    [fault] = registry.faults
    assert (fault.file, fault.line) == ("ann.md", 6)


def test_the_tools_of_a_plug_in_are_known_once_it_is_there(
    folder: Folder, registry: Registry, clock: ManualClock
) -> None:
    folder.write("ann.md", text("Ann").replace("tone:", "tools: [brew_tea, recall]\ntone:"))
    clock.advance(60)
    assert not registry.refresh()
    registry.know_tools(["brew_tea"])
    assert faults(registry) == []
    ann = registry.get("ann")
    assert ann is not None
    assert ann.tools == ("brew_tea", "recall")


def test_a_file_that_was_never_good_leaves_the_others_working(
    folder: Folder, registry: Registry
) -> None:
    folder.write("cid.md", "You are Cid.")
    assert not registry.refresh()
    assert registry.get("cid") is None
    assert faults(registry) == ["cid.md:1: front matter is missing: line 1 should be `---`"]
    folder.write("ann.md", text("Ann", "You are new."))
    assert registry.refresh()
    assert prompt(registry, "ann") == "You are new."


def test_a_deleted_broken_file_takes_its_persona_and_faults(
    folder: Folder, registry: Registry
) -> None:
    folder.write("ann.md", "")
    registry.refresh()
    folder.delete("ann.md")
    assert registry.refresh()
    assert names(registry) == ["Ben"]
    assert faults(registry) == []


def test_a_name_belongs_to_whoever_has_it(folder: Folder, registry: Registry) -> None:
    folder.write("abe.md", text("ANN"))
    assert not registry.refresh()
    assert names(registry) == ["Ben", "Ann"]
    assert faults(registry) == ["abe.md:2: the name `ann` belongs to ann.md"]
    folder.delete("ann.md")
    assert registry.refresh()
    assert registry.get("ann") is registry.get("abe")
    assert faults(registry) == []


def test_a_new_file_cannot_take_a_name_by_being_called_so(
    folder: Folder, registry: Registry
) -> None:
    folder.write("ann.md", text("Tom"))
    registry.refresh()
    folder.write("tom.md", text("Thomas"))
    assert not registry.refresh()
    assert registry.get("tom") is registry.get("ann")
    assert faults(registry) == ["tom.md:2: the name `tom` belongs to ann.md"]


def test_taking_a_name_keeps_the_last_good_persona(folder: Folder, registry: Registry) -> None:
    folder.write("ben.md", text("Ann", "You are a thief."))
    assert not registry.refresh()
    assert names(registry) == ["Ben", "Ann"]
    assert prompt(registry, "ben") == "You are Ben."
    assert faults(registry) == ["ben.md:2: the name `ann` belongs to ann.md"]


def test_at_start_a_name_belongs_to_the_file_called_so(folder: Folder, clock: ManualClock) -> None:
    folder.write("aaa.md", text("Ann"))
    registry = Registry(folder.path, clock, default="ben")
    registry.refresh()
    assert names(registry) == ["Ben", "Ann"]
    assert faults(registry) == ["aaa.md:2: the name `ann` belongs to ann.md"]


def test_a_missing_folder_is_a_fault(tmp_path: Path, clock: ManualClock) -> None:
    registry = Registry(tmp_path / "none", clock, default="ben")
    assert not registry.refresh()
    assert registry.personas == []
    assert faults(registry) == [f"{tmp_path / 'none'}: can't be read: No such file or directory"]
    (tmp_path / "none").mkdir()
    Folder(tmp_path / "none", clock).write("ann.md", text("Ann"))
    assert registry.refresh()
    assert names(registry) == ["Ann"]
    assert faults(registry) == []


def test_a_folder_that_goes_away_takes_nobody_with_it(folder: Folder, registry: Registry) -> None:
    folder.path.rename(folder.path.with_name("away"))
    assert not registry.refresh()
    assert names(registry) == ["Ben", "Ann"]
    assert len(registry.faults) == 1


def test_an_empty_folder_is_a_fault(folder: Folder, registry: Registry) -> None:
    folder.delete("ann.md")
    folder.delete("ben.md")
    assert registry.refresh()
    assert registry.personas == []
    assert faults(registry) == [f"{folder.path}: holds no persona file (NAME.md)"]


def test_other_files_are_not_looked_at(folder: Folder, registry: Registry) -> None:
    folder.write("notes.txt", "x")
    folder.write(".#ann.md", "x")
    (folder.path / "dir.md").mkdir()
    (folder.path / "dangling.md").symlink_to(folder.path / "nothing")
    assert not registry.refresh()
    assert faults(registry) == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - it waits for a thread
            await asyncio.sleep(0)


async def test_somebody_stands_in_for_a_default_who_does_not_live_here(
    folder: Folder, clock: ManualClock
) -> None:
    registry = Registry(folder.path, clock, default="Nobody")
    registry.refresh()
    assert registry.stand_in is registry.get("nobody") is registry.get("ben")
    tasks = Tasks("test")
    with capture_logs() as logs:
        tasks.start(registry.watch(), "watch")
        await eventually(lambda: bool(logs))
    await tasks.close()
    [line] = logs
    assert (line["event"], line["log_level"]) == ("personas.no_default", "warning")
    assert (line["wanted"], line["stand_in"]) == ("nobody", "ben")
    folder.write("nobody.md", text("Nobody"))
    registry.refresh()
    assert registry.stand_in is None
    moved_in = registry.get("nobody")
    assert moved_in is not None
    assert moved_in.id == "nobody"
    assert Registry(folder.path, clock, default="ann").stand_in is None


async def test_watch_follows_the_folder_and_says_so(
    folder: Folder, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.001)
    tasks = Tasks("test")
    with capture_logs() as logs:
        tasks.start(registry.watch(), "personas")
        folder.write("cid.md", text("Cid", order=3))
        await until(lambda: registry.get("cid") is not None)
        folder.write("ann.md", "broken")
        await until(lambda: bool(registry.faults))
        await until(lambda: any(entry["event"] == "personas.fault" for entry in logs))
        await asyncio.sleep(0.02)
        await tasks.close()
    changed = [entry for entry in logs if entry["event"] == "personas.changed"]
    assert [entry["personas"] for entry in changed] == [["ben", "ann", "cid"]]
    [fault] = [entry for entry in logs if entry["event"] == "personas.fault"]
    assert (fault["file"], fault["line"]) == ("ann.md", 1)


# The personas that are shipped


@pytest.fixture(scope="module")
def shipped() -> Registry:
    registry = Registry(ROOT / "personas", ManualClock(), default="tony")
    registry.refresh()
    return registry


def test_the_shipped_personas_are_complete(shipped: Registry) -> None:
    assert faults(shipped) == []
    assert names(shipped) == ["Tony", "Maya", "Alex", "Jordan", "Riley"]
    for persona in shipped.personas:
        assert persona.id == persona.name.lower()
        assert 250 <= len(persona.prompt.split()) <= 450
        assert persona.prompt.startswith(f"You are {persona.name}")
        assert set(persona.life) == set(get_args(Activity))
        assert persona.feeds
        assert persona.goals
        assert persona.tools is None


def test_the_shipped_personas_know_their_colleagues(shipped: Registry) -> None:
    for persona in shipped.personas:
        for colleague in shipped.personas:
            assert colleague.name in persona.prompt
        assert "AI" in persona.prompt


def test_the_shipped_personas_differ(shipped: Registry) -> None:
    for field in ("title", "focus", "tone", "voice", "emoji", "timezone", "feeds"):
        assert len({getattr(persona, field) for persona in shipped.personas}) == 5


# docs/personas.md


def documented(heading: str) -> dict[str, str]:
    """Field to default, as the table under a heading of the page gives them."""
    page = (ROOT / "docs/personas.md").read_text(encoding="utf-8")
    section = re.split(r"^##+ ", page.partition(f"# {heading}\n")[2], flags=re.M)[0]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", section, flags=re.M)
    return {name: default.strip() for name, default in rows}


@pytest.mark.parametrize(("heading", "model"), [("Fields", Persona), ("Feeds", Feed)])
def test_every_field_is_documented(heading: str, model: type[Persona] | type[Feed]) -> None:
    page = documented(heading)
    assert set(page) == set(model.model_fields)
    for name, field in model.model_fields.items():
        if name == "id":
            continue
        if field.default is PydanticUndefined:
            assert page[name] == "required"
        elif field.default:
            assert page[name] == f"`{field.default}`"


def test_the_documented_examples_are_good() -> None:
    page = (ROOT / "docs/personas.md").read_text(encoding="utf-8")
    whole = re.findall(r"```markdown\n(.*?)```", page, flags=re.S)
    parts = re.findall(r"```yaml\n(.*?)```", page, flags=re.S)
    assert len(whole) == 1
    assert len(parts) == 2
    head = "name: Sam\ntitle: lead\nfocus: [help]\ntone: calm\n"
    for example in whole + [f"---\n{head}{part}---\nYou are Sam.\n" for part in parts]:
        assert parse("sam.md", example.encode()).faults == ()


# Whom a request is for


def test_who_is_wanted(folder: Folder, clock: ManualClock) -> None:
    registry = Registry(folder.path, clock, default="Ann")
    registry.refresh()
    assert registry.wanted("BEN") is registry.named("ben") is registry.get("ben")
    assert registry.wanted(None) is registry.wanted("") is registry.get("ann")
    assert registry.name_of("ann") == "Ann"
    assert registry.name_of("gone") == "gone"


def test_without_the_default_the_first_is_wanted(folder: Folder, clock: ManualClock) -> None:
    for default in ("Nobody", ""):
        registry = Registry(folder.path, clock, default=default)
        registry.refresh()
        assert registry.wanted(None) is registry.get("ben")


def test_whoever_is_unknown_is_not_found_in_the_words_of_the_surface(registry: Registry) -> None:
    for find in (registry.named, registry.wanted):
        with pytest.raises(NotFound, match="There is no agent 'zoe'") as refused:
            find("zoe", param="model", code="model_not_found")
        assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
    with pytest.raises(NotFound):
        registry.named("")
    with pytest.raises(NotFound) as refused:
        registry.wanted("z" * 5_000)
    assert len(refused.value.message) < 100


def test_where_nobody_lives_at_all_the_hub_is_what_is_wrong(
    folder: Folder, clock: ManualClock
) -> None:
    for name in ("ann.md", "ben.md"):
        folder.delete(name)
    registry = Registry(folder.path, clock, default="Ann")
    registry.refresh()
    for nobody in (None, ""):
        with pytest.raises(NotConfigured, match="No persona could be loaded"):
            registry.wanted(nobody, param="agent", code="agent_not_found")
    with pytest.raises(NotFound, match="There is no agent 'ann'"):
        registry.wanted("ann")
    assert registry.name_of("ann") == "ann"
