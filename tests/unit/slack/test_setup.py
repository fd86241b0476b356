"""Setting Slack up: which apps the settings name, what the manifest asks for, what stays away."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from integrations.slack import checkup
from integrations.slack.apps import App, apps_of
from integrations.slack.checkup import NEEDED, WANTED, check
from integrations.slack.client import SlackClient
from integrations.slack.fake import FakeSlack
from tron.doctor import Finding
from tron.environment import load_settings
from tron.settings import Settings

FOLDER = Path(checkup.__file__).parent


def apps(**environ: str) -> dict[str, App]:
    return apps_of(load_settings(environ)).by_key


def test_nothing_set_is_no_app() -> None:
    assert apps() == {}
    assert apps(SLACK_CLIENT_ID="1.2") == {}, "half of OAuth is nothing"


def test_a_persona_takes_what_it_lacks_from_the_shared_app() -> None:
    found = apps(
        SLACK_BOT_TOKEN="xoxb-1",
        SLACK_SIGNING_SECRET="s",
        SLACK_APP_TOKEN="xapp-1",
        SLACK_BOT_TOKEN_MAYA="xoxb-2",
    )
    assert found[""] == App(key="", signing_secret="s", bot_token="xoxb-1", app_token="xapp-1")
    assert found["maya"] == App(key="maya", signing_secret="s", bot_token="xoxb-2")


def test_only_personas_may_have_apps() -> None:
    found = apps(SLACK_BOT_TOKEN_MAYA="xoxb-2", SLACK_APP_TOKEN_MAYA="xapp-2")
    assert list(found) == ["maya"]


def test_the_manifest_asks_for_exactly_what_is_used() -> None:
    manifest: Any = yaml.safe_load((FOLDER / "manifest.yaml").read_text())
    assert sorted(manifest["oauth_config"]["scopes"]["bot"]) == sorted([*NEEDED, *WANTED])
    assert manifest["settings"]["socket_mode_enabled"] is True
    events = manifest["settings"]["event_subscriptions"]["bot_events"]
    assert {"app_mention", "message.im", "message.channels", "app_uninstalled"} <= set(events)
    assert [c["command"] for c in manifest["features"]["slash_commands"]] == ["/tron"]


def test_the_readme_names_settings_that_exist() -> None:
    text = (FOLDER / "README.md").read_text()
    known = {row[0] for row in Settings().rows()} | {
        "SLACK_BOT_TOKEN_MAYA",
        "SLACK_APP_TOKEN_MAYA",
        "SLACK_SIGNING_SECRET_MAYA",
    }
    words = {w.strip("`(),.;:=") for w in text.replace("=", " ").split()}
    assert {w for w in words if w.startswith(("SLACK_", "TRON_"))} <= known


def test_a_hub_without_slack_does_not_load_bolt() -> None:
    script = (
        "import sys\n"
        "import tron.app, integrations.slack as slack\n"
        "from types import SimpleNamespace as N\n"
        "from tron.settings import Settings\n"
        "found = slack.attach(N(settings=Settings(), toolbox=N(add=list)))\n"
        "found.blueprint()\n"
        "assert found.channels() == []\n"
        "assert not [m for m in sys.modules if m.startswith(('slack_bolt', 'slack_sdk'))]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


async def findings(slack: FakeSlack, **environ: str) -> list[Finding]:
    settings = load_settings({**environ, "SLACK_API_URL": f"{slack.url}/api"})
    client = SlackClient(settings.slack_api_url)
    found = [finding async for finding in check(apps_of(settings), client)]
    await client.close()
    return found


async def test_the_doctor_is_content_with_a_good_app() -> None:
    async with FakeSlack() as slack:
        found = await findings(slack, SLACK_BOT_TOKEN="xoxb-fake", SLACK_APP_TOKEN="xapp-fake")
    assert [f.state for f in found] == ["ok", "ok"]
    assert "tron in Fake" in found[0].detail


@pytest.mark.parametrize(
    ("scopes", "state", "named"),
    [
        ("chat:write,commands", "failed", "app_mentions:read"),
        (",".join(NEEDED), "warning", "channels:history"),
        ("", "ok", "did not say"),
    ],
)
async def test_the_doctor_names_missing_scopes(scopes: str, state: str, named: str) -> None:
    async with FakeSlack(scopes=scopes) as slack:
        found = await findings(slack, SLACK_BOT_TOKEN="xoxb-fake", SLACK_SIGNING_SECRET="s")
    assert (found[0].state, named in found[0].detail) == (state, True)
    assert state == "ok" or "again" in found[0].hint


async def test_the_doctor_finds_tokens_that_do_not_work() -> None:
    async with FakeSlack() as slack:
        found = await findings(slack, SLACK_BOT_TOKEN="xoxb-old", SLACK_APP_TOKEN="xapp-old")
        assert [f.state for f in found] == ["failed", "failed"]
        assert "invalid_auth" in found[0].detail
        (deaf,) = [
            f for f in await findings(slack, SLACK_BOT_TOKEN="xoxb-fake") if "events" in f.name
        ]
        assert deaf.state == "failed"
        (mute,) = await findings(slack, SLACK_SIGNING_SECRET="s")
        assert (mute.state, "SLACK_BOT_TOKEN" in mute.hint) == ("failed", True)
