"""Proof that something comes from ElevenLabs: the webhook signature and the Speech Engine's token.

Both are checked against the raw bytes, in constant time, and against the clock in both directions.
The SDK's own checks let a timestamp lie in the future and any `alg` pass; these do not.
"""

import base64
import binascii
import hashlib
import hmac
import re
from typing import Any

import msgspec

from tron.errors import NotConfigured, Unauthenticated

WEBHOOK_WINDOW_S = 30 * 60
AHEAD_S = 60
"""how far a clock of theirs may be ahead of ours"""
LEEWAY_S = 60
ISSUER = "https://api.elevenlabs.io/convai/speech-engine"
SUBJECT = "convai_speech_engine_upstream"
NO_SECRET = (
    "ELEVENLABS_WEBHOOK_SECRET is not set: it is shown once when the webhook is made in "
    "ElevenLabs' console."
)
NO_KEY = "ELEVENLABS_API_KEY is not set: its owner's Speech Engine signs with it."

_RESIDENCY = re.compile(r"_residency_[a-z0-9]+$")
"""a key's region, which is no part of what is signed with"""


class WebhookSignature:
    """`ElevenLabs-Signature: t=<unix>,v0=<hex>` over `t.body`, fed as the body comes in."""

    def __init__(self, header: str | None, secret: str, now_ms: int) -> None:
        """Raises NotConfigured or Unauthenticated before a byte of the body is read."""
        if not secret:
            raise NotConfigured(NO_SECRET)
        parts = [part.strip().partition("=") for part in (header or "").split(",")]
        stamp = next((value for name, _, value in parts if name == "t"), "")
        self._given = [value for name, _, value in parts if name == "v0"]
        if not self._given or not re.fullmatch(r"[0-9]{1,12}", stamp):
            raise Unauthenticated(
                "The signature is missing (ElevenLabs-Signature).", code="no_signature"
            )
        age_s = now_ms / 1000 - int(stamp)
        if age_s > WEBHOOK_WINDOW_S or age_s < -AHEAD_S:
            raise Unauthenticated("The signature is too old.", code="stale_signature")
        self._mac = hmac.new(secret.encode(), f"{stamp}.".encode(), hashlib.sha256)

    def feed(self, data: bytes) -> None:
        self._mac.update(data)

    def check(self) -> None:
        """All of the body was fed. Raises Unauthenticated."""
        right = self._mac.hexdigest().encode()
        if not any(
            hmac.compare_digest(given.encode(errors="replace"), right) for given in self._given
        ):
            raise Unauthenticated("The signature is wrong.", code="wrong_signature")


def sign_webhook(raw: bytes, secret: str, now_ms: int) -> str:
    """The header ElevenLabs would send with `raw`."""
    stamp = now_ms // 1000
    mac = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256)
    return f"t={stamp},v0={mac.hexdigest()}"


def check_speech_engine(token: str | None, api_key: str, now_ms: int) -> None:
    """Check the Speech Engine's JWT. Raises NotConfigured or Unauthenticated."""
    if not api_key:
        raise NotConfigured(NO_KEY)
    claims = _claims((token or "").strip(), api_key)
    now_s = now_ms / 1000
    expires, issued = _time(claims.get("exp")), _time(claims.get("iat"))
    if claims.get("iss") != ISSUER or claims.get("sub") != SUBJECT:
        raise _wrong("The token is for something else.")
    if expires is None or issued is None:
        raise _wrong("The token has no exp or iat.")
    if now_s > expires + LEEWAY_S or now_s < issued - LEEWAY_S:
        raise _wrong("The token has expired, or is not valid yet.")


def _claims(token: str, api_key: str) -> dict[str, Any]:
    """What a token says whose signature is right."""
    if token.lower().startswith("bearer "):
        token = token[7:].strip()
    parts = token.split(".")
    if len(parts) != 3 or len(token) > 8_000:
        raise _wrong("The token is missing or no JWT.")
    signed = f"{parts[0]}.{parts[1]}".encode()
    right = hmac.new(speech_engine_key(api_key), signed, hashlib.sha256).digest()
    try:
        head, body = (msgspec.json.decode(_decoded(part)) for part in parts[:2])
        if not hmac.compare_digest(_decoded(parts[2]), right):
            raise _wrong("The token was signed with another API key.")
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        raise _wrong("The token can't be read.") from None
    if not isinstance(head, dict) or head.get("alg") != "HS256" or not isinstance(body, dict):
        raise _wrong("The token's algorithm is not HS256.")
    return body


def speech_engine_key(api_key: str) -> bytes:
    """What ElevenLabs signs Speech Engine tokens with."""
    return hashlib.sha256(_RESIDENCY.sub("", api_key.strip()).encode()).digest()


def mint_speech_engine(api_key: str, now_ms: int, **claims: Any) -> str:
    """The token ElevenLabs would send."""
    now_s = now_ms // 1000
    body = {"iss": ISSUER, "sub": SUBJECT, "iat": now_s, "exp": now_s + 300} | claims
    head = {"alg": "HS256", "typ": "JWT"}
    signed = ".".join(_encoded(msgspec.json.encode(part)) for part in (head, body))
    mac = hmac.new(speech_engine_key(api_key), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_encoded(mac)}"


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    padded = part.encode() + b"=" * (-len(part) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)


def _time(given: Any) -> float | None:
    return given if isinstance(given, int | float) and not isinstance(given, bool) else None


def _wrong(message: str) -> Unauthenticated:
    return Unauthenticated(message, code="wrong_token")
