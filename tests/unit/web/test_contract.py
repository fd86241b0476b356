"""What `/openapi.json` tells a reader about every route, besides the shapes."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from quart import Quart
from quart_schema import QuartSchema

from tests.unit.web.conftest import Web
from tron.web.contract import promises


class Stone(BaseModel):
    """One stone."""

    weight: int


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


async def test_every_route_says_what_it_is_for_and_what_it_needs(web: Web) -> None:
    told = {
        name: (operation["tags"], operation["description"].splitlines()[-1])
        for name, operation in operations((await web("GET", "/openapi.json")).json)
    }
    scope = "a token with that scope"
    assert told["GET /api/status"] == (["operators"], f"Needs: read ({scope})")
    assert told["DELETE /api/auth/token/{id}"] == (["access"], f"Needs: admin ({scope})")
    assert told["GET /health"] == (["operators"], "Needs: public (nothing)")
    assert told["POST /internal/life/trigger"] == (
        ["internal"],
        "Needs: internal (to come from this machine, or a token with the scope admin)",
    )
    assert all(len(tags) == 1 and line.startswith("Needs: ") for tags, line in told.values())


async def test_every_route_says_how_to_show_a_token(web: Web) -> None:
    """As a generated client or a gateway reads it."""
    document = (await web("GET", "/openapi.json")).json
    bearer = document["components"]["securitySchemes"]["bearer"]
    assert (bearer["type"], bearer["scheme"]) == ("http", "bearer")
    told = {name: operation.get("security") for name, operation in operations(document)}
    assert told["GET /api/status"] == [{"bearer": ["read"]}]
    assert told["POST /v1/chat/completions"] == [{"bearer": ["chat"]}]
    assert told["POST /internal/life/trigger"] == [{}, {"bearer": ["admin"]}]
    assert told["GET /health"] is None
    for name, operation in operations(document):
        public = operation["description"].splitlines()[-1].startswith(("Needs: public", "Needs: s"))
        assert public == (told[name] is None), name


async def test_a_route_that_streams_says_so(web: Web) -> None:
    told = dict(operations((await web("GET", "/openapi.json")).json))
    for path in ("/chat/completions", "/v1/chat/completions", "/v1/elevenlabs-llm"):
        given = told[f"POST {path}"]["responses"]["200"]["content"]
        assert list(given) == ["application/json", "text/event-stream"]
        assert "chat.completion.chunk" in given["text/event-stream"]["schema"]["description"]
    assert list(told["GET /v1/models"]["responses"]["200"]["content"]) == ["application/json"]


async def test_what_a_view_says_of_itself_is_kept() -> None:
    app = Quart("stones")
    QuartSchema(app)

    @app.get("/stones")
    @promises("read", gives=list[Stone], group="quarry")
    async def stones() -> list[Stone]:
        """The stones.

        Heaviest first.
        """
        return []

    answer = await app.test_client().get("/openapi.json")
    _, operation = next(operations(await answer.get_json()))
    assert operation["summary"] == "The stones."
    assert operation["tags"] == ["quarry"]
    assert operation["description"].split("\n\n") == [
        "\nHeaviest first.",
        "Needs: read (a token with that scope)",
    ]
    given = operation["responses"]["200"]
    assert given["description"] == "A list. Each: One stone."
    schema = given["content"]["application/json"]["schema"]
    assert (schema["type"], schema["items"]) == ("array", {"$ref": "#/components/schemas/Stone"})
