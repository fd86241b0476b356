"""Every failure speaks the documented envelope."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from quart import Response
from quart.testing.connections import WebsocketResponseError
from structlog.testing import capture_logs
from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadGateway

from tests.unit.web.conftest import Web
from tron.errors import NotFound, Overloaded, RateLimited, Unauthenticated
from tron.web import errors
from tron.web.contract import promises

LOCAL = Headers({"Host": "127.0.0.1:3000"})


class Thing(BaseModel):
    """Something to be checked."""

    name: str
    size: int = Field(1, ge=1)


@pytest.fixture
def broken(web: Web) -> Web:
    """With routes that fail in every way."""

    @web.app.post("/things")
    @promises("public", body=Thing)
    async def things(data: Thing) -> dict[str, str]:
        return {"name": data.name}

    @web.app.get("/looked")
    @promises("public", query=Thing)
    async def looked(query: Thing) -> dict[str, int]:
        return {"size": query.size}

    @web.app.get("/boom")
    @promises("public")
    async def boom() -> Response:
        raise RuntimeError("SELECT secret FROM tokens")

    @web.app.get("/gateway")
    @promises("public")
    async def gateway() -> Response:
        raise BadGateway("inner detail")

    @web.app.get("/full")
    @promises("public")
    async def full() -> Response:
        raise Overloaded("All are busy.", code="no_free_process", retry_after=1.2)

    return web


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "type", "param"),
    [
        ("GET", "/nothing", None, 404, "not_found", None),
        ("GET", "/api//status", None, 404, "not_found", None),
        ("POST", "/health", None, 405, "method_not_allowed", None),
        ("POST", "/things", b"{", 400, "invalid_request_error", None),
        ("POST", "/things", b"\xff\xfe", 400, "invalid_request_error", None),
        ("POST", "/things", b"[" * 100_000, 400, "invalid_request_error", None),
        ("POST", "/things", b'"text"', 400, "invalid_request_error", None),
        ("POST", "/things", b"", 400, "invalid_request_error", "name"),
        ("POST", "/things", b'{"name":"\\ud800"}', 400, "invalid_request_error", None),
        ("POST", "/things", b'{"name":"x","size":0}', 400, "invalid_request_error", "size"),
        ("POST", "/things", b"x" * (17 << 20), 413, "request_too_large", None),
        ("GET", "/looked?name=a&name=b", None, 400, "invalid_request_error", "name"),
        ("GET", "/looked?size=huge", None, 400, "invalid_request_error", "name"),
    ],
)
async def test_faults_of_the_caller(
    broken: Web,
    method: str,
    path: str,
    data: bytes | None,
    status: int,
    type: str,
    param: str | None,
) -> None:
    answer = await broken(method, path, data=data)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    assert answer.json["error"]["type"] == type
    assert answer.json["error"]["param"] == param
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"]


async def test_method_not_allowed_says_what_is(broken: Web) -> None:
    answer = await broken("POST", "/health")
    assert {"GET", "HEAD"} <= set(answer.headers["Allow"].split(", "))


async def test_what_nobody_expected_is_logged_and_not_shown(broken: Web) -> None:
    with capture_logs() as logs:
        answer = await broken("GET", "/boom", X_Request_ID="mine-1")
    assert answer.status == 500
    assert answer.json["error"]["type"] == "server_error"
    assert "secret" not in answer.raw.decode()
    assert "mine-1" in answer.json["error"]["message"]
    [entry] = [line for line in logs if line["event"] == "request.failed"]
    assert entry["request_id"] == "mine-1"
    assert isinstance(entry["exc_info"], RuntimeError)
    assert "inner detail" not in (await broken("GET", "/gateway")).raw.decode()


async def test_retryable_errors_say_when(broken: Web) -> None:
    answer = await broken("GET", "/full")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert "x-should-retry" not in answer.headers
    assert answer.json["error"]["code"] == "no_free_process"


async def test_unauthenticated_says_how(web: Web) -> None:
    answer = await web("GET", "/v1/models", remote="10.0.0.9")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 200, "é"])
async def test_request_ids(web: Web, bad: str) -> None:
    assert (await web("GET", "/health", X_Request_ID="abc-1")).headers["x-request-id"] == "abc-1"
    made = (await web("GET", "/health", X_Request_ID=bad)).headers["x-request-id"]
    assert made.startswith("req_")
    assert made != (await web("GET", "/health")).headers["x-request-id"]


def test_streams_use_the_same_body() -> None:
    error = RateLimited("Slow down.", param="model", code="mailbox_full")
    assert errors.body(error) == {
        "error": {
            "message": "Slow down.",
            "type": "rate_limit_error",
            "param": "model",
            "code": "mailbox_full",
        }
    }


@given(st.sampled_from([NotFound, Unauthenticated, Overloaded]), st.text())
@settings(max_examples=30)
def test_render_never_fails(kind: type[NotFound], message: str) -> None:
    try:
        message.encode()
    except UnicodeEncodeError:
        return
    assert errors.render(kind(message)).status_code == kind.status


async def test_a_refused_socket_is_not_used_again(web: Web) -> None:
    """The server can't serve a second request on it, and clients keep connections for later."""

    @web.app.websocket("/socket")
    async def refused() -> None:
        raise AssertionError("a stranger was let in")

    with pytest.raises(WebsocketResponseError) as answer:
        async with web.app.test_client().websocket("/socket", headers=LOCAL) as socket:
            await socket.receive()
    assert answer.value.response.status_code == 401
    assert answer.value.response.headers["Connection"] == "close"
