"""Project servers: names and ports, and the proxy in front of them."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web as server
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, request
from structlog.testing import capture_logs
from yarl import URL

from tests.harness.hub import free_port
from tests.harness.waiting import PATIENCE_S
from tron.clock import ManualClock
from tron.environment import load_settings
from tron.errors import Conflict, Invalid, NotConfigured
from tron.settings import Settings
from tron.storage.store import Store
from tron.subdomains import REFUSED_S, Subdomains
from tron.web.subdomains import install


@pytest.fixture
def subdomains(settings: Settings, store: Store, clock: ManualClock) -> Subdomains:
    return Subdomains(settings, store, clock)


async def test_a_label_is_made_and_kept(subdomains: Subdomains) -> None:
    made = await subdomains.register("shop", 3050)
    assert len(made.label) == 8
    assert set(made.label) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert await subdomains.register("shop", 3050) == made
    moved = await subdomains.register("shop", 3051)
    assert (moved.label, moved.port) == (made.label, 3051)
    named = await subdomains.register("shop", 3051, "Shop")
    assert named.url == "https://shop.hub.test"
    assert [a.label for a in await subdomains.list("house")] == ["shop"]
    assert await subdomains.list("another") == []


async def test_conflicts(subdomains: Subdomains) -> None:
    await subdomains.register("shop", 3050, "shop")
    for project, port, label in (
        ("blog", 3050, "blog"),
        ("blog", 3051, "shop"),
        ("blog", 3051, "SHOP"),
        ("blog", 3051, "api"),
    ):
        with pytest.raises(Conflict):
            await subdomains.register(project, port, label)
    with pytest.raises(Conflict):  # a tenant cannot take another's
        await subdomains.register("shop", 3050, "shop", client_id="another")
    with pytest.raises(Invalid):
        await subdomains.register("blog", 3000)
    assert [a.project for a in await subdomains.list("house")] == ["shop"]


async def test_another_hub_is_followed(
    subdomains: Subdomains, settings: Settings, store: Store, clock: ManualClock
) -> None:
    other = Subdomains(settings, store, clock)
    assert await other.port_of("shop.hub.test") is None
    await subdomains.register("shop", 3050, "shop")
    clock.advance(2.1)
    assert await other.port_of("shop.hub.test:443") == 3050
    await subdomains.release("shop")
    assert await subdomains.port_of("shop.hub.test") is None
    clock.advance(2.1)
    assert await other.port_of("shop.hub.test") is None


async def test_a_name_goes_when_its_port_has_refused_for_long_enough(
    store: Store, clock: ManualClock
) -> None:
    port, other = free_port(), free_port()
    settings = load_settings({}, base_domain="hub.test", project_ports="1024-65535")
    subdomains = Subdomains(settings, store, clock)
    await subdomains.register("shop", port, "shop")
    await subdomains.register("blog", other, "blog")

    async def sweeps(seconds: float) -> int:
        clock.advance(seconds)
        return await subdomains.sweep()

    there = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", other)
    assert [await sweeps(0), await sweeps(REFUSED_S - 1)] == [0, 0]
    back = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
    assert await sweeps(1) == 0
    back.close()
    await back.wait_closed()
    assert [await sweeps(0), await sweeps(REFUSED_S - 1)] == [0, 0]  # counted anew
    assert await subdomains.port_of("shop.hub.test") == port
    with capture_logs() as logs:
        assert await sweeps(1) == 1
    [line] = logs
    assert (line["event"], line["label"]) == ("subdomain.removed", "shop")
    assert await subdomains.port_of("shop.hub.test") is None
    assert [a.label for a in await subdomains.list("house")] == ["blog"]
    there.close()
    await there.wait_closed()


async def test_without_a_base_domain(sqlite_store: Store, clock: ManualClock) -> None:
    plain = Subdomains(load_settings({}), sqlite_store, clock)
    app = Quart("tron")
    asgi = app.asgi_app
    assert install(app, plain) is None
    assert app.asgi_app == asgi
    with pytest.raises(NotConfigured):
        await plain.register("shop", 3050)


@asynccontextmanager
async def listening(app: Quart, port: int) -> AsyncIterator[None]:
    """`app` under a real Hypercorn."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    stop = asyncio.Event()
    running = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
    writer.close()
    yield
    stop.set()
    await running


class Project:
    """A project's server, and a way to it through the hub."""

    def __init__(self, http: aiohttp.ClientSession, port: int) -> None:
        self.http = http
        self.port = port
        self.may_go_on = asyncio.Event()
        self.cancelled = asyncio.Event()

    def app(self) -> server.Application:
        app = server.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/echo", self._echo)
        app.router.add_get("/events", self._events)
        app.router.add_get("/broken", self._broken)
        app.router.add_get("/socket", self._socket)
        return app

    async def _echo(self, request: server.Request) -> server.Response:
        return server.json_response(
            {
                "method": request.method,
                "path": request.path_qs,
                "headers": dict(request.headers),
                "length": len(await request.read()),
            },
            status=302,
            headers={"Location": "/elsewhere", "Keep-Alive": "5", "Set-Cookie": "a=b"},
        )

    async def _events(self, request: server.Request) -> server.StreamResponse:
        answer = server.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"data: first\n\n")
        try:
            await self.may_go_on.wait()
            await answer.write(b"data: last\n\n")
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return answer

    async def _broken(self, request: server.Request) -> server.StreamResponse:
        answer = server.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return answer

    async def _socket(self, request: server.Request) -> server.WebSocketResponse:
        socket = server.WebSocketResponse(protocols=["chat"])
        await socket.prepare(request)
        async for message in socket:
            if message.data == "bye":
                break
            await (socket.send_str if message.type.name == "TEXT" else socket.send_bytes)(
                message.data
            )
        await socket.close(code=4001)
        return socket


