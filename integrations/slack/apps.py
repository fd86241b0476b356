"""Which Slack apps this hub is, from the settings.

One shared app answers as whoever is asked for; a persona may have an app of its own besides
(`SLACK_BOT_TOKEN_MAYA`), which always answers as that persona. What a persona's app does not set
it takes from the shared one.
"""

import msgspec

from tron.settings import Settings

SHARED = ""
"""key of the shared app"""
KINDS = ("SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN")


class App(msgspec.Struct, frozen=True, kw_only=True):
    """One Slack app. Empty: not set."""

    key: str
    """persona id; empty: the shared app"""
    signing_secret: str = ""
    bot_token: str = ""
    app_token: str = ""
    """its own alone: two sockets on one app would share its events at random"""


class Apps(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    by_key: dict[str, App]
    oauth: bool
    """other workspaces may install the shared app"""

    def get(self, key: str) -> App | None:
        """The app with routes at `key`; a persona without its own uses the shared one's keys."""
        if key in self.by_key:
            return self.by_key[key]
        shared = self.by_key.get(SHARED)
        return msgspec.structs.replace(shared, key=key, app_token="") if shared else None


def apps_of(settings: Settings) -> Apps:
    """The apps that the settings name; none if Slack is not set up."""
    shared = App(
        key=SHARED,
        signing_secret=settings.slack_signing_secret,
        bot_token=settings.slack_bot_token,
        app_token=settings.slack_app_token,
    )
    found = {}
    oauth = bool(settings.slack_client_id and settings.slack_client_secret)
    if shared != App(key=SHARED) or oauth:
        found[SHARED] = shared
    own: dict[str, dict[str, str]] = {}
    for name, value in settings.slack_personas:
        kind = next(kind for kind in KINDS if name.startswith(kind + "_"))
        persona = name.removeprefix(kind + "_").lower()
        own.setdefault(persona, {})[kind.removeprefix("SLACK_").lower()] = value
    for persona, given in own.items():
        found[persona] = App(
            **{
                "key": persona,
                "signing_secret": shared.signing_secret,
                "bot_token": shared.bot_token,
                **given,
            }
        )
    return Apps(by_key=found, oauth=oauth)
