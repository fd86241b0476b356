"""Fixtures every test may use, and the rules every test is held to.

A test's folder is its category (and its marker): `unit` tests reach nothing beyond this machine;
they run first. Fixtures: `store` (each test runs on SQLite and on a real PostgreSQL), `fake` (the
talking provider), `hub` (starts real hubs), `sqlite_url` and `postgres_url` (fresh databases).
"""

import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from integrations.openai.fake import FakeProvider
from tests.harness.databases import Postgres, Sqlite
from tests.harness.hub import Hubs
from tests.harness.network import loopback_only
from tron.storage.store import Store

CATEGORIES = {
    "unit": "no network, no sleeping, seconds for all of them",
    "contract": "our surfaces against the clients and documents they promise to serve",
    "scenario": "a whole hub, used as people use it",
    "chaos": "a whole hub, while something is killed, slow, full or away",
    "browser": "a whole hub, through a real browser",
}
TESTS = Path(__file__).parent
# How long an example takes says more about the machine than about us.
settings.register_profile("tron", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tron")
hubs_of = pytest.StashKey[Hubs]()


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in CATEGORIES.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = list(CATEGORIES)
    for item in items:
        category = item.path.relative_to(TESTS).parts[0]
        if category not in CATEGORIES:
            raise pytest.UsageError(f"{item.path}: tests live in one of {', '.join(order)}")
        item.add_marker(category)
    items.sort(key=lambda item: order.index(item.path.relative_to(TESTS).parts[0]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (hubs := item.stash.get(hubs_of, None)) is not None:
        report.sections.append(("log of the hub", hubs.logs()))
    return report


@pytest.fixture(autouse=True)
def unit_tests_stay_here(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    if request.node.get_closest_marker("unit") is None:
        yield
    else:
        with loopback_only(monkeypatch):
            yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the whole run; `create()` and `drop()` databases on it."""
    # Not in pytest's own folder: a run as root starts the server as another user, and every run of
    # pytest that starts meanwhile closes that folder to others again.
    with tempfile.TemporaryDirectory(prefix="tron-pg-") as folder:
        server = Postgres(Path(folder) / "data")
        yield server
        server.close()


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Sqlite:
    return Sqlite(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture
def sqlite_url(sqlite: Sqlite, tmp_path: Path) -> str:
    """A fresh SQLite database with today's schema."""
    return sqlite.create(tmp_path)


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A fresh PostgreSQL database with today's schema."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database of each kind in turn."""
    kind = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(kind))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """An open store on a fresh database; the test runs once on each kind."""
    store = await Store.open(database_url)
    yield store
    await store.close()


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    """A talking provider; `hub(OPENAI_BASE_URL=fake.base_url)` makes a hub think with it."""
    async with FakeProvider() as provider:
        yield provider


@pytest.fixture
async def hub(
    request: pytest.FixtureRequest, tmp_path: Path, sqlite: Sqlite
) -> AsyncIterator[Hubs]:
    """Starts real hubs: `running = await hub(TRON_BRAIN="offline")`."""
    hubs = Hubs(tmp_path, sqlite)
    request.node.stash[hubs_of] = hubs
    yield hubs
    await hubs.close()
