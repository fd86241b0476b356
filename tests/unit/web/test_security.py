"""Who gets in: every way a request may look, in both modes."""

import hashlib
from typing import Any

import pytest
from quart import Websocket, websocket
from quart.testing.connections import WebsocketResponseError
from sqlalchemy import select

from tests.unit.web.conftest import Web
from tron.clock import ManualClock
from tron.environment import load_settings
from tron.errors import Forbidden, Invalid, Unauthenticated
from tron.settings import Settings, SettingsError
from tron.storage.store import Store
from tron.storage.tables import owner, tokens
from tron.web.contract import Need, needs_of, promises
from tron.web.security import Arrival, Security, arrival, check_bind

LOCAL_HOST = "127.0.0.1:3000"
PASSWORD = "correct horse"
SAME, NEAR, FAR = "same-origin", "same-site", "cross-site"
APP, HERE = "https://app.test", "http://127.0.0.1:5173"


def asked(
    remote: str = "127.0.0.1",
    host: str = LOCAL_HOST,
    token: str | None = None,
    **headers: str,
) -> Arrival:
    named = {"host": host} | {k.replace("_", "-"): v for k, v in headers.items()}
    if token is not None:
        named["authorization"] = f"Bearer {token}"
    raw = [(name.encode(), value.encode("latin1")) for name, value in named.items()]
    return arrival({"client": (remote, 5000), "headers": raw})


async def outcome(security: Security, came: Arrival, need: Need) -> int:
    try:
        await security.admit(came, need)
    except (Forbidden, Unauthenticated) as error:
        return error.status
    return 200


@pytest.fixture
async def security(settings: Settings, store: Store, clock: ManualClock) -> Security:
    made = Security(settings, store, clock)
    await made.load()
    return made


LOCAL_MODE: list[tuple[str, dict[str, str], Need, int]] = [
    ("as the documents' curl", {}, "admin", 200),
    ("by name", {"host": "localhost:3000"}, "admin", 200),
    ("by name in capitals", {"host": "LOCALHOST"}, "admin", 200),
    ("IPv6", {"host": "[::1]:3000", "remote": "::1"}, "admin", 200),
    ("IPv4 in IPv6", {"remote": "::ffff:127.0.0.1"}, "admin", 200),
    ("a client's dummy key", {"token": "sk-anything"}, "chat", 200),
    ("its own page", {"origin": "http://localhost:3000", "sec_fetch_site": SAME}, "admin", 200),
    ("a local web app", {"origin": "http://localhost:5173", "sec_fetch_site": NEAR}, "admin", 200),
    ("a local web app, IPv6", {"origin": "http://[::1]:5173"}, "admin", 200),
    ("typed into the address bar", {"sec_fetch_site": "none"}, "admin", 200),
    ("rebinding", {"host": "evil.com"}, "read", 403),
    ("rebinding with our port", {"host": "evil.com:3000"}, "read", 403),
    ("an address as a prefix", {"host": "127.0.0.1.evil.com"}, "read", 403),
    ("localhost as a prefix", {"host": "localhost.evil.com"}, "read", 403),
    ("a user part", {"host": "localhost@evil.com"}, "read", 403),
    ("no host", {"host": ""}, "read", 403),
    ("another local address", {"host": "192.168.1.5:3000"}, "read", 403),
    ("rebinding, even for health", {"host": "evil.com"}, "public", 403),
    ("another site", {"origin": "https://evil.com"}, "read", 403),
    ("localhost as a prefix of the origin", {"origin": "http://localhost.evil.com"}, "read", 403),
    ("localhost as a user part", {"origin": "http://localhost@evil.com"}, "read", 403),
    ("a sandboxed page", {"origin": "null"}, "read", 403),
    ("an extension", {"origin": "chrome-extension://localhost"}, "read", 403),
    ("an empty origin", {"origin": ""}, "read", 403),
    ("a link on another site", {"sec_fetch_site": "cross-site"}, "read", 403),
    ("cross-site in capitals", {"sec_fetch_site": "Cross-Site"}, "read", 403),
    ("cross-site from loopback", {"origin": HERE, "sec_fetch_site": FAR}, "read", 403),
    ("through a proxy", {"x_forwarded_for": "8.8.8.8"}, "read", 401),
    ("through a proxy, Forwarded", {"forwarded": "for=8.8.8.8"}, "read", 401),
    ("through a proxy, internal", {"x_forwarded_proto": "https"}, "internal", 401),
    ("through a proxy, health", {"x_forwarded_for": "8.8.8.8"}, "public", 200),
    ("from another machine", {"remote": "10.0.0.7"}, "read", 401),
    ("from a socket without a peer", {"remote": ""}, "read", 401),
]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "given", "need", "expected"), LOCAL_MODE, ids=lambda v: str(v)[:40]
)
async def test_local_mode(
    web: Web, how: str, given: dict[str, str], need: Need, expected: int
) -> None:
    assert await outcome(web.hub.security, asked(**given), need) == expected


