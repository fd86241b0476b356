"""An app with the guard and the real routes around a hub of real parts, without a server."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from quart import Quart
from werkzeug.datastructures import Headers

from tron.agents.registry import Registry
from tron.clock import ManualClock
from tron.environment import load_settings
from tron.errors import Invalid
from tron.events import Bus
from tron.life.journal import Journal
from tron.metrics import Metrics
from tron.orchestrator.history import History
from tron.orchestrator.orchestrator import Orchestrator
from tron.settings import Settings
from tron.storage.store import Store
from tron.subdomains import Subdomains
from tron.web import auth, errors, internal, life, openai, security, status
from tron.web.contract import describe
from tron.web.security import Security

if TYPE_CHECKING:
    from tron.hub import Hub

PERSONA = """---
name: {name}
title: Chief
focus: [work]
tone: dry
---
You are {name}.
"""


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    headers: Any
    raw: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.raw)


class Web:
    """The app, and requests to it as they would arrive from somewhere."""

    def __init__(self, app: Quart, hub: "Hub", clock: ManualClock) -> None:
        self.app = app
        self.hub = hub
        self.clock = clock

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        remote: str = "127.0.0.1",
        token: str | None = None,
        json: Any = None,
        data: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """`headers` by name with underscores: `x_request_id=`."""
        sent = {"Host": "127.0.0.1:3000"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if json is not None:
            data = msgspec.json.encode(json)
        answer = await self.app.test_client().open(  # type: ignore[call-arg]  # its Protocol asks for too much
            path,
            method=method,
            headers=Headers(sent),
            data=data,
            scope_base={"client": (remote, 50000)},
        )
        return Answer(answer.status_code, answer.headers, await answer.get_data(as_text=False))


class StandInSessions:
    """Two sessions until they are cleared."""

    def __init__(self) -> None:
        self.open = 2

    async def count(self, client_id: str) -> int:
        return self.open

    async def clear(self, client_id: str) -> int:
        cleared, self.open = self.open, 0
        return cleared


class StandInLife:
    """Life that only says it lived."""

    def __init__(self, agents: Registry) -> None:
        self._agents = agents

    def active(self) -> list[Any]:
        return self._agents.personas[:1]

    async def trigger(self, activity: str, persona: str | None = None) -> dict[str, str]:
        if activity != "post":
            raise Invalid("Unknown activity.", param="activity")
        chosen = self._agents.personas
        if persona is not None:
            chosen = [self._agents.named(persona, param="persona")]
        return {who.name: "Posted: hello" for who in chosen}

    async def goals(self, client_id: str, agent: str | None = None) -> list[Any]:
        return []

    async def articles(
        self, client_id: str, agent: str | None = None, limit: int = 50
    ) -> list[Any]:
        return []


def make_app(hub: "Hub") -> Quart:
    app = Quart("tron")
    describe(app)
    errors.install(app)
    security.guard(app, hub.security)
    for routes in (auth.routes, status.routes, life.routes, internal.routes, openai.routes):
        app.register_blueprint(routes(hub))
    return app


def make_hub(settings: Settings, store: Store, clock: ManualClock, folder: Path) -> "Hub":
    for name in ("Tony", "Maya"):
        (folder / f"{name.lower()}.md").write_text(PERSONA.format(name=name))
    agents = Registry(folder, clock, default="tony")
    agents.refresh()
    bus = Bus()
    hub = SimpleNamespace(
        settings=settings,
        clock=clock,
        bus=bus,
        store=store,
        security=Security(settings, store, clock),
        agents=agents,
        orchestrator=Orchestrator(settings, clock, bus),
        history=History(store, clock, bus, keep_days=30, hub_id="hub-1"),
        metrics=Metrics(bus),
        subdomains=Subdomains(settings, store, clock),
        journal=Journal(store, clock),
        sessions=StandInSessions(),
        life=StandInLife(agents),
        brain=SimpleNamespace(providers=[]),
        toolbox=SimpleNamespace(definitions=lambda names: [{}, {}, {}]),
        started_at=clock.now_ms(),
    )
    return cast("Hub", hub)


@pytest.fixture
def settings() -> Settings:
    return load_settings({}, base_domain="hub.test", public_url="https://api.hub.test")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def sqlite_store(sqlite_url: str) -> AsyncIterator[Store]:
    """For what has nothing to do with the kind of database."""
    store = await Store.open(sqlite_url)
    yield store
    await store.close()


@pytest.fixture
async def web(
    settings: Settings, sqlite_store: Store, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[Web]:
    folder = tmp_path / "personas"
    folder.mkdir()
    hub = make_hub(settings, sqlite_store, clock, folder)
    await hub.security.load()
    hub.history.start()
    yield Web(make_app(hub), hub, clock)
    await hub.history.close()
    await hub.orchestrator.close()
