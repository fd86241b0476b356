"""The pages under docs/ and the README say what is there: all of it, and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tron.app import create_app, open_hub
from tron.cli import app as command_line
from tron.heartbeat import BEAT_S, DEAD_AFTER_MS
from tron.integrations import attach_all
from tron.settings import Settings
from tron.web.contract import needs_of
from tron.web.security import OTHERS_VIEWS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("README.md"), *ROOT.glob("docs/**/*.md")])
CADDY_READS = set(re.findall(r"\{\$(\w+)", (ROOT / "Caddyfile").read_text()))
IN_EXAMPLES = {"TRON_TOKEN"}
"""variables of the reader's own shell"""


def commands() -> Iterator[tuple[str, Any]]:
    """(`tron life run PERSONA ACTIVITY`, command) of every command that does something."""

    def walk(words: str, command: Any) -> Iterator[tuple[str, Any]]:
        below = getattr(command, "commands", None)
        if below is None:
            arguments = [(p.name or "").upper() for p in command.params if not is_option(p)]
            yield " ".join([words, *arguments]), command
        for name, child in (below or {}).items():
            yield from walk(f"{words} {name}", child)

    root = typer.main.get_command(command_line)
    yield "tron", root
    yield from walk("tron", root)


def is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def options_of(command: Any) -> set[str]:
    return {o for p in command.params if is_option(p) for o in p.opts} - {"--help"}


def rows(page: str) -> list[list[str]]:
    """Cells of every table row of a page."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]


def test_settings_page_is_the_table_of_settings() -> None:
    secret = {spec.metadata["env"] for spec in fields(Settings) if spec.metadata["secret"]}
    expected = [
        [
            f"`{env}`{' 🔒' if env in secret else ''}",
            f"`{default}`" if default else "",
            meaning,
        ]
        for env, _, default, meaning in Settings().rows()
    ]
    assert [row for row in rows("settings.md") if row[0].startswith("`")] == expected


def test_cli_page_lists_every_command_with_its_options() -> None:
    listed = {
        row[0].strip("`"): set(re.findall(r"--[a-z-]+", row[1]))
        for row in rows("cli.md")
        if row[0].startswith("`tron")
    }
    assert listed == {words: options_of(command) for words, command in commands()}


async def routes(home: Path) -> dict[str, list[str]]:
    """`GET /api/sessions/{key}` -> who may call it and what it does."""
    found = {}
    async with open_hub(Settings(home=home)) as hub:
        app = create_app(hub, attach_all(hub))
        for rule in app.url_map.iter_rules():
            view = app.view_functions[rule.endpoint]
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                about = (view.__doc__ or "The description of all of this.").split("\n")[0]
                need = OTHERS_VIEWS.get(rule.endpoint) or needs_of(view)
                found[f"{method} {path}"] = [need, about]
    return found


async def test_routes_page_is_the_table_of_routes(tmp_path: Path) -> None:
    listed = {row[0].strip("`"): row[1:] for row in rows("routes.md") if row[0].startswith("`")}
    assert listed == await routes(tmp_path)


async def test_pages_name_only_routes_that_exist(tmp_path: Path) -> None:
    known = {re.sub(r"\{\w+\}", "{}", route) for route in await routes(tmp_path)}
    for page in PAGES:
        for route in re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`\s?]*)", page.read_text()):
            assert re.sub(r"\{\w+\}", "{}", route) in known, f"{page.name}: {route}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_only_settings_that_exist(page: Path) -> None:
    known = {spec.metadata["env"] for spec in fields(Settings)} | CADDY_READS | IN_EXAMPLES
    named = set(re.findall(r"\b(?:TRON|OPENAI|BRAVE)_[A-Z0-9_]*[A-Z0-9]\b", page.read_text()))
    assert named <= known


def test_pages_say_when_a_silent_hub_counts_as_dead() -> None:
    pages = [*PAGES, *ROOT.glob("integrations/*/README.md")]
    text = " ".join(" ".join(page.read_text().split()) for page in pages)
    assert set(re.findall(r"heartbeat every ([\d.]+) s", text)) == {f"{BEAT_S:g}"}
    assert set(re.findall(r"silent for ([\d.]+) s", text)) == {f"{DEAD_AFTER_MS / 1000:g}"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_only_commands_and_options_that_exist(page: Path) -> None:
    known = {words.split(" ")[1]: command for words, command in commands() if " " in words}
    for line in re.findall(r"(?:^|` ?|bin/|\| )tron ([a-z][^`\n#]*)", page.read_text(), re.M):
        words = line.split()
        assert words[0] in known, f"{page.name}: tron {line}"
        given = set(re.findall(r"(?<!\S)--[a-z-]+", line.partition("|")[0]))
        possible = {
            o for at, c in commands() if at.startswith(f"tron {words[0]}") for o in options_of(c)
        }
        assert given <= possible | {"--help"}, f"{page.name}: tron {line}"
