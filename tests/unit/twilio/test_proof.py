"""Who is let in: signatures over the public URL, and tickets that are good once."""

import pytest
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from integrations.twilio.proof import Grant, Tickets, signed
from tests.unit.twilio.conftest import Office, Offices, fixture
from tron.clock import ManualClock

# A published signature of a WebSocket upgrade; its author says that the token was revoked.
REVOKED = "c0e4d9d4fff66d194f3101ccd7c3a38c"
UPGRADE = "wss://70cd1a93aa44.ngrok-free.app/"
UPGRADE_SIGNATURE = "CSS4F/5/iw8S6Zkm3aULeNJaVC8="

TOKEN = "12345"
PUBLIC = "https://hub.example"
FORM: dict[str, str] = fixture("voice.json")


def sign(path: str, form: dict[str, str] | None = None, *, base: str = PUBLIC) -> str:
    return str(RequestValidator(TOKEN).compute_signature(base + path, form or {}))


def test_the_published_signature_of_an_upgrade() -> None:
    assert signed(UPGRADE, None, UPGRADE_SIGNATURE, [REVOKED])
    assert not signed(UPGRADE.replace("wss", "https"), None, UPGRADE_SIGNATURE, [REVOKED])
    assert not signed(UPGRADE.rstrip("/"), None, UPGRADE_SIGNATURE, [REVOKED])
    assert not signed(UPGRADE, None, UPGRADE_SIGNATURE, ["another"])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("https://hub.example/x", "https://hub.example:443/x"),
        ("https://hub.example:443/x", "https://hub.example/x"),
        ("wss://hub.example/x", "wss://hub.example:443/x"),
        ("wss://hub.example:443/x", "wss://hub.example/x"),
    ],
)
def test_with_and_without_the_port(ours: str, theirs: str) -> None:
    signature = RequestValidator(TOKEN).compute_signature(theirs, {})
    assert signed(ours, None, signature, [TOKEN])


def test_repeated_and_blank_fields_are_part_of_what_is_signed() -> None:
    form = MultiDict([("B", "2"), ("A", ""), ("B", "1"), ("B", "2")])
    signature = RequestValidator(TOKEN).compute_signature("https://hub.example/x", form)
    assert signed("https://hub.example/x", form, signature, [TOKEN])
    assert not signed("https://hub.example/x", MultiDict([("B", "2")]), signature, [TOKEN])


def test_either_token_while_it_is_changed() -> None:
    signature = RequestValidator("old").compute_signature("https://hub.example/x", {})
    assert signed("https://hub.example/x", None, signature, ["new", "old"])
    assert not signed("https://hub.example/x", None, "ünicode", ["new", "old"])


async def test_a_signed_webhook_is_answered(offices: Offices) -> None:
    async with offices(twilio_auth_token=f"new,{TOKEN}", public_url=PUBLIC) as office:
        path = "/twilio/voice?agent=maya"
        status, body = await office.request(
            "POST", path, FORM, remote="203.0.113.9", X_Twilio_Signature=sign(path, FORM)
        )
        assert status == 200
        assert 'url="wss://hub.example/twilio/media"' in body
        status, _ = await office.request(
            "GET",
            "/twilio/voice?CallSid=CA1&From=%2B14155550100",
            remote="203.0.113.9",
            X_Twilio_Signature=sign("/twilio/voice?CallSid=CA1&From=%2B14155550100"),
        )
        assert status == 200


async def test_what_is_forged_is_refused(offices: Offices) -> None:
    async with offices(twilio_auth_token=TOKEN, public_url=PUBLIC) as office:
        good = sign("/twilio/voice", FORM)
        changed = FORM | {"From": "+15555555555"}
        for form, signature in ((changed, good), (FORM, sign("/twilio/sms", FORM)), (FORM, "x")):
            status, _ = await office.request(
                "POST", "/twilio/voice", form, X_Twilio_Signature=signature
            )
            assert status == 403
        # Claimed to have come by another name: what was configured is what counts.
        status, _ = await office.request(
            "POST",
            "/twilio/voice",
            FORM,
            Host="evil.example",
            X_Forwarded_Host="evil.example",
            X_Twilio_Signature=sign("/twilio/voice", FORM, base="https://evil.example"),
        )
        assert status == 403
        status, _ = await office.request("POST", "/twilio/voice", FORM)
        assert status == 403, "this machine gets no exception once signatures are set up"


async def test_the_upgrade_of_a_socket_is_signed(offices: Offices) -> None:
    async with offices(twilio_auth_token=TOKEN, public_url=PUBLIC) as office:
        good = sign("/twilio/media", base="wss://hub.example")
        for signature in ("", "x", sign("/twilio/media"), sign("/twilio/relay", base="wss:")):
            async with office.socket(x_twilio_signature=signature) as socket:
                with pytest.raises(Exception, match=r"403|WebsocketResponse") as refused:
                    await socket.receive()
                assert refused.value.response.status_code == 403  # type: ignore[attr-defined]
        async with office.socket(remote="203.0.113.9", x_twilio_signature=good) as socket:
            await socket.send("{}")
            assert await office.closed(socket) == 1008  # let in, and then it had no ticket


async def test_without_a_token_only_this_machine(offices: Offices) -> None:
    async with offices() as office:
        status, _ = await office.request("POST", "/twilio/voice", FORM)
        assert status == 200
        for where in ({"remote": "203.0.113.9"}, {"X_Forwarded_For": "203.0.113.9"}):
            status, body = await office.request("POST", "/twilio/voice", FORM, **where)
            assert status == 503
            assert "TWILIO_AUTH_TOKEN" in body
        status, _ = await office.request(
            "POST", "/twilio/voice", FORM, Origin="https://evil.example"
        )
        assert status == 503, "a web page is not this machine"


async def test_protected_without_a_token(offices: Offices) -> None:
    async with offices() as office:
        await office.hub.security.set_owner("long enough")
        status, body = await office.request("POST", "/twilio/voice", FORM)
        assert status == 503
        assert "TWILIO_AUTH_TOKEN" in body
        _, weak = await office.hub.security.create_token("r", ["read"], None)
        _, good = await office.hub.security.create_token("w", ["write"], None)
        for token, expected in ((weak, 403), (good, 200)):
            status, _ = await office.request(
                "POST", "/twilio/voice", FORM, Authorization=f"Bearer {token}"
            )
            assert status == expected


async def test_a_huge_form_is_not_read(office: Office) -> None:
    form = {"From": "+1", "Body": "x" * 70_000}
    status, _ = await office.request("POST", "/twilio/sms", form, Content_Length="70020")
    assert status == 413


def grant(sid: str = "CA1") -> Grant:
    return Grant(call_sid=sid, caller="", called="", direction="inbound")


def test_a_ticket_is_good_once_and_for_a_while() -> None:
    clock = ManualClock()
    tickets = Tickets(clock, good_s=60, most=3)
    ticket = tickets.mint(grant())
    assert tickets.redeem("made up", Grant) is None
    assert tickets.redeem(ticket, str) is None, "minted for something else"
    ticket = tickets.mint(grant())
    assert tickets.redeem(ticket, Grant) == grant()
    assert tickets.redeem(ticket, Grant) is None
    late = tickets.mint(grant())
    clock.advance(61)
    assert tickets.redeem(late, Grant) is None
    first = tickets.mint(grant("CA0"))
    for number in range(3):
        tickets.mint(grant(f"CA{number + 1}"))
    assert tickets.redeem(first, Grant) is None, "so many at most are kept"
