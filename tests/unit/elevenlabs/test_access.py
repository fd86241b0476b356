"""Who is let in at the agent socket, and with which address."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from integrations.elevenlabs.links import GOOD_MS, Links
from tests.unit.elevenlabs.conftest import Client, Wire, Wired
from tron.clock import ManualClock
from tron.storage.store import Store
from tron.storage.tables import HOUSE

FAR = "203.0.113.9"
SIGNED = "/v1/convai/conversation/get-signed-url?agent_id=maya"
SOCKET = "/v1/convai/conversation?agent_id=maya"


async def owned(wired: Wired, *scopes: str) -> str:
    """Make the hub protected; returns a token."""
    await wired.hub.security.set_owner("correct horse")
    _, token = await wired.hub.security.create_token("test", scopes, None)
    return token


async def works(client: Client) -> bool:
    await client.start(conversation_config_override={"text_only": True})
    return bool((await client.receive())["type"] == "conversation_initiation_metadata")


async def test_this_machine_needs_nothing_in_local_mode(wire: Wire) -> None:
    async with wire() as wired:
        for path in (SOCKET, "/ws/elevenlabs", "/v1/convai/conversation?agent_id=agent_01abc"):
            async with wired.socket(path) as client:
                assert await works(client)


async def test_other_web_sites_are_refused_in_local_mode(wire: Wire) -> None:
    async with wire() as wired:
        for path in (SOCKET, "/ws/elevenlabs"):
            assert await wired.refused(path, origin="https://evil.test") == 403
            assert await wired.refused(path, Host="evil.test") == 403
        answer = await wired("GET", SIGNED, origin="https://evil.test")
        assert answer.status == 403


async def test_an_agent_nobody_knows_is_refused(wire: Wire) -> None:
    async with wire() as wired:
        assert await wired.refused("/v1/convai/conversation?agent_id=maja") == 404
        answer = await wired("GET", "/v1/convai/conversation/get-signed-url?agent_id=maja")
        assert answer.status == 404


async def test_protected_it_needs_a_token_however_it_comes(wire: Wire) -> None:
    async with wire() as wired:
        token = await owned(wired, "chat")
        assert await wired.refused(SOCKET, remote=FAR) == 401
        assert await wired.refused(SOCKET, remote=FAR, xi_api_key="tron_" + "x" * 43) == 401
        async with wired.socket(SOCKET, remote=FAR, xi_api_key=token) as client:
            assert await works(client)
        async with wired.socket(SOCKET, remote=FAR, authorization=f"Bearer {token}") as client:
            assert await works(client)
        offered = ["convai", f"bearer.{token}"]  # all that a browser can do
        async with wired.socket(SOCKET, remote=FAR, subprotocols=offered) as client:
            assert await works(client)


async def test_a_token_without_the_scope_is_refused(wire: Wire) -> None:
    async with wire() as wired:
        token = await owned(wired, "read")
        assert await wired.refused(SOCKET, remote=FAR, xi_api_key=token) == 403
        assert (await wired("GET", SIGNED, remote=FAR, xi_api_key=token)).status == 403


async def test_a_signed_address_lets_one_conversation_in(wire: Wire) -> None:
    async with wire(public_url="https://hub.test/base") as wired:
        token = await owned(wired, "chat")
        assert (await wired("GET", SIGNED, remote=FAR)).status == 401
        answer = await wired("GET", SIGNED, remote=FAR, xi_api_key=token)
        address = urlsplit(answer.json["signed_url"])
        assert (address.scheme, address.netloc) == ("wss", "hub.test")
        assert address.path == "/base/v1/convai/conversation"
        given = dict(parse_qsl(address.query))
        assert given["agent_id"] == "maya"
        # The SDK appends its own parameters; the address decides who answers, whatever it asks for.
        signed = given["conversation_signature"]
        path = f"/v1/convai/conversation?agent_id=tony&conversation_signature={signed}"
        async with wired.socket(path, remote=FAR, origin="https://shop.test") as client:
            await client.start(conversation_config_override={"text_only": True})
            assert await client.answer() == "Hello, this is Maya."
        assert await wired.refused(path, remote=FAR) == 401


async def test_a_made_up_signature_is_refused_even_here(wire: Wire) -> None:
    async with wire() as wired:
        for signature in ("", "x", "x" * 43, "%00", "x" * 5_000):
            path = f"{SOCKET}&conversation_signature={signature}"
            assert await wired.refused(path) == 401


async def test_without_a_public_address_it_is_the_one_that_was_asked(wire: Wire) -> None:
    async with wire() as wired:
        answer = await wired("GET", SIGNED)
        assert answer.json["signed_url"].startswith("ws://127.0.0.1:3000/v1/convai/conversation?")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_an_address_is_good_once_and_for_a_while(store: Store, clock: ManualClock) -> None:
    links, elsewhere = Links(store, clock), Links(store, clock)
    first, second = await links.mint(HOUSE, "maya"), await links.mint(HOUSE, "tony")
    assert await elsewhere.redeem(first) == (HOUSE, "maya")  # another process of the same hub
    assert await links.redeem(first) is None
    clock.advance(GOOD_MS / 1000)
    assert await links.redeem(second) is None
    await links.mint(HOUSE, "maya")


async def test_old_addresses_are_swept(store: Store, clock: ManualClock) -> None:
    from sqlalchemy import func, select

    from tron.storage.tables import elevenlabs_links

    links = Links(store, clock)
    for _ in range(3):
        await links.mint(HOUSE, "maya")
        clock.advance(GOOD_MS / 1000)
    async with store.read() as connection:
        count = await connection.execute(select(func.count()).select_from(elevenlabs_links))
    assert count.scalar() == 1
