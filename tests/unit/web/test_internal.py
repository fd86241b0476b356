"""What programs on this machine may ask."""

import pytest

from tests.unit.web.conftest import Web

TRIGGER = "/internal/life/trigger"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_trigger(web: Web, method: str) -> None:
    one = await web(method, f"{TRIGGER}?activity=post&persona=tony")
    assert one.json == {"persona": "Tony", "activity": "post", "result": "Posted: hello"}
    everyone = await web(method, f"{TRIGGER}?activity=post")
    assert everyone.json == {
        "activity": "post",
        "results": {"Maya": "Posted: hello", "Tony": "Posted: hello"},
    }


async def test_trigger_without_an_activity_tells_how(web: Web) -> None:
    answer = await web("POST", TRIGGER)
    assert answer.status == 400
    assert answer.json["error"] == "Missing 'activity' query parameter"
    assert answer.json["activities"] == [
        "news", "goals", "team_check", "reflection", "journal", "post"
    ]  # fmt: skip
    assert answer.json["personas"] == ["Maya", "Tony"]
    assert len(answer.json["examples"]) == 2


async def test_trigger_refuses_what_there_is_not(web: Web) -> None:
    unknown = await web("POST", f"{TRIGGER}?activity=dance")
    assert (unknown.status, unknown.json["error"]["param"]) == (400, "activity")
    assert (await web("POST", f"{TRIGGER}?activity=post&persona=nobody")).status == 404


async def register(web: Web, **body: object) -> tuple[int, dict[str, object]]:
    answer = await web("POST", "/internal/subdomains/register", json=body)
    return answer.status, answer.json


async def test_registering_a_project(web: Web) -> None:
    status, made = await register(web, project="shop", port=3050)
    assert (status, made["success"]) == (200, True)
    url = str(made["url"])
    assert url.endswith(".hub.test")
    listed = (await web("GET", "/internal/subdomains")).json
    label = url.removeprefix("https://").removesuffix(".hub.test")
    assert listed == {
        "allocations": [{"Subdomain": label, "Port": 3050, "URL": url}],
        "count": 1,
    }
    assert await register(web, project="shop", port=3050) == (200, made)
    assert (await register(web, project="blog", port=3050))[0] == 409
    assert (await web("DELETE", f"/internal/subdomains/{label}")).json == {"ok": True}
    assert (await web("DELETE", f"/internal/subdomains/{label}")).status == 404
    assert (await web("DELETE", "/internal/subdomains/%00")).status == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"port": 3050}, "project"),
        ({"project": "", "port": 3050}, "project"),
        ({"project": "a"}, "port"),
        ({"project": "a", "port": "3050"}, "port"),
        ({"project": "a", "port": 22}, "port"),
        ({"project": "a", "port": 3000}, "port"),
        ({"project": "a", "port": 4000}, "port"),
        ({"project": "a", "port": 3050, "subdomain": "a.b"}, "subdomain"),
        ({"project": "a", "port": 3050, "subdomain": "-a"}, "subdomain"),
        ({"project": "a", "port": 3050, "subdomain": "ü"}, "subdomain"),
        ({"project": "a", "port": 3050, "subdomain": "a" * 64}, "subdomain"),
    ],
)
async def test_bad_registrations(web: Web, body: dict[str, object], param: str) -> None:
    answer = await web("POST", "/internal/subdomains/register", json=body)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


async def test_registering_is_the_owners(web: Web) -> None:
    await web.hub.security.set_owner("correct horse")
    assert (await web("GET", "/internal/subdomains")).status == 200
    body = {"project": "a", "port": 3050}
    assert (await web("POST", "/internal/subdomains/register", json=body)).status == 401
    token, _ = await web.hub.security.login("correct horse")
    made = await web("POST", "/internal/subdomains/register", json=body, token=token)
    assert made.status == 200


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("", 400),
        ("shop.hub.test", 200),
        ("SHOP.Hub.Test", 200),
        ("api.hub.test", 200),
        ("other.hub.test", 403),
        ("a.shop.hub.test", 403),
        ("shop.hub.test.evil.com", 403),
        ("shophub.test", 403),
        ("hub.test", 403),
        ("shop.evil.com", 403),
        ("127.0.0.1", 403),
        ("\x00.hub.test", 403),
    ],
)
async def test_caddy_ask(web: Web, domain: str, expected: int) -> None:
    await register(web, project="shop", port=3050, subdomain="shop")
    answer = await web("GET", f"/internal/caddy-ask?domain={domain}")
    assert answer.status == expected


async def test_caddy_ask_without_a_domain(web: Web) -> None:
    assert (await web("GET", "/internal/caddy-ask")).status == 400


async def test_clearing_sessions(web: Web) -> None:
    cleared = await web("POST", "/internal/sessions/clear")
    assert cleared.json == {"success": True, "cleared": 2, "message": "Cleared 2 sessions."}
    assert (await web("GET", "/internal/sessions/clear")).status == 405