@pytest.fixture
async def project(sqlite_store: Store, clock: ManualClock) -> AsyncIterator[Project]:
    port, hub_port = free_port(), free_port()
    settings = load_settings({}, base_domain="hub.test", project_ports=f"{port}-{port}")
    subdomains = Subdomains(settings, sqlite_store, clock)
    await subdomains.register("shop", port, "shop")
    app = Quart("tron")

    @app.get("/echo")
    async def own() -> str:
        return f"the hub, as {request.host}"

    proxy = install(app, subdomains)
    assert proxy is not None
    async with (
        listening(app, hub_port),
        aiohttp.ClientSession(f"http://127.0.0.1:{hub_port}", auto_decompress=False) as http,
    ):
        project = Project(http, port)
        runner = server.AppRunner(project.app(), handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await server.TCPSite(runner, "127.0.0.1", port).start()
        yield project
        await runner.cleanup()
        await proxy.close()


SHOP = {"Host": "Shop.hub.test"}


async def test_requests_reach_the_project_unchanged(project: Project) -> None:
    body = b"x" * 3_000_000
    async with project.http.post(
        URL("/echo?a=%2F&b=%C3%BC", encoded=True),
        data=io.BytesIO(body),
        headers=SHOP
        | {"Connection": "close, X-Hop", "X-Hop": "1", "X-Kept": "2", "X-Forwarded-For": "8.8.8.8"},
        allow_redirects=False,
    ) as answer:
        assert answer.status == 302
        assert answer.headers["Location"] == "/elsewhere"
        assert answer.headers["Set-Cookie"] == "a=b"
        assert "Keep-Alive" not in answer.headers
        seen = await answer.json(content_type=None)
    assert (seen["method"], seen["length"]) == ("POST", len(body))
    assert seen["path"] == "/echo?a=%2F&b=%C3%BC"
    headers = seen["headers"]
    assert headers["X-Forwarded-Host"] == "Shop.hub.test"
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["X-Forwarded-For"] == "8.8.8.8, 127.0.0.1"
    assert headers["X-Kept".lower()] == "2"
    assert not {"X-Hop", "x-hop"} & set(headers)


async def test_other_names_are_the_hubs(project: Project) -> None:
    for host in ("other.hub.test", "a.shop.hub.test", "localhost"):
        async with project.http.get("/echo", headers={"Host": host}) as answer:
            assert await answer.text() == f"the hub, as {host}"


async def test_events_are_not_held_back(project: Project) -> None:
    async with project.http.get("/events", headers=SHOP) as answer:
        first = await asyncio.wait_for(answer.content.readany(), PATIENCE_S)
        assert first == b"data: first\n\n"
        project.may_go_on.set()
        assert await answer.content.read() == b"data: last\n\n"


async def test_a_visitor_who_leaves_is_told_to_the_project(project: Project) -> None:
    async with project.http.get("/events", headers=SHOP) as answer:
        await answer.content.readany()
        answer.close()
    await asyncio.wait_for(project.cancelled.wait(), PATIENCE_S)


async def test_half_an_answer_does_not_look_whole(project: Project) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        async with project.http.get("/broken", headers=SHOP) as answer:
            await answer.read()


async def test_a_project_that_is_down(sqlite_store: Store, project: Project) -> None:
    down = free_port()
    settings = load_settings({}, base_domain="hub.test", project_ports=f"{down}-{down}")
    subdomains = Subdomains(settings, sqlite_store, ManualClock())
    await subdomains.register("down", down, "down")
    app = Quart("tron")
    proxy = install(app, subdomains)
    assert proxy is not None
    port = free_port()
    async with listening(app, port), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        async with http.get("/", headers={"Host": "down.hub.test"}) as answer:
            assert answer.status == 502
            assert (await answer.json())["error"]["type"] == "provider_unavailable"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect("/socket", headers={"Host": "down.hub.test"})
        assert refused.value.status == 502
    await proxy.close()


async def test_sockets_pass_too(project: Project) -> None:
    async with project.http.ws_connect("/socket", headers=SHOP, protocols=["chat"]) as socket:
        assert socket.protocol == "chat"
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.send_bytes(b"\x00\x01")
        assert await socket.receive_bytes() == b"\x00\x01"
        await socket.send_str("bye")
        closed = await socket.receive()
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 4001)
