"""Proof that a request or a socket comes from Twilio, and single-use tickets for the sockets.

Twilio signs the URL it was given, so the public one is what is checked, never what a proxy or a
peer claims. The socket's upgrade is signed too, over its `wss://` URL. A ticket ties a socket to
the webhook that announced it: minted there, good for a minute, good once.

Without an auth token a hub in local mode lets this machine in unsigned, for simulated calls; for
anybody else it is not set up. A carrier that signs in another way may bring a hub token with the
scope `write`.
"""

import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from werkzeug.datastructures import Headers, MultiDict

from tron.clock import Clock
from tron.errors import Forbidden, NotConfigured, Unauthenticated
from tron.web.security import arrival

if TYPE_CHECKING:
    from tron.hub import Hub

SET_UP = (
    "Twilio is not set up. Set TWILIO_AUTH_TOKEN (from Twilio's console) and TRON_PUBLIC_URL (the "
    "address Twilio reaches this hub at), then restart it; integrations/twilio/README.md has the "
    "steps. Without them only this machine may place simulated calls: tron call demo"
)
NO_URL = "TRON_PUBLIC_URL is not set, so Twilio's signatures can't be checked; see tron config."
HEADER = "X-Twilio-Signature"


class Proof:
    """Judges what arrives on the Twilio routes of one hub."""

    def __init__(self, hub: "Hub") -> None:
        self._security = hub.security
        settings = hub.settings
        self.tokens = [t.strip() for t in settings.twilio_auth_token.split(",") if t.strip()]
        self._public_url: str = settings.public_url.rstrip("/")

    async def check(
        self, scope: Any, headers: Headers, form: "MultiDict[str, str] | None" = None
    ) -> bool:
        """A request with the fields it sent, or a socket that is not accepted yet.

        True: signed by the carrier. False: somebody with rights of their own on this hub. Raises
        Forbidden, NotConfigured or Unauthenticated for everybody else.
        """
        came = arrival(scope)
        signature = headers.get(HEADER, "")
        if signature and self.tokens:
            if not signed(self.url_of(scope), form, signature, self.tokens):
                raise Forbidden("The signature is wrong.", code="bad_signature")
            return True
        if self.tokens and not came.token:
            raise Forbidden("The signature is missing.", code="no_signature")
        try:
            await self._security.admit(came, "write")
        except (Forbidden, Unauthenticated):
            if came.token:
                raise
            raise NotConfigured(SET_UP) from None
        return False

    def url_of(self, scope: Any) -> str:
        """The URL a request was sent to, as its sender knows it. Raises NotConfigured."""
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.decode("latin1").partition("?")[0]
        if query := scope.get("query_string", b"").decode("latin1"):
            path += f"?{query}"
        return self.base(scope, scope["scheme"]) + path

    def base(self, scope: Any, scheme: str) -> str:
        """The public URL without a slash at its end, for http(s) or ws(s) as `scheme` is."""
        public = self._public_url
        if not public:
            came = arrival(scope)
            if not (came.direct and came.to_loopback):
                raise NotConfigured(NO_URL)
            public = f"http://{came.host}"
        return public.replace("http", "ws", 1) if scheme.startswith("ws") else public


def signed(url: str, form: "MultiDict[str, str] | None", signature: str, tokens: list[str]) -> bool:
    """Whether one of `tokens` signed `url` with the fields of `form`."""
    from twilio.request_validator import RequestValidator

    if not signature.isascii():
        return False
    urls = [url]
    parts = urlsplit(url)
    if parts.scheme == "wss" and parts.port is None:  # the validator only knows 80 for it
        urls.append(parts._replace(netloc=f"{parts.netloc}:443").geturl())
    return any(
        RequestValidator(token).validate(candidate, form or {}, signature)
        for token in tokens
        for candidate in urls
    )


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook allowed one socket to be."""

    call_sid: str
    caller: str
    called: str
    direction: str
    agent: str | None = None
    greeting: str | None = None
    """None: the persona's own; empty: none, the call goes on after a break"""


T = TypeVar("T")


class Tickets:
    """Things handed out under a name that nobody can guess, good once and for a while."""

    def __init__(self, clock: Clock, *, good_s: float, most: int = 10_000) -> None:
        self._clock = clock
        self._good_s = good_s
        self._most = most
        self._open: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def mint(self, thing: Any) -> str:
        now = self._clock.monotonic()
        while self._open:  # in the order in which they run out
            name, (until, _) = next(iter(self._open.items()))
            if until > now and len(self._open) < self._most:
                break
            del self._open[name]
        ticket = secrets.token_urlsafe(24)
        self._open[ticket] = (now + self._good_s, thing)
        return ticket

    def redeem(self, ticket: str, kind: type[T]) -> T | None:
        """What it was minted for, once; None if it is unknown, used or too old."""
        until, thing = self._open.pop(ticket, (0.0, None))
        return thing if isinstance(thing, kind) and self._clock.monotonic() < until else None
