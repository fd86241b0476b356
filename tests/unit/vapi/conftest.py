"""A hub with the VAPI wire attached and no server, and the recorded shapes of VAPI's messages."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from quart import Quart
from werkzeug.datastructures import Headers

from integrations.vapi import Vapi, attach
from tron.app import create_app, open_hub
from tron.hub import Hub
from tron.settings import Settings

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "integrations" / "vapi" / "fixtures"


def fixture(name: str) -> bytes:
    """A message of VAPI, as its bytes."""
    return (FIXTURES / f"{name}.json").read_bytes()


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    raw: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.raw)


class Wired:
    """A hub, its VAPI wire, and requests as they would arrive."""

    def __init__(self, hub: Hub, vapi: Vapi, app: Quart) -> None:
        self.hub = hub
        self.vapi = vapi
        self.app = app

    async def tell(self, body: Any, *, path: str = "/vapi/events", **headers: str) -> Answer:
        """POST a webhook; `headers` by name with underscores."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self("POST", path, raw, **headers)

    async def __call__(
        self,
        method: str,
        path: str,
        raw: bytes | None = None,
        *,
        remote: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        sent = {"Host": "127.0.0.1:3000"} | {k.replace("_", "-"): v for k, v in headers.items()}
        answer = await self.app.test_client().open(  # type: ignore[call-arg]  # its Protocol asks for too much
            path,
            method=method,
            headers=Headers(sent),
            data=raw,
            scope_base={"client": (remote, 50000)},
        )
        return Answer(answer.status_code, await answer.get_data(as_text=False))


Wire = Callable[..., AbstractAsyncContextManager[Wired]]


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    """`async with wire(vapi_secret="…") as wired:`; everything offline."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[Wired]:
        given: dict[str, Any] = {
            "home": tmp_path,
            "personas": ROOT / "personas",
            "brain": "offline",
            "public_url": "https://hub.test",
        }
        async with open_hub(Settings(**(given | settings))) as hub:
            vapi = attach(hub)
            try:
                yield Wired(hub, vapi, create_app(hub, [vapi]))
            finally:
                await vapi.close()

    return make