PROTECTED: list[tuple[str, dict[str, str], str, Need, int]] = [
    ("no token", {}, "", "read", 401),
    ("no token, health", {}, "", "public", 200),
    ("no token, any host", {"host": "api.hub.test", "remote": "8.8.8.8"}, "", "public", 200),
    ("junk", {}, "junk", "read", 401),
    ("a well-formed stranger", {}, "tron_" + "A" * 43, "read", 401),
    ("the right scope", {}, "read", "read", 200),
    ("from anywhere", {"host": "api.hub.test", "remote": "8.8.8.8"}, "read", "read", 200),
    ("from a web app elsewhere", {"origin": APP, "sec_fetch_site": FAR}, "chat", "chat", 200),
    ("the wrong scope", {}, "chat", "read", 403),
    ("read does not write", {}, "read", "write", 403),
    ("admin covers all", {}, "admin", "write", 200),
    ("admin covers internal", {"x_forwarded_for": "8.8.8.8"}, "admin", "internal", 200),
    ("a program here", {}, "", "internal", 200),
    ("a program here is not the owner", {}, "", "admin", 401),
    ("internal from another machine", {"remote": "10.0.0.7"}, "", "internal", 401),
    ("internal through a proxy", {"x_forwarded_for": "127.0.0.1"}, "", "internal", 401),
    ("internal by rebinding", {"host": "evil.com"}, "", "internal", 401),
    ("internal from a web page", {"origin": "https://evil.com"}, "", "internal", 401),
    ("internal from a sandboxed page", {"origin": "null"}, "", "internal", 401),
    ("internal by a link", {"sec_fetch_site": "cross-site"}, "", "internal", 401),
    ("internal with too little", {"remote": "10.0.0.7"}, "write", "internal", 403),
]  # fmt: skip


async def test_protected_mode(web: Web) -> None:
    security = web.hub.security
    await security.set_owner(PASSWORD)
    made = {scope: (await security.create_token(scope, [scope], None))[1]
            for scope in ("chat", "read", "write", "admin")}  # fmt: skip
    for how, given, token, need, expected in PROTECTED:
        came = asked(**given, token=made.get(token, token)) if token else asked(**given)
        assert await outcome(security, came, need) == expected, how


async def test_a_hub_beyond_loopback_is_protected_without_an_owner(
    store: Store, clock: ManualClock
) -> None:
    security = Security(load_settings({}, host="0.0.0.0"), store, clock)
    await security.load()
    assert await outcome(security, asked(), "read") == 401


def test_binding_beyond_loopback_needs_an_owner() -> None:
    everywhere = load_settings({}, host="0.0.0.0")
    with pytest.raises(SettingsError, match="tron owner set"):
        check_bind(everywhere, has_owner=False)
    check_bind(everywhere, has_owner=True)
    check_bind(load_settings({}), has_owner=False)


async def test_tokens_are_kept_hashed(security: Security, store: Store) -> None:
    id, token = await security.create_token("ci", ["chat", "read"], 7)
    async with store.read() as conn:
        row = (await conn.execute(select(tokens))).one()
    assert token not in str(row)
    assert row.sha256 == hashlib.sha256(token.encode()).hexdigest()
    [listed] = await security.list_tokens()
    assert (listed["id"], listed["scopes"], listed["revoked_at"]) == (id, ["chat", "read"], None)
    assert token not in str(listed)
    with pytest.raises(Invalid):
        await security.create_token("ci", ["everything"], None)
    with pytest.raises(Invalid):
        await security.create_token("ci", [], None)


async def test_a_token_expires(security: Security, clock: ManualClock) -> None:
    _, token = await security.create_token("ci", ["chat"], 1)
    assert await security.principal(token) is not None
    clock.advance(24 * 3600 - 1)
    assert await security.principal(token) is not None
    clock.advance(2)
    assert await security.principal(token) is None


async def test_a_revoked_token_is_worth_nothing_at_once(security: Security) -> None:
    id, token = await security.create_token("ci", ["chat"], None)
    assert await security.principal(token) is not None
    assert await security.revoke_token(id)
    assert await security.principal(token) is None
    assert not await security.revoke_token(id)
    assert not await security.revoke_token("\x00")


async def test_revoked_in_another_process(
    security: Security, settings: Settings, store: Store, clock: ManualClock
) -> None:
    id, token = await security.create_token("ci", ["chat"], None)
    assert await security.principal(token) is not None
    await Security(settings, store, clock).revoke_token(id)
    clock.advance(11)
    assert await security.principal(token) is None


