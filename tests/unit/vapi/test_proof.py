"""Who may tell the hub something in VAPI's name."""

import base64
import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from werkzeug.datastructures import Headers

from integrations.vapi.proof import Proof
from tron.errors import NotConfigured, Unauthenticated
from tron.settings import Settings

NOW = 1_700_000_000_000
BODY = b'{"message": {"type": "hang"} }'


def proof(vapi_secret: str = "", **how: Any) -> Proof:
    """`how`: the fields of VAPI_HMAC."""
    return Proof(
        Settings(
            vapi_secret=vapi_secret,
            vapi_hmac=msgspec.json.encode(how).decode() if how else "",
            public_url="https://hub.test/",
        )
    )


def passes(made: Proof, body: bytes = BODY, path: str = "/vapi/events", **headers: str) -> bool:
    sent = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    try:
        made.check(sent, body, method="POST", path=path, now_ms=NOW)
    except Unauthenticated:
        return False
    return True


def test_the_secret_opens() -> None:
    made = proof("s3cret")
    assert passes(made, x_vapi_secret="s3cret")
    assert passes(made, authorization="Bearer s3cret")
    assert not passes(made)
    for wrong in ("", "s3cre", "s3cret ", "S3CRET", "\xff\xfe", "Bearer s3cret"):
        assert not passes(made, x_vapi_secret=wrong), wrong
    assert not passes(made, authorization="Basic s3cret")


def test_with_nothing_set_nothing_opens_and_it_says_how_to_set_it() -> None:
    with pytest.raises(NotConfigured, match="VAPI_SECRET"):
        passes(proof())


def test_vapis_default_signature() -> None:
    """As VAPI's documentation describes it, made here by hand."""
    stamp = str(NOW)
    signature = hmac.new(b"key", f"{stamp}.".encode() + BODY, hashlib.sha256).hexdigest()
    made = proof(secret="key")
    assert passes(made, x_signature=signature, x_timestamp=stamp)
    assert not passes(made, BODY + b" ", x_signature=signature, x_timestamp=stamp)
    assert not passes(made, x_signature=signature, x_timestamp=str(NOW + 1))
    assert not passes(made, x_signature=signature[:-1] + "0", x_timestamp=stamp)
    assert not passes(made, x_timestamp=stamp)
    assert not passes(made, x_signature="", x_timestamp=stamp)


@pytest.mark.parametrize("off_s", [-301, 301, -86_400])
@pytest.mark.parametrize("unit", [1, 1000])
def test_a_replayed_request_is_refused_once_it_is_old(off_s: int, unit: int) -> None:
    stamp = str((NOW + off_s * 1000) * unit // 1000)
    signature = hmac.new(b"key", stamp.encode() + b"." + BODY, hashlib.sha256).hexdigest()
    assert not passes(proof(secret="key"), x_signature=signature, x_timestamp=stamp)


@pytest.mark.parametrize("stamp", [str(NOW), str(NOW // 1000), "2023-11-14T22:13:20Z"])
def test_timestamps_come_in_three_forms(stamp: str) -> None:
    signature = hmac.new(b"key", stamp.encode() + b"." + BODY, hashlib.sha256).hexdigest()
    assert passes(proof(secret="key"), x_signature=signature, x_timestamp=stamp)


@pytest.mark.parametrize("stamp", ["", "soon", "nan", "inf", "1e400"])
def test_a_timestamp_that_is_none_is_refused(stamp: str) -> None:
    signature = hmac.new(b"key", stamp.encode() + b"." + BODY, hashlib.sha256).hexdigest()
    assert not passes(proof(secret="key"), x_signature=signature, x_timestamp=stamp)


def test_every_part_of_the_scheme_can_be_set() -> None:
    key = b"\x00\x01 raw"
    made = proof(
        secret=base64.b64encode(key).decode(),
        base64_secret=True,
        algorithm="sha512",
        signature_header="Svix-Signature",
        timestamp_header="svix-timestamp",
        message_id_header="svix-id",
        payload="{method} {url} {svix-id}.{timestamp}.{body}",
        encoding="base64",
        prefix="v1,",
    )
    signed = f"POST https://hub.test/vapi/events?agent=maya m1.{NOW}.".encode() + BODY
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha512).digest()).decode()
    headers: dict[str, Any] = {
        "svix_signature": f"v1,{signature}",
        "svix_timestamp": str(NOW),
        "svix_id": "m1",
    }
    assert passes(made, path="/vapi/events?agent=maya", **headers)
    assert not passes(made, path="/vapi/events?agent=alex", **headers)
    assert not passes(made, path="/vapi/events?agent=maya", **headers | {"svix_id": "m2"})
    without: dict[str, Any] = headers | {"svix_signature": signature}
    assert not passes(made, path="/vapi/events?agent=maya", **without)


def test_a_body_cannot_pretend_to_be_a_placeholder() -> None:
    made = proof(secret="key", payload="{body}.{timestamp}")
    signature = hmac.new(b"key", b"{timestamp}." + str(NOW).encode(), hashlib.sha256).hexdigest()
    assert passes(made, b"{timestamp}", x_signature=signature, x_timestamp=str(NOW))


def test_both_are_asked_for_where_both_are_set() -> None:
    made = proof("s3cret", secret="key")
    stamp = str(NOW)
    signature = hmac.new(b"key", stamp.encode() + b"." + BODY, hashlib.sha256).hexdigest()
    signed: dict[str, Any] = {"x_signature": signature, "x_timestamp": stamp}
    assert passes(made, x_vapi_secret="s3cret", **signed)
    assert not passes(made, **signed)
    assert not passes(made, x_vapi_secret="s3cret")


@pytest.mark.parametrize(
    "how",
    [
        {"secret": ""},
        {"secret": "key", "payload": "{timestamp}"},
        {"secret": "%%", "base64_secret": True},
        {"secret": "key", "algorithm": "md5"},
        {"secret": "key", "algoritm": "sha1"},
        {"algorithm": "sha1"},
    ],
)
def test_settings_that_prove_nothing_let_nothing_in(how: dict[str, Any]) -> None:
    made = proof(**how)
    assert made.configured
    with pytest.raises(NotConfigured, match="VAPI_HMAC"):
        passes(made, x_vapi_secret="", x_signature="0", x_timestamp=str(NOW))
