"""Where the app is installed: tokens of each workspace, in our database, encrypted.

Implements bolt's installation and state stores for the OAuth flow, and hands out bot tokens: a
token from the settings first, else the one of the workspace. A token that expires is rotated some
time before, by one hub at a time; until then the old one still works. Tokens are sealed with
`TRON_SECRET_KEY`, or with a key file in the data folder; whoever reads the database alone reads
no token.
"""

import base64
import hashlib
import logging
import os
import secrets
from typing import Any

import msgspec
import structlog
from cryptography.fernet import Fernet, InvalidToken
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.installation_store.models.bot import Bot
from slack_sdk.oauth.installation_store.models.installation import Installation
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore
from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, update

from integrations.slack.client import Refused, SlackClient
from tron.clock import Clock
from tron.settings import Settings
from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import HOUSE
from tron.storage.tables import slack_installations as table
from tron.storage.tables import slack_states as states

log = structlog.get_logger(__name__)

ROTATE_BEFORE_MS = 2 * 3_600_000
ROTATING_MS = 60_000
STATE_MS = 600_000
KEY_FILE = "secret.key"


class Seal:
    """Encrypts what must not be read from the database alone."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.secret_key.encode() or _key_file(settings)
        self._fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret).digest()))

    def close(self, value: Any) -> str:
        return self._fernet.encrypt(msgspec.json.encode(value)).decode()

    def open(self, sealed: str) -> Any:
        """None if it was sealed with another key."""
        try:
            return msgspec.json.decode(self._fernet.decrypt(sealed.encode()))
        except InvalidToken:
            return None


def _key_file(settings: Settings) -> bytes:
    path = settings.home / KEY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_hex(32).encode())
    return path.read_bytes()


class Installations(AsyncInstallationStore):
    """The table, for the hub's own tenant."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, client: SlackClient) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._client = client
        self._seal: Seal | None = None

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger(__name__)

    @property
    def seal(self) -> Seal:
        if self._seal is None:
            self._seal = Seal(self._settings)
        return self._seal

    # What bolt's OAuth flow asks for

    async def async_save(self, installation: Installation) -> None:
        """Keep a new installation, replacing an earlier one of the same workspace."""
        await self._save(
            enterprise=installation.enterprise_id or "",
            team="" if installation.is_enterprise_install else installation.team_id or "",
            bot=installation.to_bot(),
        )
        log.info(
            "slack.installed", team=installation.team_id, enterprise=installation.enterprise_id
        )

    async def async_find_bot(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        is_enterprise_install: bool | None = False,
    ) -> Bot | None:
        row = await self._find(enterprise_id or "", team_id or "")
        return None if row is None else self._bot(row)

    # What the rest of the integration asks for

    async def token(self, team: str, enterprise: str = "") -> str | None:
        """The bot token of a workspace, rotated if it is about to expire; None: not installed."""
        row = await self._find(enterprise, team)
        bot = None if row is None else self._bot(row)
        if row is None or bot is None:
            return None
        if row.expires_at is not None and row.expires_at < self._clock.now_ms() + ROTATE_BEFORE_MS:
            bot = await self._rotated(row, bot)
        return bot.bot_token

    async def remove(self, team: str) -> bool:
        """Forget a workspace, or an organisation. False if it was not known."""
        whole = and_(table.c.team_id == "", table.c.enterprise_id == team)
        place = and_(table.c.client_id == HOUSE, or_(table.c.team_id == (team or None), whole))
        gone = await self._store.write(
            lambda conn: conn.execute(delete(table).where(place)).rowcount
        )
        return gone > 0

    async def listing(self) -> list[tuple[str, str]]:
        """(enterprise, team) of every installation."""
        query = select(table.c.enterprise_id, table.c.team_id).where(table.c.client_id == HOUSE)
        async with self._store.read() as conn:
            return [(row.enterprise_id, row.team_id) for row in (await conn.execute(query)).all()]

    async def _find(self, enterprise: str, team: str) -> Row[Any] | None:
        """The workspace's own, else that of the organisation it belongs to."""
        whole = and_(table.c.enterprise_id == (enterprise or team), table.c.team_id == "")
        query = (
            select(table)
            .where(table.c.client_id == HOUSE)
            .where(or_(table.c.team_id == (team or None), whole))
            .order_by(table.c.team_id.desc())
            .limit(1)
        )
        async with self._store.read() as conn:
            return (await conn.execute(query)).first()

    def _bot(self, row: Row[Any]) -> Bot | None:
        found = self.seal.open(row.sealed)
        if found is None:
            log.error("slack.sealed_with_another_key", team=row.team_id)
            return None
        return Bot(**found)

    async def _rotated(self, row: Row[Any], bot: Bot) -> Bot:
        """Exchange the token, unless another hub is at it; the old one works meanwhile."""
        now = self._clock.now_ms()
        claim = (
            update(table)
            .where(table.c.id == row.id, table.c.rotating_until < now)
            .where(table.c.updated_at == row.updated_at)
            .values(rotating_until=now + ROTATING_MS)
        )
        if not await self._store.write(lambda conn: conn.execute(claim).rowcount):
            return bot
        try:
            answer = await self._client.call(
                "",
                "oauth.v2.access",
                patience_s=10.0,
                client_id=self._settings.slack_client_id,
                client_secret=self._settings.slack_client_secret,
                grant_type="refresh_token",
                refresh_token=bot.bot_refresh_token,
            )
        except Refused as fault:
            log.warning("slack.not_rotated", team=row.team_id, error=fault.error)
            return bot
        fresh = Bot(**_plain(bot))
        fresh.bot_token = str(answer["access_token"])
        fresh.bot_refresh_token = str(answer["refresh_token"])
        fresh.bot_token_expires_at = now // 1000 + int(answer["expires_in"])
        await self._save(enterprise=row.enterprise_id, team=row.team_id, bot=fresh)
        log.info("slack.rotated", team=row.team_id)
        return fresh

    async def _save(self, *, enterprise: str, team: str, bot: Bot) -> None:
        now = self._clock.now_ms()
        place = {"client_id": HOUSE, "enterprise_id": enterprise, "team_id": team}
        expires = bot.bot_token_expires_at
        values = {
            "sealed": self.seal.close(_plain(bot)),
            "expires_at": None if expires is None else int(expires) * 1000,
            "rotating_until": 0,
            "updated_at": now,
        }

        def unit(conn: Connection) -> None:
            if not insert_new(conn, table, **place, **values):
                same = and_(*(table.c[name] == value for name, value in place.items()))
                conn.execute(update(table).where(same).values(values))

        await self._store.write(unit)


class States(AsyncOAuthStateStore):
    """Marks of installations under way: each is good once, on any hub of this database."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger(__name__)

    async def async_issue(self, *args: Any, **kwargs: Any) -> str:
        now, state = self._clock.now_ms(), secrets.token_urlsafe(32)

        def unit(conn: Connection) -> None:
            conn.execute(delete(states).where(states.c.expires_at < now))
            conn.execute(
                insert(states).values(state=state, client_id=HOUSE, expires_at=now + STATE_MS)
            )

        await self._store.write(unit)
        return state

    async def async_consume(self, state: str) -> bool:
        now = self._clock.now_ms()
        mine = (states.c.client_id == HOUSE, states.c.state == state, states.c.expires_at > now)
        return await self._store.write(
            lambda conn: conn.execute(delete(states).where(*mine)).rowcount == 1
        )


def _plain(bot: Bot) -> dict[str, Any]:
    known = ("app_id", "enterprise_id", "enterprise_name", "team_id", "team_name", "bot_token")
    more = ("bot_id", "bot_user_id", "bot_scopes", "bot_refresh_token", "bot_token_expires_at")
    last = ("is_enterprise_install", "installed_at")
    return {name: getattr(bot, name) for name in (*known, *more, *last)}