async def test_a_known_token_costs_no_read(
    security: Security, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    _, token = await security.create_token("ci", ["chat"], None)
    await security.set_owner(PASSWORD)
    came = asked(token=token)
    await security.admit(came, "chat")

    def no_read() -> None:
        raise AssertionError("the database was read")

    monkeypatch.setattr(store, "read", no_read)
    assert (await security.admit(came, "chat")).name == "ci"


async def test_an_owner_set_in_another_process_is_noticed(
    security: Security, settings: Settings, store: Store, clock: ManualClock
) -> None:
    assert await outcome(security, asked(), "read") == 200
    await Security(settings, store, clock).set_owner(PASSWORD)
    clock.advance(2.1)
    assert await outcome(security, asked(), "read") == 401


async def test_the_password_is_kept_as_argon2id(security: Security, store: Store) -> None:
    await security.set_owner(PASSWORD)
    async with store.read() as conn:
        hashed = (await conn.execute(select(owner.c.password_hash))).scalar_one()
    assert hashed.startswith("$argon2id$")
    token, _ = await security.login(PASSWORD)
    assert await security.principal(token) is not None
    with pytest.raises(Unauthenticated):
        await security.login("wrong horse")
    await security.set_owner("a newer password")
    assert await security.principal(token) is None, "an old login must not outlive its password"
    with pytest.raises(Unauthenticated):
        await security.login(PASSWORD)
    with pytest.raises(Invalid):
        await security.set_owner("short")


def test_attempts_count_against_the_visitor_not_the_proxy() -> None:
    assert asked(x_forwarded_for="1.1.1.1, 8.8.8.8").address == "8.8.8.8"
    assert asked(remote="9.9.9.9", x_forwarded_for="8.8.8.8").address == "9.9.9.9"


def test_a_view_that_declares_nothing_needs_admin() -> None:
    async def forgotten() -> None: ...

    @promises("read")
    async def declared() -> None: ...

    assert needs_of(forgotten) == "admin"
    assert needs_of(None) == "admin"
    assert needs_of(declared) == "read"


async def test_the_api_description_can_be_read_with_a_read_token(web: Web) -> None:
    await web.hub.security.set_owner(PASSWORD)
    _, token = await web.hub.security.create_token("docs", ["read"], None)
    assert (await web("GET", "/openapi.json")).status == 401
    described = await web("GET", "/openapi.json", token=token)
    assert "/api/processes/{id}" in described.json["paths"]


async def test_every_route_here_declares_what_it_needs(web: Web) -> None:
    bare = [
        rule.rule
        for rule in web.app.url_map.iter_rules()
        if "." in rule.endpoint
        and not hasattr(web.app.view_functions[rule.endpoint], "_tron_needs")
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Origin": "http://localhost:3000"}, None),
        ({"Origin": "https://evil.com"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.com"}, 403),
    ],
)
async def test_sockets_are_refused_before_they_open(
    web: Web, headers: dict[str, str], expected: int | None
) -> None:
    app = web.app

    @app.websocket("/ws/echo")
    @promises("chat")
    async def echo() -> None:
        await websocket.send(await websocket.receive())

    assert issubclass(app.websocket_class, Websocket)
    opened = app.test_client().websocket(
        "/ws/echo",
        headers={"Host": LOCAL_HOST} | headers,
        scope_base={"client": ("127.0.0.1", 5000)},
    )
    if expected is None:
        async with opened as socket:
            await socket.send("hello")
            assert await socket.receive() == "hello"
        return
    with pytest.raises(WebsocketResponseError) as refused:
        async with opened as socket:
            await socket.receive()
    assert refused.value.response.status_code == expected


@pytest.mark.parametrize("path", ["/api/status", "/api/nothing", "/v1/nothing"])
async def test_cors_in_local_mode(web: Web, path: str) -> None:
    assert (await web("GET", path)).headers["Access-Control-Allow-Origin"] == "*"
    near = await web("GET", path, Origin="http://localhost:5173")
    assert near.headers["Access-Control-Allow-Origin"] == "*"
    far = await web("GET", path, Origin="https://evil.com")
    assert far.status == 403
    assert "Access-Control-Allow-Origin" not in far.headers


async def test_preflight(web: Web) -> None:
    wanted: dict[str, Any] = {"Access_Control_Request_Method": "GET"}
    near = await web("OPTIONS", "/api/status", Origin="http://localhost:5173", **wanted)
    assert near.status == 200
    assert "Authorization" in near.headers["Access-Control-Allow-Headers"]
    far = await web("OPTIONS", "/api/status", Origin="https://evil.com", **wanted)
    assert far.status == 403
    await web.hub.security.set_owner(PASSWORD)
    far = await web("OPTIONS", "/api/status", Origin="https://app.test", **wanted)
    assert (far.status, far.headers["Access-Control-Allow-Origin"]) == (200, "*")


async def test_internal_is_not_for_web_pages(web: Web) -> None:
    answer = await web("GET", "/internal/subdomains")
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers
