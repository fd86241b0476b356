"""Who may do what: modes, principals, tokens, the owner, and the guard before every route.

Local mode: the hub listens on loopback and has no owner. A request made on this machine acts as
the owner without credentials, provided its `Host` is a loopback name and no other web site made
it; anything else is refused. Protected mode: there is an owner, or the hub can be reached from
elsewhere. Then a route needs a principal with the scope it declares (`tron.web.contract`).

A request that came through a proxy is never local, whatever its address. Tokens are 32 random
bytes, kept as SHA-256: a lookup by that digest tells an attacker's stopwatch nothing. Nothing
here reads cookies, so no web site can borrow a visitor's rights.
"""

import asyncio
import hashlib
import ipaddress
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec
import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from quart import Quart, Response, g, request, websocket
from sqlalchemy import Connection, delete, insert, select, update
from werkzeug.routing import Rule

from tron.clock import DAY_MS, Clock, iso, iso_or_none
from tron.errors import Conflict, Forbidden, Invalid, StorageUnavailable, Unauthenticated
from tron.settings import LOOPBACK, Settings, SettingsError
from tron.storage.store import Store
from tron.storage.tables import HOUSE, owner, tokens
from tron.web.contract import Need, needs_of

log = structlog.get_logger(__name__)

SCOPES = ("chat", "read", "write", "admin")
SHORTEST_PASSWORD = 8
LOGIN_NAME = "owner login"
LOGIN_MS = DAY_MS
OWNER_REREAD_S = 2.0
TOKEN_CACHE_S = 10.0
TOKEN_CACHE_SIZE = 1024

OTHERS_VIEWS: dict[str, Need] = {"openapi": "read"}
"""routes that quart-schema adds, which can't declare what they need"""

_TOKEN = re.compile(r"tron_[A-Za-z0-9_-]{43}")
_TOKEN_ID = re.compile(r"[0-9a-f]{12}")
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d{1,5})?")
_CORS_PATHS = ("/api/", "/v1/", "/chat/completions")


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """In whose name a request acts."""

    name: str
    scopes: frozenset[str]
    client_id: str = HOUSE
    token_id: str | None = None
    expires_at: int | None = None
    """ms since the epoch; None: does not expire"""

    def may(self, need: Need) -> bool:
        return need == "public" or need in self.scopes or "admin" in self.scopes


LOCAL = Principal(name="local", scopes=frozenset({"admin"}))
"""Somebody at this machine, in local mode: the owner."""
MACHINE = Principal(name="machine", scopes=frozenset({"internal"}))
"""A program on this machine, in protected mode: `/internal/*` and no more."""
NOBODY = Principal(name="nobody", scopes=frozenset())


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What a request's connection and headers say about where it came from."""

    remote: str
    host: str = ""
    origin: str | None = None
    fetch_site: str = ""
    proxied: bool = False
    forwarded_for: str = ""
    token: str | None = None

    @property
    def to_loopback(self) -> bool:
        """Whether `Host` is a name of this machine that no outside DNS can claim."""
        return _loopback_host(self.host)

    @property
    def cross_site(self) -> bool:
        """Whether another web site's page made the request."""
        if self.fetch_site == "cross-site":
            return True
        return self.origin is not None and not loopback_origin(self.origin)

    @property
    def direct(self) -> bool:
        """Whether it was made on this machine, with no proxy in between."""
        return not self.proxied and _loopback_address(self.remote)

    @property
    def address(self) -> str:
        """Whom to count attempts against: the peer, or whom our own proxy names."""
        if _loopback_address(self.remote) and self.forwarded_for:
            return self.forwarded_for.rpartition(",")[2].strip()
        return self.remote


def arrival(scope: Any) -> Arrival:
    """Read an ASGI scope once."""
    found: dict[str, Any] = {"remote": (scope.get("client") or ("",))[0]}
    for raw, value in scope["headers"]:
        name = raw.lower()
        if name == b"host":
            found["host"] = value.decode("latin1")
        elif name == b"authorization":
            kind, _, token = value.decode("latin1").partition(" ")
            found["token"] = token.strip() if kind.lower() == "bearer" else ""
        elif name == b"origin":
            found["origin"] = value.decode("latin1")
        elif name == b"sec-fetch-site":
            found["fetch_site"] = value.decode("latin1").lower()
        elif name.startswith(b"x-forwarded-") or name in (b"forwarded", b"via", b"x-real-ip"):
            found["proxied"] = True
            if name == b"x-forwarded-for":
                found["forwarded_for"] = value.decode("latin1")
    return Arrival(**found)


@lru_cache(256)
def _loopback_host(host: str) -> bool:
    parts = _HOST.fullmatch(host)
    return parts is not None and parts["name"].strip("[]").lower() in LOOPBACK


