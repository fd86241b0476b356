"""Proof that a webhook comes from VAPI: a shared secret, a signature, or both.

VAPI has no fixed HMAC scheme, every part of it is set in their console; `VAPI_HMAC` says the same
here. Whatever is set up is asked for, always; comparisons take the same time for every guess. The
signature covers the raw body, never a parsed one.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec

from tron.conversation.caller import Headers
from tron.errors import NotConfigured, Unauthenticated
from tron.settings import Settings

SET_UP = (
    "VAPI is not set up. Choose a secret, set it as VAPI_SECRET here and as the credential of the "
    "server URL in VAPI's console (or set VAPI_HMAC); integrations/vapi/README.md has the steps."
)


class Hmac(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`VAPI_HMAC`, as one JSON object. The defaults are VAPI's own."""

    secret: str
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    signature_header: str = "x-signature"
    timestamp_header: str = "x-timestamp"
    message_id_header: str = "svix-id"
    payload: str = "{timestamp}.{body}"
    """what is signed; of {body}, {timestamp}, {method}, {url}, {svix-id}"""
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    """before the signature in its header, such as `sha256=`"""
    base64_secret: bool = False
    """the secret is base64 of the key's bytes"""
    tolerance_s: float = 300.0
    """how old or how far ahead a timestamp may be"""


class Proof:
    """What a request must bring."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.vapi_secret.encode()
        self._public_url = settings.public_url.rstrip("/")
        self.fault = ""
        """why VAPI_HMAC can't be used; nothing is let in then"""
        self._hmac: Hmac | None = None
        self._key = b""
        if settings.vapi_hmac:
            try:
                self._hmac = msgspec.json.decode(settings.vapi_hmac, type=Hmac)
                self._key = key_of(self._hmac)
            except (msgspec.MsgspecError, ValueError) as error:
                self.fault = f"VAPI_HMAC can't be used: {error}"

    @property
    def configured(self) -> bool:
        return bool(self._secret or self._hmac or self.fault)

    def check(self, headers: Headers, raw: bytes, *, method: str, path: str, now_ms: int) -> None:
        """Raises Unauthenticated, or NotConfigured if the settings can't be used."""
        if self.fault:
            raise NotConfigured(self.fault)
        if not self.configured:
            raise NotConfigured(SET_UP)
        if self._secret and not self._has_secret(headers):
            raise Unauthenticated(
                "The secret is missing or wrong (X-Vapi-Secret).", code="wrong_secret"
            )
        if self._hmac is not None:
            self._check_signature(self._hmac, headers, raw, method, path, now_ms)

    def _has_secret(self, headers: Headers) -> bool:
        kind, _, token = (headers.get("Authorization") or "").partition(" ")
        bearer = token.strip() if kind.lower() == "bearer" else ""
        given = headers.get("X-Vapi-Secret") or bearer
        return hmac.compare_digest(given.encode(errors="replace"), self._secret)

    def _check_signature(
        self, how: Hmac, headers: Headers, raw: bytes, method: str, path: str, now_ms: int
    ) -> None:
        given = headers.get(how.signature_header) or ""
        stamp = headers.get(how.timestamp_header) or ""
        if how.prefix:
            given = given.removeprefix(how.prefix) if given.startswith(how.prefix) else ""
        if not given:
            raise Unauthenticated(
                f"The signature is missing ({how.signature_header}).", code="no_signature"
            )
        values = {
            "body": raw,
            "timestamp": stamp.encode(),
            "method": method.encode(),
            "url": f"{self._public_url}{path}".encode(),
            "svix-id": (headers.get(how.message_id_header) or "").encode(),
        }
        signed = sign(how, self._key, values)
        if not hmac.compare_digest(_normal(given, how).encode(errors="replace"), signed.encode()):
            raise Unauthenticated("The signature is wrong.", code="wrong_signature")
        if "{timestamp}" in how.payload:  # after the signature, so that it is theirs
            at = _milliseconds(stamp)
            # The other way round `nan` would pass.
            if at is None or not abs(now_ms - at) <= how.tolerance_s * 1000:
                raise Unauthenticated("The signature is too old.", code="stale_signature")


def sign(how: Hmac, key: bytes, values: dict[str, bytes]) -> str:
    """The signature of `values` put together as `how.payload` says."""
    algorithm: Callable[..., object] = getattr(hashlib, how.algorithm)
    digest = hmac.new(key, _payload(how.payload, values), algorithm).digest()  # type: ignore[arg-type]
    return digest.hex() if how.encoding == "hex" else base64.b64encode(digest).decode()


def _payload(form: str, values: dict[str, bytes]) -> bytes:
    out, rest = b"", form
    while rest:
        before, brace, after = rest.partition("{")
        name, closed, tail = after.partition("}")
        out += before.encode()
        if brace and closed and name in values:
            out += values[name]
            rest = tail
        else:
            out += brace.encode()
            rest = after
    return out


def key_of(how: Hmac) -> bytes:
    """The key's bytes. Raises ValueError, also for settings that would prove nothing."""
    if not how.secret:
        raise ValueError("it needs a secret")
    if "{body}" not in how.payload:
        raise ValueError("the payload must have {body} in it, or nothing would be proven")
    if not how.base64_secret:
        return how.secret.encode()
    try:
        return base64.b64decode(how.secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("the secret is not base64") from None


def _normal(given: str, how: Hmac) -> str:
    return given.strip().lower() if how.encoding == "hex" else given.strip()


def _milliseconds(stamp: str) -> float | None:
    """Seconds, milliseconds or ISO 8601, as ms since the epoch."""
    try:
        number = float(stamp)
        return number if number > 1e11 else number * 1000
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(stamp).timestamp() * 1000
    except ValueError:
        return None
