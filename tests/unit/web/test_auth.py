"""Logging in, making tokens, verifying and revoking them."""

from tests.unit.web.conftest import Web

PASSWORD = "correct horse"


async def test_the_documents_curl_makes_a_token(web: Web) -> None:
    made = await web("POST", "/api/auth/token")
    assert made.status == 200
    assert made.json["token"].startswith("tron_")
    assert made.json["scopes"] == ["chat", "read", "write"]
    assert made.json["expires_at"] is None
    verified = await web("GET", "/api/auth/verify", token=made.json["token"])
    assert (verified.status, verified.json["valid"]) == (200, True)


async def test_tokens_with_scopes_and_an_end(web: Web) -> None:
    made = await web("POST", "/api/auth/token", json={"name": "ci", "scopes": ["chat"], "days": 2})
    assert made.json["scopes"] == ["chat"]
    assert made.json["expires_at"] == "2023-11-16T22:13:20Z"
    token = made.json["token"]
    await web.hub.security.set_owner(PASSWORD)
    assert (await web("GET", "/api/status", token=token)).status == 403
    assert (await web("POST", "/api/auth/token", token=token)).status == 403
    web.clock.advance(2 * 24 * 3600 + 1)
    assert (await web("GET", "/api/status", token=token)).status == 401


async def test_bad_requests_for_tokens(web: Web) -> None:
    for body, param in (
        ({"scopes": ["root"]}, "scopes.0"),
        ({"scopes": []}, "scopes"),
        ({"days": 0}, "days"),
        ({"name": "a\x00b"}, "name"),
    ):
        answer = await web("POST", "/api/auth/token", json=body)
        assert (answer.status, answer.json["error"]["param"]) == (400, param)


async def test_verify_in_local_mode(web: Web) -> None:
    assert (await web("GET", "/api/auth/verify")).json["name"] == "local"
    assert (await web("GET", "/api/auth/verify", token="tron_wrong")).status == 401


async def test_login(web: Web) -> None:
    early = await web("POST", "/api/auth/login", json={"password": PASSWORD})
    assert (early.status, early.json["error"]["code"]) == (409, "no_owner")
    await web.hub.security.set_owner(PASSWORD)
    assert (await web("GET", "/api/status")).status == 401
    assert (await web("GET", "/api/auth/verify")).status == 401
    assert (await web("POST", "/api/auth/login", json={"password": "wrong one"})).status == 401
    right = await web("POST", "/api/auth/login", json={"password": PASSWORD})
    assert right.json["expires_at"] == "2023-11-15T22:13:20Z"
    assert (await web("GET", "/api/status", token=right.json["token"])).status == 200
    web.clock.advance(24 * 3600 + 1)
    assert (await web("GET", "/api/status", token=right.json["token"])).status == 401


async def test_guessing_is_slowed_down(web: Web) -> None:
    await web.hub.security.set_owner(PASSWORD)

    async def guess(remote: str = "8.8.8.8") -> int:
        body = {"password": "a wrong guess"}
        return (await web("POST", "/api/auth/login", remote=remote, json=body)).status

    assert [await guess() for _ in range(6)] == [401] * 5 + [429]
    refused = await web("POST", "/api/auth/login", remote="8.8.8.8", json={"password": PASSWORD})
    assert (refused.status, refused.headers["Retry-After"]) == (429, "60")
    assert await guess("8.8.4.4") == 401, "others are not locked out"
    web.clock.advance(61)
    assert await guess() == 401


async def test_an_ipv6_network_is_one_guesser(web: Web) -> None:
    await web.hub.security.set_owner(PASSWORD)
    guesses = [
        await web("POST", "/api/auth/login", remote=f"2001:db8::{n}", json={"password": "x"})
        for n in range(6)
    ]
    assert [answer.status for answer in guesses] == [401] * 5 + [429]


async def test_revoking(web: Web) -> None:
    made = (await web("POST", "/api/auth/token")).json
    await web.hub.security.set_owner(PASSWORD)
    owner, _ = await web.hub.security.login(PASSWORD)
    assert (await web("GET", "/api/status", token=made["token"])).status == 200
    gone = await web("DELETE", f"/api/auth/token/{made['id']}", token=owner)
    assert (gone.status, gone.json) == (200, {"ok": True})
    assert (await web("GET", "/api/status", token=made["token"])).status == 401
    assert (await web("DELETE", f"/api/auth/token/{made['id']}", token=owner)).status == 404