def loopback_origin(origin: str) -> bool:
    scheme, _, host = origin.partition("://")
    return scheme in ("http", "https") and _loopback_host(host)


@lru_cache(1024)
def _loopback_address(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def check_bind(settings: Settings, has_owner: bool) -> None:
    """Raises SettingsError if the hub would be open to the network with nobody owning it."""
    if not settings.loopback_only and not has_owner:
        raise SettingsError(
            f"TRON_HOST={settings.host} can be reached from other machines, and this hub has no "
            "owner. Set one first: tron owner set"
        )


class Security:
    """Modes, the owner and the tokens of one hub."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._hasher = PasswordHasher()  # argon2id
        self._hashing = asyncio.Semaphore(2)  # each hash takes 64 MiB
        self._owner_read_at = 0.0
        self._cache: OrderedDict[str, tuple[Principal, float]] = OrderedDict()
        self.has_owner = False

    async def load(self) -> None:
        """Read whether there is an owner. Raises StorageUnavailable."""
        self._owner_read_at = self._clock.monotonic()
        async with self._store.read() as conn:
            self.has_owner = (await conn.execute(select(owner.c.id))).first() is not None

    @property
    def protected(self) -> bool:
        return self.has_owner or not self._settings.loopback_only

    async def admit(self, came: Arrival, need: Need) -> Principal:
        """In whose name the request acts. Raises Forbidden or Unauthenticated."""
        if need == "signed":
            return NOBODY
        await self._reread_owner()
        if not self.protected:
            _check_local(came)
            if came.direct:
                return LOCAL
        if need == "public":
            return NOBODY
        if need == "internal" and came.direct and came.to_loopback and not came.cross_site:
            return MACHINE
        principal = await self.principal(came.token or "")
        if principal is None:
            raise Unauthenticated(
                "This needs a valid token: Authorization: Bearer tron_…", code="invalid_api_key"
            )
        if not principal.may(need):
            scope = "admin" if need == "internal" else need
            raise Forbidden(f"This token lacks the scope {scope!r}.", code="insufficient_scope")
        return principal

    async def _reread_owner(self) -> None:
        # `tron owner set` may have run in another process.
        if self._clock.monotonic() - self._owner_read_at < OWNER_REREAD_S:
            return
        try:
            await self.load()
        except StorageUnavailable:
            log.warning("security.owner_unread")  # what was known still holds

    async def principal(self, token: str) -> Principal | None:
        """Whose token this is; None if it is unknown, expired or revoked."""
        if not _TOKEN.fullmatch(token):
            return None
        digest = _digest(token)
        found = self._cache.get(digest)
        if found is None or found[1] < self._clock.monotonic():
            principal = await self._read_token(digest)
            if principal is None:
                self._cache.pop(digest, None)
                return None
            self._remember(digest, principal)
        else:
            principal = found[0]
        if principal.expires_at is not None and principal.expires_at <= self._clock.now_ms():
            return None
        return principal

    async def _read_token(self, digest: str) -> Principal | None:
        query = select(tokens).where(tokens.c.sha256 == digest, tokens.c.revoked_at.is_(None))
        async with self._store.read() as conn:
            row = (await conn.execute(query)).first()
        if row is None:
            return None
        return Principal(
            name=row.name,
            scopes=frozenset(row.scopes.split()),
            client_id=row.client_id,
            token_id=row.id,
            expires_at=row.expires_at,
        )

    def _remember(self, digest: str, principal: Principal) -> None:
        self._cache[digest] = (principal, self._clock.monotonic() + TOKEN_CACHE_S)
        self._cache.move_to_end(digest)
        if len(self._cache) > TOKEN_CACHE_SIZE:
            self._cache.popitem(last=False)

    async def set_owner(self, password: str) -> None:
        """Make `password` the owner's; whoever is logged in with an older one no longer is."""
        if len(password) < SHORTEST_PASSWORD:
            raise Invalid(
                f"The password needs at least {SHORTEST_PASSWORD} characters.", param="password"
            )
        async with self._hashing:
            hashed = await asyncio.to_thread(self._hasher.hash, password)
        now = self._clock.now_ms()

        def replace(conn: Connection) -> None:
            conn.execute(delete(owner))
            conn.execute(insert(owner).values(id=1, password_hash=hashed, created_at=now))
            conn.execute(
                update(tokens)
                .where(tokens.c.client_id == HOUSE, tokens.c.name == LOGIN_NAME)
                .where(tokens.c.revoked_at.is_(None))
                .values(revoked_at=now)
            )

        await self._store.write(replace)
        self.has_owner = True
        self._cache.clear()

    async def login(self, password: str) -> tuple[str, int]:
        """(token, when it expires in ms). Raises Unauthenticated, or Conflict without an owner."""
        async with self._store.read() as conn:
            hashed = (await conn.execute(select(owner.c.password_hash))).scalar()
        if hashed is None:
            raise Conflict("This hub has no owner. Set one: tron owner set", code="no_owner")
        async with self._hashing:
            right = await asyncio.to_thread(self._verify, hashed, password)
        if not right:
            raise Unauthenticated("The password is wrong.", code="wrong_password")
        expires_at = self._clock.now_ms() + LOGIN_MS
        _, token = await self.issue(LOGIN_NAME, ["admin"], expires_at)
        return token, expires_at

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    async def create_token(
        self, name: str, scopes: Iterable[str], days: int | None
    ) -> tuple[str, str]:
        """(id, token) of a new token; the token itself is kept nowhere. Raises Invalid."""
        expires_at = None if days is None else self._clock.now_ms() + days * DAY_MS
        return await self.issue(name, scopes, expires_at)

    async def issue(
        self, name: str, scopes: Iterable[str], expires_at: int | None
    ) -> tuple[str, str]:
        """(id, token) of a new token that is good until `expires_at` (ms). Raises Invalid."""
        wanted = sorted(set(scopes), key=lambda s: SCOPES.index(s) if s in SCOPES else -1)
        unknown = [scope for scope in wanted if scope not in SCOPES]
        if unknown or not wanted:
            raise Invalid(f"Scopes are any of: {', '.join(SCOPES)}.", param="scopes")
        id, token = secrets.token_hex(6), "tron_" + secrets.token_urlsafe(32)
        row = {
            "id": id,
            "client_id": HOUSE,
            "name": name,
            "sha256": _digest(token),
            "scopes": " ".join(wanted),
            "created_at": self._clock.now_ms(),
            "expires_at": expires_at,
        }
        await self._store.write(lambda conn: conn.execute(insert(tokens).values(row)) and None)
        return id, token

    async def revoke_token(self, id: str) -> bool:
        """From now on the token is worth nothing. False if there is no such live token."""
        if not _TOKEN_ID.fullmatch(id):
            return False
        now = self._clock.now_ms()

        def revoke(conn: Connection) -> bool:
            live = (tokens.c.client_id == HOUSE, tokens.c.id == id, tokens.c.revoked_at.is_(None))
            return bool(conn.execute(update(tokens).where(*live).values(revoked_at=now)).rowcount)

        revoked = await self._store.write(revoke)
        self._cache.clear()
        return revoked

    async def list_tokens(self) -> list[dict[str, Any]]:
        """Every token ever made here, newest first, without its secret."""
        query = select(tokens).where(tokens.c.client_id == HOUSE)
        async with self._store.read() as conn:
            rows = (await conn.execute(query.order_by(tokens.c.created_at.desc()))).all()
        return [
            {
                "id": row.id,
                "name": row.name,
                "scopes": row.scopes.split(),
                "created_at": iso(row.created_at),
                "expires_at": iso_or_none(row.expires_at),
                "revoked_at": iso_or_none(row.revoked_at),
            }
            for row in rows
        ]


def _check_local(came: Arrival) -> None:
    if not came.to_loopback:
        raise Forbidden(
            "A hub without an owner answers only to localhost. To reach it by another name: "
            "tron owner set",
            code="host_not_allowed",
        )
    if came.cross_site:
        raise Forbidden("Other web sites may not use this hub.", code="cross_site")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def principal() -> Principal:
    """In whose name the current request acts."""
    found: Principal = g.principal
    return found


def guard(app: Quart, security: Security) -> None:
    """Check every request and every socket of `app` before its view runs; answer CORS."""

    def need_at(rule: Rule | None) -> Need:
        if rule is None:
            return "admin"
        return OTHERS_VIEWS.get(rule.endpoint) or needs_of(app.view_functions[rule.endpoint])

    async def before_request() -> None:
        need = "public" if request.method == "OPTIONS" else need_at(request.url_rule)
        g.principal = await security.admit(arrival(request.scope), need)

    async def before_websocket() -> None:
        g.principal = await security.admit(arrival(websocket.scope), need_at(websocket.url_rule))

    async def after_request(response: Response) -> Response:
        if request.path.startswith(_CORS_PATHS):
            origin = request.headers.get("Origin")
            if security.protected or origin is None or loopback_origin(origin):
                _allow_cross_origin(response)
        return response

    app.before_request(before_request)
    app.before_websocket(before_websocket)
    app.after_request(after_request)


def _allow_cross_origin(response: Response) -> None:
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = "*"
    if request.method == "OPTIONS":
        headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
        headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, *"
        headers["Access-Control-Max-Age"] = "600"
    else:
        headers["Access-Control-Expose-Headers"] = (
            "x-request-id, Retry-After, X-Total-Count, X-Next-Cursor"
        )
