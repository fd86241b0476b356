"""Bodies of requests: read whole however they come, and refused in the documented shape."""

from typing import Any

import pytest
from quart import Quart

from tron.web import bodies, errors

LIMIT = 1000


@pytest.fixture
def app() -> Quart:
    app = Quart("tron")
    app.config["MAX_CONTENT_LENGTH"] = LIMIT
    app.config["BODY_TIMEOUT"] = 30
    errors.install(app)

    @app.post("/")
    async def read() -> bytes:
        return await bodies.whole()

    return app


async def sent(app: Quart, *pieces: bytes, complete: bool = True, length: int | None = None) -> Any:
    """The answer to a body that comes in pieces, and maybe stays away in the end."""
    headers = {} if length is None else {"Content-Length": str(length)}
    async with app.test_client().request("/", method="POST", headers=headers) as connection:
        for piece in pieces:
            await connection.send(piece)
        if complete:
            await connection.send_complete()
    return await connection.as_response()


async def test_a_body_in_pieces_is_read_whole(app: Quart) -> None:
    answer = await sent(app, b"one ", b"two")
    assert (answer.status_code, await answer.get_data()) == (200, b"one two")
    assert await (await sent(app)).get_data() == b""


async def refused(answer: Any) -> tuple[int, str]:
    """(status, type) of a failure in the documented shape."""
    error = (await answer.get_json())["error"]
    assert error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["type"]


async def test_a_body_that_does_not_come_is_not_waited_for(app: Quart) -> None:
    app.config["BODY_TIMEOUT"] = 0.01
    assert (await refused(await sent(app, b"half of", complete=False)))[0] == 408


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_too_large_is_refused(app: Quart, announced: bool) -> None:
    length = LIMIT + 1 if announced else None
    answer = await sent(app, b"x" * LIMIT, b"x", length=length)
    assert await refused(answer) == (413, "request_too_large")


async def test_a_path_with_a_limit_of_its_own(app: Quart) -> None:
    bodies.allow(app, "/", 2 * LIMIT)
    assert (await sent(app, b"x" * (LIMIT + 1))).status_code == 200
