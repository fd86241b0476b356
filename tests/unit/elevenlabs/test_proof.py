"""Who may tell the hub something in ElevenLabs' name."""

import base64

import pytest
from elevenlabs.client import ElevenLabs
from elevenlabs.speech_engine.resource import verify_speech_engine_jwt

from integrations.elevenlabs.proof import (
    WebhookSignature,
    check_speech_engine,
    mint_speech_engine,
    sign_webhook,
)
from tron.clock import SystemClock
from tron.errors import NotConfigured, Unauthenticated

NOW = 1_700_000_000_000
SECRET = "wsec_test"
BODY = b'{"type": "post_call_transcription", "data": {"a": "\xc3\xa4"}}'
KEY = "sk_0123"


def check(header: str | None, body: bytes = BODY, *, secret: str = SECRET, now: int = NOW) -> None:
    signature = WebhookSignature(header, secret, now)
    signature.feed(body[:7])
    signature.feed(body[7:])
    signature.check()


def test_a_signed_webhook_is_believed() -> None:
    check(sign_webhook(BODY, SECRET, NOW))
    check("v0=" + "0" * 64 + "," + sign_webhook(BODY, SECRET, NOW))  # while a secret is changed


def test_our_signatures_are_those_the_sdk_checks() -> None:
    now = SystemClock().now_ms()
    header = sign_webhook(BODY, SECRET, now)
    event = ElevenLabs(api_key="x").webhooks.construct_event(BODY.decode(), header, SECRET)
    assert event["type"] == "post_call_transcription"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "no_signature"),
        ("", "no_signature"),
        ("t=1700000000", "no_signature"),
        ("v0=abcd", "no_signature"),
        ("t=1e9,v0=abcd", "no_signature"),
        ("t=-5,v0=abcd", "no_signature"),
        ("t=1700000000,v0=ä", "wrong_signature"),
        (sign_webhook(BODY, "another", NOW), "wrong_signature"),
        (sign_webhook(BODY + b" ", SECRET, NOW), "wrong_signature"),
        (sign_webhook(BODY, SECRET, NOW - 31 * 60_000), "stale_signature"),
        (sign_webhook(BODY, SECRET, NOW + 2 * 60_000), "stale_signature"),
    ],
)
def test_any_other_webhook_is_refused(header: str | None, code: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        check(header)
    assert refusal.value.code == code


def test_without_a_secret_nothing_is_believed() -> None:
    with pytest.raises(NotConfigured, match="ELEVENLABS_WEBHOOK_SECRET"):
        check(sign_webhook(BODY, "", NOW), secret="")


def test_a_speech_engine_token_is_believed() -> None:
    check_speech_engine(mint_speech_engine(KEY, NOW), KEY, NOW)
    check_speech_engine("Bearer " + mint_speech_engine(KEY, NOW), KEY, NOW)
    # A key of a region signs as the key without it.
    check_speech_engine(mint_speech_engine(KEY, NOW), f"{KEY}_residency_eu", NOW)


def test_our_tokens_are_those_the_sdk_checks() -> None:
    token = mint_speech_engine(KEY, SystemClock().now_ms())
    assert verify_speech_engine_jwt(token, KEY)["sub"] == "convai_speech_engine_upstream"


def with_algorithm(token: str, head: bytes) -> str:
    encoded = base64.urlsafe_b64encode(head).rstrip(b"=").decode()
    return f"{encoded}.{token.split('.', 1)[1]}"


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "a.b",
        "a.b.c",
        "....",
        "ä.b.c",
        mint_speech_engine("sk_other", NOW),
        mint_speech_engine(KEY, NOW, iss="https://evil.test"),
        mint_speech_engine(KEY, NOW, sub="someone"),
        mint_speech_engine(KEY, NOW, exp=None),
        mint_speech_engine(KEY, NOW, exp=True),
        mint_speech_engine(KEY, NOW, iat="soon"),
        mint_speech_engine(KEY, NOW - 400_000),
        mint_speech_engine(KEY, NOW + 100_000),
        with_algorithm(mint_speech_engine(KEY, NOW), b'{"alg":"none"}'),
        mint_speech_engine(KEY, NOW).rsplit(".", 1)[0] + ".",
        "x" * 9_000,
    ],
)
def test_any_other_token_is_refused(token: str | None) -> None:
    with pytest.raises(Unauthenticated):
        check_speech_engine(token, KEY, NOW)


def test_a_token_signed_right_must_say_its_algorithm() -> None:
    """The signature covers the head, so it has to be made for one that lies."""
    import hashlib
    import hmac

    body = mint_speech_engine(KEY, NOW).split(".")[1]
    signed = "e30." + body  # {}
    mac = hmac.new(hashlib.sha256(KEY.encode()).digest(), signed.encode(), hashlib.sha256)
    token = f"{signed}.{base64.urlsafe_b64encode(mac.digest()).rstrip(b'=').decode()}"
    with pytest.raises(Unauthenticated, match="HS256"):
        check_speech_engine(token, KEY, NOW)


def test_without_a_key_no_speech_engine_is_believed() -> None:
    with pytest.raises(NotConfigured, match="ELEVENLABS_API_KEY"):
        check_speech_engine(mint_speech_engine("", NOW), "", NOW)
