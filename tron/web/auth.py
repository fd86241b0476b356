"""`/api/auth`: log in as the owner, make tokens for programs, verify and revoke them."""

from collections import OrderedDict, deque
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field
from quart import Blueprint, request

from tron.clock import DAY_MS, Clock, iso, iso_or_none
from tron.errors import NotFound, RateLimited, Unauthenticated
from tron.web.contract import PRINTABLE, Ok, promises
from tron.web.security import arrival, principal

if TYPE_CHECKING:
    from tron.hub import Hub

ATTEMPTS = 5
WINDOW_S = 60.0
ADDRESSES_KEPT = 1024


class Login(BaseModel):
    """The owner's password."""

    password: str = Field(max_length=1024)


class LoginAnswer(BaseModel):
    """A token that may do everything, for a day."""

    token: str
    expires_at: str


class TokenRequest(BaseModel):
    """What a new token is for; a body is not required."""

    name: str = Field("token", min_length=1, max_length=200, pattern=PRINTABLE)
    scopes: list[Annotated[str, Field(pattern="^(chat|read|write|admin)$")]] = Field(
        ["chat", "read", "write"], min_length=1, max_length=4
    )
    days: int | None = Field(None, ge=1, le=3650)


class TokenAnswer(BaseModel):
    """The token, shown this once."""

    token: str
    id: str
    scopes: list[str]
    expires_at: str | None


class Verified(BaseModel):
    """Whose credentials these are."""

    valid: bool
    name: str
    scopes: list[str]
    expires_at: str | None


class Attempts:
    """How often each address has tried to log in lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tried: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Record one attempt. Raises RateLimited if there were too many within the window."""
        now = self._clock.monotonic()
        source = _source(address)
        times = self._tried.setdefault(source, deque(maxlen=ATTEMPTS))
        self._tried.move_to_end(source)
        if len(self._tried) > ADDRESSES_KEPT:
            self._tried.popitem(last=False)
        if len(times) == ATTEMPTS and (wait := times[0] + WINDOW_S - now) > 0:
            raise RateLimited(
                "Too many attempts to log in.", code="too_many_attempts", retry_after=wait
            )
        times.append(now)


def _source(address: str) -> str:
    """An IPv6 customer has a whole /64 to try from."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address[:64]
    return str(ip_network((ip, 64), strict=False)) if isinstance(ip, IPv6Address) else str(ip)


def routes(hub: "Hub") -> Blueprint:
    bp = Blueprint("auth", __name__)
    attempts = Attempts(hub.clock)

    @bp.post("/api/auth/login")
    @promises("public", body=Login, gives=LoginAnswer, fails=(401, 409, 429))
    async def login(data: Login) -> dict[str, Any]:
        """Log in as the owner."""
        attempts.count(arrival(request.scope).address)
        token, expires_at = await hub.security.login(data.password)
        return {"token": token, "expires_at": iso(expires_at)}

    @bp.post("/api/auth/token")
    @promises("admin", body=TokenRequest, gives=TokenAnswer)
    async def create(data: TokenRequest) -> dict[str, Any]:
        """Make a token for a program."""
        expires_at = None if data.days is None else hub.clock.now_ms() + data.days * DAY_MS
        id, token = await hub.security.issue(data.name, data.scopes, expires_at)
        return {
            "token": token,
            "id": id,
            "scopes": data.scopes,
            "expires_at": iso_or_none(expires_at),
        }

    @bp.get("/api/auth/verify")
    @promises("public", gives=Verified, fails=(401,))
    async def verify() -> dict[str, Any]:
        """Say whether the credentials of this request are good."""
        who = principal()
        if (token := arrival(request.scope).token) is not None:
            # Local mode asks for no token, but a bad one is still bad.
            who = await hub.security.principal(token) or who
            if who.token_id is None:
                raise Unauthenticated("The token is not valid.", code="invalid_api_key")
        if not who.scopes:
            raise Unauthenticated("No token was given.", code="invalid_api_key")
        return {
            "valid": True,
            "name": who.name,
            "scopes": sorted(who.scopes),
            "expires_at": iso_or_none(who.expires_at),
        }

    @bp.delete("/api/auth/token/<id>")
    @promises("admin", gives=Ok, fails=(404,))
    async def revoke(id: str) -> dict[str, Any]:
        """Revoke a token at once."""
        if not await hub.security.revoke_token(id):
            raise NotFound("There is no such token.", param="id")
        return {"ok": True}

    return bp
