"""The shipped Caddyfile, run by a real Caddy in front of a real hub.

Caddy signs with its internal issuer and keeps to loopback ports and a folder of its own; nothing
else differs from production.
"""

import asyncio
import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web as server
from aiohttp.abc import AbstractResolver, ResolveResult

from integrations.openai.behaviours import Reply
from integrations.openai.fake import FakeProvider
from tests.harness.hub import REPOSITORY, Hubs, RunningHub, free_port
from tests.harness.programs import program
from tests.harness.sse import SseEvent, read_sse, text_of
from tests.harness.waiting import PATIENCE_S, eventually
from tron.clock import SystemClock
from tron.environment import load_settings
from tron.storage.store import Store
from tron.web.security import Security

PASSWORD = "correct horse"

EXTRA = """
	skip_install_trust
	local_certs
	admin 127.0.0.1:{admin}
	http_port {http}
	https_port {https}
	storage file_system {folder}
"""


class Here(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


class Front:
    """Caddy in front of a hub, and a visitor who trusts its issuer."""

    def __init__(self, hub: RunningHub, folder: Path, owner: str) -> None:
        self.hub = hub
        self.folder = folder
        self.root = folder / "pki/authorities/local/root.crt"
        self.port = free_port()
        self.owner = {"Authorization": f"Bearer {owner}"}
        self.visitor: aiohttp.ClientSession
        self._process: subprocess.Popen[bytes]

    def url(self, name: str, path: str) -> str:
        return f"https://{name}:{self.port}{path}"

    def start(self) -> None:
        caddy = program("caddy")
        extra = EXTRA.format(
            admin=free_port(), http=free_port(), https=self.port, folder=self.folder
        )
        with (self.folder / "caddy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [caddy, "run", "--config", REPOSITORY / "Caddyfile", "--adapter", "caddyfile"],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.folder),
                    "TRON_UPSTREAM": f"127.0.0.1:{self.hub.port}",
                    "TRON_CADDY_EXTRA": extra,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def trust(self) -> None:
        """Wait until Caddy listens and has made its root certificate."""

        async def started() -> bool:
            log = (self.folder / "caddy.log").read_text()
            assert self._process.poll() is None, f"Caddy ended:\n{log}"
            return self.root.exists() and await self._listens()

        await eventually(started, what="Caddy")
        connector = aiohttp.TCPConnector(
            resolver=Here(), ssl=ssl.create_default_context(cafile=str(self.root))
        )
        self.visitor = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=PATIENCE_S)
        )

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            return False
        writer.close()
        return True

    async def stop(self) -> None:
        if hasattr(self, "visitor"):
            await self.visitor.close()
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, PATIENCE_S)


@pytest.fixture
async def project() -> AsyncIterator[int]:
    """A project's own server; its port."""

    async def shown(request: server.Request) -> server.Response:
        names = ("X-Forwarded-Proto", "X-Forwarded-Host")
        return server.json_response({name: request.headers.get(name) for name in names})

    app = server.Application()
    app.router.add_get("/", shown)
    runner = server.AppRunner(app)
    await runner.setup()
    port = free_port()
    await server.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


@pytest.fixture
async def front(
    hub: Hubs, fake: FakeProvider, tmp_path: Path, project: int
) -> AsyncIterator[Front]:
    home = hub.home(
        TRON_BRAIN="openai",
        OPENAI_BASE_URL=fake.base_url,
        TRON_BASE_DOMAIN="hub.test",
        TRON_PUBLIC_URL="https://api.hub.test",
        TRON_PROJECT_PORTS=f"{project}-{project}",
    )
    settings = load_settings({}, home=home.home / "data")
    store = await Store.open(settings.storage_url)
    security = Security(settings, store, SystemClock())
    await security.set_owner(PASSWORD)
    token, _ = await security.login(PASSWORD)
    await store.close()
    await home.start()
    folder = tmp_path / "caddy"
    folder.mkdir()
    front = Front(home, folder, token)
    body = {"project": "shop", "port": project, "subdomain": "shop"}
    async with home.http.post(
        "/internal/subdomains/register", json=body, headers=front.owner
    ) as answer:
        assert answer.status == 200
    front.start()
    try:
        await front.trust()
        yield front
    finally:
        await front.stop()


async def get(front: Front, name: str, path: str, **given: Any) -> tuple[int, Any]:
    async with front.visitor.get(front.url(name, path), **given) as answer:
        return answer.status, await answer.json()


async def test_certificates_are_for_registered_names_only(front: Front) -> None:
    assert (await get(front, "api.hub.test", "/health"))[1]["status"] == "ok"
    status, seen = await get(front, "shop.hub.test", "/")
    assert status == 200
    assert seen["X-Forwarded-Proto"] == "https"
    assert seen["X-Forwarded-Host"].startswith("shop.hub.test")
    for name in ("other.hub.test", "a.shop.hub.test", "evil.test"):
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(front, name, "/health")
    made = {path.stem for path in front.folder.rglob("*.crt")}
    assert {"api.hub.test", "shop.hub.test"} <= made
    assert not made & {"other.hub.test", "a.shop.hub.test", "evil.test"}


async def test_answers_stream_unbuffered(front: Front, fake: FakeProvider) -> None:
    fake.hold = asyncio.Event()
    fake.script(Reply("One two three."))
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
    async with (
        asyncio.timeout(PATIENCE_S),
        front.visitor.post(
            front.url("api.hub.test", "/v1/chat/completions"), json=body, headers=front.owner
        ) as answer,
    ):
        assert answer.status == 200
        events = read_sse(answer.content.iter_any())
        heard: list[SseEvent] = []
        async for event in events:
            heard.append(event)
            if event.data and not event.done and text_of([event]):
                fake.hold.set()  # the rest is said only once the first word has come through
    assert heard[-1].done
    assert text_of(heard) == "One two three."


INTERNAL = [
    "/internal",
    "/internal/",
    "/internal/subdomains",
    "/internal/life/trigger?activity=team_check",
    "/internal/caddy-ask?domain=api.hub.test",
    "/INTERNAL/subdomains",
    "//internal/subdomains",
    "/internal//subdomains",
    "/%69nternal/subdomains",
    "/internal%2Fsubdomains",
    "/internal%2fsubdomains",
    "/x/../internal/subdomains",
    "/./internal/subdomains",
    "/.//internal/subdomains",
]


async def test_internal_does_not_leave_the_machine(front: Front) -> None:
    for path in INTERNAL:
        answer = await by_hand(front, path)
        assert answer.startswith(b"HTTP/1.1 404 "), path
        assert b'{"error":{"message"' in answer


async def by_hand(front: Front, path: str) -> bytes:
    """GET as a client library would not: an untidy path, and a lie about hops."""
    trusted = ssl.create_default_context(cafile=str(front.root))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", front.port, ssl=trusted, server_hostname="api.hub.test"
    )
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: api.hub.test\r\n"
        "Connection: close, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host\r\n\r\n".encode()
    )
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    return answer


async def test_the_owner_too_finds_no_internal_here(front: Front) -> None:
    status, body = await get(front, "api.hub.test", "/internal/subdomains", headers=front.owner)
    assert (status, body["error"]["type"]) == (404, "not_found")


async def test_a_visitor_is_not_local(front: Front) -> None:
    assert (await get(front, "api.hub.test", "/api/status"))[0] == 401
    assert (await get(front, "api.hub.test", "/api/status", headers=front.owner))[0] == 200
    spoofed = {"Host": "localhost:3000", "X-Forwarded-For": "127.0.0.1"}
    assert (await get(front, "api.hub.test", "/api/status", headers=spoofed))[0] == 401
